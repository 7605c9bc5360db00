/* Keys of elements: their bits as a signed integer in the order of their values, -0 below +0, NaN beyond the infinities. */
#ifndef FQ_KEYS_H
#define FQ_KEYS_H

#include <stdint.h>
#include <string.h>

#include "types.h"

#define FQ_KEY(bits_)                                                \
    typedef int##bits_##_t k##bits_##_elem;                          \
    typedef uint##bits_##_t k##bits_##_bits;                         \
    enum { k##bits_##_SIZE = bits_ / 8 };                            \
    static FQ_INLINE int##bits_##_t k##bits_##_key(const char *from) \
    {                                                                \
        int##bits_##_t v;                                            \
        memcpy(&v, from, sizeof v);                                  \
        return (int##bits_##_t)(v < 0 ? v ^ INT##bits_##_MAX : v);   \
    }
FQ_KEY(16)
FQ_KEY(32)
FQ_KEY(64)
#undef FQ_KEY

static FQ_INLINE int64_t fq_key(const char *from, size_t size)
{
    return size == 2 ? k16_key(from) : size == 4 ? k32_key(from) : k64_key(from);
}

/* The key of infinity; that of -infinity is its complement. */
static inline int64_t fq_infinity_key(fq_type type)
{
    static const int64_t keys[FQ_TYPES] = {0x7c00, 0x7f80, 0x7f800000, INT64_C(0x7ff0000000000000)};
    return keys[type];
}

#endif
