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

FQ_TARGET_TABLE(avx512);
#else
typedef int fq_no_avx512_here;
#endif
