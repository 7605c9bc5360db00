/* Plain calls: what was given, where nothing needs to be broadcast into buffers, cast or copied. */
#ifndef FQ_PLAIN_H
#define FQ_PLAIN_H

#include "ufuncs.h"

#include <string.h>

#include "numpy_api.h"
#include <numpy/ufuncobject.h>

#include "axes.h"

enum { FQ_MOST_OPERANDS = 8 };

/* An operand has the kind of its array in ops.h; of the parameters, 's' is the scale and 'i' an int64. */
typedef struct {
    const char *name;
    fq_op op;
    int reciprocal;
    int nin, nout;
    const char *kinds;         /* inputs, then outputs */
    const char *const *labels; /* the inputs' names, for messages */
    int arrays[FQ_MAX_ARRAYS]; /* operands of the loop, in the order of ops.h */
    int scale;                 /* the operand that is the scale, or 0: no parameters */
} fq_ufunc_spec;

/* Packed bits make a generalized ufunc, whose core dimensions are n elements and p bytes. */
static inline int fq_is_packed(const fq_ufunc_spec *spec) { return strchr(spec->kinds, FQ_BIT_MASK) != NULL; }

/* The DType of an operand of this kind in a loop of this type. */
PyArray_DTypeMeta *fq_dtype_of_kind(char kind, fq_type type);

typedef union {
    float f32;
    double f64;
    int64_t level;
} fq_number;

/* A plain call, as far as it has been read. */
typedef struct {
    const fq_ufunc_spec *spec;
    fq_type type;
    PyArrayObject *operand[FQ_MOST_OPERANDS]; /* inputs, then outputs; NULL: a number, or an output to make */
    fq_number number[FQ_PARAMETERS];
} fq_plain_call;

/* Each gives 0 where the call is not plain. out: an array, or a tuple with an array or None for each output. */
int fq_read_inputs(fq_plain_call *c, const fq_ufunc_spec *spec, PyObject *const *args);
int fq_read_outputs(fq_plain_call *c, PyObject *out);

/* Makes the outputs that are missing; from here on the call owns all of them. 0 with an exception set where one could not be
 * made. */
int fq_own_outputs(fq_plain_call *c);

/* The step of an array along an axis of x, into which it broadcasts. */
ptrdiff_t fq_broadcast_step(PyArrayObject *a, PyArrayObject *x, int axis);

/* Where the k-th parameter begins, and its step along an axis of x. */
const char *fq_given_data(const fq_plain_call *c, int k);
ptrdiff_t fq_given_step(const fq_plain_call *c, int k, int axis);

#endif
