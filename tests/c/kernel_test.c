/* Compares every kernel of every target with the portable one: all lengths, misaligned, streamed, in place.
 *
 * kernel_test [step] [most]: every step-th length, up to most */
#include "testing.h"

enum { GUARD = 64, GUARD_BYTE = 0xcb, POOL = 64 * 1024 };

typedef struct {
    double scale;
    int64_t zero_point, qmin, qmax;
} settings;

/* What a type cannot hold is refused and skipped. */
static const settings all_settings[] = {
    {0.05, 0, -128, 127},
    {1.0 / 3, 10, 0, 255},
    {1, 0, -8, 7},
    {1, 1, 0, 1},
    {0.1, 5, 5, 5},
    {1000, -3, -128, 127},
    {0.7, 0, -(1 << 24), 1 << 24},
    {0.7, 0, -(INT64_C(1) << 53), INT64_C(1) << 53},
    {0x1.000002p-90, 0, -128, 127},
    {0x1.fffffep89, 0, -128, 127},
    {1e-40, 0, -128, 127},
    {3e38, 0, -1, 1},
    {1e-310, 0, -128, 127},
    {1e300, 0, -128, 127},
};

#define TYPE_NAME(TYPE, suffix, storage, module, name) name,
static const char *const type_names[FQ_TYPES] = {FQ_TYPE_ROWS(TYPE_NAME)};
static const char *const way_names[FQ_WAYS] = {"divide", "divide_fast", "multiply", "divide_each", "multiply_each"};

/* Its sums stand in for a mask. */
static int is_reduction(fq_op op) { return (int)op >= (int)FQ_MAPS; }

/* One kernel call; the inputs are in the order of ops.h. */
typedef struct {
    fq_type type;
    fq_op op;
    fq_way way;
    fq_rule rule;
    size_t n;
    const uint8_t *input[2], *words;
    fq_ready sets;
    fq_storage storage; /* of the integers, where there are any */
    const settings *settings;
} call;

typedef struct {
    size_t offset; /* of the outputs, in elements */
    int stream, in_place;
} layout;

typedef struct {
    _Alignas(CACHE_LINE) uint8_t room[POOL * sizeof(double) + 4 * GUARD];
    uint8_t *start;
    size_t size;
} output;

/* scale, inv, lo, hi and zero_point of each element: doubles, or floats in the first half of each array. */
typedef struct {
    _Alignas(CACHE_LINE) double array[5][FQ_CHUNK];
} made_each;

static fq_ready ready_of(made_each *made)
{
    return (fq_ready){made->array[0], made->array[1], made->array[2], made->array[3]};
}

/* Targets in the order of fq_target_available, each with parameters of its own making. */
typedef struct {
    size_t step, most; /* of the lengths */
    size_t targets;
    uint64_t comparisons[FQ_MOST_TARGETS];
    made_each each[FQ_MOST_TARGETS];
} state;

static _Alignas(CACHE_LINE) uint8_t pool[POOL * sizeof(double)];
static _Alignas(CACHE_LINE) uint8_t tame[sizeof pool]; /* the same without what makes a sum NaN or infinite */
static _Alignas(CACHE_LINE) uint8_t tiny[sizeof pool]; /* whose quotients are next to nothing */
static uint8_t codes[POOL], mask_bytes[POOL], mask_bits[POOL / 8 + 8];
static uint64_t seed = 1;

static size_t random_below(size_t n) { return (size_t)(random_bits(&seed) % n); }

static double value(fq_type type, uint64_t bits)
{
    const uint64_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size;
    switch (type) {
    case FQ_F16:
        size = exponent == 0 ? (double)fraction * 0x1p-24 : ldexp((double)(1024 + fraction), (int)exponent - 25);
        size = exponent < 31 ? size : fraction > 0 ? (double)NAN : (double)INFINITY;
        return bits >> 15 ? -size : size;
    case FQ_BF16: return (double)float_of_bits((uint32_t)bits << 16);
    case FQ_F32: return (double)float_of_bits((uint32_t)bits);
    default: return double_of(bits);
    }
}

/* ---- Inputs ---- */

/* A tie or a point of the grid in range or just outside, or up to two ulps beside it. */
static double beside_grid(const settings *s)
{
    const int64_t lo = s->qmin - s->zero_point - 3, hi = s->qmax - s->zero_point + 3;
    const int64_t from_end = (int64_t)random_below((uint64_t)(hi - lo) < 300 ? (uint64_t)(hi - lo) : 300);
    const int64_t starts[] = {lo + from_end, hi - from_end, from_end / 2};
    return ((double)starts[random_below(3)] + (random_below(2) ? 0.5 : 0)) * s->scale;
}

static double special(const settings *s)
{
    /* clang-format off: a table */
    const double values[] = {0,
                             1e-45,
                             0x1p-126,
                             0x1p-149,
                             5e-324,
                             0x1p-1022,
                             1e30,
                             1e38,
                             1e300,
                             (double)FLT_MAX,
                             DBL_MAX,
                             (double)NAN,
                             (double)INFINITY,
                             0x1p24,
                             0x1p30,
                             0x1p53,
                             0x1p60,
                             s->scale * 0x1p30,
                             s->scale * 0x1p60,
                             s->scale / 4};
    /* clang-format on */
    const double v = values[random_below(sizeof values / sizeof *values)];
    return random_below(2) ? -v : v;
}

static void fill_pool_f32(const settings *s)
{
    for (size_t i = 0; i < POOL; i++) {
        const size_t kind = random_below(8);
        const float v = (float)(kind < 2 ? special(s) : beside_grid(s));
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        bits = kind == 0 ? (uint32_t)random_bits(&seed) : kind < 4 ? bits : bits + (uint32_t)random_below(5) - 2;
        memcpy(pool + i * sizeof bits, &bits, sizeof bits);
    }
}

static void fill_pool_f64(const settings *s)
{
    for (size_t i = 0; i < POOL; i++) {
        const size_t kind = random_below(8);
        const double v = kind < 2 ? special(s) : beside_grid(s);
        uint64_t bits;
        memcpy(&bits, &v, sizeof bits);
        bits = kind == 0 ? random_bits(&seed) : kind < 4 ? bits : bits + random_below(5) - 2;
        memcpy(pool + i * sizeof bits, &bits, sizeof bits);
    }
}

/* All values there are, mixed. */
static void fill_pool_16_bits(void)
{
    for (uint32_t i = 0; i < POOL; i++) {
        const uint16_t bits = (uint16_t)(i * 40503);
        memcpy(pool + i * sizeof bits, &bits, sizeof bits);
    }
}

/* Numbers next to nothing: random bits with a small exponent. */
static void fill_tiny(fq_type type)
{
    const size_t size = fq_size_of(type);
    const unsigned mantissa = type == FQ_F64 ? 52 : type == FQ_F32 ? 23 : type == FQ_BF16 ? 7 : 10;
    const uint64_t exponents = type == FQ_F64 ? 128 : type == FQ_F16 ? 4 : 40, sign = UINT64_C(1) << (8 * size - 1);
    for (size_t i = 0; i < POOL; i++) {
        const uint64_t bits = (random_bits(&seed) & (sign | ((UINT64_C(1) << mantissa) - 1))) | random_below(exponents)
                                                                                                    << mantissa;
        memcpy(tiny + i * size, &bits, size);
    }
}

static void fill_inputs(fq_type type, const settings *s)
{
    fill_tiny(type);
    type == FQ_F64 ? fill_pool_f64(s) : type == FQ_F32 ? fill_pool_f32(s) : fill_pool_16_bits();
    memcpy(tame, pool, sizeof tame);
    for (size_t i = 0; i < POOL; i++) {
        if (!(fabs(value(type, element(type, pool, i))) < 0x1p40)) {
            memset(tame + i * fq_size_of(type), 0, fq_size_of(type));
        }
        mask_bytes[i] = random_below(2) ? (uint8_t[]){1, 1, 2, 128, 255}[random_below(5)] : 0;
        mask_bits[i / 8] = (uint8_t)random_bits(&seed), codes[i] = (uint8_t)random_bits(&seed);
    }
}

/* ---- One call ---- */

static int is_each(fq_way way) { return way == FQ_DIVIDE_EACH || way == FQ_MULTIPLY_EACH; }

/* A third of the calls have three rows. */
static size_t rows_of(const call *c) { return c->n % 3 == 0 ? 3 : 1; }

/* Bytes of an array, whose rows follow each other without gaps. */
static size_t size_of(const call *c, char kind)
{
    const size_t rows = rows_of(c), n = c->n / rows;
    switch (kind) {
    case FQ_ELEMENTS: return c->n * fq_size_of(c->type);
    case FQ_BYTE_MASK: return c->n;
    case FQ_RESIDUALS: return c->n;
    case FQ_NIBBLES: return rows * ((n + 1) / 2);
    case FQ_INTEGERS: return rows * items_of(c->storage, n) * c->storage.size;
    case FQ_BIT_MASK: return rows * ((n + 7) / 8);
    default: return 0;
    }
}

/* Rows of one set each, or of the same. */
static fq_params params_of(const call *c, fq_ready sets, int stream)
{
    const op_row *op = &op_rows[c->op];
    const size_t rows = rows_of(c), outputs = strlen(op->outputs);
    fq_params p = {.sets = sets, .rows = rows, .next_set = !is_each(c->way) && c->n / rows % 2, .stream = stream};
    p.storage = c->storage;
    p.residual = residual_bits(op);
    p.op = c->op, p.rule = c->rule, p.way = c->way;
    p.row[outputs + strlen(op->inputs)] = (ptrdiff_t)(c->n / rows * sizeof(uint16_t));
    for (size_t a = 0; a < outputs + strlen(op->inputs); a++) {
        const char kind = a < outputs ? op->outputs[a] : op->inputs[a - outputs];
        p.row[a] = (ptrdiff_t)(size_of(c, kind) / rows);
    }
    return p;
}

/* Bytes of the second output, or of the sums. */
static size_t second_size(const call *c)
{
    if (is_reduction(c->op)) {
        return FQ_KERNEL_SUMS * sizeof(double) * (is_each(c->way) ? c->n : rows_of(c));
    }
    return op_rows[c->op].outputs[1] ? size_of(c, op_rows[c->op].outputs[1]) : 0;
}

static void prepare(output *o, size_t offset, size_t size)
{
    o->start = o->room + GUARD + offset;
    o->size = size;
    memset(o->start - GUARD, GUARD_BYTE, size + (size_t)(2 * GUARD));
}

static int guards_are_whole(const output *o)
{
    uint8_t guard[GUARD];
    memset(guard, GUARD_BYTE, GUARD);
    return memcmp(o->start - GUARD, guard, GUARD) == 0 && memcmp(o->start + o->size, guard, GUARD) == 0;
}

/* The sums begin with something in them. NaNs among them become one and the same. */
static void run_reduction(const fq_target *target, const call *c, const void *dy, const fq_params *p, output *dx,
                          output *sums)
{
    static _Alignas(CACHE_LINE) double sum[FQ_KERNEL_SUMS][FQ_CHUNK];
    char *data[FQ_MAX_ARRAYS + FQ_KERNEL_SUMS] = {(char *)dx->start, (char *)(uintptr_t)dy,
                                                  (char *)(uintptr_t)c->input[1]};
    for (size_t k = 0; k < FQ_KERNEL_SUMS; k++) {
        data[FQ_MAX_ARRAYS + k] = (char *)sum[k];
        for (size_t i = 0; i < FQ_CHUNK; i++) {
            sum[k][i] = c->n % 2 ? (double)(i + k) / 3 : 0;
        }
    }
    target->kernel[c->type][c->op][c->way](data, c->n / p->rows, p);
    for (size_t k = 0, of_each = sums->size / FQ_KERNEL_SUMS; k < FQ_KERNEL_SUMS; k++) {
        for (size_t i = 0; i < of_each / sizeof(double); i++) {
            const double v = isnan(sum[k][i]) ? (double)NAN : sum[k][i];
            memcpy(sums->start + k * of_each + i * sizeof v, &v, sizeof v);
        }
    }
}

/* Of the first output. */
static size_t item_size(const call *c)
{
    return op_rows[c->op].outputs[0] == FQ_INTEGERS ? c->storage.size : fq_size_of(c->type);
}

/* Whether the first output may take the place of the first input. */
static int can_be_in_place(const call *c)
{
    return !has_integers(c->op) || (c->storage.per_byte == 1 && c->storage.size == fq_size_of(c->type));
}

static void run(const fq_target *target, const call *c, layout l, output *y, output *mask)
{
    const size_t size = item_size(c);
    const void *data[FQ_MAX_ARRAYS] = {NULL}, *first = c->input[0];
    const fq_params p = params_of(c, c->sets, l.stream);
    size_t arrays = 0;
    prepare(y, l.offset * size, size_of(c, op_rows[c->op].outputs[0]));
    prepare(mask, l.offset, second_size(c));
    if (l.in_place && can_be_in_place(c)) {
        memcpy(y->start, first, y->size);
        first = y->start;
    }
    if (is_reduction(c->op)) {
        run_reduction(target, c, first, &p, y, mask);
        return;
    }
    data[arrays++] = y->start;
    if (op_rows[c->op].outputs[1] != '\0') {
        data[arrays++] = mask->start;
    }
    data[arrays++] = first;
    data[arrays] = c->rule == FQ_STOCHASTIC ? c->words : c->input[1];
    char *mutable_data[FQ_MAX_ARRAYS];
    memcpy(mutable_data, data, sizeof data);
    target->kernel[c->type][c->op][fq_is_even(c->rule) ? c->way : FQ_ROUND](mutable_data, c->n / p.rows, &p);
}

/* NaNs are equal to each other, whatever their bits. */
static size_t first_difference(fq_type type, const output *got, const output *expected, size_t n)
{
    if (memcmp(got->start, expected->start, got->size) == 0) {
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t a = element(type, got->start, i), b = element(type, expected->start, i);
        if (a != b && !(isnan(value(type, a)) && isnan(value(type, b)))) {
            return i;
        }
    }
    return n;
}

static void print_call(const fq_target *target, const call *c, layout l)
{
    const settings *s = c->settings;
    printf("%s: %s %s %s, rule %d: n %zu, offset %zu, stream %d, in place %d, scale %a, zero_point %" PRId64
           ", qmin %" PRId64 ", qmax %" PRId64 "\n",
           target->name, type_names[c->type], op_rows[c->op].name, way_names[c->way], c->rule, c->n, l.offset, l.stream,
           l.in_place, s->scale, s->zero_point, s->qmin, s->qmax);
}

static void fail_at(const fq_target *target, const call *c, layout l, const output *y, const output *expected_y,
                    size_t i)
{
    const uint64_t got = element(c->type, y->start, i), expected = element(c->type, expected_y->start, i);
    print_call(target, c, l);
    printf("  element %zu: %a (%#" PRIx64 "), not %a (%#" PRIx64 "), of %a\n", i, value(c->type, got), got,
           value(c->type, expected), expected, value(c->type, element(c->type, c->input[0], i)));
    exit(1);
}

static void check_mask(const fq_target *target, const call *c, layout l, const output *mask, const output *expected)
{
    for (size_t i = 0; i < mask->size; i++) {
        if (mask->start[i] != expected->start[i]) {
            print_call(target, c, l);
            printf("  byte %zu of the %s: %#x, not %#x\n", i,
                   is_reduction(c->op)   ? "sums"
                   : has_integers(c->op) ? "integers"
                                         : "mask",
                   mask->start[i], expected->start[i]);
            if (c->op == FQ_FORWARD) {
                printf("  of %a\n", value(c->type, element(c->type, c->input[0], i)));
            }
            exit(1);
        }
    }
}

static void check(const fq_target *target, const call *c, layout l, const output *expected_y,
                  const output *expected_mask)
{
    static output y, mask;
    run(target, c, l, &y, &mask);
    if (op_rows[c->op].outputs[0] == FQ_INTEGERS) {
        check_mask(target, c, l, &y, expected_y);
    }
    else {
        const size_t i = first_difference(c->type, &y, expected_y, c->n);
        if (i < c->n) {
            fail_at(target, c, l, &y, expected_y, i);
        }
    }
    check_mask(target, c, l, &mask, expected_mask);
    if (!guards_are_whole(&y) || !guards_are_whole(&mask)) {
        print_call(target, c, l);
        printf("  writes outside its outputs\n");
        exit(1);
    }
}

/* ---- All layouts, lengths, ways and ops ---- */

/* The last target is the portable one, which is checked against itself too. */
static void check_layouts(state *st, call *c)
{
    static output y, mask;
    const size_t offsets[] = {0, 1, 3, CACHE_LINE / item_size(c) - 1}, count = c->n > 4096 ? 2 : 4;
    c->sets = ready_of(&st->each[st->targets - 1]);
    run(portable_target(), c, (layout){0, 0, 0}, &y, &mask);
    for (size_t t = 0; t < st->targets; t++) {
        c->sets = ready_of(&st->each[t]);
        for (size_t k = 0; k < 4 * count; k++) {
            const layout l = {offsets[k / 4], (int)(k & 1), (int)(k >> 1 & 1)};
            check(fq_target_available(t), c, l, &y, &mask);
            st->comparisons[t]++;
        }
    }
}

static size_t next_length(size_t n, size_t step)
{
    const size_t larger[] = {191, 192, 193, 255, 256, 257, 1000, 4099, POOL};
    if (n + step <= 2 * FQ_BLOCK + 1) {
        return n + step;
    }
    for (size_t i = 0; i < sizeof larger / sizeof *larger; i++) {
        if (n < larger[i]) {
            return larger[i];
        }
    }
    return SIZE_MAX;
}

static void check_lengths(state *st, call *c)
{
    const int reads_integers = op_rows[c->op].inputs[0] == FQ_INTEGERS;
    const size_t size = reads_integers ? c->storage.size : fq_size_of(c->type),
                 longest = is_each(c->way) ? FQ_CHUNK : POOL;
    for (size_t n = 0; n <= longest && n <= st->most; n = next_length(n, st->step)) {
        const size_t x = random_below(POOL - n + 1);
        const uint8_t *values =
            is_reduction(c->op) ? (const uint8_t *const[]){tame, tame, pool, tiny}[random_below(4)] : pool;
        c->n = n;
        c->input[0] = values + random_below(POOL - n + 1) * size;
        c->words = pool + random_below(POOL - n + 1) * sizeof(uint16_t);
        c->input[1] = op_rows[c->op].inputs[1] == FQ_BYTE_MASK  ? mask_bytes + x
                      : op_rows[c->op].inputs[1] == FQ_BIT_MASK ? mask_bits + x / 8
                      : residual_bits(&op_rows[c->op])          ? codes + x
                                                                : values + x * size;
        check_layouts(st, c);
    }
}

/* ---- Parameters of their own for the elements ---- */

typedef struct {
    float scale_f32[FQ_CHUNK];
    double scale_f64[FQ_CHUNK];
    int64_t zero_point[FQ_CHUNK], qmin[FQ_CHUNK], qmax[FQ_CHUNK];
} given_each;

static fq_contiguous contiguous(const given_each *g, int in_f64)
{
    return (fq_contiguous){in_f64 ? (const void *)g->scale_f64 : g->scale_f32, g->zero_point, g->qmin, g->qmax};
}

static void give(given_each *g, size_t i, settings s)
{
    g->scale_f32[i] = (float)s.scale;
    g->scale_f64[i] = s.scale;
    g->zero_point[i] = s.zero_point;
    g->qmin[i] = s.qmin;
    g->qmax[i] = s.qmax;
}

/* The first and half of the others are *s, the rest have smaller scales and narrower ranges. */
static void vary(given_each *g, const settings *s)
{
    for (size_t i = 0; i < FQ_CHUNK; i++) {
        settings varied = *s;
        if (i > 0 && random_below(2)) {
            varied.scale *= 1 - (double)random_below(64) / 128;
            varied.qmin = s->zero_point - (int64_t)random_below((size_t)(s->zero_point - s->qmin) + 1);
            varied.qmax = s->zero_point + (int64_t)random_below((size_t)(s->qmax - s->zero_point) + 1);
        }
        give(g, i, varied);
    }
}

static void check_each(const fq_target *target, const made_each *got, const made_each *expected, int in_f64)
{
    static const char *const names[] = {"scale", "inv", "lo", "hi"}; /* zero_point is not of its making */
    const size_t size = FQ_CHUNK * (in_f64 ? sizeof(double) : sizeof(float));
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (memcmp(got->array[k], expected->array[k], size) != 0) {
            printf("%s: make_each makes another %s\n", target->name, names[k]);
            exit(1);
        }
    }
}

/* As params.c does. */
static void make_zero_points(made_each *made, const given_each *g, int in_f64)
{
    for (size_t i = 0; i < FQ_CHUNK; i++) {
        if (in_f64) {
            made->array[4][i] = (double)g->zero_point[i];
        }
        else {
            const int32_t zero_point = (int32_t)g->zero_point[i];
            memcpy((char *)made->array[3] + ((char *)made->array[3] - (char *)made->array[2]) + i * sizeof zero_point,
                   &zero_point, sizeof zero_point);
        }
    }
}

/* Makes the parameters with every target, and gives what make_each found, on which all targets must agree. */
static int make_each(state *st, const settings *s, int in_f64, int reciprocal)
{
    static given_each g;
    vary(&g, s);
    const fq_contiguous given = contiguous(&g, in_f64);
    made_each *expected = &st->each[st->targets - 1];
    const fq_ready to = ready_of(expected);
    const int found =
        portable_target()->make_each[in_f64](&to, &given, FQ_CHUNK, reciprocal, UINT64_C(1) << (in_f64 ? 53 : 24));
    make_zero_points(expected, &g, in_f64);
    for (size_t t = 0; t + 1 < st->targets; t++) {
        const fq_target *target = fq_target_available(t);
        const fq_ready ready = ready_of(&st->each[t]);
        memset(&st->each[t], GUARD_BYTE, sizeof st->each[t]);
        const int other =
            target->make_each[in_f64](&ready, &given, FQ_CHUNK, reciprocal, UINT64_C(1) << (in_f64 ? 53 : 24));
        if (other != found) {
            printf("%s: make_each finds %d, not %d, of scales near %a\n", target->name, other, found, s->scale);
            exit(1);
        }
        if (!(found & FQ_REFUSED)) {
            check_each(target, &st->each[t], expected, in_f64);
        }
        make_zero_points(&st->each[t], &g, in_f64);
    }
    return found;
}

/* One bad set among n, anywhere; the one past the end is bad too and must not count. */
static void check_refusal(const fq_target *target, int in_f64, settings bad, int reciprocal, int expected)
{
    static given_each g;
    static made_each each;
    const fq_ready to = ready_of(&each);
    for (size_t n = 1; n < 70; n++) {
        const size_t at = random_below(n);
        vary(&g, &(settings){0.05, 1, -128, 127});
        give(&g, at, bad);
        give(&g, n, (settings){-1, 1, 2, 0});
        const fq_contiguous given = contiguous(&g, in_f64);
        const int found = target->make_each[in_f64](&to, &given, n, reciprocal, UINT64_C(1) << (in_f64 ? 53 : 24));
        if (!(found & FQ_REFUSED) != !expected) {
            printf("%s: make_each in float%d %s set %zu of %zu: scale %a, zero_point %" PRId64 ", qmin %" PRId64
                   ", qmax %" PRId64 "\n",
                   target->name, in_f64 ? 64 : 32, expected ? "accepts" : "refuses", at, n, bad.scale, bad.zero_point,
                   bad.qmin, bad.qmax);
            exit(1);
        }
    }
}

static void check_refusals(const fq_target *target, int in_f64)
{
    const int64_t exact = INT64_C(1) << (in_f64 ? 53 : 24);
    /* clang-format off: a table */
    const settings bad[] = {
        {0, 0, -8, 7},
        {-1, 0, -8, 7},
        {(double)NAN, 0, -8, 7},
        {(double)INFINITY, 0, -8, 7},
        {1, -9, -8, 7},
        {1, 8, -8, 7},
        {1, 0, 8, 7},
        {1, 0, -exact - 1, 0},
        {1, 0, 0, exact + 1},
        {1, 0, INT64_MIN, 0},
        {1, 0, 0, INT64_MAX},
        {1, 0, INT64_MIN, INT64_MAX},
        {1, INT64_MAX, INT64_MAX, INT64_MIN}, /* 1 apart, modulo 2**64 */
        {1, INT64_MIN, INT64_MAX, INT64_MIN},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_refusal(target, in_f64, bad[i], 0, 1);
        check_refusal(target, in_f64, bad[i], 1, 1);
    }
    const settings small = {in_f64 ? 1e-310 : 1e-40, 0, -8, 7}, ends = {1, 0, -exact, exact};
    const settings far = {1, INT64_MAX, INT64_MAX - 3, INT64_MAX};
    check_refusal(target, in_f64, small, 0, 0);
    check_refusal(target, in_f64, small, 1, 1);
    check_refusal(target, in_f64, ends, 0, 0);
    check_refusal(target, in_f64, far, 1, 0);
}

/* ---- The whole ---- */

static int holds(fq_storage storage, const settings *s)
{
    const int64_t least = storage.is_signed ? -(INT64_C(1) << (storage.bits - 1)) : 0;
    return s->qmin >= least && s->qmax < least + (INT64_C(1) << storage.bits);
}

static void check_op(state *st, fq_type type, const settings *s, fq_op op, fq_way way)
{
    call c = {.type = type, .op = op, .way = way, .settings = s};
    const int in_f64 = type == FQ_F64;
    const int multiplies = way == FQ_MULTIPLY || way == FQ_MULTIPLY_EACH;
    if ((!op_rows[op].parameters && (way != FQ_DIVIDE || s != all_settings)) ||
        (op_rows[op].parameters == PARAMETERS_SCALES && multiplies) ||
        (op_rows[op].parameters == PARAMETERS_LEVELS && way != FQ_DIVIDE && way != FQ_DIVIDE_EACH)) {
        return;
    }
    const int found = make_each(st, s, in_f64, multiplies);
    if (found & FQ_REFUSED || (way == FQ_DIVIDE_FAST && found & FQ_NOT_FAST)) {
        return;
    }
    for (size_t i = 0; i < (has_integers(op) ? STORAGES : 1); i++) {
        c.storage = storages[i];
        if (op != FQ_QUANTIZE || holds(c.storage, s)) {
            check_lengths(st, &c);
        }
    }
}

/* Two formats for the sets, in turns of three, over the levels that make_each has made. */
static void make_formats(made_each *made, int in_f64)
{
    static const struct {
        int least, bits, has_minus_zero;
        double max, beyond;
    } formats[] = {{-6, 3, 1, 448, 480}, {-7, 3, 0, 240, 256}};
    const fq_ready sets = ready_of(made);
    for (size_t i = 0; i < FQ_CHUNK; i++) {
        const int k = i / 3 % 2, code = fq_format_code(formats[k].least, formats[k].bits, formats[k].has_minus_zero);
        if (in_f64) {
            ((double *)sets.lo)[i] = formats[k].beyond, ((double *)sets.hi)[i] = formats[k].max;
            ((double *)fq_zero_points(sets))[i] = code;
        }
        else {
            ((float *)sets.lo)[i] = (float)formats[k].beyond, ((float *)sets.hi)[i] = (float)formats[k].max;
            ((int32_t *)fq_zero_points(sets))[i] = code;
        }
    }
}

/* The kernel of the rules that are not even, in short calls. */
static void check_rule(state *st, fq_type type, const settings *s, fq_op op, fq_rule rule)
{
    static const fq_way ways[] = {FQ_DIVIDE, FQ_DIVIDE_FAST, FQ_DIVIDE_EACH};
    const size_t most = st->most;
    if (op_rows[op].parameters != PARAMETERS_ROUNDED || (rule == FQ_STOCHASTIC && op == FQ_BACKWARD_RECOMPUTE)) {
        return;
    }
    st->most = most < 257 ? most : 257;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        call c = {.type = type, .op = op, .way = ways[i], .rule = rule, .settings = s};
        const int found = make_each(st, s, type == FQ_F64, 0);
        for (size_t t = 0; rule == FQ_FLOATS && t < st->targets; t++) {
            make_formats(&st->each[t], type == FQ_F64);
        }
        if (!(found & FQ_REFUSED) && !(ways[i] == FQ_DIVIDE_FAST && found & FQ_NOT_FAST)) {
            check_lengths(st, &c);
        }
    }
    st->most = most;
}

int main(int count, char **arguments)
{
    static state st;
    st.step = count > 1 ? strtoul(arguments[1], NULL, 10) : 1;
    st.most = count > 2 ? strtoul(arguments[2], NULL, 10) : POOL;
    if (st.step == 0) {
        return 1;
    }
    while (fq_target_available(st.targets) != NULL) {
        check_refusals(fq_target_available(st.targets), 0);
        check_refusals(fq_target_available(st.targets++), 1);
    }
    for (fq_type type = 0; type < FQ_TYPES; type++) {
        for (size_t k = 0; k < sizeof all_settings / sizeof *all_settings; k++) {
            fill_inputs(type, &all_settings[k]);
            for (int i = 0; i < FQ_OPS * FQ_WAYS; i++) {
                check_op(&st, type, &all_settings[k], (fq_op)(i / FQ_WAYS), (fq_way)(i % FQ_WAYS));
            }
            for (int i = FQ_HALF_AWAY; i < FQ_RULES; i++) {
                for (int op = 0; op < FQ_UFUNCS; op++) {
                    check_rule(&st, type, &all_settings[k], (fq_op)op, (fq_rule)i);
                }
            }
        }
    }
    for (size_t t = 0; t < st.targets; t++) {
        printf("%s: %" PRIu64 " comparisons, all equal\n", fq_target_available(t)->name, st.comparisons[t]);
    }
    return 0;
}
