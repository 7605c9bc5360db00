/* The strided loops: rows of n elements of any strides, in plain C. */
#ifndef FQ_LOOPS_H
#define FQ_LOOPS_H

#include "params.h"

enum { FQ_MAX_ARRAYS = 3 };

/* The arrays of an operation, in the order of ops.h; the rest are unused. Steps are in bytes. */
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

/* Rows of n elements. `rows` of them, one after another, share their parameters; so it goes for each key, and with the
 * first key again for each repeat. */
typedef struct {
    size_t repeats, keys, rows, n;
} fq_shape;

/* The arrays of a call whose rows of n follow each other without gaps. */
fq_arrays fq_without_gaps(const fq_call *call, char *const *data, size_t n);

/* given is NULL for an operation without parameters. On an error *bad holds the values refused, and what comes from
 * them on is not written; nothing is where an output takes the place of an input. */
fq_status fq_rows(const fq_call *call, const fq_arrays *arrays, const fq_shape *shape, const fq_given *given,
                  fq_values *bad);

#endif
