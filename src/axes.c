/* Makes rows of contiguous arrays of any number of axes. */
#include "axes.h"

#include <string.h>

static int continues(const fq_axes *axes, size_t size, const ptrdiff_t *step)
{
    for (int k = 0; k < FQ_PARAMETERS; k++) {
        if (axes->step[axes->count - 1][k] != step[k] * (ptrdiff_t)size) {
            return 0;
        }
    }
    return 1;
}

void fq_add_axis(fq_axes *axes, size_t size, const ptrdiff_t *step, int alone)
{
    if (size == 1 && !alone) {
        return;
    }
    if (!alone && axes->count > 0 && continues(axes, size, step)) {
        axes->size[axes->count - 1] *= size;
    }
    else {
        axes->size[axes->count++] = size;
    }
    memcpy(axes->step[axes->count - 1], step, sizeof axes->step[0]);
}

static int varies(const fq_axes *axes, int axis)
{
    const ptrdiff_t *step = axes->step[axis];
    return step[0] != 0 || step[1] != 0 || step[2] != 0 || step[3] != 0;
}

/* The axes that one call of fq_rows walks; those outside of `walked` are left, and keys is the axis of the keys or -1. */
typedef struct {
    fq_shape shape;
    int walked, keys;
} split;

static split split_of(const fq_axes *axes)
{
    int axis = axes->count - 1;
    split s = {{1, 1, 1, axis < 0 ? 1 : axes->size[axis]}, axis, -1};
    if (axis > 0 && !varies(axes, axis - 1)) {
        s.shape.rows = axes->size[--axis];
    }
    if (axis > 0) {
        s.keys = --axis;
        s.shape.keys = axes->size[axis];
    }
    if (axis > 0 && !varies(axes, axis - 1)) {
        s.shape.repeats = axes->size[--axis];
    }
    s.walked = axis;
    return s;
}

/* The parameters at `place`, which names an index along each axis that is left. */
static fq_given given_at(const fq_axes *axes, const split *s, const char *const *given, const size_t *place)
{
    static const ptrdiff_t none[FQ_PARAMETERS];
    const ptrdiff_t *step = axes->count > 0 ? axes->step[axes->count - 1] : none;
    const ptrdiff_t *key = s->keys >= 0 ? axes->step[s->keys] : none;
    const char *at[FQ_PARAMETERS];
    for (int k = 0; k < FQ_PARAMETERS; k++) {
        at[k] = given[k];
        for (int axis = 0; axis < s->walked; axis++) {
            at[k] += (ptrdiff_t)place[axis] * axes->step[axis][k];
        }
    }
    return (fq_given){at[0], at[1], at[2], at[3], step[0], step[1], step[2], step[3], key[0], key[1], key[2], key[3]};
}

static int is_empty(const fq_axes *axes)
{
    for (int axis = 0; axis < axes->count; axis++) {
        if (axes->size[axis] == 0) {
            return 1;
        }
    }
    return 0;
}

/* Counts on to the next place; 0 after the last. */
static int next_place(size_t *place, const fq_axes *axes, int walked)
{
    for (int axis = walked - 1; axis >= 0; axis--) {
        if (++place[axis] < axes->size[axis]) {
            return 1;
        }
        place[axis] = 0;
    }
    return 0;
}

fq_status fq_over_axes(const fq_call *call, char *const *data, const fq_axes *axes, const char *const *given,
                       fq_values *bad)
{
    const split s = split_of(axes);
    const size_t rows = s.shape.repeats * s.shape.keys * s.shape.rows;
    fq_arrays arrays = fq_without_gaps(call, data, s.shape.n);
    size_t place[FQ_MOST_AXES] = {0};
    if (is_empty(axes)) {
        return FQ_OK;
    }
    do {
        const fq_given g = given != NULL ? given_at(axes, &s, given, place) : (fq_given){0};
        const fq_status status = fq_rows(call, &arrays, &s.shape, given != NULL ? &g : NULL, bad);
        if (status != FQ_OK) {
            return status;
        }
        for (int k = 0; k < FQ_MAX_ARRAYS; k++) {
            arrays.data[k] += (ptrdiff_t)rows * arrays.row_step[k];
        }
    } while (next_place(place, axes, s.walked));
    return FQ_OK;
}
