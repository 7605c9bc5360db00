/* Residuals as codes, which a learnable backward takes in the place of x: included by kernels.h for each element type.
 *
 * With q = x / scale, c its level less zero_point, and L = FQ_CODES(bits), the code of x is
 *
 *     rint((c - q) * 2L)       in range: c - q is exact and at most 1/2, so the code lies within [-L, L]
 *     L + 1 with the sign of q where x was clamped
 *     -(L + 2)                 of NaN
 *
 * as int8, or as four bits, two codes to a byte, the first one's lowest. */
typedef struct {
    C(vec) steps, end, of_nan;
    C(integers) zero;
} E(coder);

static FQ_INLINE E(coder) E(coder_of)(int bits)
{
    static const int32_t of_f32 = 0;
    static const double of_f64 = 0;
    const int last = FQ_CODES(bits);
    const void *const zero = sizeof(C(elem)) == sizeof(double) ? (const void *)&of_f64 : (const void *)&of_f32;
    return (E(coder)){C(set)(2 * last), C(set)(last + 1), C(set)(-last - 2), C(integers_set)(zero, 0)};
}

/* The codes of a vector of elements, not rounded yet, and its levels. */
static FQ_INLINE C(vec) E(codes)(const elem_t *x, size_t count, E(levels) l, E(coder) k, fq_way way, C(vec) * level)
{
    const C(vec) q = E(quotient)(E(load_some)(x, count), l, way), r = C(rint)(q);
    const C(vec) c = C(max)(l.lo, C(min)(l.hi, r));
    *level = c;
    const C(vec) code = C(where_apart)(c, r, C(copysign)(k.end, q), C(mul)(C(sub)(c, q), k.steps));
    return C(max_number)(code, k.of_nan);
}

/* y of n elements from element i of a row on, and their codes as bytes. Writes whole vectors of bytes. */
static FQ_INLINE void E(code_vectors)(elem_t *y, uint8_t *byte, const elem_t *x, size_t n, E(levels) of_all, E(coder) k,
                                      const fq_params *p, size_t i, fq_way way, int stream)
{
    for (size_t j = 0; j < n; j += LANES) {
        FQ_STAYS_SCALAR
        const size_t count = E(lanes_at)(j, n);
        const E(levels) l = E(levels_at)(of_all, p, i + j, way);
        C(vec) level;
        C(write_bytes)(byte + j, E(codes)(x + i + j, count, l, k, way, &level), k.zero);
        E(store_some)(y + i + j, E(no_minus_zero)(E(pack)(C(mul_plus_zero)(level, l.scale))), count, stream);
    }
}

#if FQ_PASTE(FQ_FOUR, COMPUTE) /* the target packs four vectors into one */
/* The codes of FQ_BLOCK elements and their y. */
static FQ_INLINE void E(code_block)(elem_t *y, uint8_t *to, const elem_t *x, E(levels) of_all, E(coder) k,
                                    const fq_params *p, size_t i, fq_way way, int bits, int stream)
{
    for (size_t j = 0; j < FQ_BLOCK; j += 4 * LANES) {
        C(integers) code[4];
        C(vec) y_of[4];
        for (size_t v = 0; v < 4; v++) {
            const size_t at = i + j + v * LANES;
            const E(levels) l = E(levels_at)(of_all, p, at, way);
            code[v] = C(levels)(E(codes)(x + at, LANES, l, k, way, &y_of[v]), k.zero);
            y_of[v] = C(mul_plus_zero)(y_of[v], l.scale);
        }
        E(store_two)(y + i + j, y_of[0], y_of[1], stream);
        E(store_two)(y + i + j + 2 * LANES, y_of[2], y_of[3], stream);
        C(write_four)(to + j * (size_t)bits / 8, code, bits == 8 ? AS_BYTES : AS_NIBBLES);
    }
}
#endif

/* y and codes of a row, as quantize_row goes. A byte of codes is written once: no part before a cache line ends within it. */
static FQ_INLINE void E(code_row)(elem_t *y, uint8_t *to, const elem_t *x, size_t n, E(levels) l, const fq_params *p,
                                  fq_way way, int bits, int stream)
{
    const E(coder) k = E(coder_of)(bits);
    size_t i = 0, part = E(before_line)(y, n, stream);
    int past_cache = 0;
    if (bits == 4 && part % 2 != 0) {
        part = 0, stream = 0;
    }
    for (;;) {
        if (part > 0) {
            uint8_t byte[FQ_BLOCK + LANES];
            E(code_vectors)(y, byte, x, part, l, k, p, i, way, past_cache);
            fq_store_codes(to + i * (size_t)bits / 8, byte, part, bits);
            i += part;
        }
        if (i == n) {
            return;
        }
#if FQ_PASTE(FQ_FOUR, COMPUTE)
        for (; n - i >= FQ_BLOCK; i += FQ_BLOCK) {
            E(code_block)(y, to + i * (size_t)bits / 8, x, l, k, p, i, way, bits, stream);
        }
#endif
        part = n - i < FQ_BLOCK ? n - i : FQ_BLOCK;
        past_cache = stream;
    }
}

static FQ_INLINE void E(code_rows)(char *const *data, size_t n, const fq_params *p, fq_way way, int bits, int stream)
{
    for (size_t row = 0; row < p->rows; row++) {
        const ptrdiff_t at = (ptrdiff_t)row;
        elem_t *y = (elem_t *)(void *)(data[0] + at * p->row[0]);
        const elem_t *x = (const elem_t *)(const void *)(data[2] + at * p->row[2]);
        E(code_row)(y, (uint8_t *)data[1] + at * p->row[1], x, n, E(levels_of_row)(p, row, way), p, way, bits, stream);
    }
}

/* Both rows of ops.h have this kernel, whose code there is once: bits and stream are no constants in it. */
static FQ_INLINE void E(forward_residual)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    const int stream = E(streams)(p, way);
    E(code_rows)(data, n, p, way, p->residual, stream);
    if (stream) {
        stream_done();
    }
}

static FQ_INLINE void E(forward_residual_packed)(char *const *data, size_t n, const fq_params *p, fq_way way)
{
    E(forward_residual)(data, n, p, way);
}

/* The codes of `count` elements, LANES or fewer, from element i of a row on; past them 0. Whole vectors begin a byte, but where a
 * vector has one lane. */
static FQ_INLINE C(vec) E(read_codes)(const char *row, size_t i, size_t count, int bits)
{
    uint8_t few[16] = {0};
    const uint8_t *from = (const uint8_t *)row + i * (size_t)bits / 8;
    if (LANES == 1 && bits == 4) {
        few[0] = (uint8_t)(*from >> i % 2 * 4);
        return C(read_nibbles)(few);
    }
    if (count < LANES) {
        copy_few(few, from, (count * (size_t)bits + 7) / 8, sizeof few);
        few[count / 2] &=
            bits == 4 && count % 2 != 0 ? 15 : 0xff; /* of the last byte the other half may hold anything */
        from = few;
    }
    return bits == 8 ? C(read_bytes)((const int8_t *)from) : C(read_nibbles)(from);
}
