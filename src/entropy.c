/* The clip of least divergence: TensorRT's calibration for 8 bits (S. Migacz, "8-bit inference with TensorRT", GTC 2017), over cells
 * that are cut anew for each candidate.
 *
 * For a largest size T that is kept, the sizes from 0 to T are counted in cells, 16 for each level, and those beyond T are added to
 * the last cell: P. Q gives the 16 cells of a level their mean, without what lies beyond T, and leaves empty cells empty. The T with
 * the least divergence of Q from P, sum of P log(P / Q), is taken; the larger one where two are equal. Sizes of 0 take no part:
 * every grid holds 0. TensorRT's cells all have the width of the largest size / 2048, so that one outlier widens them all. */
#include <math.h>
#include <string.h>

#include "clip.h"

enum { A_LEVEL = 16, CANDIDATES = 16 * 24 };

static const double RATIO = 0x1.ea4afa2a490dap-1; /* 2**(-1/16): one candidate to the next */
static const double NOTHING = 1e-9; /* fewer values in a cell are none, but an error of rounding */

/* The natural logarithm of a positive normal number: the same bits wherever it is computed. */
static double log_of(double x)
{
    union {
        double f;
        uint64_t u;
    } bits = {x};
    const double exponent = (double)((int)(bits.u >> 52) - 1023);
    bits.u = (bits.u & (UINT64_MAX >> 12)) | (uint64_t)1023 << 52;
    const double is_large = bits.f > 1.4142135623730951, m = bits.f * (1 - is_large / 2);
    const double t = (m - 1) / (m + 1), u = t * t;
    double sum = 0;
    for (int k = 19; k >= 1; k -= 2) {
        sum = sum * u + 1.0 / k;
    }
    return 2 * t * sum + (exponent + is_large) * 0.69314718055994531;
}

/* Counts the sizes of a side up to `most` in n cells. */
static void add_cells(const fq_side *side, double most, int n, double *cells)
{
    const fq_span *span = side->span;
    const double width = most / n;
    double before = side->span[0].count;
    for (int i = 0; i < n && span->to < INFINITY; i++) {
        const double t = i == n - 1 ? most : width * (i + 1);
        while (span->to <= t) {
            span++;
        }
        const double beyond = fq_tail_in(span, t).count;
        cells[i] += before - beyond;
        before = beyond;
    }
}

/* The cells of one level: their part of sum of P log(P / Q), where `beyond` more lie in the last one; and how many values they hold. */
static double diverged(const double *cells, double beyond, double *held)
{
    double sum = 0, filled = 0, part = 0;
    for (int i = 0; i < A_LEVEL; i++) {
        sum += cells[i] > NOTHING ? cells[i] : 0;
        filled += cells[i] > NOTHING;
    }
    *held += sum;
    if (sum == 0) {
        return beyond > 0 ? INFINITY : 0;
    }
    const double log_mean = log_of(sum / filled);
    for (int i = 0; i < A_LEVEL; i++) {
        const double p = cells[i] + (i == A_LEVEL - 1 ? beyond : 0);
        part += p > NOTHING ? p * (log_of(p) - log_mean) : 0;
    }
    return beyond > 0 && !(cells[A_LEVEL - 1] > NOTHING) ? INFINITY : part;
}

/* The divergence of what a grid with so many levels from 0 to most keeps. */
static double divergence(const fq_sides *sides, double most, int levels, double *cells)
{
    const double all = sides->below.span[0].count + sides->above.span[0].count;
    memset(cells, 0, (size_t)levels * A_LEVEL * sizeof *cells);
    add_cells(&sides->below, most, levels * A_LEVEL, cells);
    add_cells(&sides->above, most, levels * A_LEVEL, cells);
    const double beyond = fq_tail_of(&sides->below, most).count + fq_tail_of(&sides->above, most).count;
    double sum = 0, held = 0;
    for (int i = 0; i < levels; i++) {
        sum += diverged(cells + i * A_LEVEL, i == levels - 1 ? beyond : 0, &held);
    }
    return held > 0 ? sum / all + log_of(held / all) : INFINITY;
}

/* The part of the range that is kept. */
static fq_clip_ends kept(const fq_clip_kind *kind, const fq_clip_ends *ends, double most)
{
    const double low = ends->low < 0 ? -ends->low : 0, high = ends->high > 0 ? ends->high : 0;
    if (kind->symmetric) {
        return (fq_clip_ends){-most, most};
    }
    return (fq_clip_ends){0 - (low < most ? low : most), high < most ? high : most};
}

void fq_clip_entropy(const fq_clip_kind *kind, const fq_bin_values *bins, fq_clip_ends *ends, fq_clip_room *room)
{
    fq_take_sides(&room->sides, bins, room->spans);
    const fq_sides *sides = &room->sides;
    const double all = sides->below.span[0].count + sides->above.span[0].count;
    const double largest = -ends->low > ends->high ? -ends->low : ends->high;
    fq_clip_ends best = kept(kind, ends, largest);
    double least = INFINITY, most = largest;
    for (int i = 0; i < CANDIDATES && all > 0; i++, most *= RATIO) {
        const fq_clip_ends range = kept(kind, ends, most);
        const double levels = ceil(most / (range.high - range.low) * (double)kind->steps - 1e-9),
                     size = most / sides->unit;
        if (fq_tail_of(&sides->below, size).count + fq_tail_of(&sides->above, size).count > all / 4) {
            break;
        }
        const double found = divergence(sides, size, levels < 1 ? 1 : (int)levels, room->cells);
        best = found < least ? range : best;
        least = found < least ? found : least;
    }
    *ends = all > 0 ? best : *ends;
}
