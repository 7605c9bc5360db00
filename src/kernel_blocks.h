/* Blocks that share a scale: included by kernels.h for each element type.
 *
 * A block is read twice, from the cache the second time: for its largest magnitude, and to be rounded. Along the last axis some
 * blocks go together; along another one, the blocks of adjacent columns. */

/* n elements, FQ_BLOCK or fewer, as numbers of the type computed in, and 0 up to a whole vector. */
static FQ_INLINE void E(gather)(C(elem) * to, const elem_t *from, size_t n)
{
    elem_t few[FQ_BLOCK];
    if (n < FQ_BLOCK) {
        memset(few, 0, sizeof few);
        memcpy(few, from, n * sizeof *few);
        from = few;
    }
    for (size_t j = 0; j < n; j += LANES) {
        const C(vec) v = E(load)(from + j);
        memcpy(to + j, &v, sizeof v);
    }
}

static FQ_INLINE void E(scatter)(elem_t *to, const C(elem) * from, size_t n, int signed_zero)
{
    elem_t few[FQ_BLOCK], *const place = n < FQ_BLOCK ? few : to;
    for (size_t j = 0; j < n; j += LANES) {
        const C(vec) v = C(read)(from, j);
        E(store)(place + j, signed_zero ? E(pack)(v) : E(no_minus_zero)(E(pack)(C(add)(v, C(set)(0)))));
    }
    if (n < FQ_BLOCK) {
        memcpy(to, few, n * sizeof *few);
    }
}

/* Of some elements that follow each other from this one on: all of one block, or one of each of some columns. */
static FQ_INLINE void E(keep_mask)(const fq_block_call *c, size_t at, size_t n, uint64_t word)
{
    if (c->kept == 1) {
        word = little_endian(word);
        copy_few(c->mask + at / 8, &word, n == FQ_BLOCK ? 8 : n / 8, sizeof word);
    }
    if (c->kept == 8) {
        uint8_t bytes[FQ_BLOCK];
        mask64_to_bytes(bytes, mask64_from_word(word));
        memcpy(c->mask + at, bytes, n);
    }
}

static FQ_INLINE void E(round_few)(const fq_block_call *c, const C(block_rule) * r, size_t at, size_t n,
                                   const C(elem) * scales, const C(elem) * invs, int each)
{
    C(elem) from[FQ_BLOCK], to[FQ_BLOCK];
    E(gather)(from, (const elem_t *)c->x + at, n);
    const uint64_t word = C(round_chunk)(to, from, (n + LANES - 1) / LANES * LANES, scales, invs, &r->format, each,
                                         c->rule == FQ_SCALE_E4M3, c->points);
    E(scatter)((elem_t *)c->y + at, to, n, r->format.signed_zero);
    E(keep_mask)(c, at, n, word);
}

/* Blocks of one column each, side by side: `columns` of them, of n elements, from this element of x on. */
static void E(round_columns)(const fq_block_call *c, const C(block_rule) * r, size_t at, size_t n, size_t columns,
                             uint8_t *codes)
{
    C(block_scales) s;
    C(elem) row[FQ_BLOCK] = {0};
    memset(s.top, 0, sizeof s.top);
    for (size_t i = 0; i < n; i++) {
        E(gather)(row, (const elem_t *)c->x + at + i * c->inner, columns);
        C(top_of_columns)(s.top, row, C(TOGETHER));
    }
    memset(s.scale, 0, sizeof s.scale), memset(s.inv, 0, sizeof s.inv);
    C(make_scales)(&s, r, c->rule, columns);
    memcpy(codes, s.code, columns);
    for (size_t i = 0; i < n; i++) {
        E(round_few)(c, r, at + i * c->inner, columns, s.scale, s.inv, 1);
    }
}

static FQ_INLINE C(bits) E(top_of)(const elem_t *x, size_t n)
{
    C(elem) buffer[FQ_BLOCK];
    C(bits) top = 0;
    for (size_t i = 0; i < n; i += FQ_BLOCK) {
        const size_t some = n - i < FQ_BLOCK ? n - i : FQ_BLOCK;
        E(gather)(buffer, x + i, some);
        top = C(top)(buffer, some, top);
    }
    return top;
}

/* Elements of blocks of 16 or 32 that are rounded together, as numbers of the type computed in. */
enum { E(AT_ONCE) = C(TOGETHER) * 32, E(IS_COMPUTED_IN) = sizeof(elem_t) == sizeof(C(elem)) };

static FQ_INLINE const C(elem) * E(widened)(C(elem) * buffer, const elem_t *x, size_t n)
{
    if (E(IS_COMPUTED_IN)) {
        return (const C(elem) *)(const void *)x;
    }
    for (size_t i = 0; i < n; i += FQ_BLOCK) {
        E(gather)(buffer + i, x + i, n - i < FQ_BLOCK ? n - i : FQ_BLOCK);
    }
    return buffer;
}

/* `size` elements from this one on, a multiple of FQ_BLOCK, in blocks of 16 or 32. */
static FQ_INLINE void E(round_run)(const fq_block_call *c, const C(block_rule) * r, const C(block_scales) * s,
                                   const C(elem) * from, size_t at, size_t size, size_t n)
{
    C(elem) buffer[E(AT_ONCE)];
    elem_t *const y = (elem_t *)c->y + at;
    C(elem) *const to = E(IS_COMPUTED_IN) ? (C(elem) *)(void *)y : buffer;
    const mask_kind kind = c->kept == 0 ? NO_MASK : c->kept == 8 ? MASK_BYTES : MASK_BITS;
    mask_writer w = {kind == NO_MASK ? NULL : c->mask + (kind == MASK_BITS ? at / 8 : at), 0, 0};
    const fq_way way = c->rule != FQ_SCALE_E4M3 ? FQ_MULTIPLY : s->is_fast ? FQ_DIVIDE_FAST : FQ_DIVIDE;
    C(round_runs)(to, from, size, n, s, &r->format, way, &w, kind);
    for (size_t i = 0; !E(IS_COMPUTED_IN) && i < size; i += FQ_BLOCK) {
        E(scatter)(y + i, buffer + i, FQ_BLOCK, r->format.signed_zero);
    }
}

/* `count` blocks of n elements that follow each other from this element of x on. */
static void E(round_rows)(const fq_block_call *c, const C(block_rule) * r, size_t at, size_t n, size_t count,
                          uint8_t *codes)
{
    C(block_scales) s;
    C(elem) buffer[E(AT_ONCE)];
    const elem_t *const x = (const elem_t *)c->x + at;
    const int fits = n == 16 || n == 32;
    const C(elem) *const from = fits ? E(widened)(buffer, x, count * n) : NULL;
    const size_t run = fits && !c->points ? count * n / FQ_BLOCK * FQ_BLOCK : 0;
    if (fits) {
        C(tops)(s.top, from, count, n);
    }
    for (size_t b = 0; !fits && b < count; b++) {
        s.top[b] = E(top_of)(x + b * n, n);
    }
    C(make_scales)(&s, r, c->rule, count);
    memcpy(codes, s.code, count);
    if (run > 0) {
        E(round_run)(c, r, &s, from, at, run, n);
    }
    for (size_t b = run / n; b < count; b++) {
        for (size_t i = 0; i < n; i += FQ_BLOCK) {
            const size_t some = n - i < FQ_BLOCK ? n - i : FQ_BLOCK;
            E(round_few)(c, r, at + b * n + i, some, s.scale + b, s.inv + b, 0);
        }
    }
}

static void E(blocks)(const fq_block_call *c, size_t from, size_t to)
{
    const C(block_rule) rule = C(block_rule_of)(c);
    const size_t whole = c->n / c->block, most = c->inner > 1 || c->block <= 32 ? C(TOGETHER) : C(SOME);
    size_t column = from % c->inner, block = from / c->inner % c->blocks, row = from / c->inner / c->blocks;
    for (size_t i = from, some; i < to; i += some) {
        const size_t at = (row * c->n + block * c->block) * c->inner + column;
        const size_t n = block < whole ? c->block : c->n - whole * c->block;
        const size_t side = c->inner > 1 ? c->inner - column : block < whole ? whole - block : 1;
        some = to - i < side ? to - i : side;
        some = some < most ? some : most;
        if (c->inner > 1) {
            E(round_columns)(c, &rule, at, n, some, c->scales + i);
            column += some;
        }
        else {
            E(round_rows)(c, &rule, at, n, some, c->scales + i);
            block += some;
        }
        block += column == c->inner, column %= c->inner;
        row += block == c->blocks, block %= c->blocks;
    }
}
