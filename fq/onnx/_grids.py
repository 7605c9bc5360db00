"""A grid of fq in ONNX's words: integer type, scales and zero points, axis, blocks."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

import fq
from fq._named import checked_grid

__all__ = ["BLOCKS_FROM", "TYPES", "IntType", "Layout", "check", "fit", "integer_type", "raw_bytes", "spread"]

Array = NDArray[Any]
Shape = tuple[int | None, ...]


class IntType(NamedTuple):
    """An integer type of ONNX."""

    element: int  # TensorProto.DataType
    bits: int
    qmin: int
    qmax: int
    opset: int  # from which on QuantizeLinear and DequantizeLinear take it, along an axis too


def _rows() -> list[IntType]:
    kinds = [
        (2, 25, TensorProto.INT2, TensorProto.UINT2),
        (4, 21, TensorProto.INT4, TensorProto.UINT4),
        (8, 13, TensorProto.INT8, TensorProto.UINT8),
        (16, 21, TensorProto.INT16, TensorProto.UINT16),
    ]
    rows = []
    for bits, opset, signed, unsigned in kinds:
        rows.append(IntType(signed, bits, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, opset))
        rows.append(IntType(unsigned, bits, 0, 2**bits - 1, opset))
    return rows


TYPES = _rows()
BLOCKS_FROM = 21  # the first opset with block_size


class Layout(NamedTuple):
    """Scales and zero points as QuantizeLinear and DequantizeLinear take them."""

    scale: Array  # float32: a scalar, one for each index of axis, or one for each block
    zero_point: Array  # int64, of the same shape
    axis: int | None
    block: int  # elements along axis that share a scale; 0: no blocks


def integer_type(qmin: int, qmax: int, opset: int | None, exactly: bool = False) -> IntType | None:
    """The smallest type that holds these levels in this opset (None: in any), or has just these."""
    for row in TYPES:
        fits = (row.qmin, row.qmax) == (qmin, qmax) if exactly else row.qmin <= qmin and qmax <= row.qmax
        if fits and (opset is None or row.opset <= opset):
            return row
    return None


def raw_bytes(q: Array, bits: int) -> bytes:
    """Integers as ONNX stores them: little-endian, two or four to a byte."""
    flat = np.ascontiguousarray(q).reshape(-1)
    return bytes(fq.pack(flat, bits) if bits < 8 else flat.astype(flat.dtype.newbyteorder("<")).tobytes())


def check(name: str, grid: Any) -> fq.QParams:
    """The grid as fq sees it: refused by name if fq would refuse it, or if its levels fit no type."""
    checked = checked_grid(name, grid)
    if integer_type(checked.qmin, checked.qmax, None) is None:
        raise ValueError(
            f"{name!r}: levels from {checked.qmin} to {checked.qmax} fit no integer type of ONNX of at most 16 bits"
        )
    return checked


def fit(name: str, grid: fq.QParams, shape: Shape | None) -> Layout:
    """The scales and zero points for a tensor of this shape (None: not known), or a ValueError that names it."""
    of = grid.scale.shape
    if shape is None and grid.scale.size == 1:
        shape = (None,) * len(of)
    if shape is None:
        raise ValueError(
            f"the shape of {name!r} cannot be inferred, so no axis is known: add it to model.graph.value_info"
        )
    if len(of) == len(shape) + 1:
        return _blocks(name, grid, shape)
    if len(of) > len(shape) or any(
        b is not None and a not in (1, b) for a, b in zip(of[::-1], shape[::-1], strict=False)
    ):
        raise ValueError(_misfit(name, of, shape))
    varying = [axis for axis, n in enumerate(of) if n != 1]
    if not varying:
        return Layout(grid.scale.reshape(()), grid.zero_point.reshape(()), None, 0)
    if len(varying) > 1:
        raise ValueError(
            f"{name!r}: its scales of shape {of} vary along {len(varying)} axes; ONNX has one for a tensor, for each "
            "index of an axis, or for each block"
        )
    axis = varying[0] + len(shape) - len(of)
    return Layout(grid.scale.reshape(-1), grid.zero_point.reshape(-1), axis, 0)


def _blocks(name: str, grid: fq.QParams, shape: Shape) -> Layout:
    of = grid.scale.shape
    axis = cut_axis(of, shape)
    if axis is None:
        raise ValueError(_misfit(name, of, shape))
    if None in shape:
        raise ValueError(f"{name!r} has shape {shape}: blocks need every length, ONNX has a scale for each of them")
    lengths = [int(n or 0) for n in shape]
    whole = (*lengths[:axis], of[axis], *lengths[axis + 1 :])
    scale, zero_point = (np.broadcast_to(np.squeeze(one, axis + 1), whole) for one in grid[:2])
    return Layout(scale, zero_point, axis, lengths[axis] // of[axis])


def cut_axis(of: tuple[int, ...], shape: Shape) -> int | None:
    """The axis of a tensor that scales of this shape, with an axis more, cut into blocks; None if they do not fit."""
    for axis in reversed(range(len(shape))):
        blocks, n = of[axis], shape[axis]
        others = zip((*of[:axis], *of[axis + 2 :]), (*shape[:axis], *shape[axis + 1 :]), strict=True)
        even = n is None or (n > 0 and blocks > 0 and n % blocks == 0)
        if of[axis + 1] == 1 and even and all(b is None or a in (1, b) for a, b in others):
            return axis
    return None


def _misfit(name: str, of: tuple[int, ...], shape: Shape) -> str:
    text = f"{name!r} has shape {shape}: scales of shape {of} do not fit"
    if len(of) == 1 and of[0] in shape:
        axis = shape.index(of[0])
        text += f"; one for each index of axis {axis} has shape {(*of, *(1,) * (len(shape) - axis - 1))}"
    return text


def spread(x: Array, grid: fq.QParams) -> Array:
    """x, cut along an axis where the grid has blocks, so that the grid broadcasts against it."""
    of = grid.scale.shape
    axis = cut_axis(of, x.shape) if len(of) == x.ndim + 1 else None
    if axis is None:
        return x
    return x.reshape(*x.shape[:axis], of[axis], x.shape[axis] // of[axis], *x.shape[axis + 1 :])
