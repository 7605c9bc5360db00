/* The vocabulary shared by the C layers: element types, kernels, their parameters and the table of a target. */
#ifndef FQ_H
#define FQ_H

#include <stddef.h>
#include <stdint.h>

#include "ops.h"
#include "types.h"

enum {
    FQ_BLOCK = 64,      /* elements that one mask word covers */
    CACHE_LINE = 64,    /* bytes */
    FQ_SUMS = 16,       /* sums side by side in a learnable backward, whatever the width of a vector */
    FQ_ALIGN_FROM = 512, /* elements from which a call begins its stores at a cache line */
    FQ_MOST_AXES = 64
};

#define FQ_OP_NUMBER(with, NUMBER, ...) FQ_##NUMBER,
typedef enum { FQ_OP_ROWS(FQ_OP_NUMBER, ) FQ_OPS } fq_op;
#undef FQ_OP_NUMBER

/* How a kernel gets x / scale. The first three take one scale for all elements, EACH one per element. */
typedef enum {
    FQ_DIVIDE,
    FQ_DIVIDE_FAST, /* by multiplication and correction: the same bits while scale is in the safe range */
    FQ_MULTIPLY,    /* x * (1 / scale), rounded twice: PyTorch's arithmetic */
    FQ_DIVIDE_EACH,
    FQ_MULTIPLY_EACH,
    FQ_WAYS
} fq_way;

/* DIVIDE_FAST rounds a quotient correctly where its remainder, 2**-47 (2**-105) of x, and the quotient itself are normal
 * numbers. The level of any other is 0, but the learnable backward wants its bits too: it divides tiny values, and everything
 * where scale is above its limit. */
#define FQ_TINY_F32 0x1p-100
#define FQ_TINY_F64 0x1p-960
#define FQ_LEARN_FAST_TO 0x1p20 /* scale */

/* What never changes inside a call. Computed in float32 these are exact float32 values. */
typedef struct {
    double scale, inv; /* inv = 1 / scale, rounded to the type computed in */
    double lo, hi;     /* qmin - zero_point and qmax - zero_point */
    const void *scales, *invs, *los, *his; /* the same, an element each: float, or double for float64 */
    int stream;      /* store y or dx past the cache */
    ptrdiff_t ahead; /* bytes from what a learnable backward works on to what it should fetch */
    size_t rows;     /* of a learnable backward with parameters of their own for the elements of a row */
    ptrdiff_t dx_row, dy_row, x_row; /* bytes from one of these rows to the next */
} fq_params;

/* data: the outputs, then the inputs, in the order of ops.h. */
typedef void fq_kernel(char *const *data, size_t n, const fq_params *p);

enum { FQ_CHUNK = 256 }; /* elements for which parameters of their own are made at a time */

/* An element each, padded to whole vectors. */
typedef union {
    struct {
        float scale[FQ_CHUNK], inv[FQ_CHUNK], lo[FQ_CHUNK], hi[FQ_CHUNK];
    } f32;
    struct {
        double scale[FQ_CHUNK], inv[FQ_CHUNK], lo[FQ_CHUNK], hi[FQ_CHUNK];
    } f64;
} fq_each;

/* The parameters as given, without gaps: scale is of float, or double for float64. */
typedef struct {
    const void *scale;
    const int64_t *zero_point, *qmin, *qmax;
} fq_contiguous;

/* Makes *each from n <= FQ_CHUNK sets; not 0 if one of them is refused. */
typedef int fq_make_each(fq_each *each, const fq_contiguous *given, size_t n, int reciprocal);

typedef struct {
    const char *name;
    int preference;         /* the largest that runs here is used; that of portable is 0 */
    int (*runs_here)(void); /* on this processor and system; NULL where it was not built */
    fq_kernel *kernel[FQ_TYPES][FQ_OPS][FQ_WAYS];
    fq_kernel *learnable[FQ_TYPES][FQ_WAYS];
    fq_make_each *make_each[2]; /* in float32, in float64 */
} fq_target;

#endif
