/* How large an output must be to be stored past the cache, by non-temporal stores. */
#ifndef FQ_CACHE_H
#define FQ_CACHE_H

#include <stddef.h>

/* Asks the machine. Called once, at import. */
void fq_cache_start(void);

/* Bytes of y or dx above which stores are non-temporal: three quarters of what one processor has of the last-level cache, or
 * what was set. Whoever reads y next finds a smaller one in the cache, and a larger one would not have stayed there. */
size_t fq_cache_threshold(void);
void fq_set_cache_threshold(size_t bytes); /* 0: what the machine says */

#endif
