/* The vocabulary over AArch64 NEON: 4 floats or 2 doubles, masks as 64-bit words. */
#ifndef FQ_SIMD_NEON_H
#define FQ_SIMD_NEON_H

#include <arm_neon.h>

#include "simd_words.h"

#define FQ_HAS_FMA 1
#define FQ_CAN_STREAM 0
#define FQ_HAS_PARTS 0
#define FQ_HAS_LANE_MASKS 0
#define FQ_HAS_ADDENDS 0 /* cells grow by count_bins.h's own arithmetic */

/* The bit that each of 8 bytes takes, twice. */
static FQ_INLINE uint8x16_t byte_bits(void) { return vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201)); }

static FQ_INLINE void mask64_to_bytes(uint8_t *to, mask64 m)
{
    for (size_t i = 0; i < FQ_BLOCK; i += 16, m >>= 16) {
        uint8x16_t v = vcombine_u8(vdup_n_u8((uint8_t)m), vdup_n_u8((uint8_t)(m >> 8)));
        vst1q_u8(to + i, vandq_u8(vtstq_u8(v, byte_bits()), vdupq_n_u8(1)));
    }
}

static FQ_INLINE uint8x16_t bits_of_16(const uint8_t *from)
{
    uint8x16_t v = vld1q_u8(from);
    return vandq_u8(vtstq_u8(v, v), byte_bits());
}

/* Three sums of neighbours gather the bits of each 8 bytes. */
static FQ_INLINE mask64 mask64_from_bytes(const uint8_t *from)
{
    uint8x16_t low = vpaddq_u8(bits_of_16(from), bits_of_16(from + 16));
    uint8x16_t high = vpaddq_u8(bits_of_16(from + 32), bits_of_16(from + 48));
    uint8x16_t v = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(v, v)), 0);
}

static FQ_INLINE void stream_done(void) {}

/* min and max give NaN when either operand is NaN. */
typedef float32x4_t f32_vec;
enum { f32_LANES = 4 };
static FQ_INLINE f32_vec f32_set(double v) { return vdupq_n_f32((float)v); }
static FQ_INLINE f32_vec f32_read(const void *array, size_t i) { return vld1q_f32((const float *)array + i); }
static FQ_INLINE f32_vec f32_mul(f32_vec a, f32_vec b) { return vmulq_f32(a, b); }
static FQ_INLINE f32_vec f32_div(f32_vec a, f32_vec b) { return vdivq_f32(a, b); }
static FQ_INLINE f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return vfmaq_f32(c, a, b); }
static FQ_INLINE f32_vec f32_fnma(f32_vec a, f32_vec b, f32_vec c) { return vfmsq_f32(c, a, b); }
static FQ_INLINE f32_vec f32_min(f32_vec a, f32_vec b) { return vminq_f32(a, b); }
static FQ_INLINE f32_vec f32_max(f32_vec a, f32_vec b) { return vmaxq_f32(a, b); }
/* The greater of a and a number b: b where a is NaN. */
static FQ_INLINE f32_vec f32_max_number(f32_vec a, f32_vec b) { return vmaxnmq_f32(a, b); }
static FQ_INLINE f32_vec f32_mul_plus_zero(f32_vec a, f32_vec b) { return f32_fma(a, b, vdupq_n_f32(0)); }
static FQ_INLINE f32_vec f32_limit(f32_vec v)
{
    return f32_max(vdupq_n_f32(-0x1p30f), f32_min(vdupq_n_f32(0x1p30f), v));
}
static FQ_INLINE f32_vec f32_rint(f32_vec v) { return vrndnq_f32(v); }
static FQ_INLINE uint32x4_t f32_lane_bits(void)
{
    return vcombine_u32(vcreate_u32(UINT64_C(2) << 32 | 1), vcreate_u32(UINT64_C(8) << 32 | 4));
}
static FQ_INLINE unsigned f32_equal(f32_vec a, f32_vec b)
{
    return vaddvq_u32(vandq_u32(vceqq_f32(a, b), f32_lane_bits()));
}
static FQ_INLINE f32_vec f32_keep_above(f32_vec a, f32_vec b, f32_vec v)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vcgtq_f32(a, b)));
}
static FQ_INLINE f32_vec f32_drop_above(f32_vec a, f32_vec b, f32_vec v)
{
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), vcgtq_f32(a, b)));
}
/* v in the lanes where a and b are numbers that differ, w in the others. */
static FQ_INLINE f32_vec f32_where_apart(f32_vec a, f32_vec b, f32_vec v, f32_vec w)
{
    return vbslq_f32(vorrq_u32(vcgtq_f32(a, b), vcltq_f32(a, b)), v, w);
}
static FQ_INLINE f32_vec f32_add(f32_vec a, f32_vec b) { return vaddq_f32(a, b); }
static FQ_INLINE f32_vec f32_sub(f32_vec a, f32_vec b) { return vsubq_f32(a, b); }
/* The size of v, and the power of two below or at that: 0 of a subnormal, infinity of NaN. */
static FQ_INLINE f32_vec f32_abs(f32_vec v) { return vabsq_f32(v); }
static FQ_INLINE f32_vec f32_exponent(f32_vec v)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vdupq_n_u32(UINT32_C(0x7f800000))));
}
static FQ_INLINE f32_vec f32_read_words(const uint16_t *from) { return vcvtq_f32_u32(vmovl_u16(vld1_u16(from))); }
static FQ_INLINE f32_vec f32_copysign(f32_vec v, f32_vec sign)
{
    return vbslq_f32(vdupq_n_u32(UINT32_C(1) << 31), sign, v);
}
static FQ_INLINE f32_vec f32_keep(unsigned lanes, f32_vec v)
{
    uint32x4_t set = vtstq_u32(vdupq_n_u32(lanes), f32_lane_bits());
    return vreinterpretq_f32_u32(vandq_u32(set, vreinterpretq_u32_f32(v)));
}

typedef float64x2_t f64_vec;
enum { f64_LANES = 2 };
static FQ_INLINE f64_vec f64_set(double v) { return vdupq_n_f64(v); }
static FQ_INLINE f64_vec f64_read(const void *array, size_t i) { return vld1q_f64((const double *)array + i); }
static FQ_INLINE f64_vec f64_mul(f64_vec a, f64_vec b) { return vmulq_f64(a, b); }
static FQ_INLINE f64_vec f64_div(f64_vec a, f64_vec b) { return vdivq_f64(a, b); }
static FQ_INLINE f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return vfmaq_f64(c, a, b); }
static FQ_INLINE f64_vec f64_fnma(f64_vec a, f64_vec b, f64_vec c) { return vfmsq_f64(c, a, b); }
static FQ_INLINE f64_vec f64_min(f64_vec a, f64_vec b) { return vminq_f64(a, b); }
static FQ_INLINE f64_vec f64_max(f64_vec a, f64_vec b) { return vmaxq_f64(a, b); }
static FQ_INLINE f64_vec f64_max_number(f64_vec a, f64_vec b) { return vmaxnmq_f64(a, b); }
static FQ_INLINE f64_vec f64_mul_plus_zero(f64_vec a, f64_vec b) { return f64_fma(a, b, vdupq_n_f64(0)); }
static FQ_INLINE f64_vec f64_limit(f64_vec v) { return f64_max(vdupq_n_f64(-0x1p60), f64_min(vdupq_n_f64(0x1p60), v)); }
static FQ_INLINE f64_vec f64_rint(f64_vec v) { return vrndnq_f64(v); }
static FQ_INLINE uint64x2_t f64_lane_bits(void) { return vcombine_u64(vcreate_u64(1), vcreate_u64(2)); }
static FQ_INLINE unsigned f64_equal(f64_vec a, f64_vec b)
{
    return (unsigned)vaddvq_u64(vandq_u64(vceqq_f64(a, b), f64_lane_bits()));
}
static FQ_INLINE f64_vec f64_keep_above(f64_vec a, f64_vec b, f64_vec v)
{
    return vreinterpretq_f64_u64(vandq_u64(vreinterpretq_u64_f64(v), vcgtq_f64(a, b)));
}
static FQ_INLINE f64_vec f64_drop_above(f64_vec a, f64_vec b, f64_vec v)
{
    return vreinterpretq_f64_u64(vbicq_u64(vreinterpretq_u64_f64(v), vcgtq_f64(a, b)));
}
static FQ_INLINE f64_vec f64_where_apart(f64_vec a, f64_vec b, f64_vec v, f64_vec w)
{
    return vbslq_f64(vorrq_u64(vcgtq_f64(a, b), vcltq_f64(a, b)), v, w);
}
static FQ_INLINE f64_vec f64_sub(f64_vec a, f64_vec b) { return vsubq_f64(a, b); }
static FQ_INLINE f64_vec f64_abs(f64_vec v) { return vabsq_f64(v); }
static FQ_INLINE f64_vec f64_exponent(f64_vec v)
{
    return vreinterpretq_f64_u64(vandq_u64(vreinterpretq_u64_f64(v), vdupq_n_u64(UINT64_C(0x7ff0000000000000))));
}
static FQ_INLINE f64_vec f64_read_words(const uint16_t *from)
{
    const uint64_t each[2] = {from[0], from[1]};
    return vcvtq_f64_u64(vld1q_u64(each));
}
static FQ_INLINE f64_vec f64_copysign(f64_vec v, f64_vec sign)
{
    return vbslq_f64(vdupq_n_u64(UINT64_C(1) << 63), sign, v);
}
static FQ_INLINE f64_vec f64_keep(unsigned lanes, f64_vec v)
{
    uint64x2_t set = vtstq_u64(vdupq_n_u64(lanes), f64_lane_bits());
    return vreinterpretq_f64_u64(vandq_u64(set, vreinterpretq_u64_f64(v)));
}
static FQ_INLINE f64_vec f64_add(f64_vec a, f64_vec b) { return vaddq_f64(a, b); }
static FQ_INLINE double f64_total(f64_vec v) { return vaddvq_f64(v); }
static FQ_INLINE void f64_write(double *to, f64_vec v) { vst1q_f64(to, v); }
static FQ_INLINE f64_vec f64_widen(f64_vec v, size_t part) { return (void)part, v; }
static FQ_INLINE f64_vec f32_widen(f32_vec v, size_t part)
{
    return vcvt_f64_f32(part ? vget_high_f32(v) : vget_low_f32(v));
}

/* Integers: the zero points of the lanes. A level is rounded half to even and NaN is 0, then zero_point is added. */
typedef int32x4_t f32_integers;
static FQ_INLINE f32_integers f32_integers_set(const void *array, size_t i)
{
    return vdupq_n_s32(((const int32_t *)array)[i]);
}
static FQ_INLINE f32_integers f32_integers_read(const void *array, size_t i)
{
    return vld1q_s32((const int32_t *)array + i);
}
static FQ_INLINE int32x4_t f32_levels(f32_vec v, f32_integers zero)
{
    return vaddq_s32(vcvtnq_s32_f32(v), zero); /* which makes 0 of NaN */
}
static FQ_INLINE void f32_write_levels(int32_t *to, f32_vec v, f32_integers zero)
{
    vst1q_s32(to, f32_levels(v, zero));
}
static FQ_INLINE void f32_write_bytes(uint8_t *to, f32_vec v, f32_integers zero)
{
    const int16x4_t halves = vmovn_s32(f32_levels(v, zero));
    const uint32_t bytes = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(halves, halves))), 0);
    memcpy(to, &bytes, sizeof bytes);
}
static FQ_INLINE int32_t code_of(unsigned bits) { return (int32_t)((bits & 15) ^ 8) - 8; }
static FQ_INLINE f32_vec f32_read_nibbles(const uint8_t *from)
{
    const int32_t each[4] = {code_of(from[0]), code_of(from[0] >> 4), code_of(from[1]), code_of(from[1] >> 4)};
    return vcvtq_f32_s32(vld1q_s32(each));
}
static FQ_INLINE f32_vec f32_read_bytes(const int8_t *from)
{
    const int32_t each[4] = {from[0], from[1], from[2], from[3]};
    return vcvtq_f32_s32(vld1q_s32(each));
}
static FQ_INLINE f32_vec f32_read_levels(const int32_t *from, f32_integers zero)
{
    return vcvtq_f32_s32(vsubq_s32(vld1q_s32(from), zero));
}
typedef float64x2_t f64_integers;
static FQ_INLINE f64_integers f64_integers_set(const void *array, size_t i)
{
    return vdupq_n_f64(((const double *)array)[i]);
}
static FQ_INLINE f64_integers f64_integers_read(const void *array, size_t i) { return f64_read(array, i); }
static FQ_INLINE int32x2_t f64_levels(f64_vec v, f64_integers zero)
{
    const uint64x2_t level = vandq_u64(vceqq_f64(v, v), vreinterpretq_u64_f64(f64_rint(v)));
    return vmovn_s64(vcvtnq_s64_f64(vaddq_f64(vreinterpretq_f64_u64(level), zero)));
}
static FQ_INLINE void f64_write_levels(int32_t *to, f64_vec v, f64_integers zero) { vst1_s32(to, f64_levels(v, zero)); }
static FQ_INLINE void f64_write_bytes(uint8_t *to, f64_vec v, f64_integers zero)
{
    const int32x2_t level = f64_levels(v, zero);
    to[0] = (uint8_t)vget_lane_s32(level, 0), to[1] = (uint8_t)vget_lane_s32(level, 1);
}
static FQ_INLINE f64_vec f64_read_nibbles(const uint8_t *from)
{
    const int64_t each[2] = {code_of(from[0]), code_of(from[0] >> 4)};
    return vcvtq_f64_s64(vld1q_s64(each));
}
static FQ_INLINE f64_vec f64_read_bytes(const int8_t *from)
{
    const int64_t each[2] = {from[0], from[1]};
    return vcvtq_f64_s64(vld1q_s64(each));
}
static FQ_INLINE f64_vec f64_read_levels(const int32_t *from, f64_integers zero)
{
    return vsubq_f64(vcvtq_f64_s64(vmovl_s32(vld1_s32(from))), zero);
}

#define FQ_OWN_f32 1
static FQ_INLINE f32_vec load_f32(const float *from) { return vld1q_f32(from); }
typedef float32x4_t f32_packed;
static FQ_INLINE f32_packed pack_f32(f32_vec v) { return v; }
static FQ_INLINE f32_packed no_minus_zero_f32(f32_packed v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE void store_f32(float *to, f32_packed v) { vst1q_f32(to, v); }
static FQ_INLINE void stream_f32(float *to, f32_packed v) { vst1q_f32(to, v); }

#define FQ_OWN_f64 1
static FQ_INLINE f64_vec load_f64(const double *from) { return vld1q_f64(from); }
typedef float64x2_t f64_packed;
static FQ_INLINE f64_packed pack_f64(f64_vec v) { return v; }
static FQ_INLINE f64_packed no_minus_zero_f64(f64_packed v) { return v; } /* mul_plus_zero has seen to it */
static FQ_INLINE void store_f64(double *to, f64_packed v) { vst1q_f64(to, v); }
static FQ_INLINE void stream_f64(double *to, f64_packed v) { vst1q_f64(to, v); }

static FQ_INLINE uint16x4_t no_minus_zero_16_bits(uint16x4_t v) { return vbic_u16(v, vceq_u16(v, vdup_n_u16(0x8000))); }

#define FQ_OWN_f16 1
static FQ_INLINE f32_vec load_f16(const uint16_t *from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
typedef uint16x4_t f16_packed;
static FQ_INLINE f16_packed pack_f16(f32_vec v) { return vreinterpret_u16_f16(vcvt_f16_f32(v)); }
static FQ_INLINE f16_packed no_minus_zero_f16(f16_packed v) { return no_minus_zero_16_bits(v); }
static FQ_INLINE void store_f16(uint16_t *to, f16_packed v) { vst1_u16(to, v); }
static FQ_INLINE void stream_f16(uint16_t *to, f16_packed v) { vst1_u16(to, v); }

#define FQ_OWN_bf16 1
static FQ_INLINE f32_vec load_bf16(const uint16_t *from)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16));
}
typedef uint16x4_t bf16_packed;
/* Half to even. The NaNs that reach this have 16 low zeros, being bfloat16 or the processor's own. */
static FQ_INLINE bf16_packed pack_bf16(f32_vec v)
{
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    return vaddhn_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
}
static FQ_INLINE bf16_packed no_minus_zero_bf16(bf16_packed v) { return no_minus_zero_16_bits(v); }
static FQ_INLINE void store_bf16(uint16_t *to, bf16_packed v) { vst1_u16(to, v); }
static FQ_INLINE void stream_bf16(uint16_t *to, bf16_packed v) { vst1_u16(to, v); }

/* Keys of elements (keys.h): the least and greatest of a lane, and of all lanes. */
static FQ_INLINE int64x2_t least_s64(int64x2_t a, int64x2_t b) { return vbslq_s64(vcgtq_s64(a, b), b, a); }
static FQ_INLINE int64x2_t greatest_s64(int64x2_t a, int64x2_t b) { return vbslq_s64(vcgtq_s64(a, b), a, b); }
static FQ_INLINE int64_t least_of_s64(int64x2_t v)
{
    const int64_t a = vgetq_lane_s64(v, 0), b = vgetq_lane_s64(v, 1);
    return a < b ? a : b;
}
static FQ_INLINE int64_t greatest_of_s64(int64x2_t v)
{
    const int64_t a = vgetq_lane_s64(v, 0), b = vgetq_lane_s64(v, 1);
    return a > b ? a : b;
}
#define FQ_KEY_WORDS(key, bits, type, least, greatest, least_of, greatest_of)                                   \
    typedef type key##_vec;                                                                                     \
    enum { key##_LANES = 128 / bits };                                                                          \
    static FQ_INLINE type key##_load(const char *from)                                                          \
    {                                                                                                           \
        const type v = vreinterpretq_s##bits##_u8(vld1q_u8((const uint8_t *)from));                             \
        return veorq_s##bits(v, vandq_s##bits(vshrq_n_s##bits(v, bits - 1), vdupq_n_s##bits(INT##bits##_MAX))); \
    }                                                                                                           \
    static FQ_INLINE type key##_least(type a, type b) { return least(a, b); }                                   \
    static FQ_INLINE type key##_greatest(type a, type b) { return greatest(a, b); }                             \
    static FQ_INLINE void key##_fold(type lowest, type highest, int64_t *low, int64_t *high)                    \
    {                                                                                                           \
        *low = least_of(lowest), *high = greatest_of(highest);                                                  \
    }
FQ_KEY_WORDS(k16, 16, int16x8_t, vminq_s16, vmaxq_s16, vminvq_s16, vmaxvq_s16)
FQ_KEY_WORDS(k32, 32, int32x4_t, vminq_s32, vmaxq_s32, vminvq_s32, vmaxvq_s32)
FQ_KEY_WORDS(k64, 64, int64x2_t, least_s64, greatest_s64, least_of_s64, greatest_of_s64)
#endif
