/* Distributions and the ranges to clip them to, as Python calls for them. */
#ifndef FQ_DISTRIBUTIONS_H
#define FQ_DISTRIBUTIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _clip_range(method, bins, low, high, steps, symmetric, share): replaces low and high, of float64, by the ends to clip to. */
PyObject *fq_clip_range(PyObject *module, PyObject *args);

#endif
