/* Compares what every target finds of elements with a plain loop: the ends of rows and of columns, and the counts of bins.
 *
 * observe_test [step] [most]: every step-th length, up to most */
#include "keys.h"
#include "testing.h"

enum { POOL = 16 * 1024, ROWS = 5, MOST_ENDS = 512 };

static const fq_type types[] = {FQ_F16, FQ_BF16, FQ_F32, FQ_F64};
static uint8_t pool[POOL * FQ_WIDEST + ROWS * 64];
static uint64_t seed = 1, comparisons;

static void fail(const fq_target *target, fq_type type, const char *what, size_t n, size_t at)
{
    printf("%s: %s of type %d, length %zu, at %zu\n", target->name, what, (int)type, n, at);
    exit(1);
}

/* Any bits; small values; or runs of equal ones. */
static void fill_pool(fq_type type)
{
    const size_t size = fq_size_of(type);
    uint64_t bits = 0;
    for (size_t i = 0; (i + 1) * size <= sizeof pool; i++) {
        const uint64_t kind = random_bits(&seed) % 8;
        bits = kind < 4 ? random_bits(&seed) : kind < 6 ? bits : kind == 6 ? 0 : UINT64_C(1) << (8 * size - 1);
        memcpy(pool + i * size, &bits, size);
    }
}

static void add_key(int64_t key, int64_t *low, int64_t *high)
{
    *low = key < *low ? key : *low;
    *high = key > *high ? key : *high;
}

static void check_ends(const fq_target *target, fq_type type, size_t n, int columns)
{
    const size_t size = fq_size_of(type), rows = 1 + random_bits(&seed) % ROWS, results = columns ? n : rows;
    const ptrdiff_t row = (ptrdiff_t)((n + random_bits(&seed) % 3) * size);
    const char *x = (const char *)pool + size * (random_bits(&seed) % 4);
    int64_t low[MOST_ENDS], high[MOST_ENDS], least[MOST_ENDS], greatest[MOST_ENDS];
    for (size_t k = 0; k < results; k++) {
        least[k] = INT64_MAX, greatest[k] = INT64_MIN;
    }
    for (size_t i = 0; i < rows * n; i++) {
        const size_t k = columns ? i % n : i / n;
        add_key(fq_key(x + (ptrdiff_t)(i / n) * row + i % n * size, size), &least[k], &greatest[k]);
    }
    target->ends[columns][type](x, n, rows, row, low, high);
    for (size_t k = 0; k < results; k++, comparisons++) {
        if (low[k] != least[k] || high[k] != greatest[k]) {
            fail(target, type, columns ? "ends of columns" : "ends of rows", n, k);
        }
    }
}

/* The key of a bin, and the 16 bits below. */
static size_t split(fq_type type, const char *x, uint64_t *rest)
{
    uint64_t bits = 0;
    memcpy(&bits, x, fq_size_of(type)); /* little-endian, as all machines that run this */
    *rest = type == FQ_F64 ? bits >> 29 & 0xffff : type == FQ_F32 ? bits & 0xffff : 0;
    return (size_t)(type == FQ_F64 ? bits >> 45 : type == FQ_F32 ? bits >> 16 : bits);
}

/* Count, sum and sum of squares of a bin. */
static void total(const fq_tally *t, fq_type type, size_t key, uint64_t *to)
{
    to[0] = to[1] = to[2] = 0;
    for (size_t i = key * FQ_APART; i < (key + 1) * FQ_APART; i++) {
        if (fq_size_of(type) == 2) {
            to[0] += t->table.count[i];
            continue;
        }
        const fq_cell cell = t->table.cell[i];
        to[0] += cell.sum >> 40, to[1] += cell.sum & ((UINT64_C(1) << 40) - 1), to[2] += cell.square;
    }
}

static void check_count(const fq_target *target, fq_type type, size_t n)
{
    const size_t size = fq_size_of(type), keys = (size_t)1 << (type == FQ_F64 ? 19 : 16);
    const char *x = (const char *)pool + size * (random_bits(&seed) % 4);
    fq_tally t = {.least = UINT64_MAX};
    uint64_t (*expected)[3] = calloc(keys, sizeof *expected), found[3], rest, least = UINT64_MAX, most = 0;
    t.table.memory = calloc(keys, FQ_APART * sizeof(fq_cell));
    for (size_t i = 0; i < n; i++) {
        uint64_t *one = expected[split(type, x + i * size, &rest)], bits = 0;
        one[0]++, one[1] += rest, one[2] += rest * rest;
        memcpy(&bits, x + i * size, size);
        bits = bits << (65 - 8 * size) >> (64 - 8 * size);
        least = bits > 0 && bits - 1 < least ? bits - 1 : least;
        most = bits > most ? bits : most;
    }
    target->count[type](x, n, &t);
    if (t.most != most || (most > 0 && t.least != least)) {
        fail(target, type, "range", n, 0);
    }
    for (size_t key = 0; key < keys; key++, comparisons++) {
        total(&t, type, key, found);
        if (found[0] != expected[key][0] || (size > 2 && memcmp(found, expected[key], sizeof found) != 0)) {
            fail(target, type, "counts", n, key);
        }
    }
    free(t.table.memory);
    free(expected);
}

int main(int count, char **arguments)
{
    const size_t step = count > 1 ? strtoul(arguments[1], NULL, 10) : 1;
    const size_t most = count > 2 ? strtoul(arguments[2], NULL, 10) : 300;
    const fq_target *target;
    if (step == 0 || most > MOST_ENDS) {
        return 1;
    }
    for (size_t t = 0; (target = fq_target_available(t)) != NULL; t++) {
        comparisons = 0;
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            fill_pool(types[k]);
            for (size_t n = 1; n <= most; n += step) {
                check_ends(target, types[k], n, 0);
                check_ends(target, types[k], n, 1);
            }
            for (size_t n = 1; n < POOL; n = 2 * n + random_bits(&seed) % 9) {
                check_count(target, types[k], n);
            }
        }
        printf("%s: %" PRIu64 " comparisons, all equal\n", target->name, comparisons);
    }
    return 0;
}
