/* PyTorch's tensors in and out in one call of C, through DLPack's C exchange API. Each function gives None where it does not
 * take the call, with nothing done; fq/torch/_fast.py tells what the arguments are. */
#ifndef FQ_TENSORS_H
#define FQ_TENSORS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _use_torch(capsule, Tensor, Parameter, keys_of, keys, empty_like, byte): whether this PyTorch is one that fq can read. */
PyObject *fq_use_torch(PyObject *module, PyObject *args);

/* _tensor_forward(x, scale, zero_point, qmin, qmax, reciprocal, axis, order, packed, real): y; or, packed, (y, bits or how many
 * bytes of them are all set, order, row). axis: the one that parameters of one axis vary along, or None. order: the axes of x, the
 * outermost in memory first, or None for what they are. real: whether zero_point may be real. */
PyObject *fq_tensor_forward(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* _tensor_backward(dy, bits, order, row): dx */
PyObject *fq_tensor_backward(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* _tensor_learn(dy, x, scale, zero_point, qmin, qmax, reciprocal, axis, order): (dx, dscale, dzero_point or None) */
PyObject *fq_tensor_learn(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* _tensor_observed(x, observes, quantizes, min, max, scale, zero_point, constant, qmin, qmax, symmetric, axis, order, packed, by_fbgemm):
 * the same of x, whose ends go into min and max, and these into scale and zero_point; order is not used. by_fbgemm: see fq_levels. */
PyObject *fq_tensor_observed(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
