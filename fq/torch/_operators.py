"""fq's functions as custom operators of torch.library, with their gradients, on tensors of any memory format.

The operators work on x in its order of memory (`_memory.py`), and pack bits along the last axis in it.

torch.library's way into an operator costs 60 to 100 us a call. A plain tensor, where nothing is compiled or traced,
goes to the same Python functions through `torch.autograd.Function`, which costs a third.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import fq
from fq import _core
from fq.torch import _memory, _references
from fq.torch._arguments import nearest_level


def fixed(x, scale, zero_point, qmin, qmax, reciprocal, enabled=None, inplace=False):
    """Fake quantization with a gradient for x alone.

    enabled : Tensor of one element, or None
        Where it is 0, y is a copy of x and the gradient passes everywhere.
    inplace : bool
        Whether x may be overwritten where the graph allows it.
    """
    order = _memory.memory_order(x)
    grid = (scale, zero_point, qmin, qmax, reciprocal, order, enabled)
    at_once = runs_at_once(x)
    if not (x.requires_grad and torch.is_grad_enabled()):
        return (_fake_quantize if at_once else fake_quantize)(x, *grid)
    if at_once:
        return _Packed.apply(x, *grid, inplace and _memory.may_be_overwritten(x, order))
    return forward_packed(x, *grid)[0]


def learnable(x, scale, zero_point, qmin, qmax, reciprocal):
    """Fake quantization with gradients for scale, and for zero_point where it is real."""
    run = _Learnable.apply if runs_at_once(x, scale, zero_point) else fake_quantize_learnable
    return run(x, scale, zero_point, qmin, qmax, reciprocal, _memory.memory_order(x))


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
    x = _memory.dense(x, order)
    y = _memory.new_output(x, order)
    if _is_off(enabled):
        return y.copy_(x)
    a, out, s, z = _memory.rows(order, (x, y), scale, zero_point)
    _core._into_new(_arithmetic(reciprocal).fake_quantize, out, a, s, z, qmin, qmax)
    return y


fake_quantize = operator("fake_quantize")(_fake_quantize)


@fake_quantize.register_fake
def _(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    return torch.empty_like(_memory.dense(x, order))


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
    x = _memory.dense(x, order)
    y = _memory.new_output(x, order)
    return y, _pack_into(y, x, scale, zero_point, qmin, qmax, reciprocal, order, enabled)


def _pack_into(y, x, scale, zero_point, qmin, qmax, reciprocal, order, enabled):
    """Write y, which is new or x itself; the packed bits."""
    a, out, s, z = _memory.rows(order, (x, y), scale, zero_point)
    bits = torch.empty(_memory.bits_shape(a.shape), dtype=torch.uint8)
    if _is_off(enabled):
        bits.numpy()[...] = np.packbits(np.ones(a.shape[-1], bool), bitorder="little")
        y.copy_(x)
    else:
        _core._into_new(_arithmetic(reciprocal).forward_packed, (out, bits.numpy()), a, s, z, qmin, qmax)
    return bits


forward_packed = operator("forward_packed")(_forward_packed)


@forward_packed.register_fake
def _(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    lengths = _memory.layout(x, scale, zero_point, order)[0]
    bits = x.new_empty(_memory.bits_shape(lengths), dtype=torch.uint8)
    return torch.empty_like(_memory.dense(x, order)), bits


_SET = torch.full((1,), 255, dtype=torch.uint8, device="cpu")


def _keep_bits(ctx, inputs, output, at_once=False):
    """For the backward; one byte in their shape where all of x was inside the range, if that is to be seen now: what
    watches the graph, as a checkpoint does, finds a tensor of the same shape in every run."""
    x, scale, zero_point, _, _, _, ctx.order, _ = inputs
    bits = output[1]
    ctx.row = _memory.layout(x, scale, zero_point, ctx.order)[0][-1]
    ctx.all_inside = at_once and _core._all_set(bits.numpy(), ctx.row)
    ctx.save_for_backward(_SET.expand(bits.shape) if ctx.all_inside else bits)


def _pass_where_kept(ctx, dy, _=None):
    return backward_packed(dy, ctx.saved_tensors[0], ctx.order, ctx.row), *[None] * 7


forward_packed.register_autograd(_pass_where_kept, setup_context=_keep_bits)


def _backward_packed(dy: Tensor, bits: Tensor, order: Sequence[int], row: int) -> Tensor:
    dy = _memory.dense(dy, order)
    return _mask_into(_memory.new_output(dy, order), dy, bits, order, row)


def _mask_into(dx, dy, bits, order, row):
    """Write and return dx, which is new or dy itself."""
    count = dy.numel() // max(row, 1)
    a, out = (_memory.in_memory_order(tensor, order).reshape(count, row) for tensor in (dy, dx))
    _core._into_new(fq.backward_packed, out, a, bits.numpy().reshape(count, (row + 7) // 8))
    return dx


backward_packed = operator("backward_packed")(_backward_packed)


@backward_packed.register_fake
def _(dy, bits, order, row):
    return torch.empty_like(_memory.dense(dy, order))


def _keep_same_bits(ctx, inputs, output):
    ctx.save_for_backward(inputs[1])
    ctx.order, ctx.row = inputs[2:]


def _pass_again(ctx, ddx):
    return backward_packed(ddx, ctx.saved_tensors[0], ctx.order, ctx.row), None, None, None


backward_packed.register_autograd(_pass_again, setup_context=_keep_same_bits)


class _Packed(torch.autograd.Function):
    """y of `forward_packed`, over x if wanted. dx is dy where all was inside, else over it if nothing else holds it."""

    @staticmethod
    def forward(ctx, x, *grid_and_place):
        *grid, over_x = grid_and_place
        if over_x:
            ctx.mark_dirty(x)
            y, bits = x, _pack_into(x, x, *grid)
        else:
            y, bits = _forward_packed(x, *grid)
        _keep_bits(ctx, (x, *grid), (y, bits), at_once=True)
        return y

    @staticmethod
    def backward(ctx, dy):
        if ctx.all_inside:
            return dy, *[None] * 8
        if torch.is_grad_enabled() or not runs_at_once(dy):
            return *_pass_where_kept(ctx, dy), None
        found = _references.references(dy)
        dy, dx = _memory.over_or_beside(dy, ctx.order, found)
        return _mask_into(dx, dy, ctx.saved_tensors[0], ctx.order, ctx.row), *[None] * 8


def _fake_quantize_learnable(
    x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, reciprocal: bool, order: Sequence[int]
) -> Tensor:
    x = _memory.dense(x, order)
    y = _memory.new_output(x, order)
    a, out, s, z = _memory.rows(order, (x, y), scale, nearest_level(zero_point, qmin, qmax))
    _core._into_new(_arithmetic(reciprocal).fake_quantize, out, a, s, z, qmin, qmax)
    return y


fake_quantize_learnable = operator("fake_quantize_learnable")(_fake_quantize_learnable)


@fake_quantize_learnable.register_fake
def _(x, scale, zero_point, qmin, qmax, reciprocal, order):
    return torch.empty_like(_memory.dense(x, order))


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
    dy, x = _memory.dense(dy, order), _memory.dense(x, order)
    return _learn_into(_memory.new_output(x, order), dy, x, scale, zero_point, qmin, qmax, reciprocal, order)


def _learn_into(dx, dy, x, scale, zero_point, qmin, qmax, reciprocal, order):
    """Write dx, which is new or dy itself; the three gradients."""
    d, a, out, s, z = _memory.rows(order, (dy, x, dx), scale, nearest_level(zero_point, qmin, qmax))
    _, dscale, dzero_point = _arithmetic(reciprocal).backward_learnable(d, a, s, z, qmin, qmax, out=(out, None, None))
    return dx, _memory.sums_like(dscale, scale, x, order), _memory.sums_like(dzero_point, zero_point, x, order)


backward_learnable = operator("backward_learnable")(_backward_learnable)


@backward_learnable.register_fake
def _(dy, x, scale, zero_point, qmin, qmax, reciprocal, order):
    sums = (torch.empty(one.shape, dtype=scale.dtype, device=x.device) for one in (scale, zero_point))
    return torch.empty_like(_memory.dense(x, order)), *sums


def _keep_x(ctx, inputs, output):
    x, scale, zero_point, *ctx.grid = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _gradients(ctx, dy):
    x, scale, zero_point = ctx.saved_tensors
    return _wanted(zero_point, *backward_learnable(dy, x, scale, zero_point, *ctx.grid))


def _wanted(zero_point, dx, dscale, dzero_point):
    return dx, dscale, dzero_point if zero_point.is_floating_point() else None, *[None] * 4


fake_quantize_learnable.register_autograd(_gradients, setup_context=_keep_x)


class _Learnable(torch.autograd.Function):
    """`fake_quantize_learnable`, with dx over dy as in `_Packed`; there as here its gradients have no gradient."""

    @staticmethod
    def forward(ctx, *inputs):
        output = _fake_quantize_learnable(*inputs)
        _keep_x(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx, dy):
        if torch.is_grad_enabled() or not runs_at_once(dy):
            return _gradients(ctx, dy)
        found = _references.references(dy)
        x, scale, zero_point = ctx.saved_tensors
        order = ctx.grid[-1]
        dy, dx = _memory.over_or_beside(dy, order, found)
        return _wanted(zero_point, *_learn_into(dx, dy, _memory.dense(x, order), scale, zero_point, *ctx.grid))


def _arithmetic(reciprocal):
    return fq.reciprocal if reciprocal else fq


def _is_off(enabled):
    return enabled is not None and not enabled.item()
