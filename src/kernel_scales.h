/* Scales of blocks, of the largest magnitude in each: included by target.h after kernel_rules.h, for the same COMPUTE. */
typedef FQ_PASTE(FQ_BITS, COMPUTE) C(bits);
enum { C(FRACTION) = sizeof(C(bits)) == 8 ? 52 : 23, C(BIAS) = sizeof(C(bits)) == 8 ? 1023 : 127 };

/* All bits but the sign's. */
#define MOST_BITS_OF(bits) (sizeof(bits) == 8 ? (bits)INT64_MAX : (bits)INT32_MAX)

static FQ_INLINE C(bits) C(bits_of)(C(elem) value)
{
    C(bits) bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The bits of the largest magnitude, those of an infinity or NaN above all others. */
static FQ_INLINE C(bits) C(top)(const C(elem) * x, size_t n, C(bits) top)
{
    const C(bits) most = MOST_BITS_OF(C(bits));
    for (size_t i = 0; i < n; i++) {
        const C(bits) size = C(bits_of)(x[i]) & most;
        top = size > top ? size : top;
    }
    return top;
}

/* The same of each of n columns. */
static FQ_INLINE void C(top_of_columns)(C(bits) *restrict top, const C(elem) *restrict row, size_t n)
{
    const C(bits) most = MOST_BITS_OF(C(bits));
    for (size_t j = 0; j < n; j++) {
        const C(bits) size = C(bits_of)(row[j]) & most;
        top[j] = size > top[j] ? size : top[j];
    }
}

/* What a call does with each block. */
typedef struct {
    C(format) format, of_scales;
    C(bits) up; /* to add to the bits of the largest magnitude before its exponent is taken */
    int least; /* the exponent of max */
    C(elem) divisor, tensor_scale;
} C(block_rule);

static FQ_INLINE C(block_rule) C(block_rule_of)(const fq_block_call *c)
{
    const C(bits) all = ((C(bits))1 << C(FRACTION)) - 1, max = C(bits_of)((C(elem))c->max);
    const C(elem) tie = (C(elem))((c->max + c->beyond) / 2);
    const double spacing = c->beyond - c->max, steps = c->max / spacing;
    const int odd = steps - 2 * (double)(int64_t)(steps / 2) != 0; /* a tie goes to an even number: max, or beyond it */
    const int least = (int)(max >> C(FRACTION)) - C(BIAS);
    const C(elem) t = (C(elem))c->tensor_scale;
    return (C(block_rule)){C(format_of)(c->format, c->max, c->beyond),
                           C(format_of)(fq_format_code(-6, 3, 1), 448, 480),
                           c->rule == FQ_SCALE_UP    ? all - (max & all)
                           : c->rule == FQ_SCALE_FIT ? all + odd - (C(bits_of)(tie) & all)
                                                     : 0,
                           least,
                           (C(elem))c->max * t,
                           t};
}

enum { C(TOGETHER) = 64 }; /* blocks whose scales are made at a time, and columns of blocks that lie across memory */

/* Scales of blocks, and 1 / scale where that is exact, of a power of two. */
typedef struct {
    C(bits) top[C(TOGETHER)];
    C(elem) scale[C(TOGETHER)], inv[C(TOGETHER)];
    uint8_t code[C(TOGETHER)];
} C(block_scales);

/* The bits of 2**(k - 127) of E8M0: float32 has 2**-127 as a subnormal number. */
static FQ_INLINE C(elem) C(power)(int code)
{
    const C(bits) field = code - 127 + C(BIAS),
                  bits = field > 0 ? field << C(FRACTION) : (C(bits))1 << (C(FRACTION) - 1);
    C(elem) value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The byte of a positive number of E4M3. */
static FQ_INLINE uint8_t C(code_e4m3)(C(elem) b)
{
    const float f = (float)b;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint8_t)(f < 0x1p-6f ? (uint32_t)(int32_t)(f * 0x1p9f) : (bits >> 20) - (120 << 3));
}

static FQ_INLINE void C(make_e8m0)(C(block_scales) * s, const C(block_rule) * r, size_t n)
{
    const C(bits) infinity = (C(bits))(2 * C(BIAS) + 1) << C(FRACTION);
    for (size_t j = 0; j < n; j++) {
        const int finite = s->top[j] < infinity;
        const int k = (int)(((finite ? s->top[j] : 0) + r->up) >> C(FRACTION)) - C(BIAS) - r->least + 127;
        const int code = k < 0 ? 0 : k > 254 ? 254 : k;
        s->scale[j] = finite ? C(power)(code) : (C(elem))NAN, s->inv[j] = finite ? C(power)(254 - code) : (C(elem))NAN;
        s->code[j] = (uint8_t)(finite ? code : 255);
    }
}

/* amax / max, rounded to E4M3, at most 448 and not 0. */
static FQ_INLINE void C(make_e4m3)(C(block_scales) * s, const C(block_rule) * r, size_t n)
{
    const C(bits) infinity = (C(bits))(2 * C(BIAS) + 1) << C(FRACTION);
    C(elem) amax[C(TOGETHER)] = {0}, b[C(TOGETHER)];
    memcpy(amax, s->top, n * sizeof *amax);
    for (size_t j = 0; j < n; j += C(LANES)) {
        const C(vec) q = C(div)(C(read)(amax, j), C(set)((double)r->divisor)),
                     rounded = C(round_to)(q, q, r->of_scales);
        const C(vec) inside = C(max)(C(set)(0x1p-9), C(min)(C(set)(448), rounded));
        memcpy(b + j, &inside, sizeof inside);
    }
    for (size_t j = 0; j < n; j++) {
        const int finite = s->top[j] < infinity;
        s->scale[j] = finite ? b[j] * r->tensor_scale : (C(elem))NAN;
        s->code[j] = finite ? C(code_e4m3)(b[j]) : 0x7f;
    }
}

static FQ_ONE_COPY void C(make_scales)(C(block_scales) * s, const C(block_rule) * r, fq_scale_rule rule, size_t n)
{
    if (rule == FQ_SCALE_E4M3) {
        C(make_e4m3)(s, r, n);
    }
    else {
        C(make_e8m0)(s, r, n);
    }
}

/* Rounds n elements, of whole vectors, 64 or fewer; gives their mask. each: whether each has a scale, of columns. */
static FQ_INLINE uint64_t C(round_to_scales)(C(elem) * to, const C(elem) * from, size_t n, const C(elem) * scales,
                                             const C(elem) * invs, const C(format) * f, int each, int divides,
                                             int points)
{
    const C(vec) max = f->max, min = C(sub)(C(set)(0), max), scale = C(set)((double)*scales),
                 inv = C(set)((double)*invs);
    uint64_t word = 0;
    for (size_t j = 0; j < n; j += C(LANES)) {
        const C(vec) s = each ? C(read)(scales, j) : scale, i = each ? C(read)(invs, j) : inv, x = C(read)(from, j);
        const C(vec) q = divides ? C(div)(x, s) : C(mul)(x, i), point = C(round_to)(q, x, *f);
        const C(vec) c = C(max)(min, C(min)(max, point));
        const C(vec) y = points ? c : f->signed_zero ? C(mul)(c, s) : C(mul_plus_zero)(c, s);
        word = word >> (C(LANES) % 64) | (uint64_t)C(equal)(c, point) << (64 - C(LANES));
        memcpy(to + j, &y, sizeof y);
    }
    return n == 64 ? word : word >> (64 - n) % 64;
}

/* The same, once for all that is no hot loop. */
static FQ_ONE_COPY uint64_t C(round_chunk)(C(elem) * to, const C(elem) * from, size_t n, const C(elem) * scales,
                                           const C(elem) * invs, const C(format) * f, int each, int divides, int points)
{
    return C(round_to_scales)(to, from, n, scales, invs, f, each, divides, points);
}

/* Blocks of 16 or 32 elements, one after another, whose mask goes to bits if there are any. */
static FQ_INLINE void C(round_run)(C(elem) * to, const C(elem) * from, size_t count, size_t n,
                                   const C(block_scales) * s, const C(format) * f, int divides, uint8_t *bits)
{
    const C(format) format = *f;
    for (size_t b = 0; b < count; b++, to += n, from += n) {
        uint64_t word = C(round_to_scales)(to, from, n, s->scale + b, s->inv + b, &format, 0, divides, 0);
        if (bits != NULL) {
            word = little_endian(word);
            memcpy(bits + b * n / 8, &word, n / 8);
        }
    }
}

static FQ_ONE_COPY void C(round_runs)(C(elem) * to, const C(elem) * from, size_t count, size_t n,
                                      const C(block_scales) * s, const C(format) * f, int divides, uint8_t *bits)
{
    if (divides) {
        n == 16 ? C(round_run)(to, from, count, 16, s, f, 1, bits) : C(round_run)(to, from, count, 32, s, f, 1, bits);
    }
    else {
        n == 16 ? C(round_run)(to, from, count, 16, s, f, 0, bits) : C(round_run)(to, from, count, 32, s, f, 0, bits);
    }
}

#undef MOST_BITS_OF
#undef COMPUTE
