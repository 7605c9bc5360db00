/* Integers between int32, in which kernels compute, and how an array stores them: plain loops, which each target's flags make
 * vectors of. Included by target.h, and by the glue for what is only packed. */
#ifndef FQ_STORAGE_H
#define FQ_STORAGE_H

#include <stdint.h>
#include <string.h>

#include "fq.h"

enum {
    FQ_INTEGERS_AT_ONCE = 256, /* whole bytes, whatever the bits */
    FQ_IN_BYTES = FQ_INTEGERS_AT_ONCE + 16 /* as bytes, with room for a vector more and for a last byte of bits */
};

/* Where the first of a pair of bytes lies, if the pair is read as a uint16. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
enum { FQ_FIRST = 8, FQ_SECOND = 0 };
#else
enum { FQ_FIRST = 0, FQ_SECOND = 8 };
#endif

/* The low `bits` bits of two bytes as one byte, the first one's lowest. */
static inline void fq_join_pairs(uint8_t *restrict to, const uint8_t *restrict from, size_t pairs, int bits)
{
    const uint16_t mask = (uint16_t)((1u << bits) - 1);
    for (size_t i = 0; i < pairs; i++) {
        uint16_t pair;
        memcpy(&pair, from + 2 * i, sizeof pair);
        to[i] = (uint8_t)((pair >> FQ_FIRST & mask) | (pair >> FQ_SECOND & mask) << bits);
    }
}

/* The other way. Upper bits are 0, or where they have a sign that sign: the product puts it there in both bytes. */
static inline void fq_split_pairs(uint8_t *restrict to, const uint8_t *restrict from, size_t pairs, int bits,
                                  int is_signed)
{
    const uint16_t mask = (uint16_t)((1u << bits) - 1), signs = (uint16_t)(0x0101u << (bits - 1));
    const uint16_t fill = (uint16_t)(is_signed ? (256u >> (bits - 1)) - 2 : 0);
    for (size_t i = 0; i < pairs; i++) {
        const uint16_t both = from[i];
        uint16_t pair = (uint16_t)((both & mask) << FQ_FIRST | (both >> bits & mask) << FQ_SECOND);
        pair |= (uint16_t)((unsigned)(pair & signs) * fill);
        memcpy(to + 2 * i, &pair, sizeof pair);
    }
}

/* n <= FQ_INTEGERS_AT_ONCE integers of 1, 2 or 4 bits, low bits first, out of bytes whose upper bits may hold a sign; the last byte
 * is filled with 0. */
static inline void fq_pack_some(uint8_t *to, uint8_t byte[FQ_IN_BYTES], size_t n, int bits)
{
    uint8_t half[FQ_IN_BYTES / 2], quarter[FQ_IN_BYTES / 4];
    memset(byte + n, 0, 8);
    if (bits == 4) {
        fq_join_pairs(to, byte, (n + 1) / 2, 4);
    }
    else if (bits == 2) {
        fq_join_pairs(half, byte, (n + 3) / 4 * 2, 2);
        fq_join_pairs(to, half, (n + 3) / 4, 4);
    }
    else {
        fq_join_pairs(half, byte, (n + 7) / 8 * 4, 1);
        fq_join_pairs(quarter, half, (n + 7) / 8 * 2, 2);
        fq_join_pairs(to, quarter, (n + 7) / 8, 4);
    }
}

/* The other way, to bytes of int8, or of uint8 where they have no sign. */
static inline void fq_unpack_some(uint8_t byte[FQ_IN_BYTES], const uint8_t *from, size_t n, int bits, int is_signed)
{
    uint8_t half[FQ_IN_BYTES / 2], quarter[FQ_IN_BYTES / 4];
    if (bits == 4) {
        fq_split_pairs(byte, from, (n + 1) / 2, 4, is_signed);
    }
    else if (bits == 2) {
        fq_split_pairs(half, from, (n + 3) / 4, 4, 0);
        fq_split_pairs(byte, half, (n + 3) / 4 * 2, 2, is_signed);
    }
    else {
        fq_split_pairs(quarter, from, (n + 7) / 8, 4, 0);
        fq_split_pairs(half, quarter, (n + 7) / 8 * 2, 2, 0);
        fq_split_pairs(byte, half, (n + 7) / 8 * 4, 1, is_signed);
    }
}

/* Stores the codes of residuals of n <= FQ_BLOCK elements, out of bytes with room for one more; bits beyond them are 0. */
static FQ_ONE_COPY void fq_store_codes(uint8_t *to, uint8_t *byte, size_t n, int bits)
{
    if (bits == 8) {
        memcpy(to, byte, n);
        return;
    }
    byte[n] = 0;
    fq_join_pairs(to, byte, (n + 1) / 2, 4);
}

/* Stores n <= FQ_INTEGERS_AT_ONCE integers of 16 or 32 bits, which hold them. */
static FQ_ONE_COPY void fq_narrow_integers(char *to, const int32_t *restrict from, size_t n, fq_storage s)
{
    if (s.size == sizeof(int32_t)) {
        memcpy(to, from, n * sizeof *from);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const uint16_t level = (uint16_t)from[i];
        memcpy(to + i * sizeof level, &level, sizeof level);
    }
}

/* Likewise of less than 8 bits, out of bytes whose upper bits may hold a sign: a byte each, or several to a byte. */
static FQ_ONE_COPY void fq_narrow_bytes(char *to, uint8_t byte[FQ_IN_BYTES], size_t n, fq_storage s)
{
    const uint8_t mask = (uint8_t)((1u << s.bits) - 1);
    if (s.per_byte > 1) {
        fq_pack_some((uint8_t *)to, byte, n, s.bits);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = (char)(byte[i] & mask);
    }
}

/* n <= FQ_INTEGERS_AT_ONCE integers of less than 8 bits as bytes, signs and all. */
static inline void fq_widen_bits(uint8_t byte[FQ_IN_BYTES], const char *from, size_t n, fq_storage s)
{
    const uint8_t mask = (uint8_t)((1u << s.bits % 8) - 1), sign = (uint8_t)(s.is_signed ? 1u << (s.bits - 1) % 8 : 0);
    if (s.per_byte > 1) {
        fq_unpack_some(byte, (const uint8_t *)from, n, s.bits, s.is_signed);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        byte[i] = (uint8_t)((((uint8_t)from[i] & mask) ^ sign) - sign);
    }
}

#define FQ_WIDEN_AS(type)                                      \
    for (size_t i = 0; i < n; i++) {                           \
        type level;                                            \
        memcpy(&level, from + i * sizeof level, sizeof level); \
        to[i] = level;                                         \
    }

/* Loads n <= FQ_INTEGERS_AT_ONCE integers. Bits that the storage does not use are ignored. */
static FQ_ONE_COPY void fq_widen_integers(int32_t *restrict to, const char *from, size_t n, fq_storage s)
{
    uint8_t byte[FQ_IN_BYTES];
    if (s.bits < 8) {
        fq_widen_bits(byte, from, n, s);
        from = (const char *)byte;
    }
    switch (2 * s.size + s.is_signed) {
    case 2: FQ_WIDEN_AS(uint8_t) break;
    case 3: FQ_WIDEN_AS(int8_t) break;
    case 4: FQ_WIDEN_AS(uint16_t) break;
    case 5: FQ_WIDEN_AS(int16_t) break;
    default: memcpy(to, from, n * sizeof *to);
    }
}

#endif
