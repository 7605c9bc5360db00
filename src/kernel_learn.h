/* The gradients of x, scale and zero_point in one pass: included by kernels.h for each element type.
 *
 * data: dx, dy, x, then three arrays of float64 sums:
 * inside: dy * residual where x is in range. The residual x - c * scale, c the level minus zero_point, is exact: the
 * quotient only decides c. NaN in x makes this sum NaN.
 * below, above: dy where x was clamped to qmin, to qmax.
 * Where the elements of a row share their set, a call stores a sum for each row; where each element has a set, it adds to a
 * sum for each element. Every target adds in the same order, so that the sums have the same bits.
 *
 * In float64 the residual is multiplied by fq_normalizer(scale): its products with dy neither overflow nor lose bits,
 * whatever scale is. Float32 needs none of that: the product of two float32 is exact in float64. */
enum { P(WIDE) = LANES / f64_LANES, P(IN_F64) = sizeof(C(elem)) == sizeof(double) };

typedef struct {
    E(levels) l;
    C(vec) normalizer, scale; /* scale times normalizer; in float32 scale itself */
} E(grid);

static FQ_INLINE E(grid) E(grid_of)(E(levels) l)
{
    E(grid) g = {l, l.scale, l.scale};
    if (P(IN_F64)) {
        C(elem) lane[LANES];
        memcpy(lane, &l.scale, sizeof lane);
        for (size_t j = 0; j < LANES; j++) {
            lane[j] = (C(elem))fq_normalizer((double)lane[j]);
        }
        g.normalizer = C(read)(lane, 0);
        g.scale = C(mul)(l.scale, g.normalizer);
    }
    return g;
}

static FQ_INLINE C(vec) E(residual)(C(vec) x, C(vec) c, E(grid) g)
{
    return C(fnma)(c, g.scale, P(IN_F64) ? C(mul)(x, g.normalizer) : x);
}

/* The sums of one vector of elements, or of FQ_SUMS elements: never -0, since they start as +0. */
typedef struct {
    f64_vec *inside, *below, *above;
} E(sums);

static FQ_INLINE void E(add_products)(f64_vec *sum, C(vec) d, C(vec) residual)
{
    for (size_t k = 0; k < P(WIDE); k++) {
        const f64_vec a = C(widen)(d, k), b = C(widen)(residual, k);
#if FQ_HAS_FMA
        sum[k] = P(IN_F64) ? f64_add(sum[k], f64_mul(a, b)) : f64_fma(a, b, sum[k]);
#else
        sum[k] = f64_add(sum[k], f64_mul(a, b));
#endif
    }
}

static FQ_INLINE void E(add_vector)(f64_vec *sum, C(vec) d)
{
    for (size_t k = 0; k < P(WIDE); k++) {
        sum[k] = f64_add(sum[k], C(widen)(d, k));
    }
}

/* v in the lanes where x was not clamped: r, the rounded quotient, is c, or is NaN. */
static FQ_INLINE C(vec) E(not_clamped)(C(vec) r, C(vec) c, C(vec) v)
{
    return C(drop_above)(r, c, C(drop_above)(c, r, v));
}

/* Stores dx of `count` elements, LANES or fewer, and adds to the sums. Lanes past count hold dy = 0 and are taken as in
 * range. A vector without a clamped element, the usual one, skips two of the sums: they would only grow by 0. */
static FQ_INLINE void E(learn_vector)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t count, E(grid) g,
                                      fq_way way, E(sums) sums)
{
    const unsigned all = (1u << LANES) - 1;
    const C(vec) d = E(load_some)(dy, count), v = E(load_some)(x, count), q = E(quotient)(v, g.l, way);
    unsigned in_range;
    const C(vec) c = E(level)(q, g.l, &in_range);
    C(vec) residual = E(residual)(v, c, g), inside = d, kept = C(set)(1);
    in_range |= all & ~0u << count;
    if (LANES == 1 || in_range != all) {
        const C(vec) r = C(rint)(q);
        residual = E(not_clamped)(r, c, residual), inside = E(not_clamped)(r, c, d);
        kept = C(keep)(in_range, kept);
        E(add_vector)(sums.below, C(keep_above)(c, r, d));
        E(add_vector)(sums.above, C(keep_above)(r, c, d));
    }
    E(store_some)(dx, E(pack)(C(mul)(d, kept)), count, 0);
    E(add_products)(sums.inside, inside, residual);
}

enum { P(VECTORS) = FQ_SUMS / f64_LANES }; /* vectors of float64 that FQ_SUMS sums are */

/* n <= FQ_SUMS elements, each added to the sum of its place. */
static FQ_INLINE void E(learn_some)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t n, E(grid) g, fq_way way,
                                    ptrdiff_t ahead, E(sums) sums)
{
    for (size_t j = 0; j < FQ_SUMS; j += CACHE_LINE / sizeof(elem_t)) {
        prefetch_to_read(dy + j, ahead), prefetch_to_read(x + j, ahead), prefetch_to_write(dx + j, ahead);
    }
    for (size_t j = 0; j < n; j += LANES) {
        const size_t at = j / f64_LANES;
        const E(sums) part = {sums.inside + at, sums.below + at, sums.above + at};
        E(learn_vector)(dx + j, dy + j, x + j, n == FQ_SUMS ? LANES : E(lanes_at)(j, n), g, way, part);
    }
}

/* In halves, so that the order is the same whatever the width of a vector. */
static FQ_INLINE double E(total)(f64_vec *sums)
{
    for (size_t half = P(VECTORS) / 2; half > 0; half /= 2) {
        for (size_t k = 0; k < half; k++) {
            sums[k] = f64_add(sums[k], sums[k + half]);
        }
    }
    return f64_total(sums[0]);
}

/* dx of a row, and its sums as number `row`. */
static FQ_INLINE void E(learn_row)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t n, E(levels) l,
                                   const fq_params *p, fq_way way, char *const *data, size_t row)
{
    const E(grid) g = E(grid_of)(l);
    f64_vec sum[FQ_KERNEL_SUMS][P(VECTORS)];
    const E(sums) sums = {sum[0], sum[1], sum[2]};
    size_t i = 0;
    for (size_t k = 0; k < P(VECTORS); k++) {
        sum[0][k] = sum[1][k] = sum[2][k] = f64_set(0);
    }
    for (; n - i >= FQ_SUMS; i += FQ_SUMS) {
        E(learn_some)(dx + i, dy + i, x + i, FQ_SUMS, g, way, p->ahead, sums);
    }
    if (i < n) {
        E(learn_some)(dx + i, dy + i, x + i, n - i, g, way, p->ahead, sums);
    }
    for (size_t k = 0; k < FQ_KERNEL_SUMS; k++) {
        ((double *)(void *)data[3 + k])[row] = E(total)(sum[k]);
    }
}

/* Rows with sums of their own. */
static FQ_INLINE void E(learn_rows)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    for (size_t row = 0; row < p->rows; row++) {
        const ptrdiff_t at = (ptrdiff_t)row;
        elem_t *dx = (elem_t *)(void *)(data[0] + at * p->row[0]);
        const elem_t *dy = (const elem_t *)(const void *)(data[1] + at * p->row[1]);
        const elem_t *x = (const elem_t *)(const void *)(data[2] + at * p->row[2]);
        E(learn_row)(dx, dy, x, n, E(levels_of_set)(p, row * p->next_set), p, way, data, row);
    }
}

/* Rows that add to the same sums. The arrays of sums are padded to whole vectors, as those of the levels are. */
static FQ_INLINE void E(learn_each)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    for (size_t i = 0; i < n; i += LANES) {
        const E(grid) g = E(grid_of)(E(levels_from)(p, i, way));
        const size_t count = E(lanes_at)(i, n);
        char *dx = data[0] + i * sizeof(elem_t);
        const char *dy = data[1] + i * sizeof(elem_t), *x = data[2] + i * sizeof(elem_t);
        f64_vec sum[FQ_KERNEL_SUMS][P(WIDE)];
        const E(sums) sums = {sum[0], sum[1], sum[2]};
        for (size_t k = 0; k < FQ_KERNEL_SUMS * P(WIDE); k++) {
            sum[k / P(WIDE)][k % P(WIDE)] = f64_read(data[3 + k / P(WIDE)], i + k % P(WIDE) * f64_LANES);
        }
        for (size_t row = 0; row < p->rows; row++, dx += p->row[0], dy += p->row[1], x += p->row[2]) {
            prefetch_to_read(dy, p->ahead), prefetch_to_read(x, p->ahead), prefetch_to_write(dx, p->ahead);
            E(learn_vector)((elem_t *)(void *)dx, (const elem_t *)(const void *)dy, (const elem_t *)(const void *)x,
                            count, g, way, sums);
        }
        for (size_t k = 0; k < FQ_KERNEL_SUMS * P(WIDE); k++) {
            double *const to = (double *)(void *)data[3 + k / P(WIDE)];
            f64_write(to + i + k % P(WIDE) * f64_LANES, sum[k / P(WIDE)][k % P(WIDE)]);
        }
    }
}

static FQ_INLINE void E(backward_learnable)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    if (E(is_each)(way)) {
        E(learn_each)(data, n, p, way);
    }
    else {
        E(learn_rows)(data, n, p, way);
    }
}
