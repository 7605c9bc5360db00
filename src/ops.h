/* The operations, a row each: the enum, every target's table, the ufuncs, their names and the tests follow.
 *
 * X(with, NUMBER, name, outputs, inputs, parameters, names of the inputs, then of the outputs...)
 * with: whatever the user of the rows passes on. name: of the kernel in kernels.h and of the function. outputs, inputs: a
 * letter of kinds.h an array. parameters: QPARAMS, for which there is a kernel for each way, ROUNDED, the same where other rules
 * may round, SCALES, which only multiply, LEVELS, the same as QPARAMS where nothing is divided, FORMAT, or NONE. */
#ifndef FQ_OPS_H
#define FQ_OPS_H

/* Element by element: ufuncs. */
#define FQ_MAP_ROWS(X, with)                                                              \
    X(with, FAKE_QUANTIZE, fake_quantize, "v", "v", ROUNDED, "x", "y")                    \
    X(with, FORWARD, forward, "vb", "v", ROUNDED, "x", "y", "mask")                       \
    X(with, BACKWARD, backward, "v", "vb", NONE, "dy", "mask", "dx")                      \
    X(with, BACKWARD_RECOMPUTE, backward_recompute, "v", "vv", ROUNDED, "dy", "x", "dx")  \
    X(with, FORWARD_PACKED, forward_packed, "vu", "v", ROUNDED, "x", "y", "bits")         \
    X(with, BACKWARD_PACKED, backward_packed, "v", "vu", NONE, "dy", "bits", "dx")        \
    X(with, FORWARD_RESIDUAL, forward_residual, "vr", "v", QPARAMS, "x", "y", "residual") \
    X(with, FORWARD_RESIDUAL_PACKED, forward_residual_packed, "vn", "v", QPARAMS, "x", "y", "residual")

/* Element by element too, between floats and integers: functions, since the caller says how the integers are stored. */
#define FQ_INTEGER_ROWS(X, with)                             \
    X(with, QUANTIZE, quantize, "q", "v", QPARAMS, "x", "q") \
    X(with, DEQUANTIZE, dequantize, "v", "q", SCALES, "q", "y")

/* With two sums besides for each set of parameters, whose names come last: functions. */
#define FQ_REDUCTION_ROWS(X, with)                                                                                    \
    X(with, BACKWARD_LEARNABLE, backward_learnable, "v", "vv", QPARAMS, "dy", "x", "dx", "dscale", "dzero_point")     \
    X(with, BACKWARD_RESIDUAL, backward_residual, "v", "vr", LEVELS, "dy", "residual", "dx", "dscale", "dzero_point") \
    X(with, BACKWARD_RESIDUAL_PACKED, backward_residual_packed, "v", "vn", LEVELS, "dy", "residual", "dx", "dscale",  \
      "dzero_point")

#define FQ_OP_ROWS(X, with) FQ_MAP_ROWS(X, with) FQ_INTEGER_ROWS(X, with) FQ_REDUCTION_ROWS(X, with)

/* The operations of ROUNDED, where words beside x say how to round. */
#define FQ_WORDS_ROWS(X, with)                                                   \
    X(with, FAKE_QUANTIZE, fake_quantize, "v", "vw", ROUNDED, "x", "words", "y") \
    X(with, FORWARD, forward, "vb", "vw", ROUNDED, "x", "words", "y", "mask")    \
    X(with, FORWARD_PACKED, forward_packed, "vu", "vw", ROUNDED, "x", "words", "y", "bits")

/* The same, where the grid is that of a float format. */
#define FQ_FORMAT_ROWS(X, with)                                                         \
    X(with, FAKE_QUANTIZE, fake_quantize, "v", "v", FORMAT, "x", "y")                   \
    X(with, FORWARD, forward, "vb", "v", FORMAT, "x", "y", "mask")                      \
    X(with, BACKWARD_RECOMPUTE, backward_recompute, "v", "vv", FORMAT, "dy", "x", "dx") \
    X(with, FORWARD_PACKED, forward_packed, "vu", "v", FORMAT, "x", "y", "bits")

/* How the quotient becomes a point of the grid, a row a rule: X(with, NUMBER, name, shape). name: of the dict of ufuncs in
 * fq._core. shape: of the operations, PLAIN or one of those above. The first two round half to even. */
#define FQ_RULE_ROWS(X, with)                \
    X(with, DIVIDED, divide, PLAIN)          \
    X(with, RECIPROCAL, reciprocal, PLAIN)   \
    X(with, HALF_AWAY, half_away, PLAIN)     \
    X(with, HALF_UP, half_up, PLAIN)         \
    X(with, FLOOR, floor, PLAIN)             \
    X(with, CEIL, ceil, PLAIN)               \
    X(with, TOWARD_ZERO, toward_zero, PLAIN) \
    X(with, STOCHASTIC, stochastic, WORDS)   \
    X(with, FLOATS, floats, FORMAT)

/* The sets of parameters: a kind a parameter, and their names. */
#define FQ_KINDS_QPARAMS "siii"
#define FQ_NAMES_QPARAMS "scale", "zero_point", "qmin", "qmax",
#define FQ_KINDS_ROUNDED FQ_KINDS_QPARAMS
#define FQ_NAMES_ROUNDED FQ_NAMES_QPARAMS
#define FQ_KINDS_LEVELS FQ_KINDS_QPARAMS
#define FQ_NAMES_LEVELS FQ_NAMES_QPARAMS
#define FQ_KINDS_SCALES "si"
#define FQ_NAMES_SCALES "scale", "zero_point",
#define FQ_KINDS_FORMAT "siisb"
#define FQ_NAMES_FORMAT "scale", "mantissa_bits", "min_exponent", "max", "signed_zero",
#define FQ_KINDS_NONE ""
#define FQ_NAMES_NONE

/* Whether there is a kernel for each way to divide. */
enum {
    FQ_DIVIDES_QPARAMS = 1,
    FQ_DIVIDES_ROUNDED = 1,
    FQ_DIVIDES_SCALES = 1,
    FQ_DIVIDES_LEVELS = 0,
    FQ_DIVIDES_FORMAT = 1,
    FQ_DIVIDES_NONE = 0
};

/* Whether other rules may round. */
enum {
    FQ_ROUNDS_QPARAMS = 0,
    FQ_ROUNDS_ROUNDED = 1,
    FQ_ROUNDS_SCALES = 0,
    FQ_ROUNDS_LEVELS = 0,
    FQ_ROUNDS_FORMAT = 1,
    FQ_ROUNDS_NONE = 0
};

/* The parameters, from the first on, that may vary along the last axis where that is packed. */
enum {
    FQ_ALONG_QPARAMS = 2,
    FQ_ALONG_ROUNDED = 2,
    FQ_ALONG_SCALES = 2,
    FQ_ALONG_LEVELS = 2,
    FQ_ALONG_FORMAT = 1,
    FQ_ALONG_NONE = 0
};

#endif
