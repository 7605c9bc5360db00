/* The AVX2 target: AVX2, FMA and F16C, opened for this file alone. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "fq.h"

#if FQ_HAVE_X86
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#include "simd_avx2.h"

#include "target.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static int runs_here(void) { return fq_cpu_has(bit_AVX | bit_FMA | bit_F16C, bit_AVX2, FQ_SAVES_YMM); }

FQ_TARGET_TABLE(avx2, 32, runs_here);
#else
const fq_target fq_target_avx2 = {.name = "avx2"};
#endif
