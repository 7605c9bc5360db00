/* The range to clip to, of each of many sets, from its distribution. */
#ifndef FQ_CLIP_H
#define FQ_CLIP_H

#include "spans.h"

enum { FQ_ENTROPY_MOST_STEPS = 255, FQ_ENTROPY_CELLS = 16 * (FQ_ENTROPY_MOST_STEPS + 1) };

typedef struct {
    int64_t steps; /* of the grid: qmax - qmin */
    int symmetric;
    double share; /* of the values, which a percentile leaves inside: 0 to 1 */
} fq_clip_kind;

/* A range; before the call all of the values of the set lie in it. */
typedef struct {
    double low, high;
} fq_clip_ends;

/* Where a set is worked on: room for its bins, and for fq_spans_of them. */
typedef struct {
    fq_sides sides;
    fq_bin_values bins;
    fq_span *spans;
    double cells[FQ_ENTROPY_CELLS];
} fq_clip_room;

typedef void fq_clip_one(const fq_clip_kind *kind, const fq_bin_values *bins, fq_clip_ends *ends, fq_clip_room *room);

/* The least error of fake quantization; the ends are levels. */
fq_clip_one fq_clip_mse;

/* The share of the values around the median, or of their sizes where symmetric. */
fq_clip_one fq_clip_percentile;

/* The least divergence of the quantized sizes from all sizes; for at most FQ_ENTROPY_MOST_STEPS steps. */
fq_clip_one fq_clip_entropy;

/* Replaces the ends of the range of each set, between which all of its values lie; -1 where memory ran out. */
int fq_clip(fq_clip_one *method, const fq_clip_kind *kind, const fq_seen_bins *from, double *low, double *high);

#endif
