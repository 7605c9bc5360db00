/* Python arguments -> fq_call: arrays of any strides, and as parameters numbers or arrays of any real type. Whatever needs
 * NumPy's buffers, and whatever is wrong but the value of a parameter, is left to NumPy. */
#include "arguments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <numpy/dtype_api.h>

#include "refused.h"

enum { EXACT_IN_FLOAT = 1 << 24 }; /* integers up to this one are exact as a scale */

static PyArray_DTypeMeta *dtype_of(PyArrayObject *a)
{
    return (PyArray_DTypeMeta *)Py_TYPE((PyObject *)PyArray_DESCR(a));
}

static int has_kind(PyArrayObject *a, char kind, fq_type type)
{
    return dtype_of(a) == fq_dtype_of_kind(kind, type) && PyArray_ISALIGNED(a) && PyArray_ISNOTSWAPPED(a);
}

/* The length of the last axis of an array of this kind that goes with x. */
static npy_intp last_axis(PyArrayObject *x, char kind)
{
    return (npy_intp)fq_items(kind, (size_t)PyArray_DIM(x, PyArray_NDIM(x) - 1));
}

/* Whether o is an array that goes with x, element for element. */
static int goes_with(const fq_arguments *c, PyObject *o, char kind)
{
    PyArrayObject *a = (PyArrayObject *)o, *x = c->operand[0];
    if (!PyArray_CheckExact(o) || !has_kind(a, kind, c->type) || PyArray_NDIM(a) != PyArray_NDIM(x)) {
        return 0;
    }
    const int last = PyArray_NDIM(x) - 1;
    return PyArray_CompareLists(PyArray_DIMS(a), PyArray_DIMS(x), last) && PyArray_DIM(a, last) == last_axis(x, kind);
}

/* How many axes of x the axes of a parameter are aligned with. In a generalized ufunc those of qmin and qmax, or of a
 * format, which have no core dimension, are aligned with those outside of the last one. */
static int reach(const fq_arguments *c, int k)
{
    return PyArray_NDIM(c->operand[0]) - (k >= c->function->is->along && fq_packed_operand(c->function->is) > 0);
}

static int broadcasts(const fq_arguments *c, PyArrayObject *a, int k)
{
    const int outer = reach(c, k) - PyArray_NDIM(a);
    for (int axis = 0; outer >= 0 && axis < PyArray_NDIM(a); axis++) {
        if (PyArray_DIM(a, axis) != 1 && PyArray_DIM(a, axis) != PyArray_DIM(c->operand[0], outer + axis)) {
            return 0;
        }
    }
    return outer >= 0;
}

/* Whether the cast to this kind loses nothing but precision, and needs none of Python's objects. */
static int can_cast(PyArrayObject *a, char kind)
{
    const int number = PyArray_TYPE(a), integer = PyTypeNum_ISBOOL(number) || PyTypeNum_ISINTEGER(number);
    if (kind == FQ_SCALE) {
        return integer || fq_type_of_dtype(dtype_of(a)) >= 0;
    }
    return kind == FQ_LEVEL && integer && !(PyTypeNum_ISUNSIGNED(number) && PyArray_ITEMSIZE(a) == sizeof(int64_t));
}

static int read_scale(fq_number *to, double scale, fq_type type)
{
    if (type == FQ_F64) {
        to->f64 = scale;
        return 1;
    }
    to->f32 = (float)scale;
    return !isinf(to->f32); /* NumPy refuses these, and warns of those that overflow */
}

/* -1: neither a float nor an int, but perhaps an array. */
static int read_number(fq_number *to, PyObject *o, char kind, fq_type type)
{
    int overflow = 0;
    if (kind == FQ_SCALE && (PyFloat_CheckExact(o) || Py_IS_TYPE(o, &PyDoubleArrType_Type))) {
        return read_scale(to, PyFloat_AsDouble(o), type);
    }
    if (kind == FQ_SCALE && Py_IS_TYPE(o, &PyFloatArrType_Type)) {
        float scale;
        PyArray_ScalarAsCtype(o, &scale);
        return read_scale(to, (double)scale, type);
    }
    if (kind == FQ_BYTE_MASK) {
        to->flag = o == Py_True;
        return PyBool_Check(o) ? 1 : -1;
    }
    if (!PyLong_CheckExact(o)) {
        return -1;
    }
    to->level = PyLong_AsLongLongAndOverflow(o, &overflow);
    const int64_t level = to->level;
    return !overflow &&
           (kind == FQ_LEVEL || (level > 0 && level <= EXACT_IN_FLOAT && read_scale(to, (double)level, type)));
}

static FQ_INLINE int read_parameter(fq_arguments *c, int i, PyObject *o)
{
    const char kind = c->function->is->kinds[i];
    const int k = i - c->function->is->inputs, is_number = read_number(&c->number[k], o, kind, c->type);
    if (is_number >= 0) {
        return is_number;
    }
    if (!PyArray_CheckExact(o) && !PyArray_IsScalar(o, Generic)) {
        return 0;
    }
    PyArrayObject *a = (PyArrayObject *)(PyArray_CheckExact(o) ? Py_NewRef(o) : PyArray_FromScalar(o, NULL));
    c->operand[i] = a;
    return a != NULL && (has_kind(a, kind, c->type) || can_cast(a, kind)) && broadcasts(c, a, k);
}

static int read_input(fq_arguments *c, int i, PyObject *o)
{
    if (i >= c->function->is->inputs) {
        return read_parameter(c, i, o);
    }
    if (!PyArray_CheckExact(o)) {
        return 0;
    }
    c->operand[i] = (PyArrayObject *)Py_NewRef(o);
    const int type = fq_type_of_dtype(dtype_of(c->operand[0]));
    c->type = (fq_type)type;
    const char kind = c->function->is->kinds[i];
    return type >= 0 && PyArray_NDIM(c->operand[0]) > 0 &&
           (i == 0 ? has_kind(c->operand[0], kind, c->type) : goes_with(c, o, kind));
}

fq_extent fq_extent_of(const char *data, size_t item, int axes, const npy_intp *lengths, const npy_intp *steps)
{
    fq_extent all = {(uintptr_t)data, (uintptr_t)data + item};
    for (int axis = 0; axis < axes; axis++) {
        const npy_intp reaches = (lengths[axis] - 1) * steps[axis];
        if (lengths[axis] == 0) {
            return (fq_extent){0, 0};
        }
        *(reaches < 0 ? &all.from : &all.to) += (uintptr_t)reaches;
    }
    return all;
}

fq_extent fq_extent_of_array(PyArrayObject *a)
{
    return fq_extent_of(PyArray_BYTES(a), (size_t)PyArray_ITEMSIZE(a), PyArray_NDIM(a), PyArray_DIMS(a),
                        PyArray_STRIDES(a));
}

/* Whether output o is written element for element over this input. */
static int is_in_place(const fq_arguments *c, int o, int i)
{
    const fq_operation *is = c->function->is;
    PyArrayObject *out = c->operand[o], *in = c->operand[i];
    return i < is->inputs && is->kinds[i] == FQ_ELEMENTS && is->kinds[o] == FQ_ELEMENTS &&
           PyArray_BYTES(in) == PyArray_BYTES(out) &&
           PyArray_CompareLists(PyArray_STRIDES(in), PyArray_STRIDES(out), PyArray_NDIM(in));
}

/* Whether each output that is given may be written while the others are read and written. */
static int are_safe(const fq_arguments *c)
{
    const int nin = fq_inputs_of(c->function->is), operands = fq_operands_of(c->function->is);
    fq_extent all[FQ_MOST_OPERANDS];
    for (int i = 0; i < operands; i++) {
        PyArrayObject *a = c->operand[i];
        all[i] = a == NULL ? (fq_extent){0, 0} : fq_extent_of_array(a);
    }
    for (int o = nin; o < operands; o++) {
        for (int i = 0; i < operands; i++) {
            if (i != o && fq_meet(all[o], all[i]) && !is_in_place(c, o, i)) {
                return 0;
            }
        }
    }
    return 1;
}

int fq_repeats(PyArrayObject *a)
{
    for (int axis = 0; axis < PyArray_NDIM(a); axis++) {
        if (PyArray_STRIDE(a, axis) == 0 && PyArray_DIM(a, axis) > 1) {
            return PyArray_SIZE(a) > 0;
        }
    }
    return 0;
}

static int read_output(fq_arguments *c, int o, PyObject *one)
{
    c->given++;
    c->operand[o] = (PyArrayObject *)Py_NewRef(one);
    return goes_with(c, one, c->function->is->kinds[o]) && PyArray_ISWRITEABLE(c->operand[o]) &&
           !fq_repeats(c->operand[o]);
}

int fq_read_outputs(fq_arguments *c, PyObject *out)
{
    const int nin = fq_inputs_of(c->function->is), nout = c->function->is->outputs;
    int fits = PyTuple_CheckExact(out) ? PyTuple_Size(out) == nout : nout == 1;
    for (int o = 0; fits && o < nout; o++) {
        PyObject *one = PyTuple_CheckExact(out) ? PyTuple_GetItem(out, o) : out;
        fits = one == Py_None || read_output(c, nin + o, one);
    }
    if (!fits || !are_safe(c)) {
        fq_release(c);
        return 0;
    }
    return 1;
}

void fq_release(fq_arguments *c)
{
    for (int i = 0; i < FQ_MOST_OPERANDS; i++) {
        Py_XDECREF((PyObject *)c->operand[i]);
    }
}

int fq_read_inputs(fq_arguments *c, const fq_function *function, PyObject *const *args)
{
    c->function = function, c->given = 0;
    memset(c->operand, 0, sizeof c->operand);
    for (int i = 0; i < fq_inputs_of(function->is); i++) {
        if (!read_input(c, i, args[i])) {
            fq_release(c);
            PyErr_Clear(); /* of a scalar for which there was no memory */
            return 0;
        }
    }
    return 1;
}

int fq_read_parameters(fq_arguments *c, PyObject *const *args)
{
    int fits = 1;
    for (int k = 0; fits && k < c->function->is->parameters; k++) {
        fits = read_parameter(c, c->function->is->inputs + k, args[k]);
    }
    return fits;
}

/* Bytes along an axis of x from an item of an operand to the next; 0 where it is broadcast. */
static npy_intp step_of(const fq_arguments *c, int i, int axis)
{
    PyArrayObject *a = c->operand[i];
    const int k = i - c->function->is->inputs, parameter = k >= 0 && k < c->function->is->parameters;
    const int axes = parameter ? reach(c, k) : PyArray_NDIM(c->operand[0]);
    const int own = axis - axes + PyArray_NDIM(a);
    return own < 0 || own >= PyArray_NDIM(a) || PyArray_DIM(a, own) == 1 ? 0 : PyArray_STRIDE(a, own);
}

/* 1 where the outer of two axes lies inside the inner one in memory, 0 where it does not, -1 where no operand says; where they
 * disagree, C order wins, as in NumPy's iterator. Packed operands say nothing about others: their last axis is the innermost. */
static int should_swap(const fq_arguments *c, int outer, int inner, int packed)
{
    const fq_operation *is = c->function->is;
    int found = -1;
    for (int i = 0; i < fq_operands_of(is); i++) {
        const int says = c->operand[i] != NULL && (packed || fq_per_byte(is->kinds[i]) == 1);
        const npy_intp a = says ? step_of(c, i, outer) : 0, b = says ? step_of(c, i, inner) : 0;
        if (a != 0 && b != 0) {
            const int no = (b < 0 ? -b : b) <= (a < 0 ? -a : a);
            found = no ? 0 : found < 0 ? 1 : found;
        }
    }
    return found;
}

/* The axes of x from the innermost to the outermost in a new output: NumPy's order "K". fixed: the last axis, which is packed, is
 * always the innermost. */
static void order_axes(const fq_arguments *c, int *order, int fixed)
{
    const int axes = PyArray_NDIM(c->operand[0]);
    for (int i = 0; i < axes; i++) {
        order[i] = axes - 1 - i;
    }
    for (int i = fixed + 1; i < axes; i++) {
        const int axis = order[i];
        int at = i;
        for (int j = i - 1; j >= fixed; j--) {
            const int swap = should_swap(c, axis, order[j], fixed);
            if (swap == 0) {
                break;
            }
            at = swap == 1 ? j : at;
        }
        memmove(order + at + 1, order + at, (size_t)(i - at) * sizeof *order);
        order[at] = axis;
    }
}

PyArrayObject *fq_new_output(const fq_arguments *c, PyArray_Descr *descr, npy_intp step, npy_intp last, int fixed)
{
    PyArrayObject *x = c->operand[0];
    const int axes = PyArray_NDIM(x);
    npy_intp dims[FQ_MOST_AXES], strides[FQ_MOST_AXES];
    int order[FQ_MOST_AXES];
    memcpy(dims, PyArray_DIMS(x), (size_t)axes * sizeof *dims);
    dims[axes - 1] = last;
    if (PyArray_IS_C_CONTIGUOUS(x)) {
        return (PyArrayObject *)PyArray_Empty(axes, dims, descr, 0);
    }
    order_axes(c, order, fixed);
    for (int i = 0; i < axes; i++) {
        strides[order[i]] = step;
        step *= dims[order[i]];
    }
    return (PyArrayObject *)PyArray_NewFromDescr(&PyArray_Type, descr, axes, dims, strides, NULL, 0, NULL);
}

static PyArrayObject *new_output(const fq_arguments *c, char kind)
{
    PyArray_Descr *descr = PyArray_GetDefaultDescr(fq_dtype_of_kind(kind, c->type));
    const npy_intp step = (npy_intp)fq_item_size(kind, c->type);
    return descr ? fq_new_output(c, descr, step, last_axis(c->operand[0], kind), fq_per_byte(kind) > 1) : NULL;
}

static PyArrayObject *cast_to(PyArray_DTypeMeta *dtype, PyArrayObject *a)
{
    PyArray_Descr *descr = PyArray_GetDefaultDescr(dtype);
    return descr ? (PyArrayObject *)PyArray_FromArray(a, descr, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST) : NULL;
}

/* Doubles as floats: NumPy would warn of those that overflow, which are refused as any other infinity. */
static PyArrayObject *narrowed(PyArrayObject *a)
{
    PyArrayObject *from = cast_to(&PyArray_DoubleDType, a);
    PyArrayObject *to =
        from ? (PyArrayObject *)PyArray_NewLikeArray(from, NPY_CORDER, PyArray_DescrFromType(NPY_FLOAT), 0) : NULL;
    for (npy_intp i = 0; to != NULL && i < PyArray_SIZE(from); i++) {
        ((float *)PyArray_DATA(to))[i] = (float)((const double *)PyArray_DATA(from))[i];
    }
    Py_XDECREF((PyObject *)from);
    return to;
}

static PyArrayObject *cast(PyArrayObject *a, char kind, fq_type type)
{
    PyArray_DTypeMeta *wanted = fq_dtype_of_kind(kind, type);
    return dtype_of(a) == &PyArray_DoubleDType && wanted == &PyArray_FloatDType ? narrowed(a) : cast_to(wanted, a);
}

int fq_complete(fq_arguments *c)
{
    const fq_operation *is = c->function->is;
    for (int i = fq_inputs_of(is); i < fq_operands_of(is); i++) {
        if (c->operand[i] == NULL && (c->operand[i] = new_output(c, is->kinds[i])) == NULL) {
            return 0;
        }
    }
    for (int i = is->inputs; i < fq_inputs_of(is); i++) {
        PyArrayObject *given = c->operand[i];
        if (given != NULL && !has_kind(given, is->kinds[i], c->type)) {
            c->operand[i] = cast(given, is->kinds[i], c->type);
            Py_DECREF((PyObject *)given);
            if (c->operand[i] == NULL) {
                return 0;
            }
        }
    }
    return 1;
}

void fq_call_of(fq_call *call, const fq_arguments *c, int new_outputs)
{
    PyArrayObject *x = c->operand[0];
    const fq_operation *is = c->function->is;
    call->op = c->function->op, call->type = c->type, call->rule = c->function->rule;
    call->new_outputs = new_outputs, call->in_order = 0;
    call->axes = PyArray_NDIM(x);
    for (int axis = 0; axis < call->axes; axis++) {
        call->axis[axis].length = (size_t)PyArray_DIM(x, axis);
        memset(call->axis[axis].given, 0, sizeof call->axis[axis].given);
    }
    for (int a = 0; a < is->arrays; a++) {
        PyArrayObject *array = c->operand[fq_operand_of(is, a)];
        call->data[a] = PyArray_BYTES(array);
        for (int axis = 0; axis < call->axes; axis++) {
            call->axis[axis].array[a] = PyArray_STRIDE(array, axis);
        }
    }
    for (int k = 0; k < is->parameters; k++) {
        PyArrayObject *given = c->operand[is->inputs + k];
        call->given[k] = given ? PyArray_BYTES(given) : (const char *)&c->number[k];
        for (int axis = 0; axis < call->axes; axis++) {
            call->axis[axis].given[k] = given ? step_of(c, is->inputs + k, axis) : 0;
        }
    }
}

void fq_raise_refused(fq_status status, const fq_values *bad, fq_type type, char (*places)[FQ_PLACE])
{
    char message[FQ_MESSAGE];
    if (status == FQ_NO_MEMORY) {
        PyErr_NoMemory();
        return;
    }
    fq_describe_refused(message, status, bad, type, places);
    PyErr_SetString(PyExc_ValueError, message);
}

/* Tells where in its array each refused value stands; that of one item is as good as a number. */
static void find_places(char (*places)[FQ_PLACE], const fq_arguments *c, const fq_values *bad)
{
    for (int k = 0; k < FQ_PARAMETERS; k++) {
        PyArrayObject *a = k < c->function->is->parameters ? c->operand[c->function->is->inputs + k] : NULL;
        places[k][0] = '\0';
        if (a != NULL && PyArray_SIZE(a) > 1) {
            fq_place_of(places[k], bad->at[k], PyArray_BYTES(a), PyArray_NDIM(a), PyArray_DIMS(a), PyArray_STRIDES(a));
        }
    }
}

int fq_run_call(fq_call *call, const fq_arguments *c)
{
    fq_values bad;
    fq_status status;
    char places[FQ_PARAMETERS][FQ_PLACE];
    NPY_BEGIN_THREADS_DEF;
    NPY_BEGIN_THREADS_THRESHOLDED(PyArray_SIZE(c->operand[0]));
    status = fq_run(call, &bad);
    NPY_END_THREADS;
    if (status == FQ_OK) {
        return 1;
    }
    if (status != FQ_NO_MEMORY) {
        find_places(places, c, &bad);
    }
    fq_raise_refused(status, &bad, c->type, places);
    return 0;
}

int fq_call_fast(const fq_function *function, PyObject *const *args, PyObject *out, int all_new, PyObject **result)
{
    fq_arguments c;
    fq_call call;
    if (!fq_read_inputs(&c, function, args) || (out != NULL && !fq_read_outputs(&c, out))) {
        return 0;
    }
    *result = NULL;
    if (fq_complete(&c)) {
        PyObject **outputs = (PyObject **)&c.operand[fq_inputs_of(function->is)];
        fq_call_of(&call, &c, all_new || c.given == 0);
        if (fq_run_call(&call, &c)) {
            *result = function->is->outputs == 1 ? Py_NewRef(outputs[0]) : PyTuple_Pack(2, outputs[0], outputs[1]);
        }
    }
    fq_release(&c);
    return 1;
}

int fq_place_of_name(const fq_function *function, PyObject *name)
{
    for (int interned = 1; interned >= 0; interned--) {
        for (int i = 0; i < fq_inputs_of(function->is); i++) {
            if (interned ? function->names[i] == name : PyUnicode_Compare(function->names[i], name) == 0) {
                return i;
            }
        }
    }
    return -1;
}

int fq_arrange(fq_positions *to, const fq_function *function, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const int nin = fq_inputs_of(function->is);
    const Py_ssize_t keywords = names != NULL ? PyTuple_Size(names) : 0;
    Py_ssize_t others = 0;
    PyObject *left[FQ_MOST_ARGUMENTS];
    memset(to, 0, sizeof *to);
    if (nargs > nin || nin + keywords > FQ_MOST_ARGUMENTS) {
        return 0;
    }
    memcpy(to->args, args, (size_t)nargs * sizeof *args);
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *name = PyTuple_GetItem(names, k);
        const int place = fq_place_of_name(function, name);
        if (place >= 0 && to->args[place] != NULL) {
            return 0;
        }
        left[others] = name;
        to->args[place >= 0 ? place : nin + others] = args[nargs + k];
        others += place < 0;
    }
    for (int i = 0; i < nin; i++) {
        if (to->args[i] == NULL) {
            return 0;
        }
    }
    to->names = others > 0 ? PyTuple_New(others) : NULL;
    for (Py_ssize_t k = 0; to->names != NULL && k < others; k++) {
        PyTuple_SetItem(to->names, k, Py_NewRef(left[k]));
    }
    return others == 0 || to->names != NULL;
}
