/* The AVX-512 target: AVX-512 F, BW, DQ and VL, opened for this file alone. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "fq.h"

#if FQ_HAVE_X86
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#endif

#include "simd_avx512.h"

#include "target.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static int runs_here(void)
{
    const unsigned ebx7 = bit_AVX2 | bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    return fq_cpu_has(bit_AVX | bit_FMA | bit_F16C, ebx7, FQ_SAVES_ZMM);
}

FQ_TARGET_TABLE(avx512, 64, runs_here);
#else
const fq_target fq_target_avx512 = {.name = "avx512"};
#endif
