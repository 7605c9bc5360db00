/* Arithmetic in some of the lanes, made of `keep`, unless the target has FQ_OWN_LANES. */
#ifndef FQ_LANES_H
#define FQ_LANES_H

#ifndef FQ_OWN_LANES
/* a - b in these lanes, a in the others. */
static FQ_INLINE f32_vec f32_sub_in(unsigned lanes, f32_vec a, f32_vec b) { return f32_sub(a, f32_keep(lanes, b)); }
static FQ_INLINE f64_vec f64_sub_in(unsigned lanes, f64_vec a, f64_vec b) { return f64_sub(a, f64_keep(lanes, b)); }

/* sum + v in those lanes of part k of a vector that are not among these; sum, which is never -0, in the others. */
static FQ_INLINE f64_vec f64_add_out(unsigned lanes, size_t k, f64_vec sum, f64_vec v)
{
    return f64_add(sum, f64_keep(~lanes >> k * f64_LANES, v));
}
#endif

#endif
