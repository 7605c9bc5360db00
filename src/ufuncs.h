/* The ufuncs of fq as Python objects. */
#ifndef FQ_UFUNCS_H
#define FQ_UFUNCS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Loads NumPy, makes every ufunc and adds it to the module. -1 with an exception set on failure. */
int fq_add_ufuncs(PyObject *module);

/* _describe(ufunc, doc): gives a ufunc its docstring where NumPy (before 2.4) cannot assign one. */
PyObject *fq_describe(PyObject *module, PyObject *args);

#endif
