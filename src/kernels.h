/* The kernels, written once: included for each element type by target.h, over the words of a simd_*.h.
 *
 * ELEM is the element type (f16, bf16, f32, f64), elem_t its storage, COMPUTE the type computed in (f32, f64).
 * Every kernel has three parts: whole blocks of 64, single vectors, and the part of a vector that is left. */
#define FQ_PASTE_(a, b) a##_##b
#define FQ_PASTE(a, b) FQ_PASTE_(a, b)
#define E(word) FQ_PASTE(word, ELEM)
#define C(word) FQ_PASTE(COMPUTE, word)
#define LANES C(LANES)

/* Load and store `count` elements: LANES of them, or the part of a vector that is left at an end. */
static FQ_INLINE C(vec) E(load_some)(const elem_t *from, size_t count)
{
    if (count == LANES) {
        return E(load)(from);
    }
    elem_t whole[LANES] = {0};
    memcpy(whole, from, count * sizeof *from);
    return E(load)(whole);
}

static FQ_INLINE void E(store_some)(elem_t *to, C(vec) v, size_t count)
{
    if (count == LANES) {
        E(store)(to, v);
        return;
    }
    elem_t whole[LANES];
    E(store)(whole, v);
    memcpy(to, whole, count * sizeof *to);
}

/* y: as above, but a negative value that is rounded to zero when it is stored becomes +0.0. */
static FQ_INLINE void E(store_y_some)(elem_t *to, C(vec) v, size_t count)
{
    if (count == LANES) {
        E(store_y)(to, v);
        return;
    }
    elem_t whole[LANES];
    E(store_y)(whole, v);
    memcpy(to, whole, count * sizeof *to);
}

/* Elements to take at j of n: a constant in a whole block. */
static FQ_INLINE size_t E(lanes_at)(size_t j, size_t n)
{
    return n == FQ_BLOCK || n - j > LANES ? LANES : n - j;
}

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
static FQ_INLINE C(vec) E(level)(C(vec) x, E(levels) l, fq_way way, unsigned *in_range)
{
    C(vec) r = C(rint)(E(quotient)(x, l, way));
    C(vec) c = C(max)(l.lo, C(min)(l.hi, r));
    *in_range = C(equal)(c, r);
    return c;
}

static FQ_INLINE int E(is_each)(fq_way way) { return way == FQ_DIVIDE_EACH || way == FQ_MULTIPLY_EACH; }

static FQ_INLINE E(levels) E(levels_at)(E(levels) of_all, const fq_params *p, size_t i, fq_way way)
{
    return E(is_each)(way) ? E(levels_from)(p, i) : of_all;
}

/* y and the mask of n <= FQ_BLOCK elements that start at element i of the call. */
static FQ_INLINE mask64 E(quantize_block)(elem_t *y, const elem_t *x, size_t n, E(levels) of_all,
                                          const fq_params *p, size_t i, fq_way way)
{
    mask64 m = mask64_none();
    FQ_LANES_LOOP
    for (size_t j = 0; j < n; j += LANES) {
        const size_t lanes = E(lanes_at)(j, n);
        E(levels) l = E(levels_at)(of_all, p, i + j, way);
        unsigned in_range;
        C(vec) c = E(level)(E(load_some)(x + j, lanes), l, way, &in_range);
        E(store_y_some)(y + j, C(mul_plus_zero)(c, l.scale), lanes);
        mask64_put(&m, j, in_range);
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
        unsigned in_range;
        E(level)(E(load_some)(x + j, E(lanes_at)(j, n)), E(levels_at)(of_all, p, i + j, way), way, &in_range);
        mask64_put(&m, j, in_range);
    }
    return m;
}

/* A product, not a selection: NaN and inf in dy at a masked place give NaN, a finite dy a zero of its sign. */
static FQ_INLINE void E(multiply_block)(elem_t *dx, const elem_t *dy, size_t n, mask64 m)
{
    FQ_LANES_LOOP
    for (size_t j = 0; j < n; j += LANES) {
        const size_t lanes = E(lanes_at)(j, n);
        C(vec) v = E(load_some)(dy + j, lanes);
        E(store_some)(dx + j, C(mul)(v, C(ones)(mask64_get(&m, j))), lanes);
    }
}

static FQ_INLINE E(levels) E(levels_first)(const fq_params *p, fq_way way)
{
    return E(is_each)(way) ? E(levels_from)(p, 0) : E(levels_of_all)(p);
}

/* fake_quantize (mask is NULL) and forward. */
static FQ_INLINE void E(quantize)(elem_t *y, uint8_t *mask, const elem_t *x, size_t n, const fq_params *p,
                                  fq_way way)
{
    const E(levels) l = E(levels_first)(p, way);
    size_t i = 0;
    for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
        mask64 m = E(quantize_block)(y + i, x + i, FQ_BLOCK, l, p, i, way);
        if (mask) {
            mask64_to_bytes(mask + i, m);
        }
    }
    if (i < n) {
        mask64 m = E(quantize_block)(y + i, x + i, n - i, l, p, i, way);
        if (mask) {
            uint8_t whole[FQ_BLOCK];
            mask64_to_bytes(whole, m);
            memcpy(mask + i, whole, n - i);
        }
    }
}

static void E(backward)(char *const *data, size_t n, const fq_params *p)
{
    elem_t *dx = (elem_t *)data[0];
    const elem_t *dy = (const elem_t *)data[1];
    const uint8_t *mask = (const uint8_t *)data[2];
    size_t i = 0;
    (void)p;
    for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
        E(multiply_block)(dx + i, dy + i, FQ_BLOCK, mask64_from_bytes(mask + i));
    }
    if (i < n) {
        uint8_t whole[FQ_BLOCK] = {0};
        memcpy(whole, mask + i, n - i);
        E(multiply_block)(dx + i, dy + i, n - i, mask64_from_bytes(whole));
    }
}

static FQ_INLINE void E(recompute)(elem_t *dx, const elem_t *dy, const elem_t *x, size_t n, const fq_params *p,
                                   fq_way way)
{
    const E(levels) l = E(levels_first)(p, way);
    size_t i = 0;
    for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
        E(multiply_block)(dx + i, dy + i, FQ_BLOCK, E(mask_block)(x + i, FQ_BLOCK, l, p, i, way));
    }
    if (i < n) {
        E(multiply_block)(dx + i, dy + i, n - i, E(mask_block)(x + i, n - i, l, p, i, way));
    }
}

/* The rows of the table: one function for each way. */
#define FQ_QUANTIZING(way)                                                                                       \
    static void E(fake_quantize_##way)(char *const *data, size_t n, const fq_params *p)                           \
    {                                                                                                             \
        E(quantize)((elem_t *)data[0], NULL, (const elem_t *)data[1], n, p, way);                                 \
    }                                                                                                             \
    static void E(forward_##way)(char *const *data, size_t n, const fq_params *p)                                 \
    {                                                                                                             \
        E(quantize)((elem_t *)data[0], (uint8_t *)data[1], (const elem_t *)data[2], n, p, way);                   \
    }                                                                                                             \
    static void E(recompute_##way)(char *const *data, size_t n, const fq_params *p)                               \
    {                                                                                                             \
        E(recompute)((elem_t *)data[0], (const elem_t *)data[1], (const elem_t *)data[2], n, p, way);             \
    }

FQ_QUANTIZING(FQ_DIVIDE)
FQ_QUANTIZING(FQ_DIVIDE_FAST)
FQ_QUANTIZING(FQ_MULTIPLY)
FQ_QUANTIZING(FQ_DIVIDE_EACH)
FQ_QUANTIZING(FQ_MULTIPLY_EACH)
#undef FQ_QUANTIZING
#undef elem_t
#undef COMPUTE
#undef ELEM
