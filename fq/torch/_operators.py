"""fq's functions as custom operators of torch.library, with their gradients, on tensors of any memory format.

The operators work on x in its order of memory (`_memory.py`), and pack bits along the last axis in it.

Compiled and traced code calls the operators. A plain tensor, where nothing is compiled or traced, goes to the same
Python functions through `torch.autograd.Function`, where `_fast.py` has not done the work. Where a transform of
PyTorch's wants more of the call, or x is on another device, `_formula.py` computes.
"""

import functools
import math

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

import fq
from fq import _core
from fq.torch import _formula, _memory, _residual
from fq.torch._arguments import nearest_level

NO_FORWARD_MODE = "forward mode does not reach into what torch.compile made of fq.torch: leave torch.compile out of it"


def fixed(x, scale, zero_point, qmin, qmax, reciprocal, enabled=None, inplace=False):
    """Fake quantization with a gradient for x alone.

    enabled : Tensor of one element, or None
        Where it is 0, y is a copy of x and the gradient passes everywhere.
    inplace : bool
        Whether y is written over x.
    """
    order = _memory.memory_order(x)
    grid = (scale, zero_point, qmin, qmax, reciprocal, order, enabled)
    if inplace:
        return _fixed_over(x, *grid)
    if is_transformed(x, scale, zero_point):
        return _transformed(x, *grid)
    if is_elsewhere(x):
        return _elsewhere(x, *grid)
    at_once = runs_at_once(x)
    if not (x.requires_grad and torch.is_grad_enabled()):
        return (_fake_quantize if at_once else fake_quantize)(x, *grid)
    return _Packed.apply(x, *grid, False) if at_once else forward_packed(x, *grid)[0]


def is_elsewhere(x):
    """Whether x is on a device that fq's C does not reach."""
    return x.device.type not in ("cpu", "meta")


def _elsewhere(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled):
    return _formula.packed(x, scale, zero_point, qmin, qmax, reciprocal, enabled)


@torch.compiler.disable
def _transformed(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled):
    return x.clone() if _is_off(enabled) else _formula.fixed(x, scale, zero_point, qmin, qmax, reciprocal)


def _fixed_over(x, *grid):
    """x, after y was written over it as PyTorch's own in-place operations would write it."""
    order, enabled = grid[-2:]
    if is_transformed(x, *grid[:2]) or not runs_at_once(x):
        return x.copy_(fixed(x, *grid[:5], enabled))
    if not _memory.belongs_to_pytorch(x):
        raise ValueError(
            "inplace=True does not write to memory that PyTorch does not own or that an array shares, as x's does: of "
            "NumPy, DLPack, a buffer or a mapped file. Leave inplace out, or give x.clone()"
        )
    if not _memory.may_be_written_over(x, order):
        return x.copy_(fixed(x, *grid[:5], enabled))
    if _is_off(enabled):
        return x.mul_(1)  # PyTorch's own, which moves the version counter
    _formula.check(*grid[:5])
    if x.requires_grad and torch.is_grad_enabled():
        return _Packed.apply(x, *grid, True)
    torch.autograd.graph.increment_version(x)
    return _quantize_into(x, x, *grid[:6])


def is_given_up(x):
    """Whether a new result of a module can be overwritten: the operation that made it did not save it."""
    if torch.compiler.is_compiling() or is_transformed(x) or not runs_at_once(x):
        return False  # a compiler reuses memory by itself
    saved_by_its_maker = hasattr(type(x.grad_fn), "_saved_result")
    is_free = _memory.belongs_to_pytorch(x) and _memory.may_be_written_over(x, _memory.memory_order(x))
    return is_free and not saved_by_its_maker


def learnable(x, scale, zero_point, qmin, qmax, reciprocal, keep="x"):
    """Fake quantization with gradients for scale, and for zero_point where it is real. keep: as in _residual.KEEPS."""
    bits = _residual.bits_kept(keep, x)
    if is_transformed(x, scale, zero_point):
        return _formula.learnable(x, scale, zero_point, qmin, qmax, reciprocal)
    if bits:
        return _learnable_by_codes(x, scale, zero_point, qmin, qmax, reciprocal, bits)
    if is_elsewhere(x):
        return _formula.learned_elsewhere(x, scale, zero_point, qmin, qmax, reciprocal)
    run = _Learnable.apply if runs_at_once(x, scale, zero_point) else fake_quantize_learnable
    return run(x, scale, zero_point, qmin, qmax, reciprocal, _memory.memory_order(x))


def _learnable_by_codes(x, scale, zero_point, qmin, qmax, reciprocal, bits):
    if is_elsewhere(x):
        return _residual.Elsewhere.apply(x, scale, zero_point, qmin, qmax, reciprocal, bits)
    arguments = x, scale, zero_point, qmin, qmax, reciprocal, _memory.memory_order(x), bits
    if runs_at_once(x, scale, zero_point):
        return _residual.AtOnce.apply(*arguments)
    return forward_residual(*arguments)[0]


def is_transformed(*tensors):
    """Whether forward mode or a transform of torch.func wants more of a call than values and one gradient."""
    if torch.compiler.is_compiling() or _in_forward_mode():
        return _in_forward_mode()
    return torch._C._are_functorch_transforms_active() or any(
        map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)
    )


@torch.compiler.assume_constant_result
def _in_forward_mode():
    return forward_ad._current_level >= 0


def runs_at_once(*tensors):
    """Whether these are ordinary tensors on the CPU, and nothing compiles, traces or transforms the call."""
    return nothing_watches() and all(map(_memory.is_plain, tensors))


def nothing_watches():
    """Whether nothing compiles, traces or transforms what is called now."""
    return not (
        torch.compiler.is_compiling()
        or forward_ad._current_level >= 0
        or is_in_torch_dispatch_mode()
        or torch._C._are_functorch_transforms_active()
        or torch._C._is_tracing()
    )


_LIBRARY = torch.library.Library("fq", "DEF")


def operator(schema):
    """Makes an operator of a function, which refuses tangents: torch.library would lose them in silence."""

    def made(function):
        @functools.wraps(function)
        def refusing(*arguments, **named):
            if forward_ad._current_level >= 0:
                raise NotImplementedError(NO_FORWARD_MODE)
            return function(*arguments, **named)

        name = schema[: schema.index("(")]
        _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        _LIBRARY.impl(name, refusing, "CPU")
        return getattr(torch.ops.fq, name).default

    return made


_GRID = "Tensor x, Tensor scale, Tensor zero_point, SymInt qmin, SymInt qmax, bool reciprocal, SymInt[] order"


def _fake_quantize(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    if not _is_off(enabled):
        y = _core._tensor_forward(x, scale, zero_point, qmin, qmax, reciprocal, None, list(order), False, False)
        if y is not None:
            return y
    x = _memory.dense(x, order)
    y = _memory.new_output(x, order)
    if _is_off(enabled):
        return y.copy_(x)
    return _quantize_into(y, x, scale, zero_point, qmin, qmax, reciprocal, order)


def _quantize_into(y, x, scale, zero_point, qmin, qmax, reciprocal, order):
    """Write and return y, which is new or x itself."""
    a, out, s, z = _memory.rows(order, (x, y), scale, zero_point)
    _core._into_new(_arithmetic(reciprocal).fake_quantize, out, a, s, z, qmin, qmax)
    return y


fake_quantize = operator(f"fake_quantize({_GRID}, Tensor? enabled=None) -> Tensor")(_fake_quantize)


@torch.library.register_fake("fq::fake_quantize")
def _(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    return torch.empty_like(_memory.dense(x, order))


def _forward_packed(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    if not _is_off(enabled):
        found = _core._tensor_forward(x, scale, zero_point, qmin, qmax, reciprocal, None, list(order), True, False)
        if found is not None and found[3] == _memory.layout(x, scale, zero_point, order)[0][-1]:
            y, bits = found[:2]
            return y, torch.full((bits,), 255, dtype=torch.uint8, device="cpu") if isinstance(bits, int) else bits
    x = _memory.dense(x, order)
    y = _memory.new_output(x, order)
    return y, _pack_into(y, x, scale, zero_point, qmin, qmax, reciprocal, order, enabled)


def _pack_into(y, x, scale, zero_point, qmin, qmax, reciprocal, order, enabled):
    """Write y, which is new or x itself; the packed bits."""
    a, out, s, z = _memory.rows(order, (x, y), scale, zero_point)
    bits = torch.empty(_memory.bits_shape(a.shape), dtype=torch.uint8, device="cpu")
    if _is_off(enabled):
        _memory.bytes_of(bits)[...] = np.packbits(np.ones(a.shape[-1], bool), bitorder="little")
        y.copy_(x)
    else:
        _core._into_new(_arithmetic(reciprocal).forward_packed, (out, _memory.bytes_of(bits)), a, s, z, qmin, qmax)
    return bits.reshape(-1)


forward_packed = operator(f"forward_packed({_GRID}, Tensor? enabled=None) -> (Tensor, Tensor)")(_forward_packed)


@torch.library.register_fake("fq::forward_packed")
def _(x, scale, zero_point, qmin, qmax, reciprocal, order, enabled=None):
    lengths = _memory.layout(x, scale, zero_point, order)[0]
    bits = x.new_empty((math.prod(_memory.bits_shape(lengths)),), dtype=torch.uint8)
    return torch.empty_like(_memory.dense(x, order)), bits


SET_BYTE = torch.full((1,), 255, dtype=torch.uint8, device="cpu")


@functools.lru_cache(256)
def full_bits(count):
    """So many bytes of set bits, in the memory of one."""
    return SET_BYTE.expand(count)


def _keep_bits(ctx, inputs, output, at_once=False):
    """For the backward; one byte in their shape where all of x was inside the range, if that is to be seen now: what
    watches the graph, as a checkpoint does, finds a tensor of the same shape in every run."""
    x, scale, zero_point, _, _, _, ctx.order, _ = inputs
    bits = output[1]
    ctx.row = _memory.layout(x, scale, zero_point, ctx.order)[0][-1]
    if at_once:
        all_inside = _core._all_set(_memory.bytes_of(bits), ctx.row)
        bits = full_bits(bits.numel()) if all_inside else bits
    ctx.save_for_backward(bits)


def _is_one_set_byte(bits):
    """Whether bits, as the backward finds them, are one byte for all: a checkpoint may have found others anew."""
    return bits.numel() > 0 and not any(bits.stride()) and bits[(0,) * bits.dim()].item() == 255


def _pass_where_kept(ctx, dy, _=None):
    bits, dx = ctx.saved_tensors[0], None
    if not torch.is_grad_enabled() and nothing_watches():
        dx = _core._tensor_backward(dy, bits, list(ctx.order), ctx.row)  # spares the way into an operator
    return backward_packed(dy, bits, ctx.order, ctx.row) if dx is None else dx, *[None] * 7


torch.library.register_autograd("fq::forward_packed", _pass_where_kept, setup_context=_keep_bits)


def _backward_packed(dy, bits, order, row):
    dx = _core._tensor_backward(dy, bits, list(order), row)
    if dx is not None:
        return dx
    dy, dx = _memory.new_product(dy, order)
    count = dy.numel() // max(row, 1)
    a, out = (_memory.in_memory_order(tensor, order).reshape(count, row) for tensor in (dy, dx))
    _core._into_new(fq.backward_packed, out, a, _memory.bytes_of(bits).reshape(count, (row + 7) // 8))
    return dx


backward_packed = operator("backward_packed(Tensor dy, Tensor bits, SymInt[] order, SymInt row) -> Tensor")(
    _backward_packed
)


@torch.library.register_fake("fq::backward_packed")
def _(dy, bits, order, row):
    return torch.empty_like(_memory.dense(dy, order))


def _keep_same_bits(ctx, inputs, output):
    ctx.save_for_backward(inputs[1])
    ctx.order, ctx.row = inputs[2:]


def _pass_again(ctx, ddx):
    return backward_packed(ddx, ctx.saved_tensors[0], ctx.order, ctx.row), None, None, None


torch.library.register_autograd("fq::backward_packed", _pass_again, setup_context=_keep_same_bits)


class _Packed(torch.autograd.Function):
    """y of `forward_packed`, over x if wanted. dx is memory of its own, also where all was inside."""

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
        return masked(dy, ctx.saved_tensors[0], ctx.order, ctx.row), *[None] * 8


def masked(dy, bits, order, row):
    """dy where the bits are set, in memory of its own."""
    if torch.is_grad_enabled() or not nothing_watches():
        return dy * _memory.mask_of(bits, order, row, dy.shape)
    dx = _core._tensor_backward(dy, bits, order, row)
    if dx is not None:
        return dx
    if not _memory.is_plain(dy):
        return dy * _memory.mask_of(bits, order, row, dy.shape)
    if _is_one_set_byte(bits):
        dy, dx = _memory.new_product(dy, order)
        return dx if dx is dy else dx.copy_(dy)
    return _backward_packed(dy, bits, order, row)


def _fake_quantize_learnable(x, scale, zero_point, qmin, qmax, reciprocal, order):
    y = _core._tensor_forward(x, scale, zero_point, qmin, qmax, reciprocal, None, list(order), False, True)
    if y is not None:
        return y
    x = _memory.dense(x, order)
    level = nearest_level(zero_point, qmin, qmax)
    return _quantize_into(_memory.new_output(x, order), x, scale, level, qmin, qmax, reciprocal, order)


fake_quantize_learnable = operator(f"fake_quantize_learnable({_GRID}) -> Tensor")(_fake_quantize_learnable)


@torch.library.register_fake("fq::fake_quantize_learnable")
def _(x, scale, zero_point, qmin, qmax, reciprocal, order):
    return torch.empty_like(_memory.dense(x, order))


def _backward_learnable(dy, x, scale, zero_point, qmin, qmax, reciprocal, order):
    if zero_point.is_floating_point():
        found = _core._tensor_learn(dy, x, scale, zero_point, qmin, qmax, reciprocal, None, list(order))
        if found is not None:
            return found
    x = _memory.dense(x, order)
    dy, dx = _memory.new_product(dy, order)
    d, a, out, s, z = _memory.rows(order, (dy, x, dx), scale, nearest_level(zero_point, qmin, qmax))
    _, dscale, dzero_point = _arithmetic(reciprocal).backward_learnable(d, a, s, z, qmin, qmax, out=(out, None, None))
    return dx, _memory.sums_like(dscale, scale, x, order), _memory.sums_like(dzero_point, zero_point, x, order)


backward_learnable = operator(f"backward_learnable(Tensor dy, {_GRID}) -> (Tensor, Tensor, Tensor)")(
    _backward_learnable
)


@torch.library.register_fake("fq::backward_learnable")
def _(dy, x, scale, zero_point, qmin, qmax, reciprocal, order):
    sums = (torch.empty(one.shape, dtype=scale.dtype, device=x.device) for one in (scale, zero_point))
    return torch.empty_like(_memory.dense(x, order)), *sums


def _refuse_second_derivative(ctx, *gradients):
    raise NotImplementedError(_formula.NO_SECOND)


torch.library.register_autograd("fq::backward_learnable", _refuse_second_derivative)


def _keep_x(ctx, inputs, output):
    x, scale, zero_point, *ctx.grid = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _gradients(ctx, dy):
    x, scale, zero_point = ctx.saved_tensors
    return _wanted(zero_point, *backward_learnable(dy, x, scale, zero_point, *ctx.grid))


def _wanted(zero_point, dx, dscale, dzero_point):
    return dx, dscale, dzero_point if zero_point.is_floating_point() else None, *[None] * 4


torch.library.register_autograd("fq::fake_quantize_learnable", _gradients, setup_context=_keep_x)


forward_residual = operator(f"forward_residual({_GRID}, int bits) -> (Tensor, Tensor)")(_residual.forward_residual)
torch.library.register_fake("fq::forward_residual")(_residual.fake_forward)

_OF_CODES = _GRID.replace("Tensor x", "Tensor dy, Tensor codes")
backward_residual = operator(f"backward_residual({_OF_CODES}, int bits) -> (Tensor, Tensor, Tensor)")(
    _residual.backward_residual
)
torch.library.register_fake("fq::backward_residual")(_residual.fake_backward)
torch.library.register_autograd("fq::backward_residual", _refuse_second_derivative)


def _gradients_of_codes(ctx, dy, _=None):
    codes, scale, zero_point = ctx.saved_tensors
    return _residual.wanted(zero_point, *backward_residual(dy, codes, scale, zero_point, *ctx.grid))


torch.library.register_autograd("fq::forward_residual", _gradients_of_codes, setup_context=_residual.keep_codes)


class _Learnable(torch.autograd.Function):
    """`fake_quantize_learnable` for plain tensors; its gradients have no gradient."""

    @staticmethod
    def forward(ctx, *inputs):
        output = _fake_quantize_learnable(*inputs)
        _keep_x(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx, dy):
        x, scale, zero_point = ctx.saved_tensors
        return _wanted(zero_point, *learned(dy, x, scale, zero_point, *ctx.grid))


def learned(dy, x, scale, zero_point, qmin, qmax, reciprocal, order):
    """The gradients of x, scale and zero_point."""
    if dy.layout != torch.strided:
        dy = dy.to_dense()
    if torch.is_grad_enabled() and torch._C._functorch.is_legacy_batchedtensor(dy):
        raise NotImplementedError(_formula.NO_SECOND)  # a Function in such a batch would drop out of the graph
    if torch.is_grad_enabled() or not runs_at_once(dy):
        return _formula.LearnedGradients.apply(dy, x, scale, zero_point, qmin, qmax, reciprocal)
    return _backward_learnable(dy, x, scale, zero_point, qmin, qmax, reciprocal, order)


def _arithmetic(reciprocal):
    return fq.reciprocal if reciprocal else fq


def _is_off(enabled):
    return enabled is not None and not enabled.item()
