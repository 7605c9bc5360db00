/* The gradients of x, scale and zero_point in one pass: included by kernels.h for each element type.
 *
 * data: dx, dy, x or the codes of its residuals (kernel_residual.h), then three arrays of float64 sums:
 * inside: dy * residual where x is in range. The residual x - c * scale, c the level minus zero_point, is exact: the
 * quotient only decides c. NaN in x makes this sum NaN. Of codes it is their sum, in steps of the code.
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
    int bits; /* of codes */
} E(grid);

static FQ_INLINE E(grid) E(grid_of)(E(levels) l, const fq_params *p)
{
    E(grid) g = {l, l.scale, l.scale, p->residual};
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

#if FQ_HAS_LANE_MASKS /* the target adds some lanes of a vector */
static FQ_INLINE void E(add_above)(f64_vec *sum, C(vec) a, C(vec) b, C(vec) d) { C(add_above)(sum, a, b, d); }
static FQ_INLINE void E(add_products)(f64_vec *sum, C(vec) a, C(vec) b, C(vec) d, C(vec) residual)
{
    C(add_products)(sum, a, b, d, residual);
}
#else
/* Adds d in the lanes where a > b. */
static FQ_INLINE void E(add_above)(f64_vec *sum, C(vec) a, C(vec) b, C(vec) d)
{
    const C(vec) kept = C(keep_above)(a, b, d);
    for (size_t k = 0; k < P(WIDE); k++) {
        sum[k] = f64_add(sum[k], C(widen)(kept, k));
    }
}

/* Adds d * residual, but in the lanes where a and b are numbers that differ. Products of float32 are exact. */
static FQ_INLINE void E(add_products)(f64_vec *sum, C(vec) a, C(vec) b, C(vec) d, C(vec) residual)
{
    const C(vec) zero = C(set)(0), inside = C(where_apart)(a, b, zero, d), by = C(where_apart)(a, b, zero, residual);
    for (size_t k = 0; k < P(WIDE); k++) {
        const f64_vec v = C(widen)(inside, k), w = C(widen)(by, k);
#if FQ_HAS_FMA
        sum[k] = P(IN_F64) ? f64_add(sum[k], f64_mul(v, w)) : f64_fma(v, w, sum[k]);
#else
        sum[k] = f64_add(sum[k], f64_mul(v, w));
#endif
    }
}
#endif

/* What the sums take of `count` elements of a row from element i on: r, the rounded quotient, or NaN; c, r clamped; and the
 * residual where they are equal. Codes are in range up to FQ_CODES(bits), as quotients are up to the ends of a grid; that of NaN is
 * still a number. */
static FQ_INLINE C(vec)
    E(take)(const char *row, size_t i, size_t count, E(grid) g, fq_way way, int codes, C(vec) * r, C(vec) * c)
{
    if (codes) {
        const C(vec) code = E(read_codes)(row, i, count, g.bits), last = C(set)(FQ_CODES(g.bits));
        *r = code;
        *c = C(max)(C(set)(-FQ_CODES(g.bits)), C(min)(last, code));
        return code;
    }
    const C(vec) v = E(load_some)((const elem_t *)(const void *)row + i, count);
    *r = C(rint)(E(quotient)(v, g.l, way));
    *c = C(max)(g.l.lo, C(min)(g.l.hi, *r));
    return E(residual)(v, *c, g);
}

/* Stores dx of `count` elements, LANES or fewer, and adds to the sums. Lanes past count hold dy = 0 and are taken as in
 * range. A vector without a clamped element, the usual one, skips two of the sums: they would only grow by 0. */
static FQ_INLINE void E(learn_vector)(elem_t *dx, const elem_t *dy, const char *row, size_t i, size_t count, E(grid) g,
                                      fq_way way, int codes, E(sums) sums)
{
    const unsigned all = (1u << LANES) - 1;
    C(vec) r, c, kept = C(set)(1);
    C(vec) residual = E(take)(row, i, count, g, way, codes, &r, &c);
    const C(vec) d = E(load_some)(dy, count);
    const unsigned in_range = C(equal)(c, r) | (all & ~0u << count);
    if (LANES == 1 || in_range != all) {
        kept = C(keep)(in_range, kept);
        if (codes) {
            r = residual = C(sub)(r, C(keep_above)(C(set)(-FQ_CODES(g.bits) - 1), r, C(set)((double)NAN)));
        }
        E(add_above)(sums.below, c, r, d);
        E(add_above)(sums.above, r, c, d);
    }
    E(store_some)(dx, E(pack)(C(mul)(d, kept)), count, 0);
    E(add_products)(sums.inside, c, r, d, residual);
}

enum { P(VECTORS) = FQ_SUMS / f64_LANES }; /* vectors of float64 that FQ_SUMS sums are */

/* Asks for memory `ahead` bytes further in dx and dy, from element i on, and for the elements or codes of x there. */
static FQ_INLINE void E(fetch)(elem_t *dx, const elem_t *dy, const char *row, size_t i, ptrdiff_t ahead, int bits)
{
    const ptrdiff_t elements = ahead / (ptrdiff_t)sizeof(elem_t);
    prefetch_to_read(dy + i, ahead), prefetch_to_write(dx + i, ahead);
    if (bits == 0) {
        prefetch_to_read(row + i * sizeof(elem_t), ahead);
    }
    else {
        prefetch_to_read(row + i * (size_t)bits / 8, elements * bits / 8);
    }
}

/* n <= FQ_SUMS elements from element i of a row on, each added to the sum of its place. */
static FQ_INLINE void E(learn_some)(elem_t *dx, const elem_t *dy, const char *row, size_t i, size_t n, E(grid) g,
                                    fq_way way, int codes, ptrdiff_t ahead, E(sums) sums)
{
    for (size_t j = 0; j < FQ_SUMS; j += CACHE_LINE / sizeof(elem_t)) {
        E(fetch)(dx, dy, row, i + j, ahead, codes ? g.bits : 0);
    }
    for (size_t j = 0; j < n; j += LANES) {
        const size_t at = j / f64_LANES;
        const E(sums) part = {sums.inside + at, sums.below + at, sums.above + at};
        E(learn_vector)(dx + i + j, dy + i + j, row, i + j, n == FQ_SUMS ? LANES : E(lanes_at)(j, n), g, way, codes,
                        part);
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
static FQ_INLINE void E(learn_row)(elem_t *dx, const elem_t *dy, const char *x, size_t n, E(levels) l,
                                   const fq_params *p, fq_way way, int codes, char *const *data, size_t row)
{
    const E(grid) g = E(grid_of)(l, p);
    f64_vec sum[FQ_KERNEL_SUMS][P(VECTORS)];
    const E(sums) sums = {sum[0], sum[1], sum[2]};
    size_t i = 0;
    for (size_t k = 0; k < P(VECTORS); k++) {
        sum[0][k] = sum[1][k] = sum[2][k] = f64_set(0);
    }
    for (; n - i >= FQ_SUMS; i += FQ_SUMS) {
        E(learn_some)(dx, dy, x, i, FQ_SUMS, g, way, codes, p->ahead, sums);
    }
    if (i < n) {
        E(learn_some)(dx, dy, x, i, n - i, g, way, codes, p->ahead, sums);
    }
    for (size_t k = 0; k < FQ_KERNEL_SUMS; k++) {
        ((double *)(void *)data[FQ_MAX_ARRAYS + k])[row] = E(total)(sum[k]);
    }
}

/* Rows with sums of their own. */
static FQ_INLINE void E(learn_rows)(char *const *data, size_t n, const fq_params *p, fq_way way, int codes)
{
    for (size_t row = 0; row < p->rows; row++) {
        const ptrdiff_t at = (ptrdiff_t)row;
        elem_t *dx = (elem_t *)(void *)(data[0] + at * p->row[0]);
        const elem_t *dy = (const elem_t *)(const void *)(data[1] + at * p->row[1]);
        const char *x = data[2] + at * p->row[2];
        E(learn_row)(dx, dy, x, n, E(levels_of_set)(p, row * p->next_set), p, way, codes, data, row);
    }
}

/* Rows that add to the same sums. The arrays of sums are padded to whole vectors, as those of the levels are. */
static FQ_INLINE void E(learn_each)(char *const *data, size_t n, const fq_params *p, fq_way way, int codes)
{
    for (size_t i = 0; i < n; i += LANES) {
        const E(grid) g = E(grid_of)(E(levels_from)(p, i, way), p);
        const size_t count = E(lanes_at)(i, n);
        char *dx = data[0];
        const char *dy = data[1], *x = data[2];
        f64_vec sum[FQ_KERNEL_SUMS][P(WIDE)];
        const E(sums) sums = {sum[0], sum[1], sum[2]};
        for (size_t k = 0; k < FQ_KERNEL_SUMS * P(WIDE); k++) {
            sum[k / P(WIDE)][k % P(WIDE)] = f64_read(data[FQ_MAX_ARRAYS + k / P(WIDE)], i + k % P(WIDE) * f64_LANES);
        }
        for (size_t row = 0; row < p->rows; row++, dx += p->row[0], dy += p->row[1], x += p->row[2]) {
            elem_t *const to = (elem_t *)(void *)dx;
            const elem_t *const from = (const elem_t *)(const void *)dy;
            E(fetch)(to, from, x, i, p->ahead, codes ? g.bits : 0);
            E(learn_vector)(to + i, from + i, x, i, count, g, way, codes, sums);
        }
        for (size_t k = 0; k < FQ_KERNEL_SUMS * P(WIDE); k++) {
            double *const to = (double *)(void *)data[FQ_MAX_ARRAYS + k / P(WIDE)];
            f64_write(to + i + k % P(WIDE) * f64_LANES, sum[k / P(WIDE)][k % P(WIDE)]);
        }
    }
}

static FQ_INLINE void E(learn_call)(char *const *data, size_t n, const fq_params *p, fq_way way, int codes)
{
    if (E(is_each)(way)) {
        E(learn_each)(data, n, p, way, codes);
    }
    else {
        E(learn_rows)(data, n, p, way, codes);
    }
}

static FQ_INLINE void E(backward_learnable)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(learn_call)(data, n, p, way, 0);
}

/* Both rows of ops.h that read codes have this kernel, whose code there is once. */
static FQ_INLINE void E(backward_residual)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(learn_call)(data, n, p, way, 1);
}

static FQ_INLINE void E(backward_residual_packed)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(learn_call)(data, n, p, way, 1);
}
