/* The vocabulary in portable C: one lane, left to the compiler to vectorize. */
#ifndef FQ_SIMD_PORTABLE_H
#define FQ_SIMD_PORTABLE_H

#include <math.h>
#include <string.h>

#include "fq.h"
#include "keys.h"

#define FQ_HAS_FMA 0
#define FQ_CAN_STREAM 0
#define FQ_HAS_PARTS 0
#define FQ_HAS_LANE_MASKS 0
#define FQ_HAS_ADDENDS 0 /* cells grow by count_bins.h's own arithmetic */
#define FQ_ONE_LANE 1 /* all element types are by_lane.h's */

/* How the conversions of a type come into kernels: those of float16 take twenty operations, and kernels of thirty times the text
 * of others where compilers make vectors of them. */
#if defined(__clang__) /* which warns of a loop that it was told to make vectors of and did not */
#define FQ_CONVERTS_f16 FQ_INLINE
#else
#define FQ_CONVERTS_f16 FQ_ONE_COPY
#endif
#define FQ_CONVERTS_bf16 FQ_INLINE
#define FQ_CONVERTS_f32 FQ_INLINE
#define FQ_CONVERTS_f64 FQ_INLINE

/* The only overlaps that reach a kernel: an output that is its input, element for element, and one that lies behind it in the
 * order of the elements, so that each is read before it is written. */
#if defined(__clang__)
#define FQ_LANES_LOOP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define FQ_LANES_LOOP _Pragma("GCC ivdep")
#else
#define FQ_LANES_LOOP
#endif

/* Keeps a loop that it stands in from becoming vectors, where the text of these would be larger than their speed is worth. */
#if defined(__GNUC__)
#define FQ_STAYS_SCALAR __asm__ volatile("");
#else
#define FQ_STAYS_SCALAR
#endif

static FQ_INLINE void prefetch_to_read(const void *from, ptrdiff_t by) { (void)from, (void)by; }
static FQ_INLINE void prefetch_to_write(const void *from, ptrdiff_t by) { (void)from, (void)by; }

/* A mask of 64 lanes: a byte for each, 0 or 1. */
typedef struct {
    uint8_t lane[FQ_BLOCK];
} mask64;

static FQ_INLINE mask64 mask64_none(void) { return (mask64){{0}}; }
static FQ_INLINE void mask64_put(mask64 *m, size_t j, unsigned lanes) { m->lane[j] = (uint8_t)lanes; }
static FQ_INLINE unsigned mask64_get(const mask64 *m, size_t j) { return m->lane[j]; }
static FQ_INLINE void mask64_to_bytes(uint8_t *to, mask64 m) { memcpy(to, m.lane, FQ_BLOCK); }
static FQ_INLINE uint64_t mask64_to_word(mask64 m)
{
    uint64_t word = 0;
    for (size_t j = 0; j < FQ_BLOCK; j++) {
        word |= (uint64_t)m.lane[j] << j;
    }
    return word;
}
static FQ_INLINE mask64 mask64_from_word(uint64_t word)
{
    mask64 m;
    for (size_t j = 0; j < FQ_BLOCK; j++) {
        m.lane[j] = word >> j & 1;
    }
    return m;
}
static FQ_INLINE mask64 mask64_from_bytes(const uint8_t *from)
{
    mask64 m;
    for (size_t j = 0; j < FQ_BLOCK; j++) {
        m.lane[j] = from[j] != 0;
    }
    return m;
}

/* The same text for float and double: `big` is 2 to the power of the stored mantissa bits. */
#define FQ_SCALAR_WORDS(type, scalar, integer, infinity, magnitude, sign, big)                              \
    typedef scalar type##_vec;                                                                              \
    enum { type##_LANES = 1 };                                                                              \
    static FQ_INLINE scalar type##_set(double v) { return (scalar)v; }                                      \
    static FQ_INLINE scalar type##_read(const void *array, size_t i) { return ((const scalar *)array)[i]; } \
    static FQ_INLINE scalar type##_mul(scalar a, scalar b) { return a * b; }                                \
    static FQ_INLINE scalar type##_div(scalar a, scalar b) { return a / b; }                                \
    static FQ_INLINE scalar type##_mul_plus_zero(scalar a, scalar b) { return a * b + 0; }                  \
    static FQ_INLINE scalar type##_min(scalar a, scalar b) { return a < b ? a : b; }                        \
    static FQ_INLINE scalar type##_max(scalar a, scalar b) { return a > b ? a : b; }                        \
    static FQ_INLINE unsigned type##_equal(scalar a, scalar b) { return a == b; }                           \
    /* v in the lanes where a > b, and in the others. */                                                    \
    static FQ_INLINE scalar type##_keep_above(scalar a, scalar b, scalar v) { return a > b ? v : 0; }       \
    static FQ_INLINE scalar type##_drop_above(scalar a, scalar b, scalar v) { return a > b ? 0 : v; }       \
    /* v in the lanes where a and b are numbers that differ, w in the others. */                            \
    static FQ_INLINE scalar type##_where_apart(scalar a, scalar b, scalar v, scalar w)                      \
    {                                                                                                       \
        return a < b || a > b ? v : w;                                                                      \
    }                                                                                                       \
    /* The greater of a and a number b: b where a is NaN. */                                                \
    static FQ_INLINE scalar type##_max_number(scalar a, scalar b) { return a > b ? a : b; }                 \
    static FQ_INLINE scalar type##_sub(scalar a, scalar b) { return a - b; }                                \
    static FQ_INLINE scalar type##_abs(scalar v) { return magnitude(v); }                                   \
    /* The power of two below or at a size: 0 of a subnormal, infinity of NaN. */                           \
    static FQ_INLINE scalar type##_exponent(scalar v)                                                       \
    {                                                                                                       \
        integer bits;                                                                                       \
        memcpy(&bits, &v, sizeof v);                                                                        \
        bits &= infinity;                                                                                   \
        memcpy(&v, &bits, sizeof v);                                                                        \
        return v;                                                                                           \
    }                                                                                                       \
    static FQ_INLINE scalar type##_read_words(const uint16_t *from) { return (scalar) * from; }             \
    static FQ_INLINE scalar type##_copysign(scalar v, scalar from) { return sign(v, from); }                \
    static FQ_INLINE scalar type##_keep(unsigned lanes, scalar v) { return lanes & 1 ? v : 0; }             \
    static FQ_INLINE double type##_widen(scalar v, size_t part) { return (void)part, (double)v; }           \
    /* Half to even: adding `big` leaves no bit for a fraction. */                                          \
    static FQ_INLINE scalar type##_rint(scalar v)                                                           \
    {                                                                                                       \
        scalar size = magnitude(v);                                                                         \
        return size < big ? sign((size + big) - big, v) : v;                                                \
    }

FQ_SCALAR_WORDS(f32, float, uint32_t, UINT32_C(0x7f800000), fabsf, copysignf, 0x1p23f)
FQ_SCALAR_WORDS(f64, double, uint64_t, UINT64_C(0x7ff0000000000000), fabs, copysign, 0x1p52)

/* c - a * b rounded once, for a residual: |a| is at most 2**53 (2**24), and c so near to a * b that the first difference
 * is exact. In float32 the product is exact in float64; in float64 its error comes from halves of the factors (Dekker),
 * where 1 <= b < 2. */
static FQ_INLINE float f32_fnma(float a, float b, float c) { return (float)((double)c - (double)a * (double)b); }
static FQ_INLINE double f64_upper_half(double v)
{
    const double shifted = v * 0x1.0000002p27;
    return shifted - (shifted - v);
}
static FQ_INLINE double f64_fnma(double a, double b, double c)
{
    const double product = a * b, a1 = f64_upper_half(a), b1 = f64_upper_half(b), a2 = a - a1, b2 = b - b1;
    return (c - product) - (((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2);
}

/* Integers: the zero points of the lanes. A level is rounded half to even and NaN is 0, then zero_point is added. */
typedef int32_t f32_integers;
typedef double f64_integers;
static FQ_INLINE int32_t f32_integers_set(const void *array, size_t i) { return ((const int32_t *)array)[i]; }
static FQ_INLINE int32_t f32_integers_read(const void *array, size_t i) { return ((const int32_t *)array)[i]; }
static FQ_INLINE void f32_write_levels(int32_t *to, float v, int32_t zero)
{
    *to = (int32_t)(v == v ? f32_rint(v) : 0) + zero;
}
static FQ_INLINE void f32_write_bytes(uint8_t *to, float v, int32_t zero)
{
    *to = (uint8_t)((int32_t)(v == v ? f32_rint(v) : 0) + zero);
}
/* The first of two. */
static FQ_INLINE int8_t first_code(const uint8_t *from) { return (int8_t)(((*from & 15) ^ 8) - 8); }
static FQ_INLINE float f32_read_nibbles(const uint8_t *from) { return (float)first_code(from); }
static FQ_INLINE float f32_read_bytes(const int8_t *from) { return (float)*from; }
static FQ_INLINE float f32_read_levels(const int32_t *from, int32_t zero) { return (float)(*from - zero); }
static FQ_INLINE double f64_integers_set(const void *array, size_t i) { return f64_read(array, i); }
static FQ_INLINE double f64_integers_read(const void *array, size_t i) { return f64_read(array, i); }
static FQ_INLINE void f64_write_levels(int32_t *to, double v, double zero)
{
    *to = (int32_t)((v == v ? f64_rint(v) : 0) + zero);
}
static FQ_INLINE void f64_write_bytes(uint8_t *to, double v, double zero)
{
    *to = (uint8_t)(int32_t)((v == v ? f64_rint(v) : 0) + zero);
}
static FQ_INLINE double f64_read_nibbles(const uint8_t *from) { return (double)first_code(from); }
static FQ_INLINE double f64_read_bytes(const int8_t *from) { return (double)*from; }
static FQ_INLINE double f64_read_levels(const int32_t *from, double zero) { return (double)*from - zero; }

static FQ_INLINE float f32_add(float a, float b) { return a + b; }
static FQ_INLINE double f64_add(double a, double b) { return a + b; }
static FQ_INLINE double f64_total(double v) { return v; }
static FQ_INLINE void f64_write(double *to, double v) { *to = v; }

static FQ_INLINE void stream_done(void) {}

/* Keys of elements (keys.h), one at a time. */
#define FQ_KEY_WORDS(key, bits)                                                                                \
    typedef int##bits##_t key##_vec;                                                                           \
    enum { key##_LANES = 1 };                                                                                  \
    static FQ_INLINE int##bits##_t key##_load(const char *from) { return key##_key(from); }                    \
    static FQ_INLINE int##bits##_t key##_least(int##bits##_t a, int##bits##_t b) { return a < b ? a : b; }     \
    static FQ_INLINE int##bits##_t key##_greatest(int##bits##_t a, int##bits##_t b) { return a > b ? a : b; }  \
    static FQ_INLINE void key##_fold(int##bits##_t least, int##bits##_t greatest, int64_t *low, int64_t *high) \
    {                                                                                                          \
        *low = least, *high = greatest;                                                                        \
    }
FQ_KEY_WORDS(k16, 16)
FQ_KEY_WORDS(k32, 32)
FQ_KEY_WORDS(k64, 64)

#endif
