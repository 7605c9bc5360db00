/* The rows of one array, cut into blocks: what the runners of an observer share. */
#ifndef FQ_ROWS_H
#define FQ_ROWS_H

#include "plan.h"
#include "strided.h"

typedef struct {
    fq_loop inner, line; /* the axes along a row, and from a row to the next */
    size_t size;         /* of an element, in bytes */
    int contiguous;      /* each row */
    size_t block, blocks, rows; /* elements of a block; blocks of a row */
} fq_rows;

/* After fq_join. Rows whose elements lie apart are cut so that they fit a buffer. */
static inline void fq_cut_rows(fq_rows *r, const fq_call *call, size_t block, size_t buffer)
{
    r->inner = call->axis[call->axes - 1], r->line = call->axis[call->axes - 2];
    r->size = fq_size_of(call->type);
    r->contiguous = r->inner.array[0] == (ptrdiff_t)r->size || r->inner.length == 1;
    r->block = r->contiguous || block < buffer ? block : buffer;
    r->blocks = (r->inner.length + r->block - 1) / r->block;
    r->rows = 1;
    for (int axis = 0; axis < call->axes - 1; axis++) {
        r->rows *= call->axis[axis].length;
    }
}

/* Where a block of a row is: n elements, and how many rows of its line there are from this one on. */
typedef struct {
    const char *data;
    size_t n, left, set;
} fq_place;

/* data: of the first element. */
static inline fq_place fq_place_of(const fq_rows *r, const fq_call *call, const char *data, size_t block, size_t row)
{
    const size_t column = block * r->block;
    fq_place at = {data + (ptrdiff_t)column * r->inner.array[0], r->inner.length - column, 1, column * r->inner.sum};
    at.n = at.n < r->block ? at.n : r->block;
    for (int axis = call->axes - 2; axis >= 0; axis--) {
        const fq_loop *loop = &call->axis[axis];
        const size_t place = row % loop->length;
        at.left = axis == call->axes - 2 ? loop->length - place : at.left;
        at.data += (ptrdiff_t)place * loop->array[0];
        at.set += place * loop->sum;
        row /= loop->length;
    }
    return at;
}

/* Copies rows whose elements lie apart to the buffer, and gives the bytes from a row to the next. */
static inline ptrdiff_t fq_gather(const fq_rows *r, fq_place *at, size_t rows, char *buffer)
{
    const ptrdiff_t size = (ptrdiff_t)r->size, row = (ptrdiff_t)at->n * size;
    if (r->contiguous) {
        return r->line.array[0];
    }
    for (size_t i = 0; i < rows; i++) {
        fq_copy_strided(buffer + (ptrdiff_t)i * row, size, at->data + (ptrdiff_t)i * r->line.array[0],
                        r->inner.array[0], r->size, at->n);
    }
    at->data = buffer;
    return row;
}

#endif
