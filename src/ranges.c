/* choose_qparams as Python calls it: reads numbers and arrays for choose.c, and makes the QParams. */
#include "ranges.h"

#include <float.h>

#include "choose.h"
#include "numpy_api.h"

enum { WITHOUT_GIL = 4096 }; /* sets from which on other threads of Python may run */

/* One end of the ranges. */
typedef struct {
    double number;
    PyArrayObject *array; /* owned, of float64, contiguous; NULL: the number */
    int in_f64;
} end;

/* Arrays of these types lose nothing as float64. */
static int is_real(PyArrayObject *a)
{
    const int type = PyArray_TYPE(a);
    return PyTypeNum_ISBOOL(type) || PyTypeNum_ISINTEGER(type) || type == NPY_HALF || type == NPY_FLOAT ||
           type == NPY_DOUBLE;
}

/* 1 where it was read; 0 where C does not read such, or with an exception set. */
static int read_end(end *to, PyObject *o)
{
    *to = (end){.in_f64 = 0};
    if (PyFloat_CheckExact(o) || Py_IS_TYPE(o, &PyDoubleArrType_Type)) {
        to->number = PyFloat_AsDouble(o), to->in_f64 = 1;
        return 1;
    }
    if (Py_IS_TYPE(o, &PyFloatArrType_Type)) {
        float number;
        PyArray_ScalarAsCtype(o, &number);
        to->number = (double)number;
        return 1;
    }
    if (PyLong_CheckExact(o)) {
        int overflow;
        to->number = (double)PyLong_AsLongLongAndOverflow(o, &overflow);
        return !overflow;
    }
    if (!PyArray_CheckExact(o) || !is_real((PyArrayObject *)o)) {
        return 0;
    }
    to->in_f64 = PyArray_TYPE((PyArrayObject *)o) == NPY_DOUBLE;
    to->array = (PyArrayObject *)PyArray_FROMANY(o, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
    return to->array != NULL;
}

/* The shape of the results is that of the array whose range has an axis; NULL: a number. 0 where shapes must be broadcast. */
static int shape_of(PyArrayObject **shape, const end *low, const end *high)
{
    *shape = low->array && PyArray_NDIM(low->array) > 0 ? low->array : high->array ? high->array : low->array;
    const end *both[] = {low, high};
    for (int i = 0; i < 2; i++) {
        PyArrayObject *a = both[i]->array;
        if (a && PyArray_NDIM(a) > 0 && !PyArray_SAMESHAPE(a, *shape)) {
            return 0;
        }
    }
    return 1;
}

static const double *data_of(const end *e) { return e->array ? PyArray_DATA(e->array) : &e->number; }
static size_t step_of(const end *e) { return e->array && PyArray_NDIM(e->array) > 0; }

/* QParams(scale, zero_point, qmin, qmax), without the function that a named tuple has for that. Steals scale and zero_point. */
static PyObject *new_qparams(PyObject *type, PyObject *scale, PyObject *zero_point, const fq_grid_kind *kind)
{
    const newfunc new_tuple = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    PyObject *qmin = PyLong_FromLongLong(kind->qmin), *qmax = PyLong_FromLongLong(kind->qmax), *fields, *in,
             *made = NULL;
    fields = scale && zero_point && qmin && qmax ? PyTuple_Pack(4, scale, zero_point, qmin, qmax) : NULL;
    in = fields ? PyTuple_Pack(1, fields) : NULL;
    made = in ? new_tuple((PyTypeObject *)type, in, NULL) : NULL;
    Py_XDECREF(scale);
    Py_XDECREF(zero_point);
    Py_XDECREF(qmin);
    Py_XDECREF(qmax);
    Py_XDECREF(fields);
    Py_XDECREF(in);
    return made;
}

static PyObject *new_scalar(int type, void *value)
{
    PyArray_Descr *descr = PyArray_DescrFromType(type);
    PyObject *scalar = descr ? PyArray_Scalar(value, descr, NULL) : NULL;
    Py_XDECREF((PyObject *)descr);
    return scalar;
}

static PyObject *choose_one(PyObject *type, const fq_grid_kind *kind, const fq_ranges *ranges, int *wrong)
{
    union {
        float f32;
        double f64;
    } scale;
    int64_t zero_point;
    if ((*wrong = fq_choose(kind, ranges, 1, &scale, &zero_point)) & FQ_CHOOSE_NOT_FINITE) {
        return NULL;
    }
    return new_qparams(type, new_scalar(kind->in_f64 ? NPY_DOUBLE : NPY_FLOAT, &scale),
                       new_scalar(NPY_INT64, &zero_point), kind);
}

static PyObject *choose_all(PyObject *type, const fq_grid_kind *kind, const fq_ranges *ranges, PyArrayObject *shape,
                            int *wrong)
{
    const int axes = PyArray_NDIM(shape), scale_type = kind->in_f64 ? NPY_DOUBLE : NPY_FLOAT;
    PyArrayObject *scale = (PyArrayObject *)PyArray_SimpleNew(axes, PyArray_DIMS(shape), scale_type);
    PyArrayObject *zero_point = (PyArrayObject *)PyArray_SimpleNew(axes, PyArray_DIMS(shape), NPY_INT64);
    if (scale && zero_point) {
        const size_t n = (size_t)PyArray_SIZE(scale);
        PyThreadState *state = n >= WITHOUT_GIL ? PyEval_SaveThread() : NULL;
        *wrong = fq_choose(kind, ranges, n, PyArray_DATA(scale), PyArray_DATA(zero_point));
        if (state) {
            PyEval_RestoreThread(state);
        }
    }
    if (!scale || !zero_point || *wrong & FQ_CHOOSE_NOT_FINITE) {
        Py_XDECREF((PyObject *)scale);
        Py_XDECREF((PyObject *)zero_point);
        return NULL;
    }
    return new_qparams(type, PyArray_Return(scale), PyArray_Return(zero_point), kind);
}

/* 1 for True, 0 for False, -1 for what else Python may take for one of the two. */
static int flag_of(PyObject *o) { return o == Py_True ? 1 : o == Py_False ? 0 : -1; }

static int formula_of(PyObject *o)
{
    if (!PyUnicode_CheckExact(o)) {
        return -1;
    }
    return PyUnicode_CompareWithASCIIString(o, "cover") == 0   ? 1
           : PyUnicode_CompareWithASCIIString(o, "torch") == 0 ? 0
                                                               : -1;
}

/* qmin and qmax; 0 where bits or a flag is not as C reads it. */
static int read_levels(fq_grid_kind *kind, PyObject *bits, int is_signed, int narrow)
{
    int overflow;
    const long n = PyLong_CheckExact(bits) ? PyLong_AsLongAndOverflow(bits, &overflow) : 0;
    if (is_signed < 0 || narrow < 0 || n < 1 + narrow || n > FQ_CHOOSE_MOST_BITS) {
        return 0;
    }
    const int64_t first = is_signed ? -((int64_t)1 << (n - 1)) : 0;
    kind->qmin = first + narrow, kind->qmax = first + ((int64_t)1 << n) - 1;
    return 1;
}

/* The least scale, and that of a range of 0.0 alone; 0 where eps is not as C reads it. */
static int read_eps(fq_grid_kind *kind, PyObject *eps)
{
    const double smallest = FLT_MIN; /* the smallest whose reciprocal float32 holds too */
    kind->least = smallest, kind->of_zero = 1;
    if (eps == Py_None) {
        return 1;
    }
    if (!PyFloat_CheckExact(eps)) {
        return 0;
    }
    const double given = PyFloat_AsDouble(eps);
    kind->least = kind->of_zero = given > smallest ? given : smallest;
    return given > 0 && (kind->in_f64 ? given <= DBL_MAX : (float)given <= FLT_MAX);
}

/* None where C does not take the call. In a call that was checked (in_f64 is no None) a scale may overflow. */
PyObject *fq_choose_qparams(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 10 || !PyType_Check(args[0]) || !PyType_IsSubtype((PyTypeObject *)args[0], &PyTuple_Type)) {
        return PyErr_Format(PyExc_TypeError, "_choose_qparams takes a type of tuple and 9 arguments");
    }
    fq_grid_kind kind = {.symmetric = flag_of(args[5]), .cover = formula_of(args[7])};
    end low = {0}, high = {0};
    PyArrayObject *shape;
    PyObject *found = NULL;
    int wrong = FQ_CHOOSE_NOT_FINITE;
    if (kind.symmetric >= 0 && kind.cover >= 0 && read_levels(&kind, args[3], flag_of(args[4]), flag_of(args[6])) &&
        read_end(&low, args[1]) && read_end(&high, args[2]) && shape_of(&shape, &low, &high)) {
        kind.in_f64 = args[9] == Py_None ? low.in_f64 || high.in_f64 : args[9] == Py_True;
        const fq_ranges ranges = {data_of(&low), data_of(&high), step_of(&low), step_of(&high)};
        if (read_eps(&kind, args[8])) {
            found = shape ? choose_all(args[0], &kind, &ranges, shape, &wrong)
                          : choose_one(args[0], &kind, &ranges, &wrong);
        }
    }
    Py_XDECREF((PyObject *)low.array);
    Py_XDECREF((PyObject *)high.array);
    if (found != NULL && wrong != 0 && args[9] == Py_None) {
        Py_CLEAR(found);
    }
    return found == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : found;
}
