"""Integers of the grid for PyTorch, in its own operations, on any device, with the bits of fq's fake quantization."""

import torch

from fq._range_arguments import OF_LEVELS
from fq.torch import _arguments, _formula

TYPES = tuple(getattr(torch, name) for name in OF_LEVELS)


def quantize(x, scale, zero_point, qmin, qmax, dtype=None):
    """The levels nearest to x, as integers: clamp(rint(x / scale)) + zero_point.

    ``dequantize(quantize(x, ...), ...)`` has the bits of `fake_quantize` for all x but NaN.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fake_quantize`, but on any device.
    dtype : torch.dtype, optional
        torch.int8, uint8, int16, uint16 or int32; if not given, the first of them that holds qmin to qmax.

    Returns
    -------
    q : Tensor
        Of x's shape. Infinities are clamped; NaN gives zero_point. Integers have no gradient: train with
        `fake_quantize`.

    Raises
    ------
    TypeError
        As by `fake_quantize`; if dtype is another.
    ValueError
        As by `fake_quantize`; if dtype does not hold the levels. In compiled code, and elsewhere than on the CPU,
        values of scale and zero_point are not seen: q is zero_point where scale would be refused, and `dequantize`
        gives NaN.

    Examples
    --------
    >>> import torch
    >>> q = quantize(torch.tensor([-9.0, 0.2, 5.0]), 0.25, 0, -8, 7)
    >>> q
    tensor([-8,  1,  7], dtype=torch.int8)
    >>> dequantize(q, 0.25, 0).tolist()
    [-2.0, 0.25, 1.75]
    """
    x, scale, zero_point, qmin, qmax = _arguments.read(x, scale, zero_point, qmin, qmax)
    dtype, scale, zero_point = _type_of(dtype, qmin, qmax), scale.detach(), zero_point.to(torch.int64)
    if _arguments.can_be_seen(scale):
        _formula.check(scale, zero_point, qmin, qmax, False)
    level = (x.detach().to(scale.dtype) / scale).round()
    away = level.clamp((qmin - zero_point).to(scale.dtype), (qmax - zero_point).to(scale.dtype))
    away = torch.where(_is_scale(scale) & ~away.isnan(), away, 0.0)
    return (away.to(torch.int32) + zero_point.to(torch.int32)).to(dtype)


def dequantize(q, scale, zero_point, dtype=torch.float32):
    """The values of levels: (q - zero_point) * scale, rounded once, and never -0.0.

    Parameters
    ----------
    q : Tensor of integers
        Of any shape, on any device.
    scale : Tensor, array or float
        Width of a step, cast to float32, or to float64 where dtype is. It broadcasts into q.
    zero_point : Tensor or array of integers, or int
        The level of 0.0, likewise.
    dtype : torch.dtype
        torch.float16, bfloat16, float32 or float64: for the bits of `fake_quantize`, that of x.

    Returns
    -------
    y : Tensor
        Of q's shape. Its gradient reaches scale. NaN where q and zero_point are so far apart that their difference is
        not a number of the type computed in.

    Raises
    ------
    TypeError
        If q or zero_point is not of integers, scale is not real, or dtype is another.
    ValueError
        If a shape does not broadcast into q's, or scale is not positive and finite; in compiled code, and elsewhere
        than on the CPU, such a scale gives NaN.

    Examples
    --------
    >>> import torch
    >>> dequantize(torch.tensor([[0, 128], [255, 7]], dtype=torch.uint8), torch.tensor([[0.5], [0.25]]), 128).tolist()
    [[-64.0, 0.0], [31.75, -30.25]]
    """
    if not isinstance(q, torch.Tensor) or q.is_floating_point() or q.is_complex() or q.dtype == torch.bool:
        raise TypeError(f"q must be a tensor of integers, got {getattr(q, 'dtype', type(q).__name__)}")
    if dtype not in _arguments.TYPES:
        raise TypeError(f"dtype must be torch.float16, bfloat16, float32 or float64, got {dtype}")
    scale, zero_point = _arguments.read_beside(q, scale, zero_point, dtype)
    if _arguments.can_be_seen(scale):
        _formula.check(scale, torch.zeros((), dtype=torch.int64), 0, 0, False)
    away = q.to(torch.int64) - zero_point.to(torch.int64)
    exact = away.abs() <= 2 ** (53 if scale.dtype == torch.float64 else 24)
    y = torch.where(_is_scale(scale) & exact, away.to(scale.dtype) * scale, torch.nan).to(dtype)
    return y.masked_fill(y == 0, 0.0)


def _is_scale(scale):
    return (scale > 0) & scale.isfinite()


def _type_of(dtype, qmin, qmax):
    """The type of integers, given or found."""
    if dtype is not None and dtype not in TYPES:
        raise TypeError(f"dtype must be one of {', '.join(map(str, TYPES))}, got {dtype}")
    for one in TYPES if dtype is None else [dtype]:
        info = torch.iinfo(one)
        if info.min <= qmin and qmax <= info.max:
            return one
    wanted = "no type of integers holds" if dtype is None else f"{dtype} does not hold"
    raise ValueError(f"{wanted} the levels {qmin} to {qmax}")
