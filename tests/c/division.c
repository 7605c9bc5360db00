/* Proves FQ_DIVIDE_FAST in float32 for the mantissas of every scale: it is the correctly rounded quotient.
 *
 * division [step]: every step-th mantissa
 *
 * With 24-bit integer mantissas a of x and b of the scale, the quotient a / b lies in [1/2, 1) or [1, 2), and the
 * midpoints of neighbouring floats there are m / 2**k, m odd of 25 bits, k = 25 or 24. A result that is not a / b
 * rounded needs a midpoint nearer to a / b than its own error before the last rounding. Let
 * d = a * 2**k - b * m, which is b * 2**k times that distance, and s = b / 2**23 in [1, 2):
 * - x * inv is off by at most 1.5 ulp: inv by 2**-24 of its size, less than 1 ulp, and the rounding by 0.5.
 * - its remainder is then less than 1.5 * 2**24 units of its last place, so that rounding it to 24 bits moves it
 *   by at most one such unit, which is 2 in d;
 * - the error of inv times the remainder is at most 2**-24 * 1.5 ulp, which is 1.5 * s < 3 in d.
 * Together less than 6, so the cases with |d| <= 8 hold all that could fail. d = 0 has no solution. */
#include "testing.h"

enum { MOST = 8 }; /* of |d| */

static const uint64_t low = UINT64_C(1) << 23, high = UINT64_C(1) << 24; /* mantissas are in [low, high) */

typedef struct {
    uint64_t cases, failures;
} tally;

static float fast_quotient(float x, float scale)
{
    const float inv = 1 / scale, q = x * inv;
    return fmaf(fmaf(-q, scale, x), inv, q);
}

static void check(tally *t, uint64_t a, uint64_t b)
{
    const float x = (float)a, scale = (float)b, got = fast_quotient(x, scale), expected = x / scale;
    t->cases++;
    if (got != expected) {
        t->failures++;
        printf("FAILS: x = %a, scale = %a: %a, not %a\n", (double)x, (double)scale, (double)got, (double)expected);
    }
}

/* Of an odd number, modulo 2**64: each step doubles the bits that are right. */
static uint64_t inverse(uint64_t odd)
{
    uint64_t v = odd;
    for (int i = 0; i < 5; i++) {
        v *= 2 - odd * v;
    }
    return v;
}

/* Every odd m in [2**24, 2**25) with b * m + d = a * 2**k. With b = odd * 2**t, d is a multiple of 2**t and m is
 * -d / 2**t / odd, modulo 2**(k - t); as m is odd, so is d / 2**t. */
static void check_distance(tally *t, uint64_t b, int zeros, int64_t d, int k)
{
    const uint64_t modulus = UINT64_C(1) << (k - zeros);
    const uint64_t root = ((uint64_t)(-d / (INT64_C(1) << zeros)) * inverse(b >> zeros)) % modulus;
    for (uint64_t m = high - high % modulus + root; m < 2 * high; m += modulus) {
        const uint64_t a = (b * m + (uint64_t)d) >> k;
        if (m >= high && a >= low && a < high && (a >= b) == (k == 24)) {
            check(t, a, b);
        }
    }
}

static tally check_scale(uint64_t b)
{
    tally t = {0, 0};
    int zeros = 0;
    while (!(b >> zeros & 1)) {
        zeros++;
    }
    const int64_t least = INT64_C(1) << zeros;
    for (int64_t d = least; d <= MOST; d += 2 * least) {
        for (int k = 24; k <= 25; k++) {
            check_distance(&t, b, zeros, d, k);
            check_distance(&t, b, zeros, -d, k);
        }
    }
    return t;
}

/* The same cases found by trying every a; the other quotients are checked too. */
static tally check_scale_by_force(uint64_t b)
{
    tally hard = {0, 0}, other = {0, 0};
    for (uint64_t a = low; a < high; a++) {
        const uint64_t rest = (a << (a >= b ? 24 : 25)) % (2 * b); /* b + d, where m is odd */
        check(rest + MOST >= b && rest <= b + MOST ? &hard : &other, a, b);
    }
    hard.failures += other.failures;
    return hard;
}

/* Whether the enumeration finds what trying everything finds, for a few scales. */
static int enumeration_is_complete(void)
{
    const uint64_t scales[] = {0x800000, 0x800001, 0xcccccd, 0xaaaaab, 0xb33334, 0xfffff8, 0xffffff};
    int complete = 1;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        const tally found = check_scale(scales[i]), all = check_scale_by_force(scales[i]);
        if (found.cases != all.cases || all.failures > 0) {
            printf("scale %#" PRIx64 ": %" PRIu64 " hard cases, not %" PRIu64 "; %" PRIu64 " failures\n", scales[i],
                   found.cases, all.cases, all.failures);
            complete = 0;
        }
    }
    return complete;
}

int main(int count, char **arguments)
{
    const int64_t step = count > 1 ? strtoll(arguments[1], NULL, 10) : 1;
    uint64_t scales = 0, cases = 0, failures = 0;
    if (step < 1 || !enumeration_is_complete()) {
        return 1;
    }
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1024) reduction(+ : scales, cases, failures)
#endif
    for (int64_t b = (int64_t)low; b < (int64_t)high; b += step) {
        const tally t = check_scale((uint64_t)b);
        scales++;
        cases += t.cases;
        failures += t.failures;
    }
    printf("%" PRIu64 " scales, %" PRIu64 " hard cases, %" PRIu64 " failures\n", scales, cases, failures);
    return failures > 0;
}
