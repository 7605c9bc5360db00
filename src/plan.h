/* A call as loops: arrays of any strides, and parameters that broadcast into them, over any number of axes. Groups of
 * elements with sets of their own are a last axis cut into two. */
#ifndef FQ_PLAN_H
#define FQ_PLAN_H

#include "params.h"

enum { FQ_SUMS_A_SET = 2 };

/* One axis of x. Steps are in bytes; in packed bits, which only the last axis packs, from a byte to the next. */
typedef struct {
    size_t length;
    ptrdiff_t array[FQ_MAX_ARRAYS], given[FQ_PARAMETERS];
    size_t sum; /* from a set of parameters to the next, as fq_sets counts them */
} fq_loop;

typedef struct {
    fq_op op;
    fq_type type;
    fq_rule rule;
    fq_storage storage; /* of an operation with integers; read by no other */
    int new_outputs; /* in memory not touched before: the system clears it into the cache, so nothing is stored past it */
    int in_order; /* an output overlaps what is read, not element for element: elements are done in order, on one thread */
    char *data[FQ_MAX_ARRAYS]; /* in the order of ops.h */
    const char *given
        [FQ_PARAMETERS]; /* where the operation has parameters; without qmin and qmax, zero_point in their places (fq_given_of) */
    int axes;
    fq_loop axis[FQ_MOST_AXES]; /* the innermost last */
    double *sums[FQ_SUMS_A_SET]; /* of a reduction, one a set each: start as zeros */
} fq_call;

/* Runs the call. Where a parameter is refused, nothing is written and *bad holds the values. The axes are sorted and joined. */
fq_status fq_run(fq_call *call, fq_values *bad);

/* The sets of parameters, in the order of the axes along which any varies; 0 without elements. Numbers them for fq_run. */
size_t fq_sets(fq_call *call);

/* Sorts and joins the axes of a call of one array, without parameters, by its `sum`. 0: there are no elements. */
int fq_join(fq_call *call);

/* Adds the sums k of the sets that share the value of parameter k, in their order, to that value's of `to`. Before fq_run. */
typedef struct {
    int axes;
    size_t length[FQ_MOST_AXES], step[FQ_MOST_AXES];
} fq_fold;
fq_fold fq_fold_of(const fq_call *call, int k);
void fq_fold_sums(double *to, const double *sums, const fq_fold *fold);

#endif
