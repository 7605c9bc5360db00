/* The strided loops: rows of n elements of any strides, in plain C. */
#ifndef FQ_LOOPS_H
#define FQ_LOOPS_H

#include "params.h"

enum { FQ_MAX_ARRAYS = 3 };

/* The arrays of an operation, in the order of fq_op; the rest are unused. Steps are in bytes. */
typedef struct {
    char *data[FQ_MAX_ARRAYS];
    ptrdiff_t step[FQ_MAX_ARRAYS];     /* from an element to the next, in packed masks from a byte to the next */
    ptrdiff_t row_step[FQ_MAX_ARRAYS]; /* from a row to the next */
} fq_arrays;

/* Which function, for which elements. */
typedef struct {
    fq_op op;
    fq_type type;
    int reciprocal;
    int new_outputs; /* in memory not touched before: the system clears it into the cache, so nothing is stored past it */
} fq_call;

/* given is NULL for an operation without parameters. On an error *bad holds the values refused, and the rows from
 * the refused one on are not written. */
fq_status fq_rows(const fq_call *call, const fq_arrays *arrays, size_t rows, size_t n, const fq_given *given,
                  fq_values *bad);

#endif
