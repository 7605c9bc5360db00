/* The short way into a ufunc, beside NumPy's. */
#ifndef FQ_DIRECT_H
#define FQ_DIRECT_H

#include "plain.h"

/* How Python calls a ufunc (PEP 590); the stable ABI of Python 3.11 does not name it. */
typedef PyObject *fq_vectorcall(PyObject *ufunc, PyObject *const *args, size_t nargs, PyObject *names);

/* Runs the call if it is a plain one; all_new: the outputs lie in memory that was not touched before. 1 with *result, which is
 * NULL with an exception set; 0 where nothing was done and the call is NumPy's. */
int fq_call_directly(const fq_ufunc_spec *spec, PyObject *const *args, size_t nargs, PyObject *names, int all_new,
                     PyObject **result);

#endif
