/* What an observer asks of C, as Python calls it: arrays that fq/observer.py has made ready, and arrays that it keeps. */
#include "observers.h"

#include <stdlib.h>
#include <string.h>

#include "fpflags.h"
#include "observe.h"
#include "threads.h"
#include "ufuncs.h"

#include "numpy_api.h"

/* An array, and the axes along which each place has a set. */
typedef struct {
    fq_call call;
    npy_intp sets;
} observed;

/* 0 with an exception set. Sets are numbered in the order of the kept axes. */
static int read_observed(observed *o, PyObject *args)
{
    PyObject *array, *kept;
    if (!PyArg_ParseTuple(args, "OO", &array, &kept)) {
        return 0;
    }
    PyArrayObject *x = (PyArrayObject *)array;
    const int type = PyArray_Check(array) ? fq_type_of_dtype(Py_TYPE((PyObject *)PyArray_DESCR(x))) : -1;
    if (type < 0 || !PyArray_ISALIGNED(x) || !PyArray_ISNOTSWAPPED(x) || PyArray_SIZE(x) == 0 || !PyTuple_Check(kept) ||
        PyTuple_Size(kept) != PyArray_NDIM(x)) {
        PyErr_SetString(PyExc_TypeError,
                        "x must be an aligned native array of a type of fq, with a bool for each axis");
        return 0;
    }
    memset(&o->call, 0, sizeof o->call);
    o->call.type = (fq_type)type, o->call.axes = PyArray_NDIM(x), o->call.data[0] = PyArray_BYTES(x), o->sets = 1;
    for (int axis = PyArray_NDIM(x) - 1; axis >= 0; axis--) {
        const int keep = PyTuple_GetItem(kept, axis) == Py_True;
        o->call.axis[axis] = (fq_loop){.length = (size_t)PyArray_DIM(x, axis),
                                       .array = {PyArray_STRIDE(x, axis)},
                                       .sum = keep ? (size_t)o->sets : 0};
        o->sets *= keep ? PyArray_DIM(x, axis) : 1;
    }
    return 1;
}

static PyArrayObject *new_array(int axes, npy_intp length, npy_intp width, int type)
{
    npy_intp shape[2] = {length, width};
    return (PyArrayObject *)PyArray_SimpleNew(axes, shape, type);
}

/* The values of keys as an array of the type computed in. */
static PyObject *values_of(const int64_t *keys, const observed *o)
{
    const int in_f64 = o->call.type == FQ_F64;
    PyArrayObject *wide = new_array(1, o->sets, 0, NPY_DOUBLE);
    if (wide == NULL) {
        return NULL;
    }
    fq_values_of_keys(PyArray_DATA(wide), keys, (size_t)o->sets, o->call.type);
    if (in_f64) {
        return (PyObject *)wide;
    }
    PyObject *narrow = PyArray_Cast(wide, NPY_FLOAT);
    Py_DECREF(wide);
    return narrow;
}

/* The counts of NaN and infinities, or None where there are none. */
static PyObject *counts_of(const fq_ends *ends, npy_intp sets)
{
    if (!ends->special) {
        Py_RETURN_NONE;
    }
    PyObject *all = PyTuple_New(FQ_SPECIALS);
    for (int k = 0; all != NULL && k < FQ_SPECIALS; k++) {
        PyArrayObject *one = new_array(1, sets, 0, NPY_UINT64);
        if (one == NULL) {
            Py_CLEAR(all);
            break;
        }
        memcpy(PyArray_DATA(one), ends->count[k], (size_t)sets * sizeof(uint64_t));
        PyTuple_SetItem(all, k, (PyObject *)one);
    }
    return all;
}

static PyObject *pack_three(PyObject *a, PyObject *b, PyObject *c)
{
    PyObject *all = a != NULL && b != NULL && c != NULL ? PyTuple_Pack(3, a, b, c) : NULL;
    Py_XDECREF(a);
    Py_XDECREF(b);
    Py_XDECREF(c);
    return all;
}

PyObject *fq_extremes(PyObject *Py_UNUSED(module), PyObject *args)
{
    observed o;
    fq_ends ends;
    if (!read_observed(&o, args)) {
        return NULL;
    }
    const size_t sets = (size_t)o.sets;
    uint64_t *memory = calloc(sets, (2 + FQ_SPECIALS) * sizeof *memory);
    fq_status status = FQ_NO_MEMORY;
    if (memory != NULL) {
        ends.low = (int64_t *)memory, ends.high = (int64_t *)memory + sets;
        for (size_t k = 0; k < FQ_SPECIALS; k++) {
            ends.count[k] = memory + (2 + k) * sets;
        }
        Py_BEGIN_ALLOW_THREADS
        status = fq_find_ends(&o.call, sets, &ends);
        Py_END_ALLOW_THREADS
    }
    PyObject *result = NULL;
    if (status == FQ_OK) {
        result = pack_three(values_of(ends.low, &o), values_of(ends.high, &o), counts_of(&ends, o.sets));
    }
    else {
        PyErr_NoMemory();
    }
    free(memory);
    return result;
}

/* ---- Bins ---- */

static PyArrayObject *new_cells(npy_intp bins, size_t width) { return new_array(2, bins, (npy_intp)width, NPY_UINT64); }

static PyObject *bins_to_python(const fq_bins *bins, size_t width, PyArrayObject *start)
{
    PyArrayObject *key = new_array(1, (npy_intp)bins->count, 0, NPY_UINT32);
    PyArrayObject *cell = new_cells((npy_intp)bins->count, width);
    if (key != NULL && cell != NULL && bins->count > 0) {
        memcpy(PyArray_DATA(key), bins->key, bins->count * sizeof *bins->key);
        memcpy(PyArray_DATA(cell), bins->cell, bins->count * width * sizeof *bins->cell);
    }
    return pack_three((PyObject *)start, (PyObject *)key, (PyObject *)cell);
}

PyObject *fq_distribution(PyObject *Py_UNUSED(module), PyObject *args)
{
    observed o;
    fq_bins bins;
    if (!read_observed(&o, args)) {
        return NULL;
    }
    PyArrayObject *start = new_array(1, o.sets + 1, 0, NPY_INT64);
    if (start == NULL) {
        return NULL;
    }
    int64_t *ends = PyArray_DATA(start);
    fq_status status;
    Py_BEGIN_ALLOW_THREADS
    status = fq_find_distribution(&o.call, (size_t)o.sets, &bins, ends + 1);
    Py_END_ALLOW_THREADS
    if (status != FQ_OK) {
        Py_DECREF(start);
        return PyErr_NoMemory();
    }
    ends[0] = 0;
    for (npy_intp set = 0; set < o.sets; set++) {
        ends[set + 1] += ends[set];
    }
    PyObject *result = bins_to_python(&bins, fq_cell_of(o.call.type), start);
    free(bins.key);
    free(bins.cell);
    return result;
}

/* Bins as Python holds them. */
typedef struct {
    fq_bins bins;
    const int64_t *start;
    npy_intp sets, width;
} held;

static int is_array_of(PyObject *o, int axes, int type)
{
    return PyArray_Check(o) && PyArray_NDIM((PyArrayObject *)o) == axes && PyArray_TYPE((PyArrayObject *)o) == type &&
           PyArray_ISCARRAY_RO((PyArrayObject *)o);
}

/* Whether the arrays are bins, the starts of which ascend from 0 to their number. */
static int read_held(held *h, PyObject *start, PyObject *key, PyObject *cell)
{
    if (!is_array_of(start, 1, NPY_INT64) || !is_array_of(key, 1, NPY_UINT32) || !is_array_of(cell, 2, NPY_UINT64)) {
        return 0;
    }
    PyArrayObject *starts = (PyArrayObject *)start, *keys = (PyArrayObject *)key, *cells = (PyArrayObject *)cell;
    h->sets = PyArray_DIM(starts, 0) - 1, h->width = PyArray_DIM(cells, 1), h->start = PyArray_DATA(starts);
    h->bins.count = (size_t)PyArray_DIM(keys, 0), h->bins.key = PyArray_DATA(keys), h->bins.cell = PyArray_DATA(cells);
    int fits = h->sets >= 0 && PyArray_DIM(cells, 0) == PyArray_DIM(keys, 0) && h->start[0] == 0 &&
               h->start[h->sets] == (int64_t)h->bins.count;
    for (npy_intp set = 0; fits && set < h->sets; set++) {
        fits = h->start[set] <= h->start[set + 1];
    }
    return fits;
}

PyObject *fq_merge(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *given[6];
    held a, b;
    if (!PyArg_ParseTuple(args, "OOOOOO", &given[0], &given[1], &given[2], &given[3], &given[4], &given[5])) {
        return NULL;
    }
    if (!read_held(&a, given[0], given[1], given[2]) || !read_held(&b, given[3], given[4], given[5]) ||
        a.sets != b.sets || a.width != b.width) {
        PyErr_SetString(PyExc_ValueError, "these are not the bins of two observers of as many sets");
        return NULL;
    }
    const size_t most = a.bins.count + b.bins.count, width = (size_t)a.width;
    fq_bins both = {.key = malloc(most * sizeof *both.key + 1), .cell = malloc(most * width * sizeof *both.cell + 1)};
    PyArrayObject *start = new_array(1, a.sets + 1, 0, NPY_INT64);
    PyObject *result = NULL;
    if (both.key != NULL && both.cell != NULL && start != NULL) {
        fq_merge_bins((size_t)a.sets, width, a.start, &a.bins, b.start, &b.bins, PyArray_DATA(start), &both);
        result = bins_to_python(&both, width, start);
    }
    else {
        Py_XDECREF((PyObject *)start);
        PyErr_NoMemory();
    }
    free(both.key);
    free(both.cell);
    return result;
}

static int is_f64_of(PyObject *o, npy_intp length)
{
    return is_array_of(o, 1, NPY_DOUBLE) && PyArray_DIM((PyArrayObject *)o, 0) == length;
}

/* A tuple of so many vectors of float64, and where the data of each are. */
static PyObject *new_vectors(npy_intp length, int n, double **data)
{
    PyObject *all = PyTuple_New(n);
    for (int k = 0; all != NULL && k < n; k++) {
        PyArrayObject *one = new_array(1, length, 0, NPY_DOUBLE);
        if (one == NULL) {
            Py_CLEAR(all);
            break;
        }
        data[k] = PyArray_DATA(one);
        PyTuple_SetItem(all, k, (PyObject *)one);
    }
    return all;
}

int fq_read_seen_bins(fq_seen_bins *d, PyObject *dtype, PyObject *const *bins)
{
    held h;
    const int type = fq_type_of_dtype(Py_TYPE(dtype));
    if (type < 0 || !read_held(&h, bins[0], bins[1], bins[2]) || h.width != (npy_intp)fq_cell_of((fq_type)type) ||
        !is_f64_of(bins[3], h.sets) || !is_f64_of(bins[4], h.sets)) {
        return 0;
    }
    *d = (fq_seen_bins){(fq_type)type,
                        (size_t)h.sets,
                        h.start,
                        h.bins.key,
                        h.bins.cell,
                        PyArray_DATA((PyArrayObject *)bins[3]),
                        PyArray_DATA((PyArrayObject *)bins[4])};
    return 1;
}

typedef struct {
    const fq_seen_bins *from;
    fq_bin_values to;
} conversion;

static void convert_sets(void *context, size_t Py_UNUSED(piece), size_t first, size_t end)
{
    const conversion *c = context;
    const fq_fpflags flags = fq_fpflags_save();
    for (size_t set = first; set < end; set++) {
        const int64_t at = c->from->start[set];
        fq_bin_values to = {
            0, c->to.lower + at, c->to.upper + at, c->to.count + at, c->to.total + at, c->to.square + at};
        fq_values_of_bins(&to, c->from, set);
    }
    fq_fpflags_restore(flags);
}

PyObject *fq_bins_as_values(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { BINS_A_THREAD = 32768 };
    PyObject *dtype, *bins[5];
    fq_seen_bins from;
    if (!PyArg_ParseTuple(args, "OOOOOO", &dtype, bins, bins + 1, bins + 2, bins + 3, bins + 4)) {
        return NULL;
    }
    if (!fq_read_seen_bins(&from, dtype, bins)) {
        PyErr_SetString(PyExc_ValueError, "these are not the bins of sets with their extremes");
        return NULL;
    }
    const size_t n = (size_t)from.start[from.sets];
    double *data[5];
    PyObject *result = new_vectors((npy_intp)n, 5, data);
    if (result != NULL) {
        conversion c = {&from, {n, data[0], data[1], data[2], data[3], data[4]}};
        Py_BEGIN_ALLOW_THREADS
        fq_parallel(from.sets, fq_pieces(n, BINS_A_THREAD), convert_sets, &c);
        Py_END_ALLOW_THREADS
    }
    return result;
}
