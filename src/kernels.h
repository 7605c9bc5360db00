/* The kernels, written once: included for each element type by target.h, over the words of a simd_*.h.
 *
 * Every kernel has three parts: whole blocks of 64, single vectors, and the part of a vector that is left.
 * The includer defines ELEM, the element type (a suffix of types.h), and COMPUTE, the type computed in (f32 or f64).
 * Names are made of these two; where ELEM is f16 and COMPUTE is f32: */
#define FQ_PASTE_(a, b) a##_##b
#define FQ_PASTE(a, b) FQ_PASTE_(a, b)
#define E(word) FQ_PASTE(word, ELEM)    /* E(load) is load_f16: the word for elements of this type */
#define C(word) FQ_PASTE(COMPUTE, word) /* C(add) is f32_add: the word for vectors of the type computed in */
#define P(word) FQ_PASTE(ELEM, word)    /* P(packed) is f16_packed: a type or constant of the element type */
#define LANES C(LANES)                  /* f32_LANES: elements of a vector */
#define elem_t P(elem)                  /* f16_elem: how an element is stored */

#if !FQ_PASTE(FQ_OWN, ELEM) /* set beside the words that a target has for this type */
#include "by_lane.h"
#endif

/* Load and store `count` elements: LANES of them, or the part of a vector that is left at an end. */
static FQ_INLINE C(vec) E(load_some)(const elem_t *from, size_t count)
{
    if (count == LANES) {
        return E(load)(from);
    }
#if FQ_HAS_PARTS && FQ_PASTE(FQ_OWN, ELEM)
    return E(load_part)(from, count);
#else
    elem_t whole[LANES] = {0};
    copy_few(whole, from, count * sizeof *from, sizeof whole);
    return E(load)(whole);
#endif
}

static FQ_INLINE void E(store_some)(elem_t *to, P(packed) v, size_t count, int stream)
{
    if (count == LANES && stream) {
        E(stream)(to, v);
        return;
    }
    if (count == LANES) {
        E(store)(to, v);
        return;
    }
#if FQ_HAS_PARTS && FQ_PASTE(FQ_OWN, ELEM)
    E(store_part)(to, v, count);
#else
    elem_t whole[LANES];
    E(store)(whole, v);
    copy_few(to, whole, count * sizeof *to, sizeof whole);
#endif
}

/* Stores two vectors, one after the other. */
static FQ_INLINE void E(store_two)(elem_t *to, C(vec) v, C(vec) w, int stream)
{
#if FQ_PASTE(FQ_PAIRS, ELEM) /* the target packs two vectors into one */
    if (stream) {
        E(stream_pair)(to, E(no_minus_zero_pair)(E(pack_pair)(v, w)));
        return;
    }
    E(store_pair)(to, E(no_minus_zero_pair)(E(pack_pair)(v, w)));
#else
    E(store_some)(to, E(no_minus_zero)(E(pack)(v)), LANES, stream);
    E(store_some)(to + LANES, E(no_minus_zero)(E(pack)(w)), LANES, stream);
#endif
}

/* How many of n elements to store before the first that starts a cache line: storing past the cache must start
 * there, and a long call is faster when no store is split over two lines. */
static FQ_INLINE size_t E(before_line)(const elem_t *to, size_t n, int stream)
{
    const size_t before = (CACHE_LINE - (uintptr_t)to % CACHE_LINE) % CACHE_LINE / sizeof *to;
    if (!stream && n < FQ_ALIGN_FROM) {
        return 0;
    }
    return before < n ? before : n;
}

/* Elements to take at j of n: a constant in a whole block. */
static FQ_INLINE size_t E(lanes_at)(size_t j, size_t n) { return n == FQ_BLOCK || n - j > LANES ? LANES : n - j; }

typedef struct {
    C(vec) scale, inv, lo, hi;
} E(levels);

/* One set for all lanes. */
static FQ_INLINE E(levels) E(levels_of_set)(const fq_params *p, size_t set)
{
    const C(elem) *scale = p->sets.scale, *inv = p->sets.inv, *lo = p->sets.lo, *hi = p->sets.hi;
    return (E(levels)){C(set)((double)scale[set]), C(set)((double)inv[set]), C(set)((double)lo[set]),
                       C(set)((double)hi[set])};
}

/* A set for each lane: the arrays have room for whole vectors. inv is read by MULTIPLY_EACH alone. */
static FQ_INLINE E(levels) E(levels_from)(const fq_params *p, size_t i, fq_way way)
{
    return (E(levels)){C(read)(p->sets.scale, i), way == FQ_MULTIPLY_EACH ? C(read)(p->sets.inv, i) : C(set)(0),
                       C(read)(p->sets.lo, i), C(read)(p->sets.hi, i)};
}

/* DIVIDE_FAST is Markstein's division: the quotient by the rounded reciprocal, corrected once by its own remainder, is
 * the correctly rounded one. The limit keeps infinities and overflow out of the remainder: beyond it every
 * quotient is outside any range of levels. Without a fused multiply-add it is a division. */
static FQ_INLINE C(vec) E(quotient)(C(vec) x, E(levels) l, fq_way way)
{
    if (way == FQ_MULTIPLY || way == FQ_MULTIPLY_EACH) {
        return C(mul)(x, l.inv);
    }
#if FQ_HAS_FMA
    if (way == FQ_DIVIDE_FAST) {
        C(vec) q = C(limit)(C(mul)(x, l.inv));
        return C(fma)(C(fnma)(q, l.scale, x), l.inv, q);
    }
#endif
    return C(div)(x, l.scale);
}

/* The clamped level minus zero_point; *in_range has a bit for each lane that was not clamped. min and max give
 * their second operand when one is NaN, so a NaN survives and is never equal to itself. */
static FQ_INLINE C(vec) E(level)(C(vec) quotient, E(levels) l, unsigned *in_range)
{
    C(vec) r = C(rint)(quotient);
    C(vec) c = C(max)(l.lo, C(min)(l.hi, r));
    *in_range = C(equal)(c, r);
    return c;
}

static FQ_INLINE int E(is_each)(fq_way way) { return way == FQ_DIVIDE_EACH || way == FQ_MULTIPLY_EACH; }

static FQ_INLINE E(levels) E(levels_at)(E(levels) of_all, const fq_params *p, size_t i, fq_way way)
{
    return E(is_each)(way) ? E(levels_from)(p, i, way) : of_all;
}

/* y of a vector at lane j of a block that starts at element i, not packed yet; m takes its part of the mask. */
static FQ_INLINE C(vec) E(quantize_vector)(const elem_t *x, size_t lanes, E(levels) of_all, const fq_params *p,
                                           size_t i, size_t j, fq_way way, mask64 *m)
{
    const E(levels) l = E(levels_at)(of_all, p, i + j, way);
    unsigned in_range;
    const C(vec) c = E(level)(E(quotient)(E(load_some)(x + i + j, lanes), l, way), l, &in_range);
    mask64_put(m, j, in_range);
    return C(mul_plus_zero)(c, l.scale);
}

/* y of lanes [j, n) of a block that starts at element i; m takes their part of the mask. */
static FQ_INLINE void E(quantize_lanes)(elem_t *y, const elem_t *x, size_t j, size_t n, E(levels) of_all,
                                        const fq_params *p, size_t i, fq_way way, int stream, mask64 *m)
{
    FQ_LANES_LOOP
    for (; n - j >= 2 * LANES; j += 2 * LANES) {
        const C(vec) v = E(quantize_vector)(x, LANES, of_all, p, i, j, way, m);
        const C(vec) w = E(quantize_vector)(x, LANES, of_all, p, i, j + LANES, way, m);
        E(store_two)(y + i + j, v, w, stream);
    }
    for (; j < n; j += LANES) {
        const size_t lanes = E(lanes_at)(j, n);
        const C(vec) v = E(quantize_vector)(x, lanes, of_all, p, i, j, way, m);
        E(store_some)(y + i + j, E(no_minus_zero)(E(pack)(v)), lanes, stream);
    }
}

/* y and the mask of n <= FQ_BLOCK elements that start at element i of the row. */
static FQ_INLINE mask64 E(quantize_block)(elem_t *y, const elem_t *x, size_t n, E(levels) of_all, const fq_params *p,
                                          size_t i, fq_way way, int stream)
{
    mask64 m = mask64_none();
    E(quantize_lanes)(y, x, 0, n, of_all, p, i, way, stream, &m);
    return m;
}

/* The mask alone, of lanes [j, n) of a block that starts at element i. */
static FQ_INLINE void E(mask_lanes)(const elem_t *x, size_t j, size_t n, E(levels) of_all, const fq_params *p, size_t i,
                                    fq_way way, mask64 *m)
{
    FQ_LANES_LOOP
    for (; n - j >= LANES; j += LANES) {
        (void)E(quantize_vector)(x, LANES, of_all, p, i, j, way, m);
    }
    if (j < n) {
        (void)E(quantize_vector)(x, n - j, of_all, p, i, j, way, m);
    }
}

/* A product, not a selection: NaN and inf in dy at a masked place give NaN, a finite dy a zero of its sign. */
static FQ_INLINE void E(multiply_block)(elem_t *dx, const elem_t *dy, size_t n, mask64 m, int stream)
{
    FQ_LANES_LOOP
    for (size_t j = 0; j < n; j += LANES) {
        const size_t lanes = E(lanes_at)(j, n);
        C(vec) v = C(mul)(E(load_some)(dy + j, lanes), C(keep)(mask64_get(&m, j), C(set)(1)));
        E(store_some)(dx + j, E(pack)(v), lanes, stream);
    }
}

static FQ_INLINE E(levels) E(levels_of_row)(const fq_params *p, size_t row, fq_way way)
{
    return E(is_each)(way) ? E(levels_from)(p, 0, way) : E(levels_of_set)(p, row * p->next_set);
}

/* y and the mask of a row: the part before a cache line, whole blocks, the part that is left. */
static FQ_INLINE void E(quantize_row)(elem_t *y, mask_writer *w, const elem_t *x, size_t n, E(levels) l,
                                      const fq_params *p, fq_way way, mask_kind kind, int stream)
{
    size_t i = 0, part = E(before_line)(y, n, stream);
    int past_cache = 0;
    for (;;) {
        if (part > 0) {
            write_part(w, E(quantize_block)(y, x, part, l, p, i, way, past_cache), part, kind);
            i += part;
        }
        if (i == n) {
            return;
        }
        for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
            write_block(w, E(quantize_block)(y, x, FQ_BLOCK, l, p, i, way, stream), kind);
        }
        part = n - i;
        past_cache = stream;
    }
}

/* Whether rows follow each other without gaps, in all arrays. */
static FQ_INLINE int E(are_joined)(const fq_params *p, int x, size_t n, mask_kind kind)
{
    const ptrdiff_t row = (ptrdiff_t)(n * sizeof(elem_t));
    const size_t mask = kind == MASK_BITS ? n / 8 : n;
    return p->row[0] == row && p->row[x] == row && (kind == NO_MASK || p->row[1] == (ptrdiff_t)mask);
}

/* Whether rows may be taken two at a time, if they are joined. */
static FQ_INLINE int E(pairs_rows)(char *const *data, size_t n, fq_way way, int stream)
{
    const int aligned = !stream || (uintptr_t)data[0] % CACHE_LINE == 0; /* as non-temporal stores must be */
    return n == FQ_BLOCK / 2 && aligned && !E(is_each)(way);
}

/* Rows of half a block, the usual groups, two at a time, each with its own set. Gives how many were done. */
static FQ_INLINE size_t E(quantize_halves)(elem_t *y, mask_writer *w, const elem_t *x, const fq_params *p, fq_way way,
                                           mask_kind kind, int stream)
{
    size_t row = 0;
    for (; p->rows - row >= 2; row += 2) {
        const E(levels) first = E(levels_of_row)(p, row, way), second = E(levels_of_row)(p, row + 1, way);
        const size_t i = row * (FQ_BLOCK / 2);
        mask64 m = mask64_none();
        E(quantize_lanes)(y, x, 0, FQ_BLOCK / 2, first, p, i, way, stream, &m);
        E(quantize_lanes)(y, x, FQ_BLOCK / 2, FQ_BLOCK, second, p, i, way, stream, &m);
        write_block(w, m, kind);
    }
    return row;
}

/* fake_quantize, forward and forward_packed. Rows of whole bytes of bits, one after another, are one stream of bits. */
static FQ_INLINE void E(quantize_rows)(char *const *data, int x, size_t n, const fq_params *p, fq_way way,
                                       mask_kind kind, int stream)
{
    const int joined = kind == MASK_BITS && n % 8 == 0 && p->row[1] == (ptrdiff_t)(n / 8);
    mask_writer w = {(uint8_t *)data[1], 0, 0};
    size_t row = 0;
    if (E(pairs_rows)(data, n, way, stream) && E(are_joined)(p, x, n, kind)) {
        row = E(quantize_halves)((elem_t *)data[0], &w, (const elem_t *)data[x], p, way, kind, stream);
    }
    for (; row < p->rows; row++) {
        const ptrdiff_t at = (ptrdiff_t)row;
        elem_t *y = (elem_t *)(void *)(data[0] + at * p->row[0]);
        const elem_t *from = (const elem_t *)(const void *)(data[x] + at * p->row[x]);
        if (kind != NO_MASK && !joined) {
            w = (mask_writer){(uint8_t *)data[1] + at * p->row[1], 0, 0};
        }
        E(quantize_row)(y, &w, from, n, E(levels_of_row)(p, row, way), p, way, kind, stream);
        if (!joined || row + 1 == p->rows) {
            write_rest(&w, kind);
        }
    }
}

static FQ_INLINE mask64 E(mask_at)(const void *mask, size_t i, size_t n, E(levels) l, const fq_params *p, fq_way way,
                                   mask_kind kind)
{
    mask64 m = mask64_none();
    if (kind != NO_MASK) {
        return read_mask(mask, i, n, kind);
    }
    E(mask_lanes)(mask, 0, n, l, p, i, way, &m);
    return m;
}

/* dx of a row; mask is x where there is no mask to read. */
static FQ_INLINE void E(multiply_row)(elem_t *dx, const elem_t *dy, const void *mask, size_t n, E(levels) l,
                                      const fq_params *p, fq_way way, mask_kind kind, int stream)
{
    size_t i = 0, part = E(before_line)(dx, n, stream);
    int past_cache = 0;
    for (;;) {
        if (part > 0) {
            E(multiply_block)(dx + i, dy + i, part, E(mask_at)(mask, i, part, l, p, way, kind), past_cache);
            i += part;
        }
        if (i == n) {
            return;
        }
        for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
            mask64 m = E(mask_at)(mask, i, FQ_BLOCK, l, p, way, kind);
            E(multiply_block)(dx + i, dy + i, FQ_BLOCK, m, stream);
        }
        part = n - i;
        past_cache = stream;
    }
}

/* As quantize_halves. */
static FQ_INLINE size_t E(multiply_halves)(elem_t *dx, const elem_t *dy, const elem_t *x, const fq_params *p,
                                           fq_way way, int stream)
{
    size_t row = 0;
    for (; p->rows - row >= 2; row += 2) {
        const E(levels) first = E(levels_of_row)(p, row, way), second = E(levels_of_row)(p, row + 1, way);
        const size_t i = row * (FQ_BLOCK / 2);
        mask64 m = mask64_none();
        E(mask_lanes)(x, 0, FQ_BLOCK / 2, first, p, i, way, &m);
        E(mask_lanes)(x, FQ_BLOCK / 2, FQ_BLOCK, second, p, i, way, &m);
        E(multiply_block)(dx + i, dy + i, FQ_BLOCK, m, stream);
    }
    return row;
}

/* backward, backward_packed and, without a mask to read, backward_recompute. */
static FQ_INLINE void E(multiply)(char *const *data, size_t n, const fq_params *p, fq_way way, mask_kind kind,
                                  int stream)
{
    size_t row = 0;
    if (kind == NO_MASK && E(pairs_rows)(data, n, way, stream) && E(are_joined)(p, 1, n, NO_MASK) &&
        E(are_joined)(p, 2, n, NO_MASK)) {
        row = E(multiply_halves)((elem_t *)data[0], (const elem_t *)data[1], (const elem_t *)data[2], p, way, stream);
    }
    for (; row < p->rows; row++) {
        const ptrdiff_t at = (ptrdiff_t)row;
        elem_t *dx = (elem_t *)(void *)(data[0] + at * p->row[0]);
        const elem_t *dy = (const elem_t *)(const void *)(data[1] + at * p->row[1]);
        const E(levels) l = kind == NO_MASK ? E(levels_of_row)(p, row, way) : (E(levels)){0};
        E(multiply_row)(dx, dy, data[2] + at * p->row[2], n, l, p, way, kind, stream);
    }
}

/* Rows with a set of parameters for each element come in short chunks, which are never stored past the cache. */
static FQ_INLINE int E(streams)(const fq_params *p, fq_way way)
{
    return FQ_CAN_STREAM && !E(is_each)(way) && p->stream;
}

static FQ_INLINE void E(quantize_call)(char *const *data, int x, const fq_params *p, size_t n, fq_way way,
                                       mask_kind kind)
{
    if (E(streams)(p, way)) {
        E(quantize_rows)(data, x, n, p, way, kind, 1);
        stream_done();
    }
    else {
        E(quantize_rows)(data, x, n, p, way, kind, 0);
    }
}

static FQ_INLINE void E(multiply_call)(char *const *data, const fq_params *p, size_t n, fq_way way, mask_kind kind)
{
    if (E(streams)(p, way)) {
        E(multiply)(data, n, p, way, kind, 1);
        stream_done();
    }
    else {
        E(multiply)(data, n, p, way, kind, 0);
    }
}

/* A function for each row of ops.h. */
static FQ_INLINE void E(fake_quantize)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(quantize_call)(data, 1, p, n, way, NO_MASK);
}

static FQ_INLINE void E(forward)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(quantize_call)(data, 2, p, n, way, MASK_BYTES);
}

static FQ_INLINE void E(forward_packed)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(quantize_call)(data, 2, p, n, way, MASK_BITS);
}

static FQ_INLINE void E(backward)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(multiply_call)(data, p, n, way, MASK_BYTES);
}

static FQ_INLINE void E(backward_packed)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(multiply_call)(data, p, n, way, MASK_BITS);
}

static FQ_INLINE void E(backward_recompute)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(multiply_call)(data, p, n, way, NO_MASK);
}

#include "kernel_round.h"
#include "kernel_blocks.h"
#include "kernel_integers.h"
#include "kernel_residual.h"
#include "kernel_learn.h"

FQ_KERNELS(ELEM)
#undef COMPUTE
#undef ELEM
