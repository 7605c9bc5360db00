/* The learnable backward as Python calls it. */
#ifndef FQ_REDUCTIONS_H
#define FQ_REDUCTIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _backward_learnable(reciprocal, dy, x, scale, zero_point, qmin, qmax, out): (dx, dscale, dzero_point), or None where the
 * arguments are not as C reads them. */
PyObject *fq_backward_learnable(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
