/* Picks the kernels of a call: straight over contiguous data, or chunk by chunk through a buffer. */
#include "loops.h"

#include "cache.h"
#include "dispatch.h"
#include "fpflags.h"
#include "strided.h"
#include "threads.h"

enum {
    THREAD_GRAIN = 16 * 1024 /* elements from which a thread of its own gains */
};

typedef enum { ELEMENTS, BYTE_MASK, BIT_MASK } array_kind;

/* What an operation works on, the outputs first. */
typedef struct {
    int outputs, arrays;
    array_kind kind[FQ_MAX_ARRAYS];
} op_shape;

static const op_shape shapes[FQ_OPS] = {
    [FQ_FAKE_QUANTIZE] = {1, 2, {ELEMENTS, ELEMENTS}},
    [FQ_FORWARD] = {2, 3, {ELEMENTS, BYTE_MASK, ELEMENTS}},
    [FQ_BACKWARD] = {1, 3, {ELEMENTS, ELEMENTS, BYTE_MASK}},
    [FQ_BACKWARD_RECOMPUTE] = {1, 3, {ELEMENTS, ELEMENTS, ELEMENTS}},
    [FQ_FORWARD_PACKED] = {2, 3, {ELEMENTS, BIT_MASK, ELEMENTS}},
    [FQ_BACKWARD_PACKED] = {1, 3, {ELEMENTS, ELEMENTS, BIT_MASK}},
};

/* One kernel and what it runs over: the context of a thread. */
typedef struct {
    const op_shape *shape;
    fq_type type;
    fq_kernel *kernel;
    const fq_arrays *arrays;
    const fq_params *params;
    size_t n; /* elements in a row */
} job;

static size_t size_of_item(const op_shape *shape, fq_type type, int a)
{
    return shape->kind[a] == ELEMENTS ? fq_size_of(type) : 1;
}

/* Items that n elements take: elements, bytes of a mask, or bytes of eight bits. */
static size_t items_of(const op_shape *shape, int a, size_t n) { return shape->kind[a] == BIT_MASK ? (n + 7) / 8 : n; }

static int is_contiguous(const fq_arrays *arrays, const op_shape *shape, fq_type type, int a, size_t n)
{
    return items_of(shape, a, n) == 1 || arrays->step[a] == (ptrdiff_t)size_of_item(shape, type, a);
}

static int all_contiguous(const fq_arrays *arrays, const op_shape *shape, fq_type type, size_t n)
{
    for (int a = 0; a < shape->arrays; a++) {
        if (!is_contiguous(arrays, shape, type, a, n)) {
            return 0;
        }
    }
    return 1;
}

/* Rows that follow each other without a gap, in every array, are one long row. */
static int is_one_row(const fq_arrays *arrays, const op_shape *shape, fq_type type, size_t rows, size_t n)
{
    for (int a = 0; a < shape->arrays; a++) {
        const size_t size = size_of_item(shape, type, a);
        if ((shape->kind[a] == BIT_MASK && n % 8 != 0) || arrays->step[a] != (ptrdiff_t)size ||
            arrays->row_step[a] != (ptrdiff_t)(size * items_of(shape, a, n))) {
            return rows == 1;
        }
    }
    return 1;
}

/* Elements [from, from + n) of a row; n <= FQ_CHUNK, from a multiple of FQ_CHUNK, and params those of the chunk.
 * Arrays that are not contiguous go through a buffer. */
static void run_chunk(const job *j, size_t row, size_t from, size_t n, const fq_params *params)
{
    _Alignas(CACHE_LINE) char buffer[FQ_MAX_ARRAYS][FQ_CHUNK * FQ_WIDEST];
    char *start[FQ_MAX_ARRAYS], *data[FQ_MAX_ARRAYS];
    for (int a = 0; a < j->shape->arrays; a++) {
        const size_t size = size_of_item(j->shape, j->type, a);
        const ptrdiff_t first = (ptrdiff_t)items_of(j->shape, a, from), step = j->arrays->step[a];
        start[a] = j->arrays->data[a] + (ptrdiff_t)row * j->arrays->row_step[a] + first * step;
        data[a] = start[a];
        if (!is_contiguous(j->arrays, j->shape, j->type, a, n)) {
            data[a] = buffer[a];
            if (a >= j->shape->outputs) {
                fq_copy_strided(buffer[a], (ptrdiff_t)size, start[a], step, size, items_of(j->shape, a, n));
            }
        }
    }
    j->kernel(data, n, params);
    for (int a = 0; a < j->shape->outputs; a++) {
        const size_t size = size_of_item(j->shape, j->type, a);
        if (data[a] != start[a]) {
            fq_copy_strided(start[a], j->arrays->step[a], buffer[a], (ptrdiff_t)size, size, items_of(j->shape, a, n));
        }
    }
}

static size_t chunk_at(size_t from, size_t to) { return to - from < FQ_CHUNK ? to - from : FQ_CHUNK; }

/* A piece of one contiguous row, which begins at a multiple of FQ_CHUNK. */
static void run_contiguous(void *context, size_t from, size_t to)
{
    const job *j = context;
    char *data[FQ_MAX_ARRAYS];
    for (int a = 0; a < j->shape->arrays; a++) {
        data[a] = j->arrays->data[a] + items_of(j->shape, a, from) * size_of_item(j->shape, j->type, a);
    }
    j->kernel(data, to - from, j->params);
}

static void run_strided(void *context, size_t from, size_t to)
{
    const job *j = context;
    for (size_t i = from; i < to; i += FQ_CHUNK) {
        run_chunk(j, 0, i, chunk_at(i, to), j->params);
    }
}

/* Whole rows, each with the same parameters. */
static void run_rows(void *context, size_t from, size_t to)
{
    const job *j = context;
    const int contiguous = all_contiguous(j->arrays, j->shape, j->type, j->n);
    for (size_t row = from; row < to; row++) {
        char *data[FQ_MAX_ARRAYS];
        for (int a = 0; a < j->shape->arrays; a++) {
            data[a] = j->arrays->data[a] + (ptrdiff_t)row * j->arrays->row_step[a];
        }
        if (contiguous) {
            j->kernel(data, j->n, j->params);
            continue;
        }
        for (size_t i = 0; i < j->n; i += FQ_CHUNK) {
            run_chunk(j, row, i, chunk_at(i, j->n), j->params);
        }
    }
}

/* All rows with one set of parameters. */
static void run_all(job *j, size_t rows, fq_params *params, int new_outputs)
{
    params->stream = !new_outputs && rows * j->n * fq_size_of(j->type) > fq_cache_threshold();
    j->params = params;
    if (is_one_row(j->arrays, j->shape, j->type, rows, j->n)) {
        const int contiguous = all_contiguous(j->arrays, j->shape, j->type, rows * j->n);
        fq_parallel(rows * j->n, THREAD_GRAIN, FQ_CHUNK, contiguous ? run_contiguous : run_strided, j);
    }
    else {
        const size_t rows_a_grain = THREAD_GRAIN / j->n + 1;
        fq_parallel(rows, rows_a_grain, 1, run_rows, j);
    }
}

/* One chunk of columns in every row. */
typedef struct {
    const job *j;
    size_t column, n;
} columns;

static void run_columns(void *context, size_t from, size_t to)
{
    const columns *c = context;
    for (size_t row = from; row < to; row++) {
        run_chunk(c->j, row, c->column, c->n, c->j->params);
    }
}

/* Parameters of their own for the elements of a row, the same in every row: made once a chunk of columns. */
static fq_status run_each(job *j, size_t rows, const fq_given *given, fq_arithmetic arithmetic, fq_values *bad)
{
    fq_room room;
    room.filled = 0;
    for (size_t i = 0; i < j->n; i += FQ_CHUNK) {
        columns c = {j, i, chunk_at(i, j->n)};
        fq_params params;
        const fq_status status = fq_params_of_each(&params, &room, given, i, c.n, arithmetic, bad);
        if (status != FQ_OK) {
            return status;
        }
        j->params = &params;
        fq_parallel(rows, THREAD_GRAIN / c.n + 1, 1, run_columns, &c);
    }
    return FQ_OK;
}

static int same_along_row(const fq_given *given, size_t n)
{
    return n == 1 || (given->scale_step == 0 && given->zero_point_step == 0 && given->qmin_step == 0 &&
                      given->qmax_step == 0);
}

static int same_in_rows(const fq_given *given, size_t rows)
{
    return rows == 1 || (given->scale_row == 0 && given->zero_point_row == 0 && given->qmin_row == 0 &&
                         given->qmax_row == 0);
}

/* Rows that share their parameters. */
static fq_status run(const fq_call *call, const fq_arrays *arrays, size_t rows, size_t n, const fq_given *given,
                     fq_values *bad)
{
    fq_kernel *const *kernels = fq_target_in_use()->kernel[call->type][call->op];
    const fq_arithmetic arithmetic = {call->type == FQ_F64, call->reciprocal};
    job j = {&shapes[call->op], call->type, kernels[0], arrays, NULL, n};
    fq_params params = {0};
    if (given != NULL && !same_along_row(given, n)) {
        j.kernel = kernels[call->reciprocal ? FQ_MULTIPLY_EACH : FQ_DIVIDE_EACH];
        return run_each(&j, rows, given, arithmetic, bad);
    }
    if (given != NULL) {
        fq_way way;
        const fq_status status = fq_params_of_all(&params, &way, given, arithmetic, bad);
        if (status != FQ_OK) {
            return status;
        }
        j.kernel = kernels[way];
    }
    run_all(&j, rows, &params, call->new_outputs);
    return FQ_OK;
}

static fq_status run_row_by_row(const fq_call *call, const fq_arrays *arrays, size_t rows, size_t n,
                                const fq_given *given, fq_values *bad)
{
    fq_arrays a = *arrays;
    fq_given g = *given;
    for (size_t row = 0; row < rows; row++) {
        const fq_status status = run(call, &a, 1, n, &g, bad);
        if (status != FQ_OK) {
            return status;
        }
        for (int k = 0; k < FQ_MAX_ARRAYS; k++) {
            a.data[k] += a.row_step[k];
        }
        g.scale += g.scale_row, g.zero_point += g.zero_point_row;
        g.qmin += g.qmin_row, g.qmax += g.qmax_row;
    }
    return FQ_OK;
}

fq_status fq_rows(const fq_call *call, const fq_arrays *arrays, size_t rows, size_t n, const fq_given *given,
                  fq_values *bad)
{
    const fq_fpflags flags = fq_fpflags_save();
    fq_status status = FQ_OK;
    if (rows > 0 && n > 0) {
        status = given == NULL || same_in_rows(given, rows) ? run(call, arrays, rows, n, given, bad)
                                                            : run_row_by_row(call, arrays, rows, n, given, bad);
    }
    fq_fpflags_restore(flags);
    return status;
}
