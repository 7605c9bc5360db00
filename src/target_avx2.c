/* The AVX2 target: AVX2, FMA and F16C, opened for this file alone. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "fq.h"

#if FQ_HAVE_X86
#define FQ_INSTRUCTIONS "avx2,fma,f16c"
#include "target_begin.h"

#include "simd_avx2.h"

#include "target.h"

#include "target_end.h"

static int runs_here(void) { return fq_cpu_has(bit_AVX | bit_FMA | bit_F16C, bit_AVX2, FQ_SAVES_YMM); }

FQ_TARGET_TABLE(avx2, 32, runs_here);
#else
const fq_target fq_target_avx2 = {.name = "avx2"};
#endif
