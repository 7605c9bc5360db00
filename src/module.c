/* The extension module fq._core: the ufuncs, and which SIMD target they run on. */
#include "ufuncs.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "bitrows.h"
#include "cache.h"
#include "dispatch.h"
#include "distributions.h"
#include "integers.h"
#include "observers.h"
#include "ranges.h"
#include "reductions.h"
#include "pages.h"
#include "tensors.h"
#include "threads.h"
#include "blocks.h"
#include "words.h"
#include "xla.h"

enum { MOST_THREADS = 1024 };

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
    const char *name = PyUnicode_AsUTF8AndSize(argument, NULL);
    if (name == NULL || use_target(module, name, PyExc_ValueError) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_num_threads_doc,
             "set_num_threads($module, n, /)\n--\n\n"
             "Run long calls on so many threads, whatever OMP_NUM_THREADS says; results do not depend on it.\n\n"
             "Parameters\n----------\n"
             "n : int\n    1 to 1024.\n\n"
             "Raises\n------\n"
             "TypeError\n    If n is not an integer.\n"
             "ValueError\n    If n is out of range.");

PyDoc_STRVAR(get_num_threads_doc, "get_num_threads($module, /)\n--\n\n"
                                  "The number of threads that a long call runs on.\n\n"
                                  "Returns\n-------\n"
                                  "int\n    1 without OpenMP and in a forked child.");

static PyObject *set_num_threads(PyObject *Py_UNUSED(module), PyObject *argument)
{
    int overflow;
    const long n = PyLong_AsLongAndOverflow(argument, &overflow);
    if (n == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (overflow != 0 || n < 1 || n > MOST_THREADS) {
        return PyErr_Format(PyExc_ValueError, "the number of threads must be 1 to %d, got %S", MOST_THREADS, argument);
    }
    fq_set_num_threads((int)n);
    Py_RETURN_NONE;
}

static PyObject *get_num_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromLong(fq_get_num_threads());
}

static PyObject *cache_threshold(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromSize_t(fq_cache_threshold());
}

static PyObject *set_cache_threshold(PyObject *Py_UNUSED(module), PyObject *argument)
{
    const size_t bytes = PyLong_AsSize_t(argument);
    if (bytes == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    fq_set_cache_threshold(bytes);
    Py_RETURN_NONE;
}

static PyObject *compiler(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
#if defined(__VERSION__) && defined(__clang__)
    return PyUnicode_FromString(__VERSION__);
#elif defined(__VERSION__)
    return PyUnicode_FromString("gcc " __VERSION__);
#else
    return PyUnicode_FromString("unknown");
#endif
}

static PyObject *has_openmp(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
#ifdef _OPENMP
    Py_RETURN_TRUE;
#else
    Py_RETURN_FALSE;
#endif
}

static PyObject *use_large_pages(PyObject *Py_UNUSED(module), PyObject *memory)
{
    Py_buffer view;
    if (PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    fq_large_pages(view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyObject *all_set(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer view;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "y*n", &view, &n)) {
        return NULL;
    }
    const Py_ssize_t row = n / 8 + (n % 8 > 0);
    const int rows_are_whole = n >= 0 && (row > 0 ? view.len % row : view.len) == 0;
    const int is_so = rows_are_whole && fq_all_set(view.buf, (size_t)view.len, (size_t)n);
    PyBuffer_Release(&view);
    if (!rows_are_whole) {
        return PyErr_Format(PyExc_ValueError, "bits are not whole rows of %zd", n);
    }
    return PyBool_FromLong(is_so);
}

/* {name: capsule}, as jax.ffi.register_ffi_target takes them. */
static PyObject *xla_handlers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyObject *all = PyDict_New();
    for (const fq_xla_target *t = fq_xla_targets; all != NULL && t->name != NULL; t++) {
        PyObject *capsule = PyCapsule_New(t->handler, NULL, NULL);
        if (capsule == NULL || PyDict_SetItemString(all, t->name, capsule) < 0) {
            Py_CLEAR(all);
        }
        Py_XDECREF(capsule);
    }
    return all;
}

#define REDUCTION(with, OP, op, ...)                       \
    {"_" #op, (PyCFunction)(void *)fq_##op, METH_FASTCALL, \
     "_" #op "(reciprocal, dy, x or residual, scale, zero_point, qmin, qmax, out): see fq/learnable.py."},
static PyMethodDef methods[] = {
    {"types", fq_types, METH_NOARGS, "types(): the dtypes that x may have here."},
    {"targets", targets, METH_NOARGS, "targets(): the SIMD targets this machine can run, the best first."},
    {"target", target, METH_NOARGS, "target(): the SIMD target in use."},
    {"_set_target", set_target, METH_O, "_set_target(name): use another target from now on, in every thread."},
    {"set_num_threads", set_num_threads, METH_O, set_num_threads_doc},
    {"get_num_threads", get_num_threads, METH_NOARGS, get_num_threads_doc},
    {"cache_threshold", cache_threshold, METH_NOARGS,
     "cache_threshold(): bytes of an output above which it is stored past the cache."},
    {"_set_cache_threshold", set_cache_threshold, METH_O,
     "_set_cache_threshold(bytes): another threshold; 0 for the machine's own."},
    {"compiler", compiler, METH_NOARGS, "compiler(): what built this extension."},
    {"has_openmp", has_openmp, METH_NOARGS, "has_openmp(): whether this build has threads of its own."},
    FQ_REDUCTION_ROWS(REDUCTION, ){"_choose_qparams", (PyCFunction)(void *)fq_choose_qparams, METH_FASTCALL,
                                   "_choose_qparams(QParams, xmin, ..., eps, in_f64): see fq/qparams.py."},
    {"_clip_range", fq_clip_range, METH_VARARGS,
     "_clip_range(method, dtype, bins, low, high, steps, symmetric, share): see fq/_clip.py."},
    {"_quantize", (PyCFunction)(void *)fq_quantize, METH_FASTCALL,
     "_quantize(reciprocal, x, scale, zero_point, qmin, qmax, dtype, bits, out): see fq/integers.py."},
    {"_dequantize", (PyCFunction)(void *)fq_dequantize, METH_FASTCALL,
     "_dequantize(q, scale, zero_point, dtype, bits, n, signed, out): see fq/integers.py."},
    {"_pack", fq_pack, METH_VARARGS, "_pack(to, bytes, n, bits): pack rows of n bytes."},
    {"_unpack", fq_unpack, METH_VARARGS, "_unpack(to, packed, n, bits, signed): unpack rows to n bytes."},
    {"storages", fq_list_storages, METH_NOARGS,
     "storages(): {dtype: (bits, is signed)} of the integers here, the rows of src/kinds.h."},
    {"_extremes", fq_extremes, METH_VARARGS, "_extremes(x, kept): see src/observers.h."},
    {"_distribution", fq_distribution, METH_VARARGS, "_distribution(x, kept): see src/observers.h."},
    {"_merge_bins", fq_merge, METH_VARARGS,
     "_merge_bins(start, keys, cells, start, keys, cells): see src/observers.h."},
    {"_values_of_bins", fq_bins_as_values, METH_VARARGS,
     "_values_of_bins(dtype, start, keys, cells, low, high): see src/observers.h."},
    {"_use_torch", fq_use_torch, METH_VARARGS, "see src/tensors.h, as of the next four"},
    {"_tensor_forward", (PyCFunction)(void *)fq_tensor_forward, METH_FASTCALL, NULL},
    {"_tensor_backward", (PyCFunction)(void *)fq_tensor_backward, METH_FASTCALL, NULL},
    {"_tensor_learn", (PyCFunction)(void *)fq_tensor_learn, METH_FASTCALL, NULL},
    {"_tensor_observed", (PyCFunction)(void *)fq_tensor_observed, METH_FASTCALL, NULL},
    {"_use_large_pages", use_large_pages, METH_O,
     "_use_large_pages(memory): ask for large pages under what is written first, where that pays."},
    {"_blocks", fq_blocks, METH_VARARGS, "_blocks(x, y, mask, scales, shape, rule, format, ...): see fq/blocks.py."},
    {"_random_words", fq_random_words, METH_VARARGS,
     "_random_words(out, key0, key1, start): fills a contiguous array of uint16 with random words; see fq/_words.py."},
    {"_all_set", all_set, METH_VARARGS, "_all_set(bits, n): whether all bits of each row of n elements are set."},
    {"xla_handlers", xla_handlers, METH_NOARGS,
     "xla_handlers(): XLA's handlers by name, none in a build without XLA's header."},
    {"_into_new", (PyCFunction)(void *)fq_into_new, METH_FASTCALL,
     "_into_new(ufunc, out, *inputs): a call with out= in memory that was not touched before."},
    {"operations", fq_list_operations, METH_VARARGS,
     "operations(rule='divide'): {name: {inputs, parameters, outputs: names; reduction: bool; packed: a name or "
     "None}}, the "
     "rows of src/ops.h."},
    {"rules", fq_list_rules, METH_NOARGS, "rules(): names of the dicts of ufuncs, a rule of rounding each."},
    {"_help_with", fq_help_with, METH_O, "_help_with(module): who tells errors in words; see fq/_errors.py."},
    {"_describe", fq_describe, METH_VARARGS, "_describe(ufunc, doc): set the docstring of a ufunc."},
    {NULL, NULL, 0, NULL},
};

/* FQ_NUM_THREADS, or what OpenMP says. */
static int start_threads(void)
{
    const char *wanted = getenv("FQ_NUM_THREADS");
    fq_threads_start();
    if (wanted == NULL || *wanted == '\0') {
        return 0;
    }
    char *end;
    const long n = strtol(wanted, &end, 10);
    if (*end != '\0' || n < 1 || n > MOST_THREADS) {
        PyErr_Format(PyExc_ImportError, "FQ_NUM_THREADS must be 1 to %d, got %s", MOST_THREADS, wanted);
        return -1;
    }
    fq_set_num_threads((int)n);
    return 0;
}

/* FQ_STREAM_FROM, or what the machine says. */
static int start_cache(void)
{
    const char *wanted = getenv("FQ_STREAM_FROM");
    fq_cache_start();
    if (wanted == NULL || *wanted == '\0') {
        return 0;
    }
    char *end;
    errno = 0;
    const unsigned long long bytes = strtoull(wanted, &end, 10);
    if (*end != '\0' || *wanted < '0' || *wanted > '9' || errno != 0 || bytes > SIZE_MAX) {
        PyErr_Format(PyExc_ImportError, "FQ_STREAM_FROM must be a number of bytes, got %s", wanted);
        return -1;
    }
    fq_set_cache_threshold(bytes > 0 ? (size_t)bytes : 1);
    return 0;
}

static int start(PyObject *module)
{
    if (start_threads() < 0 || start_cache() < 0) {
        return -1;
    }
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
    return fq_add_ufuncs(module) < 0 ? -1 : fq_find_storages();
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
