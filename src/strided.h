/* Copies between arrays of any step. */
#ifndef FQ_STRIDED_H
#define FQ_STRIDED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FQ_COPY_AS(type)                                               \
    for (size_t i = 0; i < n; i++, to += to_step, from += from_step) { \
        memcpy(to, from, sizeof(type));                                \
    }

static inline void fq_copy_strided(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t from_step, size_t size,
                                   size_t n)
{
    switch (size) {
    case 1: FQ_COPY_AS(uint8_t) break;
    case 2: FQ_COPY_AS(uint16_t) break;
    case 4: FQ_COPY_AS(uint32_t) break;
    default: FQ_COPY_AS(uint64_t) break;
    }
}

#endif
