/* Calls over contiguous arrays of any number of axes, into which the parameters broadcast. */
#ifndef FQ_AXES_H
#define FQ_AXES_H

#include "loops.h"

enum { FQ_PARAMETERS = 4 }; /* scale, zero_point, qmin, qmax */

/* The axes of the arrays, those along which everything goes on made one. Starts as {.count = 0}. */
typedef struct {
    int count;
    size_t size[FQ_MOST_AXES];
    ptrdiff_t step[FQ_MOST_AXES][FQ_PARAMETERS]; /* in bytes */
} fq_axes;

/* Adds an axis inside of the others; one that is alone is not joined to them. */
void fq_add_axis(fq_axes *axes, size_t size, const ptrdiff_t *step, int alone);

/* data: the arrays in the order of fq_op; given: the first of each parameter, NULL for an operation without them. */
fq_status fq_over_axes(const fq_call *call, char *const *data, const fq_axes *axes, const char *const *given,
                       fq_values *bad);

#endif
