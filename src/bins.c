/* The bins of an observer as numbers, in the order of values. */
#include <math.h>

#include "observe.h"

/* A bin lies between sign * base and sign * (base + 65536 * unit); x is sign * (base + unit * r), with r the 16 bits whose sums the
 * bin holds. The 16-bit types have no such bits, and unit 0. */
typedef struct {
    double sign, base, unit;
} place;

static double double_of_bits(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline double two_to(int exponent)
{
    return exponent < -1022 ? ldexp(1, exponent) : double_of_bits((uint64_t)(exponent + 1023) << 52);
}

static inline place place_of(uint32_t key, fq_type type)
{
    const uint32_t half = (uint32_t)fq_keys_of(type) / 2, size = key & (half - 1);
    const double sign = key < half ? 1 : -1;
    const int exponent = size >> 7 > 0 ? (int)(size >> 7) : 1;
    switch (type) {
    case FQ_F16: return (place){sign, (double)widen_f16((uint16_t)size), 0};
    case FQ_BF16: return (place){sign, (double)widen_bf16((uint16_t)size), 0};
    case FQ_F32: return (place){sign, (double)float_of_bits(size << 16), two_to(exponent - 150)};
    default: return (place){sign, double_of_bits((uint64_t)size << 45), two_to(exponent - 1046)};
    }
}

/* Whether all values of a bin have the same 16 bits, and which, without a branch that data decide; counts and sums that no values
 * have are none. */
static inline double same_bits(const uint64_t *cell, double *each)
{
    const uint64_t n = cell[0], sum = cell[1];
    if (n == 0 || sum / 65536 >= n) {
        *each = 0;
        return 0;
    }
    const uint64_t all = (uint64_t)((double)sum / (double)n); /* exact where n divides the sum: both are below 2**53 */
    *each = (double)all;
    return (double)((all * n == sum) & (cell[2] == sum * all));
}

static inline double within(double x, double low, double high)
{
    const double up = x > low ? x : low;
    return up < high ? up : high;
}

static inline void write_bin(const fq_bin_values *to, size_t i, place at, const uint64_t *cell, fq_type type,
                             double low, double high)
{
    const int sums = fq_cell_of(type) > 1;
    const double base = at.base, unit = at.unit, n = (double)cell[0];
    const double s = sums ? (double)cell[1] : 0, q = sums ? (double)cell[2] : 0;
    /* From the least bits to beyond the most: 0 and 65536, or the same ones twice, below which float64 has 29 more. */
    double each = 0;
    const double same = sums ? same_bits(cell, &each) : 0, near = base + unit * (same * each);
    const double below = type == FQ_F64 ? (double)(near > 0) : 0;
    const double far = base + unit * (65536 + same * (each + below - 65536));
    to->lower[i] = within(at.sign > 0 ? near : -far, low, high);
    to->upper[i] = within(at.sign > 0 ? far : -near, low, high);
    to->count[i] = n;
    to->total[i] = at.sign * (n * base + unit * s);
    to->square[i] = n * base * base + 2 * base * (unit * s) + unit * (unit * q);
}

void fq_values_of_bins(fq_bin_values *to, const fq_seen_bins *from, size_t set)
{
    const size_t at = (size_t)from->start[set], n = (size_t)from->start[set + 1] - at, width = fq_cell_of(from->type);
    const uint32_t *key = from->key + at, half = (uint32_t)fq_keys_of(from->type) / 2;
    const uint64_t *cell = from->cell + at * width;
    size_t positive = 0;
    while (positive < n && key[positive] < half) {
        positive++;
    }
    to->n = n;
    for (size_t i = 0; i < n; i++) {
        const size_t k = i < n - positive ? n - 1 - i : i - (n - positive);
        write_bin(to, i, place_of(key[k], from->type), cell + k * width, from->type, from->low[set], from->high[set]);
    }
}
