/* The short way into a ufunc, beside NumPy's. */
#ifndef FQ_DIRECT_H
#define FQ_DIRECT_H

#include "ufuncs.h"

#include "numpy_api.h"
#include <numpy/ufuncobject.h>

#include "loops.h"

enum { FQ_MOST_OPERANDS = 8 };

/* An operand: 'v' has the type of x, 's' is the scale, 'i' an int64, 'b' a bool mask, 'u' packed bits. */
typedef struct {
    const char *name;
    fq_op op;
    int reciprocal;
    int nin, nout;
    const char *kinds;         /* inputs, then outputs */
    const char *const *labels; /* the inputs' names, for messages */
    int arrays[FQ_MAX_ARRAYS]; /* operands of the loop, in the order of fq_op */
    int scale;                 /* the operand that is the scale, or 0: no parameters */
    const char *signature;     /* of a generalized ufunc, or NULL */
    PyUFunc_ProcessCoreDimsFunc *core_dims;
} fq_ufunc_spec;

/* The DType of an operand of this kind in a loop of this type. */
PyArray_DTypeMeta *fq_dtype_of_kind(char kind, fq_type type);

/* How Python calls a ufunc (PEP 590); the stable ABI of Python 3.11 does not name it. */
typedef PyObject *fq_vectorcall(PyObject *ufunc, PyObject *const *args, size_t nargs, PyObject *names);

/* Runs the call if it is a plain one: exact, contiguous arrays, and numbers or arrays of the loop's types as parameters.
 * 1 with *result, which is NULL with an exception set; 0 where nothing was done and the call is NumPy's. */
int fq_call_directly(const fq_ufunc_spec *spec, PyObject *const *args, size_t nargs, PyObject *names, PyObject **result);

#endif
