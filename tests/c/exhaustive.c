/* Compares the float32 kernels of every target with the portable ones over all 2**32 inputs, or every step-th.
 *
 * exhaustive [step] [target] */
#include "testing.h"

enum { INPUTS = 32 * 1024, WAYS = 3 }; /* inputs in a block */

static const fq_way ways[WAYS] = {FQ_DIVIDE_FAST, FQ_DIVIDE, FQ_MULTIPLY};

typedef struct {
    float scale;
    double lo, hi;
} settings;

static const settings all_settings[] = {
    {0.05f, -128, 127},  {0.1f, -8, 7},           {1.0f / 3, 0, 255},           {0x1.fffffep-1f, -128, 127},
    {0.125f, -128, 127}, {0.7f, -0x1p24, 0x1p24}, {0x1.000002p-90f, -128, 127}, {0x1.fffffep89f, -128, 127},
};

typedef struct {
    float x[INPUTS], y[INPUTS], expected[2][INPUTS]; /* by division, by multiplication */
    uint8_t bits[INPUTS / 8], expected_bits[2][INPUTS / 8];
} block;

typedef struct {
    uint64_t inputs, differences[WAYS];
    float first[WAYS]; /* an input with a difference */
} result;

typedef struct {
    const fq_target *target[FQ_MOST_TARGETS];
    size_t count;
} chosen;

static size_t fill(block *b, uint64_t number, uint64_t step)
{
    const uint64_t from = number * INPUTS * step;
    size_t n = 0;
    for (uint64_t bits = from; n < INPUTS && bits <= UINT32_MAX; bits += step) {
        b->x[n++] = float_of_bits((uint32_t)bits);
    }
    return n;
}

static void run(const fq_target *target, fq_way way, const fq_params *p, size_t n, const float *x, float *y,
                uint8_t *bits)
{
    char *data[3];
    memcpy(data, (const void *[3]){y, bits, x}, sizeof data);
    target->kernel[FQ_F32][FQ_FORWARD_PACKED][way](data, n, p);
}

static int differs(const block *b, int by, size_t i)
{
    const float got = b->y[i], expected = b->expected[by][i];
    const int same = isnan(expected) ? isnan(got) : memcmp(&got, &expected, sizeof got) == 0;
    return !same || (b->bits[i / 8] ^ b->expected_bits[by][i / 8]) >> i % 8 & 1;
}

static void compare(const block *b, int by, size_t n, result *r, int way)
{
    size_t i = 0;
    if (memcmp(b->y, b->expected[by], n * sizeof *b->y) == 0 && memcmp(b->bits, b->expected_bits[by], n / 8) == 0) {
        i = n / 8 * 8; /* what is left is the bits of a last byte */
    }
    for (; i < n; i++) {
        if (differs(b, by, i)) {
            r->first[way] = b->x[i];
            r->differences[way]++;
        }
    }
}

static void check_block(block *b, const chosen *targets, const fq_params *p, size_t n, result *results)
{
    run(portable_target(), FQ_DIVIDE, p, n, b->x, b->expected[0], b->expected_bits[0]);
    run(portable_target(), FQ_MULTIPLY, p, n, b->x, b->expected[1], b->expected_bits[1]);
    for (size_t t = 0; t < targets->count; t++) {
        for (int w = 0; w < WAYS; w++) {
            run(targets->target[t], ways[w], p, n, b->x, b->y, b->bits);
            compare(b, ways[w] == FQ_MULTIPLY, n, &results[t], w);
        }
        results[t].inputs += n;
    }
}

static void add(result *to, const result *from)
{
    to->inputs += from->inputs;
    for (int w = 0; w < WAYS; w++) {
        to->first[w] = from->differences[w] > 0 ? from->first[w] : to->first[w];
        to->differences[w] += from->differences[w];
    }
}

static void check(result *all, const chosen *targets, const settings *s, uint64_t step)
{
    float inv = 1 / s->scale, scale = s->scale, lo = (float)s->lo, hi = (float)s->hi;
    const fq_params p = {.sets = {&scale, &inv, &lo, &hi}, .rows = 1};
    const uint64_t inputs = ((UINT64_C(1) << 32) + step - 1) / step;
    const int64_t blocks = (int64_t)((inputs + INPUTS - 1) / INPUTS);
#ifdef _OPENMP
#pragma omp parallel
#endif
    {
        block *b = malloc(sizeof *b);
        result mine[FQ_MOST_TARGETS] = {0};
        if (b == NULL) {
            abort();
        }
#ifdef _OPENMP
#pragma omp for schedule(dynamic, 16)
#endif
        for (int64_t i = 0; i < blocks; i++) {
            check_block(b, targets, &p, fill(b, (uint64_t)i, step), mine);
        }
#ifdef _OPENMP
#pragma omp critical
#endif
        for (size_t t = 0; t < targets->count; t++) {
            add(&all[t], &mine[t]);
        }
        free(b);
    }
}

/* Whether all were equal. */
static int report(const fq_target *target, const settings *s, const result *r)
{
    int equal = 1;
    printf("%s: scale %a, %.0f to %.0f: %" PRIu64 " inputs, differences: %" PRIu64 " by fast division, %" PRIu64
           " by division, %" PRIu64 " by multiplication\n",
           target->name, (double)s->scale, s->lo, s->hi, r->inputs, r->differences[0], r->differences[1],
           r->differences[2]);
    for (int w = 0; w < WAYS; w++) {
        if (r->differences[w] > 0) {
            printf("  way %d: one is x = %a\n", ways[w], (double)r->first[w]);
            equal = 0;
        }
    }
    fflush(stdout);
    return equal;
}

/* All but the portable one, which is compared with itself only when it is asked for or the only one. */
static chosen choose(const char *only)
{
    chosen targets = {0};
    for (size_t i = 0; fq_target_available(i) != NULL; i++) {
        const fq_target *target = fq_target_available(i);
        if (only == NULL ? target != portable_target() || i == 0 : strcmp(only, target->name) == 0) {
            targets.target[targets.count++] = target;
        }
    }
    return targets;
}

int main(int count, char **arguments)
{
    const uint64_t step = count > 1 ? strtoull(arguments[1], NULL, 10) : 1;
    const chosen targets = choose(count > 2 ? arguments[2] : NULL);
    int equal = step > 0 && targets.count > 0;
    for (size_t k = 0; step > 0 && k < sizeof all_settings / sizeof *all_settings; k++) {
        result results[FQ_MOST_TARGETS] = {0};
        check(results, &targets, &all_settings[k], step);
        for (size_t t = 0; t < targets.count; t++) {
            equal &= report(targets.target[t], &all_settings[k], &results[t]);
        }
    }
    return !equal;
}
