/* Runs the rows of a call with sums, piece by piece: each has sums of its own, which are merged in the pieces' order. */
#include "walk.h"

#include <math.h>
#include <stdlib.h>

#include "strided.h"
#include "threads.h"

enum {
    BLOCK = 4096, /* elements of a row that a kernel sums before they are added to the sums of their set */
    FLUSH_AFTER = 1024, /* rows likewise, where each column has a set */
    TOGETHER = 8, /* of these rows go to a kernel */
    AHEAD = 2048, /* bytes to fetch ahead */
    MOST_PIECES = 16,
    PIECE_FROM = 32 * 1024, /* elements from which a piece gains */
    THREAD_GRAIN = 64 * 1024, /* elements from which a thread of its own gains */
    MOST_PARTIAL_SUMS = 256 * 1024 /* of all pieces together */
};

/* A sum, with what its rounding lost (Neumaier). Starts as zeros. */
typedef struct {
    double sum, lost;
} exact_sum;

/* The sums inside, below and above of a set: see kernel_learn.h. */
typedef struct {
    exact_sum of[FQ_KERNEL_SUMS];
} set_sums;

static void add(exact_sum *to, double v)
{
    const double sum = to->sum + v;
    to->lost += fabs(to->sum) >= fabs(v) ? (to->sum - sum) + v : (v - sum) + to->sum;
    to->sum = sum;
}

/* inf - inf made `lost` a NaN where the sum is infinite: what was lost does not matter there. */
static double total(const exact_sum *s) { return isfinite(s->sum) ? s->sum + s->lost : s->sum; }

/* Stores the results of set i. codes: of residuals in range that stand for x, or 0. */
static void store_set(double *const *results, size_t i, double inside, double below, double above, fq_set set,
                      int codes)
{
    results[0][i] = set.lo * below + set.hi * above - inside / (codes ? -2.0 * codes : set.unit);
    results[1][i] = -set.scale * (below + above);
}

/* The sums of a piece: of the sets that it may meet. */
typedef struct {
    size_t first, sets;
    set_sums *sums;
} part;

/* How a call is cut: items, each a block of one row, in the order of blocks, then rows. */
typedef struct {
    fq_plan *plan;
    fq_loop inner, outer; /* the axes of a row, and of the rows of a line */
    int once; /* a kernel meets each set once: its sums are those of the set, and nothing is merged */
    size_t together; /* rows that a kernel may take */
    size_t waits; /* rows after which their sums are handed on */
    size_t block, items, pieces, sets;
    int codes; /* see store_set */
    ptrdiff_t ahead;
    part part[MOST_PIECES];
} cut;

/* In a worker's scratch. */
typedef struct {
    double value[FQ_KERNEL_SUMS][FQ_CHUNK]; /* sums of a kernel: of rows, or of the columns of a block */
    char buffer[FQ_MAX_ARRAYS][FQ_CHUNK * FQ_WIDEST];
} scratch;

typedef struct {
    const cut *c;
    const part *part;
    fq_workplace place;
    fq_cursor at;
    fq_params params;
    scratch *with;
    size_t sum, n, waiting; /* of the values that wait: the first set, columns, rows */
} worker;

static size_t first_item(const cut *c, size_t piece) { return c->items * piece / c->pieces; }

/* Hands on the values that wait: of the columns, or of as many rows. */
static void flush(worker *w)
{
    const cut *c = w->c;
    const fq_plan *p = c->plan;
    const size_t count = p->each && w->waiting > 0 ? w->n : w->waiting;
    const size_t step = p->each ? c->inner.sum : c->outer.sum;
    double *const inside = w->with->value[0], *const below = w->with->value[1], *const above = w->with->value[2];
    for (size_t i = 0; i < count && c->once; i++) {
        const fq_set set = fq_set_at(w->params.sets, i, p->arithmetic);
        store_set(p->call->sums, w->sum + i * step, inside[i], below[i], above[i], set, c->codes);
    }
    for (size_t i = 0; i < count && !c->once; i++) {
        set_sums *to = &w->part->sums[w->sum + i * step - w->part->first];
        add(&to->of[0], inside[i]), add(&to->of[1], below[i]), add(&to->of[2], above[i]);
    }
    for (int v = 0; v < FQ_KERNEL_SUMS && p->each; v++) {
        memset(w->with->value[v], 0, count * sizeof(double));
    }
    w->waiting = 0;
}

/* `rows` rows of w->n elements at the cursor, from this column on. */
static void run_item(worker *w, size_t column, size_t rows)
{
    const fq_plan *p = w->c->plan;
    char *data[FQ_MAX_ARRAYS + FQ_KERNEL_SUMS], *at[FQ_MAX_ARRAYS];
    for (int a = 0; a < p->shape->arrays; a++) {
        at[a] = w->at.data[a] + (ptrdiff_t)fq_items_before(p, a, column) * p->step[a];
        data[a] = p->contiguous ? at[a] : w->with->buffer[a];
        if (!p->contiguous && a >= p->shape->outputs) {
            fq_copy_strided(data[a], (ptrdiff_t)p->size[a], at[a], p->step[a], p->size[a], fq_items_in(p, a, w->n));
        }
    }
    for (int v = 0; v < FQ_KERNEL_SUMS; v++) {
        data[FQ_MAX_ARRAYS + v] = (char *)w->with->value[v];
    }
    w->params.rows = rows;
    p->kernels[fq_way_in(w->place.room, p, p->each)](data, w->n, &w->params);
    for (int a = 0; !p->contiguous && a < p->shape->outputs; a++) {
        fq_copy_strided(at[a], p->step[a], data[a], (ptrdiff_t)p->size[a], p->size[a], fq_items_in(p, a, w->n));
    }
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Elements [column, column + n) of so many rows that follow each other in the line. */
static void run_rows(worker *w, size_t column, size_t n, size_t rows)
{
    const cut *c = w->c;
    const fq_plan *p = c->plan;
    for (size_t some; rows > 0; rows -= some) {
        const size_t sum = w->at.sum + column * c->inner.sum;
        if (w->sum != sum || w->n != n) {
            flush(w);
        }
        const size_t set = p->each ? column : p->set_axis < 0 ? 0 : w->at.place[p->set_axis];
        const size_t ready = fq_use(&w->place, p, &w->at, set, &w->params);
        some = least(least(rows, c->together), w->params.next_set ? ready : c->waits - w->waiting);
        w->sum = sum, w->n = n, w->waiting += some;
        run_item(w, column, some);
        if (!p->each || w->waiting == c->waits) {
            flush(w);
        }
        if (fq_move_on(&w->at, p, p->line, some)) {
            fq_forget(&w->place, p);
        }
    }
}
static void run_piece(worker *w, size_t piece)
{
    const cut *c = w->c;
    const fq_plan *p = c->plan;
    const size_t first = first_item(c, piece), end = first_item(c, piece + 1);
    w->part = &c->part[piece], w->waiting = w->n = w->sum = 0;
    memset(w->with->value, 0, sizeof w->with->value);
    for (size_t i = first, some; i < end; i += some) {
        const size_t column = i / p->rows * c->block, line = c->outer.length - i % c->outer.length;
        const size_t left = p->n - column, n = left < c->block ? left : c->block;
        some = line < end - i ? line : end - i;
        if (i % p->rows == 0 || i == first) {
            flush(w);
            fq_start(&w->at, p, i % p->rows);
            fq_forget(&w->place, p);
        }
        run_rows(w, column, n, some);
    }
    flush(w);
}

static void run_pieces(void *context, size_t index, size_t from, size_t to)
{
    const cut *c = context;
    worker w = {.c = c,
                .params = {.next_set = c->plan->set_axis == c->plan->line,
                           .ahead = c->ahead,
                           .residual = fq_residual_bits(c->plan->shape)}};
    fq_settle(&w.place, c->plan, index);
    w.with = (scratch *)(void *)w.place.scratch;
    for (int a = 0; a < FQ_MAX_ARRAYS; a++) {
        w.params.row[a] = c->outer.array[a];
    }
    for (size_t piece = from; piece < to; piece++) {
        run_piece(&w, piece);
    }
}

/* The pieces depend on the sizes alone, so that the sums do too. */
static void cut_call(cut *c, fq_plan *p)
{
    const fq_loop *axis = p->call->axis;
    c->plan = p, c->sets = 1, c->codes = fq_residual_bits(p->shape) ? FQ_CODES(fq_residual_bits(p->shape)) : 0;
    c->inner = axis[p->line + 1], c->outer = axis[p->line];
    c->block = p->contiguous && !p->each ? BLOCK : FQ_CHUNK;
    for (int a = 0; a < p->call->axes; a++) {
        c->sets *= fq_varies(&axis[a]) ? axis[a].length : 1;
    }
    c->items = p->rows * ((p->n + c->block - 1) / c->block);
    c->once = c->sets == (p->each ? p->rows * p->n : c->items);
    c->together = !p->contiguous || (p->each && !p->alike) ? 1 : p->each ? TOGETHER : FQ_CHUNK;
    c->waits = !p->each ? FQ_CHUNK : c->once ? 1 : FLUSH_AFTER;
    /* Where rows are cut into blocks of columns, what comes next is the same block of the next row. Rows together fetch those
     * after the next ones: measured. */
    c->ahead = p->each && c->together > 1   ? 2 * (ptrdiff_t)c->together * c->outer.array[0]
               : p->each && p->n > c->block ? c->outer.array[0]
                                            : AHEAD;
    c->pieces = least(p->rows * p->n / PIECE_FROM, MOST_PIECES);
    while (!c->once && c->pieces > 1 && c->pieces * c->sets > MOST_PARTIAL_SUMS) {
        c->pieces--;
    }
    c->pieces = least(c->pieces > 0 ? c->pieces : 1, c->items);
}

/* A piece inside one block meets only the sets of its range of the outermost axis. */
static part part_of(const cut *c, size_t piece)
{
    const fq_loop *axis = c->plan->call->axis;
    const size_t from = first_item(c, piece), last = first_item(c, piece + 1) - 1, rows = c->plan->rows;
    part all = {0, c->sets, NULL};
    if (from / rows == last / rows) {
        const size_t inside = rows / axis[0].length;
        const size_t left = axis[0].length - 1 - last % rows / inside;
        all.first = from % rows / inside * axis[0].sum;
        all.sets -= all.first + left * axis[0].sum;
    }
    return all;
}

/* Adds the pieces' sums to those of all sets, which start as zeros. */
static void merge(const cut *c, set_sums *all)
{
    for (size_t piece = 0; piece < c->pieces; piece++) {
        const part *from = &c->part[piece];
        for (size_t i = 0; i < from->sets * FQ_KERNEL_SUMS; i++) {
            exact_sum *to = &all[from->first + i / FQ_KERNEL_SUMS].of[i % FQ_KERNEL_SUMS];
            const exact_sum *one = &from->sums[i / FQ_KERNEL_SUMS].of[i % FQ_KERNEL_SUMS];
            add(to, one->sum);
            to->lost += one->lost;
        }
    }
}

/* Stores the results of each set, whose parameters are made ready once more. */
static void store(const cut *c, const set_sums *all)
{
    fq_plan *p = c->plan;
    const size_t step = p->set_axis < 0 ? 0 : p->call->axis[p->set_axis].sum;
    fq_workplace place;
    fq_cursor at;
    fq_params params;
    fq_settle(&place, p, 0);
    fq_start(&at, p, 0);
    do {
        fq_forget(&place, p);
        for (size_t set = 0, ready; set < fq_sets_along(p); set += ready) {
            ready = fq_use(&place, p, &at, set, &params);
            for (size_t i = 0; i < ready; i++) {
                const size_t sum = at.sum + (set + i) * step;
                const exact_sum *of = all[sum].of;
                store_set(p->call->sums, sum, total(&of[0]), total(&of[1]), total(&of[2]),
                          fq_set_at(params.sets, i, p->arithmetic), c->codes);
            }
        }
    } while (fq_next_place(&at, p));
}

/* Reserves the sums of all sets, then those of the pieces. */
static set_sums *reserve_sums(cut *c)
{
    size_t sets = c->sets;
    for (size_t piece = 0; piece < c->pieces; piece++) {
        c->part[piece] = part_of(c, piece);
        sets += c->part[piece].sets;
    }
    set_sums *all = calloc(sets, sizeof *all), *next = all + c->sets;
    for (size_t piece = 0; all != NULL && piece < c->pieces; next += c->part[piece++].sets) {
        c->part[piece].sums = next;
    }
    return all;
}

fq_status fq_reduce(fq_plan *p, fq_values *bad)
{
    cut c;
    cut_call(&c, p);
    const size_t workers = least(fq_pieces(p->rows * p->n, THREAD_GRAIN), c.pieces);
    fq_status status = fq_prepare(p, workers, sizeof(scratch), bad);
    set_sums *all = status == FQ_OK && !c.once ? reserve_sums(&c) : NULL;
    if (status == FQ_OK && !c.once && all == NULL) {
        status = FQ_NO_MEMORY;
    }
    if (status == FQ_OK) {
        fq_parallel(c.pieces, workers, run_pieces, &c);
    }
    if (status == FQ_OK && !c.once) {
        merge(&c, all);
        store(&c, all);
    }
    free(all);
    return status;
}
