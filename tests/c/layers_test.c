/* Runs layer 2 from several threads at once, on several OpenMP threads each: all results equal those of one thread.
 *
 * layers_test [n]: elements of an array. Meant for valgrind and ThreadSanitizer, which see what a result hides. */
#include <pthread.h>

#include "learnable.h"
#include "loops.h"
#include "testing.h"
#include "threads.h"

enum { CALLERS = 3, ROWS = 3, SUMS = ROWS };

typedef struct {
    fq_call call;
    int learnable, rows;
} task;

typedef struct {
    uint8_t *out[2];
    double of_scale[SUMS], of_zero_point[SUMS];
    size_t size[2];
} results;

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
    r->size[0] = n * fq_size_of(t->call.type);
    r->size[1] = n * sizeof(double);
    for (int k = 0; k < 2; k++) {
        r->out[k] = allocated(r->size[k]);
    }
}

static fq_given given_of(fq_type type, int rows)
{
    const char *scale = type == FQ_F64 ? (const char *)wide_scales : (const char *)scales;
    fq_given given = {.scale = scale,
                      .zero_point = (const char *)&zero_point,
                      .qmin = (const char *)&qmin,
                      .qmax = (const char *)&qmax};
    given.scale_key = rows > 1 ? (type == FQ_F64 ? 8 : 4) : 0;
    return given;
}

static void run_learnable(const task *t, results *r)
{
    const ptrdiff_t size = (ptrdiff_t)fq_size_of(t->call.type), row = (ptrdiff_t)(n / ROWS) * size;
    const fq_given given = given_of(t->call.type, ROWS);
    /* clang-format off: a table */
    fq_learnable_call c = {.type = t->call.type,
                           .reciprocal = t->call.reciprocal,
                           .dx = (char *)r->out[0],
                           .dy = (char *)inputs[0],
                           .x = (char *)inputs[1],
                           .scale = given.scale,
                           .zero_point = given.zero_point,
                           .qmin = given.qmin,
                           .qmax = given.qmax,
                           .keys = ROWS,
                           .of_scale = r->of_scale,
                           .of_zero_point = r->of_zero_point};
    /* clang-format on */
    fq_values bad;
    fq_learnable_add_axis(
        &c, (fq_axis){.length = ROWS, .dx = row, .dy = row, .x = row, .scale = given.scale_key, .key = 1});
    fq_learnable_add_axis(&c, (fq_axis){.length = n / ROWS, .dx = size, .dy = size, .x = size});
    if (fq_learnable(&c, &bad) != FQ_OK) {
        exit(3);
    }
}

static void set_array(fq_arrays *arrays, int k, char kind, char *data, ptrdiff_t length, ptrdiff_t size)
{
    const ptrdiff_t items = kind == FQ_BIT_MASK ? (length + 7) / 8 : length, step = kind == FQ_ELEMENTS ? size : 1;
    arrays->data[k] = data, arrays->step[k] = step, arrays->row_step[k] = items * step;
}

static void run_rows(const task *t, results *r)
{
    const ptrdiff_t size = (ptrdiff_t)fq_size_of(t->call.type), length = (ptrdiff_t)n / t->rows;
    const fq_given given = given_of(t->call.type, t->rows);
    const op_row *op = &op_rows[t->call.op];
    fq_arrays a = {{NULL}, {0}, {0}};
    int k = 0;
    for (int o = 0; op->outputs[o] != '\0'; o++, k++) {
        set_array(&a, k, op->outputs[o], (char *)r->out[o], length, size);
    }
    for (int i = 0; op->inputs[i] != '\0'; i++, k++) {
        const uint8_t *from = op->inputs[i] == FQ_ELEMENTS ? inputs[i] : mask;
        set_array(&a, k, op->inputs[i], (char *)(uintptr_t)from, length, size);
    }
    fq_values bad;
    const fq_shape shape = {1, (size_t)t->rows, 1, (size_t)length};
    if (fq_rows(&t->call, &a, &shape, op->parameters ? &given : NULL, &bad) != FQ_OK) {
        exit(3);
    }
}

static void run_task(const task *t, results *r) { (t->learnable ? run_learnable : run_rows)(t, r); }

static int differ(const results *a, const results *b)
{
    return memcmp(a->out[0], b->out[0], a->size[0]) != 0 || memcmp(a->out[1], b->out[1], a->size[1]) != 0 ||
           memcmp(a->of_scale, b->of_scale, sizeof a->of_scale) != 0 ||
           memcmp(a->of_zero_point, b->of_zero_point, sizeof a->of_zero_point) != 0;
}

static void *call_all(void *context)
{
    caller *c = context;
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
                tasks[count++] = (task){{op, type, reciprocal, 0}, 0, 1};
                tasks[count++] = (task){{op, type, reciprocal, 0}, 0, ROWS};
            }
            tasks[count++] = (task){{0, type, reciprocal, 0}, 1, ROWS};
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
    static task tasks[2 * FQ_TYPES * (2 * FQ_OPS + 1)];
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
