/* Words of 16 random bits by Threefry-2x32-20 (Salmon et al. 2011), a counter-based generator: included once by target.h.
 *
 * Four words come of a counter: the lower and the upper half of each of its two outputs. So word i depends on the key and on i
 * alone. Counters are taken LANES_OF_WORDS at a time, in vectors that compilers fit to the registers of the target. */
enum { LANES_OF_WORDS = 16, CHAINS = f32_LANES == 16 ? 4 : 2, COUNTERS = LANES_OF_WORDS * CHAINS };

typedef uint32_t word_lanes __attribute__((vector_size(4 * LANES_OF_WORDS)));

/* Two words of each of COUNTERS counters from this one on, a multiple of COUNTERS: no carry leaves the lower half. */
static FQ_INLINE void threefry(word_lanes a[CHAINS], word_lanes b[CHAINS], const uint32_t key[2], uint64_t counter)
{
    static const int by[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    const uint32_t keys[3] = {key[0], key[1], UINT32_C(0x1bd11bda) ^ key[0] ^ key[1]};
    word_lanes lane;
    for (uint32_t j = 0; j < LANES_OF_WORDS; j++) {
        lane[j] = j;
    }
    for (int c = 0; c < CHAINS; c++) {
        a[c] = lane + ((uint32_t)counter + (uint32_t)(c * LANES_OF_WORDS) + keys[0]);
        b[c] = (word_lanes){0} + ((uint32_t)(counter >> 32) + keys[1]);
    }
    for (uint32_t group = 0; group < 5; group++) {
        for (int round = 0; round < 4; round++) {
            const int n = by[group % 2][round];
            for (int c = 0; c < CHAINS; c++) {
                a[c] += b[c];
                b[c] = (b[c] << n | b[c] >> (32 - n)) ^ a[c];
            }
        }
        for (int c = 0; c < CHAINS; c++) {
            a[c] += keys[(group + 1) % 3];
            b[c] += keys[(group + 2) % 3] + group + 1;
        }
    }
}

enum { WORDS_AT_ONCE = 4 * COUNTERS };

static FQ_INLINE void words_at_once(uint16_t *to, const uint32_t key[2], uint64_t counter)
{
    word_lanes a[CHAINS], b[CHAINS];
    threefry(a, b, key, counter);
    for (int c = 0; c < CHAINS; c++) {
        uint32_t pairs[2 * LANES_OF_WORDS];
        for (int j = 0; j < LANES_OF_WORDS; j++) {
            pairs[2 * j] = a[c][j], pairs[2 * j + 1] = b[c][j];
        }
        for (int j = 0; j < 2 * LANES_OF_WORDS; j++, to += 2) {
            to[0] = (uint16_t)pairs[j], to[1] = (uint16_t)(pairs[j] >> 16);
        }
    }
}

/* Words [from, from + n). */
static void words(uint16_t *to, size_t n, const uint32_t key[2], uint64_t from)
{
    while (n > 0) {
        uint16_t few[WORDS_AT_ONCE];
        const size_t skipped = (size_t)(from % WORDS_AT_ONCE), left = WORDS_AT_ONCE - skipped,
                     some = n < left ? n : left;
        const int whole = some == WORDS_AT_ONCE;
        words_at_once(whole ? to : few, key, (from - skipped) / 4);
        if (!whole) {
            memcpy(to, few + skipped, some * sizeof *to);
        }
        to += some, n -= some, from += some;
    }
}
