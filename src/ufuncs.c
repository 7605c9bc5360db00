/* Makes the ufuncs: their loops, the promoter by which x alone decides the type, and the errors they raise. */
#include "ufuncs.h"

#define FQ_IMPORTS_NUMPY
#include "arguments.h"

#include <stdlib.h>
#include <string.h>

#include <numpy/dtype_api.h>

static fq_function functions[FQ_RULES][FQ_OPS];

const fq_function *fq_function_of(fq_op op, fq_rule rule) { return &functions[rule][op]; }

/* The DType of each element type; NULL where its module is not installed. */
static PyArray_DTypeMeta *dtype_of[FQ_TYPES];

int fq_type_of_dtype(const void *dtype)
{
    int type = FQ_TYPES - 1;
    while (type >= 0 && (dtype == NULL || dtype_of[type] != dtype)) {
        type--;
    }
    return type;
}

/* Of the parameters of a generalized ufunc the first ones have a core dimension of their own, 1 or n, or none. */
static int has_core(const fq_function *f, int operand)
{
    const int parameter = operand - f->is->inputs;
    return parameter < f->is->along || parameter >= f->is->parameters;
}

/* A generalized ufunc has two axes, whose steps come one after the other: first those of all operands, then those of the
 * operands that have a core dimension. */
static void read_loop(fq_call *call, const fq_function *f, char *const *data, const npy_intp *dims,
                      const npy_intp *steps)
{
    const int operands = fq_operands_of(f->is);
    call->op = f->op, call->rule = f->rule, call->new_outputs = 0;
    call->axes = fq_packed_operand(f->is) ? 2 : 1;
    for (int axis = 0; axis < call->axes; axis++) {
        ptrdiff_t step[FQ_MOST_OPERANDS];
        for (int i = 0; i < operands; i++) {
            step[i] = axis == 0 || has_core(f, i) ? *steps++ : 0;
        }
        call->axis[axis].length = (size_t)dims[axis];
        for (int a = 0; a < f->is->arrays; a++) {
            call->axis[axis].array[a] = step[fq_operand_of(f->is, a)];
        }
        memset(call->axis[axis].given, 0, sizeof call->axis[axis].given);
        memcpy(call->axis[axis].given, step + f->is->inputs, (size_t)f->is->parameters * sizeof *step);
    }
    for (int a = 0; a < f->is->arrays; a++) {
        call->data[a] = data[fq_operand_of(f->is, a)];
    }
    for (int k = 0; k < f->is->parameters; k++) {
        call->given[k] = data[f->is->inputs + k];
    }
}

/* What a ufunc is: NumPy keeps its function as the data of its loops. */
static const fq_function *function_of(PyObject *ufunc) { return ((PyUFuncObject *)ufunc)->data[0]; }

/* Whether operands a and b lie apart or on each other, element for element. */
static int is_apart(const fq_function *f, int a, int b, fq_type type, char *const *data, npy_intp n,
                    const npy_intp *steps)
{
    const fq_extent of_a = fq_extent_of(data[a], fq_item_size(f->is->kinds[a], type), 1, &n, &steps[a]);
    const fq_extent of_b = fq_extent_of(data[b], fq_item_size(f->is->kinds[b], type), 1, &n, &steps[b]);
    return !fq_meet(of_a, of_b) || (data[a] == data[b] && steps[a] == steps[b]);
}

/* NumPy copies operands that overlap, but where one pass from the first element to the last reads each before it is written. */
static int must_go_in_order(const fq_function *f, fq_type type, char *const *data, npy_intp n, const npy_intp *steps)
{
    const int nin = fq_inputs_of(f->is), whole = fq_packed_operand(f->is) > 0;
    for (int o = nin; !whole && o < nin + f->is->outputs; o++) {
        for (int i = 0; i < nin; i++) {
            if (!is_apart(f, o, i, type, data, n, steps)) {
                return 1;
            }
        }
    }
    return 0;
}

/* What NumPy calls for any ufunc and element type. It holds no GIL. */
static int loop(PyArrayMethod_Context *context, char *const *data, const npy_intp *dims, const npy_intp *steps,
                NpyAuxData *Py_UNUSED(auxiliary))
{
    fq_call call;
    fq_values bad;
    read_loop(&call, function_of(context->caller), data, dims, steps);
    call.type = (fq_type)fq_type_of_dtype(Py_TYPE((PyObject *)context->descriptors[0]));
    const fq_type type = call.type;
    call.in_order = must_go_in_order(function_of(context->caller), type, data, dims[0], steps);
    const fq_status status = fq_run(&call, &bad);
    if (status == FQ_OK) {
        return 0;
    }
    const PyGILState_STATE gil = PyGILState_Ensure();
    fq_raise_refused(status, &bad, type, NULL);
    PyGILState_Release(gil);
    return -1;
}

/* The module fq._errors: what is told in words, and takes no part in a call that is right. */
static PyObject *helper;

PyObject *fq_help_with(PyObject *Py_UNUSED(module), PyObject *errors)
{
    Py_XDECREF(helper);
    helper = Py_NewRef(errors);
    Py_RETURN_NONE;
}

static PyObject *tuple_of(PyObject *const *args, Py_ssize_t count)
{
    PyObject *all = PyTuple_New(count);
    for (Py_ssize_t i = 0; all != NULL && i < count; i++) {
        PyTuple_SetItem(all, i, Py_NewRef(args[i]));
    }
    return all;
}

/* Whether NumPy may lose something of this input in silence: a mask, or the size of a level. */
static int is_suspect(const fq_function *f, int i, PyObject *o)
{
    const int exact = PyArray_CheckExact(o);
    if (f->is->kinds[i] == FQ_LEVEL && !PyLong_CheckExact(o) &&
        !(exact && PyTypeNum_ISSIGNED(PyArray_TYPE((PyArrayObject *)o)))) {
        return 1;
    }
    return fq_packed_operand(f->is) && !exact && PyArray_Check(o);
}

/* Sets an exception for what NumPy would take in silence. */
static int check_arguments(const fq_function *f, PyObject *const *args)
{
    int suspect = 0;
    for (int i = 0; i < fq_inputs_of(f->is); i++) {
        suspect |= is_suspect(f, i, args[i]);
    }
    PyObject *given = suspect && helper != NULL ? tuple_of(args, fq_inputs_of(f->is)) : NULL;
    if (given != NULL) {
        Py_XDECREF(PyObject_CallMethod(helper, "check", "ssO", fq_rule_names[f->rule], f->is->name, given));
        Py_DECREF(given);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int is_out(PyObject *name) { return PyUnicode_CompareWithASCIIString(name, "out") == 0; }

/* Replaces the exception that is set by what fq._errors makes of it. */
static void explain(const fq_function *f, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const int nin = fq_inputs_of(f->is);
    PyObject *type, *error, *traceback, *told = NULL, *out = nargs > nin ? args[nin] : Py_None;
    if (helper == NULL || !(PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_TypeError))) {
        return;
    }
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    for (Py_ssize_t k = 0; names != NULL && k < PyTuple_Size(names); k++) {
        out = is_out(PyTuple_GetItem(names, k)) ? args[nargs + k] : out;
    }
    PyObject *given = tuple_of(args, nin);
    if (given != NULL) {
        told = PyObject_CallMethod(helper, "explain", "ssOOO", fq_rule_names[f->rule], f->is->name, error, given, out);
        Py_DECREF(given);
    }
    if (told == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        Py_XDECREF(type), Py_XDECREF(error), Py_XDECREF(traceback);
        return;
    }
    PyErr_Restore(type, error, traceback); /* in the place of what the helper raised */
    if (told != NULL && told != Py_None) {
        PyErr_SetObject((PyObject *)Py_TYPE(told), told);
    }
    Py_XDECREF(told);
}

static fq_vectorcall *numpys_call;

/* Of a call with all inputs by position. */
static PyObject *call_numpy(PyObject *ufunc, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const fq_function *f = function_of(ufunc);
    PyObject *result = check_arguments(f, args) < 0 ? NULL : numpys_call(ufunc, args, (size_t)nargs, names);
    if (result == NULL) {
        explain(f, args, nargs, names);
    }
    return result;
}

/* A bit of the number of arguments, which Python adds where their array has room before it. */
#define ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))

/* Whether the fast path took the call, which has all inputs and these keywords. */
static int call_fast(const fq_function *f, PyObject *const *args, Py_ssize_t nargs, PyObject *names, PyObject **result)
{
    return nargs == fq_inputs_of(f->is) &&
           (names == NULL || (PyTuple_Size(names) == 1 && is_out(PyTuple_GetItem(names, 0)))) &&
           fq_call_fast(f, args, names ? args[nargs] : NULL, 0, result);
}

static PyObject *call_by_name(PyObject *ufunc, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    const fq_function *f = function_of(ufunc);
    fq_positions p;
    PyObject *result = NULL;
    const Py_ssize_t nin = fq_inputs_of(f->is);
    if (fq_arrange(&p, f, args, nargs, names)) {
        if (!call_fast(f, p.args, nin, p.names, &result)) {
            result = call_numpy(ufunc, p.args, nin, p.names);
        }
        Py_XDECREF(p.names);
    }
    else if (!PyErr_Occurred()) {
        result = PyObject_CallMethod(helper, "misnamed", "ssnO", fq_rule_names[f->rule], f->is->name, nargs,
                                     names ? names : Py_None);
    }
    return result;
}

/* What is called for a ufunc: the fast path where it takes these arguments, else NumPy. */
static PyObject *call(PyObject *ufunc, PyObject *const *args, size_t nargs_and_bit, PyObject *names)
{
    const fq_function *f = function_of(ufunc);
    const Py_ssize_t nargs = (Py_ssize_t)(nargs_and_bit & ~ARGUMENTS_OFFSET);
    PyObject *result;
    if (call_fast(f, args, nargs, names, &result)) {
        return result;
    }
    int named = nargs < fq_inputs_of(f->is);
    for (Py_ssize_t k = 0; !named && names != NULL && k < PyTuple_Size(names); k++) {
        named = fq_place_of_name(f, PyTuple_GetItem(names, k)) >= 0;
    }
    return (named ? call_by_name : call_numpy)(ufunc, args, nargs, names);
}

/* sizes: n, s and z where there are parameters, and p, which comes second where it is an input's. An output's p is -1
 * where none was given. */
static int packed_dims(PyUFuncObject *ufunc, npy_intp *sizes)
{
    const fq_operation *is = function_of((PyObject *)ufunc)->is;
    const int reads_bits = fq_packed_operand(is) < is->inputs, first = reads_bits ? 2 : 1;
    const int parameters = is->along, p = reads_bits ? 1 : first + parameters;
    const npy_intp n = sizes[0], bytes = (npy_intp)fq_items(is->kinds[fq_packed_operand(is)], (size_t)n);
    for (int i = 0; i < parameters; i++) {
        if (sizes[first + i] != 1 && sizes[first + i] != n) {
            PyErr_Format(PyExc_ValueError,
                         "operands could not be broadcast together: the last axis of %s must be 1 or that of x, "
                         "%zd, got %zd",
                         fq_name_of(is, is->inputs + i), (Py_ssize_t)n, (Py_ssize_t)sizes[first + i]);
            return -1;
        }
    }
    if (sizes[p] != -1 && sizes[p] != bytes) {
        PyErr_Format(PyExc_ValueError, "the last axis of %s must be %zd for %zd elements, got %zd",
                     fq_name_of(is, fq_packed_operand(is)), (Py_ssize_t)bytes, (Py_ssize_t)n, (Py_ssize_t)sizes[p]);
        return -1;
    }
    sizes[p] = bytes;
    return 0;
}

#define DTYPE_OF_TYPE dtype_of[type]
#define DTYPE_COMPUTED (type == FQ_F64 ? &PyArray_DoubleDType : &PyArray_FloatDType)
#define DTYPE_STORED NULL
#define DTYPE_ALWAYS(bits, dtype) &PyArray_##dtype##DType
#define DTYPE(with, NAME, letter, item, ...) kind == letter ? (PyArray_DTypeMeta *)(DTYPE_##item):
PyArray_DTypeMeta *fq_dtype_of_kind(char kind, fq_type type) { return FQ_KIND_ROWS(DTYPE, ) NULL; }

#define CASTING(with, NAME, letter, item, cast, ...) kind == letter ? NPY_##cast##_CASTING:
static NPY_CASTING casting_to(char kind) { return FQ_KIND_ROWS(CASTING, ) NPY_NO_CASTING; }

#define ACCEPTED(with, NAME, letter, item, cast, accepted) kind == letter ? accepted:
static const char *accepted_as(char kind) { return FQ_KIND_ROWS(ACCEPTED, ) NULL; }

/* fq._errors says more, where Python called the ufunc itself. */
static int refuse(const fq_function *f, int operand)
{
    PyErr_Format(PyExc_TypeError, "%U must be %s", f->names[operand], accepted_as(f->is->kinds[operand]));
    return -1;
}

/* Whether an input of this DType is cast to what its kind has in a loop of this type: 1, 0, or -1 with an exception set. A
 * number of Python has a DType too, whose default is float64 or int64. */
static int accepts(char kind, fq_type type, PyArray_DTypeMeta *given)
{
    PyArray_Descr *from = PyArray_GetDefaultDescr(given), *to = PyArray_GetDefaultDescr(fq_dtype_of_kind(kind, type));
    const int can = from && to ? PyArray_CanCastTypeTo(from, to, casting_to(kind)) : -1;
    Py_XDECREF((PyObject *)from);
    Py_XDECREF((PyObject *)to);
    return can;
}

/* The element type of the call: that of the last of the arrays of elements, x beside dy; a Python float takes the other's. */
static int find_type(const fq_function *f, PyArray_DTypeMeta *const given[])
{
    int found = -1;
    for (int i = 0; i < f->is->inputs && f->is->kinds[i] == FQ_ELEMENTS; i++) {
        const int type = fq_type_of_dtype(given[i]);
        if (given[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s has no reductions", f->is->name);
            return -1;
        }
        if (type < 0 && given[i] != &PyArray_PyFloatDType) {
            return refuse(f, i);
        }
        found = type < 0 ? found : type;
    }
    return found < 0 ? FQ_F64 : found;
}

static int promote(PyObject *ufunc, PyArray_DTypeMeta *const given[], PyArray_DTypeMeta *const signature[],
                   PyArray_DTypeMeta *loop_of[])
{
    const fq_function *f = function_of(ufunc);
    const int type = find_type(f, given);
    if (type < 0) {
        return -1;
    }
    for (int i = 0; i < fq_inputs_of(f->is); i++) {
        const int accepted = accepts(f->is->kinds[i], (fq_type)type, given[i]);
        if (accepted != 1) {
            return accepted < 0 ? -1 : refuse(f, i);
        }
    }
    for (int i = 0; i < fq_operands_of(f->is); i++) {
        loop_of[i] = signature[i] ? signature[i] : fq_dtype_of_kind(f->is->kinds[i], (fq_type)type);
        NPY_DT_NewRef(loop_of[i]);
    }
    return 0;
}

static int add_loops(PyObject *ufunc, const fq_function *f)
{
    for (int type = 0; type < FQ_TYPES; type++) {
        PyArray_DTypeMeta *dtypes[FQ_MOST_OPERANDS];
        if (dtype_of[type] == NULL) {
            continue;
        }
        for (int i = 0; i < fq_operands_of(f->is); i++) {
            dtypes[i] = fq_dtype_of_kind(f->is->kinds[i], (fq_type)type);
        }
        PyType_Slot slots[] = {{NPY_METH_strided_loop, (void *)loop}, {0, NULL}};
        PyArrayMethod_Spec method = {.name = f->is->name,
                                     .nin = fq_inputs_of(f->is),
                                     .nout = f->is->outputs,
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

static int add_promoter(PyObject *ufunc, const fq_function *f)
{
    const int operands = fq_operands_of(f->is);
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

static void write_signature(char *to, const fq_function *f)
{
    static const char *const of_parameter[] = {"(s?)", "(z?)"};
    const int nin = fq_inputs_of(f->is);
    *to = '\0';
    for (int i = 0; i < nin + f->is->outputs; i++) {
        const int parameter = i - f->is->inputs, is_parameter = parameter >= 0 && i < nin;
        strcat(to, i == 0 ? "" : i == nin ? "->" : ",");
        strcat(to, !has_core(f, i)                    ? "()"
                   : is_parameter                     ? of_parameter[parameter]
                   : fq_per_byte(f->is->kinds[i]) > 1 ? "(p)"
                                                      : "(n)");
    }
}

static PyObject *make_ufunc(const fq_function *f)
{
    static void *kept[FQ_RULES][FQ_OPS][1]; /* NumPy keeps the address */
    void **data = kept[f->rule][f->op];
    const int packed = fq_packed_operand(f->is) > 0;
    char signature[SIGNATURE];
    data[0] = (void *)(uintptr_t)f;
    write_signature(signature, f);
    PyObject *ufunc =
        PyUFunc_FromFuncAndDataAndSignature(NULL, (void *const *)data, NULL, 0, fq_inputs_of(f->is), f->is->outputs,
                                            PyUFunc_None, f->is->name, NULL, 0, packed ? signature : NULL);
    if (ufunc == NULL || add_loops(ufunc, f) < 0 || add_promoter(ufunc, f) < 0) {
        Py_XDECREF(ufunc);
        return NULL;
    }
    ((PyUFuncObject *)ufunc)->process_core_dims_func = packed ? packed_dims : NULL;
    numpys_call = (fq_vectorcall *)((PyUFuncObject *)ufunc)->vectorcall;
    ((PyUFuncObject *)ufunc)->vectorcall = (void *)call;
    return ufunc;
}

PyArray_DTypeMeta *fq_find_dtype(const char *from, const char *name)
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
            dtype_of[type] = fq_find_dtype(from[type].module, from[type].name);
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

static int make_function(fq_function *f, fq_op op, fq_rule rule)
{
    f->is = fq_operation_of(op, rule), f->op = op, f->rule = rule;
    for (int i = 0; i < fq_operands_of(f->is); i++) {
        f->names[i] = f->names[i] ? f->names[i] : PyUnicode_InternFromString(fq_name_of(f->is, i));
        if (f->names[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* {name: ufunc} for one rule. */
static PyObject *make_ufuncs(fq_rule rule)
{
    PyObject *all = PyDict_New();
    for (int op = 0; all != NULL && op < FQ_OPS; op++) {
        fq_function *f = &functions[rule][op];
        PyObject *ufunc = NULL;
        if (!fq_has_operation((fq_op)op, rule)) {
            continue;
        }
        if (make_function(f, (fq_op)op, rule) < 0 ||
            (op < FQ_UFUNCS &&
             ((ufunc = make_ufunc(f)) == NULL || PyDict_SetItemString(all, f->is->name, ufunc) < 0))) {
            Py_CLEAR(all);
        }
        Py_XDECREF(ufunc);
    }
    return all;
}

static PyObject *list_of(const char *const *names, int count)
{
    PyObject *all = PyList_New(0);
    for (int i = 0; all != NULL && i < count; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        if (name == NULL || PyList_Append(all, name) < 0) {
            Py_CLEAR(all);
        }
        Py_XDECREF(name);
    }
    return all;
}

PyObject *fq_list_rules(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return list_of(fq_rule_names, FQ_RULES);
}

/* The rule of this name, the first one without a name; -1 with an exception set where there is none. */
static int rule_of(PyObject *args)
{
    const char *name = fq_rule_names[0];
    int rule = FQ_RULES - 1;
    if (!PyArg_ParseTuple(args, "|s", &name)) {
        return -1;
    }
    while (rule >= 0 && strcmp(fq_rule_names[rule], name) != 0) {
        rule--;
    }
    if (rule < 0) {
        PyErr_Format(PyExc_ValueError, "fq has no rule %s", name);
    }
    return rule;
}

PyObject *fq_list_operations(PyObject *Py_UNUSED(module), PyObject *args)
{
    const int rule = rule_of(args);
    PyObject *all = rule < 0 ? NULL : PyDict_New();
    for (int op = 0; all != NULL && op < FQ_OPS; op++) {
        const fq_operation *is = fq_operation_of((fq_op)op, (fq_rule)rule);
        if ((op >= FQ_UFUNCS && op < FQ_MAPS) || !fq_has_operation((fq_op)op, (fq_rule)rule)) {
            continue; /* see fq_list_storages */
        }
        const char *packed = fq_packed_operand(is) > 0 ? fq_name_of(is, fq_packed_operand(is)) : NULL;
        PyObject *one = Py_BuildValue("{s:N,s:N,s:N,s:N,s:z}", "inputs", list_of(is->array_names, is->inputs),
                                      "parameters", list_of(is->parameter_names, is->parameters), "outputs",
                                      list_of(is->array_names + is->inputs, is->outputs + fq_sums_of(is)), "reduction",
                                      PyBool_FromLong(op >= FQ_MAPS), "packed", packed);
        if (one == NULL || PyDict_SetItemString(all, is->name, one) < 0) {
            Py_CLEAR(all);
        }
        Py_XDECREF(one);
    }
    return all;
}

int fq_add_ufuncs(PyObject *module)
{
    /* Not by their macros, which print the error and raise another in its place. */
    if (_import_array() < 0 || _import_umath() < 0 || find_dtypes() < 0) {
        return -1;
    }
    for (int rule = 0; rule < FQ_RULES; rule++) {
        PyObject *all = make_ufuncs((fq_rule)rule);
        const int added = all ? PyModule_AddObjectRef(module, fq_rule_names[rule], all) : -1;
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
    const int is_ours = nargs > 0 && PyObject_TypeCheck(args[0], &PyUFunc_Type) &&
                        ((PyUFuncObject *)args[0])->vectorcall == (void *)call;
    const fq_function *f = is_ours ? function_of(args[0]) : NULL;
    const int nin = f != NULL ? fq_inputs_of(f->is) : 0;
    if (f == NULL || nargs != nin + 2) {
        PyErr_SetString(PyExc_TypeError, "_into_new takes a ufunc of fq, its out and its inputs");
        return NULL;
    }
    if (fq_call_fast(f, args + 2, args[1], 1, &result)) {
        return result;
    }
    PyObject *names = Py_BuildValue("(s)", "out");
    if (names == NULL) {
        return NULL;
    }
    memcpy(given, args + 2, (size_t)nin * sizeof *given);
    given[nin] = args[1];
    result = call_numpy(args[0], given, nin, names);
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
