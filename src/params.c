/* The checks of scale, zero_point, qmin and qmax, and the levels relative to zero_point. */
#include "params.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dispatch.h"
#include "strided.h"

static fq_values values_at(const fq_given *given, size_t i, int in_f64)
{
    const ptrdiff_t k = (ptrdiff_t)i;
    fq_values v;
    if (in_f64) {
        memcpy(&v.scale, given->scale + k * given->scale_step, sizeof v.scale);
    }
    else {
        float scale;
        memcpy(&scale, given->scale + k * given->scale_step, sizeof scale);
        v.scale = (double)scale;
    }
    memcpy(&v.zero_point, given->zero_point + k * given->zero_point_step, sizeof v.zero_point);
    memcpy(&v.qmin, given->qmin + k * given->qmin_step, sizeof v.qmin);
    memcpy(&v.qmax, given->qmax + k * given->qmax_step, sizeof v.qmax);
    return v;
}

static double reciprocal(double scale, int in_f64) { return in_f64 ? 1 / scale : (double)(1 / (float)scale); }

/* The differences are taken without a sign, since they can exceed int64. */
static fq_status check(const fq_values *v, fq_arithmetic arithmetic)
{
    const uint64_t exact = UINT64_C(1) << (arithmetic.in_f64 ? 53 : 24);
    if (!(v->scale > 0 && v->scale < (double)INFINITY)) {
        return FQ_BAD_SCALE;
    }
    if (arithmetic.reciprocal && isinf(reciprocal(v->scale, arithmetic.in_f64))) {
        return FQ_BAD_RECIPROCAL;
    }
    if (v->qmin > v->qmax) {
        return FQ_BAD_RANGE;
    }
    if (v->zero_point < v->qmin || v->zero_point > v->qmax) {
        return FQ_BAD_ZERO_POINT;
    }
    if ((uint64_t)v->zero_point - (uint64_t)v->qmin > exact || (uint64_t)v->qmax - (uint64_t)v->zero_point > exact) {
        return FQ_BAD_LEVELS;
    }
    return FQ_OK;
}

void fq_describe_refused(char *text, size_t size, fq_status status, const fq_values *bad, fq_type type)
{
    const int in_f64 = type == FQ_F64;
    const char *computed_in = in_f64 ? "float64" : "float32";
    const int digits = in_f64 ? 17 : 9;
    switch (status) {
    case FQ_BAD_SCALE:
        snprintf(text, size, "scale must be positive and finite in %s, got %.*g", computed_in, digits, bad->scale);
        break;
    case FQ_BAD_RECIPROCAL:
        snprintf(text, size, "1 / scale must be finite in %s, got scale %.*g", computed_in, digits, bad->scale);
        break;
    case FQ_BAD_RANGE:
        snprintf(text, size, "qmin must not exceed qmax, got qmin %" PRId64 " and qmax %" PRId64, bad->qmin, bad->qmax);
        break;
    case FQ_BAD_ZERO_POINT:
        snprintf(text, size, "zero_point must lie within [qmin, qmax] = [%" PRId64 ", %" PRId64 "], got %" PRId64,
                 bad->qmin, bad->qmax, bad->zero_point);
        break;
    default:
        snprintf(text, size,
                 "every level minus zero_point must be exact in %s (at most %s), got qmin %" PRId64
                 ", zero_point %" PRId64 " and qmax %" PRId64,
                 computed_in, in_f64 ? "2**53" : "2**24", bad->qmin, bad->zero_point, bad->qmax);
    }
}

int fq_can_divide_fast(double scale, int in_f64)
{
    return in_f64 ? scale >= 0x1p-900 && scale <= 0x1p900 : scale >= 0x1p-90 && scale <= 0x1p90;
}

static fq_way way_of(double scale, fq_arithmetic arithmetic)
{
    const int gains = arithmetic.in_f64 || !fq_divides();
    return arithmetic.reciprocal                                   ? FQ_MULTIPLY
           : gains && fq_can_divide_fast(scale, arithmetic.in_f64) ? FQ_DIVIDE_FAST
                                                                   : FQ_DIVIDE;
}

fq_status fq_params_of_all(fq_params *p, fq_way *way, const fq_given *given, fq_arithmetic arithmetic, fq_values *bad)
{
    const int in_f64 = arithmetic.in_f64;
    const fq_values v = values_at(given, 0, in_f64);
    const fq_status status = check(&v, arithmetic);
    if (status != FQ_OK) {
        *bad = v;
        return status;
    }
    p->scale = v.scale, p->inv = reciprocal(v.scale, in_f64);
    p->lo = (double)(v.qmin - v.zero_point), p->hi = (double)(v.qmax - v.zero_point);
    *way = way_of(v.scale, arithmetic);
    return FQ_OK;
}

/* The n values from element `from` on, in *buffer unless they already lie without gaps. */
static const void *without_gaps(void *buffer, int filled, const char *data, ptrdiff_t step, size_t size, size_t from,
                                size_t n)
{
    const char *start = data + (ptrdiff_t)from * step;
    if (step == (ptrdiff_t)size) {
        return start;
    }
    if (step != 0) {
        fq_copy_strided(buffer, (ptrdiff_t)size, start, step, size, n);
    }
    else if (!filled) {
        fq_copy_strided(buffer, (ptrdiff_t)size, data, 0, size, n); /* no later chunk is longer */
    }
    return buffer;
}

static fq_status first_refused(const fq_given *given, size_t from, size_t n, fq_arithmetic arithmetic, fq_values *bad)
{
    for (size_t i = from; i < from + n; i++) {
        *bad = values_at(given, i, arithmetic.in_f64);
        const fq_status status = check(bad, arithmetic);
        if (status != FQ_OK) {
            return status;
        }
    }
    return FQ_OK;
}

fq_status fq_params_of_each(fq_params *p, fq_room *room, const fq_given *given, size_t from, size_t n,
                            fq_arithmetic arithmetic, fq_values *bad)
{
    const size_t of_scale = arithmetic.in_f64 ? sizeof(double) : sizeof(float), of_level = sizeof(int64_t);
    const int filled = room->filled;
    const fq_contiguous all = {
        without_gaps(room->scale, filled, given->scale, given->scale_step, of_scale, from, n),
        without_gaps(room->zero_point, filled, given->zero_point, given->zero_point_step, of_level, from, n),
        without_gaps(room->qmin, filled, given->qmin, given->qmin_step, of_level, from, n),
        without_gaps(room->qmax, filled, given->qmax, given->qmax_step, of_level, from, n),
    };
    fq_each *each = &room->each;
    room->filled = 1;
    if (fq_target_in_use()->make_each[arithmetic.in_f64](each, &all, n, arithmetic.reciprocal)) {
        const fq_status status = first_refused(given, from, n, arithmetic, bad);
        if (status != FQ_OK) {
            return status;
        }
    }
    *p = arithmetic.in_f64
             ? (fq_params){.scales = each->f64.scale, .invs = each->f64.inv, .los = each->f64.lo, .his = each->f64.hi}
             : (fq_params){.scales = each->f32.scale, .invs = each->f32.inv, .los = each->f32.lo, .his = each->f32.hi};
    return FQ_OK;
}
