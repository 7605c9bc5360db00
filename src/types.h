/* The element types, a row each, and the conversions of one element: what does not lie in a vector. */
#ifndef FQ_TYPES_H
#define FQ_TYPES_H

#include <stdint.h>
#include <string.h>

/* X(NUMBER, suffix, storage, module, name): the suffix is that of the type's words, module.name its NumPy type. Two rows
 * of one storage differ in the conversions below; the inclusion of the kernels for each type is in target.h. */
#define FQ_TYPE_ROWS(X)                              \
    X(F16, f16, uint16_t, "numpy", "float16")        \
    X(BF16, bf16, uint16_t, "ml_dtypes", "bfloat16") \
    X(F32, f32, float, "numpy", "float32")           \
    X(F64, f64, double, "numpy", "float64")

#define FQ_TYPE_NAMES "float16, bfloat16, float32 or float64" /* in messages */

#if defined(__GNUC__)
#define FQ_INLINE inline __attribute__((always_inline))
#define FQ_ONE_COPY __attribute__((noinline, unused)) /* one copy a file, for many kernels */
#else
#define FQ_INLINE inline
#define FQ_ONE_COPY inline
#endif

#define FQ_TYPE_NUMBER(NUMBER, ...) FQ_##NUMBER,
typedef enum { FQ_TYPE_ROWS(FQ_TYPE_NUMBER) FQ_TYPES } fq_type;
#undef FQ_TYPE_NUMBER

#define FQ_TYPE_ELEM(NUMBER, suffix, storage, ...) typedef storage suffix##_elem;
FQ_TYPE_ROWS(FQ_TYPE_ELEM)
#undef FQ_TYPE_ELEM

enum { FQ_WIDEST = 8 }; /* bytes of the widest element */

#define FQ_TYPE_SIZE(NUMBER, suffix, ...) type == FQ_##NUMBER ? sizeof(suffix##_elem):
static inline size_t fq_size_of(fq_type type) { return FQ_TYPE_ROWS(FQ_TYPE_SIZE) 0; }
#undef FQ_TYPE_SIZE

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

/* widen_ to the type computed in, narrow_ from it, half to even; positive_zero_ makes +0 of -0. */
static FQ_INLINE float widen_f32(float v) { return v; }
static FQ_INLINE float narrow_f32(float v) { return v; }
static FQ_INLINE float positive_zero_f32(float v) { return v; } /* mul_plus_zero has seen to it */

static FQ_INLINE double widen_f64(double v) { return v; }
static FQ_INLINE double narrow_f64(double v) { return v; }
static FQ_INLINE double positive_zero_f64(double v) { return v; } /* mul_plus_zero has seen to it */

/* Multiplying moves the exponent's bias from 15 to 127 and makes subnormals normal, all exactly. */
static FQ_INLINE float widen_f16(uint16_t half)
{
    const uint32_t sign = (half & 0x8000u) << 16, size = (half & 0x7fffu) << 13;
    const uint32_t value = bits_of_float(float_of_bits(size) * 0x1p112f);
    return float_of_bits(sign | (size >= 0x7c00u << 13 ? size | 0x7f800000 : value));
}

/* Below 2**-14 adding 0.5 shifts the bits that are lost out of the sum; above, half a unit less one is added to the
 * bits, and one more where the last kept bit is odd. */
static FQ_INLINE uint16_t narrow_f16(float v)
{
    const uint32_t bits = bits_of_float(v), size = bits & 0x7fffffff;
    const uint32_t subnormal = bits_of_float(float_of_bits(size) + 0.5f) - 0x3f000000;
    const uint32_t normal = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    const uint32_t special = size > 0x7f800000 ? 0x7e00 | (size >> 13 & 0x1ff) : 0x7c00;
    const uint32_t finite = size < 0x38800000 ? subnormal : normal;
    return (uint16_t)((bits >> 16 & 0x8000) | (size >= 0x47800000 ? special : finite));
}

static FQ_INLINE uint16_t positive_zero_f16(uint16_t v) { return v == 0x8000 ? 0 : v; }

static FQ_INLINE float widen_bf16(uint16_t v) { return float_of_bits((uint32_t)v << 16); }

/* The NaNs that reach this have 16 low zeros, being bfloat16 or the processor's own. */
static FQ_INLINE uint16_t narrow_bf16(float v)
{
    const uint32_t bits = bits_of_float(v);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static FQ_INLINE uint16_t positive_zero_bf16(uint16_t v) { return v == 0x8000 ? 0 : v; }

#endif
