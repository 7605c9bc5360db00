"""The formula in PyTorch's own operations: for forward mode and all of torch.func, and for other devices than the CPU.

Under a transform a mask of a byte per element is kept, which every transform of PyTorch can carry; else it is packed.
The bits of y are those of the kernels.
"""

import numpy as np
import torch

import fq
from fq.torch import _memory
from fq.torch._arguments import nearest_level

NO_SECOND = "fake_quantize_learnable has no second derivative: its gradients cannot be differentiated again"


def fixed(x, scale, zero_point, qmin, qmax, reciprocal):
    """`fake_quantize` with a tangent and any number of derivatives."""
    scale = checked(x, scale, zero_point, qmin, qmax, reciprocal)
    return _Fixed.apply(x, scale, zero_point, qmin, qmax, reciprocal)[0]


def packed(x, scale, zero_point, qmin, qmax, reciprocal, enabled=None):
    """`fake_quantize` on any device, which keeps a bit per element."""
    scale = checked(x, scale, zero_point, qmin, qmax, reciprocal)
    return _PackedBits.apply(x, scale, zero_point, qmin, qmax, reciprocal, enabled)


@torch.compiler.disable
def learnable(x, scale, zero_point, qmin, qmax, reciprocal):
    """`fake_quantize_learnable` with a tangent and one derivative."""
    return learned_elsewhere(x, scale, zero_point, qmin, qmax, reciprocal)


def learned_elsewhere(x, scale, zero_point, qmin, qmax, reciprocal):
    """The same in code that is compiled, for other devices."""
    scale = checked(x, scale, nearest_level(zero_point, qmin, qmax), qmin, qmax, reciprocal)
    return _Learnable.apply(x, scale, zero_point, qmin, qmax, reciprocal)


def check(scale, zero_point, qmin, qmax, reciprocal):
    """ValueError for parameters that `fq.fake_quantize` refuses; values that only a tracer knows are not checked."""
    scale, zero_point = unwrapped(scale), unwrapped(zero_point)
    if not all(_memory.is_plain(one) and one.numel() for one in (scale, zero_point)):
        return
    with torch._C._DisableFuncTorch():
        scale, zero_point = _memory.flat(scale), _memory.flat(zero_point)
    function = (fq.reciprocal if reciprocal else fq).fake_quantize
    function(np.zeros_like(scale), scale, zero_point[0], qmin, qmax)
    function(np.zeros(zero_point.shape, scale.dtype), scale[0], zero_point, qmin, qmax)


def checked(x, scale, zero_point, qmin, qmax, reciprocal, residual=False):
    """scale, after `check`. Elsewhere than on the CPU the values are not waited for: NaN stands for a refused set."""
    if x.device.type in ("cpu", "meta"):
        check(scale, zero_point, qmin, qmax, reciprocal)
        return scale
    if qmin > qmax:
        raise ValueError(f"qmin must not exceed qmax, got qmin {qmin} and qmax {qmax}")
    good = (scale > 0) & (scale < torch.inf) & (qmin <= zero_point) & (zero_point <= qmax)
    if reciprocal:
        good = good & (1 / scale < torch.inf)
    most = (2**53 if scale.dtype == torch.float64 else 2**24) >> (9 if residual else 0)
    good = good & (zero_point.long() - qmin <= most) & (qmax - zero_point.long() <= most)
    return torch.where(good, scale, torch.nan)


def unwrapped(tensor):
    """The tensor that the transforms of torch.func wrapped."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def quotient(x, scale, reciprocal):
    """x / scale, or x * (1 / scale), in the type computed in."""
    x = x.to(scale.dtype)
    return x * _divided(torch.ones_like(scale), scale) if reciprocal else _divided(x, scale)


def _divided(x, by):
    """x / by. What Triton makes of a division in float32 errs in the last places: there float64 gives the quotient."""
    if by.dtype == torch.float32 and by.device.type not in ("cpu", "mps") and torch.compiler.is_compiling():
        return (x.double() / by.double()).float()
    return x / by


def ends(zero_point, qmin, qmax, dtype):
    """The first and last level less zero_point, exact in the type computed in."""
    zero_point = zero_point.long()
    return (qmin - zero_point).to(dtype), (qmax - zero_point).to(dtype)


def forward(x, scale, zero_point, qmin, qmax, reciprocal):
    """y and the mask."""
    level = quotient(x, scale, reciprocal).round()
    low, high = ends(zero_point, qmin, qmax, scale.dtype)
    y = level.clamp(low, high) * scale
    return y.to(x.dtype).masked_fill(_becomes_zero(y, x.dtype), 0.0), (low <= level) & (level <= high)


def _becomes_zero(y, dtype):
    """Whether y is 0 in the type; compiled code may compare y before y is rounded to 16 bits."""
    info = torch.finfo(dtype)
    return y.abs() <= info.smallest_normal * info.eps / 2 if dtype.itemsize == 2 else y == 0


def widest(x):
    """The type that sums are computed in."""
    return torch.float32 if x.device.type == "mps" else torch.float64  # which has no float64


def _slopes(x, scale, zero_point, qmin, qmax, reciprocal):
    """The mask, and the derivatives of y by scale and zero_point, in float64."""
    q, wide = quotient(x, scale, reciprocal), widest(x)
    low, high = ends(zero_point, qmin, qmax, wide)
    level = q.round().to(wide)
    inside = (low <= level) & (level <= high)
    by_scale = torch.where(inside, level - x.to(wide) / scale.to(wide), level.clamp(low, high))
    return inside, by_scale, torch.where(inside, 0.0, -scale.to(wide))


class _Fixed(torch.autograd.Function):
    """y and the mask, which alone is kept."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, scale, zero_point, qmin, qmax, reciprocal):
        return forward(x, scale, zero_point, qmin, qmax, reciprocal)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    def backward(ctx, dy, _):
        return dy * ctx.saved_tensors[0], *[None] * 5

    @staticmethod
    def jvp(ctx, x_tangent, *_):
        return None if x_tangent is None else x_tangent * ctx.saved_tensors[0], None


def pack(mask):
    """A bit per element, low bits first, in bytes."""
    flat = torch.nn.functional.pad(mask.reshape(-1).to(torch.uint8), (0, -mask.numel() % 8)).reshape(-1, 8)
    return (flat << torch.arange(8, dtype=torch.uint8, device=mask.device)).sum(1, dtype=torch.uint8)


def unpack(bits, shape):
    """The mask of this shape."""
    flat = (bits.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8, device=bits.device) & 1).reshape(-1)
    return flat[: shape.numel()].reshape(shape).bool()


class _PackedBits(torch.autograd.Function):
    """y, and packed bits that are kept."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax, reciprocal, enabled):
        y, mask = forward(x, scale, zero_point, qmin, qmax, reciprocal)
        if enabled is not None:
            on = enabled.to(x.device).bool()
            y, mask = torch.where(on, y, x), mask | ~on
        ctx.save_for_backward(pack(mask))
        return y

    @staticmethod
    def backward(ctx, dy):
        return dy * unpack(ctx.saved_tensors[0], dy.shape), *[None] * 6


class _Learnable(torch.autograd.Function):
    """y; x, scale and zero_point are kept."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, scale, zero_point, qmin, qmax, reciprocal):
        return forward(x, scale, nearest_level(zero_point, qmin, qmax), qmin, qmax, reciprocal)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.qmin, ctx.qmax, ctx.reciprocal = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, dy):
        x, scale, zero_point = ctx.saved_tensors
        gradients = LearnedGradients.apply(dy, x, scale, zero_point, ctx.qmin, ctx.qmax, ctx.reciprocal)
        dx, dscale, dzero_point = gradients
        return dx, dscale, dzero_point if zero_point.is_floating_point() else None, *[None] * 3

    @staticmethod
    def jvp(ctx, *tangents):
        x, scale, zero_point = ctx.saved_tensors
        level = nearest_level(zero_point, ctx.qmin, ctx.qmax)
        slopes = _slopes(x, scale, level, ctx.qmin, ctx.qmax, ctx.reciprocal)
        parts = (slope * tangent for slope, tangent in zip(slopes, tangents[:3], strict=True) if tangent is not None)
        return sum(parts, torch.zeros_like(x)).to(x.dtype)


class LearnedGradients(torch.autograd.Function):
    """The gradients of x, scale and zero_point, which have none of their own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(dy, x, scale, zero_point, qmin, qmax, reciprocal):
        level = nearest_level(zero_point, qmin, qmax)
        inside, *slopes = _slopes(x, scale, level, qmin, qmax, reciprocal)
        sums = (
            (dy.to(slope.dtype) * slope).sum_to_size(one.shape).to(scale.dtype)
            for slope, one in zip(slopes, (scale, zero_point), strict=True)
        )
        return dy * inside, *sums

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *_):
        raise NotImplementedError(NO_SECOND)

    @staticmethod
    def jvp(ctx, *_):
        raise NotImplementedError(NO_SECOND)
