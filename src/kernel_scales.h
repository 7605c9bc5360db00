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

/* The same of each of `count` blocks of 16 or 32 elements. */
static FQ_INLINE void C(tops)(C(bits) * to, const C(elem) * x, size_t count, size_t n)
{
    size_t b = 0;
#if FQ_PASTE(FQ_TOPS, COMPUTE)
    for (; n == 16 && b + C(LANES) <= count; b += C(LANES)) {
        C(tops_of_lanes)(to + b, x + b * 16, 16);
    }
    for (; n == 32 && b + C(LANES) <= count; b += C(LANES)) {
        C(tops_of_lanes)(to + b, x + b * 32, 32);
    }
#endif
    for (; b < count; b++) {
        to[b] = n == 16 ? C(top)(x + b * 16, 16, 0) : C(top)(x + b * 32, 32, 0);
    }
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
    /* Whether the remainder of FQ_DIVIDE_FAST is exact for all quotients from half of what rounds to 0: below that they
     * round to 0 with any error. */
    int is_coarse;
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
                           t,
                           fq_min_exponent(c->format) - fq_mantissa_bits(c->format) >= -11 && c->beyond <= 0x1p29};
}

/* Blocks whose scales are made at a time, and columns of blocks that lie across memory. */
enum { C(TOGETHER) = 64, C(SOME) = C(TOGETHER) / 4 };

/* Scales of blocks, and 1 / scale: exact of a power of two. */
typedef struct {
    C(bits) top[C(TOGETHER)];
    C(elem) scale[C(TOGETHER)], inv[C(TOGETHER)];
    uint8_t code[C(TOGETHER)];
    int is_fast; /* whether FQ_DIVIDE_FAST divides by all of them as FQ_DIVIDE does */
} C(block_scales);

/* The bits of 2**(k - 127) of E8M0: float32 has 2**-127 as a subnormal number. */
static FQ_INLINE C(bits) C(power)(C(bits) code)
{
    const C(bits) field = code - 127 + C(BIAS);
    return field > 0 ? field * ((C(bits))1 << C(FRACTION)) : (C(bits))1 << (C(FRACTION) - 1);
}

/* SOME scales from the first on: a constant number, of which compilers make whole vectors. */
static FQ_INLINE void C(make_e8m0)(C(block_scales) * s, const C(block_rule) * r, size_t first)
{
    const C(bits) infinity = (C(bits))(2 * C(BIAS) + 1) << C(FRACTION), nan = C(bits_of)((C(elem))NAN);
    const C(bits) up = r->up, bias = 127 - C(BIAS) - r->least;
    C(bits) top[C(SOME)], scale[C(SOME)], inv[C(SOME)], code[C(SOME)];
    memcpy(top, s->top + first, sizeof top);
    for (size_t j = 0; j < C(SOME); j++) {
        const C(bits) k = ((top[j] < infinity ? top[j] : 0) + up) / ((C(bits))1 << C(FRACTION)) + bias;
        const C(bits) inside = k < 0 ? 0 : k > 254 ? 254 : k;
        scale[j] = top[j] < infinity ? C(power)(inside) : nan;
        inv[j] = top[j] < infinity ? C(power)(254 - inside) : nan;
        code[j] = top[j] < infinity ? inside : 255;
    }
    memcpy(s->scale + first, scale, sizeof scale), memcpy(s->inv + first, inv, sizeof inv);
    for (size_t j = 0; j < C(SOME); j++) {
        s->code[first + j] = (uint8_t)code[j];
    }
}

/* The byte of a positive number of E4M3, of the bits of that and of it plus 2**-6. */
static FQ_INLINE C(bits) C(code_e4m3)(C(bits) b, C(bits) more)
{
    const C(bits) least = (C(bits))(C(BIAS) - 6) << C(FRACTION);
    const C(bits) small = (more >> (C(FRACTION) - 3)) - (C(BIAS) - 6) * 8;
    const C(bits) normal = (b >> (C(FRACTION) - 3)) - (C(BIAS) - 7) * 8;
    return b < least ? small : normal;
}

/* Bits of SOME numbers that scales are made of. Integers alone are compared: compilers make no vectors of what may
 * trap. */
typedef struct {
    C(bits) b[C(SOME)], more[C(SOME)], scale[C(SOME)], reach[C(SOME)];
} C(parts);

/* amax / max, rounded to E4M3, at most 448 and not 0; times the tensor's scale, and 1 / that. */
static FQ_INLINE void C(make_parts)(C(parts) * p, C(elem) * inv, const C(bits) * top, const C(block_rule) * r)
{
    const C(vec) t = C(set)((double)r->tensor_scale), divisor = C(set)((double)r->divisor);
    C(elem) amax[C(SOME)];
    memcpy(amax, top, sizeof amax);
    for (size_t j = 0; j < C(SOME); j += C(LANES)) {
        const C(vec) q = C(div)(C(read)(amax, j), divisor), rounded = C(round_to)(q, q, r->of_scales);
        const C(vec) b = C(max)(C(set)(0x1p-9), C(min)(C(set)(448), rounded)), more = C(add)(b, C(set)(0x1p-6));
        const C(vec) scale = C(mul)(b, t), one = C(div)(C(set)(1), scale), reach = C(mul)(scale, C(set)(0x1p30));
        memcpy(p->b + j, &b, sizeof b), memcpy(p->more + j, &more, sizeof more);
        memcpy(p->scale + j, &scale, sizeof scale), memcpy(inv + j, &one, sizeof one);
        memcpy(p->reach + j, &reach, sizeof reach);
    }
}

static FQ_INLINE void C(make_e4m3)(C(block_scales) * s, const C(block_rule) * r, size_t first)
{
    const int wide = sizeof(C(elem)) == sizeof(double);
    const C(bits) from = C(bits_of)((C(elem))(wide ? FQ_FAST_FROM_F64 : FQ_FAST_FROM_F32));
    const C(bits) to = C(bits_of)((C(elem))(wide ? FQ_FAST_TO_F64 : FQ_FAST_TO_F32));
    const C(bits) infinity = (C(bits))(2 * C(BIAS) + 1) << C(FRACTION), nan = C(bits_of)((C(elem))NAN);
    C(bits) top[C(SOME)], code[C(SOME)], scale[C(SOME)], outside = s->is_fast ? 0 : -1; /* negative where any is */
    C(parts) p;
    memcpy(top, s->top + first, sizeof top);
    C(make_parts)(&p, s->inv + first, top, r);
    for (size_t j = 0; j < C(SOME); j++) {
        const C(bits) number = C(code_e4m3)(p.b[j], p.more[j]);
        code[j] = top[j] < infinity ? number : 0x7f;
        scale[j] = top[j] < infinity ? p.scale[j] : nan;
    }
    for (size_t j = 0; j < C(SOME); j++) {
        outside |= (scale[j] - from) | (to - scale[j]) | (p.reach[j] - top[j]);
    }
    memcpy(s->scale + first, scale, sizeof scale);
    for (size_t j = 0; j < C(SOME); j++) {
        s->code[first + j] = (uint8_t)code[j];
    }
    s->is_fast = outside >= 0;
}

static FQ_ONE_COPY void C(make_scales)(C(block_scales) * s, const C(block_rule) * r, fq_scale_rule rule, size_t n)
{
    for (size_t j = n; j % C(SOME) != 0; j++) {
        s->top[j] = 0;
    }
    s->is_fast = FQ_HAS_FMA && r->is_coarse;
    for (size_t j = 0; j < n; j += C(SOME)) {
        rule == FQ_SCALE_E4M3 ? C(make_e4m3)(s, r, j) : C(make_e8m0)(s, r, j);
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

/* As E(quotient) of kernels.h, of quotients up to 2**30. */
static FQ_INLINE C(vec) C(quotient)(C(vec) x, C(vec) scale, C(vec) inv, fq_way way)
{
#if FQ_HAS_FMA
    if (way == FQ_DIVIDE_FAST) {
        const C(vec) q = C(mul)(x, inv);
        return C(fma)(C(fnma)(q, scale, x), inv, q);
    }
#endif
    return way == FQ_MULTIPLY ? C(mul)(x, inv) : C(div)(x, scale);
}

/* Not by a fused multiply and add, whose zeros valgrind 3.19 signs otherwise. */
static FQ_INLINE C(vec) C(scaled)(C(vec) v, C(vec) scale, C(format) f) { return C(add)(C(mul)(v, scale), f.zero); }

/* FQ_BLOCK elements, in blocks of n; gives their mask. */
static FQ_INLINE mask64 C(round_whole)(C(elem) * to, const C(elem) * from, size_t n, const C(elem) * scales,
                                       const C(elem) * invs, C(format) f, fq_way way)
{
    mask64 m = mask64_none();
    for (size_t i = 0; i < FQ_BLOCK; i += n) {
        const C(vec) scale = C(set)((double)scales[i / n]), inv = C(set)((double)invs[i / n]);
        for (size_t j = i; j < i + n; j += C(LANES)) {
            const C(vec) x = C(read)(from, j), q = C(abs)(C(quotient)(x, scale, inv, way));
            /* By the rules of E8M0 no quotient is twice the power of two at or below max. */
            const C(vec) size = C(rounded_size)(way == FQ_MULTIPLY ? q : C(min)(f.beyond, q), f);
            const C(vec) c = C(min)(f.max, size), y = C(scaled)(C(copysign)(c, x), scale, f);
            mask64_put(&m, j, C(equal)(c, size));
            memcpy(to + j, &y, sizeof y);
        }
    }
    return m;
}

static FQ_INLINE void C(round_run)(C(elem) * to, const C(elem) * from, size_t size, size_t n, const C(block_scales) * s,
                                   const C(format) * f, fq_way way, mask_writer *w, mask_kind kind)
{
    const C(format) format = *f;
    for (size_t i = 0; i < size; i += FQ_BLOCK) {
        write_block(w, C(round_whole)(to + i, from + i, n, s->scale + i / n, s->inv + i / n, format, way), kind);
    }
}

/* `size` elements, a multiple of FQ_BLOCK, in blocks of 16 or 32. */
static FQ_ONE_COPY void C(round_runs)(C(elem) * to, const C(elem) * from, size_t size, size_t n,
                                      const C(block_scales) * s, const C(format) * f, fq_way way, mask_writer *w,
                                      mask_kind kind)
{
#define FQ_RUN_OF(blocks, known_way)                                        \
    if (n == (blocks) && way == (known_way)) {                              \
        C(round_run)(to, from, size, (blocks), s, f, (known_way), w, kind); \
    }
    FQ_RUN_OF(16, FQ_MULTIPLY)
    FQ_RUN_OF(32, FQ_MULTIPLY)
    FQ_RUN_OF(16, FQ_DIVIDE)
    FQ_RUN_OF(32, FQ_DIVIDE)
    FQ_RUN_OF(16, FQ_DIVIDE_FAST)
    FQ_RUN_OF(32, FQ_DIVIDE_FAST)
#undef FQ_RUN_OF
}

#undef MOST_BITS_OF
#undef COMPUTE
