/* The vocabulary shared by the C layers: element types, kernels, their parameters and the table of a target. */
#ifndef FQ_H
#define FQ_H

#include <stddef.h>
#include <stdint.h>

#include "kinds.h"
#include "ops.h"
#include "types.h"

enum {
    FQ_BLOCK = 64,      /* elements that one mask word covers */
    CACHE_LINE = 64,    /* bytes */
    FQ_SUMS = 16,       /* elements in a row that a learnable backward adds to sums of their own, on every target */
    FQ_ALIGN_FROM = 512, /* elements from which a call begins its stores at a cache line */
    FQ_MOST_AXES = 64
};

#define FQ_OP_NUMBER(with, NUMBER, ...) FQ_##NUMBER,
typedef enum { FQ_OP_ROWS(FQ_OP_NUMBER, ) FQ_OPS } fq_op;
#undef FQ_OP_NUMBER

/* The ufuncs come first, then the operations with integers, then the reductions. */
#define FQ_OP_COUNT(...) +1
enum { FQ_UFUNCS = FQ_MAP_ROWS(FQ_OP_COUNT, ), FQ_MAPS = FQ_UFUNCS FQ_INTEGER_ROWS(FQ_OP_COUNT, ) };
#undef FQ_OP_COUNT

#define FQ_RULE_NUMBER(with, NUMBER, ...) FQ_##NUMBER,
typedef enum { FQ_RULE_ROWS(FQ_RULE_NUMBER, ) FQ_RULES } fq_rule;
#undef FQ_RULE_NUMBER

/* Whether kernels for each way know the rule; the others are left to one kernel. */
static inline int fq_is_even(fq_rule rule) { return rule <= FQ_RECIPROCAL; }

/* How a kernel gets x / scale. The first three take one scale for all elements of a row, EACH one per element. */
typedef enum {
    FQ_DIVIDE,
    FQ_DIVIDE_FAST, /* by multiplication and correction: the same bits from FQ_FAST_FROM to FQ_FAST_TO */
    FQ_MULTIPLY,    /* x * (1 / scale), rounded twice: PyTorch's arithmetic */
    FQ_DIVIDE_EACH,
    FQ_MULTIPLY_EACH,
    FQ_WAYS,
    FQ_ROUND = FQ_WAYS /* the kernel for all rules but the even ones: x / scale, in the way that its parameters say */
} fq_way;

/* Scales between which neither 1 / scale nor the remainder of a quotient in range overflows or loses bits. */
#define FQ_FAST_FROM_F32 0x1p-90
#define FQ_FAST_TO_F32 0x1p90
#define FQ_FAST_FROM_F64 0x1p-900
#define FQ_FAST_TO_F64 0x1p900

enum {
    FQ_MAX_ARRAYS = 4, /* that an operation reads and writes */
    FQ_KERNEL_SUMS = 3, /* that a reduction's kernel adds to, for a set */
    FQ_PARAMETERS = 5, /* scale, zero_point, qmin, qmax; or scale and a format */
    FQ_CHUNK = 256     /* sets of parameters that are made ready at a time */
};

/* Sets of parameters made ready: an array of floats each, of doubles where the call computes in float64. inv is 1 / scale,
 * rounded to that type; lo and hi are qmin - zero_point and qmax - zero_point, which are exact. Of a format hi is the largest
 * number, and lo the one that would come next. */
typedef struct {
    void *scale, *inv, *lo, *hi;
} fq_ready;

/* The zero points of the sets, of an operation with integers alone, or the codes of their formats: int32, or doubles where the call
 * computes in float64. They lie as far behind hi as hi behind lo, so that other operations carry nothing for them. */
static inline void *fq_zero_points(fq_ready sets) { return (char *)sets.hi + ((char *)sets.hi - (char *)sets.lo); }

/* A format in a number: its smallest exponent, bits of mantissa, and whether it has -0.0. */
static inline int fq_format_code(int64_t min_exponent, int64_t mantissa_bits, int signed_zero)
{
    return (int)(min_exponent * 32 + mantissa_bits * 2 + signed_zero);
}
static inline int fq_min_exponent(int code) { return (code - (code & 31)) / 32; }
static inline int fq_mantissa_bits(int code) { return (code & 31) >> 1; }
static inline int fq_signed_zero(int code) { return code & 1; }

static inline double fq_power_of_two(int exponent)
{
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Whether a normal number of float64 is one. */
static inline int fq_is_power_of_two(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits << 12 == 0;
}

/* What a kernel works on beside its arrays: `rows` rows of n elements each. */
typedef struct {
    fq_ready sets;   /* from the first row's on; for the ways of EACH a set an element, the same in every row */
    size_t rows;
    size_t next_set; /* 1: each row has the set after that of the row before; 0: all share the first. 0 for EACH */
    ptrdiff_t row[FQ_MAX_ARRAYS]; /* bytes from a row to the next one, in each array */
    int stream;      /* whether y or dx is stored past the cache, by non-temporal stores */
    ptrdiff_t ahead; /* prefetch distance in bytes, of a reduction */
    fq_storage storage; /* of the integers, where there are any */
    int residual; /* bits of the codes of residuals, where there are any */
    fq_op op;     /* these three for the kernel of all other rules */
    fq_rule rule;
    fq_way way;
} fq_params;

/* A power of two that brings scale into [1, 2), or as near as float64 has powers of two. */
static inline double fq_normalizer(double scale)
{
    uint64_t bits;
    memcpy(&bits, &scale, sizeof bits);
    const uint64_t exponent = bits >> 52 & 0x7ff;
    bits = (exponent < 2046 ? 2046 - exponent : 1) << 52;
    memcpy(&scale, &bits, sizeof bits);
    return scale;
}

/* data: the outputs, then the inputs, in the order of ops.h; then a reduction's sums. */
typedef void fq_kernel(char *const *data, size_t n, const fq_params *p);

/* How kernels write levels: nibbles are two to a byte. */
typedef enum { AS_INT32, AS_BYTES, AS_NIBBLES } fq_levels_as;

/* The parameters as given, without gaps: scale is of float, or double for float64. */
typedef struct {
    const void *scale;
    const int64_t *zero_point, *qmin, *qmax; /* all NULL: lo and hi are ready already */
} fq_contiguous;

/* What make_each found. */
enum { FQ_REFUSED = 1, FQ_NOT_FAST = 2 /* a scale with which DIVIDE_FAST would go wrong */ };

/* The codes of residuals (kernel_residual.h) in range reach from -FQ_CODES(bits) to FQ_CODES(bits). */
#define FQ_CODES(bits) ((1 << ((bits) - 1)) - 2)

/* Makes n <= FQ_CHUNK sets ready, inv unless it is NULL. furthest: that a level may lie from zero_point. Where a set is refused, not
 * all of them are made. */
typedef int fq_make_each(const fq_ready *to, const fq_contiguous *given, size_t n, int reciprocal, uint64_t furthest);

/* The least and the greatest key (keys.h) of each of `rows` rows, or of each of n columns; n is 1 or more. */
typedef void fq_ends_of(const char *x, size_t n, size_t rows, ptrdiff_t row, int64_t *low, int64_t *high);

/* Elements counted by the upper bits of their pattern: FQ_APART numbers a bin for the 16-bit types, else as many cells. Elements that
 * follow each other go to different ones: where they are equal, each addition would wait for the one before. least and
 * most: of the nonzero elements, the bits without the sign, times 2, and in least less 1. */
enum { FQ_APART = 4, FQ_MOST_IN_TABLE = (1 << 24) - 1 };
typedef struct {
    uint64_t sum, square; /* count << 40 | the sum of the next 16 bits; the sum of their squares */
} fq_cell;
typedef struct {
    union {
        uint32_t *count;
        fq_cell *cell;
        void *memory;
    } table;
    uint64_t least, most;
} fq_tally;
typedef void fq_count_of(const char *x, size_t n, fq_tally *to);

/* Blocks of elements along an axis that share a scale. x is an array of shape (outer, n, inner) without gaps, whose axis of n is
 * cut into blocks, the last of which may be short; the scales have shape (outer, blocks, inner). */
typedef enum { FQ_SCALE_FLOOR, FQ_SCALE_UP, FQ_SCALE_FIT, FQ_SCALE_E4M3 } fq_scale_rule;
typedef struct {
    size_t outer, n, inner, block, blocks;
    fq_scale_rule rule;
    int format; /* fq_format_code */
    int kept;   /* 0: no mask; 8: a byte per element; 1: a bit, where inner is 1, and n and block are whole bytes */
    int points; /* whether y is left as points of the format, not multiplied by the scales */
    double max, beyond, tensor_scale;
    const void *x;
    void *y;
    uint8_t *mask, *scales; /* scales: bytes of E8M0, or of E4M3 */
} fq_block_call;

/* Blocks [from, to), in the order of the scales. */
typedef void fq_blocks_of(const fq_block_call *c, size_t from, size_t to);

/* Words [from, from + n) of 16 random bits of a key. */
typedef void fq_words_of(uint16_t *to, size_t n, const uint32_t key[2], uint64_t from);

typedef struct {
    const char *name;
    int preference;         /* the largest that runs here is used; that of portable is 0 */
    int (*runs_here)(void); /* on this processor and system; NULL where it was not built */
    fq_kernel *kernel[FQ_TYPES][FQ_OPS][FQ_WAYS + 1];
    fq_make_each *make_each[2]; /* in float32, in float64 */
    fq_ends_of *ends[2][FQ_TYPES]; /* of rows, of columns */
    fq_count_of *count[FQ_TYPES];
    fq_words_of *words;
    fq_blocks_of *blocks[FQ_TYPES];
} fq_target;

#endif
