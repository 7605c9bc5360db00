"""Tensors of any memory format as NumPy arrays in rows, and the memory of outputs.

`order` is a permutation of x's axes, outermost first in memory. The arrays are x so permuted, with neighbouring axes
made one where the parameters allow it: per tensor all of x is one row, whatever its format.
"""

import numpy as np
import torch

from fq import _core
from fq.torch import _references

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None


def memory_order(x):
    """x's axes, the one with the largest stride first."""
    return list(range(x.dim())) if x.is_contiguous() else list(x.dim_order())


def dense(x, order):
    """x itself where it lies in memory in this order without gaps, else a copy that does."""
    permuted = x.permute(order)
    return x if permuted.is_contiguous() else permuted.contiguous().permute(inverse(order))


def new_output(x, order):
    """An output like x, which is dense, on large pages: new memory costs more than the computation."""
    dx = torch.empty_like(x)
    _core._use_large_pages(in_memory_order(dx, order).reshape(-1).view(np.uint8))
    return dx


def over_or_beside(dy, order, found):
    """A gradient in this order of memory without gaps, and where its product goes: over it where that is ours to do.

    found : tuple
        What `_references.references` said of dy in the backward.
    """
    own = dense(dy, order)
    is_ours = own is not dy or found == _references.of_a_gradient_alone()
    return own, own if is_ours else new_output(own, order)


def may_be_overwritten(x, order):
    """Whether x is a result without gaps, which neither the graph nor a view nor an array holds as well."""
    is_result = x.grad_fn is not None and x.permute(order).is_contiguous()
    return is_result and _references.in_graph(x) == _references.of_a_result_alone()


def rows(order, tensors, *parameters):
    """Views of dense tensors, and their parameters, as NumPy arrays in rows."""
    lengths, *shapes = layout(tensors[0], *parameters, order)
    arrays = [in_memory_order(tensor, order).reshape(lengths) for tensor in tensors]
    for parameter, shape in zip(parameters, shapes, strict=True):
        if parameter.numel() == 1:
            array = parameter.detach().numpy().reshape(())
        else:
            array = in_memory_order(beside(parameter, tensors[0]), order).reshape(shape)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64, copy=False)  # as fq computes with them: nothing is left for NumPy to cast
        arrays.append(array)
    return arrays


def in_memory_order(tensor, order):
    """The tensor's own memory as an array whose axes are in this order."""
    tensor = tensor.detach()
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy().transpose(order)
    if bfloat16 is None:
        raise ImportError("a bfloat16 tensor needs ml_dtypes: pip install ml_dtypes, or fq[torch]")
    return tensor.view(torch.int16).numpy().view(bfloat16).transpose(order)


def bits_shape(lengths):
    """Of the packed mask of an array: rows of whole bytes."""
    *leading, row = lengths
    return (*leading, (row + 7) // 8)


def sums_like(sums, parameter, x, order):
    """Sums over rows as a tensor like the parameter that they are for."""
    shape = [beside(parameter, x).shape[axis] for axis in order]
    tensor = torch.from_numpy(np.asarray(sums)).reshape(shape).permute(inverse(order))
    return tensor.reshape(parameter.shape).contiguous()


def layout(x, scale, zero_point, order):
    """Lengths of the axes of x in memory order, one for neighbours that the parameters vary along alike, and how each
    parameter is shaped beside them."""
    if scale.numel() == zero_point.numel() == 1:
        return [x.numel()], [1], [1]
    sizes = [(1,) * (x.dim() - one.dim()) + tuple(one.shape) for one in (scale, zero_point)]
    axes = []
    for axis in order:
        length, varies = x.shape[axis], [bool(size[axis] != 1) for size in sizes]
        if length == 1:
            continue
        if axes and axes[-1][1] == varies:
            length *= axes.pop()[0]
        axes.append((length, varies))
    lengths = [length for length, _ in axes]
    return lengths, *([length if varies[which] else 1 for length, varies in axes] for which in range(2))


def beside(parameter, x):
    """A parameter with as many axes as x has."""
    return parameter.reshape((1,) * (x.dim() - parameter.dim()) + tuple(parameter.shape))


def inverse(order):
    """The permutation that undoes this one."""
    return sorted(range(len(order)), key=order.__getitem__)
