/* Runs calls from several threads at once, on several OpenMP threads each: all results equal those of one thread.
 *
 * layers_test [n]: elements of an array. Meant for valgrind and ThreadSanitizer, which see what a result hides. */
#include <pthread.h>

#include "observe.h"
#include "plan.h"
#include "testing.h"
#include "threads.h"

enum { CALLERS = 3, ROWS = 3, TIMES = 5 };

typedef struct {
    fq_op op;
    fq_type type;
    int reciprocal;
    int rows; /* each with a scale of its own */
    fq_storage storage; /* of integers */
} task;

typedef struct {
    uint8_t *out[2];
    double sums[FQ_SUMS_A_SET][ROWS];
    size_t size[2];
} results;

/* What an observer sees of an array, of all or of each row. */
typedef struct {
    int64_t low[ROWS], high[ROWS], bins[ROWS];
    uint64_t count[FQ_SPECIALS][ROWS], digest;
} seen;

typedef struct {
    const task *tasks;
    size_t count;
    const results *expected;
    int failures;
} caller;

static size_t n;
static uint8_t *inputs[2], *mask;
static const float scales[ROWS] = {0.05F, 0.1F, 0.2F};
static const double wide_scales[ROWS] = {0.05, 0.1, 0.2};
static const int64_t zero_point = 1, qmin = -8, qmax = 7;

static void *allocated(size_t size)
{
    void *room = calloc(size, 1); /* not a byte more: valgrind sees what goes beyond */
    if (room == NULL) {
        exit(2);
    }
    return room;
}

static void new_results(results *r, const task *t)
{
    r->size[0] = n * fq_size_of(t->type);
    r->size[1] = n * sizeof(double);
    for (int k = 0; k < 2; k++) {
        r->out[k] = allocated(r->size[k]);
    }
}

/* The arrays of one operation: rows that follow each other without gaps. */
static void set_array(fq_call *call, int a, char kind, uint8_t *data)
{
    const ptrdiff_t step = kind == FQ_ELEMENTS   ? (ptrdiff_t)fq_size_of(call->type)
                           : kind == FQ_INTEGERS ? call->storage.size
                                                 : 1;
    const size_t length = call->axis[1].length;
    const ptrdiff_t items = (ptrdiff_t)(kind == FQ_BIT_MASK   ? (length + 7) / 8
                                        : kind == FQ_NIBBLES  ? (length + 1) / 2
                                        : kind == FQ_INTEGERS ? items_of(call->storage, length)
                                                              : length);
    call->data[a] = (char *)data, call->axis[1].array[a] = step;
    call->axis[0].array[a] = step * items;
}

/* The integers of four bits or more hold the levels; where there are no qmin and qmax, zero_point stands for both. */
static void set_parameters(fq_call *call, int all)
{
    call->given[0] = call->type == FQ_F64 ? (const char *)wide_scales : (const char *)scales;
    call->given[1] = (const char *)&zero_point;
    call->given[2] = (const char *)(all ? &qmin : &zero_point);
    call->given[3] = (const char *)(all ? &qmax : &zero_point);
    call->axis[0].given[0] = call->axis[0].length == 1 ? 0 : call->type == FQ_F64 ? 8 : 4;
}

static void run_task(const task *t, results *r)
{
    const op_row *op = &op_rows[t->op];
    fq_call call = {.op = t->op,
                    .type = t->type,
                    .rule = t->reciprocal ? FQ_RECIPROCAL : FQ_DIVIDED,
                    .axes = 2,
                    .storage = t->storage};
    fq_values bad;
    int arrays = 0;
    call.axis[0].length = (size_t)t->rows, call.axis[1].length = n / (size_t)t->rows;
    for (int o = 0; op->outputs[o] != '\0'; o++) {
        set_array(&call, arrays++, op->outputs[o], r->out[o]);
    }
    for (int i = 0; op->inputs[i] != '\0'; i++) {
        const int is_mask = fq_item_size(op->inputs[i], t->type) == 1;
        set_array(&call, arrays++, op->inputs[i], is_mask ? mask : inputs[i]);
    }
    if (op->parameters) {
        set_parameters(&call, op->parameters != PARAMETERS_SCALES);
    }
    for (int k = 0; k < FQ_SUMS_A_SET; k++) {
        call.sums[k] = r->sums[k];
    }
    fq_sets(&call);
    if (fq_run(&call, &bad) != FQ_OK) {
        exit(3);
    }
}

static int differ(const results *a, const results *b)
{
    return memcmp(a->out[0], b->out[0], a->size[0]) != 0 || memcmp(a->out[1], b->out[1], a->size[1]) != 0 ||
           memcmp(a->sums, b->sums, sizeof a->sums) != 0;
}

static void observe(fq_type type, int per_row, seen *s)
{
    const ptrdiff_t size = (ptrdiff_t)fq_size_of(type);
    const size_t length = n / ROWS, sets = per_row ? ROWS : 1;
    fq_call call = {.type = type, .axes = 3, .data = {(char *)inputs[0]}}, again;
    fq_ends ends = {s->low, s->high, {s->count[0], s->count[1], s->count[2]}, 0};
    fq_bins bins;
    call.axis[0] = (fq_loop){.length = TIMES}; /* the same rows, so often that threads gain */
    call.axis[1] = (fq_loop){.length = ROWS, .array = {(ptrdiff_t)length * size}, .sum = per_row ? 1 : 0};
    call.axis[2] = (fq_loop){.length = length, .array = {size}};
    again = call;
    if (fq_find_ends(&again, sets, &ends) != FQ_OK || fq_find_distribution(&call, sets, &bins, s->bins) != FQ_OK) {
        exit(3);
    }
    s->digest = bins.count;
    for (size_t i = 0; i < bins.count * fq_cell_of(type); i++) {
        s->digest = (s->digest ^ bins.cell[i] ^ bins.key[i / fq_cell_of(type)]) * UINT64_C(0x100000001b3);
    }
    free(bins.key), free(bins.cell);
}

static seen expected_of_observers[FQ_TYPES][2];

static int failures_of_observers(void)
{
    int failures = 0;
    for (fq_type type = 0; type < FQ_TYPES; type++) {
        for (int per_row = 0; per_row < 2; per_row++) {
            seen s = {0};
            observe(type, per_row, &s);
            failures += memcmp(&s, &expected_of_observers[type][per_row], sizeof s) != 0;
        }
    }
    return failures;
}

static void *call_all(void *context)
{
    caller *c = context;
    c->failures += failures_of_observers();
    for (size_t i = 0; i < c->count; i++) {
        results r = {0};
        new_results(&r, &c->tasks[i]);
        run_task(&c->tasks[i], &r);
        c->failures += differ(&r, &c->expected[i]);
        free(r.out[0]), free(r.out[1]);
    }
    return NULL;
}

static size_t make_tasks(task *tasks)
{
    size_t count = 0;
    for (fq_type type = 0; type < FQ_TYPES; type++) {
        for (int reciprocal = 0; reciprocal < 2; reciprocal++) {
            for (fq_op op = 0; op < FQ_OPS; op++) {
                const fq_storage one = {1, 1, 8, 1}, two = {1, 2, 4, 1};
                tasks[count++] = (task){op, type, reciprocal && op != FQ_DEQUANTIZE, 1, one};
                tasks[count++] = (task){op, type, reciprocal && op != FQ_DEQUANTIZE, ROWS, two};
            }
        }
    }
    return count;
}

static int failures_of(const task *tasks, size_t count, const results *expected, int threads)
{
    pthread_t thread[CALLERS];
    caller callers[CALLERS];
    int failures = 0;
    fq_set_num_threads(threads);
    for (int k = 0; k < CALLERS; k++) {
        callers[k] = (caller){tasks, count, expected, 0};
        if (pthread_create(&thread[k], NULL, call_all, &callers[k]) != 0) {
            exit(2);
        }
    }
    for (int k = 0; k < CALLERS; k++) {
        pthread_join(thread[k], NULL);
        failures += callers[k].failures;
    }
    return failures;
}

int main(int argc, char **arguments)
{
    static task tasks[2 * FQ_TYPES * 2 * FQ_OPS];
    static results expected[sizeof tasks / sizeof *tasks];
    uint64_t seed = 1;
    n = argc > 1 ? strtoul(arguments[1], NULL, 10) / (8 * ROWS) * (8 * ROWS) : 120000;
    fq_threads_start();
    if (fq_target_use(NULL) < 0) {
        return 2;
    }
    inputs[0] = allocated(8 * n), inputs[1] = allocated(8 * n), mask = allocated(n);
    for (size_t i = 0; i < n; i++) {
        mask[i] = random_bits(&seed) & 1;
        for (int k = 0; k < 2; k++) { /* the upper half of each float is ordinary in every type */
            const float v = (float)(int)(random_bits(&seed) % 4096) / 2048 - 1;
            memcpy(inputs[k] + 4 * i, &v, sizeof v);
        }
    }
    const size_t count = make_tasks(tasks);
    fq_set_num_threads(1);
    for (size_t i = 0; i < count; i++) {
        new_results(&expected[i], &tasks[i]);
        run_task(&tasks[i], &expected[i]);
    }
    for (int i = 0; i < 2 * FQ_TYPES; i++) {
        observe((fq_type)(i / 2), i % 2, &expected_of_observers[i / 2][i % 2]);
    }
    int failures = 0;
    for (int threads = 1; threads <= 7; threads += 2) {
        failures += failures_of(tasks, count, expected, threads);
    }
    printf("%s: %zu calls by %d threads at once, %d differences\n", fq_target_in_use()->name, count, CALLERS, failures);
    for (size_t i = 0; i < count; i++) {
        free(expected[i].out[0]), free(expected[i].out[1]);
    }
    free(inputs[0]), free(inputs[1]), free(mask);
    return failures != 0;
}
