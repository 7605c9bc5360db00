/* What to tell whoever gave a parameter that was refused. */
#ifndef FQ_REFUSED_H
#define FQ_REFUSED_H

#include "params.h"

enum { FQ_PLACE = 256, FQ_MESSAGE = 4 * FQ_PLACE + 256 }; /* bytes, the final zero among them */

/* " at index (3, 0)" of the item at this address of an array, whose steps are in bytes; "" for a number. */
void fq_place_of(char place[FQ_PLACE], const char *at, const char *data, int axes, const ptrdiff_t *lengths,
                 const ptrdiff_t *steps);

/* The message. places: of scale ... qmax, or NULL where they are not known. */
void fq_describe_refused(char text[FQ_MESSAGE], fq_status status, const fq_values *bad, fq_type type,
                         char (*places)[FQ_PLACE]);

#endif
