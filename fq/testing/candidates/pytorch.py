"""PyTorch's fake quantization: per tensor, per channel, and with a learnable scale and zero point."""

import numpy as np
import torch

from fq.testing.subject import Candidate, Supports

_VERSIONS = {"PyTorch": torch.__version__}
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


def candidates(_arithmetic):
    """Three."""
    channels = Supports(("float32",), channels=True)
    learnable = Supports(("float32",))
    return [
        Candidate("PyTorch", _tensor_y, _SUPPORTS, _PER_TENSOR, _VERSIONS, _tensor_mask, _tensor_gradient),
        Candidate("PyTorch per channel", _channel_y, channels, _PER_CHANNEL, _VERSIONS, None, _channel_gradient),
        Candidate(
            "PyTorch learnable",
            _learnable_y,
            learnable,
            _LEARNABLE,
            _VERSIONS,
            gradient=lambda *args: _learnable(*args)[0],
            learnable=_learnable,
        ),
    ]


def _tensor(array):
    """The tensor that shares the array's memory where PyTorch can, which takes no negative strides."""
    array = np.asarray(array)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor):
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        from ml_dtypes import bfloat16

        return tensor.view(torch.int16).numpy().view(bfloat16)
    return tensor.numpy()


def _tensor_y(x, scale, zero_point, qmin, qmax):
    return _array(torch.fake_quantize_per_tensor_affine(_tensor(x), float(scale), zero_point, qmin, qmax))


def _tensor_mask(x, scale, zero_point, qmin, qmax):
    operation = torch.ops.aten.fake_quantize_per_tensor_affine_cachemask
    return _array(operation(_tensor(x), float(scale), zero_point, qmin, qmax)[1])


def _tensor_gradient(dy, x, scale, zero_point, qmin, qmax):
    x = _tensor(x).requires_grad_()
    torch.fake_quantize_per_tensor_affine(x, float(scale), zero_point, qmin, qmax).backward(_tensor(dy))
    return _array(x.grad)


def _per_channel(x, scale, zero_point, qmin, qmax):
    """A scale that is a number is one for the only channel of an axis put before the others."""
    if np.ndim(scale) == 0:
        return _per_channel(x[None], np.reshape(scale, (1,) + (1,) * x.ndim), zero_point, qmin, qmax)[0]
    axis = int(np.argmax(scale.shape))
    channels = torch.from_numpy(scale.reshape(-1).astype(np.float32))
    zero_points = torch.from_numpy(np.broadcast_to(zero_point, scale.shape).reshape(-1).astype(np.int32))
    return torch.fake_quantize_per_channel_affine(x, channels, zero_points, axis, qmin, qmax)


def _channel_y(x, *qparams):
    return _array(_per_channel(_tensor(x), *qparams))


def _channel_gradient(dy, x, *qparams):
    x = _tensor(x).requires_grad_()
    _per_channel(x, *qparams).backward(_tensor(dy))
    return _array(x.grad)


def _learnable_parts(x, scale, zero_point, qmin, qmax):
    parts = [_tensor(x), torch.tensor([float(scale)]), torch.tensor([float(zero_point)])]
    parts = [part.requires_grad_() for part in parts]
    return parts, torch._fake_quantize_learnable_per_tensor_affine(*parts, qmin, qmax, 1.0)


def _learnable_y(x, *qparams):
    return _array(_learnable_parts(x, *qparams)[1])


def _learnable(dy, x, *qparams):
    parts, y = _learnable_parts(x, *qparams)
    y.backward(_tensor(dy))
    dx, dscale, dzero_point = (_array(part.grad) for part in parts)
    return dx, dscale[0], dzero_point[0]
