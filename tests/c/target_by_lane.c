/* A target for tests: float16 and bfloat16 lane by lane, as a type goes that a target has no words of its own for. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "fq.h"

#if FQ_HAVE_X86
#define FQ_INSTRUCTIONS "avx2,fma,f16c"
#include "target_begin.h"

#include "simd_avx2.h"
#elif FQ_HAVE_NEON
#include "simd_neon.h"
#else
#include "simd_portable.h"
#endif

#pragma GCC diagnostic ignored "-Wunused-function" /* the float16 and bfloat16 that it does have words for */
#include "target.h"

#define widen_laned_f16 widen_f16
#define narrow_laned_f16 narrow_f16
#define positive_zero_laned_f16 positive_zero_f16
typedef f16_elem laned_f16_elem;
#define ELEM laned_f16
#define COMPUTE f32
#include "kernels.h"

#define widen_laned_bf16 widen_bf16
#define narrow_laned_bf16 narrow_bf16
#define positive_zero_laned_bf16 positive_zero_bf16
typedef bf16_elem laned_bf16_elem;
#define ELEM laned_bf16
#define COMPUTE f32
#include "kernels.h"

#if FQ_HAVE_X86
#include "target_end.h"

static int runs_here(void) { return fq_cpu_has(bit_AVX | bit_FMA | bit_F16C, bit_AVX2, FQ_SAVES_YMM); }
#else
static int runs_here(void) { return 1; }
#endif

const fq_target fq_target_by_lane = {
    "by_lane",
    1,
    runs_here,
    {FQ_ENTRIES(F16, laned_f16) FQ_ENTRIES(BF16, laned_bf16) FQ_ENTRIES(F32, f32) FQ_ENTRIES(F64, f64)},
    {make_each_f32, make_each_f64},
    FQ_OBSERVE_ENTRIES words,
    {FQ_BLOCKS_ENTRY(F16, laned_f16) FQ_BLOCKS_ENTRY(BF16, laned_bf16) FQ_BLOCKS_ENTRY(F32, f32)
         FQ_BLOCKS_ENTRY(F64, f64)}};
