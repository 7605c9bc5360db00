/* The kernel of all rules but half to even on integer grids: included by kernels.h for each element type.
 *
 * One kernel serves every rule, output and way to divide, which are switches at run time: kernels of their own would be as
 * fast, and many times the text. */
typedef struct {
    const fq_params *p;
    C(format) format;
    E(levels) of_all;
    fq_way way;
} E(rule);

/* Elements of a block, whole vectors. words: of STOCHASTIC; else NULL. */
typedef struct {
    elem_t *y;
    const elem_t *x;
    const uint16_t *words;
} E(some);

/* x / scale, in the way of the row. */
static FQ_INLINE C(vec) E(divide)(C(vec) x, E(levels) l, fq_way way)
{
    return way == FQ_MULTIPLY      ? C(mul)(x, l.inv)
           : way == FQ_DIVIDE_FAST ? E(quotient)(x, l, FQ_DIVIDE_FAST)
                                   : C(div)(x, l.scale);
}

/* y of n elements, of whole vectors, that are those of the row from element i on; gives their mask. */
static FQ_INLINE mask64 E(round_vectors)(E(some) to, const E(rule) * r, size_t i, size_t n, fq_rule rule, int is_each,
                                         int stream)
{
    const int is_format = rule == FQ_FLOATS, keeps_sign = is_format && r->format.signed_zero;
    mask64 m = mask64_none();
    for (size_t j = 0; j < n; j += LANES) {
        FQ_STAYS_SCALAR
        const E(levels) l = is_each ? E(levels_from)(r->p, i + j, FQ_DIVIDE_EACH) : r->of_all;
        const C(vec) x = E(load)(to.x + j), q = E(divide)(x, l, r->way);
        const C(vec) point = C(point)(q, x, rule, to.words != NULL ? to.words + j : NULL, &r->format);
        const C(vec) lo = is_format ? C(sub)(C(set)(0), l.hi) : l.lo, c = C(max)(lo, C(min)(l.hi, point));
        mask64_put(&m, j, C(equal)(c, point));
        const P(packed) y =
            keeps_sign ? E(pack)(C(mul)(c, l.scale)) : E(no_minus_zero)(E(pack)(C(mul_plus_zero)(c, l.scale)));
        E(store_some)(to.y + j, y, LANES, stream);
    }
    return m;
}

/* The same of any n <= FQ_BLOCK elements. without_y: the mask alone. */
static FQ_ONE_COPY mask64 E(round_part)(E(some) to, const E(rule) * r, size_t i, size_t n, int without_y)
{
    elem_t x[FQ_BLOCK] = {0}, y[FQ_BLOCK];
    uint16_t words[FQ_BLOCK] = {0};
    const E(some) whole = {y, x, to.words != NULL ? words : NULL};
    memcpy(x, to.x, n * sizeof *x);
    if (to.words != NULL) {
        memcpy(words, to.words, n * sizeof *words);
    }
    const size_t lanes = (n + LANES - 1) / LANES * LANES;
    const mask64 m = E(round_vectors)(whole, r, i, lanes, r->p->rule, r->way == FQ_DIVIDE_EACH, 0);
    if (!without_y) {
        memcpy(to.y, y, n * sizeof *y);
    }
    return m;
}

/* The code of the format of a set. */
static FQ_INLINE int E(code_of_set)(const fq_params *p, size_t set)
{
    const void *codes = fq_zero_points(p->sets);
    return sizeof(C(elem)) == sizeof(double) ? (int)((const double *)codes)[set] : (int)((const int32_t *)codes)[set];
}

static FQ_INLINE C(format) E(format_of_set)(const fq_params *p, size_t set)
{
    const C(elem) *max = p->sets.hi, *beyond = p->sets.lo;
    return C(format_of)(E(code_of_set)(p, set), (double)max[set], (double)beyond[set]);
}

/* How many of n elements from i on, which have a set each, share a format: all, where only scales differ. */
static size_t E(share_format)(const fq_params *p, size_t i, size_t n)
{
    const C(elem) *max = p->sets.hi;
    size_t j = 1;
    while (j < n && max[i + j] == max[i] && E(code_of_set)(p, i + j) == E(code_of_set)(p, i)) {
        j++;
    }
    return j;
}

/* Rows of a call: y or dx; dy, of a backward; x; the words, if there are any. */
typedef struct {
    elem_t *to;
    const elem_t *dy, *x;
    const uint16_t *words;
} E(row);

/* y or dx of n < FQ_BLOCK elements from i on, or of a block whose elements have a set each, and their mask. */
static FQ_INLINE void E(round_some)(const E(row) * row, const E(rule) * r, mask_writer *w, size_t i, size_t n,
                                    mask_kind kind)
{
    const E(some) some = {row->to + i, row->x + i, row->words != NULL ? row->words + i : NULL};
    const mask64 m = E(round_part)(some, r, i, n, row->dy != NULL);
    if (row->dy != NULL) {
        E(multiply_block)(row->to + i, row->dy + i, n, m, 0);
    }
    if (n == FQ_BLOCK) {
        write_block(w, m, kind);
    }
    else {
        write_part(w, m, n, kind);
    }
}

/* Whole blocks from i on that have one set; gives the element behind them. */
static FQ_INLINE size_t E(round_blocks)(const E(row) * row, const E(rule) * r, mask_writer *w, size_t i, size_t n,
                                        fq_rule rule, mask_kind kind, int stream)
{
    for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
        const E(some) some = {row->to + i, row->x + i, row->words != NULL ? row->words + i : NULL};
        write_block(w, E(round_vectors)(some, r, i, FQ_BLOCK, rule, 0, stream), kind);
    }
    return i;
}

static FQ_ONE_COPY size_t E(round_whole)(const E(row) * row, const E(rule) * r, mask_writer *w, size_t i, size_t n,
                                         mask_kind kind, int stream)
{
    if (r->way == FQ_DIVIDE_EACH || row->dy != NULL) {
        return i;
    }
    return r->p->rule == FQ_FLOATS ? E(round_blocks)(row, r, w, i, n, FQ_FLOATS, kind, stream)
                                   : E(round_blocks)(row, r, w, i, n, r->p->rule, kind, stream);
}

/* As quantize_row. */
static FQ_INLINE void E(round_row)(const E(row) * row, E(rule) r, mask_writer *w, size_t n, mask_kind kind, int stream)
{
    const int varies = r.way == FQ_DIVIDE_EACH && r.p->rule == FQ_FLOATS;
    const size_t before = E(before_line)(row->to, n, stream);
    for (size_t i = 0, some; i < n; i += some) {
        i = i < before ? i : E(round_whole)(row, &r, w, i, n, kind, stream);
        const size_t left = i < before ? before - i : n - i;
        some = left < FQ_BLOCK ? left : FQ_BLOCK;
        if (varies && some > 0) {
            some = E(share_format)(r.p, i, some);
            r.format = E(format_of_set)(r.p, i);
        }
        if (some > 0) {
            E(round_some)(row, &r, w, i, some, kind);
        }
    }
}

/* The rule of a row. x * (1 / scale) is x / scale where both are powers of two. */
static FQ_INLINE E(rule) E(rule_of_row)(const fq_params *p, size_t row)
{
    const size_t set = row * p->next_set;
    E(rule) r = {.p = p, .of_all = E(levels_of_row)(p, row, p->way), .way = p->way};
    if (p->way == FQ_DIVIDE_EACH) {
        return r;
    }
    if (p->rule == FQ_FLOATS) {
        r.format = E(format_of_set)(p, set);
    }
    const double scale = (double)((const C(elem) *)p->sets.scale)[set],
                 inv = (double)((const C(elem) *)p->sets.inv)[set];
    r.way = fq_is_power_of_two(scale) && fq_is_power_of_two(inv) && scale * inv == 1 ? FQ_MULTIPLY : p->way;
    return r;
}

/* data: y, the mask if there is one, x, the words if there are any; or dx, dy, x. */
static void E(by_rule)(char *const *data, size_t n, const fq_params *p)
{
    const int backward = p->op == FQ_BACKWARD_RECOMPUTE, stream = E(streams)(p, p->way);
    const mask_kind kind = p->op == FQ_FORWARD ? MASK_BYTES : p->op == FQ_FORWARD_PACKED ? MASK_BITS : NO_MASK;
    const int x = kind != NO_MASK || backward ? 2 : 1;
    for (size_t i = 0; i < p->rows; i++) {
        const ptrdiff_t at = (ptrdiff_t)i;
        const char *const words = p->rule == FQ_STOCHASTIC ? data[x + 1] + at * p->row[x + 1] : NULL;
        const E(row)
            row = {(elem_t *)(void *)(data[0] + at * p->row[0]),
                   backward ? (const elem_t *)(const void *)(data[1] + at * p->row[1]) : NULL,
                   (const elem_t *)(const void *)(data[x] + at * p->row[x]), (const uint16_t *)(const void *)words};
        mask_writer w = {kind == NO_MASK ? NULL : (uint8_t *)data[1] + at * p->row[1], 0, 0};
        E(round_row)(&row, E(rule_of_row)(p, i), &w, n, kind, stream);
        write_rest(&w, kind);
    }
    if (stream) {
        stream_done();
    }
}
