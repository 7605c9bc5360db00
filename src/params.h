/* Reads and checks the parameters of a call and makes them what the kernels want. */
#ifndef FQ_PARAMS_H
#define FQ_PARAMS_H

#include "fq.h"

typedef enum {
    FQ_OK,
    FQ_BAD_SCALE,
    FQ_BAD_RECIPROCAL,
    FQ_BAD_RANGE,
    FQ_BAD_ZERO_POINT,
    FQ_BAD_LEVELS,
    FQ_NO_MEMORY
} fq_status;

/* The parameters as the caller gave them: scale is a float (a double for float64), the others are int64. */
typedef struct {
    const char *scale, *zero_point, *qmin, *qmax;
    ptrdiff_t scale_step, zero_point_step, qmin_step, qmax_step; /* in bytes, from an element to the next */
    ptrdiff_t scale_key, zero_point_key, qmin_key, qmax_key;     /* from a key to the next */
} fq_given;

/* One set of values: the message of an error names them. */
typedef struct {
    double scale;
    int64_t zero_point, qmin, qmax;
} fq_values;

enum { FQ_MESSAGE = 256 }; /* bytes that any message of fq_describe_refused has room in */

/* What to tell whoever gave the values: at most size bytes with the final zero. */
void fq_describe_refused(char *text, size_t size, fq_status status, const fq_values *bad, fq_type type);

/* Room for the parameters of a chunk: as given, where they do not lie without gaps, and made ready. What is the same
 * for all elements is filled in by the first chunk alone. Starts as {.filled = 0}, the rest as it is. */
typedef struct {
    _Alignas(CACHE_LINE) fq_each each;
    int filled;
    double scale[FQ_CHUNK];
    int64_t zero_point[FQ_CHUNK], qmin[FQ_CHUNK], qmax[FQ_CHUNK];
} fq_room;

/* What a call computes with: in float64 or float32, by x / scale or by x * (1 / scale). */
typedef struct {
    int in_f64;
    int reciprocal;
} fq_arithmetic;

/* Whether DIVIDE_FAST gives the right levels: neither 1 / scale nor the remainder of a quotient in range overflows or loses
 * bits. */
int fq_can_divide_fast(double scale, int in_f64);

/* One set for all elements; the other members of *p stay as they are. On an error *bad holds the values refused. */
fq_status fq_params_of_all(fq_params *p, fq_way *way, const fq_given *given, fq_arithmetic arithmetic, fq_values *bad);

/* Parameters for elements [from, from + n) of the call, n <= FQ_CHUNK, held in *room. */
fq_status fq_params_of_each(fq_params *p, fq_room *room, const fq_given *given, size_t from, size_t n,
                            fq_arithmetic arithmetic, fq_values *bad);

#endif
