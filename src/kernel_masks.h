/* Where kernels write masks to and read them from: a byte per element, or a bit per element, at any element offset. */
#ifndef FQ_KERNEL_MASKS_H
#define FQ_KERNEL_MASKS_H

typedef enum { NO_MASK, MASK_BYTES, MASK_BITS } mask_kind;

/* Bit i of the stream is bit i % 8 of byte i / 8: the first byte is the lowest, whatever the machine. */
static FQ_INLINE uint64_t little_endian(uint64_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* n < 64 bytes, in halves that overlap: no call of memcpy, which costs more than what it copies here. most: a constant that n
 * does not exceed, so that a compiler sees no copy beyond a small object. */
static FQ_INLINE void copy_few(void *to, const void *from, size_t n, size_t most)
{
    char *const t = to;
    const char *const f = from;
#define FQ_HALVES(size)                                             \
    if ((size) <= most && n >= (size)) {                            \
        char first[size], last[size];                               \
        memcpy(first, f, size), memcpy(last, f + n - (size), size); \
        memcpy(t, first, size), memcpy(t + n - (size), last, size); \
        return;                                                     \
    }
    FQ_HALVES(32)
    FQ_HALVES(16)
    FQ_HALVES(8)
    FQ_HALVES(4)
    FQ_HALVES(2)
#undef FQ_HALVES
    if (n == 1) {
        *t = *f;
    }
}

/* A mask being written from its first element on. Bits wait in `held` until there are 64 of them. */
typedef struct {
    uint8_t *to;
    uint64_t held;
    unsigned count;
} mask_writer;

static FQ_INLINE void write_word(mask_writer *w, uint64_t word)
{
    word = little_endian(word);
    memcpy(w->to, &word, sizeof word);
    w->to += sizeof word;
}

static FQ_INLINE void write_block(mask_writer *w, mask64 m, mask_kind kind)
{
    if (kind == MASK_BYTES) {
        mask64_to_bytes(w->to, m);
        w->to += FQ_BLOCK;
    }
    else if (kind == MASK_BITS) {
        const uint64_t word = mask64_to_word(m);
        write_word(w, w->held | word << w->count);
        w->held = word >> 1 >> (63 - w->count); /* nothing, where nothing was held */
    }
}

/* The first n < 64 lanes of m; the others may hold anything. */
static FQ_INLINE void write_part(mask_writer *w, mask64 m, size_t n, mask_kind kind)
{
    if (kind == MASK_BYTES) {
        uint8_t whole[FQ_BLOCK];
        mask64_to_bytes(whole, m);
        copy_few(w->to, whole, n, sizeof whole);
        w->to += n;
    }
    else if (kind == MASK_BITS) {
        const uint64_t word = mask64_to_word(m) & ((UINT64_C(1) << n) - 1);
        w->held |= word << w->count;
        if (w->count + n >= FQ_BLOCK) {
            write_word(w, w->held);
            w->held = word >> 1 >> (63 - w->count);
        }
        w->count = (unsigned)(w->count + n) % FQ_BLOCK;
    }
}

static FQ_INLINE void write_rest(mask_writer *w, mask_kind kind)
{
    if (kind == MASK_BITS) {
        const uint64_t word = little_endian(w->held);
        copy_few(w->to, &word, (w->count + 7) / 8, sizeof word);
    }
}

/* The mask of n <= 64 elements from element i on. */
static FQ_INLINE mask64 read_mask(const uint8_t *mask, size_t i, size_t n, mask_kind kind)
{
    if (kind == MASK_BYTES) {
        uint8_t whole[FQ_BLOCK] = {0};
        if (n == FQ_BLOCK) {
            return mask64_from_bytes(mask + i);
        }
        copy_few(whole, mask + i, n, sizeof whole);
        return mask64_from_bytes(whole);
    }
    const uint8_t *from = mask + i / 8;
    const unsigned skipped = i % 8;
    uint64_t word = 0;
    memcpy(&word, from, n == FQ_BLOCK ? 8 : (skipped + n + 7) / 8 < 8 ? (skipped + n + 7) / 8 : 8);
    word = little_endian(word) >> skipped;
    if (skipped + n > FQ_BLOCK) {
        word |= (uint64_t)from[8] << (FQ_BLOCK - skipped);
    }
    return mask64_from_word(word);
}

#endif
