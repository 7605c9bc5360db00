/* The bins of a distribution as spans: each has the mean of its bin and, as far as it fits, its variance. */
#include "spans.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const double NARROW = 0x1p-20; /* relative to its values, a span of this width is a point */

static inline double lesser(double a, double b) { return a < b ? a : b; }

/* The span of bin i by the sizes of its values, in units; it holds its own sums. The span has the mean of the bin, and its variance
 * as far as the bin is wide enough. Where sums overflow float64, the values are taken to be even. Says whether it is beyond zero. */
static inline int span_of(fq_span *span, const fq_bin_values *bins, size_t i, double sign, double per_unit)
{
    const double a = sign * bins->lower[i] * per_unit, b = sign * bins->upper[i] * per_unit, count = bins->count[i];
    const double least = a < b ? a : b, most = a < b ? b : a, each = 1 / count;
    const double total = sign * bins->total[i] * per_unit, square = bins->square[i] * per_unit * per_unit;
    const double found = fabs(total) <= DBL_MAX ? total * each : (least + most) / 2;
    const double mean = found < least ? least : found > most ? most : found;
    const double even = (most - least) * (most - least) / 12,
                 variance = square <= DBL_MAX ? square * each - mean * mean : even;
    const double half = lesser(sqrt(variance > 0 ? 3 * variance : 0), lesser(mean - least, most - mean));
    const double wide = (double)!(half <= NARROW * mean); /* 0: a point; no branch that data decide */
    span->from = mean - wide * half, span->to = mean + wide * half;
    span->density = wide * count / (2 * (wide * half + (1 - wide)));
    span->count = count, span->total = count * mean,
    span->square = count * (mean * mean + (variance > 0 ? variance : 0));
    return mean > 0;
}

static void fill_keys(fq_side *side)
{
    const uint64_t most = fq_key_of(side->most), least = side->n > 0 ? fq_key_of(side->span[0].to) : 0;
    side->least_key = most - least < FQ_KEYS ? least : most - (FQ_KEYS - 1);
    side->keys = (int64_t)(most - side->least_key) + 1, side->a_key = 1;
    memset(side->first, 0, (size_t)(side->keys + 1) * sizeof *side->first);
    for (size_t i = 0; i < side->n; i++) {
        const uint64_t key = fq_key_of(side->span[i].to);
        side->first[key < side->least_key ? 0 : key - side->least_key + 1] = (uint32_t)i + 1;
    }
    for (int64_t k = 1; k <= side->keys; k++) {
        const uint32_t before = side->first[k - 1], now = side->first[k] > before ? side->first[k] : before;
        side->first[k] = now;
        side->a_key = (int)(now - before) > side->a_key ? (int)(now - before) : side->a_key;
    }
}

/* Gives the side its n spans, each of which holds its own sums. */
static void take(fq_side *side, fq_span *spans, size_t n)
{
    side->span = spans, side->n = n;
    side->most = n > 0 ? spans[n - 1].to : 0;
    spans[n] = (fq_span){.from = 0, .to = INFINITY};
    for (size_t i = n; i-- > 0;) {
        spans[i].count += spans[i + 1].count;
        spans[i].total += spans[i + 1].total;
        spans[i].square += spans[i + 1].square;
    }
    fill_keys(side);
}

/* A power of two not far from the largest size, none that makes float32's smallest scale overflow. */
static double unit_of(const fq_bin_values *bins)
{
    const double low = -bins->lower[0], high = bins->upper[bins->n - 1], most = low > high ? low : high;
    int exponent;
    frexp(most, &exponent);
    return ldexp(1, exponent < -140 ? -140 : exponent - 1);
}

void fq_take_sides(fq_sides *sides, const fq_bin_values *bins, fq_span *room)
{
    size_t n = 0, negative = 0;
    sides->unit = bins->n > 0 ? unit_of(bins) : 1;
    const double per_unit = 1 / sides->unit;
    while (negative < bins->n && bins->lower[negative] < 0) {
        negative++;
    }
    for (size_t i = negative; i-- > 0;) {
        n += (size_t)span_of(room + n, bins, i, -1, per_unit);
    }
    take(&sides->below, room, n);
    room += n + 1, n = 0;
    for (size_t i = negative; i < bins->n; i++) {
        n += (size_t)span_of(room + n, bins, i, 1, per_unit);
    }
    take(&sides->above, room, n);
}
