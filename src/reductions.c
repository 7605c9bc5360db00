/* Functions with sums, as Python calls them. */
#include "reductions.h"

#include <stdlib.h>
#include <string.h>

#include "arguments.h"

/* Each value of an array has sums of its own, even where it shares its memory with others: fq_fold tells them apart by steps. */
static int repeats_sums(const fq_arguments *c)
{
    for (int k = 0; k < fq_sums_of(c->function->is); k++) {
        PyArrayObject *given = c->operand[c->function->is->inputs + k];
        if (given != NULL && fq_repeats(given)) {
            return 1;
        }
    }
    return 0;
}

/* Whether the fast path takes the call, with the first output at the most as out. */
static int read_call(fq_arguments *c, const fq_function *function, PyObject *const *args, PyObject *out)
{
    const int results = 1 + fq_sums_of(function->is);
    if (!fq_read_inputs(c, function, args)) {
        return 0;
    }
    int fits = !repeats_sums(c);
    if (fits && out == Py_None) {
        return 1;
    }
    fits = fits && PyTuple_CheckExact(out) && PyTuple_Size(out) == results;
    for (int i = 1; fits && i < results; i++) {
        fits = PyTuple_GetItem(out, i) == Py_None;
    }
    if (!fits) {
        fq_release(c);
        return 0;
    }
    PyObject *dx = PyTuple_GetItem(out, 0);
    return dx == Py_None || fq_read_outputs(c, dx);
}

/* The sums k of the sets that share the value of parameter k, rounded to the type; a scalar where it has no axes. */
static PyObject *folded(const fq_arguments *c, int k, const double *sums, const fq_fold *fold)
{
    static npy_intp none[1];
    PyArrayObject *given = c->operand[c->function->is->inputs + k];
    const int in_f64 = c->type == FQ_F64;
    PyArrayObject *to =
        (PyArrayObject *)PyArray_Empty(given ? PyArray_NDIM(given) : 0, given ? PyArray_DIMS(given) : none,
                                       PyArray_DescrFromType(in_f64 ? NPY_DOUBLE : NPY_FLOAT), 0);
    const npy_intp count = to ? PyArray_SIZE(to) : 0;
    double *added = calloc((size_t)count + 1, sizeof *added);
    if (to == NULL || added == NULL) {
        Py_XDECREF((PyObject *)to);
        free(added);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    if (PyArray_SIZE(c->operand[0]) > 0) {
        fq_fold_sums(added, sums, fold);
    }
    for (npy_intp i = 0; i < count; i++) {
        in_f64 ? (void)(((double *)PyArray_DATA(to))[i] = added[i])
               : (void)(((float *)PyArray_DATA(to))[i] = (float)added[i]);
    }
    free(added);
    return PyArray_Return(to);
}

/* (dx, dscale, dzero_point). */
static PyObject *results(const fq_arguments *c)
{
    fq_call call;
    fq_call_of(&call, c, 0);
    const size_t sets = fq_sets(&call);
    const fq_fold of_scale = fq_fold_of(&call, 0), of_zero_point = fq_fold_of(&call, 1);
    double *sums = calloc(2 * sets + 1, sizeof *sums);
    if (sums == NULL) {
        return PyErr_NoMemory();
    }
    call.sums[0] = sums, call.sums[1] = sums + sets;
    PyObject *dscale = NULL, *dzero_point = NULL, *all = NULL;
    if (fq_run_call(&call, c) && (dscale = folded(c, 0, sums, &of_scale)) != NULL &&
        (dzero_point = folded(c, 1, sums + sets, &of_zero_point)) != NULL) {
        all = PyTuple_Pack(3, c->operand[fq_inputs_of(c->function->is)], dscale, dzero_point);
    }
    Py_XDECREF(dscale);
    Py_XDECREF(dzero_point);
    free(sums);
    return all;
}

static PyObject *reduce(fq_op op, PyObject *const *args, Py_ssize_t nargs)
{
    fq_arguments c;
    if (nargs != 8) {
        return PyErr_Format(PyExc_TypeError, "%s takes 8 arguments, got %zd", fq_operation_of(op, FQ_DIVIDED)->name,
                            nargs);
    }
    const fq_function *function = fq_function_of(op, args[0] == Py_True);
    if (!read_call(&c, function, args + 1, args[7])) {
        Py_RETURN_NONE;
    }
    PyObject *all = fq_complete(&c) ? results(&c) : NULL;
    fq_release(&c);
    return all;
}

#define FQ_REDUCTION(with, OP, op, ...)                                                     \
    PyObject *fq_##op(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) \
    {                                                                                       \
        return reduce(FQ_##OP, args, nargs);                                                \
    }
FQ_REDUCTION_ROWS(FQ_REDUCTION, )
