/* The distribution of each set: a kernel counts elements in tables, out of which come the bins that are not empty. */
#include <stdlib.h>

#include "atomics.h"
#include "dispatch.h"
#include "keys.h"
#include "observe.h"
#include "rows.h"
#include "threads.h"

enum {
    BLOCK = 4096, /* elements that a kernel takes at a time: they stay in the first cache for its two loops */
    FEW = 128,    /* elements of a set that are sorted instead: a table is read in the whole range of its elements */
    THREAD_GRAIN = 128 * 1024,
    KEPT_TABLES = 4 /* of each type, for the next call */
};

/* The table of a worker, all zeros between two sets, and what it held when it was full. */
typedef struct {
    fq_tally tally;
    size_t counted;
    uint64_t *wide; /* fq_cell_of numbers a key; NULL until the table is full */
} table;

typedef struct {
    const fq_call *call; /* the axes that are reduced */
    const fq_call *whole; /* those that are kept tell the sets apart */
    const fq_target *target;
    fq_rows rows;
    size_t sets, each, items; /* elements, and blocks of rows, of a set */
    const char *first; /* the data of the set in work, for workers that share it */
    table *table;     /* of each worker */
    fq_bins *bins;
    int64_t *count; /* of the bins of each set */
    FQ_ATOMIC(int) failed;
} look;

/* ---- Memory ---- */

static size_t bin_size(fq_type type) { return FQ_APART * (fq_cell_of(type) == 1 ? sizeof(uint32_t) : sizeof(fq_cell)); }

/* Tables that nobody uses: clearing new ones would take as long as the work. */
#if defined(__STDC_NO_ATOMICS__)
static void *take_kept(fq_type type) { return (void)type, NULL; }
static int keep(fq_type type, void *memory) { return (void)type, (void)memory, 0; }
#else
static FQ_ATOMIC(void *) kept[FQ_TYPES][KEPT_TABLES];

static void *take_kept(fq_type type)
{
    void *memory = NULL;
    for (int i = 0; memory == NULL && i < KEPT_TABLES; i++) {
        memory = atomic_exchange(&kept[type][i], NULL);
    }
    return memory;
}

static int keep(fq_type type, void *memory)
{
    for (int i = 0; i < KEPT_TABLES; i++) {
        void *expected = NULL;
        if (atomic_compare_exchange_strong(&kept[type][i], &expected, memory)) {
            return 1;
        }
    }
    return 0;
}
#endif

static int open_table(table *t, fq_type type)
{
    void *memory = take_kept(type);
    t->tally.table.memory = memory != NULL ? memory : calloc(fq_keys_of(type), bin_size(type));
    t->tally.least = UINT64_MAX;
    return t->tally.table.memory != NULL;
}

/* A table that is not all zeros is not kept. */
static void close_table(table *t, fq_type type, int zeros)
{
    if (t->tally.table.memory != NULL && !(zeros && keep(type, t->tally.table.memory))) {
        free(t->tally.table.memory);
    }
    free(t->wide);
}

/* ---- Tables -> bins ---- */

/* The keys that may hold anything, without the sign bit: 0, and [first, end). */
typedef struct {
    size_t first, end;
} span;

static span span_of(const fq_tally *t, fq_type type)
{
    const size_t size = fq_size_of(type), unused = 8 * size + 1 - (type == FQ_F64 ? 19 : 16);
    if (t->most == 0) {
        return (span){1, 1};
    }
    const size_t first = (size_t)((t->least + 1) >> unused);
    return (span){first > 0 ? first : 1, (size_t)(t->most >> unused) + 1};
}

/* Adds what the table holds of this key, and clears it. */
static void take_out(table *t, fq_type type, size_t key, uint64_t *to)
{
    for (size_t i = key * FQ_APART; i < (key + 1) * FQ_APART; i++) {
        if (fq_cell_of(type) == 1) {
            to[0] += t->tally.table.count[i], t->tally.table.count[i] = 0;
            continue;
        }
        fq_cell *cell = &t->tally.table.cell[i];
        to[0] += cell->sum >> 40, to[1] += cell->sum & ((UINT64_C(1) << 40) - 1), to[2] += cell->square;
        *cell = (fq_cell){0, 0};
    }
}

/* Whether it holds anything of this key: most bins are empty. */
static FQ_INLINE int holds(const table *t, fq_type type, size_t key)
{
    const uint32_t *count = t->tally.table.count + key * FQ_APART;
    const fq_cell *cell = t->tally.table.cell + key * FQ_APART;
    return fq_cell_of(type) == 1 ? (count[0] | count[1] | count[2] | count[3]) > 0
                                 : (cell[0].sum | cell[1].sum | cell[2].sum | cell[3].sum) > 0;
}

/* Moves a full table to the wide one. 0: there is no memory. */
static int empty(table *t, fq_type type)
{
    const size_t width = fq_cell_of(type), half = fq_keys_of(type) / 2;
    const span all = span_of(&t->tally, type);
    if (t->wide == NULL) {
        t->wide = calloc(fq_keys_of(type), width * sizeof *t->wide);
    }
    for (size_t sign = 0; t->wide != NULL && sign < 2 * half; sign += half) {
        take_out(t, type, sign, t->wide + sign * width);
        for (size_t key = sign + all.first; key < sign + all.end; key++) {
            take_out(t, type, key, t->wide + key * width);
        }
    }
    t->counted = 0;
    return t->wide != NULL;
}

static int count_into(table *t, const fq_target *target, fq_type type, const char *x, size_t n)
{
    if (n > FQ_MOST_IN_TABLE - t->counted && !empty(t, type)) {
        return 0;
    }
    t->counted += n;
    target->count[type](x, n, &t->tally);
    return 1;
}

static int add_bin(fq_bins *bins, size_t width, size_t key, const uint64_t *cell)
{
    if (bins->count == bins->room) {
        const size_t room = 2 * bins->room + 1024;
        uint32_t *keys = realloc(bins->key, room * sizeof *keys);
        bins->key = keys != NULL ? keys : bins->key;
        uint64_t *cells = keys != NULL ? realloc(bins->cell, room * width * sizeof *cells) : NULL;
        if (cells == NULL) {
            return 0;
        }
        bins->cell = cells, bins->room = room;
    }
    bins->key[bins->count] = (uint32_t)key;
    for (size_t k = 0; k < width; k++) {
        bins->cell[bins->count * width + k] = cell[k];
    }
    bins->count++;
    return 1;
}

static int is_finite_key(fq_type type, size_t key)
{
    static const size_t infinities[FQ_TYPES] = {0x7c00, 0x7f80, 0x7f80, 0x3ff80};
    return (key & (fq_keys_of(type) / 2 - 1)) < infinities[type];
}

/* Takes a bin out of the tables of all workers. 0: there is no memory. */
static int take_bin(table *t, size_t workers, fq_type type, size_t key, fq_bins *bins)
{
    uint64_t cell[FQ_CELL] = {0};
    const size_t width = fq_cell_of(type);
    for (size_t i = 0; i < workers; i++) {
        take_out(&t[i], type, key, cell);
        for (size_t k = 0; t[i].wide != NULL && k < width; k++) {
            uint64_t *wide = t[i].wide + key * width + k;
            cell[k] += *wide, *wide = 0;
        }
    }
    return cell[0] == 0 || !is_finite_key(type, key) || add_bin(bins, width, key, cell);
}

/* Takes out the bins [from, end). */
static int take_span(table *t, size_t workers, fq_type type, size_t from, size_t end, fq_bins *bins)
{
    const int alone = workers == 1 && t[0].wide == NULL;
    for (size_t key = from; key < end; key++) {
        if ((!alone || holds(t, type, key)) && !take_bin(t, workers, type, key, bins)) {
            return 0;
        }
    }
    return 1;
}

static int take_bins(table *t, size_t workers, fq_type type, fq_bins *bins)
{
    const size_t half = fq_keys_of(type) / 2;
    fq_tally both = {.least = UINT64_MAX};
    for (size_t i = 0; i < workers; i++) {
        both.least = t[i].tally.least < both.least ? t[i].tally.least : both.least;
        both.most = t[i].tally.most > both.most ? t[i].tally.most : both.most;
        t[i].tally.least = UINT64_MAX, t[i].tally.most = 0, t[i].counted = 0;
    }
    const span all = span_of(&both, type);
    int fits = 1;
    for (size_t sign = 0; sign < 2 * half; sign += half) {
        fits = fits && take_span(t, workers, type, sign, sign + 1, bins) &&
               take_span(t, workers, type, sign + all.first, sign + all.end, bins);
    }
    return fits;
}

/* ---- Few elements ---- */

/* The key above the next 16 bits. */
static uint64_t pattern_of(const char *x, size_t size)
{
    uint16_t half;
    uint32_t single;
    uint64_t bits;
    switch (size) {
    case 2: memcpy(&half, x, sizeof half); return (uint64_t)half << 16;
    case 4: memcpy(&single, x, sizeof single); return single;
    default: memcpy(&bits, x, sizeof bits); return bits >> 29;
    }
}

static void sort(uint64_t *v, size_t n)
{
    static const size_t gaps[] = {57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        for (size_t i = gaps[g], at; i < n; i++) {
            const uint64_t one = v[i];
            for (at = i; at >= gaps[g] && v[at - gaps[g]] > one; at -= gaps[g]) {
                v[at] = v[at - gaps[g]];
            }
            v[at] = one;
        }
    }
}

static int sorted_bins(uint64_t *v, size_t n, fq_type type, fq_bins *bins)
{
    sort(v, n);
    for (size_t i = 0; i < n;) {
        const uint64_t key = v[i] >> 16;
        uint64_t cell[FQ_CELL] = {0};
        for (; i < n && v[i] >> 16 == key; i++) {
            const uint64_t rest = v[i] & 0xffff;
            cell[0]++, cell[1] += rest, cell[2] += rest * rest;
        }
        if (is_finite_key(type, (size_t)key) && !add_bin(bins, fq_cell_of(type), (size_t)key, cell)) {
            return 0;
        }
    }
    return 1;
}

/* ---- Sets ---- */

/* Where the elements of a set begin. */
static const char *data_of_set(const look *l, size_t set)
{
    const char *data = l->whole->data[0];
    for (int axis = 0; axis < l->whole->axes; axis++) {
        const fq_loop *loop = &l->whole->axis[axis];
        data += loop->sum > 0 ? (ptrdiff_t)(set / loop->sum % loop->length) * loop->array[0] : 0;
    }
    return data;
}

/* Items [from, end) of a set, to the tables t or as patterns. */
static int look_at_items(const look *l, const char *data, size_t from, size_t end, table *t, uint64_t *patterns)
{
    char buffer[BLOCK * FQ_WIDEST];
    int fits = 1;
    for (size_t item = from; fits && item < end; item++) {
        fq_place at = fq_place_of(&l->rows, l->call, data, item % l->rows.blocks, item / l->rows.blocks);
        fq_gather(&l->rows, &at, 1, buffer);
        for (size_t i = 0; patterns != NULL && i < at.n; i++) {
            *patterns++ = pattern_of(at.data + i * l->rows.size, l->rows.size);
        }
        fits = t == NULL || count_into(t, l->target, l->call->type, at.data, at.n);
    }
    return fits;
}

/* Sets [from, to), each by one worker. */
static void look_at_sets(void *context, size_t index, size_t from, size_t to)
{
    look *l = context;
    uint64_t few[FEW];
    int fits = 1;
    for (size_t set = from; fits && set < to; set++) {
        const char *data = data_of_set(l, set);
        const size_t before = l->bins[index].count;
        if (l->each <= FEW) {
            fits = look_at_items(l, data, 0, l->items, NULL, few) &&
                   sorted_bins(few, l->each, l->call->type, &l->bins[index]);
        }
        else {
            fits = look_at_items(l, data, 0, l->items, &l->table[index], NULL) &&
                   take_bins(&l->table[index], 1, l->call->type, &l->bins[index]);
        }
        l->count[set] = (int64_t)(l->bins[index].count - before);
    }
    if (!fits) {
        l->failed = 1;
    }
}

/* Items [from, to) of one set, all workers sharing it. */
static void look_at_part(void *context, size_t index, size_t from, size_t to)
{
    look *l = context;
    if (!look_at_items(l, l->first, from, to, &l->table[index], NULL)) {
        l->failed = 1;
    }
}

/* One set after the other, each by all workers. */
static void share_sets(look *l, size_t workers)
{
    for (size_t set = 0; !l->failed && set < l->sets; set++) {
        const size_t before = l->bins[0].count;
        l->first = data_of_set(l, set);
        fq_parallel(l->items, workers, look_at_part, l);
        if (!l->failed && !take_bins(l->table, workers, l->call->type, &l->bins[0])) {
            l->failed = 1;
        }
        l->count[set] = (int64_t)(l->bins[0].count - before);
    }
}

/* Appends the bins of the other workers to those of the first. */
static int join_bins(look *l, size_t workers)
{
    const size_t width = fq_cell_of(l->call->type);
    int fits = 1;
    for (size_t i = 1; i < workers; i++) {
        const fq_bins *from = &l->bins[i];
        for (size_t k = 0; fits && k < from->count; k++) {
            fits = add_bin(&l->bins[0], width, from->key[k], from->cell + k * width);
        }
    }
    return fits;
}

/* The axes that are reduced, sorted and joined, and how they are cut. */
static void plan_look(look *l, fq_call *reduced, const fq_call *call, size_t sets)
{
    reduced->type = call->type, reduced->axes = 0, reduced->data[0] = call->data[0];
    l->call = reduced, l->whole = call, l->target = fq_target_in_use(), l->sets = sets, l->each = 1;
    for (int axis = 0; axis < call->axes; axis++) {
        if (call->axis[axis].sum == 0) {
            reduced->axis[reduced->axes++] = call->axis[axis];
            l->each *= call->axis[axis].length;
        }
    }
    fq_join(reduced);
    fq_cut_rows(&l->rows, reduced, BLOCK, BLOCK);
    l->items = l->rows.rows * l->rows.blocks;
}

static int start_look(look *l, size_t workers)
{
    l->table = calloc(workers, sizeof *l->table + sizeof *l->bins);
    l->bins = (fq_bins *)(void *)(l->table + workers);
    int fits = l->table != NULL;
    for (size_t i = 0; fits && l->each > FEW && i < workers; i++) {
        fits = open_table(&l->table[i], l->call->type);
    }
    return fits;
}

/* Leaves the bins of the first worker to the caller. */
static void end_look(look *l, size_t workers, fq_bins *to)
{
    for (size_t i = 0; l->table != NULL && i < workers; i++) {
        close_table(&l->table[i], l->call->type, !l->failed);
        if (i > 0 || l->failed) {
            free(l->bins[i].key);
            free(l->bins[i].cell);
        }
    }
    *to = l->failed ? (fq_bins){0} : l->bins[0];
    free(l->table);
}

fq_status fq_find_distribution(const fq_call *call, size_t sets, fq_bins *to, int64_t *count)
{
    fq_call reduced;
    look l = {.count = count};
    plan_look(&l, &reduced, call, sets);
    size_t workers = fq_pieces(sets * l.each, THREAD_GRAIN);
    const int shared = l.each > FEW && sets < 4 * workers; /* else each set is one worker's */
    const size_t most = shared ? l.items : sets;
    workers = workers < most ? workers : most;
    l.failed = !start_look(&l, workers);
    if (!l.failed && shared) {
        share_sets(&l, workers);
    }
    else if (!l.failed) {
        fq_parallel(sets, workers, look_at_sets, &l);
        l.failed = l.failed || !join_bins(&l, workers);
    }
    end_look(&l, workers, to);
    return l.failed ? FQ_NO_MEMORY : FQ_OK;
}

/* ---- Two distributions ---- */

static void copy_bin(fq_bins *to, const fq_bins *from, size_t i, size_t width)
{
    to->key[to->count] = from->key[i];
    for (size_t k = 0; k < width; k++) {
        to->cell[to->count * width + k] = from->cell[i * width + k];
    }
    to->count++;
}

void fq_merge_bins(size_t sets, size_t width, const int64_t *a_start, const fq_bins *a, const int64_t *b_start,
                   const fq_bins *b, int64_t *start, fq_bins *to)
{
    to->count = 0;
    for (size_t set = 0; set < sets; set++) {
        size_t i = (size_t)a_start[set], j = (size_t)b_start[set];
        const size_t a_end = (size_t)a_start[set + 1], b_end = (size_t)b_start[set + 1];
        start[set] = (int64_t)to->count;
        while (i < a_end || j < b_end) {
            const int from_a = j == b_end || (i < a_end && a->key[i] <= b->key[j]);
            const int both = i < a_end && j < b_end && a->key[i] == b->key[j];
            from_a ? copy_bin(to, a, i, width) : copy_bin(to, b, j, width);
            for (size_t k = 0; both && k < width; k++) {
                to->cell[(to->count - 1) * width + k] += b->cell[j * width + k];
            }
            i += (size_t)from_a, j += (size_t)(!from_a || both);
        }
    }
    start[sets] = (int64_t)to->count;
}
