/* What the runners of a call share: the plan, its memory, and where a worker is in it. */
#ifndef FQ_WALK_H
#define FQ_WALK_H

#include <string.h>

#include "operations.h"
#include "plan.h"

/* A call made ready: lines of rows of n elements. A row lies along the innermost axis, the rows of a line along the one around
 * it; there are always these two. */
typedef struct {
    const fq_call *call;
    const fq_operation *shape;
    fq_kernel *const *kernels;
    fq_arithmetic arithmetic;
    fq_storage storage; /* of the integers, where there are any */
    size_t n, rows; /* rows of all lines */
    ptrdiff_t step[FQ_MAX_ARRAYS]; /* along a row, in bytes */
    size_t size[FQ_MAX_ARRAYS];    /* of an item, in bytes */
    uint8_t shift[FQ_MAX_ARRAYS];  /* 2 to this power items share a byte */
    int line;                      /* the axis of the rows of a line */
    int contiguous;                /* each row, in all arrays */
    size_t bit_row; /* elements of the short rows that were joined to one, whose bits begin a byte of their own; or 0 */
    int set_axis; /* the innermost axis along which a parameter varies; -1: none */
    int each; /* that is the axis of a row: each element has a set */
    int alike; /* all rows of a line have the same sets, or each the one after that of the row before */
    int whole; /* the room holds all sets of the call, for all workers */
    size_t most; /* sets in a room */
    fq_room room; /* of the checks, and of worker 0 */
    size_t scratch; /* bytes of a worker besides its room */
    char *memory; /* a room and scratch for each worker; `few`, or from malloc */
    _Alignas(CACHE_LINE) char few[(2 * FQ_PARAMETERS + 1) * FQ_FEW_SETS * sizeof(double)];
} fq_plan;

fq_status fq_map(fq_plan *p, fq_values *bad);
fq_status fq_reduce(fq_plan *p, fq_values *bad);

/* Reserves memory for the workers, and refuses what any row would. Afterwards nothing can fail. */
fq_status fq_prepare(fq_plan *p, size_t workers, size_t scratch, fq_values *bad);

/* How far n elements reach along a row of array a: in bytes where several share one, else in items. */
static inline size_t fq_items_in(const fq_plan *p, int a, size_t n)
{
    return (n + ((size_t)1 << p->shift[a]) - 1) >> p->shift[a];
}

/* Items of array a from the beginning of a row to its element n. */
static inline size_t fq_items_before(const fq_plan *p, int a, size_t n)
{
    return p->bit_row > 0 && p->shift[a] > 0 ? n / p->bit_row * fq_items_in(p, a, p->bit_row) : fq_items_in(p, a, n);
}

static inline int fq_varies(const fq_loop *axis)
{
    return axis->given[0] || axis->given[1] || axis->given[2] || axis->given[3] || axis->given[4];
}

/* Where a worker is: a row, as an index along each axis outside of it. */
typedef struct {
    char *data[FQ_MAX_ARRAYS];
    fq_given given; /* the parameters from the first set of the set axis on */
    size_t sum; /* as fq_sets counts them */
    size_t place[FQ_MOST_AXES];
} fq_cursor;

static inline void fq_move(fq_cursor *at, const fq_plan *p, int axis, ptrdiff_t by)
{
    const fq_loop *loop = &p->call->axis[axis];
    at->place[axis] += (size_t)by;
    at->sum += (size_t)by * loop->sum;
    for (int a = 0; a < p->shape->arrays; a++) {
        at->data[a] += by * loop->array[a];
    }
    for (int k = 0; axis != p->set_axis && k < fq_given_of(p->shape); k++) {
        at->given.data[k] += by * loop->given[k];
    }
}

/* Moves on by so many along this axis, not beyond its end; from the end back to its beginning and on along the axes outside of
 * it. Gives whether the parameters along the set axis are others now. */
static inline int fq_move_on(fq_cursor *at, const fq_plan *p, int axis, size_t by)
{
    int others = 0;
    for (; axis >= 0; axis--, by = 1) {
        const fq_loop *loop = &p->call->axis[axis];
        others |= axis != p->set_axis && p->shape->parameters && fq_varies(loop);
        if (at->place[axis] + by < loop->length) {
            fq_move(at, p, axis, (ptrdiff_t)by);
            break;
        }
        fq_move(at, p, axis, -(ptrdiff_t)at->place[axis]);
    }
    return others;
}

static inline void fq_start(fq_cursor *at, const fq_plan *p, size_t row)
{
    memcpy(at->data, p->call->data, sizeof at->data);
    at->sum = 0;
    if (p->shape->parameters) {
        memcpy(at->given.data, p->call->given, sizeof at->given.data);
        memset(at->given.step, 0, sizeof at->given.step);
    }
    if (p->set_axis >= 0) {
        memcpy(at->given.step, p->call->axis[p->set_axis].given, sizeof at->given.step);
    }
    memset(at->place, 0, (size_t)(p->line + 1) * sizeof *at->place);
    for (int axis = p->line; row > 0; axis--) {
        const size_t length = p->call->axis[axis].length;
        fq_move(at, p, axis, (ptrdiff_t)(row % length));
        row /= length;
    }
}

/* To the next place of the axes outside of the sets' along which a parameter varies; 0 after the last one. */
static inline int fq_next_place(fq_cursor *at, const fq_plan *p)
{
    for (int axis = p->line; axis >= 0; axis--) {
        const fq_loop *loop = &p->call->axis[axis];
        if (axis == p->set_axis || !fq_varies(loop)) {
            continue;
        }
        if (at->place[axis] + 1 < loop->length) {
            fq_move(at, p, axis, 1);
            return 1;
        }
        fq_move(at, p, axis, -(ptrdiff_t)at->place[axis]);
    }
    return 0;
}

/* How many sets lie along the set axis. */
static inline size_t fq_sets_along(const fq_plan *p) { return p->set_axis < 0 ? 1 : p->call->axis[p->set_axis].length; }

/* Makes the sets of the room those from this one on, as many as there is room for. */
static inline fq_status fq_make_from(const fq_plan *p, fq_room *room, const fq_given *given, size_t from,
                                     fq_values *bad)
{
    const size_t left = fq_sets_along(p) - from;
    return fq_make_ready(room, given, from, left < room->most ? left : room->most, p->arithmetic, p->each, bad);
}

/* The room and the scratch of a worker. */
typedef struct {
    fq_room *room; /* the plan's, or its own */
    fq_room own;
    char *scratch;
} fq_workplace;

static inline void fq_settle(fq_workplace *at, fq_plan *p, size_t worker)
{
    char *memory = p->memory + worker * (fq_room_size(p->most) + p->scratch);
    at->room = &p->room, at->scratch = memory + fq_room_size(p->most);
    if (worker > 0 && !p->whole) {
        at->room = &at->own;
        fq_start_room(&at->own, memory, p->most, p->arithmetic);
    }
}

/* The parameters along the set axis are others now. */
static inline void fq_forget(const fq_workplace *at, const fq_plan *p)
{
    if (!p->whole) {
        at->room->n = 0;
    }
}

/* Points params at this set and gives how many from there on are ready. The checks have refused none of them. */
static inline size_t fq_use(fq_workplace *at, const fq_plan *p, const fq_cursor *cursor, size_t set, fq_params *params)
{
    fq_room *room = at->room;
    if (set - room->from >= room->n) {
        fq_values bad;
        fq_make_from(p, room, &cursor->given, set - set % room->most, &bad);
    }
    params->sets = fq_skip_sets(room->at, set - room->from, p->arithmetic);
    return room->n - (set - room->from);
}

/* each: whether the elements of a row have sets of their own. */
static inline fq_way fq_way_in(const fq_room *room, const fq_plan *p, int each)
{
    if (!p->shape->divides) {
        return each ? FQ_DIVIDE_EACH : FQ_DIVIDE;
    }
    return !each ? fq_way_of(room, p->arithmetic) : p->arithmetic.reciprocal ? FQ_MULTIPLY_EACH : FQ_DIVIDE_EACH;
}

#endif
