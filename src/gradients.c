/* Makes the call of a learnable backward out of NumPy arrays that fq/learnable.py has prepared. */
#include "gradients.h"

#include "numpy_api.h"

#include "learnable.h"
#include "ufuncs.h"

enum { DX, DY, X, SCALE, ZERO_POINT, QMIN, QMAX, KEYS, ARRAYS };

/* The a-th axis of x, along which the others are broadcast. */
static fq_axis axis_of(PyArrayObject *const *arrays, int a)
{
    ptrdiff_t step[ARRAYS];
    for (int k = 0; k < ARRAYS; k++) {
        const int own = a + PyArray_NDIM(arrays[k]) - PyArray_NDIM(arrays[X]);
        step[k] = own < 0 || PyArray_DIM(arrays[k], own) == 1 ? 0 : PyArray_STRIDE(arrays[k], own);
    }
    return (fq_axis){(size_t)PyArray_DIM(arrays[X], a), step[DX],         step[DY],   step[X],
                     step[SCALE],                       step[ZERO_POINT], step[QMIN], step[QMAX],
                     step[KEYS] / (ptrdiff_t)sizeof(double)};
}

PyObject *fq_learnable_from_python(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyArrayObject *a[ARRAYS], *sums;
    fq_learnable_call call;
    fq_values bad;
    fq_status status;
    if (!PyArg_ParseTuple(args, "iO!O!O!O!O!O!O!O!O!", &call.reciprocal, &PyArray_Type, &a[DX], &PyArray_Type, &a[DY],
                          &PyArray_Type, &a[X], &PyArray_Type, &a[SCALE], &PyArray_Type, &a[ZERO_POINT],
                          &PyArray_Type, &a[QMIN], &PyArray_Type, &a[QMAX], &PyArray_Type, &a[KEYS], &PyArray_Type,
                          &sums)) {
        return NULL;
    }
    const int type = fq_type_of_dtype(Py_TYPE((PyObject *)PyArray_DESCR(a[X])));
    if (type < 0) {
        return PyErr_Format(PyExc_TypeError, "x must be float16, bfloat16, float32 or float64, got %S",
                            PyArray_DESCR(a[X]));
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
