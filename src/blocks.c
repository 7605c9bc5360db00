/* Checks what Python gives for blocks, and runs them on threads. */
#include "blocks.h"

#include "arguments.h"
#include "dispatch.h"
#include "formats.h"
#include "fpflags.h"
#include "threads.h"

enum { ELEMENTS_OF_A_THREAD = 128 * 1024 };

typedef struct {
    fq_block_call call;
    fq_blocks_of *kernel;
} request;

static void run(void *context, size_t piece, size_t from, size_t to)
{
    const request *r = context;
    const fq_fpflags flags = fq_fpflags_save();
    (void)piece;
    r->kernel(&r->call, from, to);
    fq_fpflags_restore(flags);
}

/* Whether the arrays are as large as the shape says; the caller has made them so. */
static int fits(const fq_block_call *c, PyArrayObject *x, PyArrayObject *y, const Py_buffer *mask,
                const Py_buffer *scales)
{
    const size_t elements = c->outer * c->n * c->inner, whole = c->block % 8 == 0 && c->n % 8 == 0 && c->inner == 1;
    const size_t kept = c->kept == 0 ? 0 : c->kept == 8 ? elements : elements / 8;
    return c->block > 0 && (size_t)PyArray_SIZE(x) == elements && (size_t)PyArray_SIZE(y) == elements &&
           PyArray_IS_C_CONTIGUOUS(x) && PyArray_IS_C_CONTIGUOUS(y) && PyArray_ISBEHAVED(y) &&
           PyArray_ISBEHAVED_RO(x) && PyArray_TYPE(x) == PyArray_TYPE(y) &&
           (c->kept == 0 || (size_t)mask->len == kept) && (c->kept != 1 || whole) &&
           (size_t)scales->len == c->outer * c->blocks * c->inner;
}

static PyObject *run_request(request *r, PyArrayObject *x, PyArrayObject *y, const Py_buffer *mask,
                             const Py_buffer *scales)
{
    fq_block_call *c = &r->call;
    const int type = fq_type_of_dtype(Py_TYPE((PyObject *)PyArray_DESCR(x)));
    c->blocks = c->block > 0 ? (c->n + c->block - 1) / c->block : 0;
    if (type < 0 || !fits(c, x, y, mask, scales)) {
        PyErr_SetString(PyExc_ValueError, "_blocks: arrays that do not fit each other");
        return NULL;
    }
    c->x = PyArray_DATA(x), c->y = PyArray_DATA(y), c->mask = mask->buf, c->scales = scales->buf;
    r->kernel = fq_target_in_use()->blocks[type];
    const size_t all = c->outer * c->blocks * c->inner;
    Py_BEGIN_ALLOW_THREADS;
    if (all > 0) {
        fq_parallel(all, fq_pieces(c->outer * c->n * c->inner, ELEMENTS_OF_A_THREAD), run, r);
    }
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyObject *fq_blocks(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *x, *y, *result = NULL;
    Py_buffer mask = {0}, scales;
    Py_ssize_t outer, n, inner, block;
    int rule, bits, least, signed_zero, kept, points;
    double max, tensor_scale;
    if (!PyArg_ParseTuple(args, "O!O!z*w*(nnnn)i(iidp)dii", &PyArray_Type, &x, &PyArray_Type, &y, &mask, &scales,
                          &outer, &n, &inner, &block, &rule, &bits, &least, &max, &signed_zero, &tensor_scale, &kept,
                          &points)) {
        return NULL;
    }
    fq_values v = {.max = max, .mantissa_bits = bits, .min_exponent = least, .signed_zero = signed_zero};
    const fq_status status = fq_check_format(&v, 0);
    if (status != FQ_OK) {
        fq_raise_refused(status, &v, FQ_F32, NULL);
    }
    else {
        request r = {.call = {.outer = (size_t)outer,
                              .n = (size_t)n,
                              .inner = (size_t)inner,
                              .block = (size_t)block,
                              .rule = (fq_scale_rule)rule,
                              .format = fq_format_code(least, bits, signed_zero),
                              .kept = kept,
                              .points = points,
                              .max = max,
                              .beyond = fq_beyond_format(&v),
                              .tensor_scale = tensor_scale}};
        result = run_request(&r, (PyArrayObject *)x, (PyArrayObject *)y, &mask, &scales);
    }
    if (mask.obj != NULL) {
        PyBuffer_Release(&mask);
    }
    PyBuffer_Release(&scales);
    return result;
}
