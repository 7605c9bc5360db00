/* The ufuncs of fq as Python objects. */
#ifndef FQ_UFUNCS_H
#define FQ_UFUNCS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "refused.h"

/* Loads NumPy, makes every ufunc and adds it to the module. -1 with an exception set on failure. */
int fq_add_ufuncs(PyObject *module);

/* types(): the dtypes of the element types that there are here. */
PyObject *fq_types(PyObject *module, PyObject *unused);

/* The element type that this DType (a PyArray_DTypeMeta) is, or -1; NULL is none. */
int fq_type_of_dtype(const void *dtype);

/* Sets the exception for a refused parameter; places as for fq_describe_refused. */
void fq_raise_refused(fq_status status, const fq_values *bad, fq_type type, char (*places)[FQ_PLACE]);

/* operations(rule): {name: {"inputs": [...], "parameters": [...], "outputs": [...], "reduction": bool, "packed": name}}. */
PyObject *fq_list_operations(PyObject *module, PyObject *args);

/* rules(): their names. */
PyObject *fq_list_rules(PyObject *module, PyObject *unused);

/* _help_with(module): who tells errors in words; see fq/_errors.py. */
PyObject *fq_help_with(PyObject *module, PyObject *errors);

/* _into_new(ufunc, out, *inputs): a call with out= in memory that was not touched before, which is not stored past the cache:
 * the system clears it into the cache. */
PyObject *fq_into_new(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* _describe(ufunc, doc): gives a ufunc its docstring where NumPy (before 2.4) cannot assign one. */
PyObject *fq_describe(PyObject *module, PyObject *args);

#endif
