/* The checks of a float format, and what kernels want of one. */
#ifndef FQ_FORMATS_H
#define FQ_FORMATS_H

#include "params.h"

enum { FQ_MOST_MANTISSA_BITS = 10 };

/* The exponents of the type computed in: of its smallest normal number, and of its largest one. */
static inline int fq_least_exponent(int in_f64) { return in_f64 ? -1022 : -126; }
static inline int fq_most_exponent(int in_f64) { return in_f64 ? 1023 : 127; }

/* The least power of two, less mantissa_bits, that a largest number may not reach: beyond, rounding overflows. */
static inline int fq_reach(int in_f64) { return in_f64 ? 1023 - 52 : 127 - 23; }

fq_status fq_check_format(const fq_values *v, int in_f64);

/* The number that would follow the largest one of the format. */
double fq_beyond_format(const fq_values *v);

#endif
