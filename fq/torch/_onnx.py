"""What torch.onnx.export makes of fq's operators: QuantizeLinear and DequantizeLinear."""

import torch

from fq.torch import _operators  # noqa: F401  registers the operators that are named here

# Of ONNX's integers: the first and last level, and the number of the type in its TensorProto.
_TYPES = {
    "INT4": (-8, 7, 22),
    "UINT4": (0, 15, 21),
    "INT8": (-128, 127, 3),
    "UINT8": (0, 255, 2),
    "INT16": (-32768, 32767, 5),
    "UINT16": (0, 65535, 4),
}
_INT32 = 6


def onnx_translations():
    """The table that `torch.onnx.export` needs for networks with functions and modules of fq.torch.

    Each fake quantization becomes a QuantizeLinear and a DequantizeLinear: of int8, uint8, int16 or uint16, of int4 or
    uint4 where the grid is all of it, with a Clip between for part of a type; per tensor, along an axis, or in blocks
    of the last one. Needs onnxscript, and opset 21.

    Returns
    -------
    dict
        For ``custom_translation_table``.

    Raises
    ------
    ImportError
        Without onnxscript.
    ValueError
        When the table is used for a grid that no type of 16 bits holds, or for parameters that vary along several axes
        but the blocks of the last one.

    Notes
    -----
    ONNX divides by scale. The modules of fq that take the place of PyTorch's multiply by 1 / scale, as PyTorch does:
    about one value in 10 million lies so near to the middle of two levels that the two differ, by a level.

    Examples
    --------
    ::

        torch.onnx.export(model.eval(), (x,), "model.onnx", dynamo=True, opset_version=21,
                          custom_translation_table=fq.torch.onnx_translations())
    """
    try:
        from onnxscript import opset21 as op
    except ModuleNotFoundError as error:
        raise ImportError("fq.torch.onnx_translations needs onnxscript: pip install onnxscript") from error

    def quantized(x, scale, zero_point, qmin: int, qmax: int, reciprocal: bool, order, enabled=None):
        return _quantized(op, x, scale, zero_point, qmin, qmax)

    def learned(x, scale, zero_point, qmin: int, qmax: int, reciprocal: bool, order):
        return _quantized(op, x, scale, zero_point, qmin, qmax, zero_point.dtype.is_floating_point())

    def packed(x, scale, zero_point, qmin: int, qmax: int, reciprocal: bool, order, enabled=None):
        return _quantized(op, x, scale, zero_point, qmin, qmax), op.Constant(value_ints=[0])  # no one reads the bits

    operators = torch.ops.fq
    return {
        operators.fake_quantize.default: quantized,
        operators.forward_packed.default: packed,
        operators.fake_quantize_learnable.default: learned,
    }


def _quantized(op, x, scale, zero_point, qmin, qmax, is_real=False):
    """The nodes of one fake quantization; a real zero_point is rounded and clamped."""
    kind, is_all = _type_of(qmin, qmax)
    place = _place_of(x, scale, zero_point)
    scale, zero_point = (_shaped(op, one, x, place) for one in (scale, zero_point))
    if is_real:
        low, high = (op.CastLike(op.Constant(value_int=level), zero_point) for level in (qmin, qmax))
        zero_point = op.Clip(op.Round(zero_point), low, high)
    zero_point = op.Cast(op.Expand(zero_point, op.Shape(scale)), to=kind)
    scale = op.CastLike(scale, x)
    q = op.QuantizeLinear(x, scale, zero_point, **place)
    if not is_all:
        low, high = (op.Cast(op.Constant(value_int=level), to=_INT32) for level in (qmin, qmax))
        q = op.Cast(op.Clip(op.Cast(q, to=_INT32), low, high), to=kind)
    return op.DequantizeLinear(q, scale, zero_point, **place)


def _type_of(qmin, qmax):
    """The number of ONNX's type, and whether the grid is all of it."""
    for first, last, number in _TYPES.values():
        if (first, last) == (qmin, qmax):
            return number, True
    for first, last, number in list(_TYPES.values())[2:]:
        if first <= qmin and qmax <= last:
            return number, False
    raise ValueError(f"ONNX has no integers of at most 16 bits for the grid from {qmin} to {qmax}")


def _place_of(x, *parameters):
    """How the nodes are told where parameters vary: the axis, and the length of blocks along it."""
    lengths = [1] * len(x.shape)
    for parameter in parameters:
        for axis, length in enumerate(parameter.shape, len(x.shape) - len(parameter.shape)):
            lengths[axis] = length if length != 1 else lengths[axis]
    axes = [axis for axis, length in enumerate(lengths) if length != 1]
    if not axes:
        return {}
    if len(axes) == 1:
        return {"axis": axes[0]}
    if axes != [axis for axis in range(len(lengths) - 1) if x.shape[axis] != 1]:
        raise ValueError(f"ONNX has no parameters that vary along the axes {axes} of {tuple(x.shape)}")
    return {"axis": len(lengths) - 1, "block_size": x.shape[-1]}


def _shaped(op, parameter, x, place):
    """A scalar, a vector along the axis, or blocks beside x."""
    if not place:
        return op.Reshape(parameter, op.Constant(value_ints=[])) if parameter.shape else parameter
    if "block_size" not in place:
        return op.Reshape(parameter, op.Constant(value_ints=[-1]))
    return op.Expand(parameter, op.Constant(value_ints=[*x.shape[:-1], 1]))
