/* Makes the ufuncs: their loops, the promoter by which x alone decides the type, and the errors they raise. */
#include "ufuncs.h"

#define FQ_IMPORTS_NUMPY
#include "direct.h"

#include <stdlib.h>

#include <numpy/dtype_api.h>

#define KINDS_QPARAMS "siii"
#define KINDS_NONE ""
#define COUNT(kinds) ((int)sizeof(kinds) - 1)
#define OPERAND(array, nin, outputs, inputs) \
    (array < COUNT(outputs) ? nin + array : array < COUNT(outputs inputs) ? array - COUNT(outputs) : 0)
#define OPERANDS(nin, outputs, inputs) \
    {OPERAND(0, nin, outputs, inputs), OPERAND(1, nin, outputs, inputs), OPERAND(2, nin, outputs, inputs)}
#define SPEC(r, OP, op, outputs, inputs, parameters, ...)                                   \
    [FQ_##OP] = {#op,                                                                       \
                 FQ_##OP,                                                                   \
                 r,                                                                         \
                 COUNT(inputs KINDS_##parameters),                                          \
                 COUNT(outputs),                                                            \
                 inputs KINDS_##parameters outputs,                                         \
                 (const char *const[]){__VA_ARGS__, "scale", "zero_point", "qmin", "qmax"}, \
                 OPERANDS(COUNT(inputs KINDS_##parameters), outputs, inputs),               \
                 COUNT(KINDS_##parameters) ? COUNT(inputs) : 0},

enum { ARITHMETICS = 2 }; /* x / scale, and x * (1 / scale) */

static const fq_ufunc_spec specs[ARITHMETICS][FQ_OPS] = {{FQ_OP_ROWS(SPEC, 0)}, {FQ_OP_ROWS(SPEC, 1)}};

/* The DType of each element type; NULL where its module is not installed. */
static PyArray_DTypeMeta *dtype_of[FQ_TYPES];

void fq_raise_refused(fq_status status, const fq_values *bad, fq_type type)
{
    char message[FQ_MESSAGE];
    if (status == FQ_NO_MEMORY) {
        PyErr_NoMemory();
        return;
    }
    fq_describe_refused(message, sizeof message, status, bad, type);
    PyErr_SetString(PyExc_ValueError, message);
}

int fq_type_of_dtype(const void *dtype)
{
    int type = FQ_TYPES - 1;
    while (type >= 0 && (dtype == NULL || dtype_of[type] != dtype)) {
        type--;
    }
    return type;
}

static void set_array(fq_arrays *arrays, int a, char *data, npy_intp step, npy_intp row_step)
{
    arrays->data[a] = data;
    arrays->step[a] = step;
    arrays->row_step[a] = row_step;
}

static int finish(fq_status status, const fq_values *bad, fq_type type)
{
    if (status == FQ_OK) {
        return 0;
    }
    const PyGILState_STATE gil = PyGILState_Ensure();
    fq_raise_refused(status, bad, type);
    PyGILState_Release(gil);
    return -1;
}

/* What NumPy calls for a ufunc: one row. It holds no GIL. */
static int run_row(const fq_ufunc_spec *spec, fq_type type, char *const *data, const npy_intp *dims,
                   const npy_intp *steps)
{
    const fq_call call = {spec->op, type, spec->reciprocal, 0};
    fq_arrays arrays = {{NULL}, {0}, {0}};
    fq_given given = {0};
    fq_values bad;
    for (int a = 0; a < FQ_MAX_ARRAYS; a++) {
        set_array(&arrays, a, data[spec->arrays[a]], steps[spec->arrays[a]], 0);
    }
    if (spec->scale) {
        char *const *d = data + spec->scale;
        const npy_intp *s = steps + spec->scale;
        given = (fq_given){d[0], d[1], d[2], d[3], s[0], s[1], s[2], s[3], 0, 0, 0, 0};
    }
    const fq_shape shape = {1, 1, 1, (size_t)dims[0]};
    return finish(fq_rows(&call, &arrays, &shape, spec->scale ? &given : NULL, &bad), &bad, type);
}

/* What NumPy calls for a generalized ufunc: rows of n. The steps of rows come first, an operand each, then those along the
 * core dimensions, of the operands that have one: not qmin and qmax. An absent or repeated core dimension has step 0. */
static int run_packed(const fq_ufunc_spec *spec, fq_type type, char *const *data, const npy_intp *dims,
                      const npy_intp *steps)
{
    const fq_call call = {spec->op, type, spec->reciprocal, 0};
    const int scale = spec->scale, absent = scale ? 2 : 0; /* qmin and qmax */
    const size_t rows = (size_t)dims[0], n = (size_t)dims[1];
    const fq_shape shape = {1, scale ? rows : 1, scale ? 1 : rows, n};
    const npy_intp *core = steps + spec->nin + spec->nout;
    fq_arrays arrays = {{NULL}, {0}, {0}};
    fq_given given = {0};
    fq_values bad;
    for (int a = 0; a < FQ_MAX_ARRAYS; a++) {
        const int operand = spec->arrays[a];
        set_array(&arrays, a, data[operand], core[operand < spec->nin ? operand : operand - absent], steps[operand]);
    }
    if (scale) {
        char *const *d = data + scale;
        const npy_intp *s = steps + scale, *c = core + scale;
        given = (fq_given){d[0], d[1], d[2], d[3], c[0], c[1], 0, 0, s[0], s[1], s[2], s[3]};
    }
    return finish(fq_rows(&call, &arrays, &shape, scale ? &given : NULL, &bad), &bad, type);
}

#define LOOP(reciprocal, type, op)                                                                             \
    static int loop_##op##_##reciprocal##_##type(PyArrayMethod_Context *Py_UNUSED(context), char *const *data, \
                                                 const npy_intp *dims, const npy_intp *steps,                  \
                                                 NpyAuxData *Py_UNUSED(auxiliary))                             \
    {                                                                                                          \
        const fq_ufunc_spec *spec = &specs[reciprocal][op];                                                    \
        return (fq_is_packed(spec) ? run_packed : run_row)(spec, type, data, dims, steps);                     \
    }
#define LOOPS(type, OP, ...) LOOP(0, type, FQ_##OP) LOOP(1, type, FQ_##OP)
#define LOOPS_OF_TYPE(TYPE, ...) FQ_OP_ROWS(LOOPS, FQ_##TYPE)
FQ_TYPE_ROWS(LOOPS_OF_TYPE)

#define ENTRIES(type, OP, ...) \
    [0][type][FQ_##OP] = loop_FQ_##OP##_0_##type, [1][type][FQ_##OP] = loop_FQ_##OP##_1_##type,
#define ENTRIES_OF_TYPE(TYPE, ...) FQ_OP_ROWS(ENTRIES, FQ_##TYPE)
static PyArrayMethod_StridedLoop *const loops[ARITHMETICS][FQ_TYPES][FQ_OPS] = {FQ_TYPE_ROWS(ENTRIES_OF_TYPE)};

/* What is called for a ufunc: fq's own way where it is one for these arguments, else NumPy's. */
static fq_vectorcall *numpys_call;

#define CALL(reciprocal, OP, ...)                                                                                    \
    static PyObject *call_##OP##_##reciprocal(PyObject *ufunc, PyObject *const *args, size_t nargs, PyObject *names) \
    {                                                                                                                \
        PyObject *result;                                                                                            \
        return fq_call_directly(&specs[reciprocal][FQ_##OP], args, nargs, names, 0, &result)                         \
                   ? result                                                                                          \
                   : numpys_call(ufunc, args, nargs, names);                                                         \
    }
FQ_OP_ROWS(CALL, 0)
FQ_OP_ROWS(CALL, 1)

#define CALL_ENTRY(reciprocal, OP, ...) [FQ_##OP] = call_##OP##_##reciprocal,
static fq_vectorcall *const calls[ARITHMETICS][FQ_OPS] = {{FQ_OP_ROWS(CALL_ENTRY, 0)}, {FQ_OP_ROWS(CALL_ENTRY, 1)}};

/* What a ufunc is, which its call tells. */
static const fq_ufunc_spec *spec_of(PyObject *ufunc)
{
    fq_vectorcall *call = (fq_vectorcall *)((PyUFuncObject *)ufunc)->vectorcall;
    for (int i = 0; i < ARITHMETICS * FQ_OPS; i++) {
        if (calls[i / FQ_OPS][i % FQ_OPS] == call) {
            return &specs[i / FQ_OPS][i % FQ_OPS];
        }
    }
    PyErr_Format(PyExc_SystemError, "%s is no ufunc of fq", ((PyUFuncObject *)ufunc)->name);
    return NULL;
}

/* sizes: n, s and z where there are parameters, and p, which comes second where it is an input's. An output's p is -1
 * where none was given. */
static int packed_dims(PyUFuncObject *ufunc, npy_intp *sizes)
{
    static const char *const labels[] = {"scale", "zero_point"};
    const fq_ufunc_spec *spec = spec_of((PyObject *)ufunc);
    if (spec == NULL) {
        return -1;
    }
    const int reads_bits = memchr(spec->kinds, FQ_BIT_MASK, (size_t)spec->nin) != NULL;
    const int first = reads_bits ? 2 : 1, parameters = spec->scale ? 2 : 0, p = reads_bits ? 1 : first + parameters;
    const npy_intp n = sizes[0], bytes = n / 8 + (n % 8 != 0);
    for (int i = 0; i < parameters; i++) {
        if (sizes[first + i] != 1 && sizes[first + i] != n) {
            PyErr_Format(PyExc_ValueError,
                         "operands could not be broadcast together: the last axis of %s must be 1 or that of x, "
                         "%zd, got %zd",
                         labels[i], (Py_ssize_t)n, (Py_ssize_t)sizes[first + i]);
            return -1;
        }
    }
    if (sizes[p] != -1 && sizes[p] != bytes) {
        PyErr_Format(PyExc_ValueError, "the last axis of bits must be %zd for %zd elements, got %zd", (Py_ssize_t)bytes,
                     (Py_ssize_t)n, (Py_ssize_t)sizes[p]);
        return -1;
    }
    sizes[p] = bytes;
    return 0;
}

PyArray_DTypeMeta *fq_dtype_of_kind(char kind, fq_type type)
{
    switch (kind) {
    case 'v': return dtype_of[type];
    case 's': return type == FQ_F64 ? &PyArray_DoubleDType : &PyArray_FloatDType;
    case 'i': return &PyArray_Int64DType;
    case 'u': return &PyArray_UInt8DType;
    default: return &PyArray_BoolDType;
    }
}

static int is_python_number(PyArray_DTypeMeta *given)
{
    return given == &PyArray_PyLongDType || given == &PyArray_PyFloatDType || given == &PyArray_PyComplexDType;
}

/* What a message calls a DType: a dtype of it, or the type of a Python number. */
static PyObject *shown(PyArray_DTypeMeta *given)
{
    return is_python_number(given) ? PyObject_GetAttrString((PyObject *)given, "type")
                                   : (PyObject *)PyArray_GetDefaultDescr(given);
}

static int refuse(const char *label, const char *accepted, PyArray_DTypeMeta *given)
{
    PyObject *got = shown(given);
    if (got != NULL) {
        PyErr_Format(PyExc_TypeError, "%s must be %s, got %S", label, accepted, got);
        Py_DECREF(got);
    }
    return -1;
}

static int refuse_two(const char *label, PyArray_DTypeMeta *given, const char *other, PyArray_DTypeMeta *of_other)
{
    PyObject *got = shown(given), *and = shown(of_other);
    if (got != NULL && and != NULL) {
        PyErr_Format(PyExc_TypeError, "%s and %s must have one type, got %S and %S", label, other, got, and);
    }
    Py_XDECREF(got);
    Py_XDECREF(and);
    return -1;
}

static int can_cast(PyArray_DTypeMeta *given, PyArray_DTypeMeta *wanted)
{
    PyArray_Descr *from = PyArray_GetDefaultDescr(given), *to = PyArray_GetDefaultDescr(wanted);
    const int can = from && to ? PyArray_CanCastTypeTo(from, to, NPY_SAME_KIND_CASTING) : -1;
    Py_XDECREF((PyObject *)from);
    Py_XDECREF((PyObject *)to);
    return can;
}

/* 1, 0, or -1 with an exception set. A mask is never cast. */
static int accepts(char kind, fq_type type, PyArray_DTypeMeta *given)
{
    if (kind == 'b' || kind == 'u') {
        return given == fq_dtype_of_kind(kind, type);
    }
    if (is_python_number(given)) {
        return given == &PyArray_PyLongDType || (given == &PyArray_PyFloatDType && kind == 's');
    }
    return can_cast(given, fq_dtype_of_kind(kind, type));
}

/* The element type of the call, from x or dy, or both where they agree; a Python float takes the other's. */
static int find_type(const fq_ufunc_spec *spec, PyArray_DTypeMeta *const given[])
{
    int found = -1, by = 0;
    for (int i = 0; i < spec->nin && spec->kinds[i] == 'v'; i++) {
        const int type = fq_type_of_dtype(given[i]);
        if (given[i] == &PyArray_PyFloatDType) {
            continue;
        }
        if (type < 0) {
            return given[i] == NULL ? PyErr_Format(PyExc_TypeError, "%s has no reductions", spec->name),
                   -1               : refuse(spec->labels[i], FQ_TYPE_NAMES, given[i]);
        }
        if (found >= 0 && found != type) {
            return refuse_two(spec->labels[by], dtype_of[found], spec->labels[i], dtype_of[type]);
        }
        found = type;
        by = i;
    }
    return found < 0 ? FQ_F64 : found;
}

static const char *wanted(char kind)
{
    switch (kind) {
    case 's': return "a real number or an array of them";
    case 'i': return "an integer or an array of them";
    case 'u': return "an array of uint8, as forward_packed gives it";
    default: return "an array of bool";
    }
}

static int promote(PyObject *ufunc, PyArray_DTypeMeta *const given[], PyArray_DTypeMeta *const signature[],
                   PyArray_DTypeMeta *loop[])
{
    const fq_ufunc_spec *spec = spec_of(ufunc);
    const int type = spec ? find_type(spec, given) : -1;
    if (type < 0) {
        return -1;
    }
    for (int i = 0; i < spec->nin; i++) {
        const char kind = spec->kinds[i];
        const int accepted = kind == 'v' ? 1 : accepts(kind, (fq_type)type, given[i]);
        if (accepted != 1) {
            return accepted < 0 ? -1 : refuse(spec->labels[i], wanted(kind), given[i]);
        }
    }
    for (int i = 0; i < spec->nin + spec->nout; i++) {
        loop[i] = signature[i] ? signature[i] : fq_dtype_of_kind(spec->kinds[i], (fq_type)type);
        NPY_DT_NewRef(loop[i]);
    }
    return 0;
}

static int add_loops(PyObject *ufunc, const fq_ufunc_spec *spec)
{
    for (int type = 0; type < FQ_TYPES; type++) {
        PyArray_DTypeMeta *dtypes[FQ_MOST_OPERANDS];
        if (dtype_of[type] == NULL) {
            continue;
        }
        for (int i = 0; i < spec->nin + spec->nout; i++) {
            dtypes[i] = fq_dtype_of_kind(spec->kinds[i], (fq_type)type);
        }
        PyType_Slot slots[] = {{NPY_METH_strided_loop, (void *)loops[spec->reciprocal][type][spec->op]}, {0, NULL}};
        PyArrayMethod_Spec method = {.name = spec->name,
                                     .nin = spec->nin,
                                     .nout = spec->nout,
                                     .casting = NPY_NO_CASTING,
                                     .flags = NPY_METH_NO_FLOATINGPOINT_ERRORS,
                                     .dtypes = dtypes,
                                     .slots = slots};
        if (PyUFunc_AddLoopFromSpec(ufunc, &method) < 0) {
            return -1;
        }
    }
    return 0;
}

static int add_promoter(PyObject *ufunc, const fq_ufunc_spec *spec)
{
    const int operands = spec->nin + spec->nout;
    PyObject *any = PyTuple_New(operands);
    PyObject *capsule = PyCapsule_New((void *)promote, "numpy._ufunc_promoter", NULL);
    int result = -1;
    if (any != NULL && capsule != NULL) {
        for (int i = 0; i < operands; i++) {
            PyTuple_SetItem(any, i, Py_NewRef(Py_None));
        }
        result = PyUFunc_AddPromoter(ufunc, any, capsule);
    }
    Py_XDECREF(any);
    Py_XDECREF(capsule);
    return result;
}

enum { SIGNATURE = 64 }; /* bytes */

/* scale and zero_point have a core dimension of their own, 1 or n, or none; qmin and qmax have none. */
static void write_signature(char *to, const fq_ufunc_spec *spec)
{
    static const char *const of_parameter[] = {"(s?)", "(z?)", "()", "()"};
    *to = '\0';
    for (int i = 0; i < spec->nin + spec->nout; i++) {
        const int parameter = spec->scale && i >= spec->scale && i < spec->nin;
        strcat(to, i == 0 ? "" : i == spec->nin ? "->" : ",");
        strcat(to, parameter ? of_parameter[i - spec->scale] : spec->kinds[i] == FQ_BIT_MASK ? "(p)" : "(n)");
    }
}

static PyObject *make_ufunc(const fq_ufunc_spec *spec)
{
    char signature[SIGNATURE];
    write_signature(signature, spec);
    PyObject *ufunc = PyUFunc_FromFuncAndDataAndSignature(NULL, NULL, NULL, 0, spec->nin, spec->nout, PyUFunc_None,
                                                          spec->name, NULL, 0, fq_is_packed(spec) ? signature : NULL);
    if (ufunc == NULL || add_loops(ufunc, spec) < 0 || add_promoter(ufunc, spec) < 0) {
        Py_XDECREF(ufunc);
        return NULL;
    }
    ((PyUFuncObject *)ufunc)->process_core_dims_func = fq_is_packed(spec) ? packed_dims : NULL;
    numpys_call = (fq_vectorcall *)((PyUFuncObject *)ufunc)->vectorcall;
    ((PyUFuncObject *)ufunc)->vectorcall = (void *)calls[spec->reciprocal][spec->op];
    return ufunc;
}

/* The DType of module.name, or NULL: with an exception set, or without one where the module is not installed. */
static PyArray_DTypeMeta *find_dtype(const char *from, const char *name)
{
    PyArray_Descr *descr = NULL;
    PyObject *module = PyImport_ImportModule(from);
    if (module == NULL) {
        if (PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    PyObject *scalar_type = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    if (scalar_type != NULL && PyArray_DescrConverter(scalar_type, &descr) != NPY_SUCCEED) {
        descr = NULL;
    }
    Py_XDECREF(scalar_type);
    if (descr == NULL) {
        return NULL;
    }
    PyArray_DTypeMeta *dtype = NPY_DT_NewRef((PyArray_DTypeMeta *)Py_TYPE((PyObject *)descr));
    Py_DECREF(descr);
    return dtype;
}

static int find_dtypes(void)
{
    static const struct {
        const char *module, *name;
    } from[FQ_TYPES] = {
#define FROM(TYPE, suffix, storage, module, name) [FQ_##TYPE] = {module, name},
        FQ_TYPE_ROWS(FROM)};
    for (int type = 0; type < FQ_TYPES; type++) {
        if (dtype_of[type] == NULL) {
            dtype_of[type] = find_dtype(from[type].module, from[type].name);
        }
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

PyObject *fq_types(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyObject *types = PyList_New(0);
    for (int type = 0; types != NULL && type < FQ_TYPES; type++) {
        PyArray_Descr *dtype = dtype_of[type] != NULL ? PyArray_GetDefaultDescr(dtype_of[type]) : NULL;
        if (dtype_of[type] != NULL && (dtype == NULL || PyList_Append(types, (PyObject *)dtype) < 0)) {
            Py_CLEAR(types);
        }
        Py_XDECREF((PyObject *)dtype);
    }
    return types;
}

/* {name: ufunc} for one arithmetic. */
static PyObject *make_ufuncs(int reciprocal)
{
    PyObject *all = PyDict_New();
    for (int op = 0; all != NULL && op < FQ_OPS; op++) {
        PyObject *ufunc = make_ufunc(&specs[reciprocal][op]);
        if (ufunc == NULL || PyDict_SetItemString(all, specs[reciprocal][op].name, ufunc) < 0) {
            Py_CLEAR(all);
        }
        Py_XDECREF(ufunc);
    }
    return all;
}

int fq_add_ufuncs(PyObject *module)
{
    static const char *const attributes[ARITHMETICS] = {"divide", "reciprocal"};
    /* Not by their macros, which print the error and raise another in its place. */
    if (_import_array() < 0 || _import_umath() < 0 || find_dtypes() < 0) {
        return -1;
    }
    for (int reciprocal = 0; reciprocal < ARITHMETICS; reciprocal++) {
        PyObject *all = make_ufuncs(reciprocal);
        const int added = all ? PyModule_AddObjectRef(module, attributes[reciprocal], all) : -1;
        Py_XDECREF(all);
        if (added < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *fq_into_new(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *given[FQ_MOST_OPERANDS + 1], *result;
    const int is_ufunc = nargs > 0 && PyObject_TypeCheck(args[0], &PyUFunc_Type);
    const fq_ufunc_spec *spec = is_ufunc ? spec_of(args[0]) : NULL;
    if (spec == NULL || nargs != spec->nin + 2) {
        PyErr_SetString(PyExc_TypeError, "_into_new takes a ufunc of fq, its out and its inputs");
        return NULL;
    }
    PyObject *names = Py_BuildValue("(s)", "out");
    if (names == NULL) {
        return NULL;
    }
    memcpy(given, args + 2, (size_t)spec->nin * sizeof *given);
    given[spec->nin] = args[1];
    if (!fq_call_directly(spec, given, (size_t)spec->nin, names, 1, &result)) {
        result = numpys_call(args[0], given, (size_t)spec->nin, names);
    }
    Py_DECREF(names);
    return result;
}

PyObject *fq_describe(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *ufunc;
    const char *doc;
    if (!PyArg_ParseTuple(args, "O!s", &PyUFunc_Type, &ufunc, &doc)) {
        return NULL;
    }
    /* The ufunc keeps the pointer and never frees it; it lives as long as the process. */
    char *copy = malloc(strlen(doc) + 1);
    if (copy == NULL) {
        return PyErr_NoMemory();
    }
    ((PyUFuncObject *)ufunc)->doc = strcpy(copy, doc);
    Py_RETURN_NONE;
}
