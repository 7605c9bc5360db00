/* Makes the call of a learnable backward out of NumPy arrays that fq/learnable.py has prepared. */
#include "gradients.h"

#include <stdlib.h>
#include <string.h>

#include "plain.h"

#include <numpy/dtype_api.h>

#include "learnable.h"
#include "ufuncs.h"

enum { PLAIN_SCALE = 2, PLAIN_DX = 6 }; /* operands of a plain call: dy, x, the parameters, dx */

enum { DX, DY, X, SCALE, ZERO_POINT, QMIN, QMAX, KEYS, ARRAYS };

/* The a-th axis of x, along which the others are broadcast. */
static fq_axis axis_of(PyArrayObject *const *arrays, int a)
{
    ptrdiff_t step[ARRAYS];
    for (int k = 0; k < ARRAYS; k++) {
        step[k] = fq_broadcast_step(arrays[k], arrays[X], a);
    }
    /* clang-format off: a table */
    return (fq_axis){(size_t)PyArray_DIM(arrays[X], a),
                     step[DX],
                     step[DY],
                     step[X],
                     step[SCALE],
                     step[ZERO_POINT],
                     step[QMIN],
                     step[QMAX],
                     step[KEYS] / (ptrdiff_t)sizeof(double)};
    /* clang-format on */
}

PyObject *fq_learnable_from_python(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyArrayObject *a[ARRAYS], *sums;
    fq_learnable_call call;
    fq_values bad;
    fq_status status;
    if (!PyArg_ParseTuple(args, "iO!O!O!O!O!O!O!O!O!", &call.reciprocal, &PyArray_Type, &a[DX], &PyArray_Type, &a[DY],
                          &PyArray_Type, &a[X], &PyArray_Type, &a[SCALE], &PyArray_Type, &a[ZERO_POINT], &PyArray_Type,
                          &a[QMIN], &PyArray_Type, &a[QMAX], &PyArray_Type, &a[KEYS], &PyArray_Type, &sums)) {
        return NULL;
    }
    const int type = fq_type_of_dtype(Py_TYPE((PyObject *)PyArray_DESCR(a[X])));
    if (type < 0) {
        return PyErr_Format(PyExc_TypeError, "x must be " FQ_TYPE_NAMES ", got %S", PyArray_DESCR(a[X]));
    }
    call.type = (fq_type)type;
    call.dx = PyArray_BYTES(a[DX]), call.dy = PyArray_BYTES(a[DY]), call.x = PyArray_BYTES(a[X]);
    call.scale = PyArray_BYTES(a[SCALE]), call.zero_point = PyArray_BYTES(a[ZERO_POINT]);
    call.qmin = PyArray_BYTES(a[QMIN]), call.qmax = PyArray_BYTES(a[QMAX]);
    call.keys = (size_t)PyArray_SIZE(sums) / 2;
    call.of_scale = PyArray_DATA(sums), call.of_zero_point = call.of_scale + call.keys;
    call.axes = 0;
    for (int axis = 0; axis < PyArray_NDIM(a[X]); axis++) {
        fq_learnable_add_axis(&call, axis_of(a, axis));
    }
    Py_BEGIN_ALLOW_THREADS
    status = fq_learnable(&call, &bad);
    Py_END_ALLOW_THREADS
    if (status != FQ_OK) {
        fq_raise_refused(status, &bad, call.type);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* A plain call with as many sums as scale has elements: each goes to a scale of its own. Gives 0 where it is not one. */
static int read_plain(fq_plain_call *c, const fq_ufunc_spec *spec, PyObject *const *args, PyObject *out)
{
    if (!fq_read_inputs(c, spec, args)) {
        return 0;
    }
    if (out != Py_None) {
        if (!PyTuple_CheckExact(out) || PyTuple_Size(out) != 3 || PyTuple_GetItem(out, 1) != Py_None ||
            PyTuple_GetItem(out, 2) != Py_None) {
            return 0;
        }
        PyObject *dx = PyTuple_GetItem(out, 0);
        if (dx != Py_None && !fq_read_outputs(c, dx)) {
            return 0;
        }
    }
    PyArrayObject *scale = c->operand[PLAIN_SCALE];
    for (int k = 1; k < FQ_PARAMETERS; k++) {
        PyArrayObject *a = c->operand[PLAIN_SCALE + k];
        const int same = k == 1 && scale != NULL && a != NULL && PyArray_SAMESHAPE(a, scale);
        if (a != NULL && PyArray_NDIM(a) > 0 && !same) {
            return 0;
        }
    }
    return 1;
}

static fq_status run_plain(const fq_plain_call *c, size_t keys, double *sums, fq_values *bad)
{
    PyArrayObject *x = c->operand[1], *scale = c->operand[PLAIN_SCALE];
    fq_learnable_call call = {.type = c->type, .reciprocal = c->spec->reciprocal, .keys = keys};
    ptrdiff_t step[FQ_MOST_AXES], key[FQ_MOST_AXES], next_key = 1;
    fq_status status;
    call.dx = PyArray_BYTES(c->operand[PLAIN_DX]), call.dy = PyArray_BYTES(c->operand[0]), call.x = PyArray_BYTES(x);
    call.scale = fq_given_data(c, 0), call.zero_point = fq_given_data(c, 1);
    call.qmin = fq_given_data(c, 2), call.qmax = fq_given_data(c, 3);
    call.of_scale = sums, call.of_zero_point = sums + keys;
    for (int axis = PyArray_NDIM(x) - 1, own = scale ? PyArray_NDIM(scale) - 1 : -1; axis >= 0; axis--, own--) {
        const npy_intp length = own < 0 ? 1 : PyArray_DIM(scale, own);
        step[axis] = PyArray_STRIDE(x, axis), key[axis] = length == 1 ? 0 : next_key;
        next_key *= length;
    }
    for (int axis = 0; axis < PyArray_NDIM(x); axis++) {
        fq_learnable_add_axis(&call, (fq_axis){(size_t)PyArray_DIM(x, axis), step[axis], step[axis], step[axis],
                                               fq_given_step(c, 0, axis), fq_given_step(c, 1, axis),
                                               fq_given_step(c, 2, axis), fq_given_step(c, 3, axis), key[axis]});
    }
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(PyArray_SIZE(x));
    status = fq_learnable(&call, bad);
    NPY_END_THREADS;
    return status;
}

/* Sums of a shape, rounded to the type; a scalar where there are no axes. */
static PyObject *rounded(PyArrayObject *shape, const double *sums, int in_f64)
{
    static npy_intp none[1];
    PyArray_Descr *descr = PyArray_DescrFromType(in_f64 ? NPY_DOUBLE : NPY_FLOAT);
    PyArrayObject *to =
        (PyArrayObject *)PyArray_Empty(shape ? PyArray_NDIM(shape) : 0, shape ? PyArray_DIMS(shape) : none, descr, 0);
    if (to == NULL) {
        return NULL;
    }
    const npy_intp count = PyArray_SIZE(to);
    for (npy_intp i = 0; i < count && !in_f64; i++) {
        ((float *)PyArray_DATA(to))[i] = (float)sums[i];
    }
    if (in_f64) {
        memcpy(PyArray_DATA(to), sums, (size_t)count * sizeof *sums);
    }
    return PyArray_Return(to);
}

/* (dx, dscale, dzero_point) of a plain call. Where all scales share a zero_point, its sums are left apart, in float64. */
static PyObject *plain_results(fq_plain_call *c, size_t keys, double *sums)
{
    fq_values bad;
    PyArrayObject *scale = c->operand[PLAIN_SCALE], *zero_point = c->operand[PLAIN_SCALE + 1];
    const int shared =
        scale != NULL && PyArray_NDIM(scale) > 0 && (zero_point == NULL || PyArray_NDIM(zero_point) == 0);
    const fq_status status = PyArray_SIZE(c->operand[1]) > 0 ? run_plain(c, keys, sums, &bad) : FQ_OK;
    if (status != FQ_OK) {
        fq_raise_refused(status, &bad, c->type);
        return NULL;
    }
    const int in_f64 = c->type == FQ_F64;
    PyObject *of_scale = rounded(scale, sums, in_f64);
    PyObject *of_zero_point = of_scale == NULL ? NULL
                              : shared         ? rounded(scale, sums + keys, 1)
                                               : rounded(zero_point, sums + keys, in_f64);
    PyObject *all = of_scale && of_zero_point ? PyTuple_Pack(3, c->operand[PLAIN_DX], of_scale, of_zero_point) : NULL;
    Py_XDECREF(of_scale);
    Py_XDECREF(of_zero_point);
    return all;
}

PyObject *fq_learnable_plain(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const fq_ufunc_spec specs[] = {
        {.nin = 6, .nout = 1, .kinds = "vvsiiiv", .scale = PLAIN_SCALE},
        {.reciprocal = 1, .nin = 6, .nout = 1, .kinds = "vvsiiiv", .scale = PLAIN_SCALE}};
    fq_plain_call c;
    if (nargs != 8) {
        return PyErr_Format(PyExc_TypeError, "_learnable_plain takes 8 arguments, got %zd", nargs);
    }
    if (!read_plain(&c, &specs[args[0] == Py_True], args + 1, args[7])) {
        Py_RETURN_NONE;
    }
    PyArrayObject *scale = c.operand[PLAIN_SCALE];
    const size_t keys = scale ? (size_t)PyArray_SIZE(scale) : 1;
    double *sums = calloc(2 * keys + 1, sizeof *sums);
    if (sums == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *results = fq_own_outputs(&c) ? plain_results(&c, keys, sums) : NULL;
    Py_XDECREF((PyObject *)c.operand[PLAIN_DX]);
    free(sums);
    return results;
}
