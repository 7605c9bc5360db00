/* The checks of scale, zero_point, qmin and qmax, and the levels relative to zero_point. */
#include "params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "formats.h"
#include "strided.h"

static const char *at(const fq_given *given, int k, size_t i) { return given->data[k] + (ptrdiff_t)i * given->step[k]; }

static double float_at(const char *from, int in_f64)
{
    float narrow;
    double wide;
    memcpy(&narrow, from, sizeof narrow);
    if (!in_f64) {
        return (double)narrow;
    }
    memcpy(&wide, from, sizeof wide);
    return wide;
}

static void read_format(fq_values *v, int in_f64)
{
    memcpy(&v->mantissa_bits, v->at[1], sizeof v->mantissa_bits);
    memcpy(&v->min_exponent, v->at[2], sizeof v->min_exponent);
    v->max = float_at(v->at[3], in_f64);
    v->signed_zero = *v->at[4] != 0;
}

static fq_values values_at(const fq_given *given, size_t i, fq_arithmetic arithmetic)
{
    fq_values v = {.max = 0};
    for (int k = 0; k < (arithmetic.format ? FQ_PARAMETERS : FQ_PARAMETERS - 1); k++) {
        v.at[k] = at(given, k, i);
    }
    v.scale = float_at(v.at[0], arithmetic.in_f64);
    if (arithmetic.format) {
        read_format(&v, arithmetic.in_f64);
        return v;
    }
    memcpy(&v.zero_point, v.at[1], sizeof v.zero_point);
    memcpy(&v.qmin, v.at[2], sizeof v.qmin);
    memcpy(&v.qmax, v.at[3], sizeof v.qmax);
    return v;
}

static double reciprocal(double scale, int in_f64) { return in_f64 ? 1 / scale : (double)(1 / (float)scale); }

/* How far a level may lie from zero_point: all integers up to there are exact. Half an ulp of a quotient there is a step of a
 * code of 8 bits, or less. */
static uint64_t furthest_level(fq_arithmetic arithmetic)
{
    return UINT64_C(1) << ((arithmetic.in_f64 ? 53 : 24) - (arithmetic.residual ? 9 : 0));
}

/* The differences are taken without a sign, since they can exceed int64. */
static fq_status check(const fq_values *v, fq_arithmetic arithmetic)
{
    const uint64_t below = (uint64_t)v->zero_point - (uint64_t)v->qmin;
    const uint64_t above = (uint64_t)v->qmax - (uint64_t)v->zero_point, furthest = furthest_level(arithmetic);
    if (!(v->scale > 0 && v->scale < (double)INFINITY)) {
        return FQ_BAD_SCALE;
    }
    if (arithmetic.format) {
        return fq_check_format(v, arithmetic.in_f64);
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
    if (below > furthest || above > furthest) {
        return arithmetic.residual ? FQ_BAD_RESIDUAL : FQ_BAD_LEVELS;
    }
    return FQ_OK;
}

/* The n values of a parameter from this set on, in as_given unless they already lie without gaps. One that all sets share is
 * written once. */
static const void *without_gaps(fq_room *room, const fq_given *given, int k, size_t size, size_t from, size_t n)
{
    const char *start = at(given, k, from);
    if (given->step[k] == (ptrdiff_t)size || n == 1) {
        return start;
    }
    if (given->step[k] != 0) {
        room->filled[k] = NULL;
        fq_copy_strided(room->as_given[k], (ptrdiff_t)size, start, given->step[k], size, n);
    }
    else if (room->filled[k] != start) {
        room->filled[k] = start;
        fq_copy_strided(room->as_given[k], (ptrdiff_t)size, start, 0, size,
                        room->most < FQ_CHUNK ? room->most : FQ_CHUNK);
    }
    return room->as_given[k];
}

static fq_status first_refused(const fq_given *given, size_t from, size_t n, fq_arithmetic arithmetic, fq_values *bad)
{
    for (size_t i = from; i < from + n; i++) {
        *bad = values_at(given, i, arithmetic);
        const fq_status status = check(bad, arithmetic);
        if (status != FQ_OK) {
            return status;
        }
    }
    return FQ_OK;
}

enum { MEMBERS = 5 }; /* arrays of fq_ready, and the zero points */

static size_t chunk_of(size_t most) { return most < FQ_CHUNK ? most : FQ_CHUNK; }

size_t fq_room_size(size_t most) { return (MEMBERS * most + FQ_PARAMETERS * chunk_of(most)) * sizeof(double); }

void fq_start_room(fq_room *room, void *memory, size_t most, fq_arithmetic arithmetic)
{
    char *values = (char *)memory + MEMBERS * most * sizeof(double);
    room->n = room->from = 0, room->most = most, room->fast = 1;
    room->at = (fq_ready){memory, NULL, NULL, NULL};
    const size_t all = most * (arithmetic.in_f64 ? sizeof(double) : sizeof(float));
    room->at.inv = (char *)memory + all, room->at.lo = (char *)memory + 2 * all, room->at.hi = (char *)memory + 3 * all;
    for (int k = 0; k < FQ_PARAMETERS; k++) {
        room->as_given[k] = values + (size_t)k * chunk_of(most) * sizeof(double);
        room->filled[k] = room->levels[k] = NULL;
    }
}

/* Writes n times this value. */
static void fill(void *array, double value, size_t n, int in_f64)
{
    for (size_t i = 0; in_f64 && i < n; i++) {
        ((double *)array)[i] = value;
    }
    for (size_t i = 0; !in_f64 && i < n; i++) {
        ((float *)array)[i] = (float)value;
    }
}

/* The levels less zero_point, which are exact. */
static void make_levels(const fq_ready *to, const fq_values *v, size_t n, int in_f64)
{
    fill(to->lo, -(double)((uint64_t)v->zero_point - (uint64_t)v->qmin), n, in_f64);
    fill(to->hi, (double)((uint64_t)v->qmax - (uint64_t)v->zero_point), n, in_f64);
}

static void make_zero_points(const fq_ready *sets, size_t from, const int64_t *zero_point, ptrdiff_t step, size_t n,
                             int in_f64)
{
    void *const to = fq_zero_points(*sets);
    for (size_t i = 0; i < n; i++) {
        const int64_t value = zero_point[(ptrdiff_t)i * step];
        in_f64 ? (void)(((double *)to)[from + i] = (double)value) : (void)(((int32_t *)to)[from + i] = (int32_t)value);
    }
}

static void make_format(const fq_ready *to, const fq_values *v, int in_f64)
{
    const int64_t code = fq_format_code(v->min_exponent, v->mantissa_bits, v->signed_zero);
    fill(to->lo, fq_beyond_format(v), 1, in_f64), fill(to->hi, v->max, 1, in_f64);
    make_zero_points(to, 0, &code, 0, 1, in_f64);
}

static fq_status make_one(const fq_ready *to, int *fast, const fq_given *given, size_t i, fq_arithmetic arithmetic,
                          fq_values *bad)
{
    const int in_f64 = arithmetic.in_f64;
    const fq_values v = values_at(given, i, arithmetic);
    const fq_status status = check(&v, arithmetic);
    if (status != FQ_OK) {
        *bad = v;
        return status;
    }
    fill(to->scale, v.scale, 1, in_f64), fill(to->inv, reciprocal(v.scale, in_f64), 1, in_f64);
    arithmetic.format ? make_format(to, &v, in_f64) : make_levels(to, &v, 1, in_f64);
    if (arithmetic.integers) {
        make_zero_points(to, 0, &v.zero_point, 0, 1, in_f64);
    }
    *fast = in_f64 ? v.scale >= FQ_FAST_FROM_F64 && v.scale <= FQ_FAST_TO_F64
                   : v.scale >= FQ_FAST_FROM_F32 && v.scale <= FQ_FAST_TO_F32;
    return FQ_OK;
}

/* Makes lo and hi throughout, once, where all sets share their levels: afterwards the scales alone differ. */
static int share_levels(fq_room *room, const fq_given *given, size_t from, fq_arithmetic arithmetic)
{
    if (given->step[1] != 0 || given->step[2] != 0 || given->step[3] != 0) {
        return 0;
    }
    if (memcmp(&room->levels[1], &given->data[1], 3 * sizeof *given->data) != 0) {
        const fq_values v = values_at(given, from, arithmetic);
        if (check(&v, arithmetic) != FQ_OK) {
            return 0;
        }
        make_levels(&room->at, &v, room->most, arithmetic.in_f64);
        if (arithmetic.integers) {
            make_zero_points(&room->at, 0, &v.zero_point, 0, room->most, arithmetic.in_f64);
        }
        memcpy(room->levels, given->data, sizeof room->levels);
    }
    return 1;
}

/* Each set by itself. */
static fq_status make_formats(fq_room *room, const fq_given *given, size_t from, size_t n, fq_arithmetic arithmetic,
                              fq_values *bad)
{
    fq_status status = FQ_OK;
    room->fast = 1;
    for (size_t i = 0; i < n && status == FQ_OK; i++) {
        const fq_ready to = fq_skip_sets(room->at, i, arithmetic);
        int fast = 0;
        status = make_one(&to, &fast, given, from + i, arithmetic, bad);
        room->fast &= fast;
    }
    return status;
}

fq_status fq_make_ready(fq_room *room, const fq_given *given, size_t from, size_t n, fq_arithmetic arithmetic, int each,
                        fq_values *bad)
{
    const size_t of_scale = arithmetic.in_f64 ? sizeof(double) : sizeof(float), of_level = sizeof(int64_t);
    room->from = from, room->n = n;
    if (n == 1) {
        room->levels[1] = NULL;
        return make_one(&room->at, &room->fast, given, from, arithmetic, bad);
    }
    if (arithmetic.format) {
        return make_formats(room, given, from, n, arithmetic, bad);
    }
    const int shared = share_levels(room, given, from, arithmetic);
    int found = 0;
    room->levels[1] = shared ? room->levels[1] : NULL;
    for (size_t i = 0, some; i < n; i += some) {
        some = n - i < FQ_CHUNK ? n - i : FQ_CHUNK;
        fq_contiguous all = {.scale = without_gaps(room, given, 0, of_scale, from + i, some)};
        if (!shared) {
            all.zero_point = without_gaps(room, given, 1, of_level, from + i, some);
            all.qmin = without_gaps(room, given, 2, of_level, from + i, some);
            all.qmax = without_gaps(room, given, 3, of_level, from + i, some);
        }
        fq_ready to = fq_skip_sets(room->at, i, arithmetic);
        to.inv = each && !arithmetic.reciprocal ? NULL : to.inv;
        found |= fq_target_in_use()->make_each[arithmetic.in_f64](&to, &all, some, arithmetic.reciprocal,
                                                                  furthest_level(arithmetic));
        if (found & FQ_REFUSED) {
            return first_refused(given, from + i, some, arithmetic, bad);
        }
        if (arithmetic.integers && !shared) {
            make_zero_points(&room->at, i, all.zero_point, 1, some, arithmetic.in_f64);
        }
    }
    room->fast = !(found & FQ_NOT_FAST);
    return FQ_OK;
}

static fq_way way_of(int fast, fq_arithmetic arithmetic)
{
    const int gains =
        arithmetic.in_f64 || arithmetic.integers || !fq_divides(); /* integers: by bounds of the quotient */
    return arithmetic.reciprocal ? FQ_MULTIPLY : gains && fast ? FQ_DIVIDE_FAST : FQ_DIVIDE;
}

fq_way fq_way_of(const fq_room *room, fq_arithmetic arithmetic) { return way_of(room->fast, arithmetic); }

fq_status fq_make_one(const fq_ready *to, fq_way *way, const char *const *data, fq_arithmetic arithmetic,
                      fq_values *bad)
{
    fq_given given = {.step = {0}};
    int fast = 0;
    memcpy(given.data, data, sizeof given.data);
    const fq_status status = make_one(to, &fast, &given, 0, arithmetic, bad);
    *way = way_of(fast, arithmetic);
    return status;
}
