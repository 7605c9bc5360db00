/* The functions with sums as Python calls them. */
#ifndef FQ_REDUCTIONS_H
#define FQ_REDUCTIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ops.h"

/* _NAME(reciprocal, dy, x or residual, scale, zero_point, qmin, qmax, out): (dx, dscale, dzero_point), or None where the
 * arguments are not as C reads them. */
#define FQ_REDUCTION_OF(with, OP, op, ...) PyObject *fq_##op(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
FQ_REDUCTION_ROWS(FQ_REDUCTION_OF, )
#undef FQ_REDUCTION_OF

#endif
