/* The gradients of x, scale and zero_point in one pass: included by kernels.h for each element type.
 *
 * data: dx, the sums for scale, the sums for zero_point; dy, x. The sums, in float64, are added to what is there: one
 * of each for the ways of one scale, else one an element. Products and sums are rounded alike on every target. */
enum { P(WIDE) = LANES / f64_LANES }; /* vectors of float64 that a vector widens to */

/* dx of a vector; slope is that of y by scale, outside is dy where x was clamped and 0 elsewhere. */
static FQ_INLINE C(vec) E(learn_vector)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t count, E(levels) l,
                                        fq_way way, C(vec) *slope, C(vec) *outside)
{
    const C(vec) d = E(load_some)(dy, count), q = E(quotient)(E(load_some)(x, count), l, way);
    unsigned in_range;
    const C(vec) c = E(level)(q, l, &in_range);
    *slope = C(sub)(c, C(keep)(in_range, q));
    *outside = C(keep)(~in_range, d);
    E(store_some)(dx, E(pack)(C(mul)(d, C(keep)(in_range, C(set)(1)))), count, 0);
    return d;
}

typedef struct {
    f64_vec scale[FQ_SUMS / f64_LANES], outside[FQ_SUMS / f64_LANES];
} E(sums);

/* n <= FQ_SUMS elements, each added to the sum of its place. What a vector lacks is loaded as 0 and adds 0. */
static FQ_INLINE void E(learn_some)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t n, E(levels) l, fq_way way,
                                    E(sums) *sums)
{
    for (size_t j = 0; j < n; j += LANES) {
        C(vec) slope, outside;
        const C(vec) d = E(learn_vector)(dx + j, dy + j, x + j, E(lanes_at)(j, n), l, way, &slope, &outside);
        for (size_t k = 0; k < P(WIDE); k++) {
            f64_vec *scale = &sums->scale[j / f64_LANES + k], *out = &sums->outside[j / f64_LANES + k];
            *scale = f64_add(*scale, f64_mul(C(widen)(d, k), C(widen)(slope, k)));
            *out = f64_add(*out, C(widen)(outside, k));
        }
    }
}

/* In halves, so that the order is the same whatever the width of a vector. */
static FQ_INLINE double E(total)(const f64_vec *sums)
{
    double lane[FQ_SUMS];
    for (size_t k = 0; k < FQ_SUMS / f64_LANES; k++) {
        f64_write(lane + k * f64_LANES, sums[k]);
    }
    for (size_t half = FQ_SUMS / 2; half > 0; half /= 2) {
        for (size_t k = 0; k < half; k++) {
            lane[k] += lane[k + half];
        }
    }
    return lane[0];
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
        E(learn_some)(dx + i, dy + i, x + i, FQ_SUMS, l, way, &sums);
    }
    E(learn_some)(dx + i, dy + i, x + i, n - i, l, way, &sums);
    *(double *)(void *)data[1] += E(total)(sums.scale);
    *(double *)(void *)data[2] -= E(total)(sums.outside) * p->scale;
}

/* The sums are padded to whole vectors, as the levels are. */
static FQ_INLINE void E(learn_each)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    elem_t *dx = (elem_t *)data[0];
    double *of_scale = (double *)(void *)data[1], *of_zero_point = (double *)(void *)data[2];
    const elem_t *dy = (const elem_t *)data[3], *x = (const elem_t *)data[4];
    for (size_t i = 0; i < n; i += LANES) {
        C(vec) slope, outside;
        const E(levels) l = E(levels_from)(p, i);
        const C(vec) d = E(learn_vector)(dx + i, dy + i, x + i, E(lanes_at)(i, n), l, way, &slope, &outside);
        for (size_t k = 0; k < P(WIDE); k++) {
            double *to = of_scale + i + k * f64_LANES, *zero = of_zero_point + i + k * f64_LANES;
            const f64_vec product = f64_mul(C(widen)(d, k), C(widen)(slope, k));
            f64_write(to, f64_add(f64_read(to, 0), product));
            f64_write(zero, f64_sub(f64_read(zero, 0), f64_mul(C(widen)(outside, k), C(widen)(l.scale, k))));
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
