/* Handlers for XLA's foreign function interface: its dense buffers -> fq_call. */
#include "xla.h"

#if defined(FQ_HAVE_XLA_FFI) && FQ_HAVE_XLA_FFI

#include <stdlib.h>
#include <string.h>
#include <xla/ffi/api/c_api.h>

#include "operations.h"
#include "pages.h"
#include "plan.h"
#include "refused.h"

enum {
    SUMS = FQ_SUMS_A_SET, /* of a reduction, over the shapes of its first parameters */
    FEW = 16              /* integers that are widened without an allocation */
};

/* A parameter as the loops want it: float, double or int64, with its step along each axis of x in bytes. */
typedef struct {
    const char *data;
    ptrdiff_t step[FQ_MOST_AXES];
    int64_t few[FEW];
    void *allocated;
} parameter;

/* One call: what XLA gave, checked. */
typedef struct {
    const fq_operation *is;
    fq_op op;
    fq_rule rule;
    int sums;
    const XLA_FFI_Buffer *array[FQ_MAX_ARRAYS]; /* in the order of an fq_call */
    const XLA_FFI_Buffer *given[FQ_PARAMETERS];
    const XLA_FFI_Buffer *sum[SUMS];
    const XLA_FFI_Buffer *x; /* the first input: it alone decides type and shape */
    fq_type type;
} request;

static XLA_FFI_Error *fail(const XLA_FFI_CallFrame *frame, XLA_FFI_Error_Code code, const char *message)
{
    XLA_FFI_Error_Create_Args args = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, NULL, message, code};
    return frame->api->XLA_FFI_Error_Create(&args);
}

/* XLA asks, when a handler is registered, for which version of the interface it was built. */
static int answered_metadata(const XLA_FFI_CallFrame *frame)
{
    const XLA_FFI_Extension_Base *extension = frame->extension_start;
    if (extension == NULL || extension->type != XLA_FFI_Extension_Metadata) {
        return 0;
    }
    XLA_FFI_Metadata *metadata = ((const XLA_FFI_Metadata_Extension *)extension)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    metadata->traits = 0;
    return 1;
}

static int find_type(XLA_FFI_DataType dtype, fq_type *type)
{
    switch ((int)dtype) {
    case XLA_FFI_DataType_F16: *type = FQ_F16; return 1;
    case XLA_FFI_DataType_BF16: *type = FQ_BF16; return 1;
    case XLA_FFI_DataType_F32: *type = FQ_F32; return 1;
    case XLA_FFI_DataType_F64: *type = FQ_F64; return 1;
    default: return 0;
    }
}

/* Whether a buffer has x's shape, but for its last axis, which has this length. */
static int is_shaped_like(const XLA_FFI_Buffer *buffer, const XLA_FFI_Buffer *x, int64_t last)
{
    if (buffer->rank != x->rank) {
        return 0;
    }
    for (int64_t axis = 0; axis < x->rank; axis++) {
        if (buffer->dims[axis] != (axis < x->rank - 1 ? x->dims[axis] : last)) {
            return 0;
        }
    }
    return 1;
}

static int broadcasts_into(const XLA_FFI_Buffer *buffer, const XLA_FFI_Buffer *x)
{
    if (buffer->rank != x->rank) {
        return 0;
    }
    for (int64_t axis = 0; axis < x->rank; axis++) {
        if (buffer->dims[axis] != 1 && buffer->dims[axis] != x->dims[axis]) {
            return 0;
        }
    }
    return 1;
}

static int is_integer(XLA_FFI_DataType dtype)
{
    return dtype == XLA_FFI_DataType_S32 || dtype == XLA_FFI_DataType_U32 || dtype == XLA_FFI_DataType_S64;
}

#define XLA_Bool XLA_FFI_DataType_PRED
#define XLA_UInt8 XLA_FFI_DataType_U8
#define XLA_Int8 XLA_FFI_DataType_S8
#define XLA_UInt16 XLA_FFI_DataType_U16
#define XLA_Int64 XLA_FFI_DataType_S64
#define XLA_OF_TYPE r->x->dtype
#define XLA_COMPUTED (r->type == FQ_F64 ? XLA_FFI_DataType_F64 : XLA_FFI_DataType_F32)
#define XLA_STORED 0 /* no handler takes them */
#define XLA_ALWAYS(bits, dtype) XLA_##dtype
#define XLA_TYPE(with, NAME, letter, item, ...) kind == letter ? (int)(XLA_##item):
static int has_type(const request *r, const XLA_FFI_Buffer *buffer, char kind)
{
    return (int)buffer->dtype == (FQ_KIND_ROWS(XLA_TYPE, ) - 1) || (kind == FQ_LEVEL && is_integer(buffer->dtype));
}

/* Each gives NULL, or what is wrong with the buffers: what fq.jax never passes. */
static const char *wrong_arrays(const request *r)
{
    const int64_t n = r->x->rank > 0 ? r->x->dims[r->x->rank - 1] : 1;
    if (r->x->rank > FQ_MOST_AXES || (fq_packed_operand(r->is) && r->x->rank == 0)) {
        return "the first operand must have 1 to 64 axes";
    }
    for (int a = 0; a < r->is->arrays; a++) {
        if (!has_type(r, r->array[a], r->is->kind[a])) {
            return "bits must be uint8, a mask bool, a residual int8 or packed in uint8, and the other arrays of one "
                   "type";
        }
        if (!is_shaped_like(r->array[a], r->x, (int64_t)fq_items(r->is->kind[a], (size_t)n))) {
            return "the arrays must have one shape, and what is packed a last axis of an eighth or of half";
        }
    }
    return NULL;
}

static const char *wrong_parameters(const request *r)
{
    for (int k = 0; k < r->is->parameters; k++) {
        if (!has_type(r, r->given[k], r->is->kinds[r->is->inputs + k])) {
            return "scale must be of the type computed in, zero_point, qmin and qmax int32, uint32 or int64";
        }
        if (!broadcasts_into(r->given[k], r->x)) {
            return "scale, zero_point, qmin and qmax must have x's rank and broadcast into it";
        }
    }
    for (int k = 0; k < r->sums; k++) {
        const XLA_FFI_Buffer *given = r->given[k], *sum = r->sum[k];
        const int64_t last = given->rank > 0 ? given->dims[given->rank - 1] : 1;
        if (!has_type(r, sum, FQ_SCALE) || !is_shaped_like(sum, given, last)) {
            return "the sums must be of the type computed in, and shaped like scale and zero_point";
        }
    }
    return NULL;
}

/* NULL, or what is wrong with the call. */
static const char *read_request(request *r, const XLA_FFI_CallFrame *frame, fq_op op, fq_rule rule)
{
    const fq_operation *is = fq_operation_of(op, rule);
    r->is = is, r->op = op, r->rule = rule, r->sums = fq_sums_of(is);
    if (frame->rets.size != is->outputs + r->sums || frame->args.size != fq_inputs_of(is)) {
        return "wrong number of operands or results";
    }
    for (int a = 0; a < r->is->arrays; a++) {
        r->array[a] = a < is->outputs ? frame->rets.rets[a] : frame->args.args[a - is->outputs];
    }
    for (int k = 0; k < is->parameters; k++) {
        r->given[k] = frame->args.args[is->inputs + k];
    }
    for (int k = 0; k < r->sums; k++) {
        r->sum[k] = frame->rets.rets[is->outputs + k];
    }
    r->x = frame->args.args[0];
    if (!find_type(r->x->dtype, &r->type)) {
        return "the first operand must be " FQ_TYPE_NAMES;
    }
    const char *wrong = wrong_arrays(r);
    return wrong != NULL ? wrong : wrong_parameters(r);
}

static size_t elements_of(const XLA_FFI_Buffer *buffer)
{
    size_t count = 1;
    for (int64_t axis = 0; axis < buffer->rank; axis++) {
        count *= (size_t)buffer->dims[axis];
    }
    return count;
}

/* Integers of 32 bits become int64. */
static fq_status widen(parameter *p, const XLA_FFI_Buffer *buffer)
{
    const size_t count = elements_of(buffer);
    int64_t *wide = p->few;
    if (count > FEW) {
        wide = p->allocated = malloc(count * sizeof *wide);
        if (wide == NULL) {
            return FQ_NO_MEMORY;
        }
    }
    for (size_t i = 0; i < count; i++) {
        wide[i] = buffer->dtype == XLA_FFI_DataType_U32 ? (int64_t)((const uint32_t *)buffer->data)[i]
                                                        : ((const int32_t *)buffer->data)[i];
    }
    p->data = (const char *)wide;
    return FQ_OK;
}

static fq_status read_parameter(parameter *p, const request *r, int k)
{
    const XLA_FFI_Buffer *buffer = r->given[k];
    ptrdiff_t step = (ptrdiff_t)fq_item_size(r->is->kinds[r->is->inputs + k], r->type);
    p->allocated = NULL;
    p->data = buffer->data;
    for (int64_t axis = buffer->rank - 1; axis >= 0; axis--) {
        p->step[axis] = buffer->dims[axis] == 1 ? 0 : step;
        step *= (ptrdiff_t)buffer->dims[axis];
    }
    return is_integer(buffer->dtype) && buffer->dtype != XLA_FFI_DataType_S64 ? widen(p, buffer) : FQ_OK;
}

static void prepare_outputs(const request *r)
{
    for (int a = 0; a < r->is->outputs; a++) {
        fq_large_pages(r->array[a]->data, elements_of(r->array[a]) * fq_item_size(r->is->kind[a], r->type));
    }
}

static void read_call(fq_call *call, const request *r, const parameter *p)
{
    *call = (fq_call){r->op, r->type, r->rule, .new_outputs = 1, .axes = (int)r->x->rank};
    for (int k = 0; k < r->is->parameters; k++) {
        call->given[k] = p[k].data;
    }
    for (int a = 0; a < r->is->arrays; a++) {
        const XLA_FFI_Buffer *array = r->array[a];
        ptrdiff_t step = (ptrdiff_t)fq_item_size(r->is->kind[a], r->type);
        call->data[a] = array->data;
        for (int64_t axis = array->rank - 1; axis >= 0; axis--) {
            call->axis[axis].array[a] = step;
            step *= (ptrdiff_t)array->dims[axis];
        }
    }
    for (int64_t axis = 0; axis < r->x->rank; axis++) {
        call->axis[axis].length = (size_t)r->x->dims[axis];
        for (int k = 0; k < r->is->parameters; k++) {
            call->axis[axis].given[k] = p[k].step[axis];
        }
    }
}

/* The sums of the sets that share a value, in the type of the result. */
static void store_sums(const XLA_FFI_Buffer *to, double *added, const double *sums, const fq_fold *fold)
{
    const size_t count = elements_of(to);
    memset(added, 0, count * sizeof *added);
    fq_fold_sums(added, sums, fold);
    for (size_t i = 0; i < count && to->dtype == XLA_FFI_DataType_F32; i++) {
        ((float *)to->data)[i] = (float)added[i];
    }
    if (to->dtype == XLA_FFI_DataType_F64) {
        memcpy(to->data, added, count * sizeof *added);
    }
}

static fq_status run_reduction(fq_call *call, const request *r, fq_values *bad)
{
    const size_t sets = fq_sets(call);
    const fq_fold folds[SUMS] = {fq_fold_of(call, 0), fq_fold_of(call, 1)};
    double *sums = calloc(3 * sets, sizeof *sums);
    if (sums == NULL) {
        return FQ_NO_MEMORY;
    }
    call->sums[0] = sums, call->sums[1] = sums + sets;
    const fq_status status = fq_run(call, bad);
    for (int k = 0; k < SUMS && status == FQ_OK; k++) {
        store_sums(r->sum[k], sums + 2 * sets, sums + (size_t)k * sets, &folds[k]);
    }
    free(sums);
    return status;
}

/* Tells where in its buffer each refused value stands. */
static void find_places(char (*places)[FQ_PLACE], const request *r, const parameter *p, const fq_values *bad)
{
    for (int k = 0; k < r->is->parameters; k++) {
        ptrdiff_t lengths[FQ_MOST_AXES];
        const int axes = elements_of(r->given[k]) > 1 ? (int)r->given[k]->rank : 0; /* fq.jax gives numbers x's rank */
        for (int axis = 0; axis < axes; axis++) {
            lengths[axis] = (ptrdiff_t)r->given[k]->dims[axis];
        }
        fq_place_of(places[k], bad->at[k], p[k].data, axes, lengths, p[k].step);
    }
}

static XLA_FFI_Error *run(const XLA_FFI_CallFrame *frame, const request *r)
{
    parameter p[FQ_PARAMETERS];
    fq_call call;
    fq_values bad;
    char text[FQ_MESSAGE] = "fq found no memory", places[FQ_PARAMETERS][FQ_PLACE];
    fq_status status = FQ_OK;
    int count = 0;
    for (; status == FQ_OK && count < r->is->parameters; count++) {
        status = read_parameter(&p[count], r, count);
    }
    if (status == FQ_OK) {
        prepare_outputs(r);
        read_call(&call, r, p);
        status = r->sums ? run_reduction(&call, r, &bad) : fq_run(&call, &bad);
        if (status != FQ_OK && status != FQ_NO_MEMORY) {
            find_places(places, r, p, &bad);
            fq_describe_refused(text, status, &bad, r->type, places);
        }
    }
    while (count > 0) {
        free(p[--count].allocated);
    }
    return status == FQ_OK ? NULL
                           : fail(frame,
                                  status == FQ_NO_MEMORY ? XLA_FFI_Error_Code_RESOURCE_EXHAUSTED
                                                         : XLA_FFI_Error_Code_INVALID_ARGUMENT,
                                  text);
}

static XLA_FFI_Error *handle(XLA_FFI_CallFrame *frame, fq_op op, fq_rule rule)
{
    request r;
    if (answered_metadata(frame) || frame->stage != XLA_FFI_ExecutionStage_EXECUTE) {
        return NULL;
    }
    const char *wrong = read_request(&r, frame, op, rule);
    if (wrong != NULL) {
        return fail(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, wrong);
    }
    if (elements_of(r.x) == 0) {
        for (int k = 0; k < r.sums; k++) {
            memset(r.sum[k]->data, 0, elements_of(r.sum[k]) * fq_item_size(FQ_SCALE, r.type));
        }
        return NULL;
    }
    return run(frame, &r);
}

#define HANDLER(rule, prefix, OP, op) \
    static XLA_FFI_Error *prefix##op(XLA_FFI_CallFrame *frame) { return handle(frame, FQ_##OP, rule); }
#define HANDLERS(with, OP, op, ...) HANDLER(FQ_DIVIDED, divided_, OP, op) HANDLER(FQ_RECIPROCAL, reciprocal_, OP, op)
#define FLOATS_HANDLER(with, OP, op, ...) HANDLER(FQ_FLOATS, floats_, OP, op)
FQ_MAP_ROWS(HANDLERS, )
FQ_REDUCTION_ROWS(HANDLERS, )
FQ_FORMAT_ROWS(FLOATS_HANDLER, )

#define TARGETS(with, OP, op, ...) {"fq_" #op, (void *)divided_##op}, {"fq_reciprocal_" #op, (void *)reciprocal_##op},
#define FLOATS_TARGET(with, OP, op, ...) {"fq_floats_" #op, (void *)floats_##op},
const fq_xla_target fq_xla_targets[] = {FQ_MAP_ROWS(TARGETS, ) FQ_REDUCTION_ROWS(TARGETS, )
                                            FQ_FORMAT_ROWS(FLOATS_TARGET, ){NULL, NULL}};

#else

const fq_xla_target fq_xla_targets[] = {{0, 0}};

#endif
