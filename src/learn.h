/* The gradients of x, scale and zero_point in one pass: included by kernels.h for each element type.
 *
 * data: dx, the sums for scale, the sums of dy where x was clamped; dy, x. The sums, in float64, are added to what is
 * there: one of each for the ways of one scale, else one an element. They are rounded alike on every target. */
enum { P(WIDE) = LANES / f64_LANES }; /* vectors of float64 that a vector widens to */

/* dx of a vector, and dy as it was; slope is that of y by scale. */
static FQ_INLINE C(vec) E(learn_vector)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t count, E(levels) l,
                                        fq_way way, ptrdiff_t ahead, C(vec) * slope, unsigned *in_range)
{
    prefetch_to_read(dy, ahead), prefetch_to_read(x, ahead), prefetch_to_write(dx, ahead);
    const C(vec) d = E(load_some)(dy, count), v = E(load_some)(x, count);
    C(vec) q = E(quotient)(v, l, way);
#if FQ_HAS_FMA
    if (way == FQ_DIVIDE_FAST && C(any_tiny)(v)) {
        q = C(div)(v, l.scale);
    }
#endif
    const C(vec) c = E(level)(q, l, in_range);
    *slope = C(sub_in)(*in_range, c, q);
    E(store_some)(dx, E(pack)(C(mul)(d, C(keep)(*in_range, C(set)(1)))), count, 0);
    return d;
}

/* Adds part k of a vector: d * slope to the sum for scale, and d where x was clamped to that for zero_point. A product
 * of two float32 is exact in float64: there a fused sum is the same. */
static FQ_INLINE void E(learn_part)(f64_vec *of_scale, f64_vec *outside, C(vec) d, C(vec) slope, unsigned in_range,
                                    size_t k)
{
    const f64_vec wide = C(widen)(d, k), by = C(widen)(slope, k);
#if FQ_HAS_FMA
    *of_scale = P(WIDE) > 1 ? f64_fma(wide, by, *of_scale) : f64_add(*of_scale, f64_mul(wide, by));
#else
    *of_scale = f64_add(*of_scale, f64_mul(wide, by));
#endif
    *outside = f64_add_out(in_range, k, *outside, wide);
}

typedef struct {
    f64_vec scale[FQ_SUMS / f64_LANES], outside[FQ_SUMS / f64_LANES];
} E(sums);

/* n <= FQ_SUMS elements, each added to the sum of its place. What a vector lacks is loaded as 0 and adds 0. */
static FQ_INLINE void E(learn_some)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t n, E(levels) l, fq_way way,
                                    ptrdiff_t ahead, E(sums) * sums)
{
    for (size_t j = 0; j < n; j += LANES) {
        C(vec) slope;
        unsigned in_range;
        const C(vec) d = E(learn_vector)(dx + j, dy + j, x + j, E(lanes_at)(j, n), l, way, ahead, &slope, &in_range);
        for (size_t k = 0; k < P(WIDE); k++) {
            const size_t at = j / f64_LANES + k;
            E(learn_part)(&sums->scale[at], &sums->outside[at], d, slope, in_range, k);
        }
    }
}

/* In halves, so that the order is the same whatever the width of a vector. */
static FQ_INLINE double E(total)(f64_vec *sums)
{
    for (size_t half = FQ_SUMS / f64_LANES / 2; half > 0; half /= 2) {
        for (size_t k = 0; k < half; k++) {
            sums[k] = f64_add(sums[k], sums[k + half]);
        }
    }
    return f64_total(sums[0]);
}

static FQ_INLINE void E(learn_of_all)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    elem_t *dx = (elem_t *)data[0];
    const elem_t *dy = (const elem_t *)data[3], *x = (const elem_t *)data[4];
    const E(levels) l = E(levels_of_all)(p);
    E(sums) sums;
    size_t i = 0;
    for (size_t k = 0; k < FQ_SUMS / f64_LANES; k++) {
        sums.scale[k] = sums.outside[k] = f64_set(0);
    }
    for (; n - i >= FQ_SUMS; i += FQ_SUMS) {
        E(learn_some)(dx + i, dy + i, x + i, FQ_SUMS, l, way, p->ahead, &sums);
    }
    E(learn_some)(dx + i, dy + i, x + i, n - i, l, way, p->ahead, &sums);
    *(double *)(void *)data[1] += E(total)(sums.scale);
    *(double *)(void *)data[2] += E(total)(sums.outside);
}

/* Rows that add to the same sums, which are padded to whole vectors, as the levels are. */
static FQ_INLINE void E(learn_each)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    double *of_scale = (double *)(void *)data[1], *outside = (double *)(void *)data[2];
    for (size_t i = 0; i < n; i += LANES) {
        const E(levels) l = E(levels_from)(p, i);
        const size_t count = E(lanes_at)(i, n);
        char *dx = data[0] + i * sizeof(elem_t);
        const char *dy = data[3] + i * sizeof(elem_t), *x = data[4] + i * sizeof(elem_t);
        f64_vec scale[P(WIDE)], out[P(WIDE)];
        for (size_t k = 0; k < P(WIDE); k++) {
            scale[k] = f64_read(of_scale, i + k * f64_LANES), out[k] = f64_read(outside, i + k * f64_LANES);
        }
        for (size_t row = 0; row < p->rows; row++, dx += p->dx_row, dy += p->dy_row, x += p->x_row) {
            C(vec) slope;
            unsigned in_range;
            const C(vec) d =
                E(learn_vector)((elem_t *)(void *)dx, (const elem_t *)(const void *)dy, (const elem_t *)(const void *)x,
                                count, l, way, p->ahead, &slope, &in_range);
            for (size_t k = 0; k < P(WIDE); k++) {
                E(learn_part)(&scale[k], &out[k], d, slope, in_range, k);
            }
        }
        for (size_t k = 0; k < P(WIDE); k++) {
            f64_write(of_scale + i + k * f64_LANES, scale[k]), f64_write(outside + i + k * f64_LANES, out[k]);
        }
    }
}

static FQ_INLINE void E(learn)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    if (E(is_each)(way)) {
        E(learn_each)(data, n, p, way);
    }
    else {
        E(learn_of_all)(data, n, p, way);
    }
}
