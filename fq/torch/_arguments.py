"""Arguments of the functions for PyTorch: checked in NumPy's words, and made tensors of fq's types."""

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

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `fq.torch.fake_quantize` says.
    """
    if not isinstance(x, torch.Tensor) or x.dtype not in TYPES:
        found = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor of float16, bfloat16, float32 or float64, got {found}")
    for name, value in (("qmin", qmin), ("qmax", qmax)):
        if not isinstance(value, int | torch.SymInt):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    computed = torch.float64 if x.dtype == torch.float64 else torch.float32
    scale = _parameter("scale", scale, x, computed, True)
    return x, scale, _parameter("zero_point", zero_point, x, computed, real)


def nearest_level(zero_point, qmin, qmax):
    """The integers nearest to a real zero point within [qmin, qmax]; for NaN one that lies outside of any range."""
    if not zero_point.dtype.is_floating_point:
        return zero_point
    level = zero_point.detach().round().nan_to_num(0).clamp(qmin, qmax).long()
    return torch.where(zero_point.isnan(), torch.iinfo(torch.int64).min, level)


def _parameter(name, value, x, computed, real):
    """A tensor beside x, in the type computed in where it may be real and is."""
    if isinstance(value, torch.Tensor):
        kind = "complex" if value.is_complex() else "real" if value.is_floating_point() else "integer"
    else:
        kind = "integer" if isinstance(value, int) else "real" if isinstance(value, float) else "neither"
    if not (kind == "integer" or (real and kind == "real")):
        what = "a real number" if real else "an integer"
        found = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
        raise TypeError(f"{name} must be {what} or a tensor of them, got {found}")
    to_real = name == "scale" or kind == "real"
    if not isinstance(value, torch.Tensor):
        value = torch.tensor(value, dtype=computed if to_real else torch.int64, device=x.device)
    _check_device(name, value, x)
    if not broadcasts_into(tuple(value.shape), tuple(x.shape)):
        raise ValueError(f"{name} must broadcast into x of shape {tuple(x.shape)}, got shape {tuple(value.shape)}")
    return value.to(computed) if to_real else value


def _check_device(name, value, x):
    for what, tensor in (("x", x), (name, value)):
        if tensor.device.type not in ("cpu", "meta"):
            raise NotImplementedError(f"fq.torch computes on the CPU, but {what} is on {tensor.device}: use .cpu()")
