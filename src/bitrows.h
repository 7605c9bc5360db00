/* Packed masks of short rows: each row begins a byte of its own, while the kernels want the bits of all rows in one stream. */
#ifndef FQ_BITROWS_H
#define FQ_BITROWS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    FQ_BITS_AT_ONCE = 56, /* whole bytes that a word holds wherever in a byte they begin */
    FQ_WORD = 8 /* bytes: what a stream needs beyond its end */
};

/* Up to 8 bytes as a word, the first byte lowest; `room` bytes may be read. */
static inline uint64_t fq_read_bytes(const char *from, size_t count, size_t room)
{
    uint64_t word = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (room >= FQ_WORD) {
        memcpy(&word, from, sizeof word);
        return word;
    }
#endif
    for (size_t i = 0; i < count; i++) {
        word |= (uint64_t)(unsigned char)from[i] << 8 * i;
    }
    return word;
}

/* The first `count` bytes of a word; `room` bytes may be overwritten. */
static inline void fq_write_bytes(char *to, uint64_t word, size_t count, size_t room)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (room >= FQ_WORD) {
        memcpy(to, &word, sizeof word);
        return;
    }
#endif
    for (size_t i = 0; i < count; i++) {
        to[i] = (char)(word >> 8 * i);
    }
}

static inline size_t fq_bits_at(size_t done, size_t n)
{
    return n - done < FQ_BITS_AT_ONCE ? n - done : FQ_BITS_AT_ONCE;
}

/* Rows of n bits out of a stream, into `rows` rows of (n + 7) / 8 bytes that follow each other. */
static inline void fq_split_bits(char *to, const char *stream, size_t rows, size_t n)
{
    char *const end = to + rows * ((n + 7) / 8);
    size_t bit = 0;
    for (size_t row = 0; row < rows; row++) {
        for (size_t done = 0; done < n; done += FQ_BITS_AT_ONCE) {
            const size_t count = fq_bits_at(done, n), bytes = (count + 7) / 8;
            const uint64_t word = fq_read_bytes(stream + bit / 8, FQ_WORD, FQ_WORD) >> bit % 8;
            fq_write_bytes(to, word & ((UINT64_C(1) << count) - 1), bytes, (size_t)(end - to));
            to += bytes;
            bit += count;
        }
    }
}

/* The other way: a stream out of rows. */
static inline void fq_join_bits(char *stream, const char *from, size_t rows, size_t n)
{
    const char *const end = from + rows * ((n + 7) / 8);
    size_t bit = 0;
    memset(stream, 0, (rows * n + 7) / 8 + FQ_WORD);
    for (size_t row = 0; row < rows; row++) {
        for (size_t done = 0; done < n; done += FQ_BITS_AT_ONCE) {
            const size_t count = fq_bits_at(done, n), bytes = (count + 7) / 8;
            const uint64_t word = fq_read_bytes(from, bytes, (size_t)(end - from)) & ((UINT64_C(1) << count) - 1);
            const uint64_t before = fq_read_bytes(stream + bit / 8, FQ_WORD, FQ_WORD);
            fq_write_bytes(stream + bit / 8, before | word << bit % 8, FQ_WORD, FQ_WORD);
            from += bytes;
            bit += count;
        }
    }
}

/* Whether all n bits of each row are set, in `size` bytes of rows that follow each other. */
static inline int fq_all_set(const unsigned char *bits, size_t size, size_t n)
{
    const unsigned char all = 0xFF, last = (unsigned char)~(all << n % 8);
    const size_t row = n % 8 ? (n + 7) / 8 : size, whole = n % 8 ? n / 8 : size;
    for (size_t from = 0; from < size; from += row) {
        const unsigned char *at = bits + from;
        if (whole > 0 && (at[0] != all || memcmp(at, at + 1, whole - 1) != 0)) {
            return 0;
        }
        if (whole < row && at[whole] != last) {
            return 0;
        }
    }
    return 1;
}

#endif
