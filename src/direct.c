/* The short way into a ufunc: plain calls go straight to the loops, and all others to NumPy. */
#include "direct.h"

/* A bit of the number of arguments, which Python adds where their array has room before it. */
#define ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))

static int read_call(fq_plain_call *c, const fq_ufunc_spec *spec, PyObject *const *args, size_t nargs, PyObject *names)
{
    const Py_ssize_t keywords = names != NULL ? PyTuple_Size(names) : 0;
    if (nargs != (size_t)spec->nin || keywords > 1 || !fq_read_inputs(c, spec, args)) {
        return 0;
    }
    return keywords == 0 ||
           (PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "out") == 0 && fq_read_outputs(c, args[nargs]));
}

static void find_axes(const fq_plain_call *c, fq_axes *axes)
{
    PyArrayObject *x = c->operand[0];
    const int parameters = c->spec->scale ? FQ_PARAMETERS : 0, last = PyArray_NDIM(x) - 1;
    axes->count = 0;
    for (int axis = 0; axis <= last; axis++) {
        const npy_intp size = PyArray_DIM(x, axis);
        ptrdiff_t step[FQ_PARAMETERS] = {0};
        for (int k = 0; k < parameters; k++) {
            step[k] = fq_given_step(c, k, axis);
        }
        fq_add_axis(axes, (size_t)size, step, axis == last && fq_is_packed(c->spec) && size % 8 != 0);
    }
}

static fq_status run(const fq_plain_call *c, int new_outputs, fq_values *bad)
{
    const fq_call call = {c->spec->op, c->type, c->spec->reciprocal, new_outputs};
    const char *given[FQ_PARAMETERS];
    char *data[FQ_MAX_ARRAYS];
    fq_axes axes;
    fq_status status;
    find_axes(c, &axes);
    for (int k = 0; c->spec->scale && k < FQ_PARAMETERS; k++) {
        given[k] = fq_given_data(c, k);
    }
    for (int a = 0; a < FQ_MAX_ARRAYS; a++) {
        data[a] = PyArray_BYTES(c->operand[c->spec->arrays[a]]);
    }
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(PyArray_SIZE(c->operand[0]));
    status = fq_over_axes(&call, data, &axes, c->spec->scale ? given : NULL, bad);
    NPY_END_THREADS;
    return status;
}

/* The outputs, as a ufunc returns them; lets go of them. */
static PyObject *results(fq_plain_call *c, int failed)
{
    PyObject **outputs = (PyObject **)&c->operand[c->spec->nin];
    PyObject *all = NULL;
    if (!failed && c->spec->nout == 1) {
        return outputs[0];
    }
    if (!failed) {
        all = PyTuple_Pack(2, outputs[0], outputs[1]);
    }
    for (int o = 0; o < c->spec->nout; o++) {
        Py_XDECREF(outputs[o]);
    }
    return all;
}

int fq_call_directly(const fq_ufunc_spec *spec, PyObject *const *args, size_t nargs, PyObject *names, int all_new,
                     PyObject **result)
{
    fq_plain_call c;
    fq_values bad;
    int given = 0;
    if (!read_call(&c, spec, args, nargs & ~ARGUMENTS_OFFSET, names)) {
        return 0;
    }
    for (int o = 0; o < spec->nout; o++) {
        given += c.operand[spec->nin + o] != NULL;
    }
    int failed = !fq_own_outputs(&c);
    if (!failed) {
        const fq_status status = run(&c, all_new || given == 0, &bad);
        failed = status != FQ_OK;
        if (failed) {
            fq_raise_refused(status, &bad, c.type);
        }
    }
    *result = results(&c, failed);
    return 1;
}
