"""PyTorch's fake quantization: per tensor, per channel, and with a learnable scale and zero point."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fq.testing.quantizer import Quantizer
from fq.testing.rounder import FORMATS, FloatSupports, Rounder
from fq.testing.subject import Candidate, Supports

_VERSIONS = {"PyTorch": str(torch.__version__)}
_SUPPORTS = Supports(("float32", "float16", "bfloat16", "float64"))
_PER_TENSOR = """\
`torch.fake_quantize_per_tensor_affine` multiplies by 1 / scale, in float32 for float64 too, so values on and beside
ties may go to the other side, and a scale whose reciprocal overflows makes NaN. NaN goes to the first level."""
_PER_CHANNEL = """\
`torch.fake_quantize_per_channel_affine` multiplies as well, and converts the level to a 64-bit integer before it
clamps: infinities, NaN and values beyond 2**63 steps all go to the first level."""
_LEARNABLE = """\
`torch._fake_quantize_learnable_per_tensor_affine`: y is that of the per-tensor function. The gradients add zero_point
before rounding, and truncate zero_point + 0.5: with a negative zero_point they are those of the next."""

_TO_INTEGERS = """\
`torch.quantize_per_tensor` multiplies by 1 / scale, and gives tensors that hold their scale. NaN is converted to an
integer as the processor does."""
_CASTS = """\
`Tensor.to` of a float8: beyond the largest number float8_e4m3fn saturates since PyTorch 2.13, infinities too;
float8_e5m2 gives infinities, and the FNUZ formats NaN."""
_QTYPES = {(-128, 127): torch.qint8, (0, 255): torch.quint8}


def candidates(_arithmetic: str) -> list[Candidate]:
    """Three."""
    channels = Supports(("float32",), channels=True)
    y, of_channels = _tensor_y, _channel_y
    return [
        Candidate("PyTorch", y, _SUPPORTS, _PER_TENSOR, _VERSIONS, _tensor_mask, _gradient_of(y)),
        Candidate(
            "PyTorch per channel", of_channels, channels, _PER_CHANNEL, _VERSIONS, gradient=_gradient_of(of_channels)
        ),
        Candidate(
            "PyTorch learnable",
            _learnable_y,
            Supports(("float32",)),
            _LEARNABLE,
            _VERSIONS,
            gradient=_gradient_of(_learnable_y),
            learnable=_learnable,
        ),
    ]


def rounders(_arithmetic: str) -> list[Rounder]:
    """Casts to the types that PyTorch has."""
    formats = tuple(name for name in FORMATS if hasattr(torch, f"float8_{name}"))
    types = ("float32", "float16", "bfloat16", "float64")
    return [Rounder("PyTorch cast", _cast, FloatSupports(types, formats=formats, scales=False), _CASTS, _VERSIONS)]


def _cast(x: Any, _scale: Any, format: str) -> Any:
    return x.to(getattr(torch, f"float8_{format}")).to(x.dtype)


def _tensor_y(x: Any, *qparams: Any) -> Any:
    return torch.fake_quantize_per_tensor_affine(x, *qparams)


def _tensor_mask(x: Any, *qparams: Any) -> Any:
    return torch.ops.aten.fake_quantize_per_tensor_affine_cachemask(x, *qparams)[1]


def _gradient_of(function: Callable[..., Any]) -> Callable[..., Any]:
    def gradient(dy: Any, x: Any, *qparams: Any) -> Any:
        function(x.requires_grad_(), *qparams).backward(dy)
        return x.grad

    return gradient


def _channel_y(x: Any, scale: Any, zero_point: Any, qmin: int, qmax: int) -> Any:
    """A scale that is a number is one for the only channel of an axis put before the others."""
    if not isinstance(scale, torch.Tensor):
        return _channel_y(x[None], torch.full((1,) * (x.ndim + 1), scale), torch.tensor(zero_point), qmin, qmax)[0]
    axis = int(np.argmax(scale.shape))
    zero_points = zero_point.expand(scale.shape).reshape(-1).to(torch.int32)
    return torch.fake_quantize_per_channel_affine(x, scale.reshape(-1), zero_points, axis, qmin, qmax)


def _learnable_parts(x: Any, scale: float, zero_point: int, qmin: int, qmax: int) -> tuple[tuple[Any, Any], Any]:
    """scale and zero_point as parameters, and y."""
    parameters = torch.tensor([scale], requires_grad=True), torch.tensor([float(zero_point)], requires_grad=True)
    return parameters, torch._fake_quantize_learnable_per_tensor_affine(x, *parameters, qmin, qmax, 1.0)


def _learnable_y(x: Any, *qparams: Any) -> Any:
    return _learnable_parts(x, *qparams)[1]


def _learnable(dy: Any, x: Any, *qparams: Any) -> Any:
    (scale, zero_point), y = _learnable_parts(x.requires_grad_(), *qparams)
    y.backward(dy)
    return x.grad, scale.grad[0], zero_point.grad[0]


def quantizers(_arithmetic: str) -> list[Quantizer]:
    """One."""
    supports = Supports(("float32",), tuple(_QTYPES))
    return [Quantizer("PyTorch", _quantized, supports, _TO_INTEGERS, _VERSIONS, _dequantized)]


def _quantized(x: Any, scale: float, zero_point: int, qmin: int, qmax: int) -> Any:
    if not isinstance(x, torch.Tensor):
        raise TypeError("x must be a tensor")
    return torch.quantize_per_tensor(x, scale, zero_point, _QTYPES[qmin, qmax]).int_repr()


def _dequantized(q: Any, scale: float, zero_point: int, *ends: int) -> Any:
    whole = torch._make_per_tensor_quantized_tensor(torch.as_tensor(q), scale, zero_point)
    return torch.dequantize(whole)
