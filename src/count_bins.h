/* Counts elements in the table of an fq_tally. */

/* The bin of an element, and the next 16 bits. */
static FQ_INLINE size_t k32_bin(uint32_t bits) { return bits >> 16; }
static FQ_INLINE size_t k64_bin(uint64_t bits) { return (size_t)(bits >> 45); }
static FQ_INLINE uint64_t k32_rest(uint32_t bits) { return bits & 0xffff; }
static FQ_INLINE uint64_t k64_rest(uint64_t bits) { return bits >> 29 & 0xffff; }

static FQ_INLINE void count_bins_k16(const char *x, size_t n, fq_tally *t)
{
    uint32_t *const table = t->table.count;
    size_t i = 0;
    for (; n - i >= FQ_APART; i += FQ_APART) {
        uint64_t four;
        memcpy(&four, x + i * k16_SIZE, sizeof four);
        table[(four & 0xffff) * FQ_APART]++, table[(four >> 16 & 0xffff) * FQ_APART + 1]++;
        table[(four >> 32 & 0xffff) * FQ_APART + 2]++, table[(four >> 48) * FQ_APART + 3]++;
    }
    for (; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, x + i * k16_SIZE, sizeof bits);
        table[(size_t)bits * FQ_APART]++;
    }
}

/* `lane`: elements of 128 bits, which is how addends lie. */
#if FQ_HAS_ADDENDS
#define FQ_COUNT_WHOLE(KEY, lane)                                                                                   \
    enum { GROUP = KEY##_ADDENDS };                                                                                 \
    for (; n - i >= GROUP; i += GROUP) {                                                                            \
        _Alignas(CACHE_LINE) fq_cell by[GROUP];                                                                     \
        KEY##_addends(by, x + i * KEY##_SIZE);                                                                      \
        for (size_t j = 0; j < GROUP; j++) {                                                                        \
            KEY##_bits bits;                                                                                        \
            memcpy(&bits, x + (i + j) * KEY##_SIZE, sizeof bits);                                                   \
            cell_add(table + KEY##_bin(bits) * FQ_APART + j % FQ_APART, &by[j % lane * (GROUP / lane) + j / lane]); \
        }                                                                                                           \
    }
#else
#define FQ_COUNT_WHOLE(KEY, lane)
#endif

#define FQ_COUNT_CELLS(KEY, lane)                                                    \
    static FQ_INLINE void count_bins_##KEY(const char *x, size_t n, fq_tally *t)     \
    {                                                                                \
        fq_cell *const table = t->table.cell;                                        \
        size_t i = 0;                                                                \
        FQ_COUNT_WHOLE(KEY, lane)                                                    \
        for (; i < n; i++) {                                                         \
            KEY##_bits bits;                                                         \
            memcpy(&bits, x + i * KEY##_SIZE, sizeof bits);                          \
            fq_cell *const cell = table + KEY##_bin(bits) * FQ_APART + i % FQ_APART; \
            cell->sum += UINT64_C(1) << 40 | KEY##_rest(bits);                       \
            cell->square += KEY##_rest(bits) * KEY##_rest(bits);                     \
        }                                                                            \
    }
FQ_COUNT_CELLS(k32, 4)
FQ_COUNT_CELLS(k64, 2)
