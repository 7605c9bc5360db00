/* The formula of choose_qparams, for many sets: docs/decisions/029-ranges-are-covered.md says why it is as it is. */
#include "choose.h"

#include <float.h>

#include "fpflags.h"

enum { AT_ONCE = 256 };

/* What keeps an end of the range off the tie beyond the last level, relative to the quotient. Casting x and scale to
 * float32, the reciprocal (a subnormal one too) and the product are rounded by 7 * 2**-24 in all. */
static const double MARGIN = 0x1p-21, LARGER = FQ_CHOOSE_LARGER;

/* Up to AT_ONCE sets. */
typedef struct {
    size_t n;
    double low[AT_ONCE], high[AT_ONCE], scale[AT_ONCE], below[AT_ONCE], beyond[AT_ONCE];
} block;

/* To the nearest integer, half to even, for numbers far below 2**51. */
static inline double rounded(double x)
{
    const double shift = 0x1.8p52;
    return x + shift - shift;
}

/* The ranges widened to contain 0.0; says whether any is none. */
static int widen(block *b, const fq_ranges *r, size_t from)
{
    int64_t wrong = 0;
    for (size_t i = 0; i < b->n; i++) {
        const double low = r->low[(from + i) * r->low_step], high = r->high[(from + i) * r->high_step];
        wrong |= !(low >= -DBL_MAX) | !(high <= DBL_MAX) | !(low <= high);
        b->low[i] = low < 0 ? low : 0, b->high[i] = high > 0 ? high : 0;
    }
    return wrong != 0;
}

/* The scale in its type. */
static inline double usable(const fq_grid_kind *kind, double exact, int is_zero)
{
    const double scale = is_zero ? kind->of_zero : exact > kind->least ? exact : kind->least;
    return kind->in_f64 ? scale : (double)(float)scale;
}

/* The largest value is half of all steps away from zero_point. */
static void choose_symmetric(block *b, const fq_grid_kind *kind, double steps)
{
    /* With an odd number of steps the largest value is at a tie, the higher level of which is beyond the last. */
    const int64_t levels = kind->qmax - kind->qmin;
    const double factor = kind->cover && levels % 2 ? LARGER : 1, below = (double)((levels + 1) / 2);
    for (size_t i = 0; i < b->n; i++) {
        const double most = -b->low[i] > b->high[i] ? -b->low[i] : b->high[i];
        b->scale[i] = usable(kind, most / steps * 2 * factor, most == 0);
        b->below[i] = below;
    }
}

/* Divided before they are subtracted, so that the widest range does not overflow. */
static inline double affine_scale(double low, double high, double steps) { return high / steps - low / steps; }

/* How many levels lie below zero_point, and how far the ends of the range are beyond the last levels. */
static void find_levels_below(block *b, double steps)
{
    const double margin = steps * MARGIN;
    for (size_t i = 0; i < b->n; i++) {
        const double down = -b->low[i] / b->scale[i], up = b->high[i] / b->scale[i], below = rounded(down + margin);
        const double beyond = down - below, above = up - (steps - below);
        b->below[i] = below, b->beyond[i] = beyond > above ? beyond : above;
    }
}

static void choose_affine(block *b, const fq_grid_kind *kind, double steps)
{
    for (size_t i = 0; i < b->n; i++) {
        b->scale[i] = usable(kind, affine_scale(b->low[i], b->high[i], steps), b->low[i] == b->high[i]);
    }
    if (!kind->cover) {
        for (size_t i = 0; i < b->n; i++) {
            b->below[i] = rounded(-b->low[i] / b->scale[i]);
        }
        return;
    }
    int any_tight = 0;
    find_levels_below(b, steps);
    for (size_t i = 0; i < b->n; i++) {
        if (b->beyond[i] > 0.5 - steps * MARGIN) { /* within the margin of a tie */
            const double exact = affine_scale(b->low[i], b->high[i], steps);
            b->scale[i] = usable(kind, exact * LARGER, b->low[i] == b->high[i]);
            any_tight = 1;
        }
    }
    if (any_tight) {
        find_levels_below(b, steps);
    }
}

/* Says whether a scale overflows. */
static int store(const block *b, const fq_grid_kind *kind, size_t from, void *scale, int64_t *zero_point)
{
    int wrong = 0;
    for (size_t i = 0; i < b->n; i++) {
        wrong |= !(b->scale[i] <= DBL_MAX);
        zero_point[from + i] = kind->qmin + (int32_t)b->below[i];
    }
    for (size_t i = 0; i < b->n && kind->in_f64; i++) {
        ((double *)scale)[from + i] = b->scale[i];
    }
    for (size_t i = 0; i < b->n && !kind->in_f64; i++) {
        ((float *)scale)[from + i] = (float)b->scale[i];
    }
    return wrong;
}

int fq_choose(const fq_grid_kind *kind, const fq_ranges *ranges, size_t n, void *scale, int64_t *zero_point)
{
    const fq_fpflags flags = fq_fpflags_save();
    const double steps = (double)(kind->qmax - kind->qmin);
    int wrong = 0;
    for (size_t from = 0; from < n && !(wrong & FQ_CHOOSE_NOT_FINITE); from += AT_ONCE) {
        block b;
        b.n = n - from < AT_ONCE ? n - from : AT_ONCE;
        if (widen(&b, ranges, from)) {
            wrong |= FQ_CHOOSE_NOT_FINITE;
            break;
        }
        (kind->symmetric ? choose_symmetric : choose_affine)(&b, kind, steps);
        wrong |= store(&b, kind, from, scale, zero_point) ? FQ_CHOOSE_TOO_WIDE : 0;
    }
    fq_fpflags_restore(flags);
    return wrong;
}
