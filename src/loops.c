/* Picks the kernels of a call: straight over contiguous data, or chunk by chunk through a buffer. */
#include "loops.h"

#include "bitrows.h"
#include "cache.h"
#include "dispatch.h"
#include "fpflags.h"
#include "strided.h"
#include "threads.h"

enum {
    THREAD_GRAIN = 16 * 1024, /* elements from which a thread of its own gains */
    STREAM_FROM = 4096,       /* bytes of a row from which storing it past the cache gains */
    SHORT_ROW = 256,          /* elements of rows of bits, below which several rows go to a kernel together */
    TOGETHER = 4096,          /* elements of such rows */
    KEYS = 128,               /* sets of parameters made ready at a time */
    LONG_KEY = 256 * 1024     /* elements of a key which are enough work for several threads */
};

/* What an operation works on, the outputs first. */
typedef struct {
    int outputs, arrays;
    char kind[FQ_MAX_ARRAYS + 1]; /* as in ops.h */
} op_shape;

#define SHAPE(with, OP, name, outputs, inputs, ...) \
    [FQ_##OP] = {sizeof(outputs) - 1, sizeof(outputs inputs) - 1, outputs inputs},
static const op_shape shapes[FQ_OPS] = {FQ_OP_ROWS(SHAPE, )};

/* One kernel and what it runs over: the context of a thread. */
typedef struct {
    const op_shape *shape;
    fq_type type;
    fq_kernel *kernel;
    const fq_arrays *arrays;
    const fq_params *params;
    size_t n;       /* elements in a row */
    int contiguous; /* along each row */
    int bits;       /* the array that is packed, in rows shorter than SHORT_ROW without gaps between them; or 0 */
} job;

static size_t size_of_item(const op_shape *shape, fq_type type, int a)
{
    return shape->kind[a] == FQ_ELEMENTS ? fq_size_of(type) : 1;
}

/* Items that n elements take: elements, bytes of a mask, or bytes of eight bits. */
static size_t items_of(const op_shape *shape, int a, size_t n)
{
    return shape->kind[a] == FQ_BIT_MASK ? (n + 7) / 8 : n;
}

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

fq_arrays fq_without_gaps(const fq_call *call, char *const *data, size_t n)
{
    const op_shape *shape = &shapes[call->op];
    fq_arrays arrays = {{NULL}, {0}, {0}};
    for (int a = 0; a < shape->arrays; a++) {
        const size_t size = size_of_item(shape, call->type, a);
        arrays.data[a] = data[a];
        arrays.step[a] = (ptrdiff_t)size;
        arrays.row_step[a] = (ptrdiff_t)(size * items_of(shape, a, n));
    }
    return arrays;
}

/* Rows that follow each other without a gap, in every array, are one long row. */
static int is_one_row(const fq_arrays *arrays, const op_shape *shape, fq_type type, size_t rows, size_t n)
{
    for (int a = 0; a < shape->arrays; a++) {
        const size_t size = size_of_item(shape, type, a);
        if ((shape->kind[a] == FQ_BIT_MASK && n % 8 != 0) || arrays->step[a] != (ptrdiff_t)size ||
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

static void find_row(char **data, const job *j, size_t row)
{
    for (int a = 0; a < j->shape->arrays; a++) {
        data[a] = j->arrays->data[a] + (ptrdiff_t)row * j->arrays->row_step[a];
    }
}

/* The packed array of rows that a kernel can take as one row, but for their bits; 0: none, or they cannot. */
static int short_rows_of_bits(const job *j)
{
    int bits = 0;
    for (int a = 0; a < j->shape->arrays; a++) {
        const size_t row = items_of(j->shape, a, j->n) * size_of_item(j->shape, j->type, a);
        if (j->arrays->row_step[a] != (ptrdiff_t)row) {
            return 0;
        }
        bits = j->shape->kind[a] == FQ_BIT_MASK ? a : bits;
    }
    return j->contiguous && j->n < SHORT_ROW ? bits : 0;
}

static void run_short_rows(const job *j, size_t from, size_t to)
{
    char stream[TOGETHER / 8 + FQ_WORD], *data[FQ_MAX_ARRAYS];
    const int bits = j->bits, written = bits < j->shape->outputs;
    for (size_t row = from, rows; row < to; row += rows) {
        rows = to - row < TOGETHER / j->n ? to - row : TOGETHER / j->n;
        find_row(data, j, row);
        char *const packed = data[bits];
        data[bits] = stream;
        if (!written) {
            fq_join_bits(stream, packed, rows, j->n);
        }
        j->kernel(data, rows * j->n, j->params);
        if (written) {
            fq_split_bits(packed, stream, rows, j->n);
        }
    }
}

/* Whole rows, each with the same parameters. */
static void run_rows(void *context, size_t from, size_t to)
{
    const job *j = context;
    if (j->bits) {
        run_short_rows(j, from, to);
        return;
    }
    for (size_t row = from; row < to; row++) {
        char *data[FQ_MAX_ARRAYS];
        find_row(data, j, row);
        if (j->contiguous) {
            j->kernel(data, j->n, j->params);
            continue;
        }
        for (size_t i = 0; i < j->n; i += FQ_CHUNK) {
            run_chunk(j, row, i, chunk_at(i, j->n), j->params);
        }
    }
}

/* Whether the first output takes the place of an input: reading it brings it into the cache. */
static int is_in_place(const job *j)
{
    for (int a = j->shape->outputs; a < j->shape->arrays; a++) {
        if (j->arrays->data[a] == j->arrays->data[0]) {
            return 1;
        }
    }
    return 0;
}

/* Whether an output of `rows` rows, of which each call of a kernel takes `n` elements, is stored past the cache. */
static int streams(const job *j, const fq_call *call, size_t rows, size_t n)
{
    const size_t size = fq_size_of(j->type);
    const int is_large = n * size >= STREAM_FROM && rows * j->n * size > fq_cache_threshold();
    return is_large && !call->new_outputs && !is_in_place(j);
}

/* All rows with one set of parameters. */
static void run_all(job *j, const fq_call *call, size_t rows, fq_params *params)
{
    j->params = params;
    if (is_one_row(j->arrays, j->shape, j->type, rows, j->n)) {
        const int contiguous = all_contiguous(j->arrays, j->shape, j->type, rows * j->n);
        params->stream = streams(j, call, rows, rows * j->n);
        fq_parallel(rows * j->n, THREAD_GRAIN, FQ_CHUNK, contiguous ? run_contiguous : run_strided, j);
    }
    else {
        params->stream = streams(j, call, rows, j->n);
        fq_parallel(rows, THREAD_GRAIN / j->n + 1, 1, run_rows, j);
    }
}

/* Some of the keys, their parameters and kernels made ready. */
typedef struct {
    const job *j;
    const fq_shape *shape;
    size_t first, keys;
    fq_params params[KEYS];
    fq_kernel *kernel[KEYS];
} key_chunk;

/* The items are the keys of the chunk, and these again for every repeat. */
static void run_keys(void *context, size_t from, size_t to)
{
    const key_chunk *c = context;
    job j = *c->j;
    for (size_t i = from; i < to; i++) {
        const size_t key = i % c->keys, row = (i / c->keys * c->shape->keys + c->first + key) * c->shape->rows;
        j.kernel = c->kernel[key], j.params = &c->params[key];
        run_rows(&j, row, row + c->shape->rows);
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
    return n == 1 ||
           (given->scale_step == 0 && given->zero_point_step == 0 && given->qmin_step == 0 && given->qmax_step == 0);
}

static int same_in_keys(const fq_given *given, size_t keys)
{
    return keys == 1 ||
           (given->scale_key == 0 && given->zero_point_key == 0 && given->qmin_key == 0 && given->qmax_key == 0);
}

static void step_keys(fq_given *given, size_t by)
{
    const ptrdiff_t k = (ptrdiff_t)by;
    given->scale += k * given->scale_key, given->zero_point += k * given->zero_point_key;
    given->qmin += k * given->qmin_key, given->qmax += k * given->qmax_key;
}

static fq_arithmetic arithmetic_of(const fq_call *call)
{
    return (fq_arithmetic){call->type == FQ_F64, call->reciprocal};
}

/* Rows that share their parameters. */
static fq_status run(const fq_call *call, job *j, size_t rows, const fq_given *given, fq_values *bad)
{
    fq_kernel *const *kernels = fq_target_in_use()->kernel[call->type][call->op];
    fq_params params = {0};
    j->kernel = kernels[0];
    if (given != NULL && !same_along_row(given, j->n)) {
        j->kernel = kernels[call->reciprocal ? FQ_MULTIPLY_EACH : FQ_DIVIDE_EACH];
        return run_each(j, rows, given, arithmetic_of(call), bad);
    }
    if (given != NULL) {
        fq_way way;
        const fq_status status = fq_params_of_all(&params, &way, given, arithmetic_of(call), bad);
        if (status != FQ_OK) {
            return status;
        }
        j->kernel = kernels[way];
    }
    run_all(j, call, rows, &params);
    return FQ_OK;
}

/* Makes the parameters of the chunk's keys ready; given is that of the first of them. */
static fq_status prepare_keys(key_chunk *c, const fq_call *call, fq_given given, int stream, fq_values *bad)
{
    fq_kernel *const *kernels = fq_target_in_use()->kernel[call->type][call->op];
    for (size_t key = 0; key < c->keys; key++, step_keys(&given, 1)) {
        fq_way way;
        const fq_status status = fq_params_of_all(&c->params[key], &way, &given, arithmetic_of(call), bad);
        if (status != FQ_OK) {
            return status;
        }
        c->params[key].stream = stream;
        c->kernel[key] = kernels[way];
    }
    return FQ_OK;
}

/* Keys of few elements each, whose parameters are the same along a row. */
static fq_status run_by_keys(const fq_call *call, const job *j, const fq_shape *shape, fq_given given, fq_values *bad)
{
    const int stream = streams(j, call, shape->repeats * shape->keys * shape->rows, j->n);
    key_chunk c = {.j = j, .shape = shape};
    for (; c.first < shape->keys; c.first += c.keys, step_keys(&given, c.keys)) {
        const size_t left = shape->keys - c.first;
        c.keys = left < KEYS ? left : KEYS;
        const fq_status status = prepare_keys(&c, call, given, stream, bad);
        if (status != FQ_OK) {
            return status;
        }
        fq_parallel(shape->repeats * c.keys, THREAD_GRAIN / (shape->rows * j->n) + 1, 1, run_keys, &c);
    }
    return FQ_OK;
}

static fq_status run_key_by_key(const fq_call *call, const job *j, const fq_shape *shape, const fq_given *given,
                                fq_values *bad)
{
    fq_arrays arrays = *j->arrays;
    job one = *j;
    one.arrays = &arrays;
    for (size_t i = 0; i < shape->repeats * shape->keys; i++) {
        fq_given g = *given;
        step_keys(&g, i % shape->keys);
        const fq_status status = run(call, &one, shape->rows, &g, bad);
        if (status != FQ_OK) {
            return status;
        }
        for (int a = 0; a < j->shape->arrays; a++) {
            arrays.data[a] += (ptrdiff_t)shape->rows * arrays.row_step[a];
        }
    }
    return FQ_OK;
}

static fq_status run_all_keys(const fq_call *call, job *j, const fq_shape *shape, const fq_given *given, fq_values *bad)
{
    if (given == NULL || same_in_keys(given, shape->keys)) {
        return run(call, j, shape->repeats * shape->keys * shape->rows, given, bad);
    }
    if (same_along_row(given, shape->n) && shape->rows * shape->n < LONG_KEY) {
        return run_by_keys(call, j, shape, *given, bad);
    }
    return run_key_by_key(call, j, shape, given, bad);
}

/* Refuses the parameters of one key where they are wrong. */
static fq_status check_key(const fq_call *call, size_t n, const fq_given *given, fq_values *bad)
{
    fq_params params;
    fq_way way;
    fq_room room;
    if (same_along_row(given, n)) {
        return fq_params_of_all(&params, &way, given, arithmetic_of(call), bad);
    }
    fq_status status = FQ_OK;
    room.filled = 0;
    for (size_t i = 0; i < n && status == FQ_OK; i += FQ_CHUNK) {
        status = fq_params_of_each(&params, &room, given, i, chunk_at(i, n), arithmetic_of(call), bad);
    }
    return status;
}

/* Refuses at once what would be refused after some rows, where those would be lost. */
static fq_status check_before(const fq_call *call, const job *j, const fq_shape *shape, fq_given given, fq_values *bad)
{
    const size_t keys = same_in_keys(&given, shape->keys) ? 1 : shape->keys;
    const int is_one_set = keys == 1 && same_along_row(&given, shape->n);
    fq_status status = FQ_OK;
    if (is_one_set || !is_in_place(j)) {
        return FQ_OK;
    }
    for (size_t key = 0; key < keys && status == FQ_OK; key++, step_keys(&given, 1)) {
        status = check_key(call, shape->n, &given, bad);
    }
    return status;
}

fq_status fq_rows(const fq_call *call, const fq_arrays *arrays, const fq_shape *shape, const fq_given *given,
                  fq_values *bad)
{
    const op_shape *of_op = &shapes[call->op];
    if (shape->repeats * shape->keys * shape->rows == 0 || shape->n == 0) {
        return FQ_OK;
    }
    job j = {.shape = of_op, .type = call->type, .arrays = arrays, .n = shape->n};
    j.contiguous = all_contiguous(arrays, of_op, call->type, shape->n);
    j.bits = short_rows_of_bits(&j);
    const fq_fpflags flags = fq_fpflags_save();
    fq_status status = given == NULL ? FQ_OK : check_before(call, &j, shape, *given, bad);
    if (status == FQ_OK) {
        status = run_all_keys(call, &j, shape, given, bad);
    }
    fq_fpflags_restore(flags);
    return status;
}
