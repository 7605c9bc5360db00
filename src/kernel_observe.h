/* What an observer takes from elements: their least and greatest keys, and how many have the same upper bits. Included by
 * target.h for each width of an element.
 *
 * The includer defines KEY: k16, k32 or k64. NaN and infinities are elements like all others here: their keys lie beyond those
 * of the finite ones, and they have bins of their own. */
#undef LANES /* of kernels.h */
#define W(word) FQ_PASTE(KEY, word) /* W(load) is k32_load: a word for these keys */
#define K(name) FQ_PASTE(name, KEY) /* K(count) is count_k32: a function of this file */

/* n >= 1 elements, `step` bytes apart. */
static FQ_INLINE void K(ends_of_few)(const char *x, size_t n, ptrdiff_t step, int64_t *low, int64_t *high)
{
    W(elem) least = W(key)(x), greatest = least;
    for (size_t i = 1; i < n; i++) {
        const W(elem) key = W(key)(x + (ptrdiff_t)i * step);
        least = key < least ? key : least;
        greatest = key > greatest ? key : greatest;
    }
    *low = least, *high = greatest;
}

/* The last vector ends where the row does: an element may be taken twice. */
static FQ_INLINE void K(ends_of_row)(const char *x, size_t n, int64_t *low, int64_t *high)
{
    if (W(LANES) == 1 || n < W(LANES)) {
        K(ends_of_few)(x, n, W(SIZE), low, high);
        return;
    }
    W(vec) least = W(load)(x), greatest = least;
    for (size_t i = W(LANES); i < n; i += W(LANES)) {
        const W(vec) key = W(load)(x + (n - i < W(LANES) ? n - W(LANES) : i) * W(SIZE));
        least = W(least)(least, key);
        greatest = W(greatest)(greatest, key);
    }
    W(fold)(least, greatest, low, high);
}

static void K(ends_of_rows)(const char *x, size_t n, size_t rows, ptrdiff_t row, int64_t *low, int64_t *high)
{
    for (size_t r = 0; r < rows; r++, x += row) {
        K(ends_of_row)(x, n, low + r, high + r);
    }
}

static FQ_INLINE void K(spread)(int64_t *to, W(vec) v)
{
    W(elem) lane[W(LANES)];
    memcpy(lane, &v, sizeof lane);
    for (size_t j = 0; j < W(LANES); j++) {
        to[j] = lane[j];
    }
}

static void K(ends_of_columns)(const char *x, size_t n, size_t rows, ptrdiff_t row, int64_t *low, int64_t *high)
{
    for (size_t j = 0; n < W(LANES) && j < n; j++) {
        K(ends_of_few)(x + j * W(SIZE), rows, row, low + j, high + j);
    }
    for (size_t j = 0; n >= W(LANES) && j < n; j += W(LANES)) {
        const size_t at = n - j < W(LANES) ? n - W(LANES) : j;
        const char *from = x + at * W(SIZE);
        W(vec) least = W(load)(from), greatest = least;
        for (size_t r = 1; r < rows; r++) {
            const W(vec) key = W(load)(from += row);
            least = W(least)(least, key);
            greatest = W(greatest)(greatest, key);
        }
        K(spread)(low + at, least);
        K(spread)(high + at, greatest);
    }
}

/* Which bins may hold anything: the range of the nonzero elements without their signs. */
static FQ_INLINE void K(widen_range)(const char *x, size_t n, fq_tally *t)
{
    W(bits) least = (W(bits)) - 1, most = 0;
    for (size_t i = 0; i < n; i++) {
        W(bits) v, before;
        memcpy(&v, x + i * W(SIZE), W(SIZE));
        v = (W(bits))(v << 1);
        before = (W(bits))(v - 1); /* the greatest of all for 0 */
        least = before < least ? before : least;
        most = v > most ? v : most;
    }
    t->least = least < t->least ? least : t->least;
    t->most = most > t->most ? most : t->most;
}

static void K(count)(const char *x, size_t n, fq_tally *t)
{
    K(widen_range)(x, n, t);
    K(count_bins)(x, n, t);
}

#undef W
#undef K
#undef KEY
