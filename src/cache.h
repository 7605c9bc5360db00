/* How large an output must be to be stored past the cache. */
#ifndef FQ_CACHE_H
#define FQ_CACHE_H

#include <stddef.h>

/* Bytes of y or dx from which they are stored past the cache: what one core's own cache holds, or what was set. */
size_t fq_cache_threshold(void);
void fq_set_cache_threshold(size_t bytes); /* 0: what the machine says */

#endif
