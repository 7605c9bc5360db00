/* The range of values -> the grid that covers it: scale and zero_point as choose_qparams gives them. */
#ifndef FQ_CHOOSE_H
#define FQ_CHOOSE_H

#include <stddef.h>
#include <stdint.h>

/* What is added to a scale that would leave an end of the range at a tie. */
#define FQ_CHOOSE_LARGER (1 + 0x1p-20)

/* What all sets of a call share. */
typedef struct {
    int64_t qmin, qmax;
    int symmetric, cover; /* cover: both ends lie inside; else PyTorch's formula */
    int in_f64;           /* the scale is a float64, else a float32 */
    double least;         /* the scale is at least this one */
    double of_zero;       /* the scale of a range of 0.0 alone */
} fq_grid_kind;

/* The ranges: one for all sets where the step is 0, else one a set (step 1). */
typedef struct {
    const double *low, *high;
    size_t low_step, high_step;
} fq_ranges;

enum {
    FQ_CHOOSE_MOST_BITS = 16,
    FQ_CHOOSE_NOT_FINITE = 1, /* an end is not finite, or low exceeds high */
    FQ_CHOOSE_TOO_WIDE = 2,   /* a scale overflows */
};

/* Writes the scales (float or double) and zero points of n sets, and says what was wrong with any of them: 0 for nothing. */
int fq_choose(const fq_grid_kind *kind, const fq_ranges *ranges, size_t n, void *scale, int64_t *zero_point);

#endif
