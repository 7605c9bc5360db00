/* The extremes of each set: tiles of rows go to a kernel, and what holds NaN or an infinity is looked at element by element. */
#include "observe.h"

#include <stdlib.h>

#include "atomics.h"
#include "dispatch.h"
#include "fpflags.h"
#include "keys.h"
#include "rows.h"
#include "threads.h"

enum {
    TILE = 256, /* rows, or columns, of which a kernel finds the ends at a time */
    TILE_ROWS = 32, /* rows of a tile of columns */
    BLOCK = 16 * 1024, /* elements of a row */
    BUFFER = 4096, /* elements of rows whose elements lie apart */
    THREAD_GRAIN = 128 * 1024,
    MOST_PARTIAL_SETS = 256 * 1024 /* of all workers together */
};

/* How the array is cut: items, each a block of one row, in the order of blocks, then rows. */
typedef struct {
    const fq_call *call;
    const fq_target *target;
    fq_rows rows;
    size_t sets, items;
    size_t apart; /* rows of which no others share the sets, or 0: pieces are cut between them */
    int columns; /* whether each element of a row has a set */
    fq_ends *part; /* of each worker, or one for all */
    int parts;
    FQ_ATOMIC(int) special;
} cut;

/* Elements of one set, `size` bytes each, which inlining makes a constant. No branch depends on a value. */
static FQ_INLINE void look_at_each(fq_ends *to, size_t set, const char *x, size_t n, size_t size, int64_t infinity)
{
    int64_t low = to->low[set], high = to->high[set];
    uint64_t above = 0, below = 0, finite = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t key = fq_key(x + i * size, size);
        const int is_finite = (key > ~infinity) & (key < infinity);
        low = is_finite && key < low ? key : low;
        high = is_finite && key > high ? key : high;
        above += key == infinity, below += key == ~infinity, finite += (uint64_t)is_finite;
    }
    to->low[set] = low, to->high[set] = high;
    to->count[FQ_ABOVE][set] += above, to->count[FQ_BELOW][set] += below;
    to->count[FQ_NANS][set] += n - above - below - finite;
}

/* A row with NaN or infinities in it; set_step: from the set of an element to that of the next. */
static void look_at_row(cut *c, fq_ends *to, size_t set, size_t set_step, const char *x, size_t n)
{
    const int64_t infinity = fq_infinity_key(c->call->type);
    const size_t size = c->rows.size, some = set_step > 0 ? 1 : n;
    c->special = 1;
    for (size_t i = 0; i < n; i += some, set += set_step, x += size * some) {
        switch (size) {
        case k16_SIZE: look_at_each(to, set, x, some, k16_SIZE, infinity); break;
        case k32_SIZE: look_at_each(to, set, x, some, k32_SIZE, infinity); break;
        default: look_at_each(to, set, x, some, k64_SIZE, infinity); break;
        }
    }
}

/* Adds the ends of a tile to n sets; 0, and nothing is added, where one is not finite. */
static int add_ends(fq_ends *to, size_t set, size_t step, const int64_t *low, const int64_t *high, size_t n,
                    int64_t infinity)
{
    int finite = 1;
    for (size_t i = 0; i < n; i++) {
        finite &= (low[i] > ~infinity) & (high[i] < infinity);
    }
    for (size_t i = 0; finite && i < n; i++, set += step) {
        to->low[set] = low[i] < to->low[set] ? low[i] : to->low[set];
        to->high[set] = high[i] > to->high[set] ? high[i] : to->high[set];
    }
    return finite;
}

/* Rows without gaps in them, `row` bytes apart; from the set of a row to that of the next it is line->sum. */
static void look_at_tile(cut *c, fq_ends *to, size_t set, const char *x, size_t n, size_t rows, ptrdiff_t row)
{
    int64_t low[TILE], high[TILE];
    const fq_rows *r = &c->rows;
    const int64_t infinity = fq_infinity_key(c->call->type);
    fq_ends_of *const find = c->target->ends[c->columns][c->call->type];
    find(x, n, rows, row, low, high);
    if (add_ends(to, set, c->columns ? r->inner.sum : r->line.sum, low, high, c->columns ? n : rows, infinity)) {
        return;
    }
    for (size_t i = 0; i < rows; i++, x += row, set += r->line.sum) {
        look_at_row(c, to, set, r->inner.sum, x, n);
    }
}

/* The most rows of a tile. */
static size_t most_rows(const cut *c, size_t n)
{
    const fq_rows *r = &c->rows;
    const size_t most = !c->columns ? TILE : r->line.sum == 0 ? TILE_ROWS : 1;
    const size_t fit = r->contiguous ? most : BUFFER / n;
    return fit < most ? fit : most;
}

/* Rows [from, end) of a block. */
static void look_at_rows(cut *c, fq_ends *to, size_t block, size_t from, size_t end)
{
    char buffer[BUFFER * FQ_WIDEST];
    for (size_t row = from, some; row < end; row += some) {
        fq_place at = fq_place_of(&c->rows, c->call, c->call->data[0], block, row);
        const size_t most = most_rows(c, at.n), left = end - row;
        some = at.left < most ? at.left : most;
        some = left < some ? left : some;
        const ptrdiff_t step = fq_gather(&c->rows, &at, some, buffer);
        look_at_tile(c, to, at.set, at.data, at.n, some, step);
    }
}

static void look_at_piece(void *context, size_t index, size_t from, size_t end)
{
    cut *c = context;
    fq_ends *to = &c->part[c->parts > 1 ? index : 0];
    if (c->apart > 0) {
        for (size_t block = 0; block < c->rows.blocks; block++) {
            look_at_rows(c, to, block, from * c->apart, end * c->apart);
        }
        return;
    }
    for (size_t item = from, some; item < end; item += some) {
        const size_t row = item % c->rows.rows, left = c->rows.rows - row;
        some = left < end - item ? left : end - item;
        look_at_rows(c, to, item / c->rows.rows, row, row + some);
    }
}

static void start_ends(fq_ends *part, size_t sets)
{
    for (size_t i = 0; i < sets; i++) {
        part->low[i] = INT64_MAX, part->high[i] = INT64_MIN;
    }
}

static void merge_ends(fq_ends *to, const fq_ends *from, size_t sets)
{
    for (size_t i = 0; i < sets; i++) {
        to->low[i] = from->low[i] < to->low[i] ? from->low[i] : to->low[i];
        to->high[i] = from->high[i] > to->high[i] ? from->high[i] : to->high[i];
        for (int k = 0; k < FQ_SPECIALS; k++) {
            to->count[k][i] += from->count[k][i];
        }
    }
}

/* How many workers there are, and whether they meet no set of each other: the outermost axis then tells their sets apart. */
static size_t cut_array(cut *c, fq_call *call, size_t sets)
{
    c->call = call, c->target = fq_target_in_use(), c->sets = sets, c->apart = 0;
    c->columns = call->axis[call->axes - 1].sum > 0;
    fq_cut_rows(&c->rows, call, c->columns ? TILE : BLOCK, BUFFER);
    c->items = c->rows.rows * c->rows.blocks;
    size_t workers = fq_pieces(c->rows.rows * c->rows.inner.length, THREAD_GRAIN);
    workers = workers < c->items ? workers : c->items;
    if (workers > 1 && call->axis[0].sum > 0 && call->axis[0].length >= workers) {
        c->apart = c->rows.rows / call->axis[0].length;
        c->items = call->axis[0].length;
        return workers;
    }
    const size_t most = MOST_PARTIAL_SETS / sets;
    workers = workers < most ? workers : most > 0 ? most : 1;
    c->parts = (int)workers;
    return workers;
}

/* A part for each worker but the first, which has the caller's. */
static fq_status reserve_parts(cut *c, fq_ends *first)
{
    const size_t sets = c->sets, others = (size_t)c->parts - 1, each = sets * (2 + FQ_SPECIALS);
    c->part = first;
    if (others == 0) {
        return FQ_OK;
    }
    c->part = calloc(1, (others + 1) * sizeof *c->part + others * each * sizeof(uint64_t));
    if (c->part == NULL) {
        return FQ_NO_MEMORY;
    }
    c->part[0] = *first;
    uint64_t *next = (uint64_t *)(void *)(c->part + others + 1);
    for (size_t i = 1; i <= others; i++, next += each) {
        c->part[i].low = (int64_t *)next, c->part[i].high = (int64_t *)next + sets;
        for (size_t k = 0; k < FQ_SPECIALS; k++) {
            c->part[i].count[k] = next + (2 + k) * sets;
        }
        start_ends(&c->part[i], sets);
    }
    return FQ_OK;
}

fq_status fq_find_ends(fq_call *call, size_t sets, fq_ends *to)
{
    cut c = {.parts = 1};
    start_ends(to, sets);
    to->special = 0;
    if (!fq_join(call)) {
        return FQ_OK;
    }
    const size_t workers = cut_array(&c, call, sets);
    if (reserve_parts(&c, to) != FQ_OK) {
        return FQ_NO_MEMORY;
    }
    fq_parallel(c.items, workers, look_at_piece, &c);
    for (int i = 1; i < c.parts; i++) {
        merge_ends(&c.part[0], &c.part[i], sets);
    }
    if (c.part != to) {
        free(c.part);
    }
    to->special = c.special;
    return FQ_OK;
}

/* Bits of a key as a double: widening a half multiplies, for which a caller's flags may flush subnormal numbers. */
static double value_of(fq_type type, uint64_t bits)
{
    double v;
    switch (type) {
    case FQ_F16: return (double)widen_f16((uint16_t)bits);
    case FQ_BF16: return (double)widen_bf16((uint16_t)bits);
    case FQ_F32: return (double)float_of_bits((uint32_t)bits);
    default: memcpy(&v, &bits, sizeof v); return v;
    }
}

void fq_values_of_keys(double *to, const int64_t *keys, size_t n, fq_type type)
{
    const size_t size = fq_size_of(type);
    const int64_t infinity = fq_infinity_key(type), most = (int64_t)(UINT64_MAX >> (65 - 8 * size));
    const fq_fpflags flags = fq_fpflags_save();
    for (size_t i = 0; i < n; i++) {
        const int64_t key = keys[i] > infinity ? infinity : keys[i] < ~infinity ? ~infinity : keys[i];
        const uint64_t bits = (uint64_t)(key < 0 ? key ^ most : key);
        to[i] = key == 0 || key == -1 ? 0 : value_of(type, bits);
    }
    fq_fpflags_restore(flags);
}
