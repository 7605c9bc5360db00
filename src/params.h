/* Reads and checks the parameters of a call and makes them what the kernels want. */
#ifndef FQ_PARAMS_H
#define FQ_PARAMS_H

#include "fq.h"

typedef enum {
    FQ_OK,
    FQ_BAD_SCALE,
    FQ_BAD_RECIPROCAL,
    FQ_BAD_RANGE,
    FQ_BAD_ZERO_POINT,
    FQ_BAD_LEVELS,
    FQ_BAD_RESIDUAL,
    FQ_BAD_MANTISSA_BITS,
    FQ_BAD_MIN_EXPONENT,
    FQ_BAD_MAX,
    FQ_BAD_REACH,
    FQ_NO_MEMORY
} fq_status;

/* The parameters as the caller gave them: scale is a float (a double for float64), and so is max; signed_zero is a byte, the others
 * are int64. */
typedef struct {
    const char *data[FQ_PARAMETERS];
    ptrdiff_t step[FQ_PARAMETERS]; /* in bytes, from a set to the next */
} fq_given;

/* One set of values, and where they stand: the message of an error tells both. */
typedef struct {
    double scale, max;
    int64_t zero_point, qmin, qmax, mantissa_bits, min_exponent;
    int signed_zero;
    const char *at[FQ_PARAMETERS];
} fq_values;

enum { FQ_FEW_SETS = 16 }; /* also the most lanes of a vector, which a kernel reads whole */

/* What a call computes with: in float64 or float32, by x / scale or by x * (1 / scale). */
typedef struct {
    uint8_t in_f64;
    uint8_t reciprocal;
    uint8_t integers; /* whether kernels want the zero points too */
    uint8_t residual; /* whether residuals stand for x: levels must lie nearer to zero_point */
    uint8_t format; /* whether the grid is that of a float format */
} fq_arithmetic;

/* Some sets of parameters, made ready in memory that the plan reserved. */
typedef struct {
    size_t from, n, most; /* sets: which are ready, how many, and how many there is room for */
    int fast;             /* whether DIVIDE_FAST serves all that are ready */
    fq_ready at;
    char *as_given[FQ_PARAMETERS]; /* room for FQ_CHUNK values, or `most` where that is less */
    const char *filled[FQ_PARAMETERS]; /* the value that as_given holds throughout, or NULL */
    const char *levels[FQ_PARAMETERS]; /* the three levels that lo and hi hold throughout, or NULL */
} fq_room;

/* Bytes that a room for so many sets takes, a multiple of CACHE_LINE. most: a multiple of FQ_FEW_SETS. */
size_t fq_room_size(size_t most);

/* Makes an empty room in memory of that size. */
void fq_start_room(fq_room *room, void *memory, size_t most, fq_arithmetic arithmetic);

/* Makes sets [from, from + n) ready, n <= most; inv is left out where each element has a set and x is divided by scale. On an
 * error *bad holds the values refused. */
fq_status fq_make_ready(fq_room *room, const fq_given *given, size_t from, size_t n, fq_arithmetic arithmetic, int each,
                        fq_values *bad);

static inline fq_ready fq_skip_sets(fq_ready sets, size_t count, fq_arithmetic arithmetic)
{
    const size_t by = count * (arithmetic.in_f64 ? sizeof(double) : sizeof(float));
    return (fq_ready){(char *)sets.scale + by, (char *)sets.inv + by, (char *)sets.lo + by, (char *)sets.hi + by};
}

/* A set, as far as a reduction wants it. */
typedef struct {
    double scale, lo, hi, unit; /* unit: of the residuals that a learnable backward sums */
} fq_set;

static inline fq_set fq_set_at(fq_ready sets, size_t i, fq_arithmetic arithmetic)
{
    if (arithmetic.in_f64) {
        const double scale = ((const double *)sets.scale)[i];
        return (fq_set){scale, ((const double *)sets.lo)[i], ((const double *)sets.hi)[i],
                        scale * fq_normalizer(scale)};
    }
    const double scale = (double)((const float *)sets.scale)[i];
    return (fq_set){scale, (double)((const float *)sets.lo)[i], (double)((const float *)sets.hi)[i], scale};
}

/* Makes one set ready, and finds the way for rows with it; data: the values. Errors as fq_make_ready. */
fq_status fq_make_one(const fq_ready *to, fq_way *way, const char *const *data, fq_arithmetic arithmetic,
                      fq_values *bad);

/* The way for rows with any of the sets in the room. */
fq_way fq_way_of(const fq_room *room, fq_arithmetic arithmetic);

#endif
