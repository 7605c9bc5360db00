/* Writes the message for a refused parameter: its value and, in an array, its index. */
#include "refused.h"

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

/* The value of parameter k, as "-9 at index (2,)". */
static const char *shown(char text[FQ_PLACE + 32], int k, const fq_values *bad, int in_f64, char (*places)[FQ_PLACE])
{
    const int64_t level = k == 1 ? bad->zero_point : k == 2 ? bad->qmin : bad->qmax;
    const char *place = places ? places[k] : "";
    if (k > 0) {
        snprintf(text, FQ_PLACE + 32, "%" PRId64 "%s", level, place);
    }
    else if (isnan(bad->scale)) { /* printf would show the sign of a NaN */
        snprintf(text, FQ_PLACE + 32, "nan%s", place);
    }
    else {
        snprintf(text, FQ_PLACE + 32, "%.*g%s", in_f64 ? 17 : 9, bad->scale, place);
    }
    return text;
}

void fq_describe_refused(char text[FQ_MESSAGE], fq_status status, const fq_values *bad, fq_type type,
                         char (*places)[FQ_PLACE])
{
    const int in_f64 = type == FQ_F64;
    const char *computed_in = in_f64 ? "float64" : "float32";
    char memory[FQ_PARAMETERS][FQ_PLACE + 32];
    const char *value[FQ_PARAMETERS];
    for (int k = 0; k < FQ_PARAMETERS; k++) {
        value[k] = shown(memory[k], k, bad, in_f64, places);
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
    default:
        snprintf(
            text, FQ_MESSAGE,
            "every level minus zero_point must be exact in %s (at most %s), got qmin %s, zero_point %s and qmax %s",
            computed_in, in_f64 ? "2**53" : "2**24", value[2], value[1], value[3]);
    }
}
