/* Sorts and joins the axes of a call, checks its parameters, and hands it to the runner of its kind. */
#include "walk.h"

#include <stdlib.h>

#include "cache.h"
#include "dispatch.h"
#include "fpflags.h"

enum {
    MOST_READY = 8192, /* sets of a row that are kept ready for all rows */
    SHORT_CALL = 64 * 1024, /* elements that one kernel takes at once */
    SHORT_ROW = 256    /* elements of rows of bits, below which rows are joined that each begin a byte */
};

static size_t distance(ptrdiff_t step) { return step < 0 ? 0 - (size_t)step : (size_t)step; }

/* From the outermost in the memory of x to the innermost; an axis along which x is broadcast stays where it is. */
static void sort_axes(fq_call *call, int x, int first_fixed)
{
    for (int i = 1; i < first_fixed; i++) {
        const fq_loop axis = call->axis[i];
        int at = i;
        for (; at > 0 && call->axis[at - 1].array[x] != 0 &&
               distance(call->axis[at - 1].array[x]) < distance(axis.array[x]);
             at--) {
            call->axis[at] = call->axis[at - 1];
        }
        if (at < i) {
            call->axis[at] = axis;
        }
    }
}

static int has_integers(const fq_call *call) { return (int)call->op >= (int)FQ_UFUNCS && (int)call->op < (int)FQ_MAPS; }

static fq_arithmetic arithmetic_of(const fq_call *call, const fq_operation *shape)
{
    return (fq_arithmetic){call->type == FQ_F64, call->rule == FQ_RECIPROCAL, (uint8_t)has_integers(call),
                           fq_residual_bits(shape) > 0, call->rule == FQ_FLOATS};
}

static size_t per_byte_in(const fq_call *call, char kind)
{
    return kind == FQ_INTEGERS ? call->storage.per_byte : fq_per_byte(kind);
}

/* Whether rows of packed bits begin a byte of their own and lie without gaps, in all arrays: short ones are joined nevertheless. */
static int has_short_rows(const fq_call *call, const fq_loop *row, const fq_operation *shape)
{
    for (int a = 0; a < shape->arrays; a++) {
        const int others = shape->kind[a] == FQ_INTEGERS || shape->kind[a] == FQ_NIBBLES;
        if (others || row->array[a] != (ptrdiff_t)fq_item_size(shape->kind[a], call->type)) {
            return 0;
        }
    }
    return row->length < SHORT_ROW && !fq_varies(row);
}

/* Whether the outer axis continues the inner one, along which bits are packed if it is `last`. */
static int goes_on(const fq_call *call, const fq_loop *outer, const fq_loop *inner, const fq_operation *shape, int last)
{
    const ptrdiff_t n = (ptrdiff_t)inner->length;
    for (int a = 0; a < shape->arrays; a++) {
        const ptrdiff_t per_byte = last ? (ptrdiff_t)per_byte_in(call, shape->kind[a]) : 1;
        const ptrdiff_t items = per_byte == 1 ? n : (n + per_byte - 1) / per_byte;
        if (outer->array[a] != items * inner->array[a] || (n % per_byte != 0 && !has_short_rows(call, inner, shape))) {
            return 0;
        }
    }
    for (int k = 0; k < fq_given_of(shape); k++) {
        if (outer->given[k] != n * inner->given[k]) {
            return 0;
        }
    }
    return outer->sum == inner->length * inner->sum;
}

/* Makes one axis of those that go on with each other in every array, and of none or one two. 0: there are no elements. */
static int join_axes(fq_call *call, const fq_operation *shape, int packed)
{
    int axes = 0, some = 1;
    for (int a = 0; a < call->axes; a++) {
        fq_loop axis = call->axis[a];
        const int last = a == call->axes - 1;
        some &= axis.length > 0;
        if (axis.length == 1 && !(packed && last)) {
            continue;
        }
        if (axes > 0 && goes_on(call, &call->axis[axes - 1], &axis, shape, last)) {
            axis.length *= call->axis[--axes].length;
        }
        call->axis[axes++] = axis;
    }
    for (; axes < 2; axes++) {
        call->axis[1] = axes == 1 ? call->axis[0] : (fq_loop){.length = 1};
        call->axis[0] = (fq_loop){.length = 1};
    }
    call->axes = axes;
    return some;
}

static fq_status check_all(fq_plan *p, fq_values *bad)
{
    fq_cursor at;
    fq_status status = FQ_OK;
    fq_start(&at, p, 0);
    do {
        for (size_t set = 0; set < fq_sets_along(p) && status == FQ_OK; set += p->room.most) {
            status = fq_make_from(p, &p->room, &at.given, set, bad);
        }
    } while (status == FQ_OK && fq_next_place(&at, p));
    if (!p->whole) {
        p->room.n = 0; /* where the checks end is not where the first row begins */
    }
    return status;
}

fq_status fq_prepare(fq_plan *p, size_t workers, size_t scratch, fq_values *bad)
{
    const size_t room = fq_room_size(p->most);
    p->scratch = (scratch + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    p->memory = p->few;
    if (p->scratch > 0 || room > sizeof p->few || (workers > 1 && !p->whole)) {
        p->memory = malloc(workers * (room + p->scratch));
        if (p->memory == NULL) {
            return FQ_NO_MEMORY;
        }
    }
    fq_start_room(&p->room, p->memory, p->most, p->arithmetic);
    return p->shape->parameters ? check_all(p, bad) : FQ_OK;
}

/* What is along a row. */
static void plan_row(fq_plan *p)
{
    const fq_loop *row = &p->call->axis[p->line + 1];
    p->n = row->length;
    p->contiguous = 1;
    for (int a = 0; a < p->shape->arrays; a++) {
        const char kind = p->shape->kind[a];
        const size_t per_byte = per_byte_in(p->call, kind);
        p->shift[a] = (uint8_t)(per_byte == 8 ? 3 : per_byte / 2);
        p->size[a] = kind == FQ_INTEGERS ? p->storage.size : fq_item_size(kind, p->call->type);
        p->step[a] = row->array[a];
        p->contiguous &= p->step[a] == (ptrdiff_t)p->size[a] || fq_items_in(p, a, p->n) == 1;
    }
}

/* Where the sets of parameters are, and how many a room takes: all of a row with a set for each element if they are not too
 * many, since every row wants them again. */
static void plan_sets(fq_plan *p)
{
    const fq_loop *axis = p->call->axis;
    int varying = 0;
    p->set_axis = -1;
    for (int i = 0; p->shape->parameters && i < p->call->axes; i++) {
        if (fq_varies(&axis[i])) {
            p->set_axis = i;
            varying++;
        }
    }
    p->each = p->set_axis > p->line;
    p->alike = !p->each || !fq_varies(&axis[p->line]);
    const size_t sets = (fq_sets_along(p) + FQ_FEW_SETS - 1) / FQ_FEW_SETS * FQ_FEW_SETS;
    p->most = sets <= FQ_CHUNK || (p->each && sets <= MOST_READY) ? sets : FQ_CHUNK;
    p->whole = varying <= 1 && sets == p->most;
}

static void make_plan(fq_plan *p, const fq_call *call, const fq_operation *shape)
{
    p->call = call, p->shape = shape;
    p->kernels = fq_target_in_use()->kernel[call->type][call->op];
    p->arithmetic = arithmetic_of(call, shape);
    p->storage = has_integers(call) ? call->storage : (fq_storage){0};
    p->line = call->axes - 2, p->rows = 1;
    for (int axis = 0; axis <= p->line; axis++) {
        p->rows *= call->axis[axis].length;
    }
    plan_row(p);
    plan_sets(p);
}

int fq_join(fq_call *call)
{
    static const fq_operation one_array = {.inputs = 1, .arrays = 1, .kinds = "v", .kind = "v"};
    sort_axes(call, 0, call->axes);
    return join_axes(call, &one_array, 0);
}

size_t fq_sets(fq_call *call)
{
    size_t sets = 1;
    for (int axis = call->axes - 1; axis >= 0; axis--) {
        call->axis[axis].sum = fq_varies(&call->axis[axis]) ? sets : 0;
        sets *= fq_varies(&call->axis[axis]) || call->axis[axis].length == 0 ? call->axis[axis].length : 1;
    }
    return sets;
}

fq_fold fq_fold_of(const fq_call *call, int k)
{
    fq_fold fold = {.axes = 0};
    size_t step = 1;
    for (int axis = call->axes - 1; axis >= 0; axis--) {
        if (fq_varies(&call->axis[axis])) {
            fold.length[fold.axes] = call->axis[axis].length;
            fold.step[fold.axes++] = call->axis[axis].given[k] != 0 ? step : 0;
            step *= call->axis[axis].given[k] != 0 ? call->axis[axis].length : 1;
        }
    }
    return fold;
}

void fq_fold_sums(double *to, const double *sums, const fq_fold *fold)
{
    size_t place[FQ_MOST_AXES] = {0}, at = 0;
    for (int axis = 0; axis < fold->axes || fold->axes == 0;) {
        to[at] += *sums++;
        for (axis = 0; axis < fold->axes; axis++) {
            at += fold->step[axis];
            if (++place[axis] < fold->length[axis]) {
                break;
            }
            at -= place[axis] * fold->step[axis];
            place[axis] = 0;
        }
        if (fold->axes == 0) {
            return;
        }
    }
}

/* Whether the call is one row without gaps, with one set, too short for threads and for non-temporal stores. */
static int is_short(const fq_call *call, const fq_operation *shape)
{
    const fq_loop *row = &call->axis[1];
    int is_so = call->axes == 2 && call->axis[0].length == 1 && row->length <= SHORT_CALL &&
                row->length * fq_size_of(call->type) <= fq_cache_threshold() && !(shape->parameters && fq_varies(row));
    for (int a = 0; is_so && a < shape->arrays; a++) {
        const char kind = shape->kind[a];
        is_so = row->array[a] == (ptrdiff_t)fq_item_size(kind, call->type) || fq_items(kind, row->length) == 1;
    }
    return is_so;
}

/* Runs such a call, which needs no plan. */
static fq_status run_short(const fq_call *call, const fq_operation *shape, fq_values *bad)
{
    const fq_arithmetic arithmetic = arithmetic_of(call, shape);
    double set[5]; /* the last one for the code of a format */
    fq_params params = {.sets = {&set[0], &set[1], &set[2], &set[3]},
                        .rows = 1,
                        .residual = fq_residual_bits(shape),
                        .op = call->op,
                        .rule = call->rule};
    if (shape->parameters) {
        const fq_status status = fq_make_one(&params.sets, &params.way, call->given, arithmetic, bad);
        if (status != FQ_OK) {
            return status;
        }
    }
    const fq_way kernel = fq_is_even(call->rule) ? params.way : FQ_ROUND;
    fq_target_in_use()->kernel[call->type][call->op][kernel](call->data, call->axis[1].length, &params);
    return FQ_OK;
}

/* Runs a call whose axes are joined. */
static fq_status run_planned(fq_call *call, const fq_operation *shape, size_t bit_row, fq_values *bad)
{
    const int reduces = (int)call->op >= (int)FQ_MAPS;
    fq_plan p;
    make_plan(&p, call, shape);
    p.bit_row = bit_row;
    const fq_status status = reduces ? fq_reduce(&p, bad) : fq_map(&p, bad);
    if (p.memory != p.few) {
        free(p.memory);
    }
    return status;
}

fq_status fq_run(fq_call *call, fq_values *bad)
{
    const fq_operation *shape = fq_operation_of(call->op, call->rule);
    const int bits = strchr(shape->kind, FQ_BIT_MASK) != NULL, reduces = (int)call->op >= (int)FQ_MAPS;
    const int packed = fq_packed_operand(shape) > 0 || (has_integers(call) && call->storage.per_byte > 1);
    size_t bit_row = bits ? call->axis[call->axes - 1].length : 0;
    for (int axis = 0; !reduces && axis < call->axes; axis++) {
        call->axis[axis].sum = 0;
    }
    sort_axes(call, shape->arrays - 1, packed ? call->axes - 1 : call->axes);
    if (!join_axes(call, shape, packed)) {
        return FQ_OK;
    }
    bit_row = bit_row % 8 != 0 && bit_row != call->axis[call->axes - 1].length ? bit_row : 0;
    const fq_fpflags flags = fq_fpflags_save();
    const fq_status status = (int)call->op < (int)FQ_UFUNCS && bit_row == 0 && is_short(call, shape)
                                 ? run_short(call, shape, bad)
                                 : run_planned(call, shape, bit_row, bad);
    fq_fpflags_restore(flags);
    return status;
}
