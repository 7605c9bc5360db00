/* What PyTorch's fused moving-average observer keeps, to the last bit: ends of x, their moving average, scale and zero_point. */
#ifndef FQ_OBSERVED_H
#define FQ_OBSERVED_H

#include <stddef.h>
#include <stdint.h>

#include "types.h"

/* x without gaps, as outer * channels * inner elements; channels is 1 for all of x. */
typedef struct {
    const void *x;
    fq_type type;
    size_t outer, channels, inner;
} fq_seen;

/* The smallest and the largest value of each channel. 0 where x has NaN or an infinity, or a range beyond float32. */
int fq_ends(const fq_seen *seen, float *low, float *high);

/* A running end, moved towards a new one; an infinite one is replaced. */
float fq_moved(float running, float now, float constant);

/* The grid that a range is for. */
typedef struct {
    int32_t qmin, qmax;
    int symmetric;
    int by_fbgemm; /* whether this PyTorch finds zero_point as FBGEMM does, with scale as a float and from the end whose terms are
                    * smaller; else as PyTorch does where it is built without FBGEMM */
} fq_levels;

/* scale and zero_point of a range; 0 where PyTorch refuses the range. */
int fq_torch_qparams(float min, float max, const fq_levels *levels, float *scale, int32_t *zero_point);

#endif
