/* Blocks that share a scale, as Python calls them. */
#ifndef FQ_BLOCKS_H
#define FQ_BLOCKS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _blocks(x, y, mask or None, scales, (outer, n, inner, block), rule, (mantissa_bits, min_exponent, max, signed_zero), tensor_scale,
 * kept, points): see fq/blocks.py. x and y: arrays of one type without gaps; mask, scales: contiguous bytes. */
PyObject *fq_blocks(PyObject *module, PyObject *args);

#endif
