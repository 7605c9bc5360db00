/* The vocabulary over AVX2, FMA and F16C: 8 floats or 4 doubles, masks as 64-bit words. */
#ifndef FQ_SIMD_AVX2_H
#define FQ_SIMD_AVX2_H

#include <immintrin.h>

#include "simd_words.h"

#define FQ_HAS_FMA 1
#define FQ_CAN_STREAM 1
#define FQ_HAS_PARTS 0
#define FQ_HAS_LANE_MASKS 0

/* Each byte of the result takes one bit: its own byte of the word, tested against its own bit. */
static FQ_INLINE __m256i bytes_of_32(uint32_t bits)
{
    const __m256i which_byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i which_bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), which_byte);
    v = _mm256_cmpeq_epi8(_mm256_and_si256(v, which_bit), which_bit);
    return _mm256_and_si256(v, _mm256_set1_epi8(1));
}

static FQ_INLINE void mask64_to_bytes(uint8_t *to, mask64 m)
{
    _mm256_storeu_si256((__m256i *)(void *)to, bytes_of_32((uint32_t)m));
    _mm256_storeu_si256((__m256i *)(void *)(to + 32), bytes_of_32((uint32_t)(m >> 32)));
}

static FQ_INLINE uint32_t zero_bytes_of_32(const uint8_t *from)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)from);
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_setzero_si256()));
}

static FQ_INLINE mask64 mask64_from_bytes(const uint8_t *from)
{
    return ~(zero_bytes_of_32(from) | (mask64)zero_bytes_of_32(from + 32) << 32);
}

static FQ_INLINE void stream_done(void) { _mm_sfence(); }

typedef __m256 f32_vec;
enum { f32_LANES = 8 };
static FQ_INLINE f32_vec f32_set(double v) { return _mm256_set1_ps((float)v); }
static FQ_INLINE f32_vec f32_read(const void *array, size_t i) { return _mm256_loadu_ps((const float *)array + i); }
static FQ_INLINE f32_vec f32_mul(f32_vec a, f32_vec b) { return _mm256_mul_ps(a, b); }
static FQ_INLINE f32_vec f32_div(f32_vec a, f32_vec b) { return _mm256_div_ps(a, b); }
static FQ_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return _mm256_fmadd_ps(a, b, c); }
static FQ_INLINE f32_vec f32_fnma(f32_vec a, f32_vec b, f32_vec c) { return _mm256_fnmadd_ps(a, b, c); }
static FQ_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return _mm256_min_ps(a, b); }
static FQ_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return _mm256_max_ps(a, b); }
static FQ_INLINE f32_vec f32_mul_plus_zero(f32_vec a, f32_vec b) { return f32_fma(a, b, _mm256_setzero_ps()); }
static FQ_INLINE f32_vec f32_limit(f32_vec v)
{
    return f32_max(_mm256_set1_ps(-0x1p30f), f32_min(_mm256_set1_ps(0x1p30f), v));
}
static FQ_INLINE f32_vec f32_rint(f32_vec v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE unsigned f32_equal(f32_vec a, f32_vec b)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
static FQ_INLINE f32_vec f32_keep_above(f32_vec a, f32_vec b, f32_vec v)
{
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ), v);
}
static FQ_INLINE f32_vec f32_drop_above(f32_vec a, f32_vec b, f32_vec v)
{
    return _mm256_andnot_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ), v);
}
/* v in the lanes where a and b are numbers that differ, w in the others. Not by _CMP_NEQ_OQ, which valgrind 3.19 takes for
 * _CMP_NEQ_UQ. */
static FQ_INLINE f32_vec f32_where_apart(f32_vec a, f32_vec b, f32_vec v, f32_vec w)
{
    return _mm256_blendv_ps(w, v, _mm256_or_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), _mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}
static FQ_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return _mm256_add_ps(a, b); }
static FQ_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return _mm256_sub_ps(a, b); }
/* The greater of a and a number b: b where a is NaN. */
static FQ_INLINE f32_vec f32_max_number(f32_vec a, f32_vec b) { return f32_max(a, b); }
/* The size of v, and the power of two below or at that: 0 of a subnormal, infinity of NaN. */
static FQ_INLINE f32_vec f32_abs(f32_vec v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
static FQ_INLINE f32_vec f32_exponent(f32_vec v)
{
    return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000)));
}
static FQ_INLINE f32_vec f32_read_words(const uint16_t *from)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from)));
}
static FQ_INLINE f32_vec f32_copysign(f32_vec v, f32_vec sign)
{
    const f32_vec bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, v), _mm256_and_ps(bit, sign));
}
static FQ_INLINE f32_vec f32_keep(unsigned lanes, f32_vec v)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)lanes), bit), bit);
    return _mm256_and_ps(_mm256_castsi256_ps(set), v);
}

/* As the AVX-512 target's, of 8 rows. */
#define FQ_TOPS_f32 1
static FQ_INLINE void f32_tops_of_lanes(int32_t *to, const float *x, size_t n)
{
    __m256i v[8];
    for (size_t k = 0; k < 8; k++) {
        v[k] = _mm256_setzero_si256();
        for (size_t j = 0; j < n; j += 8) {
            v[k] = _mm256_max_epi32(v[k], _mm256_castps_si256(f32_abs(f32_read(x, k * n + j))));
        }
    }
    for (int k = 0; k < 4; k++) {
        const __m256i a = v[2 * k], b = v[2 * k + 1];
        v[k] = _mm256_max_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    }
    for (int k = 0; k < 2; k++) {
        const __m256i a = v[2 * k], b = v[2 * k + 1];
        v[k] = _mm256_max_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    }
    const __m256i low = _mm256_permute2x128_si256(v[0], v[1], 0x20), high = _mm256_permute2x128_si256(v[0], v[1], 0x31);
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_max_epi32(low, high));
}

typedef __m256d f64_vec;
enum { f64_LANES = 4 };
static FQ_INLINE f64_vec f64_set(double v) { return _mm256_set1_pd(v); }
static FQ_INLINE f64_vec f64_read(const void *array, size_t i) { return _mm256_loadu_pd((const double *)array + i); }
static FQ_INLINE f64_vec f64_mul(f64_vec a, f64_vec b) { return _mm256_mul_pd(a, b); }
static FQ_INLINE f64_vec f64_div(f64_vec a, f64_vec b) { return _mm256_div_pd(a, b); }
static FQ_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return _mm256_fmadd_pd(a, b, c); }
static FQ_INLINE f64_vec f64_fnma(f64_vec a, f64_vec b, f64_vec c) { return _mm256_fnmadd_pd(a, b, c); }
static FQ_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return _mm256_min_pd(a, b); }
static FQ_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return _mm256_max_pd(a, b); }
static FQ_INLINE f64_vec f64_mul_plus_zero(f64_vec a, f64_vec b) { return f64_fma(a, b, _mm256_setzero_pd()); }
static FQ_INLINE f64_vec f64_limit(f64_vec v)
{
    return f64_max(_mm256_set1_pd(-0x1p60), f64_min(_mm256_set1_pd(0x1p60), v));
}
static FQ_INLINE f64_vec f64_rint(f64_vec v)
{
    return _mm256_round_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE unsigned f64_equal(f64_vec a, f64_vec b)
{
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_EQ_OQ));
}
static FQ_INLINE f64_vec f64_keep_above(f64_vec a, f64_vec b, f64_vec v)
{
    return _mm256_and_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ), v);
}
static FQ_INLINE f64_vec f64_drop_above(f64_vec a, f64_vec b, f64_vec v)
{
    return _mm256_andnot_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ), v);
}
static FQ_INLINE f64_vec f64_where_apart(f64_vec a, f64_vec b, f64_vec v, f64_vec w)
{
    return _mm256_blendv_pd(w, v, _mm256_or_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ), _mm256_cmp_pd(a, b, _CMP_GT_OQ)));
}
static FQ_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return _mm256_sub_pd(a, b); }
static FQ_INLINE f64_vec f64_max_number(f64_vec a, f64_vec b) { return f64_max(a, b); }
static FQ_INLINE f64_vec f64_abs(f64_vec v) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), v); }
static FQ_INLINE f64_vec f64_exponent(f64_vec v)
{
    return _mm256_and_pd(v, _mm256_castsi256_pd(_mm256_set1_epi64x(INT64_C(0x7ff0000000000000))));
}
static FQ_INLINE f64_vec f64_read_words(const uint16_t *from)
{
    return _mm256_cvtepi32_pd(_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from)));
}
static FQ_INLINE f64_vec f64_copysign(f64_vec v, f64_vec sign)
{
    const f64_vec bit = _mm256_set1_pd(-0.0);
    return _mm256_or_pd(_mm256_andnot_pd(bit, v), _mm256_and_pd(bit, sign));
}
static FQ_INLINE f64_vec f64_keep(unsigned lanes, f64_vec v)
{
    const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
    __m256i set = _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x((long long)lanes), bit), bit);
    return _mm256_and_pd(_mm256_castsi256_pd(set), v);
}
static FQ_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return _mm256_add_pd(a, b); }
/* Halves added to each other, until one lane is left. */
static FQ_INLINE double f64_total(f64_vec v)
{
    const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}
static FQ_INLINE void f64_write(double *to, f64_vec v) { _mm256_storeu_pd(to, v); }
static FQ_INLINE f64_vec f64_widen(f64_vec v, size_t part) { return (void)part, v; }
static FQ_INLINE f64_vec f32_widen(f32_vec v, size_t part)
{
    return _mm256_cvtps_pd(part ? _mm256_extractf128_ps(v, 1) : _mm256_castps256_ps128(v));
}

/* Integers: the zero points of the lanes. A level is rounded half to even and NaN is 0, then zero_point is added. */
typedef __m256i f32_integers;
static FQ_INLINE f32_integers f32_integers_set(const void *array, size_t i)
{
    return _mm256_set1_epi32(((const int32_t *)array)[i]);
}
static FQ_INLINE f32_integers f32_integers_read(const void *array, size_t i)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)((const int32_t *)array + i));
}
static FQ_INLINE __m256i f32_levels(f32_vec v, f32_integers zero)
{
    const __m256 level = _mm256_and_ps(_mm256_cmp_ps(v, v, _CMP_ORD_Q), f32_rint(v));
    return _mm256_add_epi32(_mm256_cvtps_epi32(level), zero);
}
static FQ_INLINE void f32_write_levels(int32_t *to, f32_vec v, f32_integers zero)
{
    _mm256_storeu_si256((__m256i *)(void *)to, f32_levels(v, zero));
}
/* The low bytes of 16-bit halves, which packus would not cut but limit. */
static FQ_INLINE __m128i low_bytes(__m128i v) { return _mm_and_si128(v, _mm_set1_epi32(0xff)); }
static FQ_INLINE void f32_write_bytes(uint8_t *to, f32_vec v, f32_integers zero)
{
    const __m256i level = f32_levels(v, zero);
    const __m128i low = low_bytes(_mm256_castsi256_si128(level)), high = low_bytes(_mm256_extracti128_si256(level, 1));
    const __m128i halves = _mm_packus_epi32(low, high);
    _mm_storel_epi64((__m128i *)(void *)to, _mm_packus_epi16(halves, halves));
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

/* Four vectors as they are, as bytes, or with the low four bits of two levels in each byte. The packs work on halves of a vector, whose dwords
 * the permutation puts in order. */
#define FQ_FOUR_f32 1
static FQ_INLINE void f32_write_four(uint8_t *to, const f32_integers level[4], fq_levels_as as)
{
    const int nibbles = as == AS_NIBBLES;
    const __m256i low = _mm256_set1_epi16(nibbles ? 15 : 0xff), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i first = _mm256_and_si256(_mm256_packs_epi32(level[0], level[1]), low);
    const __m256i second = _mm256_and_si256(_mm256_packs_epi32(level[2], level[3]), low);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
    for (int k = 0; as == AS_INT32 && k < 4; k++) {
        _mm256_storeu_si256((__m256i *)(void *)(to + 32 * k), level[k]);
    }
    if (nibbles) {
        const __m256i pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(0x1001));
        const __m128i half = _mm256_extracti128_si256(pairs, 1);
        _mm_storeu_si128((__m128i *)(void *)to, _mm_packus_epi16(_mm256_castsi256_si128(pairs), half));
    }
    else if (as == AS_BYTES) {
        _mm256_storeu_si256((__m256i *)(void *)to, bytes);
    }
}
static FQ_INLINE int f32_sure_levels(f32_integers level[4], const float *x, const f32_bounds *b)
{
    __m256 unsure = _mm256_setzero_ps();
    for (int k = 0; k < 4; k++) {
        const __m256 v = _mm256_loadu_ps(x + 8 * k), magic = _mm256_set1_ps(FQ_MAGIC);
        const __m256 one = f32_fma(v, b->below, magic), other = f32_fma(v, b->above, magic);
        unsure = _mm256_or_ps(unsure, _mm256_cmp_ps(one, other, _CMP_NEQ_UQ));
        level[k] = _mm256_add_epi32(_mm256_castps_si256(f32_max(b->lo, f32_min(b->hi, one))), b->zero);
    }
    return _mm256_movemask_ps(unsure) == 0;
}
static FQ_INLINE f32_integers f32_without_magic(f32_integers zero)
{
    return _mm256_sub_epi32(zero, _mm256_castps_si256(_mm256_set1_ps(FQ_MAGIC)));
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
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(split_codes(from, 4)));
}
static FQ_INLINE f32_vec f32_read_bytes(const int8_t *from)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from)));
}
static FQ_INLINE f32_vec f32_read_levels(const int32_t *from, f32_integers zero)
{
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(f32_integers_read(from, 0), zero));
}
typedef __m256d f64_integers;
static FQ_INLINE f64_integers f64_integers_set(const void *array, size_t i)
{
    return _mm256_set1_pd(((const double *)array)[i]);
}
static FQ_INLINE f64_integers f64_integers_read(const void *array, size_t i) { return f64_read(array, i); }
static FQ_INLINE __m128i f64_levels(f64_vec v, f64_integers zero)
{
    const __m256d level = _mm256_and_pd(_mm256_cmp_pd(v, v, _CMP_ORD_Q), f64_rint(v));
    return _mm256_cvtpd_epi32(_mm256_add_pd(level, zero));
}
static FQ_INLINE void f64_write_levels(int32_t *to, f64_vec v, f64_integers zero)
{
    _mm_storeu_si128((__m128i *)(void *)to, f64_levels(v, zero));
}
static FQ_INLINE void f64_write_bytes(uint8_t *to, f64_vec v, f64_integers zero)
{
    const __m128i low = low_bytes(f64_levels(v, zero)), halves = _mm_packus_epi32(low, low);
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    memcpy(to, &bytes, sizeof bytes);
}
static FQ_INLINE f64_vec f64_read_nibbles(const uint8_t *from)
{
    return _mm256_cvtepi32_pd(_mm_cvtepi8_epi32(split_codes(from, 2)));
}
static FQ_INLINE f64_vec f64_read_bytes(const int8_t *from)
{
    int bytes;
    memcpy(&bytes, from, sizeof bytes);
    return _mm256_cvtepi32_pd(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(bytes)));
}
static FQ_INLINE f64_vec f64_read_levels(const int32_t *from, f64_integers zero)
{
    return _mm256_sub_pd(_mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)(const void *)from)), zero);
}

#define FQ_OWN_f32 1
static FQ_INLINE f32_vec load_f32(const float *from) { return _mm256_loadu_ps(from); }
typedef __m256 f32_packed;
static FQ_INLINE f32_packed pack_f32(f32_vec v) { return v; }
static FQ_INLINE f32_packed no_minus_zero_f32(f32_packed v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE void store_f32(float *to, f32_packed v) { _mm256_storeu_ps(to, v); }
static FQ_INLINE void stream_f32(float *to, f32_packed v) { _mm256_stream_ps(to, v); }

#define FQ_OWN_f64 1
static FQ_INLINE f64_vec load_f64(const double *from) { return _mm256_loadu_pd(from); }
typedef __m256d f64_packed;
static FQ_INLINE f64_packed pack_f64(f64_vec v) { return v; }
static FQ_INLINE f64_packed no_minus_zero_f64(f64_packed v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE void store_f64(double *to, f64_packed v) { _mm256_storeu_pd(to, v); }
static FQ_INLINE void stream_f64(double *to, f64_packed v) { _mm256_stream_pd(to, v); }

static FQ_INLINE __m128i load_16_bits(const uint16_t *from)
{
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}
static FQ_INLINE void store_16_bits(uint16_t *to, __m128i v) { _mm_storeu_si128((__m128i *)(void *)to, v); }
static FQ_INLINE void stream_16_bits(uint16_t *to, __m128i v) { _mm_stream_si128((__m128i *)(void *)to, v); }
static FQ_INLINE __m128i no_minus_zero_16_bits(__m128i v)
{
    return _mm_andnot_si128(_mm_cmpeq_epi16(v, _mm_set1_epi16(-0x8000)), v);
}

/* Two vectors of 16-bit elements as one, the wider for storing past the cache. */
static FQ_INLINE __m256i no_minus_zero_16(__m256i v)
{
    return _mm256_andnot_si256(_mm256_cmpeq_epi16(v, _mm256_set1_epi16(-0x8000)), v);
}
static FQ_INLINE void store_16(uint16_t *to, __m256i v) { _mm256_storeu_si256((__m256i *)(void *)to, v); }
static FQ_INLINE void stream_16(uint16_t *to, __m256i v) { _mm256_stream_si256((__m256i *)(void *)to, v); }

#define FQ_OWN_f16 1
static FQ_INLINE f32_vec load_f16(const uint16_t *from) { return _mm256_cvtph_ps(load_16_bits(from)); }
typedef __m128i f16_packed;
static FQ_INLINE f16_packed pack_f16(f32_vec v)
{
    return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static FQ_INLINE f16_packed no_minus_zero_f16(f16_packed v) { return no_minus_zero_16_bits(v); }
static FQ_INLINE void store_f16(uint16_t *to, f16_packed v) { store_16_bits(to, v); }
static FQ_INLINE void stream_f16(uint16_t *to, f16_packed v) { stream_16_bits(to, v); }

#define FQ_PAIRS_f16 1
static FQ_INLINE __m256i pack_pair_f16(f32_vec v, f32_vec w) { return _mm256_set_m128i(pack_f16(w), pack_f16(v)); }
static FQ_INLINE __m256i no_minus_zero_pair_f16(__m256i v) { return no_minus_zero_16(v); }
static FQ_INLINE void store_pair_f16(uint16_t *to, __m256i v) { store_16(to, v); }
static FQ_INLINE void stream_pair_f16(uint16_t *to, __m256i v) { stream_16(to, v); }

#define FQ_OWN_bf16 1
static FQ_INLINE f32_vec load_bf16(const uint16_t *from)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16_bits(from)), 16));
}
typedef __m128i bf16_packed;
/* Half to even. The NaNs that reach this have 16 low zeros, being bfloat16 or the processor's own. */
static FQ_INLINE __m256i round_bf16(f32_vec v)
{
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}
static FQ_INLINE bf16_packed pack_bf16(f32_vec v)
{
    const __m256i bits = round_bf16(v);
    return _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
}
static FQ_INLINE bf16_packed no_minus_zero_bf16(bf16_packed v) { return no_minus_zero_16_bits(v); }
static FQ_INLINE void store_bf16(uint16_t *to, bf16_packed v) { store_16_bits(to, v); }
static FQ_INLINE void stream_bf16(uint16_t *to, bf16_packed v) { stream_16_bits(to, v); }

#define FQ_PAIRS_bf16 1
/* packus works on the halves of its vectors apart: the middle quarters change places. */
static FQ_INLINE __m256i pack_pair_bf16(f32_vec v, f32_vec w)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(round_bf16(v), round_bf16(w)), _MM_SHUFFLE(3, 1, 2, 0));
}
static FQ_INLINE __m256i no_minus_zero_pair_bf16(__m256i v) { return no_minus_zero_16(v); }
static FQ_INLINE void store_pair_bf16(uint16_t *to, __m256i v) { store_16(to, v); }
static FQ_INLINE void stream_pair_bf16(uint16_t *to, __m256i v) { stream_16(to, v); }

/* Keys of elements (keys.h): the least and greatest of a lane, and of all lanes. */
static FQ_INLINE __m256i below_zero_16(__m256i v) { return _mm256_srai_epi16(v, 15); }
static FQ_INLINE __m256i below_zero_32(__m256i v) { return _mm256_srai_epi32(v, 31); }
static FQ_INLINE __m256i below_zero_64(__m256i v) { return _mm256_cmpgt_epi64(_mm256_setzero_si256(), v); }
static FQ_INLINE __m256i least_16(__m256i a, __m256i b) { return _mm256_min_epi16(a, b); }
static FQ_INLINE __m256i least_32(__m256i a, __m256i b) { return _mm256_min_epi32(a, b); }
static FQ_INLINE __m256i least_64(__m256i a, __m256i b) { return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b)); }
static FQ_INLINE __m256i greatest_16(__m256i a, __m256i b) { return _mm256_max_epi16(a, b); }
static FQ_INLINE __m256i greatest_32(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
static FQ_INLINE __m256i greatest_64(__m256i a, __m256i b)
{
    return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b));
}
#define FQ_KEY_WORDS(key, bits)                                                                                  \
    typedef __m256i key##_vec;                                                                                   \
    enum { key##_LANES = 256 / bits };                                                                           \
    static FQ_INLINE __m256i key##_load(const char *from)                                                        \
    {                                                                                                            \
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)from);                               \
        return _mm256_xor_si256(v, _mm256_srli_epi##bits(below_zero_##bits(v), 1));                              \
    }                                                                                                            \
    static FQ_INLINE __m256i key##_least(__m256i a, __m256i b) { return least_##bits(a, b); }                    \
    static FQ_INLINE __m256i key##_greatest(__m256i a, __m256i b) { return greatest_##bits(a, b); }              \
    /* The greatest key is the least of the complements: both are found at once, each in a half of a vector. */  \
    static FQ_INLINE void key##_fold(__m256i least, __m256i greatest, int64_t *low, int64_t *high)               \
    {                                                                                                            \
        const __m256i other = _mm256_xor_si256(greatest, _mm256_set1_epi32(-1));                                 \
        const __m256i lower = _mm256_permute2x128_si256(least, other, 0x20);                                     \
        __m256i v = key##_least(lower, _mm256_permute2x128_si256(least, other, 0x31));                           \
        v = key##_least(v, _mm256_shuffle_epi32(v, 0x4e));                                                       \
        v = bits < 64 ? key##_least(v, _mm256_shuffle_epi32(v, 0xb1)) : v;                                       \
        v = bits < 32 ? key##_least(v, _mm256_or_si256(_mm256_srli_epi32(v, 16), _mm256_slli_epi32(v, 16))) : v; \
        *low = (int##bits##_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(v));                                      \
        *high = ~(int64_t)(int##bits##_t)_mm_cvtsi128_si64(_mm256_extracti128_si256(v, 1));                      \
    }
FQ_KEY_WORDS(k16, 16)
FQ_KEY_WORDS(k32, 32)
FQ_KEY_WORDS(k64, 64)

/* What the cells of elements grow by (count_bins.h): element j's is at j % 4 * 2 + j / 4, and at j % 2 * 2 + j / 2 of float64. */
#define FQ_HAS_ADDENDS 1
enum { k32_ADDENDS = 8, k64_ADDENDS = 4 };
static FQ_INLINE void store_two(fq_cell *to, __m256i v) { _mm256_store_si256((__m256i *)(void *)to, v); }
static FQ_INLINE __m256i load_raw(const char *from) { return _mm256_loadu_si256((const __m256i *)(const void *)from); }
static FQ_INLINE void k32_addends(fq_cell *to, const char *from)
{
    const __m256i rest = _mm256_and_si256(load_raw(from), _mm256_set1_epi32(0xffff));
    const __m256i square = _mm256_mullo_epi32(rest, rest), zero = _mm256_setzero_si256();
    const __m256i one = _mm256_set1_epi32(1 << 8); /* 1 << 40 of 64 bits */
    const __m256i a = _mm256_unpacklo_epi32(rest, one), b = _mm256_unpackhi_epi32(rest, one);
    const __m256i c = _mm256_unpacklo_epi32(square, zero), d = _mm256_unpackhi_epi32(square, zero);
    store_two(to, _mm256_unpacklo_epi64(a, c)), store_two(to + 2, _mm256_unpackhi_epi64(a, c));
    store_two(to + 4, _mm256_unpacklo_epi64(b, d)), store_two(to + 6, _mm256_unpackhi_epi64(b, d));
}
static FQ_INLINE void k64_addends(fq_cell *to, const char *from)
{
    const __m256i bits = _mm256_srli_epi64(load_raw(from), 29);
    const __m256i rest = _mm256_and_si256(bits, _mm256_set1_epi64x(0xffff)), square = _mm256_mul_epu32(rest, rest);
    const __m256i grown = _mm256_or_si256(rest, _mm256_set1_epi64x(INT64_C(1) << 40));
    store_two(to, _mm256_unpacklo_epi64(grown, square)), store_two(to + 2, _mm256_unpackhi_epi64(grown, square));
}
static FQ_INLINE void cell_add(fq_cell *to, const fq_cell *by)
{
    __m128i *const cell = (__m128i *)(void *)to;
    _mm_store_si128(cell, _mm_add_epi64(_mm_load_si128(cell), _mm_load_si128((const __m128i *)(const void *)by)));
}
#endif
