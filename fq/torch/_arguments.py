"""Arguments of the functions for PyTorch: checked in NumPy's words, and made tensors of fq's types."""

import operator

import numpy as np
import torch

from fq.learnable import broadcasts_into

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
    if not isinstance(x, torch.Tensor) or x.dtype not in TYPES:
        found = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor of float16, bfloat16, float32 or float64, got {found}")
    check_device("x", x)
    computed = torch.float64 if x.dtype == torch.float64 else torch.float32
    scale = _parameter("scale", scale, x.shape, computed, True)
    zero_point = _parameter("zero_point", zero_point, x.shape, computed, real)
    return x, scale, zero_point, _integer("qmin", qmin), _integer("qmax", qmax)


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


def _parameter(name, value, shape, computed, real):
    """A tensor that broadcasts into a shape, in the type computed in where it may be real and is."""
    value = _tensor(name, value)
    is_real = value.is_floating_point()
    if value.is_complex() or (is_real and not real):
        what = "a real number" if real else "an integer"
        raise TypeError(f"{name} must be {what} or a tensor of them, got {value.dtype}")
    check_device(name, value)
    if not broadcasts_into(tuple(value.shape), tuple(shape)):
        raise ValueError(f"{name} must broadcast into x of shape {tuple(shape)}, got shape {tuple(value.shape)}")
    return value.to(computed) if is_real or name == "scale" else value


def _tensor(name, value):
    """Numbers and arrays as tensors; a number with all its digits."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, int | float):
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)
    try:
        return torch.from_numpy(np.array(value))
    except TypeError:
        raise TypeError(f"{name} must be a number or a tensor of them, got {type(value).__name__}") from None


def check_device(name, tensor):
    """NotImplementedError for a tensor that is elsewhere."""
    if tensor.device.type not in ("cpu", "meta"):
        raise NotImplementedError(f"fq.torch computes on the CPU, but {name} is on {tensor.device}: use .cpu()")
