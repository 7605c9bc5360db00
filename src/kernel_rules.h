/* The rules that round quotients to points of a grid, but half to even: included by target.h for float32 and float64, over the
 * words of a simd_*.h. The includer defines COMPUTE, the type computed in (f32 or f64); kernel_scales.h takes it back. */
#define FQ_PASTE_(a, b) a##_##b
#define FQ_PASTE(a, b) FQ_PASTE_(a, b)
#define C(word) FQ_PASTE(COMPUTE, word) /* C(add) is f32_add: the word for vectors of the type computed in */

/* A grid of floats. */
typedef struct {
    C(vec) least; /* the smallest normal number: below it the spacing stays what it is there */
    C(vec) factor; /* a power of two times this, added to a number below twice the power, leaves it the format's bits */
    C(vec) beyond; /* the number that would follow the largest one */
    C(vec) max;
    C(vec) zero; /* what keeps -0.0 where it is added, or makes 0.0 of it */
    int signed_zero;
} C(format);

static FQ_INLINE C(format) C(format_of)(int code, double max, double beyond)
{
    const int fraction = sizeof(C(elem)) == sizeof(double) ? 52 : 23;
    return (C(format)){C(set)(fq_power_of_two(fq_min_exponent(code))),
                       C(set)(fq_power_of_two(fraction - fq_mantissa_bits(code))),
                       C(set)(beyond),
                       C(set)(max),
                       C(set)(fq_signed_zero(code) ? -0.0 : 0.0),
                       fq_signed_zero(code)};
}

/* Half to even on the grid, as if it went on: magnitudes above `beyond` give that. A number of which the grid's spacing is the last
 * bit is added and subtracted again. NaN stays: min and max give their second operand where one is NaN. The sign is that of x: a
 * quotient of 0 may have lost it. */
static FQ_INLINE C(vec) C(rounded_size)(C(vec) size, C(format) f)
{
    const C(vec) large = C(mul)(C(max)(f.least, C(exponent)(size)), f.factor);
    return C(sub)(C(add)(size, large), large);
}

static FQ_INLINE C(vec) C(round_to)(C(vec) v, C(vec) x, C(format) f)
{
    return C(copysign)(C(rounded_size)(C(min)(f.beyond, C(abs)(v)), f), x);
}

static FQ_INLINE C(vec) C(floor)(C(vec) v)
{
    const C(vec) r = C(rint)(v);
    return C(sub)(r, C(keep_above)(r, v, C(set)(1)));
}

/* rint rounds a tie down where v - rint(v) is 1/2. */
static FQ_INLINE C(vec) C(half_up)(C(vec) v)
{
    const C(vec) r = C(rint)(v);
    return C(add)(r, C(drop_above)(C(set)(0.5), C(sub)(v, r), C(set)(1)));
}

/* Up where the fraction exceeds (word + 1/2) / 2**16. Its subtraction rounds for v between -1/2 and 0 alone. */
static FQ_INLINE C(vec) C(by_words)(C(vec) v, const uint16_t *words)
{
    const C(vec) down = C(floor)(v), word = C(add)(C(read_words)(words), C(set)(0.5));
    return C(add)(down, C(keep_above)(C(sub)(v, down), C(mul)(word, C(set)(0x1p-16)), C(set)(1)));
}

/* The point of v = x / scale by the rule, as if the grid went on. The fraction of an infinity is NaN: it stays one. */
static FQ_INLINE C(vec) C(point)(C(vec) v, C(vec) x, fq_rule rule, const uint16_t *words, const C(format) * format)
{
    switch (rule) {
    case FQ_HALF_AWAY: return C(copysign)(C(half_up)(C(abs)(v)), v);
    case FQ_HALF_UP: return C(half_up)(v);
    case FQ_FLOOR: return C(floor)(v);
    case FQ_CEIL: return C(sub)(C(set)(0), C(floor)(C(sub)(C(set)(0), v)));
    case FQ_TOWARD_ZERO: return C(copysign)(C(floor)(C(abs)(v)), v);
    case FQ_STOCHASTIC: return C(by_words)(v, words);
    default: return C(round_to)(v, x, *format);
    }
}
