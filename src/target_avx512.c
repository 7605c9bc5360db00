/* The AVX-512 target: AVX-512 F, BW, DQ and VL, opened for this file alone. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "fq.h"

#if FQ_HAVE_X86
#define FQ_INSTRUCTIONS "avx512f,avx512bw,avx512dq,avx512vl"
#include "target_begin.h"

#include "simd_avx512.h"

#include "target.h"

#include "target_end.h"

static int runs_here(void)
{
    const unsigned ebx7 = bit_AVX2 | bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return fq_cpu_has(bit_AVX | bit_FMA | bit_F16C, ebx7, FQ_SAVES_ZMM);
}

FQ_TARGET_TABLE(avx512, 64, runs_here);
#else
const fq_target fq_target_avx512 = {.name = "avx512"};
#endif
