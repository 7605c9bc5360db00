/* Python arguments -> fq_call: the fast path, which skips NumPy's iterator and its buffers. */
#ifndef FQ_ARGUMENTS_H
#define FQ_ARGUMENTS_H

#include "ufuncs.h"

#include "numpy_api.h"
#include <numpy/ufuncobject.h>

#include "operations.h"
#include "plan.h"

/* A function of fq, or of a namespace with another rule. */
typedef struct {
    const fq_operation *is;
    fq_op op;
    fq_rule rule;
    PyObject *names[FQ_MOST_OPERANDS]; /* interned */
} fq_function;

const fq_function *fq_function_of(fq_op op, fq_rule rule);

/* The DType of an operand of this kind in a loop of this type. */
PyArray_DTypeMeta *fq_dtype_of_kind(char kind, fq_type type);

/* The DType of module.name; NULL with an exception set, or without one where the module is not installed. */
PyArray_DTypeMeta *fq_find_dtype(const char *from, const char *name);

typedef union {
    float f32;
    double f64;
    int64_t level;
    uint8_t flag;
} fq_number;

/* The arguments of a call that the fast path takes, as far as they have been read. */
typedef struct {
    const fq_function *function;
    fq_type type;
    PyArrayObject *operand[FQ_MOST_OPERANDS]; /* owned; NULL: a number, or an output to make */
    fq_number number[FQ_PARAMETERS];
    int given; /* outputs */
} fq_arguments;

/* Each gives 0, and holds nothing, where the fast path does not take the call. out: an array, or a tuple with an array or
 * None for each output. */
int fq_read_inputs(fq_arguments *c, const fq_function *function, PyObject *const *args);
int fq_read_outputs(fq_arguments *c, PyObject *out);

/* The bytes from the first that an array of these axes takes to behind the last; none where it has no elements. */
typedef struct {
    uintptr_t from, to;
} fq_extent;
fq_extent fq_extent_of(const char *data, size_t item, int axes, const npy_intp *lengths, const npy_intp *steps);

fq_extent fq_extent_of_array(PyArrayObject *a);

static inline int fq_meet(fq_extent a, fq_extent b) { return a.from < b.to && b.from < a.to; }

/* Reads the parameters alone, where they broadcast into operand 0; 0 where not, and what was read stays. */
int fq_read_parameters(fq_arguments *c, PyObject *const *args);

/* Whether elements of the array share their memory, as np.broadcast_to leaves them. */
int fq_repeats(PyArrayObject *a);

/* A new array in the order of the operands in memory, whose last axis has another length than that of the first one's; fixed:
 * the last axis is the innermost. Takes descr. */
PyArrayObject *fq_new_output(const fq_arguments *c, PyArray_Descr *descr, npy_intp step, npy_intp last, int fixed);

/* Makes the outputs that are missing, and casts the parameters of another type. 0 with an exception set where it could not. */
int fq_complete(fq_arguments *c);

void fq_release(fq_arguments *c);

/* The call, of arguments that have their outputs. */
void fq_call_of(fq_call *call, const fq_arguments *c, int new_outputs);

/* Runs the call without the GIL, and sets the exception where it is refused. 1 where all went well. */
int fq_run_call(fq_call *call, const fq_arguments *c);

/* How Python calls a ufunc (PEP 590); the stable ABI of Python 3.11 does not name it. */
typedef PyObject *fq_vectorcall(PyObject *ufunc, PyObject *const *args, size_t nargs, PyObject *names);

/* Runs a call of all inputs, and no keyword but out, if the fast path takes it; all_new: the outputs lie in memory that was not
 * touched before. 1 with *result, which is NULL with an exception set; 0 where nothing was done and the call is NumPy's. */
int fq_call_fast(const fq_function *function, PyObject *const *args, PyObject *out, int all_new, PyObject **result);

/* The place of the input with this name, or -1. */
int fq_place_of_name(const fq_function *function, PyObject *name);

/* A call whose inputs all stand by position, and the keywords that are left. */
enum { FQ_MOST_ARGUMENTS = 24 };
typedef struct {
    PyObject *args[FQ_MOST_ARGUMENTS];
    PyObject *names; /* owned; NULL where no keyword is left */
} fq_positions;

/* Puts inputs that are given by name where they stand by position; nargs: those that do. 0 where an input is missing or given
 * twice, or with an exception set. */
int fq_arrange(fq_positions *to, const fq_function *function, PyObject *const *args, Py_ssize_t nargs, PyObject *names);

#endif
