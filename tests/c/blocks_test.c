/* Compares what every target makes besides kernels: random words with a plain loop, blocks with the portable ones.
 *
 * blocks_test [step]: every step-th case */
#include "formats.h"
#include "testing.h"

enum {
    GUARD = 64,
    GUARD_BYTE = 0xcb,
    MOST = 32 * 1024, /* elements of a call */
    POOL = 2 * MOST,
    STRETCH = 64, /* elements that are alike */
    MOST_WORDS = 700,
    FEW_WORDS = 300
};

static uint64_t seed = 1;

static size_t random_below(size_t n) { return (size_t)(random_bits(&seed) % n); }

static int guard_is_whole(const uint8_t *guard)
{
    for (size_t i = 0; i < GUARD; i++) {
        if (guard[i] != GUARD_BYTE) {
            return 0;
        }
    }
    return 1;
}

/* ---- Words ---- */

/* Of the counter i / 4, by the text of the paper. */
static uint16_t word(const uint32_t key[2], uint64_t i)
{
    static const int by[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    const uint32_t keys[3] = {key[0], key[1], UINT32_C(0x1bd11bda) ^ key[0] ^ key[1]};
    uint32_t x[2] = {(uint32_t)(i / 4) + keys[0], (uint32_t)(i / 4 >> 32) + keys[1]};
    for (uint32_t round = 0; round < 20; round++) {
        const int n = by[round % 8];
        x[0] += x[1];
        x[1] = (x[1] << n | x[1] >> (32 - n)) ^ x[0];
        if (round % 4 == 3) {
            const uint32_t group = round / 4 + 1;
            x[0] += keys[group % 3], x[1] += keys[(group + 1) % 3] + group;
        }
    }
    return (uint16_t)(x[i % 4 / 2] >> 16 * (i % 2));
}

static void fail_words(const fq_target *target, const uint32_t key[2], uint64_t from, size_t n, const char *what)
{
    printf("%s: words: %s: key %#" PRIx32 " %#" PRIx32 ", from %" PRIu64 ", n %zu\n", target->name, what, key[0],
           key[1], from, n);
    exit(1);
}

static void check_words(const fq_target *target, const uint32_t key[2], uint64_t from, size_t n,
                        const uint16_t *expected)
{
    static _Alignas(CACHE_LINE) uint8_t room[MOST_WORDS * sizeof(uint16_t) + 3 * GUARD];
    uint8_t *const start = room + GUARD + random_below(GUARD / 2) * sizeof(uint16_t);
    memset(room, GUARD_BYTE, sizeof room);
    target->words((uint16_t *)(void *)start, n, key, from);
    if (memcmp(start, expected, n * sizeof *expected) != 0) {
        fail_words(target, key, from, n, "other ones");
    }
    if (!guard_is_whole(start - GUARD) || !guard_is_whole(start + n * sizeof *expected)) {
        fail_words(target, key, from, n, "writes outside its output");
    }
}

/* Starts around which a counter carries, and the last: words end at 2**64. */
static uint64_t start_of(size_t i, size_t n)
{
    const uint64_t starts[] = {0,
                               1,
                               2,
                               3,
                               63,
                               127,
                               255,
                               256,
                               257,
                               (UINT64_C(1) << 32) - 5,
                               (UINT64_C(1) << 34) - 77,
                               (UINT64_C(1) << 34) + 1,
                               (UINT64_C(1) << 63) - 3,
                               UINT64_MAX - n,
                               UINT64_MAX - n + 1};
    const size_t count = sizeof starts / sizeof *starts;
    return i < count ? starts[i] : random_bits(&seed) >> (i - count) * 9;
}

static void check_all_words(size_t step, uint64_t *comparisons)
{
    static const uint32_t keys[][2] = {{0, 0}, {0, 1}, {UINT32_MAX, UINT32_MAX}, {0x13198a2e, 0x3707344}};
    const fq_target *target;
    uint16_t expected[MOST_WORDS];
    for (size_t i = 0; i < 4 * 20 * (FEW_WORDS + 2); i += step) {
        const uint32_t *key = keys[i % 4];
        const size_t length = i / 80, n = length <= FEW_WORDS ? length : MOST_WORDS;
        const uint64_t from = start_of(i / 4 % 20, n);
        for (size_t k = 0; k < n; k++) {
            expected[k] = word(key, from + k);
        }
        for (size_t t = 0; (target = fq_target_available(t)) != NULL; t++) {
            check_words(target, key, from, n, expected);
            comparisons[t]++;
        }
    }
}

/* ---- Blocks ---- */

typedef struct {
    const char *name;
    size_t block;
    int mantissa_bits, min_exponent;
    double max;
    int signed_zero;
    int in_e4m3; /* how scales are stored */
} format;

/* Those of fq.formats, and what others may be. */
static const format formats[] = {
    {"mxfp8_e4m3", 32, 3, -6, 448, 1, 0},
    {"mxfp8_e5m2", 32, 2, -14, 57344, 1, 0},
    {"mxfp6_e2m3", 32, 3, 0, 7.5, 1, 0},
    {"mxfp6_e3m2", 32, 2, -2, 28, 1, 0},
    {"mxfp4", 32, 1, 0, 6, 1, 0},
    {"mxint8", 32, 6, 0, 127.0 / 64, 0, 0},
    {"nvfp4", 16, 1, 0, 6, 1, 1},
    {"e4m3fnuz", 32, 3, -7, 240, 0, 0},
    {"7 levels", 5, 2, -1, 7, 0, 1},
    {"powers of two", 16, 0, -2, 8, 1, 0},
    {"widest", 64, 10, -126, 0x1.ff8p103, 1, 0},
    {"largest", 100, 2, 100, 0x1p104, 1, 0},
};
enum { FORMATS = sizeof formats / sizeof *formats };

/* The bytes of a call's outputs, between guards. */
typedef struct {
    _Alignas(CACHE_LINE) uint8_t y_room[MOST * sizeof(double) + 4 * GUARD];
    uint8_t mask_room[MOST + 3 * GUARD], scales_room[MOST + 3 * GUARD];
    uint8_t *start[3];
    size_t size[3];
} outputs;

typedef struct {
    fq_type type;
    const format *format;
    fq_block_call call;
    size_t pieces; /* of the call, as threads share it */
    int in_place;
} block_case;

static _Alignas(CACHE_LINE) uint8_t pool[POOL * sizeof(double)];

static void put(fq_type type, uint8_t *array, size_t i, uint64_t bits)
{
    const uint16_t half = (uint16_t)bits;
    const uint32_t single = (uint32_t)bits;
    const size_t size = fq_size_of(type);
    memcpy(array + i * size, size == 2 ? (const void *)&half : size == 4 ? (const void *)&single : &bits, size);
}

static unsigned fraction_bits(fq_type type)
{
    return type == FQ_F16 ? 10 : type == FQ_BF16 ? 7 : type == FQ_F32 ? 23 : 52;
}

static uint64_t sign_of(fq_type type) { return UINT64_C(1) << (8 * fq_size_of(type) - 1); }

static uint64_t infinity_of(fq_type type) { return sign_of(type) - (UINT64_C(1) << fraction_bits(type)); }

static int is_nan(fq_type type, uint64_t bits) { return (bits & (sign_of(type) - 1)) > infinity_of(type); }

/* A number of few bits, so a point or a tie of most grids, or up to an ulp beside it. */
static uint64_t few_bits(fq_type type, uint64_t exponent)
{
    const unsigned fraction = fraction_bits(type), kept = (unsigned)random_below(fraction < 6 ? fraction : 6);
    const uint64_t all = (UINT64_C(1) << fraction) - 1, some = all & ~(all >> kept);
    const uint64_t bits = exponent << fraction | (random_bits(&seed) & some);
    return random_below(2) || bits == 0 ? bits : bits + random_below(3) - 1;
}

/* Stretches of any bits, of zeros, and of numbers of one size, half of them near 1, a few with NaN or an infinity. */
static void fill_pool(fq_type type)
{
    const uint64_t exponents = infinity_of(type) >> fraction_bits(type), half = exponents / 2;
    uint64_t kind = 0, exponent = 0;
    for (size_t i = 0; i < POOL; i++) {
        if (i % STRETCH == 0) {
            kind = random_below(16);
            exponent = kind < 8 ? half - 10 + random_below(20) : random_below((size_t)exponents);
        }
        const uint64_t less = random_below(10), sign = random_below(2) ? sign_of(type) : 0;
        uint64_t bits = few_bits(type, exponent > less ? exponent - less : 0);
        bits = random_below(16) == 0 || kind == 15 ? 0 : bits;
        bits = kind == 14 && random_below(STRETCH) == 0 ? infinity_of(type) + random_below(2) : bits;
        put(type, pool, i, kind == 13 ? random_bits(&seed) : bits | sign);
    }
}

static void prepare(outputs *o, const block_case *b)
{
    const fq_block_call *c = &b->call;
    const size_t size = fq_size_of(b->type), elements = c->outer * c->n * c->inner;
    o->size[0] = elements * size;
    o->size[1] = c->kept == 1 ? elements / 8 : c->kept == 8 ? elements : 0;
    o->size[2] = c->outer * c->blocks * c->inner;
    o->start[0] = o->y_room + GUARD + random_below(GUARD) * size % GUARD;
    o->start[1] = o->mask_room + GUARD + random_below(GUARD);
    o->start[2] = o->scales_room + GUARD + random_below(GUARD);
    for (size_t k = 0; k < 3; k++) {
        memset(o->start[k] - GUARD, GUARD_BYTE, o->size[k] + (size_t)(2 * GUARD));
    }
}

static void run(const fq_target *target, const block_case *b, outputs *o)
{
    fq_block_call c = b->call;
    const size_t all = c.outer * c.blocks * c.inner;
    prepare(o, b);
    c.y = o->start[0], c.mask = c.kept ? o->start[1] : NULL, c.scales = o->start[2];
    if (b->in_place) {
        memcpy(c.y, c.x, o->size[0]);
        c.x = c.y;
    }
    for (size_t k = 0; k < b->pieces; k++) {
        target->blocks[b->type](&c, all * k / b->pieces, all * (k + 1) / b->pieces);
    }
}

static void fail(const fq_target *target, const block_case *b, const char *what, size_t at)
{
    const fq_block_call *c = &b->call;
    printf("%s: blocks of %s, rule %d, type %d: (%zu, %zu, %zu) in blocks of %zu, %zu pieces, kept %d, points %d, "
           "in place %d, tensor_scale %a: %s, at %zu\n",
           target->name, b->format->name, (int)c->rule, (int)b->type, c->outer, c->n, c->inner, c->block, b->pieces,
           c->kept, c->points, b->in_place, c->tensor_scale, what, at);
    exit(1);
}

/* NaNs are equal to each other, whatever their bits. */
static void compare(const fq_target *target, const block_case *b, const outputs *got, const outputs *expected)
{
    static const char *const names[] = {"another y", "another mask", "another scale"};
    const size_t elements = got->size[0] / fq_size_of(b->type);
    for (size_t i = 0; i < elements; i++) {
        const uint64_t one = element(b->type, got->start[0], i), other = element(b->type, expected->start[0], i);
        if (one != other && !(is_nan(b->type, one) && is_nan(b->type, other))) {
            fail(target, b, names[0], i);
        }
    }
    for (size_t k = 1; k < 3; k++) {
        for (size_t i = 0; i < got->size[k]; i++) {
            if (got->start[k][i] != expected->start[k][i]) {
                fail(target, b, names[k], i);
            }
        }
    }
    for (size_t k = 0; k < 3; k++) {
        if (!guard_is_whole(got->start[k] - GUARD) || !guard_is_whole(got->start[k] + got->size[k])) {
            fail(target, b, "writes outside an output", k);
        }
    }
}

/* The i-th case: a remainder of i chooses each of what there is, chance the lengths. */
static size_t choose(size_t *i, size_t count)
{
    const size_t chosen = *i % count;
    *i /= count;
    return chosen;
}

static void shape_case(fq_block_call *c, size_t inner, size_t block, int kept)
{
    c->inner = inner, c->kept = kept;
    c->n = 1 + random_below(inner == 1 && random_below(4) == 0 ? 4500 : inner > 16 ? 80 : 300);
    c->block = block;
    if (kept == 1) {
        c->n = (c->n + 7) / 8 * 8, c->block = (block + 7) / 8 * 8;
    }
    const size_t most = c->n < 8 ? 8 : c->n; /* as fq.blocks has it */
    c->block = c->block < most ? c->block : most;
    c->blocks = (c->n + c->block - 1) / c->block;
    c->outer = 1 + random_below(3);
}

/* 0 past the last case. */
static int make_case(block_case *b, fq_type type, size_t i)
{
    static const size_t inners[] = {1, 1, 1, 2, 17, 64, 65, 130},
                        blocks[] = {0, 0, 1, 5, 8, 16, 32, 40, 64, 72, 100, 256};
    static const double tensor_scales[] = {1, 0x1.23p-4, (double)FLT_MIN, (double)FLT_MAX};
    const format *f = &formats[choose(&i, FORMATS)];
    const fq_values v = {.max = f->max, .mantissa_bits = f->mantissa_bits, .min_exponent = f->min_exponent};
    const size_t rule = choose(&i, 3), inner = inners[choose(&i, 8)], block = blocks[choose(&i, 12)];
    const int kept = (int[]){0, 8, inner == 1 ? 1 : 0}[choose(&i, 3)], points = (int)choose(&i, 2);
    *b = (block_case){.type = type, .format = f, .pieces = 1 + random_below(3), .in_place = (int)random_below(2)};
    fq_block_call *const c = &b->call;
    shape_case(c, inner, block == 0 ? f->block : block, kept);
    c->rule = f->in_e4m3 ? FQ_SCALE_E4M3 : (fq_scale_rule)rule;
    c->format = fq_format_code(f->min_exponent, f->mantissa_bits, f->signed_zero);
    c->max = f->max, c->beyond = fq_beyond_format(&v), c->points = points;
    c->tensor_scale = f->in_e4m3 ? tensor_scales[random_below(4)] : 1;
    c->x = pool + random_below(POOL - c->outer * c->n * c->inner + 1) * fq_size_of(type);
    return i == 0;
}

static void check_blocks(fq_type type, size_t step, uint64_t *comparisons)
{
    static outputs got, expected;
    const fq_target *target;
    block_case b;
    for (size_t i = 0; make_case(&b, type, i); i += step) {
        const int in_place = b.in_place;
        const size_t pieces = b.pieces;
        if (i / step % 500 == 0) {
            fill_pool(type);
        }
        b.in_place = 0, b.pieces = 1;
        run(portable_target(), &b, &expected);
        b.in_place = in_place, b.pieces = pieces;
        for (size_t t = 0; (target = fq_target_available(t)) != NULL; t++) {
            run(target, &b, &got);
            compare(target, &b, &got, &expected);
            comparisons[t]++;
        }
    }
}

int main(int count, char **arguments)
{
    const size_t step = count > 1 ? strtoul(arguments[1], NULL, 10) : 1;
    uint64_t comparisons[FQ_MOST_TARGETS] = {0};
    const fq_target *target;
    if (step == 0) {
        return 1;
    }
    check_all_words(step, comparisons);
    for (fq_type type = 0; type < FQ_TYPES; type++) {
        check_blocks(type, step, comparisons);
    }
    for (size_t t = 0; (target = fq_target_available(t)) != NULL; t++) {
        printf("%s: %" PRIu64 " comparisons, all equal\n", target->name, comparisons[t]);
    }
    return 0;
}
