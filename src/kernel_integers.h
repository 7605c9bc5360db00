/* Between floats and stored integers: included by kernels.h for each element type.
 *
 * Words compute a block of levels, as bytes or as int32 in the first cache; the loops of storage.h store it, or load one. */
enum { P(ROOM) = FQ_INTEGERS_AT_ONCE + LANES }; /* whole vectors, wherever a row begins in a block */

/* The zero points of a row: one for all lanes, or one a lane. */
static FQ_INLINE C(integers) E(zero_points_at)(C(integers) of_all, const fq_params *p, size_t i, fq_way way)
{
    return E(is_each)(way) ? C(integers_read)(fq_zero_points(p->sets), i) : of_all;
}

static FQ_INLINE C(integers) E(zero_points_of_row)(const fq_params *p, size_t row, fq_way way)
{
    return C(integers_set)(fq_zero_points(p->sets), E(is_each)(way) ? 0 : row * p->next_set);
}

/* Rows that go through a block together: those that follow each other without gaps in both arrays. */
static FQ_INLINE size_t E(rows_together)(const fq_params *p, size_t n, int floats, int integers)
{
    const size_t per_byte = p->storage.per_byte;
    const int whole = n > 0 && n <= FQ_INTEGERS_AT_ONCE / 2 && n % per_byte == 0;
    return whole && p->row[floats] == (ptrdiff_t)(n * sizeof(elem_t)) &&
                   p->row[integers] == (ptrdiff_t)(n / per_byte * p->storage.size)
               ? FQ_INTEGERS_AT_ONCE / n
               : 1;
}

/* The clamped quotients of a vector or less at element i of a row. */
static FQ_INLINE C(vec)
    E(clamped)(const elem_t *x, size_t i, size_t count, E(levels) of_all, const fq_params *p, fq_way way)
{
    const E(levels) l = E(levels_at)(of_all, p, i, way);
    return C(max)(l.lo, C(min)(l.hi, E(quotient)(E(load_some)(x + i, count), l, way)));
}

static FQ_INLINE void E(quantize_lanes_at)(void *to, const elem_t *x, size_t j, size_t count, E(levels) of_all,
                                           C(integers) of_row, const fq_params *p, size_t i, fq_way way,
                                           fq_levels_as as)
{
    const C(vec) q = E(clamped)(x, i + j, count, of_all, p, way);
    const C(integers) zero = E(zero_points_at)(of_row, p, i + j, way);
    if (as == AS_BYTES) {
        C(write_bytes)((uint8_t *)to + j, q, zero);
    }
    else {
        C(write_levels)((int32_t *)to + j, q, zero);
    }
}

#if FQ_PASTE(FQ_FOUR, COMPUTE) /* the target packs four vectors into one */
/* Two reciprocals that differ from inv by more than all roundings together, which are some 2**-24 each. */
static FQ_INLINE C(bounds) E(bounds_of)(E(levels) l, C(integers) zero)
{
    return (C(bounds)){C(mul)(l.inv, C(set)(1 - 0x1p-22)), C(mul)(l.inv, C(set)(1 + 0x1p-22)),
                       C(fma)(l.lo, C(set)(1), C(set)((double)FQ_MAGIC)),
                       C(fma)(l.hi, C(set)(1), C(set)((double)FQ_MAGIC)), C(without_magic)(zero)};
}

/* Of as many fours of vectors as there are; gives the elements done. Float32 is seldom so near a tie that it is not sure. */
static FQ_INLINE size_t E(quantize_fours)(uint8_t *to, const elem_t *x, size_t i, size_t count, E(levels) of_all,
                                          C(integers) of_row, const fq_params *p, fq_way way, fq_levels_as as)
{
    const int bounded = sizeof(elem_t) == sizeof(float) && way == FQ_DIVIDE_FAST && p->storage.bits <= 16;
    const size_t bytes = as == AS_INT32 ? 4 * LANES * sizeof(int32_t) : as == AS_BYTES ? 4 * LANES : 2 * LANES;
    const C(bounds) bounds = E(bounds_of)(of_all, of_row);
    size_t j = 0;
    for (; j + 4 * LANES <= count; j += 4 * LANES) {
        C(integers) level[4];
        if (!bounded || !C(sure_levels)(level, (const float *)(const void *)(x + i + j), &bounds)) {
            for (size_t k = 0; k < 4; k++) {
                const C(integers) zero = E(zero_points_at)(of_row, p, i + j + k * LANES, way);
                level[k] = C(levels)(E(clamped)(x, i + j + k * LANES, LANES, of_all, p, way), zero);
            }
        }
        C(write_four)(to, level, as);
        to += bytes;
    }
    return j;
}
#endif

/* The levels of elements [j, count) of those from element i of a row on, as bytes or as int32. Writes whole vectors. */
static FQ_INLINE void E(quantize_vectors)(void *to, const elem_t *x, size_t j, size_t count, E(levels) of_all,
                                          C(integers) of_row, const fq_params *p, size_t i, fq_way way, fq_levels_as as)
{
    for (; j + LANES <= count; j += LANES) {
        E(quantize_lanes_at)(to, x, j, LANES, of_all, of_row, p, i, way, as);
    }
    if (j < count) {
        E(quantize_lanes_at)(to, x, j, count - j < LANES ? count - j : LANES, of_all, of_row, p, i, way, as);
    }
}

/* The levels of `count` elements of a row from element i on. */
static FQ_INLINE void E(quantize_some)(void *to, const elem_t *x, size_t i, size_t count, const fq_params *p,
                                       size_t row, fq_way way, fq_levels_as as)
{
    const E(levels) of_all = E(levels_of_row)(p, row, way);
    const C(integers) of_row = E(zero_points_of_row)(p, row, way);
    size_t j = 0;
#if FQ_PASTE(FQ_FOUR, COMPUTE)
    j = E(quantize_fours)(to, x, i, count, of_all, of_row, p, way, as);
#endif
    E(quantize_vectors)(to, x, j, count, of_all, of_row, p, i, way, as);
}

/* Rows to whole bytes, or to nibbles, without a block but for what is left of the vectors. */
static FQ_INLINE void E(quantize_bytes)(char *const *data, size_t n, const fq_params *p, fq_way way, fq_levels_as as)
{
    const size_t step = as == AS_NIBBLES ? 4 * LANES : LANES, whole = n / step * step;
    for (size_t row = 0; row < p->rows; row++) {
        char *q = data[0] + (ptrdiff_t)row * p->row[0];
        const elem_t *x = (const elem_t *)(const void *)(data[1] + (ptrdiff_t)row * p->row[1]);
        E(quantize_some)(q, x, 0, whole, p, row, way, as);
        if (whole < n) {
            uint8_t rest[FQ_IN_BYTES];
            const E(levels) of_all = E(levels_of_row)(p, row, way);
            const C(integers) of_row = E(zero_points_of_row)(p, row, way);
            E(quantize_vectors)(rest, x, 0, n - whole, of_all, of_row, p, whole, way, AS_BYTES);
            as == AS_NIBBLES ? fq_narrow_bytes(q + whole / 2, rest, n - whole, p->storage)
                             : copy_few(q + whole, rest, n - whole, LANES);
        }
    }
}

static FQ_INLINE void E(quantize_blocks)(char *const *data, size_t n, const fq_params *p, fq_way way, fq_levels_as as)
{
    const size_t together = E(rows_together)(p, n, 1, 0), size = as == AS_BYTES ? 1 : sizeof(int32_t);
    int32_t block[P(ROOM)];
    uint8_t byte[FQ_IN_BYTES];
    for (size_t row = 0, some; row < p->rows; row += some) {
        char *q = data[0] + (ptrdiff_t)row * p->row[0], *const to = as == AS_BYTES ? (char *)byte : (char *)block;
        const char *x = data[1] + (ptrdiff_t)row * p->row[1];
        some = p->rows - row < together ? p->rows - row : together;
        for (size_t i = 0, count; i < n; i += count) {
            count = n - i < FQ_INTEGERS_AT_ONCE ? n - i : FQ_INTEGERS_AT_ONCE;
            for (size_t k = 0; k < some; k++) {
                const elem_t *from = (const elem_t *)(const void *)(x + (ptrdiff_t)k * p->row[1]);
                E(quantize_some)(to + k * n * size, from, i, count, p, row + k, way, as);
            }
            if (as == AS_BYTES) {
                fq_narrow_bytes(q, byte, some * count, p->storage);
            }
            else {
                fq_narrow_integers(q, block, some * count, p->storage);
            }
            q += some * count / p->storage.per_byte * p->storage.size;
        }
    }
}

static FQ_INLINE void E(quantize)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
#if FQ_PASTE(FQ_FOUR, COMPUTE)
    const int packs = p->storage.per_byte == 2 && n >= FQ_INTEGERS_AT_ONCE;
#else
    const int packs = 0;
#endif
    if (p->storage.size > 1) {
        E(quantize_blocks)(data, n, p, way, AS_INT32);
    }
    else if (p->storage.bits == 8) {
        E(quantize_bytes)(data, n, p, way, AS_BYTES);
    }
    else if (packs) {
        E(quantize_bytes)(data, n, p, way, AS_NIBBLES);
    }
    else {
        E(quantize_blocks)(data, n, p, way, AS_BYTES);
    }
}

/* An int32 and its zero point may lie further apart than an int32 reaches; float32 takes their difference from float64. */
static FQ_INLINE void E(subtract_far)(C(elem) * to, const int32_t *from, size_t n, const fq_params *p, size_t set,
                                      fq_way way)
{
    const int32_t *zero = (const int32_t *)fq_zero_points(p->sets) + set;
    for (size_t i = 0; i < n; i++) {
        to[i] = (C(elem))((double)from[i] - (double)zero[E(is_each)(way) ? i : 0]);
    }
}

/* y of `count` levels, for elements of a row from element i on. */
static FQ_INLINE void E(dequantize_some)(elem_t *y, const int32_t *from, size_t i, size_t count, const fq_params *p,
                                         size_t row, fq_way way, int stream)
{
    const size_t set = E(is_each)(way) ? i : row * p->next_set;
    const int far = sizeof(C(elem)) == sizeof(float) && p->storage.size == sizeof(int32_t);
    const E(levels) of_all = E(levels_of_row)(p, row, way);
    const C(integers) zero = E(zero_points_of_row)(p, row, way);
    C(elem) difference[P(ROOM)];
    size_t j = 0;
    if (far) {
        E(subtract_far)(difference, from, count, p, set, way);
    }
#define FQ_Y_AT(j)                                                                               \
    C(mul_plus_zero)(far ? C(read)(difference, j)                                                \
                         : C(read_levels)(from + (j), E(zero_points_at)(zero, p, i + (j), way)), \
                     E(levels_at)(of_all, p, i + (j), way).scale)
    for (; count - j >= 2 * LANES; j += 2 * LANES) {
        E(store_two)(y + i + j, FQ_Y_AT(j), FQ_Y_AT(j + LANES), stream);
    }
    for (; j < count; j += LANES) {
        const size_t lanes = count - j < LANES ? count - j : LANES;
        E(store_some)(y + i + j, E(no_minus_zero)(E(pack)(FQ_Y_AT(j))), lanes, stream);
    }
#undef FQ_Y_AT
}

static FQ_INLINE void E(dequantize_rows)(char *const *data, size_t n, const fq_params *p, fq_way way, int stream)
{
    const size_t together = E(rows_together)(p, n, 0, 1);
    int32_t block[P(ROOM)];
    for (size_t row = 0, some; row < p->rows; row += some) {
        char *y = data[0] + (ptrdiff_t)row * p->row[0];
        const char *q = data[1] + (ptrdiff_t)row * p->row[1];
        size_t before = together > 1 ? 0 : E(before_line)((elem_t *)(void *)y, n, stream);
        const int lines = (uintptr_t)y % CACHE_LINE == 0 && n * sizeof(elem_t) % CACHE_LINE == 0;
        const int streamed = stream && (together > 1 ? lines : before % p->storage.per_byte == 0);
        before = before % p->storage.per_byte == 0 ? before : 0;
        some = p->rows - row < together ? p->rows - row : together;
        for (size_t i = 0, count; i < n; i += count) {
            const size_t most = i == 0 && before > 0 ? before : FQ_INTEGERS_AT_ONCE;
            count = n - i < most ? n - i : most;
            fq_widen_integers(block, q, some * count, p->storage);
            q += some * count / p->storage.per_byte * p->storage.size;
            for (size_t k = 0; k < some; k++) {
                elem_t *to = (elem_t *)(void *)(y + (ptrdiff_t)k * p->row[0]);
                E(dequantize_some)(to, block + k * n, i, count, p, row + k, way, streamed && i >= before);
            }
        }
    }
}

static FQ_INLINE void E(dequantize)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    if (E(streams)(p, way)) {
        E(dequantize_rows)(data, n, p, way, 1);
        stream_done();
    }
    else {
        E(dequantize_rows)(data, n, p, way, 0);
    }
}
