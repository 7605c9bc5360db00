/* Makes one target out of the words of a simd_*.h: the kernels for every element type and the table of them.
 *
 * The stub that includes this has opened its instruction set and included its simd_*.h. */
#include <math.h>

#include "params_each.h"
#include "kernel_masks.h"
#include "storage.h"
#include "strided.h"

/* The ways that a row of ops.h has a kernel for: where nothing is divided, those in which a plan comes to it. */
#define FQ_WAYS_QPARAMS(X, kernel, type) \
    X(kernel, FQ_DIVIDE, type)           \
    X(kernel, FQ_DIVIDE_FAST, type)      \
    X(kernel, FQ_MULTIPLY, type) X(kernel, FQ_DIVIDE_EACH, type) X(kernel, FQ_MULTIPLY_EACH, type)
#define FQ_WAYS_ROUNDED(X, kernel, type) FQ_WAYS_QPARAMS(X, kernel, type)
#define FQ_WAYS_SCALES(X, kernel, type) \
    X(kernel, FQ_DIVIDE, type) X(kernel, FQ_DIVIDE_FAST, type) X(kernel, FQ_DIVIDE_EACH, type)
#define FQ_WAYS_LEVELS(X, kernel, type) X(kernel, FQ_DIVIDE, type) X(kernel, FQ_DIVIDE_EACH, type)
#define FQ_WAYS_NONE(X, kernel, type) X(kernel, FQ_DIVIDE, type)

/* forward_f32(data, n, p, FQ_DIVIDE) of kernels.h as forward_FQ_DIVIDE_f32(data, n, p), and so for all rows and ways. */
#define FQ_KERNEL(kernel, way, type)                                                     \
    static void kernel##_##way##_##type(char *const *data, size_t n, const fq_params *p) \
    {                                                                                    \
        kernel##_##type(data, n, p, way);                                                \
    }
#define FQ_KERNELS_OF(type, OP, kernel, outputs, inputs, parameters, ...) FQ_WAYS_##parameters(FQ_KERNEL, kernel, type)
#define FQ_KERNELS(type) FQ_OP_ROWS(FQ_KERNELS_OF, type)

#define FQ_BITS_f32 int32_t
#define FQ_BITS_f64 int64_t
#define COMPUTE f32
#include "kernel_rules.h"
#include "kernel_scales.h"
#define COMPUTE f64
#include "kernel_rules.h"
#include "kernel_scales.h"

#define ELEM f16
#define COMPUTE f32
#include "kernels.h"
#define ELEM bf16
#define COMPUTE f32
#include "kernels.h"
#define ELEM f32
#define COMPUTE f32
#include "kernels.h"
#define ELEM f64
#define COMPUTE f64
#include "kernels.h"

#include "kernel_words.h"

#include "keys.h"
#include "count_bins.h"
#define KEY k16
#include "kernel_observe.h"
#define KEY k32
#include "kernel_observe.h"
#define KEY k64
#include "kernel_observe.h"

/* The one kernel of other rules. */
#define FQ_ROUND_ROUNDED(type) [FQ_ROUND] = by_rule_##type,
#define FQ_ROUND_QPARAMS(type)
#define FQ_ROUND_SCALES(type)
#define FQ_ROUND_LEVELS(type)
#define FQ_ROUND_NONE(type)

#define FQ_ENTRY(kernel, way, type) [way] = kernel##_##way##_##type,
#define FQ_ENTRIES_OF(type, OP, kernel, outputs, inputs, parameters, ...) \
    [FQ_##OP] = {FQ_WAYS_##parameters(FQ_ENTRY, kernel, type) FQ_ROUND_##parameters(type)},
#define FQ_ENTRIES(TYPE, type, ...) [FQ_##TYPE] = {FQ_OP_ROWS(FQ_ENTRIES_OF, type)},
#define FQ_BLOCKS_ENTRY(TYPE, type, ...) [FQ_##TYPE] = blocks_##type,
#define FQ_OBSERVE_ENTRIES                                                                  \
    {{ends_of_rows_k16, ends_of_rows_k16, ends_of_rows_k32, ends_of_rows_k64},              \
     {ends_of_columns_k16, ends_of_columns_k16, ends_of_columns_k32, ends_of_columns_k64}}, \
        {count_k16, count_k16, count_k32, count_k64},
#define FQ_TARGET_TABLE(target, preference, runs_here)                    \
    const fq_target fq_target_##target = {#target,                        \
                                          preference,                     \
                                          runs_here,                      \
                                          {FQ_TYPE_ROWS(FQ_ENTRIES)},     \
                                          {make_each_f32, make_each_f64}, \
                                          FQ_OBSERVE_ENTRIES words,       \
                                          {FQ_TYPE_ROWS(FQ_BLOCKS_ENTRY)}}
