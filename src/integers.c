/* Functions between floats and stored integers, as Python calls them. What is no array of the right type, or lies so that it must be
 * copied first, is left to fq/integers.py: the functions here then give None. */
#include "integers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arguments.h"
#include "refused.h"
#include "storage.h"

/* The types of integers, a row of kinds.h each. */
#define NUMBER_OF(with, NAME, ...) STORED_##NAME,
enum { FQ_STORAGE_ROWS(NUMBER_OF, ) STORAGES };
#define STORED_AS(with, NAME, bytes, of_bits, sign, from, as) \
    {.storage = {bytes, 1, of_bits, sign}, .module = from, .name = as},
static struct {
    fq_storage storage;
    const char *module, *name;
    PyArray_DTypeMeta *dtype; /* NULL where its module, or the type in it, is not there */
} stored[STORAGES] = {FQ_STORAGE_ROWS(STORED_AS, )};

enum { BY_ITSELF = STORED_I32 + 1 }; /* the types among which a call without a dtype chooses come first */

int fq_find_storages(void)
{
    for (int i = 0; i < STORAGES; i++) {
        if (stored[i].dtype == NULL) {
            stored[i].dtype = fq_find_dtype(stored[i].module, stored[i].name);
        }
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear(); /* an ml_dtypes of before this type */
        }
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

/* The row of a type, or -1. NumPy has two types of one size on some platforms. */
static int row_of(PyArray_Descr *descr)
{
    for (int i = 0; i < STORAGES; i++) {
        const fq_storage s = stored[i].storage;
        if ((void *)Py_TYPE((PyObject *)descr) == (void *)stored[i].dtype ||
            (i < BY_ITSELF && PyTypeNum_ISINTEGER(descr->type_num) && PyDataType_ELSIZE(descr) == s.size &&
             PyTypeNum_ISSIGNED(descr->type_num) == s.is_signed)) {
            return i;
        }
    }
    return -1;
}

PyObject *fq_list_storages(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyObject *all = PyDict_New();
    for (int i = 0; all != NULL && i < STORAGES; i++) {
        PyObject *descr = stored[i].dtype ? (PyObject *)PyArray_GetDefaultDescr(stored[i].dtype) : NULL;
        PyObject *what =
            descr ? Py_BuildValue("iO", stored[i].storage.bits, stored[i].storage.is_signed ? Py_True : Py_False)
                  : NULL;
        if (stored[i].dtype != NULL && (what == NULL || PyDict_SetItem(all, descr, what) < 0)) {
            Py_CLEAR(all);
        }
        Py_XDECREF(what);
        Py_XDECREF(descr);
    }
    return all;
}

/* Of integers that share bytes. */
static fq_storage packed_storage(long bits, int is_signed)
{
    return (fq_storage){1, (uint8_t)(8 / bits), (uint8_t)bits, (uint8_t)is_signed};
}

static int64_t least(fq_storage s) { return s.is_signed ? -(INT64_C(1) << (s.bits - 1)) : 0; }
static int64_t most(fq_storage s) { return least(s) + (INT64_C(1) << s.bits) - 1; }

static npy_intp items_of(fq_storage s, npy_intp n) { return (n + s.per_byte - 1) / s.per_byte; }

/* ---- Levels that must lie within bounds ---- */

/* The levels of a parameter: an array without gaps, or a number. */
typedef struct {
    PyArrayObject *array; /* owned; NULL for a number */
    const int64_t *level;
    npy_intp count;
    const char *name;
} levels;

/* 0 with an exception set where there was no memory. */
static int read_levels(levels *to, const fq_arguments *c, int k)
{
    PyArrayObject *given = c->operand[c->function->is->inputs + k];
    *to = (levels){NULL, &c->number[k].level, 1, c->function->is->parameter_names[k]};
    if (given != NULL) {
        to->array = (PyArrayObject *)PyArray_FromArray(given, PyArray_DescrFromType(NPY_INT64), NPY_ARRAY_CARRAY_RO);
        to->level = to->array ? (const int64_t *)PyArray_DATA(to->array) : NULL;
        to->count = to->array ? PyArray_SIZE(to->array) : 0;
    }
    return given == NULL || to->array != NULL;
}

/* The place of the first level beyond these bounds, or -1. */
static npy_intp first_beyond(const levels *l, int64_t from, int64_t to)
{
    npy_intp i = 0;
    while (i < l->count && l->level[i] >= from && l->level[i] <= to) {
        i++;
    }
    return i < l->count ? i : -1;
}

/* "qmax 300 at index (2,)". */
static void tell_level(char text[FQ_MESSAGE], const levels *l, npy_intp i)
{
    char place[FQ_PLACE] = "";
    if (l->array != NULL && l->count > 1) {
        fq_place_of(place, (const char *)(l->level + i), PyArray_BYTES(l->array), PyArray_NDIM(l->array),
                    PyArray_DIMS(l->array), PyArray_STRIDES(l->array));
    }
    snprintf(text, FQ_MESSAGE, "%s %" PRId64 "%s", l->name, l->level[i], place);
}

/* The first of the types among which a call chooses that holds all of both, or -1. */
static int choose_storage(const levels *ends)
{
    for (int i = 0; i < BY_ITSELF; i++) {
        const int64_t from = least(stored[i].storage), to = most(stored[i].storage);
        if (first_beyond(&ends[0], from, to) < 0 && first_beyond(&ends[1], from, to) < 0) {
            return i;
        }
    }
    return -1;
}

/* Sets the exception for the first level that the storage does not hold: `who` does not, and `or_else` does. */
static int refuse_level(const levels *ends, fq_storage s, const char *who, const char *or_else)
{
    char text[FQ_MESSAGE];
    const npy_intp first = first_beyond(&ends[0], least(s), most(s));
    tell_level(text, &ends[first < 0], first < 0 ? first_beyond(&ends[1], least(s), most(s)) : first);
    PyErr_Format(PyExc_ValueError, "%s does not hold %s: %s", who, text, or_else);
    return 0;
}

/* ---- quantize ---- */

/* Whether levels of both signs, or of none, fit the bits; sets s. */
static int check_packed(const levels *ends, fq_storage *s)
{
    const fq_storage with_sign = packed_storage(s->bits, 1);
    const int is_signed = first_beyond(&ends[0], 0, INT64_MAX) >= 0 || first_beyond(&ends[1], 0, INT64_MAX) >= 0;
    char who[FQ_PLACE], or_else[FQ_MESSAGE];
    s->is_signed = (uint8_t)is_signed;
    if (first_beyond(&ends[0], least(*s), most(*s)) < 0 && first_beyond(&ends[1], least(*s), most(*s)) < 0) {
        return 1;
    }
    const int bits = s->bits;
    snprintf(who, sizeof who, "an integer of %d bit%s", bits, bits > 1 ? "s" : "");
    snprintf(or_else, sizeof or_else, "%s hold %d to %d or 0 to %d, and fq.quantize more", bits > 1 ? "they" : "it can",
             (int)least(with_sign), (int)most(with_sign), (1 << bits) - 1);
    return refuse_level(ends, *s, who, or_else);
}

/* The storage that was asked for, if it holds all levels, or the first that does; row: of `stored`, or -1. 0 with an exception
 * set. */
static int check_typed(const levels *ends, fq_storage *s, int *row)
{
    char or_else[FQ_MESSAGE] = "no type that fq stores integers in does";
    const int fits = choose_storage(ends), asked = *row;
    *row = asked < 0 ? fits : asked;
    if (*row >= 0) {
        *s = stored[*row].storage;
        if (first_beyond(&ends[0], least(*s), most(*s)) < 0 && first_beyond(&ends[1], least(*s), most(*s)) < 0) {
            return 1;
        }
    }
    if (fits >= 0) {
        snprintf(or_else, sizeof or_else, "%s does, with these qmin and qmax", stored[fits].name);
    }
    const int named = asked < 0 ? STORED_I32 : asked;
    return refuse_level(ends, stored[named].storage, stored[named].name, or_else);
}

/* Finds the storage of the result: of bits that share bytes, or a type. */
static int find_storage(const fq_arguments *c, fq_storage *s, int *row, long bits)
{
    levels ends[2] = {{NULL, NULL, 0, NULL}, {NULL, NULL, 0, NULL}};
    int found = read_levels(&ends[0], c, 2) && read_levels(&ends[1], c, 3);
    if (found && bits > 0) {
        *s = packed_storage(bits, 0);
        found = check_packed(ends, s);
    }
    else if (found) {
        found = check_typed(ends, s, row);
    }
    Py_XDECREF((PyObject *)ends[0].array);
    Py_XDECREF((PyObject *)ends[1].array);
    return found;
}

/* Whether out, operand o, is an array of this type and shape, apart from all others or on the first one element for element. */
static int fits_out(const fq_arguments *c, int o, PyArray_DTypeMeta *dtype, npy_intp last)
{
    PyArrayObject *out = c->operand[o], *first = c->operand[0];
    const int axes = PyArray_NDIM(first);
    if ((void *)Py_TYPE((PyObject *)PyArray_DESCR(out)) != (void *)dtype || PyArray_NDIM(out) != axes ||
        !PyArray_ISALIGNED(out) || !PyArray_ISNOTSWAPPED(out) || !PyArray_ISWRITEABLE(out) || fq_repeats(out) ||
        !PyArray_CompareLists(PyArray_DIMS(out), PyArray_DIMS(first), axes - 1) || PyArray_DIM(out, axes - 1) != last) {
        return 0;
    }
    const fq_extent at = fq_extent_of_array(out);
    for (int i = 0; i < o; i++) {
        const fq_extent e = c->operand[i] ? fq_extent_of_array(c->operand[i]) : (fq_extent){0, 0};
        const int in_place = i == 0 && PyArray_BYTES(first) == PyArray_BYTES(out) &&
                             PyArray_ITEMSIZE(first) == PyArray_ITEMSIZE(out) && PyArray_DIM(first, axes - 1) == last &&
                             PyArray_CompareLists(PyArray_STRIDES(first), PyArray_STRIDES(out), axes);
        if (fq_meet(e, at) && !in_place) {
            return 0;
        }
    }
    return 1;
}

/* The result as operand o: `out`, or a new array; *taken is 0 where out does not fit. 0 with an exception set. */
static int place_result(fq_arguments *c, int o, PyObject *out, PyArray_DTypeMeta *dtype, npy_intp last, int fixed,
                        int *taken)
{
    if (out != Py_None) {
        *taken = PyArray_CheckExact(out);
        if (*taken) {
            c->operand[o] = (PyArrayObject *)Py_NewRef(out);
            *taken = fits_out(c, o, dtype, last);
        }
        return 1;
    }
    PyArray_Descr *descr = PyArray_GetDefaultDescr(dtype);
    c->operand[o] = descr ? fq_new_output(c, descr, PyDataType_ELSIZE(descr), last, fixed) : NULL;
    return c->operand[o] != NULL;
}

/* The arguments of the two functions, some of each. */
typedef struct {
    long bits, n; /* bits: 0 where each integer has bytes of its own */
    int is_signed;
} packing;

static PyObject *run(fq_arguments *c, fq_storage s, npy_intp n, int new_outputs)
{
    fq_call call;
    const int o = fq_inputs_of(c->function->is);
    if (!fq_complete(c)) {
        return NULL;
    }
    fq_call_of(&call, c, new_outputs);
    call.storage = s;
    call.axis[call.axes - 1].length = (size_t)n;
    for (int k = c->function->is->parameters; k < FQ_PARAMETERS; k++) { /* zero_point is qmin and qmax */
        call.given[k] = call.given[1];
        for (int axis = 0; axis < call.axes; axis++) {
            call.axis[axis].given[k] = call.axis[axis].given[1];
        }
    }
    return fq_run_call(&call, c) ? Py_NewRef((PyObject *)c->operand[o]) : NULL;
}

/* The type that was asked for: of dtype, or of out. 0 with an exception set; -1 for none. */
static int read_dtype(int *row, PyObject *dtype, PyObject *out)
{
    PyArray_Descr *descr = NULL;
    *row = -1;
    if (dtype == Py_None) {
        *row = PyArray_Check(out) ? row_of(PyArray_DESCR((PyArrayObject *)out)) : -1;
        return 1;
    }
    if (PyArray_DescrConverter(dtype, &descr) != NPY_SUCCEED) {
        return 0;
    }
    *row = row_of(descr);
    if (*row < 0) {
        PyErr_Format(PyExc_TypeError,
                     "dtype must be int8, uint8, int16, uint16, int32, or int2, uint2, int4 or uint4 of "
                     "ml_dtypes, got %S",
                     descr);
    }
    Py_DECREF((PyObject *)descr);
    return *row >= 0;
}

static PyObject *quantized(fq_arguments *c, int row, long bits, PyObject *out)
{
    fq_storage s;
    const npy_intp n = PyArray_DIM(c->operand[0], PyArray_NDIM(c->operand[0]) - 1);
    int taken = 1;
    if (!find_storage(c, &s, &row, bits)) {
        return NULL;
    }
    PyArray_DTypeMeta *dtype = bits > 0 ? stored[STORED_U8].dtype : stored[row].dtype;
    if (!place_result(c, fq_inputs_of(c->function->is), out, dtype, items_of(s, n), bits > 0, &taken)) {
        return NULL;
    }
    if (!taken) {
        Py_RETURN_NONE;
    }
    return run(c, s, n, out == Py_None);
}

PyObject *fq_quantize(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    fq_arguments c;
    int row;
    const long bits = nargs == 9 ? PyLong_AsLong(args[7]) : 0;
    if (nargs != 9 || (bits == -1 && PyErr_Occurred())) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "_quantize takes 9 arguments, got %zd", nargs);
    }
    if (!read_dtype(&row, args[6], args[8])) {
        return NULL;
    }
    if (!fq_read_inputs(&c, fq_function_of(FQ_QUANTIZE, args[0] == Py_True), args + 1)) {
        Py_RETURN_NONE;
    }
    PyObject *q = quantized(&c, row, bits, args[8]);
    fq_release(&c);
    return q;
}

/* ---- dequantize ---- */

/* Refuses a zero point so far from a level that their difference is not exact: an int32 alone may lie anywhere. */
static int check_zero_point(const fq_arguments *c, fq_storage s, const char *name)
{
    const int in_f64 = c->type == FQ_F64, is_wide = !in_f64 && s.size == sizeof(int32_t);
    const int64_t exact = INT64_C(1) << (in_f64 ? 53 : 24);
    const int64_t from = is_wide ? least(s) : most(s) - exact, to = is_wide ? most(s) : least(s) + exact;
    char text[FQ_MESSAGE];
    levels zero_point;
    if (!read_levels(&zero_point, c, 1)) {
        return 0;
    }
    const npy_intp i = first_beyond(&zero_point, from, to);
    if (i >= 0) {
        tell_level(text, &zero_point, i);
        PyErr_Format(PyExc_ValueError, "zero_point must lie %s of %s, got %s",
                     is_wide  ? "among the levels"
                     : in_f64 ? "within 2**53 of every level"
                              : "within 2**24 of every level",
                     name, text + strlen("zero_point "));
    }
    Py_XDECREF((PyObject *)zero_point.array);
    return i < 0;
}

/* The storage of q, whose packing is known to fit; 0 where q is left to Python. */
static int read_q(PyObject *q, const packing *p, fq_storage *s, const char **name)
{
    PyArrayObject *a = (PyArrayObject *)q;
    if (!PyArray_CheckExact(q) || PyArray_NDIM(a) == 0 || !PyArray_ISALIGNED(a) || !PyArray_ISNOTSWAPPED(a)) {
        return 0;
    }
    const int row = row_of(PyArray_DESCR(a));
    if (row < 0 || (p->bits > 0 && row != STORED_U8)) {
        return 0;
    }
    *s = p->bits > 0 ? packed_storage(p->bits, p->is_signed) : stored[row].storage;
    *name = p->bits > 0 ? "these bits" : stored[row].name;
    return p->bits == 0 || PyArray_DIM(a, PyArray_NDIM(a) - 1) == items_of(*s, p->n);
}

static PyObject *dequantized(fq_arguments *c, PyObject *const *args, const packing *p, PyObject *out)
{
    PyArrayObject *q = (PyArrayObject *)args[0];
    const int axes = PyArray_CheckExact(args[0]) ? PyArray_NDIM(q) : 0;
    fq_storage s;
    const char *name;
    int taken = 1;
    if (!read_q(args[0], p, &s, &name)) {
        Py_RETURN_NONE;
    }
    const npy_intp n = p->bits > 0 ? p->n : PyArray_DIM(q, axes - 1);
    c->operand[0] = (PyArrayObject *)Py_NewRef(args[0]);
    if (!place_result(c, 3, out, fq_dtype_of_kind(FQ_ELEMENTS, c->type), n, p->bits > 0, &taken)) {
        return NULL;
    }
    if (!taken) {
        Py_RETURN_NONE;
    }
    c->operand[0] = c->operand[3]; /* into whose shape the parameters broadcast */
    taken = fq_read_parameters(c, args + 1);
    c->operand[0] = q;
    if (!taken || (out != Py_None && !fits_out(c, 3, fq_dtype_of_kind(FQ_ELEMENTS, c->type), n))) {
        PyErr_Clear(); /* of a scalar for which there was no memory */
        Py_RETURN_NONE;
    }
    return check_zero_point(c, s, name) ? run(c, s, n, out == Py_None) : NULL;
}

PyObject *fq_dequantize(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    fq_arguments c;
    PyArray_Descr *descr = NULL;
    if (nargs != 8) {
        return PyErr_Format(PyExc_TypeError, "_dequantize takes 8 arguments, got %zd", nargs);
    }
    const packing p = {PyLong_AsLong(args[4]), PyLong_AsLong(args[5]), args[6] == Py_True};
    if (PyErr_Occurred() || PyArray_DescrConverter(args[3], &descr) != NPY_SUCCEED) {
        return NULL;
    }
    const int type = fq_type_of_dtype(Py_TYPE((PyObject *)descr));
    Py_DECREF((PyObject *)descr);
    if (type < 0) {
        return PyErr_Format(PyExc_TypeError, "dtype must be " FQ_TYPE_NAMES ", got %S", args[3]);
    }
    memset(&c, 0, sizeof c);
    c.function = fq_function_of(FQ_DEQUANTIZE, 0), c.type = (fq_type)type;
    PyObject *y = dequantized(&c, args, &p, args[7]);
    fq_release(&c);
    return y;
}

/* ---- pack, unpack ---- */

/* The buffers of rows of bytes and of packed rows, the first of them written. n: bytes of a row. */
typedef struct {
    Py_buffer to, from;
    Py_ssize_t n;
    int bits, is_signed;
} rows;

static void release(rows *r)
{
    PyBuffer_Release(&r->to);
    PyBuffer_Release(&r->from);
}

PyObject *fq_pack(PyObject *Py_UNUSED(module), PyObject *args)
{
    rows r;
    if (!PyArg_ParseTuple(args, "w*y*ni", &r.to, &r.from, &r.n, &r.bits)) {
        return NULL;
    }
    const Py_ssize_t per_byte = 8 / r.bits, packed = (r.n + per_byte - 1) / per_byte;
    const uint8_t *from = r.from.buf;
    uint8_t *to = r.to.buf;
    for (Py_ssize_t row = 0; r.n > 0 && row < r.from.len / r.n; row++, from += r.n, to += packed) {
        for (Py_ssize_t i = 0; i < r.n; i += FQ_INTEGERS_AT_ONCE) {
            uint8_t byte[FQ_IN_BYTES];
            const size_t some = r.n - i < FQ_INTEGERS_AT_ONCE ? (size_t)(r.n - i) : FQ_INTEGERS_AT_ONCE;
            memcpy(byte, from + i, some);
            fq_pack_some(to + i / per_byte, byte, some, r.bits);
        }
    }
    release(&r);
    Py_RETURN_NONE;
}

PyObject *fq_unpack(PyObject *Py_UNUSED(module), PyObject *args)
{
    rows r;
    if (!PyArg_ParseTuple(args, "w*y*nip", &r.to, &r.from, &r.n, &r.bits, &r.is_signed)) {
        return NULL;
    }
    const Py_ssize_t per_byte = 8 / r.bits, packed = (r.n + per_byte - 1) / per_byte;
    const uint8_t *from = r.from.buf;
    uint8_t *to = r.to.buf;
    for (Py_ssize_t row = 0; r.n > 0 && row < r.to.len / r.n; row++, from += packed, to += r.n) {
        for (Py_ssize_t i = 0; i < r.n; i += FQ_INTEGERS_AT_ONCE) {
            uint8_t byte[FQ_IN_BYTES];
            const size_t some = r.n - i < FQ_INTEGERS_AT_ONCE ? (size_t)(r.n - i) : FQ_INTEGERS_AT_ONCE;
            fq_unpack_some(byte, from + i / per_byte, some, r.bits, r.is_signed);
            memcpy(to + i, byte, some);
        }
    }
    release(&r);
    Py_RETURN_NONE;
}
