/* The vocabulary in portable C: one lane, left to the compiler to vectorize. */
#ifndef FQ_SIMD_PORTABLE_H
#define FQ_SIMD_PORTABLE_H

#include <math.h>
#include <string.h>

#include "fq.h"

#define FQ_HAS_FMA 0
#define FQ_CAN_STREAM 0
#define FQ_HAS_PARTS 0
#define FQ_ONE_LANE 1 /* all element types are by_lane.h's */

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
#define FQ_SCALAR_WORDS(type, scalar, magnitude, sign, big)                                                 \
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
    static FQ_INLINE scalar type##_keep(unsigned lanes, scalar v) { return lanes & 1 ? v : 0; }             \
    static FQ_INLINE scalar type##_sub(scalar a, scalar b) { return a - b; }                                \
    static FQ_INLINE double type##_widen(scalar v, size_t part) { return (void)part, (double)v; }           \
    /* Half to even: adding `big` leaves no bit for a fraction. */                                          \
    static FQ_INLINE scalar type##_rint(scalar v)                                                           \
    {                                                                                                       \
        scalar size = magnitude(v);                                                                         \
        return size < big ? sign((size + big) - big, v) : v;                                                \
    }

FQ_SCALAR_WORDS(f32, float, fabsf, copysignf, 0x1p23f)
FQ_SCALAR_WORDS(f64, double, fabs, copysign, 0x1p52)

static FQ_INLINE double f64_add(double a, double b) { return a + b; }
static FQ_INLINE double f64_total(double v) { return v; }
static FQ_INLINE void f64_write(double *to, double v) { *to = v; }

static FQ_INLINE void stream_done(void) {}

#endif
