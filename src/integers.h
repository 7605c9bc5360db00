/* Functions between floats and stored integers, as Python calls them. */
#ifndef FQ_INTEGERS_H
#define FQ_INTEGERS_H

#include "ufuncs.h"

/* Finds the types of integers; -1 with an exception set. */
int fq_find_storages(void);

PyObject *fq_list_storages(PyObject *module, PyObject *unused);
PyObject *fq_quantize(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *fq_dequantize(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *fq_pack(PyObject *module, PyObject *args);
PyObject *fq_unpack(PyObject *module, PyObject *args);

#endif
