/* The vocabulary in portable C: one lane, left to the compiler to vectorize. */
#ifndef FQ_SIMD_PORTABLE_H
#define FQ_SIMD_PORTABLE_H

#include <math.h>
#include <string.h>

#include "fq.h"

#define FQ_HAS_FMA 0
#define FQ_CAN_STREAM 0
#define FQ_HAS_PARTS 0

#if defined(__GNUC__)
#define FQ_INLINE inline __attribute__((always_inline))
#else
#define FQ_INLINE inline
#endif
/* The only overlap that reaches a kernel is an output that is its input, element for element. */
#if defined(__clang__)
#define FQ_LANES_LOOP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define FQ_LANES_LOOP _Pragma("GCC ivdep")
#else
#define FQ_LANES_LOOP
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
#define FQ_SCALAR_WORDS(type, scalar, magnitude, sign, big)                                              \
    typedef scalar type##_vec;                                                                                \
    enum { type##_LANES = 1 };                                                                                \
    static FQ_INLINE scalar type##_set(double v) { return (scalar)v; }                                        \
    static FQ_INLINE scalar type##_read(const void *array, size_t i) { return ((const scalar *)array)[i]; }   \
    static FQ_INLINE scalar type##_mul(scalar a, scalar b) { return a * b; }                                  \
    static FQ_INLINE scalar type##_div(scalar a, scalar b) { return a / b; }                                  \
    static FQ_INLINE scalar type##_mul_plus_zero(scalar a, scalar b) { return a * b + 0; }                    \
    static FQ_INLINE scalar type##_min(scalar a, scalar b) { return a < b ? a : b; }                          \
    static FQ_INLINE scalar type##_max(scalar a, scalar b) { return a > b ? a : b; }                          \
    static FQ_INLINE unsigned type##_equal(scalar a, scalar b) { return a == b; }                             \
    static FQ_INLINE scalar type##_keep(unsigned lanes, scalar v) { return lanes & 1 ? v : 0; }               \
    static FQ_INLINE scalar type##_sub(scalar a, scalar b) { return a - b; }                                  \
    static FQ_INLINE double type##_widen(scalar v, size_t part) { return (void)part, (double)v; }             \
    /* Half to even: adding `big` leaves no bit for a fraction. */                                            \
    static FQ_INLINE scalar type##_rint(scalar v)                                                             \
    {                                                                                                         \
        scalar size = magnitude(v);                                                                           \
        return size < big ? sign((size + big) - big, v) : v;                                                  \
    }

FQ_SCALAR_WORDS(f32, float, fabsf, copysignf, 0x1p23f)
FQ_SCALAR_WORDS(f64, double, fabs, copysign, 0x1p52)

static FQ_INLINE double f64_add(double a, double b) { return a + b; }
static FQ_INLINE double f64_total(double v) { return v; }
static FQ_INLINE void f64_write(double *to, double v) { *to = v; }

static FQ_INLINE void stream_done(void) {}

/* One value is packed as it is stored; there is no storing past the cache. */
#define FQ_SCALAR_STORES(type, elem)                                                                          \
    typedef elem type##_packed;                                                                               \
    static FQ_INLINE void store_##type(elem *to, elem v) { *to = v; }                                         \
    static FQ_INLINE void stream_##type(elem *to, elem v) { *to = v; }

FQ_SCALAR_STORES(f16, uint16_t)
FQ_SCALAR_STORES(bf16, uint16_t)
FQ_SCALAR_STORES(f32, float)
FQ_SCALAR_STORES(f64, double)

static FQ_INLINE float load_f32(const float *from) { return *from; }
static FQ_INLINE float pack_f32(float v) { return v; }
static FQ_INLINE float no_minus_zero_f32(float v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE double load_f64(const double *from) { return *from; }
static FQ_INLINE double pack_f64(double v) { return v; }
static FQ_INLINE double no_minus_zero_f64(double v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE uint16_t no_minus_zero_f16(uint16_t v) { return v == 0x8000 ? 0 : v; }
static FQ_INLINE uint16_t no_minus_zero_bf16(uint16_t v) { return v == 0x8000 ? 0 : v; }

static FQ_INLINE float float_of_bits(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static FQ_INLINE uint32_t bits_of_float(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* Multiplying moves the exponent's bias from 15 to 127 and makes subnormals normal, all exactly. */
static FQ_INLINE float load_f16(const uint16_t *from)
{
    const uint32_t half = *from;
    const uint32_t sign = (half & 0x8000) << 16, size = (half & 0x7fff) << 13;
    const uint32_t value = bits_of_float(float_of_bits(size) * 0x1p112f);
    return float_of_bits(sign | (size >= 0x7c00u << 13 ? size | 0x7f800000 : value));
}

/* Half to even. Below 2**-14 adding 0.5 shifts the bits that are lost out of the sum; above, half a unit less one
 * is added to the bits, and one more where the last kept bit is odd. */
static FQ_INLINE uint16_t pack_f16(float v)
{
    const uint32_t bits = bits_of_float(v), size = bits & 0x7fffffff;
    const uint32_t subnormal = bits_of_float(float_of_bits(size) + 0.5f) - 0x3f000000;
    const uint32_t normal = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    const uint32_t special = size > 0x7f800000 ? 0x7e00 | (size >> 13 & 0x1ff) : 0x7c00;
    const uint32_t finite = size < 0x38800000 ? subnormal : normal;
    return (uint16_t)((bits >> 16 & 0x8000) | (size >= 0x47800000 ? special : finite));
}

static FQ_INLINE float load_bf16(const uint16_t *from) { return float_of_bits((uint32_t)*from << 16); }

/* Half to even. The NaNs that reach this have 16 low zeros, being bfloat16 or the processor's own. */
static FQ_INLINE uint16_t pack_bf16(float v)
{
    const uint32_t bits = bits_of_float(v);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#endif
