/* The operations, a row each: the enum, every target's table, the ufuncs, their names and the tests follow.
 *
 * X(with, NUMBER, name, outputs, inputs, parameters, names of the inputs, then of the outputs...)
 * with: whatever the user of the rows passes on. name: of the kernel in kernels.h and of the function. outputs, inputs: a
 * letter of kinds.h an array. parameters: QPARAMS, for which there is a kernel for each way, SCALES, which only multiply,
 * LEVELS, the same as QPARAMS where nothing is divided, or NONE. */
#ifndef FQ_OPS_H
#define FQ_OPS_H

/* Element by element: ufuncs. */
#define FQ_MAP_ROWS(X, with)                                                              \
    X(with, FAKE_QUANTIZE, fake_quantize, "v", "v", QPARAMS, "x", "y")                    \
    X(with, FORWARD, forward, "vb", "v", QPARAMS, "x", "y", "mask")                       \
    X(with, BACKWARD, backward, "v", "vb", NONE, "dy", "mask", "dx")                      \
    X(with, BACKWARD_RECOMPUTE, backward_recompute, "v", "vv", QPARAMS, "dy", "x", "dx")  \
    X(with, FORWARD_PACKED, forward_packed, "vu", "v", QPARAMS, "x", "y", "bits")         \
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

/* The sets of parameters: a kind a parameter, and their names. */
#define FQ_KINDS_QPARAMS "siii"
#define FQ_NAMES_QPARAMS "scale", "zero_point", "qmin", "qmax",
#define FQ_KINDS_LEVELS FQ_KINDS_QPARAMS
#define FQ_NAMES_LEVELS FQ_NAMES_QPARAMS
#define FQ_KINDS_SCALES "si"
#define FQ_NAMES_SCALES "scale", "zero_point",
#define FQ_KINDS_NONE ""
#define FQ_NAMES_NONE

/* Whether there is a kernel for each way to divide. */
enum { FQ_DIVIDES_QPARAMS = 1, FQ_DIVIDES_SCALES = 1, FQ_DIVIDES_LEVELS = 0, FQ_DIVIDES_NONE = 0 };

#endif
