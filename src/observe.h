/* What an observer sees of an array: the extremes of each set, and its distribution. All of them are integers, so that they
 * are the same for any order, split and number of threads.
 *
 * A call describes its array by type, data[0], and length, array[0] and sum of each axis: sum is 0 along an axis that is
 * reduced, else the step from a set to the next. Axes of no element are the caller's to leave out. */
#ifndef FQ_OBSERVE_H
#define FQ_OBSERVE_H

#include "plan.h"

enum { FQ_NANS, FQ_ABOVE, FQ_BELOW, FQ_SPECIALS }; /* NaN, inf, -inf */

/* For each set the least and greatest key (keys.h) of its finite elements, and how many of each special kind there are. */
typedef struct {
    int64_t *low, *high; /* INT64_MAX and INT64_MIN without a finite element */
    uint64_t *count[FQ_SPECIALS]; /* start as zeros */
    int special; /* whether any count is not 0 */
} fq_ends;

/* Finds them, in arrays of `sets`. The axes are sorted and joined. */
fq_status fq_find_ends(fq_call *call, size_t sets, fq_ends *to);

/* The values of keys: +0 of both zeros, and infinities where a set has no finite element. */
void fq_values_of_keys(double *to, const int64_t *keys, size_t n, fq_type type);

/* Finite elements counted by the upper bits of their pattern: all 16 of float16 and bfloat16, the upper 16 of float32, and of float64
 * sign, exponent and 7 more. With the sums of the next 16 bits and of their squares, but for the 16-bit types. */
enum { FQ_CELL = 3 }; /* numbers of a bin: count, sum, sum of squares */
static inline size_t fq_cell_of(fq_type type) { return fq_size_of(type) == 2 ? 1 : FQ_CELL; }
static inline size_t fq_keys_of(fq_type type) { return type == FQ_F64 ? (size_t)1 << 19 : (size_t)1 << 16; }

/* Bins that are not empty, set after set, the keys of each ascending. */
typedef struct {
    size_t count, room;
    uint32_t *key;
    uint64_t *cell; /* fq_cell_of numbers a bin */
} fq_bins;

/* Gives the bins in memory from malloc, and how many there are of each set. */
fq_status fq_find_distribution(const fq_call *call, size_t sets, fq_bins *to, int64_t *count);

/* The bins of many sets as an observer keeps them: those of set i are start[i]..start[i + 1]. */
typedef struct {
    fq_type type;
    size_t sets;
    const int64_t *start;
    const uint32_t *key;
    const uint64_t *cell;
    const double *low, *high; /* the least and greatest value of each set */
} fq_seen_bins;

/* Bins in the order of their values: the ends of each, inside of the least and greatest value of its set, how many values
 * lie in it, their sum and the sum of their squares (fq/_bins.py). */
typedef struct {
    size_t n;
    double *lower, *upper, *count, *total, *square;
} fq_bin_values;

/* Writes those of one set, and how many there are. */
void fq_values_of_bins(fq_bin_values *to, const fq_seen_bins *from, size_t set);

/* Adds up the bins of two lists in the order of sets; to has room for all of both. */
void fq_merge_bins(size_t sets, size_t cell, const int64_t *a_start, const fq_bins *a, const int64_t *b_start,
                   const fq_bins *b, int64_t *start, fq_bins *to);

#endif
