/* The operations, a row each: the enum, every target's table, the strided loops, the ufuncs and the C tests follow.
 *
 * X(with, NUMBER, name, outputs, inputs, parameters, the inputs' names...)
 * with: whatever the user of the rows passes on. name: of the kernel in kernels.h and of the ufunc. outputs, inputs: a
 * letter an array, 'v' elements, 'b' a mask of bytes, 'u' packed bits. parameters: QPARAMS, for which there is a kernel
 * for each way, or NONE. */
#ifndef FQ_OPS_H
#define FQ_OPS_H

#define FQ_OP_ROWS(X, with)                                                        \
    X(with, FAKE_QUANTIZE, fake_quantize, "v", "v", QPARAMS, "x")                  \
    X(with, FORWARD, forward, "vb", "v", QPARAMS, "x")                             \
    X(with, BACKWARD, backward, "v", "vb", NONE, "dy", "mask")                     \
    X(with, BACKWARD_RECOMPUTE, backward_recompute, "v", "vv", QPARAMS, "dy", "x") \
    X(with, FORWARD_PACKED, forward_packed, "vu", "v", QPARAMS, "x")               \
    X(with, BACKWARD_PACKED, backward_packed, "v", "vu", NONE, "dy", "bits")

enum { FQ_ELEMENTS = 'v', FQ_BYTE_MASK = 'b', FQ_BIT_MASK = 'u' };

#endif
