/* Tells plain calls, which fq takes past NumPy's iterator and its buffers: exact, contiguous arrays, and as parameters numbers
 * or arrays of the loop's types. Whatever else is given, and whatever is wrong but the value of a parameter, is not plain. */
#include "plain.h"

#include <math.h>

#include <numpy/dtype_api.h>

enum { EXACT_IN_FLOAT = 1 << 24 }; /* integers up to this one are exact as a scale */

static PyArray_DTypeMeta *dtype_of(PyArrayObject *a)
{
    return (PyArray_DTypeMeta *)Py_TYPE((PyObject *)PyArray_DESCR(a));
}

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
static int goes_with(const fq_plain_call *c, PyObject *o, char kind)
{
    PyArrayObject *a = (PyArrayObject *)o, *x = c->operand[0];
    if (!PyArray_CheckExact(o) || !PyArray_IS_C_CONTIGUOUS(a) || !has_kind(a, kind, c->type) ||
        PyArray_NDIM(a) != PyArray_NDIM(x)) {
        return 0;
    }
    const int last = PyArray_NDIM(x) - 1;
    return PyArray_CompareLists(PyArray_DIMS(a), PyArray_DIMS(x), last) && PyArray_DIM(a, last) == last_axis(x, kind);
}

static int broadcasts(const fq_plain_call *c, PyArrayObject *a)
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
static int read_scale(fq_number *to, double scale, fq_type type)
{
    if (type == FQ_F64) {
        to->f64 = scale;
        return 1;
    }
    to->f32 = (float)scale;
    return !isinf(to->f32) || isinf(scale);
}

static int read_number(fq_number *to, PyObject *o, char kind, fq_type type)
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
static int read_parameter(fq_plain_call *c, int i, PyObject *o)
{
    const char kind = c->spec->kinds[i];
    PyArrayObject *a = (PyArrayObject *)o;
    if (!PyArray_CheckExact(o)) {
        return read_number(&c->number[i - c->spec->scale], o, kind, c->type);
    }
    if (!has_kind(a, kind, c->type) || !broadcasts(c, a) ||
        (fq_is_packed(c->spec) && i > c->spec->scale + 1 && PyArray_NDIM(a) > 0)) {
        return 0;
    }
    c->operand[i] = a;
    return 1;
}

static int read_input(fq_plain_call *c, int i, PyObject *o)
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
static int is_safe(const fq_plain_call *c, int o)
{
    const extent out = extent_of(c->operand[o]);
    for (int i = 0; i < c->spec->nin + c->spec->nout; i++) {
        PyArrayObject *other = c->operand[i];
        if (i == o || other == NULL) {
            continue;
        }
        const extent e = extent_of(other);
        const int in_place =
            i < c->spec->nin && c->spec->kinds[i] == 'v' && c->spec->kinds[o] == 'v' && e.from == out.from;
        if (!in_place && e.from < out.to && out.from < e.to) {
            return 0;
        }
    }
    return 1;
}

int fq_read_outputs(fq_plain_call *c, PyObject *out)
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

int fq_read_inputs(fq_plain_call *c, const fq_ufunc_spec *spec, PyObject *const *args)
{
    c->spec = spec;
    memset(c->operand, 0, sizeof c->operand);
    for (int i = 0; i < spec->nin; i++) {
        if (!read_input(c, i, args[i])) {
            return 0;
        }
    }
    return 1;
}

static PyArrayObject *new_output(const fq_plain_call *c, char kind)
{
    PyArrayObject *x = c->operand[0];
    npy_intp dims[FQ_MOST_AXES];
    PyArray_Descr *descr = PyArray_GetDefaultDescr(fq_dtype_of_kind(kind, c->type));
    memcpy(dims, PyArray_DIMS(x), (size_t)PyArray_NDIM(x) * sizeof *dims);
    dims[PyArray_NDIM(x) - 1] = last_axis(x, kind);
    return descr == NULL ? NULL : (PyArrayObject *)PyArray_Empty(PyArray_NDIM(x), dims, descr, 0);
}

/* Makes what outputs are missing; from here on the call owns all of them. */
int fq_own_outputs(fq_plain_call *c)
{
    int made = 1;
    for (int o = c->spec->nin; o < c->spec->nin + c->spec->nout; o++) {
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

const char *fq_given_data(const fq_plain_call *c, int k)
{
    PyArrayObject *a = c->operand[c->spec->scale + k];
    return a != NULL ? PyArray_BYTES(a) : (const char *)&c->number[k];
}

ptrdiff_t fq_broadcast_step(PyArrayObject *a, PyArrayObject *x, int axis)
{
    const int own = axis - PyArray_NDIM(x) + PyArray_NDIM(a);
    return own < 0 || PyArray_DIM(a, own) == 1 ? 0 : PyArray_STRIDE(a, own);
}

ptrdiff_t fq_given_step(const fq_plain_call *c, int k, int axis)
{
    PyArrayObject *a = c->operand[c->spec->scale + k];
    return a != NULL ? fq_broadcast_step(a, c->operand[0], axis) : 0;
}
