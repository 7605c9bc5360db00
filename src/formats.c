/* The checks of a float format, and the number beyond its largest one. */
#include "formats.h"

#include <math.h>

/* The exponent of the format's spacing at its largest number. */
static int exponent_of(const fq_values *v)
{
    int exponent;
    (void)frexp(v->max, &exponent);
    return exponent - 1 > (int)v->min_exponent ? exponent - 1 : (int)v->min_exponent;
}

fq_status fq_check_format(const fq_values *v, int in_f64)
{
    if (v->mantissa_bits < 0 || v->mantissa_bits > FQ_MOST_MANTISSA_BITS) {
        return FQ_BAD_MANTISSA_BITS;
    }
    if (v->min_exponent < fq_least_exponent(in_f64) || v->min_exponent > fq_most_exponent(in_f64)) {
        return FQ_BAD_MIN_EXPONENT;
    }
    if (!(v->max > 0 && v->max < (double)INFINITY)) {
        return FQ_BAD_MAX;
    }
    const double steps = ldexp(v->max, (int)v->mantissa_bits - exponent_of(v));
    if (steps != rint(steps) || steps < 1) {
        return FQ_BAD_MAX;
    }
    return exponent_of(v) >= fq_reach(in_f64) + (int)v->mantissa_bits ? FQ_BAD_REACH : FQ_OK;
}

double fq_beyond_format(const fq_values *v) { return v->max + ldexp(1, exponent_of(v) - (int)v->mantissa_bits); }
