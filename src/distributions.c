/* Clipped ranges as Python calls for them: hands the arrays of distributions to clip.c. */
#include "distributions.h"

#include <string.h>

#include "clip.h"
#include "numpy_api.h"
#include "observers.h"

static const struct {
    const char *name;
    fq_clip_one *method;
} methods[] = {{"mse", fq_clip_mse}, {"percentile", fq_clip_percentile}, {"entropy", fq_clip_entropy}};

static fq_clip_one *method_of(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return methods[i].method;
        }
    }
    return NULL;
}

static int are_ends(PyObject *o, size_t sets)
{
    PyArrayObject *a = (PyArrayObject *)o;
    return PyArray_CheckExact(o) && PyArray_TYPE(a) == NPY_DOUBLE && PyArray_ISCARRAY(a) && PyArray_NDIM(a) == 1 &&
           PyArray_DIM(a, 0) == (npy_intp)sets;
}

PyObject *fq_clip_range(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    PyObject *dtype, *bins[5], *low, *high;
    fq_clip_kind kind;
    fq_seen_bins from;
    long long steps;
    if (!PyArg_ParseTuple(args, "sO(OOOOO)OOLpd", &name, &dtype, bins, bins + 1, bins + 2, bins + 3, bins + 4, &low,
                          &high, &steps, &kind.symmetric, &kind.share)) {
        return NULL;
    }
    fq_clip_one *method = method_of(name);
    kind.steps = steps;
    if (method == NULL || steps < 1 || (method == fq_clip_entropy && steps > FQ_ENTROPY_MOST_STEPS) ||
        !fq_read_seen_bins(&from, dtype, bins) || !are_ends(low, from.sets) || !are_ends(high, from.sets)) {
        return PyErr_Format(PyExc_ValueError, "_clip_range takes bins and vectors that fit together");
    }
    int done;
    Py_BEGIN_ALLOW_THREADS;
    done = fq_clip(method, &kind, &from, PyArray_DATA((PyArrayObject *)low), PyArray_DATA((PyArrayObject *)high));
    Py_END_ALLOW_THREADS;
    if (done < 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}
