/* Searches the grid of least error over a distribution, and finds percentiles.
 *
 * A grid has levels at multiples of its scale s, K of them on each side of zero. The boundary below level q lies at (q - 1/2) s.
 * Let H(t) be the sum of x - t over all sizes x larger than t. Level q then takes 2 s H((q - 1/2) s) off the sum of squared errors,
 * which without any level is the sum of x**2:
 *
 *     error(s, K) = sum of x**2 - 2 s sum over q = 1..K of H((q - 1/2) s)
 *
 * H falls, so that the levels nearer to zero gain more: the best zero point for s leaves equal gains at both ends of the grid. */
#include "clip.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "choose.h"
#include "fpflags.h"
#include "threads.h"

enum { FEW = 511 }; /* steps for which the table of keys reaches down to the first level */

/* One grid for a distribution, in its unit. */
typedef struct {
    double scale;
    int64_t below, above; /* levels on either side of zero */
    double error;         /* the sum of squared errors */
    double clipped;       /* as far as values lie beyond the last levels */
} grid;

typedef struct {
    const fq_sides *sides;
    int64_t steps, below; /* below: -1 where the zero point is free */
    double least;         /* the smallest scale there may be */
    int few;              /* levels, beside the spans: then go from level to level */
} search;

/* What levels take off the error: 2 s a - s**2 b. */
typedef struct {
    double a, b;
} gain;

/* Level after level, up to the first one that no value reaches. */
static gain gain_of_few(const fq_side *side, double scale, int64_t levels)
{
    gain sum = {0, 0};
    for (double q = 1, last = (double)levels; q <= last && (q - 0.5) * scale < side->most; q++) {
        const double t = (q - 0.5) * scale;
        const fq_tail tail = fq_tail_in(fq_span_in(side, t), t);
        sum.a += tail.total, sum.b += (2 * q - 1) * tail.count;
    }
    return sum;
}

/* The sum of H over these boundaries, which is a - scale * b / 2, with less arithmetic. */
static double excess_of_few(const fq_side *side, double scale, int64_t levels)
{
    double sum = 0;
    for (double q = 0.5, last = (double)levels; q < last && q * scale < side->most; q++) {
        const double t = q * scale;
        const fq_span *span = fq_span_in(side, t);
        const double inside = fq_positive(t - span->from);
        sum += span->total - t * span->count + span->density * inside * inside / 2;
    }
    return sum;
}

/* The sum of (q - 1/2)**2 for q = 1..n. */
static inline double squares_to(double n) { return n * (4 * n * n - 1) / 12; }

/* How many boundaries of levels there are up to t, at most so many. */
static inline double boundaries_to(double t, double per_scale, double most)
{
    const double n = t * per_scale + 0.5;
    return n < most ? (double)(int64_t)n : most;
}

/* Span after span, each with all of its boundaries and those in the gap before it. In a gap the tails are constant, in a span that of
 * the count is linear in t and that of the sum quadratic. */
static gain gain_of_many(const fq_side *side, double scale, int64_t levels)
{
    gain sum = {0, 0};
    const double last = (double)levels, per_scale = 1 / scale;
    double before = 0;
    for (size_t i = 0; i < side->n && before < last; i++) {
        const fq_span *span = side->span + i;
        const double from = span->from, d = span->density;
        const double first = boundaries_to(from, per_scale, last), end = boundaries_to(span->to, per_scale, last);
        sum.a += (first - before) * span->total, sum.b += (first * first - before * before) * span->count;
        before = end;
        if (d == 0) {
            continue;
        }
        const double squares = squares_to(end) - squares_to(first);
        sum.a += (end - first) * (span->total + d * from * from / 2) - d / 2 * scale * scale * squares;
        sum.b += (end * end - first * first) * (span->count + d * from) - 2 * d * scale * squares;
    }
    return sum;
}

/* By how much all values beyond t exceed t. */
static double excess(const fq_side *side, double t)
{
    const fq_tail tail = fq_tail_of(side, t);
    return tail.total - t * tail.count;
}

/* The zero point with the least error: one more level below it gains no more than the level that it costs above. */
static int64_t best_below(const search *z, double scale)
{
    int64_t from = 0, to = z->steps;
    while (from < to) {
        const int64_t k = from + (to - from) / 2;
        const double more = excess(&z->sides->below, ((double)k + 0.5) * scale);
        const double less = excess(&z->sides->above, ((double)(z->steps - k) - 0.5) * scale);
        *(more > less ? &from : &to) = more > less ? k + 1 : k;
    }
    return from;
}

static double clipped_at(const fq_side *side, double end)
{
    const fq_tail tail = fq_tail_of(side, end);
    return tail.square - 2 * end * tail.total + end * end * tail.count;
}

static gain gain_of_both(const search *z, const grid *g)
{
    gain (*const of)(const fq_side *, double, int64_t) = z->few ? gain_of_few : gain_of_many;
    const gain below = of(&z->sides->below, g->scale, g->below), above = of(&z->sides->above, g->scale, g->above);
    return (gain){below.a + above.a, below.b + above.b};
}

static grid grid_of(const search *z, double scale)
{
    const fq_side *below = &z->sides->below, *above = &z->sides->above;
    grid g = {.scale = scale, .below = z->below < 0 ? best_below(z, scale) : z->below};
    g.above = z->steps - g.below;
    g.error = below->span[0].square + above->span[0].square;
    if (z->few) {
        g.error -= 2 * scale * (excess_of_few(below, scale, g.below) + excess_of_few(above, scale, g.above));
    }
    else {
        const gain sum = gain_of_both(z, &g);
        g.error += scale * scale * sum.b - 2 * scale * sum.a;
    }
    g.clipped = clipped_at(below, (double)g.below * scale) + clipped_at(above, (double)g.above * scale);
    return g;
}

/* Keeps the better one; says whether it is new. */
static int try_scale(const search *z, double scale, grid *best)
{
    if (!(scale >= z->least)) {
        return 0;
    }
    const grid g = grid_of(z, scale);
    const int better = g.error < best->error;
    *best = better ? g : *best;
    return better;
}

/* The scale that fits the values at their levels never has a larger error. Where all values are at levels, none is left. */
static void fit(const search *z, grid *best)
{
    int better = best->scale > 0;
    for (int i = 0; better && i < 4; i++) {
        const gain sum = gain_of_both(z, best);
        better = sum.b > 0 && try_scale(z, sum.a / sum.b, best);
    }
}

/* Scales from the largest on, as far as clipping alone costs less than the best error. */
static void scan(const search *z, double largest, double ratio, grid *best)
{
    const double smallest = largest * 0x1p-16;
    for (double scale = largest; scale >= z->least && scale > smallest; scale *= ratio) {
        const grid g = grid_of(z, scale);
        *best = g.error < best->error ? g : *best;
        if (g.clipped > best->error) {
            return;
        }
    }
}

/* Scales near the best one. Of n values the curve of the errors is rough, by about 1 / sqrt(n) of the error: scales are tried as far
 * as a smooth curve would rise by as much, and the closer to each other, the fewer the values. */
static void refine(const search *z, grid *best)
{
    const double n = z->sides->below.span[0].count + z->sides->above.span[0].count, from = best->scale;
    const double reach = 0.75 / sqrt(sqrt(n > 1 ? n : 1)), step = sqrt(n < 1024 ? n : 1024) / 2048;
    for (double part = step; part < reach; part += step) {
        try_scale(z, from * (1 - part), best);
        try_scale(z, from * (1 + part), best);
    }
    const double found = best->scale;
    try_scale(z, found * (1 - step / 2), best);
    try_scale(z, found * (1 + step / 2), best);
}

static grid search_all(const search *z)
{
    const double down = z->sides->below.most, up = z->sides->above.most, steps = (double)z->steps;
    const double below = (double)z->below, above = steps - below, most = down > up ? down : up;
    grid best = {.error = INFINITY};
    /* An end of the values at an end of the grid; where values lie on a grid already, one of them hits it. */
    const double exact[] = {z->below < 0 ? (down + up) / steps : 2 * most / steps, z->below < 0 ? 0 : down / below,
                            z->below < 0 || above == 0 ? 0 : up / above};
    for (int i = 0; i < 3; i++) {
        try_scale(z, exact[i], &best);
    }
    /* With a step less, or with the larger side on its last level, nothing is clipped wherever zero lies. */
    const double largest =
        z->below < 0 ? (down + up) / (steps > 1 ? steps - 1 : 1) : 2 * most / (steps > 1 ? steps - 1 : 1);
    scan(z, largest, z->steps < 64 ? 1 - 1.0 / 128 : 1 - 1.0 / 16, &best);
    refine(z, &best);
    fit(z, &best);
    return best;
}

void fq_clip_mse(const fq_clip_kind *kind, const fq_bin_values *bins, fq_clip_ends *ends, fq_clip_room *room)
{
    fq_take_sides(&room->sides, bins, room->spans);
    const double unit = room->sides.unit, larger = kind->steps % 2 ? FQ_CHOOSE_LARGER : 1;
    const size_t spans = room->sides.below.n + room->sides.above.n;
    const search z = {&room->sides, kind->steps, kind->symmetric ? (kind->steps + 1) / 2 : -1, FLT_MIN / unit,
                      kind->steps <= FEW && (size_t)kind->steps < 2 * spans};
    if (spans == 0) {
        return;
    }
    const grid best = search_all(&z);
    if (!(best.scale > 0)) {
        return;
    }
    /* choose_qparams makes this very grid of these ends. */
    const double scale = best.scale * unit, half = scale * (double)kind->steps / 2 / larger;
    const fq_clip_ends found = {kind->symmetric ? -half : 0 - (double)best.below * scale,
                                kind->symmetric ? half : (double)best.above * scale};
    const double most = -ends->low <= FLT_MAX && ends->high <= FLT_MAX ? FLT_MAX : DBL_MAX; /* of the values' type */
    *ends = -found.low <= most && found.high <= most ? found : *ends;
}

/* How many sizes are larger than t; on one side or on both. */
static double larger_than(const fq_side *one, const fq_side *other, double t)
{
    return fq_tail_of(one, t).count + (other ? fq_tail_of(other, t).count : 0);
}

/* The size that so many sizes exceed, by halving the doubles between 0.0 and the largest; within a span, the middle of its share. */
static double size_below(const fq_side *one, const fq_side *other, double tail)
{
    union {
        double f;
        uint64_t u;
    } from = {0}, to = {other && other->most > one->most ? other->most : one->most}, middle;
    while (from.u < to.u) {
        middle.u = from.u + (to.u - from.u) / 2;
        if (larger_than(one, other, middle.f) <= tail + 0.5) {
            to = middle;
        }
        else {
            from.u = middle.u + 1;
        }
    }
    return to.f;
}

static double at_most(double x, double most) { return x < most ? x : most; }

void fq_clip_percentile(const fq_clip_kind *kind, const fq_bin_values *bins, fq_clip_ends *ends, fq_clip_room *room)
{
    static const double ROUNDING = 1 - 0x1p-40; /* 0.999 of 1,000 values are 999 */
    double count = 0;
    for (size_t i = 0; i < bins->n; i++) {
        count += bins->count[i];
    }
    const double tail = count - ceil(count * kind->share * ROUNDING);
    const fq_sides *sides = &room->sides;
    const double most = -ends->low > ends->high ? -ends->low : ends->high;
    if (tail < 1) {
        *ends = kind->symmetric ? (fq_clip_ends){-most, most} : *ends;
        return;
    }
    fq_take_sides(&room->sides, bins, room->spans);
    if (kind->symmetric) {
        ends->high = at_most(size_below(&sides->below, &sides->above, tail) * sides->unit, most);
        ends->low = 0 - ends->high;
        return;
    }
    ends->low = 0 - at_most(size_below(&sides->below, NULL, tail) * sides->unit, 0 - ends->low);
    ends->high = at_most(size_below(&sides->above, NULL, tail) * sides->unit, ends->high);
}

typedef struct {
    fq_clip_one *method;
    const fq_clip_kind *kind;
    const fq_seen_bins *from;
    double *low, *high;
    fq_clip_room **rooms; /* one a piece */
} task;

static void clip_some(void *context, size_t piece, size_t first, size_t end)
{
    const task *c = context;
    fq_clip_room *room = c->rooms[piece];
    const fq_fpflags flags = fq_fpflags_save();
    for (size_t i = first; i < end; i++) {
        fq_clip_ends ends = {c->low[i], c->high[i]};
        fq_values_of_bins(&room->bins, c->from, i);
        c->method(c->kind, &room->bins, &ends, room);
        c->low[i] = ends.low, c->high[i] = ends.high;
    }
    fq_fpflags_restore(flags);
}

static fq_clip_room *new_room(size_t bins)
{
    fq_clip_room *room = malloc(sizeof *room);
    fq_span *spans = room ? malloc(fq_spans_of(bins) * sizeof *spans) : NULL;
    double *values = spans ? malloc(5 * bins * sizeof *values + 1) : NULL;
    if (values == NULL) {
        free(spans);
        free(room);
        return NULL;
    }
    room->spans = spans;
    room->bins = (fq_bin_values){0, values, values + bins, values + 2 * bins, values + 3 * bins, values + 4 * bins};
    return room;
}

static void free_room(fq_clip_room *room)
{
    if (room != NULL) {
        free(room->bins.lower);
        free(room->spans);
        free(room);
    }
}

static size_t most_bins(const fq_seen_bins *from)
{
    int64_t most = 0;
    for (size_t i = 0; i < from->sets; i++) {
        const int64_t n = from->start[i + 1] - from->start[i];
        most = n > most ? n : most;
    }
    return (size_t)most;
}

int fq_clip(fq_clip_one *method, const fq_clip_kind *kind, const fq_seen_bins *from, double *low, double *high)
{
    enum { BINS_A_THREAD = 8192 };
    const size_t sets = from->sets, wanted = fq_pieces((size_t)from->start[sets], BINS_A_THREAD);
    const size_t pieces = sets == 0 ? 1 : wanted < sets ? wanted : sets;
    fq_clip_room **rooms = calloc(pieces, sizeof *rooms);
    int made = rooms != NULL;
    for (size_t i = 0; made && i < pieces; i++) {
        made = (rooms[i] = new_room(most_bins(from))) != NULL;
    }
    if (made) {
        task all = {method, kind, from, low, high, rooms};
        fq_parallel(sets, pieces, clip_some, &all);
    }
    for (size_t i = 0; rooms && i < pieces; i++) {
        free_room(rooms[i]);
    }
    free(rooms);
    return made ? 0 : -1;
}
