/* PyTorch's tensors in and out in one call of C, through DLPack's C exchange API: reads, checks, plans, allocates, runs. */
#include "tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bitrows.h"
#include "dlpack.h"
#include "observed.h"
#include "operations.h"
#include "pages.h"
#include "plan.h"

enum {
    FEW = 64, /* levels that are widened, and ends that are found, without an allocation */
    FEW_BYTES = 4096, /* of bits, which become a tensor where some are not set */
    ALONE_BELOW = 16384, /* elements below which the GIL is kept */
    SUMS = FQ_SUMS_A_SET
};

/* What fq.torch handed over at its import. */
static struct {
    dl_read *read;
    PyObject *tensor, *parameter, *keys_of, *raw, *empty_like, *byte, *new_empty;
    unsigned long long plain, inference; /* the dispatch keys of ordinary tensors on the CPU */
} torch;

/* A tensor, lent: the object that holds it must stay. */
typedef struct {
    PyObject *object;
    char *data;
    int axes, code;
    size_t item, count;
    const int64_t *shape, *stride;
} view;

static void keep(PyObject **to, PyObject *from)
{
    Py_XDECREF(*to);
    *to = Py_NewRef(from);
}

PyObject *fq_use_torch(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *capsule, *tensor, *parameter, *keys_of, *empty_like, *byte;
    unsigned long long plain, inference;
    if (!PyArg_ParseTuple(args, "OOOOOOKK", &capsule, &tensor, &parameter, &keys_of, &empty_like, &byte, &plain,
                          &inference)) {
        return NULL;
    }
    const dl_exchange *exchange = PyCapsule_GetPointer(capsule, DL_CAPSULE);
    if (exchange == NULL) {
        return NULL;
    }
    if (exchange->version.major != DL_MAJOR || exchange->read == NULL) {
        Py_RETURN_FALSE;
    }
    if (torch.raw == NULL) {
        torch.raw = PyUnicode_InternFromString("raw_repr");
        torch.new_empty = PyUnicode_InternFromString("new_empty");
    }
    if (torch.raw == NULL || torch.new_empty == NULL) {
        return NULL;
    }
    keep(&torch.tensor, tensor), keep(&torch.parameter, parameter), keep(&torch.keys_of, keys_of);
    keep(&torch.empty_like, empty_like), keep(&torch.byte, byte);
    torch.plain = plain, torch.inference = inference, torch.read = exchange->read;
    Py_RETURN_TRUE;
}

/* Whether the memory of a tensor holds its values, and nothing wraps it: by its dispatch keys, which name what does. */
static int has_plain_keys(PyObject *o)
{
    PyObject *keys = PyObject_CallFunctionObjArgs(torch.keys_of, o, NULL);
    PyObject *number = keys ? PyObject_CallMethodObjArgs(keys, torch.raw, NULL) : NULL;
    const unsigned long long found = number ? PyLong_AsUnsignedLongLong(number) : 0;
    Py_XDECREF(keys);
    Py_XDECREF(number);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return found == torch.plain || found == torch.inference;
}

static int is_tensor(PyObject *o)
{
    PyObject *type = (PyObject *)Py_TYPE(o);
    return type == torch.tensor || type == torch.parameter;
}

/* 0 where it is no ordinary tensor on the CPU with memory of its own. */
static int read_tensor(view *v, PyObject *o)
{
    dl_tensor t;
    if (torch.read == NULL || !is_tensor(o) || !has_plain_keys(o)) {
        return 0;
    }
    if (torch.read(o, &t) != 0) {
        PyErr_Clear();
        return 0;
    }
    v->object = o, v->axes = t.axes, v->shape = t.shape, v->stride = t.strides;
    v->data = t.data ? (char *)t.data + t.offset : NULL;
    v->code = t.type.code, v->item = t.type.bits / 8u, v->count = 1;
    for (int axis = 0; axis < t.axes && axis < FQ_MOST_AXES; axis++) {
        v->count *= (size_t)t.shape[axis];
    }
    return t.device.kind == DL_CPU && t.type.lanes == 1 && t.axes <= FQ_MOST_AXES && v->data != NULL && v->count > 0;
}

static int type_of(const view *v, fq_type *type)
{
    const int is_float = v->code == DL_FLOAT;
    *type = v->code == DL_BFLOAT ? FQ_BF16 : v->item == 2 ? FQ_F16 : v->item == 4 ? FQ_F32 : FQ_F64;
    return (is_float && (v->item == 2 || v->item == 4 || v->item == 8)) || (v->code == DL_BFLOAT && v->item == 2);
}

/* Whether the memory has no gaps in this order of the axes, the outermost first. */
static int is_dense(const view *v, const int *order)
{
    int64_t step = 1;
    for (int i = v->axes - 1; i >= 0; i--) {
        const int axis = order[i];
        if (v->shape[axis] != 1 && v->stride[axis] != step) {
            return 0;
        }
        step *= v->shape[axis];
    }
    return 1;
}

/* x's axes, the one with the largest stride first. 0 where its memory has gaps. */
static int memory_order(int *order, const view *x)
{
    for (int axis = 0; axis < x->axes; axis++) {
        order[axis] = axis;
    }
    if (is_dense(x, order)) {
        return 1;
    }
    for (int i = 1; i < x->axes; i++) {
        const int axis = order[i];
        int at = i;
        for (; at > 0 && x->shape[axis] != 1 &&
               (x->shape[order[at - 1]] == 1 || x->stride[order[at - 1]] < x->stride[axis]);
             at--) {
            order[at] = order[at - 1];
        }
        order[at] = axis;
    }
    return is_dense(x, order);
}

/* scale or zero_point: a number, or values with a step along each axis of x. */
typedef struct {
    const char *data;
    ptrdiff_t step[FQ_MOST_AXES]; /* in bytes */
    union {
        float f32;
        double f64;
        int64_t level;
        int64_t few[FEW];
    } own;
    void *allocated;
    size_t count;
    view from; /* of a tensor; else its object is NULL */
} parameter;

/* What a call computes with. */
typedef struct {
    view x;
    fq_type type;
    int order[FQ_MOST_AXES];
    int channel; /* the axis that parameters of one axis vary along; -1: they broadcast */
    int reciprocal;
    int64_t qmin, qmax;
    parameter scale, zero_point;
} grid;

static int64_t level_at(const view *v, size_t i)
{
    switch (v->item) {
    case 1: return v->code == DL_INT ? ((const int8_t *)v->data)[i] : ((const uint8_t *)v->data)[i];
    case 2: return ((const int16_t *)v->data)[i];
    case 4: return ((const int32_t *)v->data)[i];
    default: return ((const int64_t *)v->data)[i];
    }
}

static double real_at(const view *v, size_t i)
{
    return v->item == 8 ? ((const double *)v->data)[i] : (double)((const float *)v->data)[i];
}

static int is_real(const view *v) { return v->code == DL_FLOAT && (v->item == 4 || v->item == 8); }

static int is_level(const view *v) { return v->code == DL_INT || (v->code == DL_UINT && v->item == 1); }

/* Where a tensor's values stand beside x, in items. 0 where they do not broadcast. */
static int find_steps(parameter *p, const grid *g, size_t item)
{
    const view *v = &p->from;
    const int axes = g->x.axes, skipped = axes - v->axes;
    memset(p->step, 0, (size_t)axes * sizeof *p->step);
    if (g->channel >= 0) {
        p->step[g->channel] = v->count > 1 && v->axes == 1 ? v->stride[0] * (ptrdiff_t)item : 0;
        return v->axes == 1 && v->shape[0] == g->x.shape[g->channel];
    }
    for (int axis = 0; axis < v->axes; axis++) {
        if (skipped < 0 || (v->shape[axis] != 1 && v->shape[axis] != g->x.shape[axis + skipped])) {
            return 0;
        }
        p->step[axis + skipped] = v->shape[axis] != 1 ? v->stride[axis] * (ptrdiff_t)item : 0;
    }
    return 1;
}

static void set_scale(parameter *p, const grid *g, double value)
{
    g->type == FQ_F64 ? (void)(p->own.f64 = value) : (void)(p->own.f32 = (float)value);
    p->data = (const char *)&p->own;
}

/* A number as a parameter that all of x shares. */
static int is_shared(parameter *p, const grid *g)
{
    p->from.object = NULL, p->count = 1, p->allocated = NULL;
    memset(p->step, 0, (size_t)g->x.axes * sizeof *p->step);
    return 1;
}

static int read_scale(parameter *p, const grid *g, PyObject *o)
{
    if (PyFloat_CheckExact(o)) {
        set_scale(p, g, PyFloat_AsDouble(o));
        return is_shared(p, g);
    }
    const size_t item = g->type == FQ_F64 ? sizeof(double) : sizeof(float);
    p->allocated = NULL;
    if (!read_tensor(&p->from, o) || !is_real(&p->from)) {
        return 0;
    }
    p->count = p->from.count, p->data = p->from.data;
    if (p->count == 1 && p->from.item != item) {
        set_scale(p, g, real_at(&p->from, 0));
    }
    else if (p->from.item != item) {
        return 0;
    }
    return find_steps(p, g, item);
}

/* Levels of a type that fq does not read, as int64; real ones are rounded into the grid, and NaN is not taken. */
static int widen(parameter *p, const grid *g)
{
    int64_t *to = p->own.few;
    if (p->count > FEW) {
        to = p->allocated = malloc(p->count * sizeof *to);
        if (to == NULL) {
            return 0;
        }
    }
    for (size_t i = 0; i < p->count; i++) {
        if (!is_real(&p->from)) {
            to[i] = level_at(&p->from, i);
            continue;
        }
        const double level = rint(real_at(&p->from, i));
        if (isnan(level)) {
            return 0;
        }
        to[i] = level <= (double)g->qmin ? g->qmin : level >= (double)g->qmax ? g->qmax : (int64_t)level;
    }
    p->data = (const char *)to;
    return 1;
}

static int read_zero_point(parameter *p, const grid *g, PyObject *o, int may_be_real)
{
    int first[FQ_MOST_AXES], overflow;
    if (PyLong_CheckExact(o)) {
        p->own.level = PyLong_AsLongLongAndOverflow(o, &overflow);
        p->data = (const char *)&p->own;
        return is_shared(p, g) && !overflow;
    }
    p->allocated = NULL;
    if (!read_tensor(&p->from, o) || !(is_level(&p->from) || (may_be_real && is_real(&p->from)))) {
        return 0;
    }
    p->count = p->from.count, p->data = p->from.data;
    if (!find_steps(p, g, sizeof(int64_t))) {
        return 0;
    }
    if (p->from.code == DL_INT && p->from.item == sizeof(int64_t)) {
        return 1;
    }
    for (int axis = 0; axis < p->from.axes; axis++) {
        first[axis] = axis;
    }
    return is_dense(&p->from, first) && widen(p, g);
}

static int read_level(int64_t *to, PyObject *o)
{
    int overflow;
    if (!PyLong_CheckExact(o)) {
        return 0;
    }
    *to = PyLong_AsLongLongAndOverflow(o, &overflow);
    return !overflow;
}

static int read_channel(grid *g, PyObject *o)
{
    int64_t axis = -1;
    if (o != Py_None && !read_level(&axis, o)) {
        return 0;
    }
    g->channel = (int)(axis < 0 && o != Py_None ? axis + g->x.axes : axis);
    return o == Py_None || (g->channel >= 0 && g->channel < g->x.axes);
}

static void release(grid *g)
{
    free(g->scale.allocated);
    free(g->zero_point.allocated);
}

/* The order of the axes as Python keeps it. */
static int read_order(int *order, PyObject *list, int axes)
{
    if (!PyList_CheckExact(list) || PyList_Size(list) != axes) {
        return 0;
    }
    for (int i = 0; i < axes; i++) {
        order[i] = (int)PyLong_AsLong(PyList_GetItem(list, i));
        if (order[i] < 0 || order[i] >= axes) {
            return 0;
        }
    }
    return 1;
}

/* The order that is asked for, or that of x's memory for None. 0 where x has gaps, or does not lie in this order. */
static int find_order(int *order, const view *x, PyObject *asked)
{
    return asked == Py_None ? memory_order(order, x) : read_order(order, asked, x->axes) && is_dense(x, order);
}

/* x, then from args on: scale, zero_point, qmin, qmax, reciprocal, axis. 0, holding nothing, where C does not take them. */
static int read_grid(grid *g, PyObject *x, PyObject *const *args, int may_be_real, PyObject *order)
{
    g->scale.allocated = g->zero_point.allocated = NULL;
    if (!read_tensor(&g->x, x) || !type_of(&g->x, &g->type) || !find_order(g->order, &g->x, order) ||
        !read_level(&g->qmin, args[2]) || !read_level(&g->qmax, args[3]) || !read_channel(g, args[5]) ||
        (may_be_real && g->qmin > g->qmax)) {
        return 0;
    }
    g->reciprocal = args[4] == Py_True;
    if (!read_scale(&g->scale, g, args[0]) || !read_zero_point(&g->zero_point, g, args[1], may_be_real)) {
        release(g);
        return 0;
    }
    return 1;
}

/* The axes of x as it lies, neighbours along which the parameters go on made one. */
static void plan_axes(fq_call *call, const grid *g)
{
    call->axes = 0;
    for (int i = 0; i < g->x.axes; i++) {
        const int axis = g->order[i];
        fq_loop loop = {.length = (size_t)g->x.shape[axis], .given = {g->scale.step[axis], g->zero_point.step[axis]}};
        const ptrdiff_t n = (ptrdiff_t)loop.length;
        if (n == 1) {
            continue;
        }
        const fq_loop *outer = call->axes > 0 ? &call->axis[call->axes - 1] : NULL;
        if (outer != NULL && outer->given[0] == n * loop.given[0] && outer->given[1] == n * loop.given[1]) {
            loop.length *= outer->length;
            call->axes--;
        }
        call->axis[call->axes++] = loop;
    }
    if (call->axes == 0) {
        call->axis[call->axes++] = (fq_loop){.length = 1};
    }
}

/* The steps of arrays without gaps; rows of packed bits begin a byte. */
static void plan_arrays(fq_call *call)
{
    const fq_operation *is = fq_operation_of(call->op, call->rule);
    for (int a = 0; a < is->arrays; a++) {
        size_t step = fq_item_size(is->kind[a], call->type);
        for (int axis = call->axes - 1; axis >= 0; axis--) {
            const size_t n = call->axis[axis].length;
            call->axis[axis].array[a] = (ptrdiff_t)step;
            step *= axis == call->axes - 1 ? fq_items(is->kind[a], n) : n;
        }
    }
}

static void plan_call(fq_call *call, const grid *g, fq_op op)
{
    *call = (fq_call){.op = op, .type = g->type, .rule = (fq_rule)g->reciprocal, .new_outputs = 1};
    call->given[0] = g->scale.data, call->given[1] = g->zero_point.data;
    call->given[2] = (const char *)&g->qmin, call->given[3] = (const char *)&g->qmax;
    plan_axes(call, g);
    plan_arrays(call);
}

static size_t row_of(const fq_call *call) { return call->axis[call->axes - 1].length; }

static size_t bytes_of(const fq_call *call)
{
    size_t bytes = (row_of(call) + 7) / 8;
    for (int axis = 0; axis < call->axes - 1; axis++) {
        bytes *= call->axis[axis].length;
    }
    return bytes;
}

/* Whether the call was run; a refused parameter is refused again, in words, on the way that Python takes. */
static int run(fq_call *call, size_t count)
{
    fq_values bad;
    PyThreadState *state = count >= ALONE_BELOW ? PyEval_SaveThread() : NULL;
    const fq_status status = fq_run(call, &bad);
    if (state != NULL) {
        PyEval_RestoreThread(state);
    }
    return status == FQ_OK;
}

/* A new tensor like this one, on large pages. Its memory lies as that of the other. NULL: with an exception set, or not so. */
static PyObject *new_like(view *to, const view *like)
{
    PyObject *made = PyObject_CallFunctionObjArgs(torch.empty_like, like->object, NULL);
    if (made == NULL) {
        return NULL;
    }
    int same = read_tensor(to, made) && to->count == like->count && to->item == like->item && to->axes == like->axes;
    for (int axis = 0; same && axis < like->axes; axis++) {
        same = like->shape[axis] == 1 || to->stride[axis] == like->stride[axis];
    }
    if (!same) {
        Py_DECREF(made);
        return NULL;
    }
    fq_large_pages(to->data, to->count * to->item);
    return made;
}

/* None, unless an exception is set. */
static PyObject *not_taken(void)
{
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Packed bits in memory of C's own, or in a tensor where they are many. */
typedef struct {
    size_t bytes;
    PyObject *tensor;
    char *data;
    char few[FEW_BYTES];
} mask;

static int make_bytes(mask *m)
{
    view v;
    PyObject *size = PyLong_FromSize_t(m->bytes);
    m->tensor = size ? PyObject_CallMethodObjArgs(torch.byte, torch.new_empty, size, NULL) : NULL;
    Py_XDECREF(size);
    if (m->tensor == NULL || !read_tensor(&v, m->tensor) || v.count != m->bytes) {
        Py_CLEAR(m->tensor);
        return 0;
    }
    m->data = v.data;
    return 1;
}

static int start_mask(mask *m, size_t bytes)
{
    m->bytes = bytes, m->tensor = NULL, m->data = m->few;
    return bytes <= FEW_BYTES || make_bytes(m);
}

/* A tensor of the bits; or how many bytes they take, where all are set. */
static PyObject *finish_mask(mask *m, size_t row)
{
    if (fq_all_set((const unsigned char *)m->data, m->bytes, row)) {
        Py_CLEAR(m->tensor);
        return PyLong_FromSize_t(m->bytes);
    }
    if (m->tensor == NULL) {
        if (!make_bytes(m)) {
            return NULL;
        }
        memcpy(m->data, m->few, m->bytes);
    }
    PyObject *bits = m->tensor;
    m->tensor = NULL;
    return bits;
}

static PyObject *order_of(const grid *g)
{
    PyObject *list = PyList_New(g->x.axes);
    for (int i = 0; list != NULL && i < g->x.axes; i++) {
        PyList_SetItem(list, i, PyLong_FromLong(g->order[i]));
    }
    return list;
}

/* (y, bits or their count, order, row) */
static PyObject *with_bits(PyObject *y, PyObject *bits, const grid *g, const fq_call *planned)
{
    PyObject *order = bits ? order_of(g) : NULL;
    PyObject *length = order ? PyLong_FromSize_t(row_of(planned)) : NULL;
    PyObject *all = length ? PyTuple_Pack(4, y, bits, order, length) : NULL;
    Py_XDECREF(bits);
    Py_XDECREF(order);
    Py_XDECREF(length);
    return all;
}

/* A call whose axes are as they were planned, since fq_run joins them. */
static int run_packed(const fq_call *planned, size_t count, mask *m)
{
    fq_call call = *planned;
    if (!start_mask(m, bytes_of(planned))) {
        return 0;
    }
    call.data[1] = m->data;
    if (!run(&call, count)) {
        Py_CLEAR(m->tensor);
        return 0;
    }
    return 1;
}

/* y, alone or with its bits; where it is not to be quantized, y is a copy. */
static PyObject *quantized(const grid *g, int quantizes, int packed)
{
    view to;
    mask m;
    fq_call call;
    PyObject *y = new_like(&to, &g->x), *result = NULL;
    if (y == NULL) {
        return not_taken();
    }
    plan_call(&call, g, packed ? FQ_FORWARD_PACKED : FQ_FAKE_QUANTIZE);
    call.data[0] = to.data, call.data[packed ? 2 : 1] = g->x.data;
    if (!quantizes) {
        memcpy(to.data, g->x.data, g->x.count * g->x.item);
        result = packed ? with_bits(y, PyLong_FromSize_t(bytes_of(&call)), g, &call) : Py_NewRef(y);
    }
    else if (packed && run_packed(&call, g->x.count, &m)) {
        result = with_bits(y, finish_mask(&m, row_of(&call)), g, &call);
    }
    else if (!packed && run(&call, g->x.count)) {
        result = Py_NewRef(y);
    }
    Py_DECREF(y);
    return result ? result : not_taken();
}

PyObject *fq_tensor_forward(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    grid g;
    if (nargs != 10) {
        return PyErr_Format(PyExc_TypeError, "_tensor_forward takes 10 arguments, got %zd", nargs);
    }
    if (!read_grid(&g, args[0], args + 1, args[9] == Py_True, args[7])) {
        return not_taken();
    }
    PyObject *y = quantized(&g, 1, args[8] == Py_True);
    release(&g);
    return y;
}

/* Whether bits are one byte for all of them, with all bits set. */
static int is_full(const view *bits)
{
    for (int axis = 0; axis < bits->axes; axis++) {
        if (bits->stride[axis] != 0 && bits->shape[axis] != 1) {
            return 0;
        }
    }
    return bits->axes > 0 && (unsigned char)bits->data[0] == 0xFF;
}

static int read_bits(view *bits, PyObject *o, size_t rows, size_t row, int *full)
{
    int first[FQ_MOST_AXES];
    if (!read_tensor(bits, o) || bits->code != DL_UINT || bits->item != 1 || bits->count != rows * ((row + 7) / 8)) {
        return 0;
    }
    for (int axis = 0; axis < bits->axes; axis++) {
        first[axis] = axis;
    }
    *full = is_full(bits) && bits->count > 1;
    return *full || is_dense(bits, first);
}

PyObject *fq_tensor_backward(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    view dy, bits, to;
    int order[FQ_MOST_AXES], full;
    fq_call call = {.op = FQ_BACKWARD_PACKED, .new_outputs = 1, .axes = 2};
    if (nargs != 4) {
        return PyErr_Format(PyExc_TypeError, "_tensor_backward takes 4 arguments, got %zd", nargs);
    }
    const size_t row = PyLong_AsSize_t(args[3]);
    if (row == 0 || row == (size_t)-1 || !read_tensor(&dy, args[0]) || !type_of(&dy, &call.type) ||
        !read_order(order, args[2], dy.axes) || !is_dense(&dy, order) || dy.count % row != 0 ||
        !read_bits(&bits, args[1], dy.count / row, row, &full)) {
        return not_taken();
    }
    PyObject *dx = new_like(&to, &dy);
    if (dx == NULL) {
        return not_taken();
    }
    call.axis[0] = (fq_loop){.length = dy.count / row};
    call.axis[1] = (fq_loop){.length = row};
    plan_arrays(&call);
    call.data[0] = to.data, call.data[1] = dy.data, call.data[2] = bits.data;
    if (full) {
        memcpy(to.data, dy.data, dy.count * dy.item);
    }
    else if (!run(&call, dy.count)) {
        Py_CLEAR(dx);
    }
    return dx ? dx : not_taken();
}

/* Whether the sums of a parameter, which are counted in the order of x's memory, come in the order of its own. */
static int sums_in_order(const parameter *p, const grid *g)
{
    int varying = 0, last = -1, first[FQ_MOST_AXES];
    for (int i = 0; i < g->x.axes; i++) {
        if (p->step[g->order[i]] != 0) {
            if (g->order[i] < last) {
                return 0;
            }
            last = g->order[i];
            varying++;
        }
    }
    for (int axis = 0; p->from.object != NULL && axis < p->from.axes; axis++) {
        first[axis] = axis;
    }
    return p->from.object == NULL || is_dense(&p->from, first);
}

/* The sums of a parameter as a tensor like it; None for a number or for integers. */
static PyObject *sums_like(const parameter *p, const grid *g, const double *sums, const fq_fold *fold)
{
    view to;
    if (p->from.object == NULL || !is_real(&p->from)) {
        Py_RETURN_NONE;
    }
    PyObject *made = new_like(&to, &p->from);
    double *added = made ? calloc(p->count, sizeof *added) : NULL;
    if (added == NULL) {
        Py_XDECREF(made);
        return NULL;
    }
    fq_fold_sums(added, sums, fold);
    for (size_t i = 0; i < p->count; i++) {
        g->type == FQ_F64 ? (void)(((double *)to.data)[i] = added[i]) : (void)(((float *)to.data)[i] = (float)added[i]);
    }
    free(added);
    return made;
}

/* (dx, dscale, dzero_point) */
static PyObject *learned(const grid *g, const view *dy)
{
    fq_call call;
    view to;
    plan_call(&call, g, FQ_BACKWARD_LEARNABLE);
    const size_t sets = fq_sets(&call);
    const fq_fold folds[SUMS] = {fq_fold_of(&call, 0), fq_fold_of(&call, 1)};
    PyObject *all = NULL, *dscale = NULL, *dzero_point = NULL, *dx = new_like(&to, &g->x);
    double *sums = dx ? calloc(SUMS * sets, sizeof *sums) : NULL;
    if (sums != NULL) {
        call.sums[0] = sums, call.sums[1] = sums + sets;
        call.data[0] = to.data, call.data[1] = dy->data, call.data[2] = g->x.data;
        if (run(&call, g->x.count) && (dscale = sums_like(&g->scale, g, sums, &folds[0])) != NULL &&
            (dzero_point = sums_like(&g->zero_point, g, sums + sets, &folds[1])) != NULL) {
            all = PyTuple_Pack(3, dx, dscale, dzero_point);
        }
    }
    free(sums);
    Py_XDECREF(dx);
    Py_XDECREF(dscale);
    Py_XDECREF(dzero_point);
    return all ? all : not_taken();
}

PyObject *fq_tensor_learn(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    grid g;
    view dy;
    fq_type type;
    if (nargs != 9) {
        return PyErr_Format(PyExc_TypeError, "_tensor_learn takes 9 arguments, got %zd", nargs);
    }
    if (!read_grid(&g, args[1], args + 2, 1, args[8])) {
        return not_taken();
    }
    const size_t item = g.type == FQ_F64 ? sizeof(double) : sizeof(float);
    int fits = read_tensor(&dy, args[0]) && type_of(&dy, &type) && type == g.type && dy.axes == g.x.axes &&
               dy.count == g.x.count && is_dense(&dy, g.order);
    for (const parameter *p = &g.scale; fits && p != NULL; p = p == &g.scale ? &g.zero_point : NULL) {
        fits = sums_in_order(p, &g) && (p->from.object == NULL || !is_real(&p->from) || p->from.item == item);
    }
    PyObject *all = fits ? learned(&g, &dy) : not_taken();
    release(&g);
    return all;
}

/* x and the buffers of a fused module. */
typedef struct {
    grid g;
    view min, max;
    float constant;
    int observes, quantizes;
    fq_levels levels;
} observed;

static int read_switch(int *to, PyObject *o)
{
    view v;
    if (!read_tensor(&v, o) || !is_level(&v) || v.count != 1) {
        return 0;
    }
    *to = level_at(&v, 0) != 0;
    return 1;
}

/* A buffer of so many values, which lie without gaps and are PyTorch's to write to. */
static int read_buffer(view *v, PyObject *o, int code, size_t count)
{
    return read_tensor(v, o) && v->code == code && v->item == 4 && v->count == count && v->axes <= 1 &&
           (count == 1 || v->stride[0] == 1);
}

static int read_observed(observed *s, PyObject *const *args)
{
    grid *g = &s->g;
    g->scale.allocated = g->zero_point.allocated = NULL;
    if (!read_tensor(&g->x, args[0]) || !type_of(&g->x, &g->type) || !memory_order(g->order, &g->x) ||
        !read_level(&g->qmin, args[8]) || !read_level(&g->qmax, args[9]) || !read_channel(g, args[11]) ||
        !PyFloat_CheckExact(args[7])) {
        return 0;
    }
    const size_t channels = g->channel < 0 ? 1 : (size_t)g->x.shape[g->channel];
    s->constant = (float)PyFloat_AsDouble(args[7]), g->reciprocal = 1;
    s->levels = (fq_levels){(int32_t)g->qmin, (int32_t)g->qmax, args[10] == Py_True, args[14] == Py_True};
    return read_switch(&s->observes, args[1]) && read_switch(&s->quantizes, args[2]) &&
           read_buffer(&s->min, args[3], DL_FLOAT, channels) && read_buffer(&s->max, args[4], DL_FLOAT, channels) &&
           read_buffer(&g->scale.from, args[5], DL_FLOAT, channels) &&
           read_buffer(&g->zero_point.from, args[6], DL_INT, channels) && g->qmin >= INT32_MIN &&
           g->qmax <= INT32_MAX && g->qmax - g->qmin <= INT32_MAX;
}

/* x in memory as outer * channels * inner. */
static fq_seen seen_of(const grid *g)
{
    fq_seen seen = {.x = g->x.data, .type = g->type, .outer = 1, .channels = 1, .inner = 1};
    size_t *length = g->channel < 0 ? &seen.inner : &seen.outer;
    for (int i = 0; i < g->x.axes; i++) {
        if (g->order[i] == g->channel) {
            seen.channels = (size_t)g->x.shape[g->channel];
            length = &seen.inner;
        }
        else {
            *length *= (size_t)g->x.shape[g->order[i]];
        }
    }
    return seen;
}

/* What the observer will hold: nothing is written yet. 0 where x or a range is refused. ends: room for two a channel. */
static int observe(const observed *s, float *ends, float *scale, int32_t *zero_point)
{
    const size_t channels = s->min.count;
    float *low = ends, *high = ends + channels;
    const fq_seen seen = seen_of(&s->g);
    if (s->observes) {
        PyThreadState *state = s->g.x.count >= ALONE_BELOW ? PyEval_SaveThread() : NULL;
        const int finite = fq_ends(&seen, low, high);
        if (state != NULL) {
            PyEval_RestoreThread(state);
        }
        if (!finite) {
            return 0;
        }
    }
    for (size_t c = 0; c < channels; c++) {
        const float min = ((const float *)s->min.data)[c], max = ((const float *)s->max.data)[c];
        low[c] = s->observes ? fq_moved(min, low[c], s->constant) : min;
        high[c] = s->observes ? fq_moved(max, high[c], s->constant) : max;
        if (s->quantizes && !fq_torch_qparams(low[c], high[c], &s->levels, &scale[c], &zero_point[c])) {
            return 0;
        }
    }
    return 1;
}

/* Uses new parameters beside the old ones, which are replaced once y is there. */
static PyObject *observed_with(observed *s, int packed, float *ends, float *scale, int32_t *zero_point, int64_t *levels)
{
    grid *g = &s->g;
    const size_t channels = s->min.count;
    if (!observe(s, ends, scale, zero_point)) {
        return not_taken();
    }
    memset(g->scale.step, 0, (size_t)g->x.axes * sizeof *g->scale.step);
    memset(g->zero_point.step, 0, (size_t)g->x.axes * sizeof *g->zero_point.step);
    if (channels > 1) {
        g->scale.step[g->channel] = sizeof *scale, g->zero_point.step[g->channel] = sizeof *levels;
    }
    double wide = (double)scale[0];
    for (size_t c = 0; s->quantizes && c < channels; c++) {
        levels[c] = zero_point[c];
    }
    g->scale.data = g->type == FQ_F64 ? (const char *)&wide : (const char *)scale;
    g->zero_point.data = (const char *)levels;
    PyObject *y = quantized(g, s->quantizes, packed);
    if (y != NULL && y != Py_None) {
        memcpy(s->min.data, ends, channels * sizeof *ends),
            memcpy(s->max.data, ends + channels, channels * sizeof *ends);
        if (s->quantizes) {
            memcpy(g->scale.from.data, scale, channels * sizeof *scale);
            memcpy(g->zero_point.from.data, zero_point, channels * sizeof *zero_point);
        }
    }
    return y;
}

PyObject *fq_tensor_observed(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    observed s;
    struct {
        int64_t levels[FEW];
        float ends[2 * FEW], scale[FEW];
        int32_t zero_point[FEW];
    } few;
    if (nargs != 15) {
        return PyErr_Format(PyExc_TypeError, "_tensor_observed takes 15 arguments, got %zd", nargs);
    }
    if (!read_observed(&s, args) || (s.g.type == FQ_F64 && s.min.count > 1)) {
        return not_taken();
    }
    const int packed = args[13] == Py_True;
    const size_t channels = s.min.count;
    if (channels <= FEW) {
        return observed_with(&s, packed, few.ends, few.scale, few.zero_point, few.levels);
    }
    int64_t *levels = malloc(channels * (sizeof *levels + 3 * sizeof(float) + sizeof(int32_t)));
    if (levels == NULL) {
        return PyErr_NoMemory();
    }
    float *ends = (float *)(levels + channels), *scale = ends + 2 * channels;
    PyObject *y = observed_with(&s, packed, ends, scale, (int32_t *)(scale + channels), levels);
    free(levels);
    return y;
}
