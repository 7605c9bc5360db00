/* The strided loops: one call over n elements of any strides, in plain C. */
#ifndef FQ_LOOPS_H
#define FQ_LOOPS_H

#include "params.h"

enum { FQ_MAX_ARRAYS = 3 };

/* The arrays of an operation, in the order of fq_op; the rest are unused. */
typedef struct {
    char *data[FQ_MAX_ARRAYS];
    ptrdiff_t step[FQ_MAX_ARRAYS]; /* in bytes */
} fq_arrays;

/* given is NULL for an operation without parameters. On an error *bad holds the values refused. */
fq_status fq_loop(fq_op op, fq_type type, int reciprocal, const fq_arrays *arrays, size_t n,
                  const fq_given *given, fq_values *bad);

#endif
