/* Handlers for XLA's foreign function interface: its dense buffers, axis by axis, to the strided loops. */
#include "xla_ffi.h"

#if defined(FQ_HAVE_XLA_FFI) && FQ_HAVE_XLA_FFI

#include <stdlib.h>
#include <string.h>
#include <xla/ffi/api/c_api.h>

#include "axes.h"
#include "learnable.h"
#include "pages.h"

enum {
    PARAMETERS = FQ_PARAMETERS,
    SUMS = 2,       /* the gradients of the first two */
    FEW = 16        /* integers that are widened without an allocation */
};

/* What a handler takes: arrays in the order of ops.h, then the parameters if there are any. */
typedef struct {
    fq_op op; /* FQ_OPS: the learnable backward, which is none of the strided loops */
    int outputs, arrays;
    int bits; /* which array is packed, 0: none */
    int parameters;
    int sums; /* further results: over scale's shape and zero_point's */
} signature;

/* A parameter as the loops want it: float, double or int64, with its step along each axis of x in bytes. */
typedef struct {
    const char *data;
    ptrdiff_t step[FQ_MOST_AXES];
    int64_t few[FEW];
    void *allocated;
} parameter;

/* One call: what XLA gave, checked. */
typedef struct {
    const signature *is;
    const XLA_FFI_Buffer *array[FQ_MAX_ARRAYS];
    const XLA_FFI_Buffer *given[PARAMETERS];
    const XLA_FFI_Buffer *sum[SUMS];
    const XLA_FFI_Buffer *x; /* the first input: it alone decides type and shape */
    fq_type type;
    size_t element; /* bytes */
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

/* Each gives NULL, or what is wrong with the buffers: what fq.jax never passes. */
static const char *wrong_arrays(const request *r)
{
    const int64_t n = r->x->rank > 0 ? r->x->dims[r->x->rank - 1] : 1;
    if (r->x->rank > FQ_MOST_AXES || (r->is->bits && r->x->rank == 0)) {
        return "the first operand must have 1 to 64 axes";
    }
    for (int a = 0; a < r->is->arrays; a++) {
        const int packed = r->is->bits && a == r->is->bits;
        if (r->array[a]->dtype != (packed ? XLA_FFI_DataType_U8 : r->x->dtype)) {
            return "bits must be uint8, and the other arrays of one type";
        }
        if (!is_shaped_like(r->array[a], r->x, packed ? n / 8 + (n % 8 != 0) : n)) {
            return "the arrays must have one shape, and bits a last axis of an eighth";
        }
    }
    return NULL;
}

static const char *wrong_parameters(const request *r)
{
    const XLA_FFI_DataType computed_in = r->type == FQ_F64 ? XLA_FFI_DataType_F64 : XLA_FFI_DataType_F32;
    for (int k = 0; k < r->is->parameters; k++) {
        if (k == 0 ? r->given[k]->dtype != computed_in : !is_integer(r->given[k]->dtype)) {
            return "scale must be of the type computed in, zero_point, qmin and qmax int32, uint32 or int64";
        }
        if (!broadcasts_into(r->given[k], r->x)) {
            return "scale, zero_point, qmin and qmax must have x's rank and broadcast into it";
        }
    }
    for (int k = 0; k < r->is->sums; k++) {
        const XLA_FFI_Buffer *given = r->given[k], *sum = r->sum[k];
        const int64_t last = given->rank > 0 ? given->dims[given->rank - 1] : 1;
        if (sum->dtype != computed_in || !is_shaped_like(sum, given, last)) {
            return "the sums must be of the type computed in, and shaped like scale and zero_point";
        }
    }
    return NULL;
}

/* NULL, or what is wrong with the call. */
static const char *read_request(request *r, const XLA_FFI_CallFrame *frame, const signature *is)
{
    const int inputs = is->arrays - is->outputs;
    if (frame->rets.size != is->outputs + is->sums || frame->args.size != inputs + is->parameters) {
        return "wrong number of operands or results";
    }
    r->is = is;
    for (int a = 0; a < is->arrays; a++) {
        r->array[a] = a < is->outputs ? frame->rets.rets[a] : frame->args.args[a - is->outputs];
    }
    for (int k = 0; k < is->parameters; k++) {
        r->given[k] = frame->args.args[inputs + k];
    }
    for (int k = 0; k < is->sums; k++) {
        r->sum[k] = frame->rets.rets[is->outputs + k];
    }
    r->x = r->array[is->outputs];
    if (!find_type(r->x->dtype, &r->type)) {
        return "the first operand must be float16, bfloat16, float32 or float64";
    }
    r->element = fq_size_of(r->type);
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
    ptrdiff_t step = k == 0 && r->type != FQ_F64 ? sizeof(float) : sizeof(int64_t);
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
        const size_t size = r->is->bits && a == r->is->bits ? 1 : r->element;
        fq_large_pages(r->array[a]->data, elements_of(r->array[a]) * size);
    }
}

/* The last axis joins others only where its bits fill their bytes. */
static fq_status run_axes(const request *r, const parameter *p, fq_values *bad)
{
    const fq_call call = {r->is->op, r->type, 0, 1};
    const char *given[PARAMETERS] = {NULL};
    char *data[FQ_MAX_ARRAYS] = {NULL};
    fq_axes axes = {.count = 0};
    for (int a = 0; a < r->is->arrays; a++) {
        data[a] = r->array[a]->data;
    }
    for (int k = 0; k < r->is->parameters; k++) {
        given[k] = p[k].data;
    }
    for (int64_t axis = 0; axis < r->x->rank; axis++) {
        const size_t size = (size_t)r->x->dims[axis];
        ptrdiff_t step[PARAMETERS] = {0};
        for (int k = 0; k < r->is->parameters; k++) {
            step[k] = p[k].step[axis];
        }
        fq_add_axis(&axes, size, step, axis == r->x->rank - 1 && r->is->bits && size % 8 != 0);
    }
    return fq_over_axes(&call, data, &axes, r->is->parameters ? given : NULL, bad);
}

/* The shape of the sums: that of all parameters together. Gives the number of sums. */
static size_t find_keys(size_t *keyed, const request *r)
{
    size_t keys = 1;
    for (int64_t axis = 0; axis < r->x->rank; axis++) {
        keyed[axis] = 1;
        for (int k = 0; k < r->is->parameters; k++) {
            if (r->given[k]->dims[axis] != 1) {
                keyed[axis] = (size_t)r->x->dims[axis];
            }
        }
        keys *= keyed[axis];
    }
    return keys;
}

/* Adds up the sums of the keys that share a value, in their order, and stores them. */
static void store_sums(const XLA_FFI_Buffer *to, double *added, const double *sums, const size_t *keyed)
{
    const size_t count = elements_of(to);
    size_t place[FQ_MOST_AXES] = {0}, keys = 1;
    memset(added, 0, count * sizeof *added);
    for (int64_t axis = 0; axis < to->rank; axis++) {
        keys *= keyed[axis];
    }
    for (size_t key = 0; key < keys; key++) {
        size_t at = 0;
        for (int64_t axis = 0; axis < to->rank; axis++) {
            at = at * (size_t)to->dims[axis] + (to->dims[axis] == 1 ? 0 : place[axis]);
        }
        added[at] += sums[key];
        for (int64_t axis = to->rank - 1; axis >= 0 && ++place[axis] == keyed[axis]; axis--) {
            place[axis] = 0;
        }
    }
    for (size_t i = 0; i < count && to->dtype == XLA_FFI_DataType_F32; i++) {
        ((float *)to->data)[i] = (float)added[i];
    }
    if (to->dtype == XLA_FFI_DataType_F64) {
        memcpy(to->data, added, count * sizeof *added);
    }
}

static void add_axes(fq_learnable_call *call, const request *r, const parameter *p, const size_t *keyed)
{
    ptrdiff_t step[FQ_MOST_AXES], key[FQ_MOST_AXES], all = (ptrdiff_t)r->element, keys = 1;
    for (int64_t axis = r->x->rank - 1; axis >= 0; axis--) {
        step[axis] = all, key[axis] = keyed[axis] == 1 ? 0 : keys;
        all *= (ptrdiff_t)r->x->dims[axis], keys *= (ptrdiff_t)keyed[axis];
    }
    for (int64_t axis = 0; axis < r->x->rank; axis++) {
        fq_learnable_add_axis(call,
                              (fq_axis){(size_t)r->x->dims[axis], step[axis], step[axis], step[axis], p[0].step[axis],
                                        p[1].step[axis], p[2].step[axis], p[3].step[axis], key[axis]});
    }
}

static fq_status run_learnable(const request *r, const parameter *p, fq_values *bad)
{
    size_t keyed[FQ_MOST_AXES];
    const size_t keys = find_keys(keyed, r);
    double *sums = calloc(3 * keys, sizeof *sums);
    if (sums == NULL) {
        return FQ_NO_MEMORY;
    }
    fq_learnable_call call = {.type = r->type, .keys = keys, .of_scale = sums, .of_zero_point = sums + keys};
    call.dx = r->array[0]->data, call.dy = r->array[1]->data, call.x = r->array[2]->data;
    call.scale = p[0].data, call.zero_point = p[1].data, call.qmin = p[2].data, call.qmax = p[3].data;
    add_axes(&call, r, p, keyed);
    const fq_status status = fq_learnable(&call, bad);
    for (int k = 0; k < SUMS && status == FQ_OK; k++) {
        store_sums(r->sum[k], sums + 2 * keys, sums + (size_t)k * keys, keyed);
    }
    free(sums);
    return status;
}

static fq_status run(const request *r, fq_values *bad)
{
    parameter p[PARAMETERS];
    fq_status status = FQ_OK;
    int count = 0;
    for (; status == FQ_OK && count < r->is->parameters; count++) {
        status = read_parameter(&p[count], r, count);
    }
    if (status == FQ_OK) {
        prepare_outputs(r);
        status = r->is->sums ? run_learnable(r, p, bad) : run_axes(r, p, bad);
    }
    while (count > 0) {
        free(p[--count].allocated);
    }
    return status;
}

static XLA_FFI_Error *handle(XLA_FFI_CallFrame *frame, const signature *is)
{
    request r;
    fq_values bad;
    char text[FQ_MESSAGE];
    if (answered_metadata(frame) || frame->stage != XLA_FFI_ExecutionStage_EXECUTE) {
        return NULL;
    }
    const char *wrong = read_request(&r, frame, is);
    if (wrong != NULL) {
        return fail(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, wrong);
    }
    if (elements_of(r.x) == 0) {
        for (int k = 0; k < is->sums; k++) {
            memset(r.sum[k]->data, 0, elements_of(r.sum[k]) * (r.type == FQ_F64 ? sizeof(double) : sizeof(float)));
        }
        return NULL;
    }
    const fq_status status = run(&r, &bad);
    if (status == FQ_NO_MEMORY) {
        return fail(frame, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "fq found no memory");
    }
    if (status != FQ_OK) {
        fq_describe_refused(text, sizeof text, status, &bad, r.type);
        return fail(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, text);
    }
    return NULL;
}

#define HANDLER(name, ...)                               \
    static XLA_FFI_Error *name(XLA_FFI_CallFrame *frame) \
    {                                                    \
        static const signature is = {__VA_ARGS__};       \
        return handle(frame, &is);                       \
    }
HANDLER(fake_quantize, FQ_FAKE_QUANTIZE, 1, 2, 0, PARAMETERS, 0)
HANDLER(forward_packed, FQ_FORWARD_PACKED, 2, 3, 1, PARAMETERS, 0)
HANDLER(backward_packed, FQ_BACKWARD_PACKED, 1, 3, 2, 0, 0)
HANDLER(backward_learnable, FQ_OPS, 1, 3, 0, PARAMETERS, SUMS)

const fq_xla_target fq_xla_targets[] = {
    {"fq_fake_quantize", (void *)fake_quantize},
    {"fq_forward_packed", (void *)forward_packed},
    {"fq_backward_packed", (void *)backward_packed},
    {"fq_backward_learnable", (void *)backward_learnable},
    {NULL, NULL},
};

#else

const fq_xla_target fq_xla_targets[] = {{0, 0}};

#endif
