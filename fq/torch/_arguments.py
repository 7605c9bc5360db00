"""Arguments of the functions for PyTorch: checked in NumPy's words, and made tensors of fq's types."""

import operator

import numpy as np
import torch

from fq._range_arguments import known_eps
from fq.learnable import broadcasts_into
from fq.torch import _memory

TYPES = torch.float16, torch.bfloat16, torch.float32, torch.float64


def read(x, scale, zero_point, qmin, qmax, real=False):
    """x, scale and zero_point as tensors that the operators take.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As a user gave them.
    real : bool
        Whether zero_point may be a real number.

    Returns
    -------
    x, scale, zero_point : Tensor
        scale, and a real zero_point, in the type computed in; a zero_point of integers as it is.
    qmin, qmax : int

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `fq.torch.fake_quantize` says.
    """
    check_type_of_x(x)
    if type(x).__name__ == "DTensor":
        raise NotImplementedError("x is a DTensor: give x.to_local(), and make a DTensor of y by DTensor.from_local")
    if x.layout != torch.strided:
        raise TypeError(f"x must be a dense tensor, got one of {x.layout}: give x.to_dense()")
    scale, zero_point = read_beside(x, scale, zero_point, x.dtype, real)
    return x, scale, zero_point, _integer("qmin", qmin), _integer("qmax", qmax)


def read_beside(x, scale, zero_point, dtype, real=False):
    """scale and zero_point of `read`, for a tensor x that has or shall have this type."""
    computed = torch.float64 if dtype == torch.float64 else torch.float32
    return _parameter("scale", scale, x, computed, True), _parameter("zero_point", zero_point, x, computed, real)


def check_type_of_x(x):
    """TypeError for what fq does not compute with."""
    if not isinstance(x, torch.Tensor) or x.dtype not in TYPES:
        found = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor of float16, bfloat16, float32 or float64, got {found}")


def can_be_seen(value):
    """Whether values are there to be checked at once: not in compiled code, nor on a device that is waited for."""
    return not torch.compiler.is_compiling() and _memory.is_plain(value)


def at_least(scale, eps):
    """scale, and eps where scale is less, with the derivative of scale everywhere: training can bring it back."""
    if eps is None:
        return scale
    eps = known_eps(eps)
    return torch.where(scale < eps, scale - scale.detach() + eps, scale)


def nearest_level(zero_point, qmin, qmax):
    """The integers nearest to a real zero point within [qmin, qmax]; for NaN one that lies outside of any range."""
    if not zero_point.dtype.is_floating_point:
        return zero_point
    level = zero_point.detach().round().nan_to_num(0).clamp(qmin, qmax).long()
    return torch.where(zero_point.isnan(), torch.iinfo(torch.int64).min, level)


def _integer(name, value):
    if isinstance(value, int | torch.SymInt):
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {type(value).__name__}") from None


def _parameter(name, value, x, computed, real):
    """A tensor that broadcasts into x, in the type computed in where it may be real and is."""
    value, shape = _beside(name, tensor(name, value), x), x.shape
    is_real = value.is_floating_point()
    if value.is_complex() or (is_real and not real):
        what = "a real number" if real or name == "scale" else "an integer"
        way_out = "" if value.is_complex() else f": give {name}.long(), or take fake_quantize_learnable to learn it"
        raise TypeError(f"{name} must be {what} or a tensor of them, got {value.dtype}{way_out}")
    if not broadcasts_into(tuple(value.shape), tuple(shape)):
        raise ValueError(
            f"{name} must broadcast into x of shape {tuple(shape)}, got shape {tuple(value.shape)}"
            + _shape_beside(tuple(value.shape), tuple(shape))
        )
    if value.dtype == torch.uint64 and name != "scale":
        value = _signed(value)
    return value.to(computed) if is_real or name == "scale" else value


def _signed(zero_point):
    """A zero point of uint64 as int64, where no level beyond int64 is taken for a negative one."""
    level = zero_point.long()
    if not torch.compiler.is_compiling() and _memory.is_plain(zero_point) and (level < 0).any():
        beyond = max(zero_point.flatten().tolist())
        raise ValueError(f"zero_point must be a level of int64, got {beyond}")
    return torch.where(level < 0, torch.iinfo(torch.int64).max, level)


def _shape_beside(shape, into):
    """The shape that would do, of one value for each channel, in words."""
    lengths = [length for length in shape if length != 1]
    axes = [axis for axis, length in enumerate(into) if lengths == [length]]
    if not axes:
        return ""
    return f": reshape it to {(lengths[0], *(1 for _ in into[axes[0] + 1 :]))}"


def tensor(name, value):
    """Numbers and arrays as tensors; a number with all its digits."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, int | float):
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)
    try:
        return torch.from_numpy(np.array(value))
    except TypeError:
        raise TypeError(f"{name} must be a number or a tensor of them, got {type(value).__name__}") from None


def _beside(name, value, x):
    """A parameter on x's device; a single value goes there by itself."""
    if value.device == x.device or value.is_meta or x.is_meta:
        return value
    if value.numel() > 1:
        raise ValueError(f"{name} must be on the device of x, {x.device}, got {value.device}: give {name}.to(x.device)")
    return value.to(x.device)
