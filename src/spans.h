/* A distribution, known by its bins, as spans of constant density on either side of zero; and sums beyond any value. */
#ifndef FQ_SPANS_H
#define FQ_SPANS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "observe.h"

/* Values from..to lie at this density; where both are equal, all lie there. The sums are those of this span and of all that
 * follow: how many values, their sum and the sum of their squares. */
typedef struct {
    double from, to, density, count, total, square;
} fq_span;

enum { FQ_OCTAVE = 128, FQ_KEYS = 28 * FQ_OCTAVE + 1 };

/* The sizes of the values on one side of zero, in ascending order; behind the last span lies one at infinity. */
typedef struct {
    fq_span *span;
    size_t n;
    double most;
    uint64_t least_key;
    int64_t keys; /* of the table */
    int a_key; /* spans with the same key, at most */
    uint32_t
        first[FQ_KEYS + 1]; /* by key of a size, less the least one: how many spans end at a smaller key; at last all */
} fq_side;

/* Both sides, all sizes divided by unit, a power of two that keeps squares finite. */
typedef struct {
    double unit;
    fq_side below, above;
} fq_sides;

/* How many spans the two sides of n bins may take. */
static inline size_t fq_spans_of(size_t n) { return n + 2; }

/* room: fq_spans_of(bins->n) spans. */
void fq_take_sides(fq_sides *sides, const fq_bin_values *bins, fq_span *room);

/* Seven bits of the mantissa: the bins of an observer. */
static inline uint64_t fq_key_of(double size)
{
    union {
        double f;
        uint64_t u;
    } bits = {size};
    return bits.u >> 45;
}

/* The first span that ends beyond t, which is no smaller than the table of keys reaches; without a branch that data decide. */
static inline const fq_span *fq_span_in(const fq_side *side, double t)
{
    const int64_t key = (int64_t)(fq_key_of(t) - side->least_key), keys = side->keys;
    size_t i = side->first[key < 0 ? 0 : key < keys ? key : keys];
    for (int step = 0; step < side->a_key; step++) {
        i += side->span[i].to <= t;
    }
    return side->span + i;
}

/* The same for any t. */
static inline const fq_span *fq_span_at(const fq_side *side, double t)
{
    if (side->n == 0 || side->first[0] == 0 || fq_key_of(t) >= side->least_key) {
        return fq_span_in(side, t);
    }
    const fq_span *s = side->span;
    while (s->to <= t) {
        s++;
    }
    return s;
}

/* How many values are larger than t, their sum, and the sum of their squares. */
typedef struct {
    double count, total, square;
} fq_tail;

/* x or 0, without a branch. */
static inline double fq_positive(double x) { return (x + fabs(x)) / 2; }

/* The tail in a span, or in the gap before it. */
static inline fq_tail fq_tail_in(const fq_span *s, double t)
{
    const double f = s->from, d = s->density * fq_positive(t - f);
    return (fq_tail){s->count - d, s->total - d * (t + f) / 2, s->square - d * (t * t + t * f + f * f) / 3};
}

static inline fq_tail fq_tail_of(const fq_side *side, double t) { return fq_tail_in(fq_span_at(side, t), t); }

#endif
