/* Makes one target out of the words of a simd_*.h: the kernels for every element type and the table of them.
 *
 * The stub that includes this has opened its instruction set and included its simd_*.h. */
#include "each.h"
#include "lanes.h"
#include "masks.h"

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

#define FQ_WAYS_OF(kernel, type)                                                             \
    {kernel##_FQ_DIVIDE_##type, kernel##_FQ_DIVIDE_FAST_##type, kernel##_FQ_MULTIPLY_##type, \
     kernel##_FQ_DIVIDE_EACH_##type, kernel##_FQ_MULTIPLY_EACH_##type}
#define FQ_KERNELS_QPARAMS(kernel, type) FQ_WAYS_OF(kernel, type)
#define FQ_KERNELS_NONE(kernel, type) {kernel##_##type}
#define FQ_KERNELS_OF(type, OP, kernel, outputs, inputs, parameters, ...) \
    [FQ_##OP] = FQ_KERNELS_##parameters(kernel, type),
#define FQ_KERNELS(TYPE, type, ...) [FQ_##TYPE] = {FQ_OP_ROWS(FQ_KERNELS_OF, type)},
#define FQ_LEARNABLE(TYPE, type, ...) [FQ_##TYPE] = FQ_WAYS_OF(learnable, type),
#define FQ_TARGET_TABLE(target, preference, runs_here) \
    const fq_target fq_target_##target = {             \
        #target,                                       \
        preference,                                    \
        runs_here,                                     \
        {FQ_TYPE_ROWS(FQ_KERNELS)},                    \
        {FQ_TYPE_ROWS(FQ_LEARNABLE)},                  \
        {make_each_f32, make_each_f64},                \
    }
