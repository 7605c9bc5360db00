/* What an observer asks of C, as Python calls it. */
#ifndef FQ_OBSERVERS_H
#define FQ_OBSERVERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "observe.h"

/* _extremes(x, kept): (least, greatest, None or (NaN, inf, -inf)), arrays of one value a set. The arrays of the ends are float64
 * for float64, else float32. x: an array of a type of fq, aligned, native, of elements; kept: a bool an axis. */
PyObject *fq_extremes(PyObject *module, PyObject *args);

/* _distribution(x, kept): (start, keys, cells) of the bins of the sets, as fq/observer.py holds them. */
PyObject *fq_distribution(PyObject *module, PyObject *args);

/* _merge_bins(start, keys, cells, start, keys, cells): the bins of both. */
PyObject *fq_merge(PyObject *module, PyObject *args);

/* Whether bins are (start, keys, cells, low, high) of arrays of a type, the last two vectors of float64, the extremes of the sets;
 * then gives where they lie. */
int fq_read_seen_bins(fq_seen_bins *d, PyObject *dtype, PyObject *const *bins);

/* _values_of_bins(dtype, start, keys, cells, low, high): (lower, upper, count, total, square), as fq/_bins.py has them; low and
 * high: vectors of float64, the extremes of the sets. */
PyObject *fq_bins_as_values(PyObject *module, PyObject *args);

#endif
