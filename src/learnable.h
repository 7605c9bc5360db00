/* The learnable backward over arrays of any strides: dx, and the sums for scale and zero_point. */
#ifndef FQ_LEARNABLE_H
#define FQ_LEARNABLE_H

#include "params.h"

/* One axis of x. Steps are in bytes, but for the key's: the number of the sum that an element belongs to. */
typedef struct {
    size_t length;
    ptrdiff_t dx, dy, x, scale, zero_point, qmin, qmax, key;
} fq_axis;

typedef struct {
    fq_type type;
    int reciprocal;
    char *dx;
    const char *dy, *x, *scale, *zero_point, *qmin, *qmax;
    int axes; /* the innermost last */
    fq_axis axis[FQ_MOST_AXES];
    size_t keys;
    double *of_scale, *of_zero_point; /* the sums, one a key */
} fq_learnable_call;

/* Adds an axis inside of those that the call has, but outside of those along which x lies closer together. */
void fq_learnable_add_axis(fq_learnable_call *call, fq_axis axis);

/* The same sums for any number of threads, and for the same order of x in memory, whatever the order of its axes. On an
 * error *bad holds the values refused, and the sums are not made. */
fq_status fq_learnable(fq_learnable_call *call, fq_values *bad);

#endif
