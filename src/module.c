/* The extension module fq._core: the ufuncs, and which SIMD target they run on. */
#include "ufuncs.h"

#include <stdlib.h>

#include "dispatch.h"

static PyObject *targets(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyObject *names = PyList_New(0);
    const fq_target *target;
    for (size_t i = 0; names != NULL && (target = fq_target_available(i)) != NULL; i++) {
        PyObject *name = PyUnicode_FromString(target->name);
        if (name == NULL || PyList_Append(names, name) < 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *target(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyUnicode_FromString(fq_target_in_use()->name);
}

static int use_target(PyObject *module, const char *name, PyObject *error)
{
    if (fq_target_use(name) == 0) {
        return 0;
    }
    PyObject *names = targets(module, NULL);
    if (names != NULL) {
        PyErr_Format(error, "no SIMD target %s on this machine; it has %R", name, names);
        Py_DECREF(names);
    }
    return -1;
}

static PyObject *set_target(PyObject *module, PyObject *argument)
{
    const char *name = PyUnicode_AsUTF8(argument);
    if (name == NULL || use_target(module, name, PyExc_ValueError) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"targets", targets, METH_NOARGS, "targets(): the SIMD targets this machine can run, the best first."},
    {"target", target, METH_NOARGS, "target(): the SIMD target in use."},
    {"_set_target", set_target, METH_O, "_set_target(name): use another target from now on, in every thread."},
    {"_describe", fq_describe, METH_VARARGS, "_describe(ufunc, doc): set the docstring of a ufunc."},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    const char *wanted = getenv("FQ_SIMD");
    if (wanted != NULL && *wanted != '\0') {
        if (use_target(module, wanted, PyExc_ImportError) < 0) {
            return -1;
        }
    }
    else if (fq_target_use(NULL) < 0) {
        PyErr_SetString(PyExc_ImportError, "fq was built without any SIMD target");
        return -1;
    }
    return fq_add_ufuncs(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)start},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fq._core",
    .m_doc = "The ufuncs of fq, in C. Their public names are in fq and fq.reciprocal.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
