/* What the SIMD targets share: loops over lanes are left as they are, and a mask of 64 lanes is a 64-bit word,
 * unless the target has FQ_OWN_MASK64. */
#ifndef FQ_SIMD_WORDS_H
#define FQ_SIMD_WORDS_H

#include "fq.h"

#define FQ_LANES_LOOP
#define FQ_STAYS_SCALAR

/* Asks for memory that a loop comes to later. It may lie outside of the array: nothing is read of it. */
static FQ_INLINE const void *moved(const void *from, ptrdiff_t by)
{
    return (const void *)((uintptr_t)from + (uintptr_t)by);
}
static FQ_INLINE void prefetch_to_read(const void *from, ptrdiff_t by) { __builtin_prefetch(moved(from, by), 0); }
static FQ_INLINE void prefetch_to_write(const void *from, ptrdiff_t by) { __builtin_prefetch(moved(from, by), 1); }

#ifndef FQ_OWN_MASK64
typedef uint64_t mask64;

static FQ_INLINE mask64 mask64_none(void) { return 0; }
static FQ_INLINE void mask64_put(mask64 *m, size_t j, unsigned lanes) { *m |= (mask64)lanes << j; }
static FQ_INLINE unsigned mask64_get(const mask64 *m, size_t j) { return (unsigned)(*m >> j); }
static FQ_INLINE uint64_t mask64_to_word(mask64 m) { return m; }
static FQ_INLINE mask64 mask64_from_word(uint64_t word) { return word; }
#endif

#endif
