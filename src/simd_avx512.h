/* The vocabulary over AVX-512 (F, BW, DQ, VL): 16 floats or 8 doubles, masks as 64-bit words. */
#ifndef FQ_SIMD_AVX512_H
#define FQ_SIMD_AVX512_H

#include <immintrin.h>

#define FQ_OWN_MASK64
#define FQ_OWN_LANES
#include "simd_words.h"

#define FQ_HAS_FMA 1
#define FQ_CAN_STREAM 1
#define FQ_HAS_PARTS 1 /* masked loads and stores: load_part and store_part */

/* Mask registers: a round through the general ones would cost the ports that the arithmetic needs. */
typedef struct {
    __mmask16 part[4];
} mask64;

static FQ_INLINE mask64 mask64_none(void) { return (mask64){{0}}; }
static FQ_INLINE void mask64_put(mask64 *m, size_t j, unsigned lanes)
{
    m->part[j / 16] = (__mmask16)(j % 16 == 0 ? lanes : m->part[j / 16] | lanes << j % 16);
}
static FQ_INLINE unsigned mask64_get(const mask64 *m, size_t j) { return (unsigned)m->part[j / 16] >> j % 16; }
static FQ_INLINE uint64_t mask64_to_word(mask64 m)
{
    const __mmask32 low = _mm512_kunpackw(m.part[1], m.part[0]), high = _mm512_kunpackw(m.part[3], m.part[2]);
    return _mm512_kunpackd(high, low);
}
static FQ_INLINE mask64 mask64_from_word(uint64_t word)
{
    return (mask64){{(__mmask16)word, (__mmask16)(word >> 16), (__mmask16)(word >> 32), (__mmask16)(word >> 48)}};
}
static FQ_INLINE void mask64_to_bytes(uint8_t *to, mask64 m)
{
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)(void *)(to + 16 * i), _mm_maskz_set1_epi8(m.part[i], 1));
    }
}
static FQ_INLINE mask64 mask64_from_bytes(const uint8_t *from)
{
    __m512i v = _mm512_loadu_si512(from);
    return mask64_from_word(_mm512_test_epi8_mask(v, v));
}
static FQ_INLINE void stream_done(void) { _mm_sfence(); }

typedef __m512 f32_vec;
enum { f32_LANES = 16 };
static FQ_INLINE f32_vec f32_set(double v) { return _mm512_set1_ps((float)v); }
static FQ_INLINE f32_vec f32_read(const void *array, size_t i) { return _mm512_loadu_ps((const float *)array + i); }
static FQ_INLINE f32_vec f32_mul(f32_vec a, f32_vec b) { return _mm512_mul_ps(a, b); }
static FQ_INLINE f32_vec f32_div(f32_vec a, f32_vec b) { return _mm512_div_ps(a, b); }
static FQ_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return _mm512_fmadd_ps(a, b, c); }
static FQ_INLINE f32_vec f32_fnma(f32_vec a, f32_vec b, f32_vec c) { return _mm512_fnmadd_ps(a, b, c); }
static FQ_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return _mm512_min_ps(a, b); }
static FQ_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return _mm512_max_ps(a, b); }
static FQ_INLINE f32_vec f32_mul_plus_zero(f32_vec a, f32_vec b) { return f32_fma(a, b, _mm512_setzero_ps()); }
/* The smaller magnitude with v's sign. For a NaN it is the limit; the remainder brings the NaN back. */
static FQ_INLINE f32_vec f32_limit(f32_vec v) { return _mm512_range_ps(v, _mm512_set1_ps(0x1p30f), 2); }
/* Whether a lane lies below FQ_TINY and is not 0. */
static FQ_INLINE int f32_any_tiny(f32_vec v)
{
    const __m512 size = _mm512_abs_ps(v);
    const __mmask16 tiny = _mm512_cmp_ps_mask(size, _mm512_set1_ps((float)FQ_TINY_F32), _CMP_LT_OQ);
    return _mm512_mask_cmp_ps_mask(tiny, size, _mm512_setzero_ps(), _CMP_GT_OQ) != 0;
}
static FQ_INLINE f32_vec f32_rint(f32_vec v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE unsigned f32_equal(f32_vec a, f32_vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static FQ_INLINE f32_vec f32_keep(unsigned lanes, f32_vec v) { return _mm512_maskz_mov_ps((__mmask16)lanes, v); }
static FQ_INLINE f32_vec f32_sub_in(unsigned lanes, f32_vec a, f32_vec b)
{
    return _mm512_mask_sub_ps(a, (__mmask16)lanes, a, b);
}

typedef __m512d f64_vec;
enum { f64_LANES = 8 };
static FQ_INLINE f64_vec f64_set(double v) { return _mm512_set1_pd(v); }
static FQ_INLINE f64_vec f64_read(const void *array, size_t i) { return _mm512_loadu_pd((const double *)array + i); }
static FQ_INLINE f64_vec f64_mul(f64_vec a, f64_vec b) { return _mm512_mul_pd(a, b); }
static FQ_INLINE f64_vec f64_div(f64_vec a, f64_vec b) { return _mm512_div_pd(a, b); }
static FQ_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return _mm512_fmadd_pd(a, b, c); }
static FQ_INLINE f64_vec f64_fnma(f64_vec a, f64_vec b, f64_vec c) { return _mm512_fnmadd_pd(a, b, c); }
static FQ_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return _mm512_min_pd(a, b); }
static FQ_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return _mm512_max_pd(a, b); }
static FQ_INLINE f64_vec f64_mul_plus_zero(f64_vec a, f64_vec b) { return f64_fma(a, b, _mm512_setzero_pd()); }
static FQ_INLINE f64_vec f64_limit(f64_vec v) { return _mm512_range_pd(v, _mm512_set1_pd(0x1p60), 2); }
static FQ_INLINE int f64_any_tiny(f64_vec v)
{
    const __m512d size = _mm512_abs_pd(v);
    const __mmask8 tiny = _mm512_cmp_pd_mask(size, _mm512_set1_pd(FQ_TINY_F64), _CMP_LT_OQ);
    return _mm512_mask_cmp_pd_mask(tiny, size, _mm512_setzero_pd(), _CMP_GT_OQ) != 0;
}
static FQ_INLINE f64_vec f64_rint(f64_vec v)
{
    return _mm512_roundscale_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE unsigned f64_equal(f64_vec a, f64_vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
static FQ_INLINE f64_vec f64_keep(unsigned lanes, f64_vec v) { return _mm512_maskz_mov_pd((__mmask8)lanes, v); }
static FQ_INLINE f64_vec f64_sub_in(unsigned lanes, f64_vec a, f64_vec b)
{
    return _mm512_mask_sub_pd(a, (__mmask8)lanes, a, b);
}
static FQ_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return _mm512_add_pd(a, b); }
static FQ_INLINE f64_vec f64_add_out(unsigned lanes, size_t k, f64_vec sum, f64_vec v)
{
    const __mmask16 out = _knot_mask16((__mmask16)lanes);
    return _mm512_mask_add_pd(sum, (__mmask8)(k ? _kshiftri_mask16(out, 8) : out), sum, v);
}
/* Halves added to each other, until one lane is left. */
static FQ_INLINE double f64_total(f64_vec v)
{
    const __m256d half = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    const __m128d quarter = _mm_add_pd(_mm256_castpd256_pd128(half), _mm256_extractf128_pd(half, 1));
    return _mm_cvtsd_f64(_mm_add_sd(quarter, _mm_unpackhi_pd(quarter, quarter)));
}
static FQ_INLINE void f64_write(double *to, f64_vec v) { _mm512_storeu_pd(to, v); }
static FQ_INLINE f64_vec f64_widen(f64_vec v, size_t part) { return (void)part, v; }
static FQ_INLINE f64_vec f32_widen(f32_vec v, size_t part)
{
    return _mm512_cvtps_pd(part ? _mm512_extractf32x8_ps(v, 1) : _mm512_castps512_ps256(v));
}

#define FQ_OWN_f32 1
static FQ_INLINE f32_vec load_f32(const float *from) { return _mm512_loadu_ps(from); }
typedef __m512 f32_packed;
static FQ_INLINE f32_packed pack_f32(f32_vec v) { return v; }
static FQ_INLINE f32_packed no_minus_zero_f32(f32_packed v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE void store_f32(float *to, f32_packed v) { _mm512_storeu_ps(to, v); }
static FQ_INLINE void stream_f32(float *to, f32_packed v) { _mm512_stream_ps(to, v); }

#define FQ_OWN_f64 1
static FQ_INLINE f64_vec load_f64(const double *from) { return _mm512_loadu_pd(from); }
typedef __m512d f64_packed;
static FQ_INLINE f64_packed pack_f64(f64_vec v) { return v; }
static FQ_INLINE f64_packed no_minus_zero_f64(f64_packed v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE void store_f64(double *to, f64_packed v) { _mm512_storeu_pd(to, v); }
static FQ_INLINE void stream_f64(double *to, f64_packed v) { _mm512_stream_pd(to, v); }

static FQ_INLINE __m256i load_16_bits(const uint16_t *from)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}
static FQ_INLINE void store_16_bits(uint16_t *to, __m256i v) { _mm256_storeu_si256((__m256i *)(void *)to, v); }
static FQ_INLINE void stream_16_bits(uint16_t *to, __m256i v) { _mm256_stream_si256((__m256i *)(void *)to, v); }
static FQ_INLINE __m256i no_minus_zero_16_bits(__m256i v)
{
    return _mm256_maskz_mov_epi16(_mm256_cmpneq_epi16_mask(v, _mm256_set1_epi16(-0x8000)), v);
}

/* Two vectors of 16-bit elements as one: a whole cache line, which is what storing past the cache wants. */
static FQ_INLINE __m512i no_minus_zero_32(__m512i v)
{
    return _mm512_maskz_mov_epi16(_mm512_cmpneq_epi16_mask(v, _mm512_set1_epi16(-0x8000)), v);
}

#define FQ_OWN_f16 1
static FQ_INLINE f32_vec unpack_f16(__m256i v) { return _mm512_cvtph_ps(v); }
static FQ_INLINE f32_vec load_f16(const uint16_t *from) { return unpack_f16(load_16_bits(from)); }
typedef __m256i f16_packed;
static FQ_INLINE f16_packed pack_f16(f32_vec v)
{
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE f16_packed no_minus_zero_f16(f16_packed v) { return no_minus_zero_16_bits(v); }
static FQ_INLINE void store_f16(uint16_t *to, f16_packed v) { store_16_bits(to, v); }
static FQ_INLINE void stream_f16(uint16_t *to, f16_packed v) { stream_16_bits(to, v); }

#define FQ_PAIRS_f16 1
static FQ_INLINE __m512i pack_pair_f16(f32_vec v, f32_vec w)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(pack_f16(v)), pack_f16(w), 1);
}
static FQ_INLINE __m512i no_minus_zero_pair_f16(__m512i v) { return no_minus_zero_32(v); }
static FQ_INLINE void store_pair_f16(uint16_t *to, __m512i v) { _mm512_storeu_si512(to, v); }
static FQ_INLINE void stream_pair_f16(uint16_t *to, __m512i v) { _mm512_stream_si512((void *)to, v); }

#define FQ_OWN_bf16 1
static FQ_INLINE f32_vec unpack_bf16(__m256i v)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}
static FQ_INLINE f32_vec load_bf16(const uint16_t *from) { return unpack_bf16(load_16_bits(from)); }
typedef __m256i bf16_packed;
/* Half to even, in the upper halves. The NaNs that reach this have 16 low zeros, being bfloat16 or the processor's own. */
static FQ_INLINE __m512i round_bf16(f32_vec v)
{
    const __m512i bits = _mm512_castps_si512(v), up = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
    return _mm512_mask_add_epi32(up, odd, bits, _mm512_set1_epi32(0x8000));
}
static FQ_INLINE bf16_packed pack_bf16(f32_vec v)
{
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(v), 16));
}
static FQ_INLINE bf16_packed no_minus_zero_bf16(bf16_packed v) { return no_minus_zero_16_bits(v); }
static FQ_INLINE void store_bf16(uint16_t *to, bf16_packed v) { store_16_bits(to, v); }
static FQ_INLINE void stream_bf16(uint16_t *to, bf16_packed v) { stream_16_bits(to, v); }

#define FQ_PAIRS_bf16 1
static FQ_INLINE __m512i pack_pair_bf16(f32_vec v, f32_vec w)
{
    static const uint16_t upper_halves[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                              33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    return _mm512_permutex2var_epi16(round_bf16(v), _mm512_loadu_si512(upper_halves), round_bf16(w));
}
static FQ_INLINE __m512i no_minus_zero_pair_bf16(__m512i v) { return no_minus_zero_32(v); }
static FQ_INLINE void store_pair_bf16(uint16_t *to, __m512i v) { _mm512_storeu_si512(to, v); }
static FQ_INLINE void stream_pair_bf16(uint16_t *to, __m512i v) { _mm512_stream_si512((void *)to, v); }

/* The first `count` lanes; the others are 0, and are not touched in memory. */
static FQ_INLINE __mmask16 first(size_t count) { return (__mmask16)((1u << count) - 1); }

static FQ_INLINE f32_vec load_part_f32(const float *from, size_t count)
{
    return _mm512_maskz_loadu_ps(first(count), from);
}
static FQ_INLINE void store_part_f32(float *to, f32_packed v, size_t count)
{
    _mm512_mask_storeu_ps(to, first(count), v);
}
static FQ_INLINE f64_vec load_part_f64(const double *from, size_t count)
{
    return _mm512_maskz_loadu_pd((__mmask8)first(count), from);
}
static FQ_INLINE void store_part_f64(double *to, f64_packed v, size_t count)
{
    _mm512_mask_storeu_pd(to, (__mmask8)first(count), v);
}
static FQ_INLINE f32_vec load_part_f16(const uint16_t *from, size_t count)
{
    return unpack_f16(_mm256_maskz_loadu_epi16(first(count), from));
}
static FQ_INLINE void store_part_f16(uint16_t *to, f16_packed v, size_t count)
{
    _mm256_mask_storeu_epi16(to, first(count), v);
}
static FQ_INLINE f32_vec load_part_bf16(const uint16_t *from, size_t count)
{
    return unpack_bf16(_mm256_maskz_loadu_epi16(first(count), from));
}
static FQ_INLINE void store_part_bf16(uint16_t *to, bf16_packed v, size_t count)
{
    _mm256_mask_storeu_epi16(to, first(count), v);
}
#endif
