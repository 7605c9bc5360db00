/* Runs the rows of a call whose results are element by element, on threads. */
#include "walk.h"

#include "bitrows.h"
#include "cache.h"
#include "dispatch.h"
#include "strided.h"
#include "threads.h"

enum {
    THREAD_GRAIN = 128 * 1024, /* elements from which a thread of its own gains */
    CELL = 4 * FQ_CHUNK,       /* elements: whole cache lines of any type, and of bits */
    STREAM_FROM = 4096,        /* bytes of a row from which non-temporal stores gain, wherever the row begins */
    TOGETHER = 2048            /* elements of joined rows of bits that go to a kernel at a time */
};

/* Threads share the cells of all rows: a cell is a part of a long row, or a short row. */
typedef struct {
    fq_plan *plan;
    size_t cell, cells; /* elements of a cell; cells of a row */
    int stream;         /* non-temporal stores of y or dx */
    int bits;           /* the packed array */
    int across;         /* rows lie across the memory of the arrays but bits, whose lines follow each other there */
    fq_op op; /* of the kernels */
    fq_kernel *const *kernels;
} map;

typedef struct {
    const map *m;
    fq_workplace place;
    fq_cursor at;
    fq_kernel *kernel;
    fq_params params;
} worker;

/* `rows` rows of n elements at `data`, no more than FQ_CHUNK together, with the sets from this one of params on: arrays with
 * gaps along a row go through the scratch. */
static void run_block(const worker *w, char *const *data, size_t n, size_t rows, size_t set)
{
    const fq_plan *p = w->m->plan;
    char *at[FQ_MAX_ARRAYS];
    fq_params params = w->params;
    params.sets = fq_skip_sets(params.sets, set, p->arithmetic);
    params.rows = rows;
    for (int a = 0; a < p->shape->arrays; a++) {
        const size_t items = fq_items_in(p, a, n), size = p->size[a];
        at[a] = data[a];
        if (p->step[a] == (ptrdiff_t)size || items == 1) {
            continue;
        }
        at[a] = w->place.scratch + (size_t)a * FQ_CHUNK * FQ_WIDEST, params.row[a] = (ptrdiff_t)(items * size);
        for (size_t row = 0; a >= p->shape->outputs && row < rows; row++) {
            fq_copy_strided(at[a] + row * items * size, (ptrdiff_t)size, data[a] + (ptrdiff_t)row * w->params.row[a],
                            p->step[a], size, items);
        }
    }
    w->kernel(at, n, &params);
    for (int a = 0; a < p->shape->outputs; a++) {
        const size_t items = fq_items_in(p, a, n), size = p->size[a];
        for (size_t row = 0; at[a] != data[a] && row < rows; row++) {
            fq_copy_strided(data[a] + (ptrdiff_t)row * w->params.row[a], p->step[a], at[a] + row * items * size,
                            (ptrdiff_t)size, size, items);
        }
    }
}

/* Element i of a row, from which bits begin a byte. */
static void find_element(char **data, const fq_plan *p, char *const *row, size_t i)
{
    for (int a = 0; a < p->shape->arrays; a++) {
        data[a] = row[a] + (ptrdiff_t)fq_items_before(p, a, i) * p->step[a];
    }
}

/* So many rows on. */
static void find_row(char **data, const worker *w, char *const *first, size_t rows)
{
    for (int a = 0; a < w->m->plan->shape->arrays; a++) {
        data[a] = first[a] + (ptrdiff_t)rows * w->params.row[a];
    }
}

static void run_blocks(const worker *w, char *const *first, size_t n, size_t rows)
{
    const size_t together = n < FQ_CHUNK ? FQ_CHUNK / n : 1;
    for (size_t row = 0, some; row < rows; row += some) {
        char *at[FQ_MAX_ARRAYS], *data[FQ_MAX_ARRAYS];
        some = rows - row < together ? rows - row : together;
        find_row(at, w, first, row);
        for (size_t i = 0; i < n; i += FQ_CHUNK) {
            find_element(data, w->m->plan, at, i);
            run_block(w, data, n - i < FQ_CHUNK ? n - i : FQ_CHUNK, some,
                      w->m->plan->each ? i : row * w->params.next_set);
        }
    }
}

/* A kernel wants the bits of joined rows as a stream. Bits of `rows` rows, made of short ones, into a stream each or out of it. */
static void move_bits(const fq_plan *p, int bits, char *packed, ptrdiff_t step, char *stream, size_t n, size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        char *const joined = stream + row * fq_items(p->shape->kind[bits], n), *const split =
                                                                                   packed + (ptrdiff_t)row * step;
        if (bits < p->shape->outputs) {
            fq_split_bits(split, joined, n / p->bit_row, p->bit_row);
        }
        else {
            fq_join_bits(joined, split, n / p->bit_row, p->bit_row);
        }
    }
}

/* Rows that were joined of short rows of bits. */
static void run_joined(worker *w, char *const *first, size_t n, size_t rows)
{
    const fq_plan *p = w->m->plan;
    const int bits = w->m->bits, written = bits < p->shape->outputs;
    const size_t width = n > TOGETHER ? TOGETHER / p->bit_row * p->bit_row : n;
    const ptrdiff_t step = w->params.row[bits];
    char stream[TOGETHER / 8 + TOGETHER / 2 + FQ_WORD];
    for (size_t row = 0, some; row < rows; row += some) {
        char *at[FQ_MAX_ARRAYS], *data[FQ_MAX_ARRAYS];
        some = rows - row < TOGETHER / width ? rows - row : TOGETHER / width;
        find_row(at, w, first, row);
        for (size_t i = 0, count; i < n; i += count) {
            count = n - i < width ? n - i : width;
            find_element(data, p, at, i);
            char *const packed = data[bits];
            data[bits] = stream;
            fq_params params = w->params;
            params.rows = some, params.row[bits] = (ptrdiff_t)fq_items(p->shape->kind[bits], count);
            params.sets = fq_skip_sets(params.sets, row * params.next_set, p->arithmetic);
            if (!written) {
                move_bits(p, bits, packed, step, stream, count, some);
            }
            w->kernel(data, count, &params);
            if (written) {
                move_bits(p, bits, packed, step, stream, count, some);
            }
        }
    }
}

enum { IN_BYTE = 8, IN_WORD = 8, MOST_ACROSS = IN_BYTE * FQ_CHUNK }; /* bits, bytes, bytes of masks */

/* Up to eight lines of masks, n bytes each: bit i of a byte is line i's. `step` bytes lie from a packed byte to the next one. */
static void pack_across(char *packed, ptrdiff_t step, const uint64_t *mask, size_t n, size_t lines)
{
    const size_t words = (n + IN_WORD - 1) / IN_WORD;
    char bytes[IN_WORD];
    for (size_t i = 0; i < n; i++, packed += step) {
        if (i % IN_WORD == 0) {
            uint64_t word = 0;
            for (size_t line = 0; line < lines; line++) {
                word |= mask[line * words + i / IN_WORD] << line;
            }
            memcpy(bytes, &word, sizeof bytes);
        }
        *packed = bytes[i % IN_WORD];
    }
}

/* The other way. */
static void unpack_across(uint64_t *mask, const char *packed, ptrdiff_t step, size_t n, size_t lines)
{
    const size_t words = (n + IN_WORD - 1) / IN_WORD;
    for (size_t at = 0; at < words; at++) {
        char bytes[IN_WORD] = {0};
        uint64_t word;
        for (size_t i = 0; i < IN_WORD && at * IN_WORD + i < n; i++, packed += step) {
            bytes[i] = *packed;
        }
        memcpy(&word, bytes, sizeof word);
        for (size_t line = 0; line < lines; line++) {
            mask[line * words + at] = word >> line & UINT64_C(0x0101010101010101);
        }
    }
}

/* The bits of `lines` lines of n masks, into the packed bytes or out of them. */
static void move_across(const worker *w, char *packed, uint64_t *mask, size_t n, size_t lines)
{
    const int bits = w->m->bits, written = bits < w->m->plan->shape->outputs;
    const ptrdiff_t step = w->params.row[bits];
    for (size_t line = 0; line < lines; line += IN_BYTE, packed += w->m->plan->step[bits]) {
        const size_t some = lines - line < IN_BYTE ? lines - line : IN_BYTE;
        uint64_t *at = mask + line * ((n + IN_WORD - 1) / IN_WORD);
        written ? pack_across(packed, step, at, n, some) : unpack_across(at, packed, step, n, some);
    }
}

/* The kernels of bytes work across the rows, where memory is contiguous. */
static void run_across(const worker *w, char *const *first, size_t n, size_t rows)
{
    const fq_plan *p = w->m->plan;
    const int bits = w->m->bits, written = bits < p->shape->outputs;
    fq_params params = w->params;
    uint64_t mask[MOST_ACROSS / IN_WORD];
    memcpy(params.row, p->step, sizeof params.row);
    params.next_set = 0;
    for (size_t row = 0, some; row < rows; row += some) {
        char *at[FQ_MAX_ARRAYS], *data[FQ_MAX_ARRAYS];
        some = rows - row < FQ_CHUNK ? rows - row : FQ_CHUNK;
        find_row(at, w, first, row);
        params.sets = fq_skip_sets(w->params.sets, row * w->params.next_set, p->arithmetic);
        params.row[bits] = (ptrdiff_t)((some + IN_WORD - 1) / IN_WORD * IN_WORD);
        const size_t most = MOST_ACROSS / (size_t)params.row[bits] / IN_BYTE * IN_BYTE;
        for (size_t i = 0; i < n; i += most) {
            find_element(data, p, at, i);
            char *const packed = data[bits];
            data[bits] = (char *)mask;
            params.rows = n - i < most ? n - i : most;
            if (!written) {
                move_across(w, packed, mask, some, params.rows);
            }
            w->kernel(data, some, &params);
            if (written) {
                move_across(w, packed, mask, some, params.rows);
            }
        }
    }
}

/* With the sets that params point to. */
static void run_rows(worker *w, char *const *first, size_t n, size_t rows)
{
    const int each = w->m->across ? w->params.next_set != 0 : w->m->plan->each;
    w->params.way = fq_way_in(w->place.room, w->m->plan, each);
    w->kernel = w->m->kernels[fq_is_even(w->params.rule) ? w->params.way : FQ_ROUND];
    w->params.rows = rows;
    if (w->m->across) {
        run_across(w, first, n, rows);
    }
    else if (w->m->plan->bit_row > 0) {
        run_joined(w, first, n, rows);
    }
    else if (w->m->plan->contiguous) {
        w->kernel(first, n, &w->params);
    }
    else {
        run_blocks(w, first, n, rows);
    }
}

/* Elements [from, from + n) of the next rows of the line, whose sets are made ready some at a time. */
static void run_line(worker *w, size_t from, size_t n, size_t rows)
{
    const fq_plan *p = w->m->plan;
    const size_t sets = p->each ? n : w->params.next_set ? rows : 1;
    const size_t first = p->each ? from : p->set_axis < 0 ? 0 : w->at.place[p->set_axis];
    char *data[FQ_MAX_ARRAYS];
    for (size_t i = 0, some = 1; i < sets; i += some) {
        if (p->shape->parameters) {
            some = fq_use(&w->place, p, &w->at, first + i, &w->params);
            some = sets - i < some ? sets - i : some;
        }
        find_element(data, p, w->at.data, p->each ? from + i : from);
        if (!p->each && i > 0) {
            find_row(data, w, data, i);
        }
        run_rows(w, data, p->each ? some : n, w->params.next_set ? some : rows);
    }
}

static void start(worker *w, const map *m, size_t piece, size_t cell)
{
    const fq_plan *p = m->plan;
    w->m = m;
    fq_settle(&w->place, m->plan, piece);
    fq_start(&w->at, p, m->cells == 1 ? cell : cell / m->cells);
    w->params.sets = (fq_ready){NULL, NULL, NULL, NULL};
    w->params.next_set = p->set_axis == p->line;
    w->params.stream = m->stream, w->params.ahead = 0, w->params.storage = p->storage;
    w->params.residual = fq_residual_bits(p->shape);
    w->params.op = m->op, w->params.rule = p->call->rule;
    for (int a = 0; a < FQ_MAX_ARRAYS; a++) {
        w->params.row[a] = p->call->axis[p->line].array[a];
    }
}

/* Some whole rows, no more than `most`. Gives how many. */
static size_t run_whole_rows(worker *w, size_t most)
{
    const fq_plan *p = w->m->plan;
    const size_t left = p->call->axis[p->line].length - w->at.place[p->line];
    const size_t rows = !p->alike ? 1 : left < most ? left : most;
    run_line(w, 0, p->n, rows);
    return rows;
}

/* Cells of one row, from this one on, no more than `most`. Gives how many. */
static size_t run_cells(worker *w, size_t cell, size_t most)
{
    const map *m = w->m;
    const size_t some = m->cells - cell < most ? m->cells - cell : most;
    const size_t from = cell * m->cell, to = from + some * m->cell;
    run_line(w, from, (to < m->plan->n ? to : m->plan->n) - from, 1);
    return some;
}

static void run_piece(void *context, size_t piece, size_t from, size_t to)
{
    const map *m = context;
    const fq_plan *p = m->plan;
    worker w;
    start(&w, m, piece, from);
    for (size_t i = from, rows; i < to;) {
        const size_t cell = m->cells == 1 ? 0 : i % m->cells;
        if (cell == 0 && to - i >= m->cells) {
            rows = run_whole_rows(&w, m->cells == 1 ? to - i : (to - i) / m->cells);
            i += rows * m->cells;
        }
        else {
            const size_t some = run_cells(&w, cell, to - i);
            rows = cell + some == m->cells;
            i += some;
        }
        if (rows > 0 && i < to && fq_move_on(&w.at, p, p->line, rows)) {
            fq_forget(&w.place, p);
        }
    }
}

/* Whether the first output takes the place of an input: reading it brings it into the cache. */
static int is_in_place(const fq_call *call, const fq_operation *shape)
{
    for (int a = shape->outputs; a < shape->arrays; a++) {
        if (call->data[a] == call->data[0]) {
            return 1;
        }
    }
    return 0;
}

/* Whether y or dx is stored past the cache. In short rows no cache line may be stored half in this way, half in the other. */
static int streams(const fq_plan *p)
{
    const size_t row = fq_items_in(p, 0, p->n) * p->size[0];
    const ptrdiff_t step = p->call->axis[p->line].array[0];
    const int whole_lines =
        row % CACHE_LINE == 0 && step % CACHE_LINE == 0 && (uintptr_t)p->call->data[0] % CACHE_LINE == 0;
    return p->contiguous && p->bit_row == 0 && (row >= STREAM_FROM || whole_lines) &&
           row * p->rows > fq_cache_threshold() && !p->call->new_outputs && !is_in_place(p->call, p->shape);
}

/* Finds the packed array, and whether the elements of its rows lie side by side with those of the next ones. */
static void find_bits(map *m)
{
    const fq_plan *p = m->plan;
    const char *packed = strchr(p->shape->kind, FQ_BIT_MASK);
    m->op = p->call->op, m->kernels = p->kernels;
    if (packed == NULL) {
        return;
    }
    m->bits = (int)(packed - p->shape->kind);
    m->across = p->bit_row == 0 && !p->each && p->call->axis[p->line].length >= IN_BYTE;
    for (int a = 0; a < p->shape->arrays; a++) {
        const ptrdiff_t size = (ptrdiff_t)p->size[a];
        m->across &= a == m->bits || (p->call->axis[p->line].array[a] == size && p->step[a] != size);
    }
    if (m->across) {
        m->op = m->bits < p->shape->outputs ? FQ_FORWARD : FQ_BACKWARD;
        m->kernels = fq_target_in_use()->kernel[p->call->type][m->op];
    }
}

fq_status fq_map(fq_plan *p, fq_values *bad)
{
    const size_t cell = p->bit_row > 0 ? CELL / p->bit_row * p->bit_row : CELL;
    map m = {.plan = p, .cell = p->n <= cell ? p->n : cell};
    m.cells = (p->n + m.cell - 1) / m.cell;
    m.stream = streams(p);
    find_bits(&m);
    const size_t pieces = p->call->in_order ? 1 : fq_pieces(p->rows * p->n, THREAD_GRAIN);
    const fq_status status = fq_prepare(p, pieces, p->contiguous ? 0 : FQ_MAX_ARRAYS * FQ_CHUNK * FQ_WIDEST, bad);
    if (status == FQ_OK) {
        fq_parallel(p->rows * m.cells, pieces, run_piece, &m);
    }
    return status;
}
