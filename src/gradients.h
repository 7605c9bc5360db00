/* The learnable backward as Python calls it. */
#ifndef FQ_GRADIENTS_H
#define FQ_GRADIENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _learnable(reciprocal, dx, dy, x, scale, zero_point, qmin, qmax, keys, sums) over arrays of one shape; keys has the
 * steps of sums[0] and sums the two float64 sums of each key. The caller has seen to types, shapes and overlaps. */
PyObject *fq_learnable_from_python(PyObject *module, PyObject *args);

/* _learnable_plain(reciprocal, dy, x, scale, zero_point, qmin, qmax, out): the results of a plain call, or None. Where
 * all scales share a zero_point, its sums are left apart. */
PyObject *fq_learnable_plain(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
