/* The kernels, written once: included for each element type by target.h, over the words of a simd_*.h.
 *
 * ELEM is the element type (a suffix of types.h), elem_t its storage, COMPUTE the type computed in (f32, f64).
 * Every kernel has three parts: whole blocks of 64, single vectors, and the part of a vector that is left. */
#define FQ_PASTE_(a, b) a##_##b
#define FQ_PASTE(a, b) FQ_PASTE_(a, b)
#define E(word) FQ_PASTE(word, ELEM)
#define C(word) FQ_PASTE(COMPUTE, word)
#define P(word) FQ_PASTE(ELEM, word)
#define LANES C(LANES)
#define elem_t P(elem)

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
    memcpy(whole, from, count * sizeof *from);
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
    memcpy(to, whole, count * sizeof *to);
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

static FQ_INLINE E(levels) E(levels_of_all)(const fq_params *p)
{
    return (E(levels)){C(set)(p->scale), C(set)(p->inv), C(set)(p->lo), C(set)(p->hi)};
}

/* The arrays are padded to a whole vector by whoever fills them. */
static FQ_INLINE E(levels) E(levels_from)(const fq_params *p, size_t i)
{
    return (E(levels)){C(read)(p->scales, i), C(read)(p->invs, i), C(read)(p->los, i), C(read)(p->his, i)};
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
    return E(is_each)(way) ? E(levels_from)(p, i) : of_all;
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

/* y and the mask of n <= FQ_BLOCK elements that start at element i of the call. */
static FQ_INLINE mask64 E(quantize_block)(elem_t *y, const elem_t *x, size_t n, E(levels) of_all, const fq_params *p,
                                          size_t i, fq_way way, int stream)
{
    mask64 m = mask64_none();
    size_t j = 0;
    FQ_LANES_LOOP
    for (; n - j >= 2 * LANES; j += 2 * LANES) {
        const C(vec) v = E(quantize_vector)(x, LANES, of_all, p, i, j, way, &m);
        const C(vec) w = E(quantize_vector)(x, LANES, of_all, p, i, j + LANES, way, &m);
        E(store_two)(y + i + j, v, w, stream);
    }
    for (; j < n; j += LANES) {
        const size_t lanes = E(lanes_at)(j, n);
        const C(vec) v = E(quantize_vector)(x, lanes, of_all, p, i, j, way, &m);
        E(store_some)(y + i + j, E(no_minus_zero)(E(pack)(v)), lanes, stream);
    }
    return m;
}

/* The mask alone. */
static FQ_INLINE mask64 E(mask_block)(const elem_t *x, size_t n, E(levels) of_all, const fq_params *p, size_t i,
                                      fq_way way)
{
    mask64 m = mask64_none();
    FQ_LANES_LOOP
    for (size_t j = 0; j < n; j += LANES) {
        const E(levels) l = E(levels_at)(of_all, p, i + j, way);
        unsigned in_range;
        E(level)(E(quotient)(E(load_some)(x + i + j, E(lanes_at)(j, n)), l, way), l, &in_range);
        mask64_put(&m, j, in_range);
    }
    return m;
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

static FQ_INLINE E(levels) E(levels_first)(const fq_params *p, fq_way way)
{
    return E(is_each)(way) ? E(levels_from)(p, 0) : E(levels_of_all)(p);
}

/* fake_quantize, forward and forward_packed: the part before a cache line, whole blocks, the part that is left. */
static FQ_INLINE void E(quantize)(elem_t *y, void *mask, const elem_t *x, size_t n, const fq_params *p, fq_way way,
                                  mask_kind kind, int stream)
{
    const E(levels) l = E(levels_first)(p, way);
    mask_writer w = {mask, 0, 0};
    size_t i = 0, part = E(before_line)(y, n, stream);
    for (;;) {
        if (part > 0) {
            write_part(&w, E(quantize_block)(y, x, part, l, p, i, way, 0), part, kind);
            i += part;
        }
        if (i == n) {
            break;
        }
        for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
            write_block(&w, E(quantize_block)(y, x, FQ_BLOCK, l, p, i, way, stream), kind);
        }
        part = n - i;
    }
    write_rest(&w, kind);
}

static FQ_INLINE mask64 E(mask_at)(const void *mask, const elem_t *x, size_t i, size_t n, E(levels) l,
                                   const fq_params *p, fq_way way, mask_kind kind)
{
    return kind == NO_MASK ? E(mask_block)(x, n, l, p, i, way) : read_mask(mask, i, n, kind);
}

/* backward, backward_packed and, without a mask to read, backward_recompute. */
static FQ_INLINE void E(multiply)(elem_t *dx, const elem_t *dy, const void *mask, size_t n, const fq_params *p,
                                  fq_way way, mask_kind kind, int stream)
{
    const E(levels) l = kind == NO_MASK ? E(levels_first)(p, way) : (E(levels)){0};
    const elem_t *x = mask;
    size_t i = 0, part = E(before_line)(dx, n, stream);
    for (;;) {
        if (part > 0) {
            E(multiply_block)(dx + i, dy + i, part, E(mask_at)(mask, x, i, part, l, p, way, kind), 0);
            i += part;
        }
        if (i == n) {
            break;
        }
        for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
            mask64 m = E(mask_at)(mask, x, i, FQ_BLOCK, l, p, way, kind);
            E(multiply_block)(dx + i, dy + i, FQ_BLOCK, m, stream);
        }
        part = n - i;
    }
}

/* Parameters of their own for the elements come in short chunks, which are never stored past the cache. */
static FQ_INLINE int E(streams)(const fq_params *p, fq_way way)
{
    return FQ_CAN_STREAM && !E(is_each)(way) && p->stream;
}

static FQ_INLINE void E(quantize_call)(char *const *data, int x, const fq_params *p, size_t n, fq_way way,
                                       mask_kind kind)
{
    elem_t *y = (elem_t *)data[0];
    const elem_t *from = (const elem_t *)data[x];
    if (E(streams)(p, way)) {
        E(quantize)(y, data[1], from, n, p, way, kind, 1);
        stream_done();
    }
    else {
        E(quantize)(y, data[1], from, n, p, way, kind, 0);
    }
}

static FQ_INLINE void E(multiply_call)(char *const *data, const fq_params *p, size_t n, fq_way way, mask_kind kind)
{
    elem_t *dx = (elem_t *)data[0];
    const elem_t *dy = (const elem_t *)data[1];
    if (E(streams)(p, way)) {
        E(multiply)(dx, dy, data[2], n, p, way, kind, 1);
        stream_done();
    }
    else {
        E(multiply)(dx, dy, data[2], n, p, way, kind, 0);
    }
}

/* The rows of the table. A mask that is read knows no scale, so one way serves. */
static void E(backward)(char *const *data, size_t n, const fq_params *p)
{
    E(multiply_call)(data, p, n, FQ_DIVIDE, MASK_BYTES);
}
static void E(backward_packed)(char *const *data, size_t n, const fq_params *p)
{
    E(multiply_call)(data, p, n, FQ_DIVIDE, MASK_BITS);
}

#define FQ_QUANTIZING(way)                                                                   \
    static void E(fake_quantize_##way)(char *const *data, size_t n, const fq_params *p)      \
    {                                                                                        \
        E(quantize_call)(data, 1, p, n, way, NO_MASK);                                       \
    }                                                                                        \
    static void E(forward_##way)(char *const *data, size_t n, const fq_params *p)            \
    {                                                                                        \
        E(quantize_call)(data, 2, p, n, way, MASK_BYTES);                                    \
    }                                                                                        \
    static void E(forward_packed_##way)(char *const *data, size_t n, const fq_params *p)     \
    {                                                                                        \
        E(quantize_call)(data, 2, p, n, way, MASK_BITS);                                     \
    }                                                                                        \
    static void E(backward_recompute_##way)(char *const *data, size_t n, const fq_params *p) \
    {                                                                                        \
        E(multiply_call)(data, p, n, way, NO_MASK);                                          \
    }                                                                                        \
    static void E(learnable_##way)(char *const *data, size_t n, const fq_params *p) { E(learn)(data, n, p, way); }

#include "learn.h"

FQ_QUANTIZING(FQ_DIVIDE)
FQ_QUANTIZING(FQ_DIVIDE_FAST)
FQ_QUANTIZING(FQ_MULTIPLY)
FQ_QUANTIZING(FQ_DIVIDE_EACH)
FQ_QUANTIZING(FQ_MULTIPLY_EACH)
#undef FQ_QUANTIZING
#undef COMPUTE
#undef ELEM
