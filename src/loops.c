/* Picks the kernel of a call: straight over contiguous data, or chunk by chunk through a buffer. */
#include "loops.h"

#include <string.h>

#include "dispatch.h"
#include "fpflags.h"

enum { WIDEST = 8 }; /* bytes of the widest element */

/* What an operation works on: which arrays are outputs, and which hold a byte mask, not elements. */
typedef struct {
    int outputs, arrays;
    int mask; /* its place, or -1 */
} shape_of_op;

static const shape_of_op shapes[FQ_OPS] = {
    [FQ_FAKE_QUANTIZE] = {1, 2, -1},
    [FQ_FORWARD] = {2, 3, 1},
    [FQ_BACKWARD] = {1, 3, 2},
    [FQ_BACKWARD_RECOMPUTE] = {1, 3, -1},
};

static const size_t size_of_type[FQ_TYPES] = {[FQ_F16] = 2, [FQ_BF16] = 2, [FQ_F32] = 4, [FQ_F64] = 8};

static size_t size_of_array(const shape_of_op *shape, fq_type type, int a)
{
    return a == shape->mask ? 1 : size_of_type[type];
}

static int is_contiguous(const fq_arrays *arrays, const shape_of_op *shape, fq_type type, int a, size_t n)
{
    return n == 1 || arrays->step[a] == (ptrdiff_t)size_of_array(shape, type, a);
}

static int all_contiguous(const fq_arrays *arrays, const shape_of_op *shape, fq_type type, size_t n)
{
    for (int a = 0; a < shape->arrays; a++) {
        if (!is_contiguous(arrays, shape, type, a, n)) {
            return 0;
        }
    }
    return 1;
}

#define FQ_COPY_AS(type)                                                                                     \
    for (size_t i = 0; i < n; i++, to += to_step, from += from_step) {                                       \
        memcpy(to, from, sizeof(type));                                                                      \
    }

static void copy_strided(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t from_step, size_t size, size_t n)
{
    switch (size) {
    case 1: FQ_COPY_AS(uint8_t) break;
    case 2: FQ_COPY_AS(uint16_t) break;
    case 4: FQ_COPY_AS(uint32_t) break;
    default: FQ_COPY_AS(uint64_t) break;
    }
}

/* The kernel over elements [from, from + n), n <= FQ_CHUNK; arrays that are not contiguous go through a buffer. */
static void run_chunk(fq_kernel *kernel, const fq_arrays *arrays, const shape_of_op *shape, fq_type type,
                      size_t from, size_t n, const fq_params *p)
{
    _Alignas(64) char buffer[FQ_MAX_ARRAYS][FQ_CHUNK * WIDEST];
    char *start[FQ_MAX_ARRAYS], *data[FQ_MAX_ARRAYS];
    for (int a = 0; a < shape->arrays; a++) {
        const size_t size = size_of_array(shape, type, a);
        start[a] = arrays->data[a] + (ptrdiff_t)from * arrays->step[a];
        data[a] = start[a];
        if (!is_contiguous(arrays, shape, type, a, n)) {
            data[a] = buffer[a];
            if (a >= shape->outputs) {
                copy_strided(buffer[a], (ptrdiff_t)size, start[a], arrays->step[a], size, n);
            }
        }
    }
    kernel(data, n, p);
    for (int a = 0; a < shape->outputs; a++) {
        const size_t size = size_of_array(shape, type, a);
        if (data[a] != start[a]) {
            copy_strided(start[a], arrays->step[a], buffer[a], (ptrdiff_t)size, size, n);
        }
    }
}

static void run_all(fq_kernel *kernel, const fq_arrays *arrays, const shape_of_op *shape, fq_type type, size_t n,
                    const fq_params *p)
{
    if (all_contiguous(arrays, shape, type, n)) {
        kernel(arrays->data, n, p);
        return;
    }
    for (size_t i = 0; i < n; i += FQ_CHUNK) {
        run_chunk(kernel, arrays, shape, type, i, n - i < FQ_CHUNK ? n - i : FQ_CHUNK, p);
    }
}

static int same_for_all(const fq_given *given, size_t n)
{
    return n == 1 || (given->scale_step == 0 && given->zero_point_step == 0 && given->qmin_step == 0 &&
                      given->qmax_step == 0);
}

/* Parameters of their own for the elements: made a chunk at a time. */
static fq_status run_each(fq_kernel *kernel, const fq_arrays *arrays, const shape_of_op *shape, fq_type type,
                          size_t n, const fq_given *given, fq_arithmetic arithmetic, fq_values *bad)
{
    for (size_t i = 0; i < n; i += FQ_CHUNK) {
        const size_t count = n - i < FQ_CHUNK ? n - i : FQ_CHUNK;
        fq_each each;
        fq_params p;
        const fq_status status = fq_params_of_each(&p, &each, given, i, count, arithmetic, bad);
        if (status != FQ_OK) {
            return status;
        }
        run_chunk(kernel, arrays, shape, type, i, count, &p);
    }
    return FQ_OK;
}

static fq_status run(fq_op op, fq_type type, int reciprocal, const fq_arrays *arrays, size_t n,
                     const fq_given *given, fq_values *bad)
{
    const shape_of_op *shape = &shapes[op];
    fq_kernel *const *kernels = fq_target_in_use()->kernel[type][op];
    const fq_arithmetic arithmetic = {type == FQ_F64, reciprocal};
    if (given == NULL) {
        run_all(kernels[0], arrays, shape, type, n, NULL);
        return FQ_OK;
    }
    if (!same_for_all(given, n)) {
        fq_kernel *kernel = kernels[reciprocal ? FQ_MULTIPLY_EACH : FQ_DIVIDE_EACH];
        return run_each(kernel, arrays, shape, type, n, given, arithmetic, bad);
    }
    fq_params p;
    fq_way way;
    const fq_status status = fq_params_of_all(&p, &way, given, arithmetic, bad);
    if (status == FQ_OK) {
        run_all(kernels[way], arrays, shape, type, n, &p);
    }
    return status;
}

fq_status fq_loop(fq_op op, fq_type type, int reciprocal, const fq_arrays *arrays, size_t n,
                  const fq_given *given, fq_values *bad)
{
    const fq_fpflags flags = fq_fpflags_save();
    const fq_status status = n ? run(op, type, reciprocal, arrays, n, given, bad) : FQ_OK;
    fq_fpflags_restore(flags);
    return status;
}
