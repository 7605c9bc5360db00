/* Ranges and the grids made of them, as Python calls them. */
#ifndef FQ_RANGES_H
#define FQ_RANGES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _choose_qparams(QParams, xmin, xmax, bits, signed, symmetric, narrow_range, formula, eps, in_f64): the QParams, or None
 * where an argument is not as C reads it, or is wrong: fq/qparams.py then says what. in_f64: the type of the scale, or None
 * for that of the ends. */
PyObject *fq_choose_qparams(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
