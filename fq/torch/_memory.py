"""Tensors of any memory format as NumPy arrays in rows, and the memory of outputs.

`order` is a permutation of x's axes, outermost first in memory. The arrays are x so permuted, with neighbouring axes
made one where the parameters allow it: per tensor all of x is one row, whatever its format.
"""

import numpy as np
import torch

from fq import _core

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

_NUMPY_TYPES = {
    torch.float16: "<f2",
    torch.bfloat16: "<u2",
    torch.float32: "<f4",
    torch.float64: "<f8",
    torch.int64: "<i8",
    torch.uint8: "|u1",
    torch.int8: "|i1",
    torch.bool: "|b1",
}


class _Memory:
    """What NumPy asks for the memory of a tensor, which lives as long as the arrays that NumPy makes of it.

    `Tensor.numpy` would lock the tensor's storage for good: PyTorch could not resize it any more.
    """

    __slots__ = "__array_interface__", "tensor"

    def __init__(self, tensor, shape):
        address = tensor.data_ptr()
        if address == 0 and tensor.numel() > 0:
            raise RuntimeError(f"a tensor of shape {tuple(tensor.shape)} has no memory: its storage was resized to 0")
        described = {"data": (address, False), "shape": shape, "typestr": _NUMPY_TYPES[tensor.dtype], "version": 3}
        self.tensor, self.__array_interface__ = tensor, described


def is_plain(tensor):
    """Whether this is an ordinary tensor with memory on the CPU."""
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)
    )


def memory_order(x):
    """x's axes, the one with the largest stride first."""
    return list(range(x.dim())) if x.is_contiguous() else list(x.dim_order())


def dense(x, order):
    """x itself where it lies in memory in this order without gaps, else a copy that does."""
    if x.is_neg() or x._is_zerotensor():  # neither's memory holds its values
        x = x.clone()
    permuted = x.permute(order)
    return x if permuted.is_contiguous() else permuted.contiguous().permute(inverse(order))


def new_output(x, order):
    """An output like x, which is dense, on large pages: new memory costs more than the computation."""
    y = torch.empty_like(x)
    _core._use_large_pages(in_memory_order(y, order).reshape(-1).view(np.uint8))
    return y


def new_product(dy, order):
    """A gradient in this order of memory without gaps, and new memory for its product: the copy's, if it is one."""
    own = dense(dy, order)
    return own, own if own is not dy else new_output(own, order)


def belongs_to_pytorch(x):
    """Whether PyTorch owns the memory of x alone: not an array, a buffer or a mapped file."""
    return x.untyped_storage().resizable()


def may_be_written_over(x, order):
    """Whether y can be written over x as it lies, with nothing for autograd to refuse or to replay."""
    if x._is_view() or x.is_inference() or x.is_neg() or x._is_zerotensor() or not x.permute(order).is_contiguous():
        return False
    return not (x.is_leaf and x.requires_grad and torch.is_grad_enabled())


def rows(order, tensors, *parameters):
    """Views of dense tensors, and their parameters, as NumPy arrays in rows."""
    lengths, *shapes = layout(tensors[0], *parameters, order)
    arrays = [in_memory_order(tensor, order).reshape(lengths) for tensor in tensors]
    for parameter, shape in zip(parameters, shapes, strict=True):
        if parameter.numel() == 1:
            array = flat(parameter).reshape(())
        else:
            array = flat(beside(parameter, tensors[0]).permute(order)).reshape(shape)
        arrays.append(array)
    return arrays


def flat(tensor):
    """The elements as an array without gaps: integers as int64, as fq computes with them."""
    tensor = tensor.detach()
    if not tensor.is_floating_point():
        tensor = tensor.long()
    return in_memory_order(dense(tensor, list(range(tensor.dim()))).reshape(-1), [0])


def in_memory_order(tensor, order):
    """The memory of a tensor that is dense in this order, as an array."""
    array = np.asarray(_Memory(tensor, tuple(tensor.shape[axis] for axis in order)))
    if tensor.dtype != torch.bfloat16:
        return array
    if bfloat16 is None:
        raise ImportError("a bfloat16 tensor needs ml_dtypes: pip install ml_dtypes, or fq[torch]")
    return array.view(bfloat16)


def bits_shape(lengths):
    """Of the packed mask of an array: rows of whole bytes."""
    *leading, row = lengths
    return (*leading, (row + 7) // 8)


def bytes_of(bits):
    """Packed bits as an array of rows of bytes."""
    return in_memory_order(bits.contiguous(), range(bits.dim()))


def mask_of(bits, order, row, shape):
    """The mask of x of this shape, of which these are the packed bits, as a tensor."""
    if row == 0:
        return torch.ones(tuple(shape), dtype=torch.bool)
    with torch._C._DisableFuncTorch():
        mask = np.unpackbits(bytes_of(bits).reshape(-1, (row + 7) // 8), axis=1, count=row, bitorder="little")
        return torch.from_numpy(mask.view(bool)).reshape([shape[axis] for axis in order]).permute(inverse(order))


def sums_like(sums, parameter, x, order):
    """Sums over rows as a tensor like the parameter that they are for, in memory of its own."""
    shape = [beside(parameter, x).shape[axis] for axis in order]
    tensor = torch.from_numpy(np.asarray(sums)).reshape(shape).permute(inverse(order))
    return tensor.reshape(parameter.shape).clone(memory_format=torch.contiguous_format)


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
