/* PyTorch's fused moving-average observer: ends, moving averages, scale and zero_point, to the last bit. */
#include "observed.h"

#include <float.h>
#include <math.h>

#include "threads.h"

enum {
    LANES = 16,            /* ends that are found side by side */
    GRAIN = 128 * 1024,    /* elements from which a thread of its own gains */
    MOST_PIECES = 64
};

/* The ends of some values, each in LANES parts. `wrong` is not 0 where one of them was NaN or infinite. */
#define RUN(suffix, real, REAL_MAX)                                                                   \
    typedef struct {                                                                                  \
        real low[LANES], high[LANES];                                                                 \
        int wrong[LANES];                                                                             \
    } ends_##suffix;                                                                                  \
                                                                                                      \
    static ends_##suffix start_##suffix(void)                                                         \
    {                                                                                                 \
        ends_##suffix e = {.wrong = {0}};                                                             \
        for (int k = 0; k < LANES; k++) {                                                             \
            e.low[k] = (real)REAL_MAX, e.high[k] = -(real)REAL_MAX;                                   \
        }                                                                                             \
        return e;                                                                                     \
    }                                                                                                 \
                                                                                                      \
    static inline void see_##suffix(ends_##suffix *e, const suffix##_elem *x, size_t n)               \
    {                                                                                                 \
        for (size_t k = 0; k < n; k++) {                                                              \
            const real v = (real)widen_##suffix(x[k]);                                                \
            e->low[k] = v < e->low[k] ? v : e->low[k];                                                \
            e->high[k] = v > e->high[k] ? v : e->high[k];                                             \
            e->wrong[k] |= !(v - v == 0);                                                             \
        }                                                                                             \
    }                                                                                                 \
                                                                                                      \
    static void run_##suffix(const suffix##_elem *x, size_t n, double *low, double *high, int *wrong) \
    {                                                                                                 \
        size_t i = 0;                                                                                 \
        for (; n < LANES && i < n; i++) {                                                             \
            const double v = (double)widen_##suffix(x[i]);                                            \
            *low = v < *low ? v : *low, *high = v > *high ? v : *high, *wrong |= !(v - v == 0);       \
        }                                                                                             \
        if (n < LANES) {                                                                              \
            return;                                                                                   \
        }                                                                                             \
        ends_##suffix e = start_##suffix();                                                           \
        for (; i + LANES <= n; i += LANES) {                                                          \
            see_##suffix(&e, x + i, LANES);                                                           \
        }                                                                                             \
        see_##suffix(&e, x + i, n - i);                                                               \
        for (int k = 0; k < LANES; k++) {                                                             \
            *low = (double)e.low[k] < *low ? (double)e.low[k] : *low;                                 \
            *high = (double)e.high[k] > *high ? (double)e.high[k] : *high;                            \
            *wrong |= e.wrong[k];                                                                     \
        }                                                                                             \
    }

RUN(f16, float, FLT_MAX)
RUN(bf16, float, FLT_MAX)
RUN(f32, float, FLT_MAX)
RUN(f64, double, DBL_MAX)

static void run(const fq_seen *seen, size_t from, size_t n, double *low, double *high, int *wrong)
{
    switch (seen->type) {
    case FQ_F16: run_f16((const f16_elem *)seen->x + from, n, low, high, wrong); break;
    case FQ_BF16: run_bf16((const bf16_elem *)seen->x + from, n, low, high, wrong); break;
    case FQ_F32: run_f32((const f32_elem *)seen->x + from, n, low, high, wrong); break;
    default: run_f64((const f64_elem *)seen->x + from, n, low, high, wrong); break;
    }
}

static int is_range(double low, double high) { return isfinite((float)high - (float)low); }

/* All of x, in pieces a thread each. */
typedef struct {
    const fq_seen *seen;
    double low[MOST_PIECES], high[MOST_PIECES];
    int wrong[MOST_PIECES];
} whole;

static void see_piece(void *context, size_t piece, size_t from, size_t to)
{
    whole *w = context;
    w->low[piece] = DBL_MAX, w->high[piece] = -DBL_MAX, w->wrong[piece] = 0;
    run(w->seen, from, to - from, &w->low[piece], &w->high[piece], &w->wrong[piece]);
}

static int ends_of_all(const fq_seen *seen, float *low, float *high)
{
    whole w;
    const size_t n = seen->outer * seen->inner, wanted = fq_pieces(n, GRAIN);
    const size_t pieces = wanted < MOST_PIECES ? wanted : MOST_PIECES;
    double first = DBL_MAX, last = -DBL_MAX;
    int wrong = 0;
    w.seen = seen;
    fq_parallel(n, pieces, see_piece, &w);
    for (size_t piece = 0; piece < pieces; piece++) {
        first = w.low[piece] < first ? w.low[piece] : first, last = w.high[piece] > last ? w.high[piece] : last;
        wrong |= w.wrong[piece];
    }
    *low = (float)first, *high = (float)last;
    return !wrong && is_range(first, last);
}

/* Some channels, from one to before another. */
typedef struct {
    const fq_seen *seen;
    float *low, *high;
    int wrong[MOST_PIECES];
} parts;

static void see_channels(void *context, size_t piece, size_t from, size_t to)
{
    parts *p = context;
    const fq_seen *seen = p->seen;
    p->wrong[piece] = 0;
    for (size_t c = from; c < to; c++) {
        double low = DBL_MAX, high = -DBL_MAX;
        for (size_t o = 0; o < seen->outer; o++) {
            run(seen, (o * seen->channels + c) * seen->inner, seen->inner, &low, &high, &p->wrong[piece]);
        }
        p->low[c] = (float)low, p->high[c] = (float)high;
        p->wrong[piece] |= !is_range(low, high);
    }
}

int fq_ends(const fq_seen *seen, float *low, float *high)
{
    if (seen->outer > 1 && seen->channels > 1 && seen->inner < LANES) {
        return 0; /* values that lie apart: PyTorch is faster */
    }
    if (seen->channels == 1) {
        return ends_of_all(seen, low, high);
    }
    parts p = {.seen = seen, .low = low, .high = high};
    const size_t channels = seen->channels, of_one = seen->outer * seen->inner;
    size_t pieces = fq_pieces(channels * of_one, GRAIN);
    pieces = pieces < channels ? pieces : channels;
    pieces = pieces < MOST_PIECES ? pieces : MOST_PIECES;
    int wrong = 0;
    fq_parallel(channels, pieces, see_channels, &p);
    for (size_t piece = 0; piece < pieces; piece++) {
        wrong |= p.wrong[piece];
    }
    return !wrong;
}

float fq_moved(float running, float now, float constant)
{
    return isinf(running) ? now : running + constant * (now - running);
}

/* PyTorch takes no scale below this one, so that float16 holds its scales as normal numbers. */
static const float SMALLEST = 6.1e-5f;

/* A range about zero that ends on levels as far from the middle one. */
static void make_symmetric(float *min, float *max, int32_t qmin, int32_t qmax)
{
    const int32_t half = (qmax - qmin) / 2;
    const float below = fabsf(*min / (float)-(half + 1)), above = fabsf(*max / (float)half);
    const double step = (double)(below < above ? above : below);
    *min = (float)(step * -(half + 1)), *max = (float)(step * half);
}

/* The range for the smallest scale, in place of one for this scale. */
static void widen(float *min, float *max, float scale, float levels)
{
    if (*min == 0) {
        *max = SMALLEST * levels;
    }
    else if (*max == 0) {
        *min = -SMALLEST * levels;
    }
    else {
        *min *= SMALLEST / scale, *max *= SMALLEST / scale;
    }
}

int fq_torch_qparams(float min, float max, const fq_levels *levels, float *scale, int32_t *zero_point)
{
    const int32_t qmin = levels->qmin, qmax = levels->qmax;
    if (!(min <= max) || qmin >= qmax) {
        return 0;
    }
    if (min < 0 && max > 0 && levels->symmetric) {
        make_symmetric(&min, &max, qmin, qmax);
    }
    min = min < 0 ? min : 0, max = max > 0 ? max : 0;
    double step = ((double)max - (double)min) / (qmax - qmin);
    step = (float)step == 0 || isinf(1 / (float)step) ? 0.1 : step;
    step = levels->by_fbgemm ? (double)(float)step : step;
    if (!(step > 0)) {
        return 0;
    }
    if (step < (double)SMALLEST) {
        widen(&min, &max, (float)step, (float)(qmax - qmin));
        step = (double)SMALLEST;
    }
    const double below = (double)min / step, above = (double)max / step, sign = levels->by_fbgemm ? 1 : -1;
    const int from_min = fabs((double)qmin) + sign * fabs(below) < fabs((double)qmax) + sign * fabs(above);
    double level = from_min ? qmin - below : qmax - above;
    if (min < 0 && max > 0 && levels->symmetric) {
        level = (double)(qmin + qmax) / 2;
    }
    *scale = (float)step;
    *zero_point = level < qmin ? qmin : level > qmax ? qmax : (int32_t)nearbyint(level);
    return 1;
}
