/* Arithmetic in some of the lanes, made of `keep`, unless the target has FQ_OWN_LANES. */
#ifndef FQ_LANES_H
#define FQ_LANES_H

#ifndef FQ_OWN_LANES
#define FQ_LANES_WORDS(type)                                                                                  \
    /* a - b in these lanes, a in the others */                                                               \
    static FQ_INLINE type##_vec type##_sub_in(unsigned lanes, type##_vec a, type##_vec b)                     \
    {                                                                                                         \
        return type##_sub(a, type##_keep(lanes, b));                                                          \
    }                                                                                                         \
    /* v * 1 in these lanes, v * 0 in the others: a NaN or an infinity there is NaN */                        \
    static FQ_INLINE type##_vec type##_mul_in(unsigned lanes, type##_vec v)                                   \
    {                                                                                                         \
        return type##_mul(v, type##_keep(lanes, type##_set(1)));                                              \
    }

FQ_LANES_WORDS(f32)
FQ_LANES_WORDS(f64)

/* sum + v in those lanes of part k of a vector that are not among these; sum, which is never -0, in the others. */
static FQ_INLINE f64_vec f64_add_out(unsigned lanes, size_t k, f64_vec sum, f64_vec v)
{
    return f64_add(sum, f64_keep(~lanes >> k * f64_LANES, v));
}
#endif

#endif
