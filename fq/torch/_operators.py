"""fq's functions as custom operators of torch.library, with their gradients, on tensors of any memory format.

`order` is a permutation of x's axes, outermost first in memory. The operators work on x so permuted, with neighbouring
axes made one where the parameters allow it: per tensor on all of x as one row, whatever its format. The bits are
packed along the last of those axes.

torch.library's way into an operator costs 60 to 100 us a call. A plain tensor, where nothing is compiled or traced,
goes to the same Python functions through `torch.autograd.Function`, which costs a third.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import fq
from fq import _core
from fq.torch._arguments import nearest_level

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None


def fixed(x, scale, zero_point, qmin, qmax, reciprocal, enabled=None):
    """Fake quantization with a gradient for x alone.

    enabled : Tensor of one element, or None
        Where it is 0, y is a copy of x and the gradient passes everywhere.
    """
    grid = (scale, zero_point, qmin, qmax, reciprocal, memory_order(x), enabled)
    at_once = runs_at_once(x)
    if x.requires_grad and torch.is_grad_enabled():
        return _Packed.apply(x, *grid) if at_once else forward_packed(x, *grid)[0]
    return (_fake_quantize if at_once else fake_quantize)(x, *grid)


def learnable(x, scale, zero_point, qmin, qmax, reciprocal):
    """Fake quantization with gradients for scale, and for zero_point where it is real."""
    run = _Learnable.apply if runs_at_once(x, scale, zero_point) else fake_quantize_learnable
    return run(x, scale, zero_point, qmin, qmax, reciprocal, memory_order(x))


def runs_at_once(*tensors):
    """Whether these are ordinary tensors on the CPU, and nothing compiles, traces or transforms the call."""
    in_a_mode = torch.utils._python_dispatch.is_in_torch_dispatch_mode()
    if in_a_mode or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return all(
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        for tensor in tensors
    )


def memory_order(x):
    """x's axes, the one with the largest stride first."""
    return list(range(x.dim())) if x.is_contiguous() else list(x.dim_order())


def operator(name):
    """Makes an operator of a function, beside it."""
    return torch.library.custom_op(f"fq::{name}", mutates_args=(), device_types="cpu")


def _fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    qmin: int,
    qmax: int,
    reciprocal: bool,
    order: Sequence[int],
    enabled: Tensor | None = None,
) -> Tensor:
    x = dense(x, order)
    y = _new_output(x, order)
    if _is_off(enabled):
        return y.copy_(x)
    a, out, s, z = rows(order, (x, y), scale, zero_point)
    _core._into_new(_arithmetic(reciprocal).fake_quantize, out, a, s, z, qmin, qmax)
    return y


fake_quantize = operator("fake_quantize")(_fake_quantize)


@fake_quantize.register_fake
def _(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    return torch.empty_like(dense(x, order))


def _forward_packed(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    qmin: int,
    qmax: int,
    reciprocal: bool,
    order: Sequence[int],
    enabled: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    x = dense(x, order)
    y = _new_output(x, order)
    bits = torch.empty(_bits_shape(x, scale, zero_point, order), dtype=torch.uint8)
    a, out, s, z = rows(order, (x, y), scale, zero_point)
    if _is_off(enabled):
        bits.numpy()[...] = np.packbits(np.ones(a.shape[-1], bool), bitorder="little")
        return y.copy_(x), bits
    _core._into_new(_arithmetic(reciprocal).forward_packed, (out, bits.numpy()), a, s, z, qmin, qmax)
    return y, bits


forward_packed = operator("forward_packed")(_forward_packed)


@forward_packed.register_fake
def _(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    bits = x.new_empty(_bits_shape(x, scale, zero_point, order), dtype=torch.uint8)
    return torch.empty_like(dense(x, order)), bits


def _keep_bits(ctx, inputs, output):
    x, scale, zero_point, _, _, _, order, _ = inputs
    ctx.save_for_backward(output[1])
    ctx.order, ctx.row = order, _layout(x, scale, zero_point, order)[0][-1]


def _pass_where_kept(ctx, dy, _=None, at_once=False):
    run = _backward_packed if at_once else backward_packed
    return run(dy, ctx.saved_tensors[0], ctx.order, ctx.row), *[None] * 7


forward_packed.register_autograd(_pass_where_kept, setup_context=_keep_bits)


def _backward_packed(dy: Tensor, bits: Tensor, order: Sequence[int], row: int) -> Tensor:
    dy = dense(dy, order)
    dx = _new_output(dy, order)
    count = dy.numel() // max(row, 1)
    a, out = (in_memory_order(tensor, order).reshape(count, row) for tensor in (dy, dx))
    _core._into_new(fq.backward_packed, out, a, bits.numpy().reshape(count, (row + 7) // 8))
    return dx


backward_packed = operator("backward_packed")(_backward_packed)


@backward_packed.register_fake
def _(dy, bits, order, row):
    return torch.empty_like(dense(dy, order))


def _keep_same_bits(ctx, inputs, output):
    ctx.save_for_backward(inputs[1])
    ctx.order, ctx.row = inputs[2:]


def _pass_again(ctx, ddx):
    return backward_packed(ddx, ctx.saved_tensors[0], ctx.order, ctx.row), None, None, None


backward_packed.register_autograd(_pass_again, setup_context=_keep_same_bits)


class _Packed(torch.autograd.Function):
    """y of `forward_packed`."""

    @staticmethod
    def forward(ctx, x, *grid):
        output = _forward_packed(x, *grid)
        _keep_bits(ctx, (x, *grid), output)
        return output[0]

    @staticmethod
    def backward(ctx, dy):
        return _pass_where_kept(ctx, dy, at_once=not torch.is_grad_enabled() and runs_at_once(dy))


def _fake_quantize_learnable(
    x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, reciprocal: bool, order: Sequence[int]
) -> Tensor:
    x = dense(x, order)
    y = _new_output(x, order)
    a, out, s, z = rows(order, (x, y), scale, nearest_level(zero_point, qmin, qmax))
    _core._into_new(_arithmetic(reciprocal).fake_quantize, out, a, s, z, qmin, qmax)
    return y


fake_quantize_learnable = operator("fake_quantize_learnable")(_fake_quantize_learnable)


@fake_quantize_learnable.register_fake
def _(x, scale, zero_point, qmin, qmax, reciprocal, order):
    return torch.empty_like(dense(x, order))


def _backward_learnable(
    dy: Tensor,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    qmin: int,
    qmax: int,
    reciprocal: bool,
    order: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    dy, x = dense(dy, order), dense(x, order)
    dx = _new_output(x, order)
    d, a, out, s, z = rows(order, (dy, x, dx), scale, nearest_level(zero_point, qmin, qmax))
    _, dscale, dzero_point = _arithmetic(reciprocal).backward_learnable(d, a, s, z, qmin, qmax, out=(out, None, None))
    return dx, _sums_like(dscale, scale, x, order), _sums_like(dzero_point, zero_point, x, order)


backward_learnable = operator("backward_learnable")(_backward_learnable)


@backward_learnable.register_fake
def _(dy, x, scale, zero_point, qmin, qmax, reciprocal, order):
    sums = (torch.empty(one.shape, dtype=scale.dtype, device=x.device) for one in (scale, zero_point))
    return torch.empty_like(dense(x, order)), *sums


def _keep_x(ctx, inputs, output):
    x, scale, zero_point, *ctx.grid = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _gradients(ctx, dy, at_once=False):
    x, scale, zero_point = ctx.saved_tensors
    run = _backward_learnable if at_once else backward_learnable
    dx, dscale, dzero_point = run(dy, x, scale, zero_point, *ctx.grid)
    return dx, dscale, dzero_point if zero_point.is_floating_point() else None, *[None] * 4


fake_quantize_learnable.register_autograd(_gradients, setup_context=_keep_x)


class _Learnable(torch.autograd.Function):
    """`fake_quantize_learnable`; its gradients have none of their own, there as here."""

    @staticmethod
    def forward(ctx, *inputs):
        output = _fake_quantize_learnable(*inputs)
        _keep_x(ctx, inputs, output)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        return _gradients(ctx, dy, at_once=runs_at_once(dy))


def _arithmetic(reciprocal):
    return fq.reciprocal if reciprocal else fq


def _is_off(enabled):
    return enabled is not None and not enabled.item()


def dense(x, order):
    """x itself where it lies in memory in this order without gaps, else a copy that does."""
    permuted = x.permute(order)
    return x if permuted.is_contiguous() else permuted.contiguous().permute(_inverse(order))


def _new_output(x, order):
    """An output like x, which is dense, on large pages: new memory costs more than the computation."""
    dx = torch.empty_like(x)
    _core._use_large_pages(in_memory_order(dx, order).reshape(-1).view(np.uint8))
    return dx


def _inverse(order):
    return sorted(range(len(order)), key=order.__getitem__)


def _layout(x, scale, zero_point, order):
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


def _bits_shape(x, scale, zero_point, order):
    *leading, row = _layout(x, scale, zero_point, order)[0]
    return (*leading, (row + 7) // 8)


def rows(order, tensors, *parameters):
    """Views of dense tensors, and their parameters, as NumPy arrays in rows."""
    x = tensors[0]
    lengths, *shapes = _layout(x, *parameters, order)
    arrays = [in_memory_order(tensor, order).reshape(lengths) for tensor in tensors]
    for parameter, shape in zip(parameters, shapes, strict=True):
        array = in_memory_order(_beside(parameter, x), order)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64, copy=False)  # as fq computes with them: nothing is left for NumPy to cast
        arrays.append(array.reshape(() if array.size == 1 else shape))
    return arrays


def _beside(parameter, x):
    """A parameter with as many axes as x has."""
    return parameter.reshape((1,) * (x.dim() - parameter.dim()) + tuple(parameter.shape))


def in_memory_order(tensor, order):
    """The tensor's own memory as an array whose axes are in this order."""
    tensor = tensor.detach().permute(order)
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    if bfloat16 is None:
        raise ImportError("a bfloat16 tensor needs ml_dtypes: pip install ml_dtypes, or fq[torch]")
    return tensor.view(torch.int16).numpy().view(bfloat16)


def _sums_like(sums, parameter, x, order):
    """Sums over rows as a tensor like the parameter that they are for."""
    shape = [_beside(parameter, x).shape[axis] for axis in order]
    tensor = torch.from_numpy(np.asarray(sums)).reshape(shape).permute(_inverse(order))
    return tensor.reshape(parameter.shape).contiguous()
