/* Writes the message for a refused parameter: its value and, in an array, its index. */
#include "refused.h"

#include "formats.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

void fq_place_of(char place[FQ_PLACE], const char *at, const char *data, int axes, const ptrdiff_t *lengths,
                 const ptrdiff_t *steps)
{
    ptrdiff_t index[FQ_MOST_AXES] = {0};
    for (int axis = axes - 1; data != at && axis >= 0;) {
        data += steps[axis];
        if (++index[axis] < lengths[axis]) {
            axis = axes - 1;
            continue;
        }
        data -= index[axis] * steps[axis];
        index[axis--] = 0;
    }
    int used = axes > 0 ? snprintf(place, FQ_PLACE, " at index (") : 0;
    for (int axis = 0; axis < axes && used < FQ_PLACE; axis++) {
        const char *after = axis < axes - 1 ? ", " : axes > 1 ? ")" : ",)";
        used += snprintf(place + used, (size_t)(FQ_PLACE - used), "%td%s", index[axis], after);
    }
    place[used < FQ_PLACE ? used : FQ_PLACE - 1] = '\0';
}

enum { SHOWN = FQ_PLACE + 32 };

/* "-9 at index (2,)" */
static void show_integer(char text[SHOWN], int64_t value, const char *place)
{
    snprintf(text, SHOWN, "%" PRId64 "%s", value, place);
}

static void show_float(char text[SHOWN], double value, int in_f64, const char *place)
{
    if (isnan(value)) { /* printf would show the sign of a NaN */
        snprintf(text, SHOWN, "nan%s", place);
        return;
    }
    snprintf(text, SHOWN, "%.*g%s", in_f64 ? 17 : 9, value, place);
}

static void describe_format(char text[FQ_MESSAGE], fq_status status, const fq_values *bad, int in_f64,
                            char (*places)[FQ_PLACE])
{
    char bits[SHOWN], exponent[SHOWN], max[SHOWN];
    show_integer(bits, bad->mantissa_bits, places ? places[1] : "");
    show_integer(exponent, bad->min_exponent, places ? places[2] : "");
    show_float(max, bad->max, in_f64, places ? places[3] : "");
    switch (status) {
    case FQ_BAD_MANTISSA_BITS:
        snprintf(text, FQ_MESSAGE, "mantissa_bits must lie within [0, %d], got %s", FQ_MOST_MANTISSA_BITS, bits);
        break;
    case FQ_BAD_MIN_EXPONENT:
        snprintf(text, FQ_MESSAGE, "min_exponent must be one of a normal number of %s, within [%d, %d], got %s",
                 in_f64 ? "float64" : "float32", fq_least_exponent(in_f64), fq_most_exponent(in_f64), exponent);
        break;
    case FQ_BAD_MAX:
        snprintf(text, FQ_MESSAGE,
                 "max must be a positive number of the format, one with mantissa_bits %s and min_exponent %s, got %s",
                 bits, exponent, max);
        break;
    default:
        snprintf(text, FQ_MESSAGE, "max must be less than 2**(%d + mantissa_bits) in %s, got %s and mantissa_bits %s",
                 fq_reach(in_f64), in_f64 ? "float64" : "float32", max, bits);
    }
}

void fq_describe_refused(char text[FQ_MESSAGE], fq_status status, const fq_values *bad, fq_type type,
                         char (*places)[FQ_PLACE])
{
    const int in_f64 = type == FQ_F64;
    const char *computed_in = in_f64 ? "float64" : "float32";
    const int64_t levels[] = {0, bad->zero_point, bad->qmin, bad->qmax};
    char value[FQ_PARAMETERS][SHOWN];
    show_float(value[0], bad->scale, in_f64, places ? places[0] : "");
    for (int k = 1; k < 4; k++) {
        show_integer(value[k], levels[k], places ? places[k] : "");
    }
    switch (status) {
    case FQ_BAD_SCALE:
        snprintf(text, FQ_MESSAGE, "scale must be positive and finite in %s, got %s", computed_in, value[0]);
        break;
    case FQ_BAD_RECIPROCAL:
        snprintf(text, FQ_MESSAGE, "1 / scale must be finite in %s, got scale %s", computed_in, value[0]);
        break;
    case FQ_BAD_RANGE:
        snprintf(text, FQ_MESSAGE, "qmin must not exceed qmax, got qmin %s and qmax %s", value[2], value[3]);
        break;
    case FQ_BAD_ZERO_POINT:
        snprintf(text, FQ_MESSAGE, "zero_point must lie within [qmin, qmax] = [%" PRId64 ", %" PRId64 "], got %s",
                 bad->qmin, bad->qmax, value[1]);
        break;
    case FQ_BAD_RESIDUAL:
        snprintf(text, FQ_MESSAGE,
                 "no level may lie further than %s from zero_point where a residual in %s stands for x, got qmin %s, "
                 "zero_point %s and qmax %s; keep x: backward_learnable takes it",
                 in_f64 ? "2**44" : "2**15", computed_in, value[2], value[1], value[3]);
        break;
    case FQ_BAD_MANTISSA_BITS:
    case FQ_BAD_MIN_EXPONENT:
    case FQ_BAD_MAX:
    case FQ_BAD_REACH: describe_format(text, status, bad, in_f64, places); break;
    default:
        snprintf(
            text, FQ_MESSAGE,
            "every level minus zero_point must be exact in %s (at most %s), got qmin %s, zero_point %s and qmax %s",
            computed_in, in_f64 ? "2**53" : "2**24", value[2], value[1], value[3]);
    }
}
