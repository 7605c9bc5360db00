/* The short way into a ufunc: exact, contiguous arrays and plain numbers go straight to the loops, past NumPy's iterator and
 * its buffers. Whatever else is given, and whatever is wrong but the value of a parameter, is left to NumPy. */
#include "direct.h"

#include <math.h>
#include <string.h>

#include <numpy/arrayscalars.h>
#include <numpy/dtype_api.h>

#include "axes.h"

enum {
    RELEASE_FROM = 512,      /* elements from which the GIL is released */
    EXACT_IN_FLOAT = 1 << 24 /* integers up to this one are exact as a scale */
};

/* A bit of the number of arguments, which Python adds where their array has room before it. */
#define ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))

typedef union {
    float f32;
    double f64;
    int64_t level;
} number;

/* A call that was found to be plain, as far as it was looked at. */
typedef struct {
    const fq_ufunc_spec *spec;
    fq_type type;
    PyArrayObject *operand[FQ_MOST_OPERANDS]; /* inputs, then outputs; NULL: a number, or an output to make */
    number number[FQ_PARAMETERS];
} plain_call;

static PyArray_DTypeMeta *dtype_of(PyArrayObject *a) { return (PyArray_DTypeMeta *)Py_TYPE((PyObject *)PyArray_DESCR(a)); }

static int has_kind(PyArrayObject *a, char kind, fq_type type)
{
    return dtype_of(a) == fq_dtype_of_kind(kind, type) && PyArray_ISALIGNED(a) && PyArray_ISNOTSWAPPED(a);
}

/* Bytes along the last axis of packed bits, else elements. */
static npy_intp last_axis(const PyArrayObject *x, char kind)
{
    const npy_intp n = PyArray_DIM(x, PyArray_NDIM(x) - 1);
    return kind == 'u' ? n / 8 + (n % 8 != 0) : n;
}

/* Whether o is an array without gaps that goes with x, element for element. */
static int goes_with(const plain_call *c, PyObject *o, char kind)
{
    PyArrayObject *a = (PyArrayObject *)o, *x = c->operand[0];
    if (!PyArray_CheckExact(o) || !PyArray_IS_C_CONTIGUOUS(a) || !has_kind(a, kind, c->type) ||
        PyArray_NDIM(a) != PyArray_NDIM(x)) {
        return 0;
    }
    const int last = PyArray_NDIM(x) - 1;
    return PyArray_CompareLists(PyArray_DIMS(a), PyArray_DIMS(x), last) && PyArray_DIM(a, last) == last_axis(x, kind);
}

static int broadcasts(const plain_call *c, PyArrayObject *a)
{
    PyArrayObject *x = c->operand[0];
    const int outer = PyArray_NDIM(x) - PyArray_NDIM(a);
    for (int axis = 0; outer >= 0 && axis < PyArray_NDIM(a); axis++) {
        if (PyArray_DIM(a, axis) != 1 && PyArray_DIM(a, axis) != PyArray_DIM(x, outer + axis)) {
            return 0;
        }
    }
    return outer >= 0;
}

/* NumPy warns of a scale that overflows in the cast. */
static int read_scale(number *to, double scale, fq_type type)
{
    if (type == FQ_F64) {
        to->f64 = scale;
        return 1;
    }
    to->f32 = (float)scale;
    return !isinf(to->f32) || isinf(scale);
}

static int read_number(number *to, PyObject *o, char kind, fq_type type)
{
    int overflow = 0;
    if (kind == 's' && (PyFloat_CheckExact(o) || Py_IS_TYPE(o, &PyDoubleArrType_Type))) {
        return read_scale(to, PyFloat_AsDouble(o), type);
    }
    if (kind == 's' && Py_IS_TYPE(o, &PyFloatArrType_Type)) {
        float scale;
        PyArray_ScalarAsCtype(o, &scale);
        return read_scale(to, (double)scale, type);
    }
    if (kind == 'i' && Py_IS_TYPE(o, &PyInt64ArrType_Type)) {
        PyArray_ScalarAsCtype(o, &to->level);
        return 1;
    }
    if (!PyLong_CheckExact(o)) {
        return 0;
    }
    const int64_t level = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (kind == 'i') {
        to->level = level;
        return !overflow;
    }
    return !overflow && level > 0 && level <= EXACT_IN_FLOAT && read_scale(to, (double)level, type);
}

/* In a generalized ufunc the axes of qmin and qmax are aligned with those outside of the last one. */
static int read_parameter(plain_call *c, int i, PyObject *o)
{
    const char kind = c->spec->kinds[i];
    PyArrayObject *a = (PyArrayObject *)o;
    if (!PyArray_CheckExact(o)) {
        return read_number(&c->number[i - c->spec->scale], o, kind, c->type);
    }
    if (!has_kind(a, kind, c->type) || !broadcasts(c, a) ||
        (c->spec->signature != NULL && i > c->spec->scale + 1 && PyArray_NDIM(a) > 0)) {
        return 0;
    }
    c->operand[i] = a;
    return 1;
}

static int read_input(plain_call *c, int i, PyObject *o)
{
    const char kind = c->spec->kinds[i];
    if (kind == 's' || kind == 'i') {
        return read_parameter(c, i, o);
    }
    if (i == 0) {
        const int type = PyArray_CheckExact(o) ? fq_type_of_dtype(dtype_of((PyArrayObject *)o)) : -1;
        if (type < 0 || PyArray_NDIM((PyArrayObject *)o) == 0) {
            return 0;
        }
        c->type = (fq_type)type;
    }
    c->operand[i] = (PyArrayObject *)o;
    return goes_with(c, o, kind);
}

/* The bytes that an array lies in. */
typedef struct {
    uintptr_t from, to;
} extent;

static extent extent_of(PyArrayObject *a)
{
    uintptr_t from = (uintptr_t)PyArray_BYTES(a), to = from + (uintptr_t)PyArray_ITEMSIZE(a);
    for (int axis = 0; axis < PyArray_NDIM(a); axis++) {
        const npy_intp way = (PyArray_DIM(a, axis) - 1) * PyArray_STRIDE(a, axis);
        *(way < 0 ? &from : &to) += (uintptr_t)way;
    }
    return PyArray_SIZE(a) == 0 ? (extent){0, 0} : (extent){from, to};
}

/* Whether output o may be written while the others are read and written: apart from them, or element for element over
 * an input. */
static int is_safe(const plain_call *c, int o)
{
    const extent out = extent_of(c->operand[o]);
    for (int i = 0; i < c->spec->nin + c->spec->nout; i++) {
        PyArrayObject *other = c->operand[i];
        if (i == o || other == NULL) {
            continue;
        }
        const extent e = extent_of(other);
        const int in_place = i < c->spec->nin && c->spec->kinds[i] == 'v' && c->spec->kinds[o] == 'v' && e.from == out.from;
        if (!in_place && e.from < out.to && out.from < e.to) {
            return 0;
        }
    }
    return 1;
}

static int read_outputs(plain_call *c, PyObject *out)
{
    const int nin = c->spec->nin, nout = c->spec->nout;
    if (!PyTuple_CheckExact(out) ? nout > 1 : PyTuple_Size(out) != nout) {
        return 0;
    }
    for (int o = nin; o < nin + nout; o++) {
        PyObject *one = PyTuple_CheckExact(out) ? PyTuple_GetItem(out, o - nin) : out;
        if (one == Py_None) {
            continue;
        }
        if (!goes_with(c, one, c->spec->kinds[o]) || !PyArray_ISWRITEABLE((PyArrayObject *)one)) {
            return 0;
        }
        c->operand[o] = (PyArrayObject *)one;
    }
    for (int o = nin; o < nin + nout; o++) {
        if (c->operand[o] != NULL && !is_safe(c, o)) {
            return 0;
        }
    }
    return 1;
}

static int read_call(plain_call *c, PyObject *const *args, size_t nargs, PyObject *names)
{
    const Py_ssize_t keywords = names != NULL ? PyTuple_Size(names) : 0;
    if (nargs != (size_t)c->spec->nin || keywords > 1) {
        return 0;
    }
    for (int i = 0; i < c->spec->nin; i++) {
        if (!read_input(c, i, args[i])) {
            return 0;
        }
    }
    return keywords == 0 || (PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "out") == 0 &&
                             read_outputs(c, args[nargs]));
}

static PyArrayObject *new_output(const plain_call *c, char kind)
{
    PyArrayObject *x = c->operand[0];
    npy_intp dims[FQ_MOST_AXES];
    PyArray_Descr *descr = PyArray_GetDefaultDescr(fq_dtype_of_kind(kind, c->type));
    memcpy(dims, PyArray_DIMS(x), (size_t)PyArray_NDIM(x) * sizeof *dims);
    dims[PyArray_NDIM(x) - 1] = last_axis(x, kind);
    return descr == NULL ? NULL : (PyArrayObject *)PyArray_Empty(PyArray_NDIM(x), dims, descr, 0);
}

/* Makes what outputs are missing; from here on the call owns all of them. */
static int own_outputs(plain_call *c, int *all_new)
{
    int made = 1;
    for (int o = c->spec->nin; o < c->spec->nin + c->spec->nout; o++) {
        *all_new &= c->operand[o] == NULL;
        if (c->operand[o] != NULL) {
            Py_INCREF((PyObject *)c->operand[o]);
        }
        else {
            c->operand[o] = new_output(c, c->spec->kinds[o]);
            made &= c->operand[o] != NULL;
        }
    }
    return made;
}

/* The axes of x, and where the parameters are. */
static void find_axes(const plain_call *c, fq_axes *axes, const char **given)
{
    PyArrayObject *x = c->operand[0];
    const int parameters = c->spec->scale ? FQ_PARAMETERS : 0, last = PyArray_NDIM(x) - 1;
    PyArrayObject *const *arrays = c->operand + c->spec->scale;
    axes->count = 0;
    for (int k = 0; k < parameters; k++) {
        given[k] = arrays[k] != NULL ? PyArray_BYTES(arrays[k]) : (const char *)&c->number[k];
    }
    for (int axis = 0; axis <= last; axis++) {
        ptrdiff_t step[FQ_PARAMETERS] = {0};
        for (int k = 0; k < parameters; k++) {
            const int own = arrays[k] != NULL ? axis - last - 1 + PyArray_NDIM(arrays[k]) : -1;
            step[k] = own < 0 || PyArray_DIM(arrays[k], own) == 1 ? 0 : PyArray_STRIDE(arrays[k], own);
        }
        const npy_intp size = PyArray_DIM(x, axis);
        fq_add_axis(axes, (size_t)size, step, axis == last && c->spec->signature != NULL && size % 8 != 0);
    }
}

static fq_status run(const plain_call *c, int new_outputs, fq_values *bad)
{
    const fq_call call = {c->spec->op, c->type, c->spec->reciprocal, new_outputs};
    const char *given[FQ_PARAMETERS];
    char *data[FQ_MAX_ARRAYS];
    fq_axes axes;
    fq_status status;
    find_axes(c, &axes, given);
    for (int a = 0; a < FQ_MAX_ARRAYS; a++) {
        data[a] = PyArray_BYTES(c->operand[c->spec->arrays[a]]);
    }
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(PyArray_SIZE(c->operand[0]));
    status = fq_over_axes(&call, data, &axes, c->spec->scale ? given : NULL, bad);
    NPY_END_THREADS;
    return status;
}

/* The outputs, as a ufunc returns them; lets go of them. */
static PyObject *results(plain_call *c, int failed)
{
    PyObject **outputs = (PyObject **)&c->operand[c->spec->nin];
    PyObject *all = NULL;
    if (!failed && c->spec->nout == 1) {
        return outputs[0];
    }
    if (!failed) {
        all = PyTuple_Pack(2, outputs[0], outputs[1]);
    }
    for (int o = 0; o < c->spec->nout; o++) {
        Py_XDECREF(outputs[o]);
    }
    return all;
}

int fq_call_directly(const fq_ufunc_spec *spec, PyObject *const *args, size_t nargs, PyObject *names, PyObject **result)
{
    plain_call c;
    fq_values bad;
    int new_outputs = 1;
    c.spec = spec;
    memset(c.operand, 0, sizeof c.operand);
    if (!read_call(&c, args, nargs & ~ARGUMENTS_OFFSET, names)) {
        return 0;
    }
    int failed = !own_outputs(&c, &new_outputs);
    if (!failed) {
        const fq_status status = run(&c, new_outputs, &bad);
        failed = status != FQ_OK;
        if (failed) {
            fq_raise_refused(status, &bad, c.type);
        }
    }
    *result = results(&c, failed);
    return 1;
}
