/* Runs the learnable backward piece by piece, each with sums of its own, which are added up in the pieces' order. */
#include "learnable.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "fpflags.h"
#include "strided.h"
#include "threads.h"

enum {
    BLOCK = 4096,       /* elements of a row that are summed before they are added to the sum of their key */
    FLUSH_AFTER = 1024, /* rows likewise, where each column has a key */
    TOGETHER = 8,      /* of these rows go to a kernel */
    AHEAD = 2048,       /* bytes to fetch ahead */
    MOST_PIECES = 16,
    PIECE_FROM = 32 * 1024,       /* elements from which a piece gains */
    MOST_PARTIAL_SUMS = 256 * 1024 /* of all pieces together */
};

/* A sum with what its rounding lost (Neumaier). */
typedef struct {
    double sum, lost;
} exact_sum;

static void add(exact_sum *to, double v)
{
    const double sum = to->sum + v;
    to->lost += fabs(to->sum) >= fabs(v) ? (to->sum - sum) + v : (v - sum) + to->sum;
    to->sum = sum;
}

/* An infinite sum has lost a NaN on the way. */
static double total(const exact_sum *s) { return isfinite(s->sum) ? s->sum + s->lost : s->sum; }

typedef struct {
    exact_sum scale, zero_point;
} key_sums;

/* The sums of a piece: of the keys that it may meet. */
typedef struct {
    size_t first, keys;
    key_sums *sums;
} part;

/* How a call is cut: items, each a block of one row, in the order of blocks, then rows. */
typedef struct {
    const fq_learnable_call *call;
    const fq_axis *outer, *inner; /* the last two */
    int each;       /* parameters or keys of their own along the innermost axis */
    size_t together; /* rows that a kernel may take: those which share their keys, as each and the next one do */
    int contiguous; /* along the innermost axis */
    size_t block, rows, items, pieces;
    ptrdiff_t ahead;
    part part[MOST_PIECES];
    fq_status *status;
    fq_values *bad;
} plan;

static size_t first_item(const plan *p, size_t piece) { return p->items * piece / p->pieces; }

/* What a piece carries from one item to the next. */
typedef struct {
    const plan *plan;
    const part *part;
    ptrdiff_t key; /* of the sums that wait */
    size_t n, waiting;
    fq_given given; /* of the parameters that are ready */
    fq_params params;
    fq_kernel *kernel;
    fq_room room;
    _Alignas(CACHE_LINE) double of_scale[FQ_CHUNK];
    _Alignas(CACHE_LINE) double outside[FQ_CHUNK];
    _Alignas(CACHE_LINE) char buffer[3][FQ_CHUNK * FQ_WIDEST];
} worker;

/* An item's first element. */
typedef struct {
    char *dx;
    const char *dy, *x;
    ptrdiff_t key;
    size_t n;
    fq_given given;
} item;

static void step(item *at, const fq_axis *axis, size_t by)
{
    const ptrdiff_t k = (ptrdiff_t)by;
    at->dx += k * axis->dx, at->dy += k * axis->dy, at->x += k * axis->x, at->key += k * axis->key;
    at->given.scale += k * axis->scale, at->given.zero_point += k * axis->zero_point;
    at->given.qmin += k * axis->qmin, at->given.qmax += k * axis->qmax;
}

static item item_at(const plan *p, size_t index)
{
    const fq_learnable_call *c = p->call;
    const fq_axis *inner = p->inner;
    const size_t from = index / p->rows * p->block, left = inner->length - from;
    size_t row = index % p->rows;
    item at = {c->dx, c->dy, c->x, 0, left < p->block ? left : p->block, {0}};
    at.given = (fq_given){
        c->scale, c->zero_point, c->qmin, c->qmax, inner->scale, inner->zero_point, inner->qmin, inner->qmax, 0, 0, 0,
        0};
    step(&at, inner, from);
    for (int a = c->axes - 2; a >= 0; a--) {
        step(&at, &c->axis[a], row % c->axis[a].length);
        row /= c->axis[a].length;
    }
    return at;
}

static double scale_at(const worker *w, size_t i)
{
    if (!w->plan->each) {
        return w->params.scale;
    }
    return w->plan->call->type == FQ_F64 ? w->room.each.f64.scale[i] : (double)w->room.each.f32.scale[i];
}

static void flush(worker *w)
{
    const size_t sums = w->plan->each ? w->n : 1;
    if (w->waiting == 0) {
        return;
    }
    for (size_t i = 0; i < sums; i++) {
        key_sums *to = &w->part->sums[w->key + (ptrdiff_t)i * w->plan->inner->key - (ptrdiff_t)w->part->first];
        add(&to->scale, w->of_scale[i]);
        add(&to->zero_point, -(w->outside[i] * scale_at(w, i)));
        w->of_scale[i] = w->outside[i] = 0;
    }
    w->waiting = 0;
}

static int same_parameters(const fq_given *a, const fq_given *b)
{
    return a->scale == b->scale && a->zero_point == b->zero_point && a->qmin == b->qmin && a->qmax == b->qmax;
}

/* Makes the parameters of an item ready, unless the last item's were the same. */
static fq_status prepare(worker *w, const item *at, fq_values *bad)
{
    const fq_learnable_call *c = w->plan->call;
    const fq_arithmetic arithmetic = {c->type == FQ_F64, c->reciprocal};
    fq_kernel *const *kernels = fq_target_in_use()->learnable[c->type];
    if (w->kernel != NULL && w->n == at->n && same_parameters(&w->given, &at->given)) {
        return FQ_OK;
    }
    fq_way way = c->reciprocal ? FQ_MULTIPLY_EACH : FQ_DIVIDE_EACH;
    fq_status status;
    if (w->plan->each) {
        w->room.filled = 0;
        status = fq_params_of_each(&w->params, &w->room, &at->given, 0, at->n, arithmetic, bad);
    }
    else {
        status = fq_params_of_all(&w->params, &way, &at->given, arithmetic, bad);
    }
    if (way == FQ_DIVIDE_FAST && w->params.scale > FQ_LEARN_FAST_TO) {
        way = FQ_DIVIDE;
    }
    w->params.ahead = w->plan->ahead;
    w->kernel = kernels[way];
    w->given = at->given;
    return status;
}

static void run_item(worker *w, const item *at, size_t rows)
{
    const fq_axis *inner = w->plan->inner, *outer = w->plan->outer;
    const size_t size = fq_size_of(w->plan->call->type);
    const int direct = w->plan->contiguous;
    char *data[] = {at->dx, (char *)w->of_scale, (char *)w->outside, (char *)(uintptr_t)at->dy,
                    (char *)(uintptr_t)at->x};
    if (!direct) {
        data[0] = w->buffer[0], data[3] = w->buffer[1], data[4] = w->buffer[2];
        fq_copy_strided(data[3], (ptrdiff_t)size, at->dy, inner->dy, size, at->n);
        fq_copy_strided(data[4], (ptrdiff_t)size, at->x, inner->x, size, at->n);
    }
    w->params.rows = rows;
    w->params.dx_row = outer->dx, w->params.dy_row = outer->dy, w->params.x_row = outer->x;
    w->kernel(data, at->n, &w->params);
    if (!direct) {
        fq_copy_strided(at->dx, inner->dx, data[0], (ptrdiff_t)size, size, at->n);
    }
}

/* How many of so many rows the kernel takes next. */
static size_t rows_together(const worker *w, size_t items)
{
    const size_t left = FLUSH_AFTER - w->waiting, most = left < w->plan->together ? left : w->plan->together;
    return items < most ? items : most;
}

/* The items that follow each other along the axis outside the innermost one. */
static fq_status run_items(worker *w, item at, size_t items, fq_values *bad)
{
    const plan *p = w->plan;
    for (size_t rows; items > 0; items -= rows) {
        if (w->waiting == (p->each ? FLUSH_AFTER : 1) || w->key != at.key || w->n != at.n) {
            flush(w);
        }
        const fq_status status = prepare(w, &at, bad);
        if (status != FQ_OK) {
            return status;
        }
        rows = rows_together(w, items);
        w->key = at.key, w->n = at.n, w->waiting += rows;
        run_item(w, &at, rows);
        rows == 1 ? step(&at, p->outer, 1) : step(&at, p->outer, rows); /* without multiplying, where it can be */
    }
    return FQ_OK;
}

static fq_status run_piece(const plan *p, size_t piece, worker *w)
{
    const size_t to = first_item(p, piece + 1);
    *w = (worker){.plan = p, .part = &p->part[piece]};
    for (size_t i = first_item(p, piece), items; i < to; i += items) {
        const size_t left = p->outer->length - i % p->outer->length;
        items = left < to - i ? left : to - i;
        const fq_status status = run_items(w, item_at(p, i), items, &p->bad[piece]);
        if (status != FQ_OK) {
            return status;
        }
    }
    flush(w);
    return FQ_OK;
}

static void run_pieces(void *context, size_t from, size_t to)
{
    const plan *p = context;
    worker w;
    for (size_t piece = from; piece < to; piece++) {
        p->status[piece] = run_piece(p, piece, &w);
    }
}

/* The pieces depend on the sizes alone, so that the sums do too. */
static plan plan_of(const fq_learnable_call *c)
{
    static const fq_axis one_element = {.length = 1};
    const fq_axis *inner = c->axes > 0 ? &c->axis[c->axes - 1] : &one_element;
    const ptrdiff_t size = (ptrdiff_t)fq_size_of(c->type);
    const fq_axis *outer = c->axes > 1 ? &c->axis[c->axes - 2] : &one_element;
    plan p = {.call = c, .outer = outer, .inner = inner, .rows = 1};
    p.each = inner->key != 0 && inner->length > 1;
    p.contiguous = inner->length == 1 || (inner->dx == size && inner->dy == size && inner->x == size);
    p.block = p.contiguous && !p.each ? BLOCK : FQ_CHUNK;
    const int shared =
        outer->key == 0 && outer->scale == 0 && outer->zero_point == 0 && outer->qmin == 0 && outer->qmax == 0;
    p.together = p.each && p.contiguous && shared ? TOGETHER : 1;
    /* Where rows are cut into blocks of columns, what comes next is the same block of the next row. Rows together fetch those
     * after the next ones: measured. */
    p.ahead = p.together > 1                      ? 2 * (ptrdiff_t)p.together * outer->x
              : p.each && inner->length > p.block ? outer->x
                                                  : AHEAD;
    for (int a = 0; a < c->axes - 1; a++) {
        p.rows *= c->axis[a].length;
    }
    p.items = p.rows * ((inner->length + p.block - 1) / p.block);
    p.pieces = p.rows * inner->length / PIECE_FROM;
    p.pieces = p.pieces < MOST_PIECES ? p.pieces : MOST_PIECES;
    while (p.pieces > 1 && p.pieces * c->keys > MOST_PARTIAL_SUMS) {
        p.pieces--;
    }
    p.pieces = p.pieces > 0 ? p.pieces : 1;
    p.pieces = p.pieces < p.items ? p.pieces : p.items;
    return p;
}

/* The outermost steps that a piece goes through, unless it goes on to another block, tell its keys. */
static part part_of(const plan *p, size_t piece)
{
    const fq_learnable_call *c = p->call;
    const size_t from = first_item(p, piece), last = first_item(p, piece + 1) - 1;
    part all = {0, c->keys, NULL};
    if (c->axes > 1 && from / p->rows == last / p->rows) {
        const size_t rows = p->rows / c->axis[0].length, key = (size_t)c->axis[0].key;
        const size_t left = c->axis[0].length - 1 - last % p->rows / rows;
        all.first = from % p->rows / rows * key;
        all.keys -= all.first + left * key;
    }
    return all;
}

/* Makes room for the sums of all pieces, and behind them for those of the keys, which it gives, or NULL. Whoever calls
 * frees that of the first piece. */
static key_sums *make_parts(plan *p)
{
    size_t sums = 0;
    for (size_t piece = 0; piece < p->pieces; piece++) {
        p->part[piece] = part_of(p, piece);
        sums += p->part[piece].keys;
    }
    key_sums *room = p->part[0].sums = calloc(sums + p->call->keys, sizeof *room);
    for (size_t piece = 0; room != NULL && piece < p->pieces; piece++) {
        p->part[piece].sums = room;
        room += p->part[piece].keys;
    }
    return room;
}

/* Into room behind the sums of the pieces, which starts as zeros. */
static void merge(const plan *p, key_sums *all)
{
    const fq_learnable_call *c = p->call;
    for (size_t piece = 0; piece < p->pieces; piece++) {
        const part *from = &p->part[piece];
        key_sums *to = all + from->first;
        for (size_t key = 0; key < from->keys; key++) {
            const key_sums *one = &from->sums[key];
            add(&to[key].scale, one->scale.sum), to[key].scale.lost += one->scale.lost;
            add(&to[key].zero_point, one->zero_point.sum), to[key].zero_point.lost += one->zero_point.lost;
        }
    }
    for (size_t key = 0; key < c->keys; key++) {
        c->of_scale[key] = total(&all[key].scale);
        c->of_zero_point[key] = total(&all[key].zero_point);
    }
}

static int continues(const fq_axis *outer, const fq_axis *inner)
{
    const ptrdiff_t n = (ptrdiff_t)inner->length;
    return outer->dx == n * inner->dx && outer->dy == n * inner->dy && outer->x == n * inner->x &&
           outer->scale == n * inner->scale && outer->zero_point == n * inner->zero_point &&
           outer->qmin == n * inner->qmin && outer->qmax == n * inner->qmax && outer->key == n * inner->key;
}

static size_t distance(ptrdiff_t step) { return step < 0 ? 0 - (size_t)step : (size_t)step; }

void fq_learnable_add_axis(fq_learnable_call *call, fq_axis axis)
{
    if (axis.length == 1) {
        return;
    }
    fq_axis *at = &call->axis[call->axes++];
    /* An axis along which x is broadcast stays where it is, and what comes later inside of it. */
    for (; at > call->axis && at[-1].x != 0 && distance(at[-1].x) < distance(axis.x); at--) {
        *at = at[-1];
    }
    *at = axis;
}

/* Makes one axis of those that go on with each other in every array. */
static void join_axes(fq_learnable_call *call)
{
    int axes = 0;
    for (int a = 0; a < call->axes; a++) {
        fq_axis axis = call->axis[a];
        if (axes > 0 && continues(&call->axis[axes - 1], &axis)) {
            axis.length *= call->axis[--axes].length;
        }
        call->axis[axes++] = axis;
    }
    call->axes = axes;
}

fq_status fq_learnable(fq_learnable_call *call, fq_values *bad)
{
    join_axes(call);
    fq_status status[MOST_PIECES] = {FQ_OK}, result = FQ_OK;
    fq_values refused[MOST_PIECES];
    plan p = plan_of(call);
    p.status = status, p.bad = refused;
    key_sums *all = make_parts(&p);
    if (all == NULL) {
        return FQ_NO_MEMORY;
    }
    const fq_fpflags flags = fq_fpflags_save();
    fq_parallel(p.pieces, 1, 1, run_pieces, &p);
    for (size_t piece = 0; piece < p.pieces && result == FQ_OK; piece++) {
        result = status[piece];
        *bad = refused[piece];
    }
    if (result == FQ_OK) {
        merge(&p, all);
    }
    fq_fpflags_restore(flags);
    free(p.part[0].sums);
    return result;
}
