/* The vocabulary over AVX-512 (F, BW, DQ, VL): 16 floats or 8 doubles, masks as 64-bit words. */
#ifndef FQ_SIMD_AVX512_H
#define FQ_SIMD_AVX512_H

#include <immintrin.h>

#define FQ_OWN_MASK64
#include "simd_words.h"

#define FQ_HAS_FMA 1
#define FQ_CAN_STREAM 1
#define FQ_HAS_LANE_MASKS 1 /* add_above and add_products */
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
static FQ_INLINE f32_vec f32_rint(f32_vec v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE unsigned f32_equal(f32_vec a, f32_vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static FQ_INLINE f32_vec f32_keep_above(f32_vec a, f32_vec b, f32_vec v)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), v);
}
static FQ_INLINE f32_vec f32_drop_above(f32_vec a, f32_vec b, f32_vec v)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NGT_UQ), v);
}
/* v in the lanes where a and b are numbers that differ, w in the others. */
static FQ_INLINE f32_vec f32_where_apart(f32_vec a, f32_vec b, f32_vec v, f32_vec w)
{
    return _mm512_mask_mov_ps(w, _mm512_cmp_ps_mask(a, b, _CMP_NEQ_OQ), v);
}
static FQ_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return _mm512_add_ps(a, b); }
static FQ_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return _mm512_sub_ps(a, b); }
/* The greater of a and a number b: b where a is NaN. */
static FQ_INLINE f32_vec f32_max_number(f32_vec a, f32_vec b) { return f32_max(a, b); }
/* The size of v, and the power of two below or at that: 0 of a subnormal, infinity of NaN. */
static FQ_INLINE f32_vec f32_abs(f32_vec v) { return _mm512_abs_ps(v); }
static FQ_INLINE f32_vec f32_exponent(f32_vec v)
{
    return _mm512_and_ps(v, _mm512_castsi512_ps(_mm512_set1_epi32(0x7f800000)));
}
static FQ_INLINE f32_vec f32_read_words(const uint16_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)from)));
}
static FQ_INLINE f32_vec f32_copysign(f32_vec v, f32_vec sign)
{
    const __m512i bit = _mm512_castps_si512(_mm512_set1_ps(-0.0f));
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi64(bit, _mm512_castps_si512(sign), _mm512_castps_si512(v), 0xca));
}
static FQ_INLINE f32_vec f32_keep(unsigned lanes, f32_vec v) { return _mm512_maskz_mov_ps((__mmask16)lanes, v); }

/* The largest bits without the sign in each of f32_LANES rows of n floats, whole vectors. Of two vectors each step of the
 * tree makes one, whose lanes are the larger ones of two lanes of either. */
#define FQ_TOPS_f32 1
static FQ_INLINE void f32_tops_of_lanes(int32_t *to, const float *x, size_t n)
{
    __m512i v[16];
    for (size_t k = 0; k < 16; k++) {
        v[k] = _mm512_setzero_si512();
        for (size_t j = 0; j < n; j += 16) {
            v[k] = _mm512_max_epi32(v[k], _mm512_castps_si512(f32_abs(f32_read(x, k * n + j))));
        }
    }
    for (int k = 0; k < 8; k++) {
        const __m512i a = v[2 * k], b = v[2 * k + 1];
        v[k] = _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
    for (int k = 0; k < 4; k++) {
        const __m512i a = v[2 * k], b = v[2 * k + 1];
        v[k] = _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    for (int parts = 2; parts > 0; parts--) {
        for (int k = 0; k < parts; k++) {
            const __m512i a = v[2 * k], b = v[2 * k + 1];
            v[k] = _mm512_max_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
        }
    }
    _mm512_storeu_si512(to, v[0]);
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
static FQ_INLINE f64_vec f64_rint(f64_vec v)
{
    return _mm512_roundscale_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE unsigned f64_equal(f64_vec a, f64_vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
static FQ_INLINE f64_vec f64_keep_above(f64_vec a, f64_vec b, f64_vec v)
{
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), v);
}
static FQ_INLINE f64_vec f64_drop_above(f64_vec a, f64_vec b, f64_vec v)
{
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(a, b, _CMP_NGT_UQ), v);
}
static FQ_INLINE f64_vec f64_where_apart(f64_vec a, f64_vec b, f64_vec v, f64_vec w)
{
    return _mm512_mask_mov_pd(w, _mm512_cmp_pd_mask(a, b, _CMP_NEQ_OQ), v);
}
static FQ_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return _mm512_sub_pd(a, b); }
static FQ_INLINE f64_vec f64_max_number(f64_vec a, f64_vec b) { return f64_max(a, b); }
static FQ_INLINE f64_vec f64_abs(f64_vec v) { return _mm512_abs_pd(v); }
static FQ_INLINE f64_vec f64_exponent(f64_vec v)
{
    return _mm512_and_pd(v, _mm512_castsi512_pd(_mm512_set1_epi64(INT64_C(0x7ff0000000000000))));
}
static FQ_INLINE f64_vec f64_read_words(const uint16_t *from)
{
    return _mm512_cvtepi32_pd(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}
static FQ_INLINE f64_vec f64_copysign(f64_vec v, f64_vec sign)
{
    const __m512i bit = _mm512_castpd_si512(_mm512_set1_pd(-0.0));
    return _mm512_castsi512_pd(_mm512_ternarylogic_epi64(bit, _mm512_castpd_si512(sign), _mm512_castpd_si512(v), 0xca));
}
static FQ_INLINE f64_vec f64_keep(unsigned lanes, f64_vec v) { return _mm512_maskz_mov_pd((__mmask8)lanes, v); }
static FQ_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return _mm512_add_pd(a, b); }
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

/* Add d in the lanes where a > b; d * residual, but in the lanes where a and b are numbers that differ. */
static FQ_INLINE void f32_add_above(f64_vec sum[2], f32_vec a, f32_vec b, f32_vec d)
{
    const __mmask16 lanes = _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
    sum[0] = _mm512_mask_add_pd(sum[0], (__mmask8)lanes, sum[0], f32_widen(d, 0));
    sum[1] = _mm512_mask_add_pd(sum[1], (__mmask8)(lanes >> 8), sum[1], f32_widen(d, 1));
}
static FQ_INLINE void f32_add_products(f64_vec sum[2], f32_vec a, f32_vec b, f32_vec d, f32_vec residual)
{
    const __mmask16 lanes = (__mmask16)~_mm512_cmp_ps_mask(a, b, _CMP_NEQ_OQ);
    sum[0] = _mm512_mask3_fmadd_pd(f32_widen(d, 0), f32_widen(residual, 0), sum[0], (__mmask8)lanes);
    sum[1] = _mm512_mask3_fmadd_pd(f32_widen(d, 1), f32_widen(residual, 1), sum[1], (__mmask8)(lanes >> 8));
}
static FQ_INLINE void f64_add_above(f64_vec *sum, f64_vec a, f64_vec b, f64_vec d)
{
    *sum = _mm512_mask_add_pd(*sum, _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), *sum, d);
}
static FQ_INLINE void f64_add_products(f64_vec *sum, f64_vec a, f64_vec b, f64_vec d, f64_vec residual)
{
    const __mmask8 lanes = (__mmask8)~_mm512_cmp_pd_mask(a, b, _CMP_NEQ_OQ);
    *sum = _mm512_mask_add_pd(*sum, lanes, *sum, _mm512_mul_pd(d, residual));
}

/* Integers: the zero points of the lanes. A level is rounded half to even and NaN is 0, then zero_point is added. */
typedef __m512i f32_integers;
static FQ_INLINE f32_integers f32_integers_set(const void *array, size_t i)
{
    return _mm512_set1_epi32(((const int32_t *)array)[i]);
}
static FQ_INLINE f32_integers f32_integers_read(const void *array, size_t i)
{
    return _mm512_loadu_si512((const int32_t *)array + i);
}
static FQ_INLINE __m512i f32_levels(f32_vec v, f32_integers zero)
{
    const __mmask16 numbers = _mm512_cmp_ps_mask(v, v, _CMP_ORD_Q);
    const __m512i level = _mm512_maskz_cvt_roundps_epi32(numbers, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_add_epi32(level, zero);
}
static FQ_INLINE void f32_write_levels(int32_t *to, f32_vec v, f32_integers zero)
{
    _mm512_storeu_si512(to, f32_levels(v, zero));
}
static FQ_INLINE void f32_write_bytes(uint8_t *to, f32_vec v, f32_integers zero)
{
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8(f32_levels(v, zero)));
}
/* Bounds of quotients: two reciprocals of scale a little below and above, the levels at the ends with MAGIC added, and zero_point
 * less the bits of MAGIC. f32_sure_levels: where the products of x with both reciprocals round to one level, that is the quotient's,
 * and x is no NaN. The sum with MAGIC rounds a product, half to even, to its lowest bit; a product so large that this is no unit is
 * clamped. Gives whether all of four vectors are sure. */
#define FQ_MAGIC 0x1.8p23f
typedef struct {
    f32_vec below, above, lo, hi;
    f32_integers zero;
} f32_bounds;

/* Four vectors as they are, as bytes, or with the low four bits of two levels in each byte. The packs work on quarters of a vector, whose dwords
 * the permutation puts in order. */
#define FQ_FOUR_f32 1
static FQ_INLINE void f32_write_four(uint8_t *to, const f32_integers level[4], fq_levels_as as)
{
    const int nibbles = as == AS_NIBBLES;
    static const int32_t order[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    const __m512i low = _mm512_set1_epi16(nibbles ? 15 : 0xff);
    const __m512i first = _mm512_and_si512(_mm512_packs_epi32(level[0], level[1]), low);
    const __m512i second = _mm512_and_si512(_mm512_packs_epi32(level[2], level[3]), low);
    const __m512i bytes = _mm512_permutexvar_epi32(_mm512_loadu_si512(order), _mm512_packus_epi16(first, second));
    for (int k = 0; as == AS_INT32 && k < 4; k++) {
        _mm512_storeu_si512(to + 64 * k, level[k]);
    }
    if (nibbles) {
        const __m512i pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(0x1001));
        _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtepi16_epi8(pairs));
    }
    else if (as == AS_BYTES) {
        _mm512_storeu_si512(to, bytes);
    }
}
static FQ_INLINE int f32_sure_levels(f32_integers level[4], const float *x, const f32_bounds *b)
{
    __mmask16 unsure[4];
    for (int k = 0; k < 4; k++) {
        const __m512 v = _mm512_loadu_ps(x + 16 * k), magic = _mm512_set1_ps(FQ_MAGIC);
        const __m512 one = f32_fma(v, b->below, magic), other = f32_fma(v, b->above, magic);
        unsure[k] = _mm512_cmp_ps_mask(one, other, _CMP_NEQ_UQ);
        level[k] = _mm512_add_epi32(_mm512_castps_si512(f32_max(b->lo, f32_min(b->hi, one))), b->zero);
    }
    return _kortestz_mask16_u8(_kor_mask16(unsure[0], unsure[1]), _kor_mask16(unsure[2], unsure[3]));
}
static FQ_INLINE f32_integers f32_without_magic(f32_integers zero)
{
    return _mm512_sub_epi32(zero, _mm512_castps_si512(_mm512_set1_ps(FQ_MAGIC)));
}
/* `bytes` bytes of two codes of four bits each, with their signs, as bytes. */
static FQ_INLINE __m128i split_codes(const uint8_t *from, size_t bytes)
{
    uint64_t word = 0;
    memcpy(&word, from, bytes);
    const __m128i pairs = _mm_loadl_epi64((const __m128i *)(const void *)&word), eight = _mm_set1_epi8(8);
    const __m128i low = _mm_and_si128(_mm_unpacklo_epi8(pairs, _mm_srli_epi16(pairs, 4)), _mm_set1_epi8(15));
    return _mm_sub_epi8(_mm_xor_si128(low, eight), eight);
}
static FQ_INLINE f32_vec f32_read_nibbles(const uint8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(split_codes(from, 8)));
}
static FQ_INLINE f32_vec f32_read_bytes(const int8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}
static FQ_INLINE f32_vec f32_read_levels(const int32_t *from, f32_integers zero)
{
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(from), zero));
}
typedef __m512d f64_integers;
static FQ_INLINE f64_integers f64_integers_set(const void *array, size_t i)
{
    return _mm512_set1_pd(((const double *)array)[i]);
}
static FQ_INLINE f64_integers f64_integers_read(const void *array, size_t i) { return f64_read(array, i); }
static FQ_INLINE __m256i f64_levels(f64_vec v, f64_integers zero)
{
    const __m512d level = _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(v, v, _CMP_ORD_Q), f64_rint(v));
    return _mm512_cvtpd_epi32(_mm512_add_pd(level, zero));
}
static FQ_INLINE void f64_write_levels(int32_t *to, f64_vec v, f64_integers zero)
{
    _mm256_storeu_si256((__m256i *)(void *)to, f64_levels(v, zero));
}
static FQ_INLINE void f64_write_bytes(uint8_t *to, f64_vec v, f64_integers zero)
{
    _mm_storel_epi64((__m128i *)(void *)to, _mm256_cvtepi32_epi8(f64_levels(v, zero)));
}
static FQ_INLINE f64_vec f64_read_nibbles(const uint8_t *from)
{
    return _mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(split_codes(from, 4)));
}
static FQ_INLINE f64_vec f64_read_bytes(const int8_t *from)
{
    return _mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from)));
}
static FQ_INLINE f64_vec f64_read_levels(const int32_t *from, f64_integers zero)
{
    return _mm512_sub_pd(_mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)(const void *)from)), zero);
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

/* Keys of elements (keys.h): the least and greatest of a lane, and of all lanes. */
#define FQ_KEY_WORDS(key, bits)                                                                                      \
    typedef __m512i key##_vec;                                                                                       \
    enum { key##_LANES = 512 / bits };                                                                               \
    static FQ_INLINE __m512i key##_load(const char *from)                                                            \
    {                                                                                                                \
        const __m512i v = _mm512_loadu_si512(from);                                                                  \
        return _mm512_xor_si512(v, _mm512_srli_epi##bits(_mm512_srai_epi##bits(v, bits - 1), 1));                    \
    }                                                                                                                \
    static FQ_INLINE __m512i key##_least(__m512i a, __m512i b) { return _mm512_min_epi##bits(a, b); }                \
    static FQ_INLINE __m512i key##_greatest(__m512i a, __m512i b) { return _mm512_max_epi##bits(a, b); }             \
    /* The greatest key is the least of the complements: both are found at once, each in a half of a vector. */      \
    static FQ_INLINE void key##_fold(__m512i least, __m512i greatest, int64_t *low, int64_t *high)                   \
    {                                                                                                                \
        const __m512i other = _mm512_ternarylogic_epi64(greatest, greatest, greatest, 0x55);                         \
        __m512i v = key##_least(_mm512_shuffle_i64x2(least, other, 0x44), _mm512_shuffle_i64x2(least, other, 0xee)); \
        v = key##_least(v, _mm512_shuffle_i64x2(v, v, 0xb1));                                                        \
        v = key##_least(v, _mm512_shuffle_epi32(v, 0x4e));                                                           \
        v = bits < 64 ? key##_least(v, _mm512_shuffle_epi32(v, 0xb1)) : v;                                           \
        v = bits < 32 ? key##_least(v, _mm512_rol_epi32(v, 16)) : v;                                                 \
        *low = (int##bits##_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(v));                                          \
        *high = ~(int64_t)(int##bits##_t)_mm_cvtsi128_si64(_mm512_extracti32x4_epi32(v, 2));                         \
    }
FQ_KEY_WORDS(k16, 16)
FQ_KEY_WORDS(k32, 32)
FQ_KEY_WORDS(k64, 64)

/* What the cells of elements grow by (count_bins.h): element j's is at j % 4 * 4 + j / 4, and at j % 2 * 4 + j / 2 of float64. */
#define FQ_HAS_ADDENDS 1
enum { k32_ADDENDS = 16, k64_ADDENDS = 8 };
static FQ_INLINE void k32_addends(fq_cell *to, const char *from)
{
    const __m512i rest = _mm512_and_si512(_mm512_loadu_si512(from), _mm512_set1_epi32(0xffff));
    const __m512i square = _mm512_mullo_epi32(rest, rest), zero = _mm512_setzero_si512();
    const __m512i one = _mm512_set1_epi32(1 << 8); /* 1 << 40 of 64 bits */
    const __m512i a = _mm512_unpacklo_epi32(rest, one), b = _mm512_unpackhi_epi32(rest, one);
    const __m512i c = _mm512_unpacklo_epi32(square, zero), d = _mm512_unpackhi_epi32(square, zero);
    _mm512_store_si512(to, _mm512_unpacklo_epi64(a, c));
    _mm512_store_si512(to + 4, _mm512_unpackhi_epi64(a, c));
    _mm512_store_si512(to + 8, _mm512_unpacklo_epi64(b, d));
    _mm512_store_si512(to + 12, _mm512_unpackhi_epi64(b, d));
}
static FQ_INLINE void k64_addends(fq_cell *to, const char *from)
{
    const __m512i bits = _mm512_srli_epi64(_mm512_loadu_si512(from), 29);
    const __m512i rest = _mm512_and_si512(bits, _mm512_set1_epi64(0xffff)), square = _mm512_mul_epu32(rest, rest);
    const __m512i grown = _mm512_or_si512(rest, _mm512_set1_epi64(INT64_C(1) << 40));
    _mm512_store_si512(to, _mm512_unpacklo_epi64(grown, square));
    _mm512_store_si512(to + 4, _mm512_unpackhi_epi64(grown, square));
}
static FQ_INLINE void cell_add(fq_cell *to, const fq_cell *by)
{
    __m128i *const cell = (__m128i *)(void *)to;
    _mm_store_si128(cell, _mm_add_epi64(_mm_load_si128(cell), _mm_load_si128((const __m128i *)(const void *)by)));
}
#endif
