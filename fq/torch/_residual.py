"""Fake quantization with a learned scale that keeps codes of the residuals in the place of x: `fq.forward_residual`.

As the other functions of fq.torch: C through operators of torch.library, or at once, on the CPU; PyTorch's own
operations on other devices.
"""

import math

import torch

import fq
from fq import _core
from fq.torch import _formula, _memory
from fq.torch._arguments import nearest_level

KEEPS = {"x": 0, "residual": 8, "residual4": 4}


def bits_kept(keep, x):
    """How many bits per element are kept of x; 0 where it is x itself, as of a weight, which lives anyway."""
    if keep not in KEEPS:
        raise ValueError(f"keep must be one of {', '.join(map(repr, KEEPS))}, got {keep!r}")
    if torch.compiler.is_compiling():
        return 0 if isinstance(x, torch.nn.Parameter) else KEEPS[keep]
    return 0 if x.is_leaf and x.requires_grad else KEEPS[keep]


def _suffix(bits):
    return "_packed" if bits == 4 else ""


def _dtype(bits):
    return torch.uint8 if bits == 4 else torch.int8


def _last(bits):
    """The largest code of what was in range."""
    return 2 ** (bits - 1) - 2


def codes_shape(lengths, bits):
    """Of the codes of an array: rows of whole bytes."""
    *leading, row = lengths
    return (*leading, (row * bits + 7) // 8)


def forward_residual(x, scale, zero_point, qmin, qmax, reciprocal, order, bits):
    """y, and the codes of x in its order of memory, in one axis."""
    x = _memory.dense(x, order)
    y = _memory.new_output(x, order)
    a, out, s, z = _memory.rows(order, (x, y), scale, nearest_level(zero_point, qmin, qmax))
    codes = torch.empty(codes_shape(a.shape, bits), dtype=_dtype(bits), device="cpu")
    functions = _core.reciprocal if reciprocal else _core.divide
    _core._into_new(functions[f"forward_residual{_suffix(bits)}"], (out, _memory.bytes_of(codes)), a, s, z, qmin, qmax)
    return y, codes.reshape(-1)


def backward_residual(dy, codes, scale, zero_point, qmin, qmax, reciprocal, order, bits):
    """The gradients of x, scale and zero_point."""
    dy, dx = _memory.new_product(dy, order)
    d, out, s, z = _memory.rows(order, (dy, dx), scale, nearest_level(zero_point, qmin, qmax))
    functions = fq.reciprocal if reciprocal else fq
    kept = _memory.bytes_of(codes).reshape(codes_shape(d.shape, bits))
    backward = getattr(functions, f"backward_residual{_suffix(bits)}")
    _, dscale, dzero_point = backward(d, kept, s, z, qmin, qmax, out=(out, None, None))
    return dx, _memory.sums_like(dscale, scale, dy, order), _memory.sums_like(dzero_point, zero_point, dy, order)


def fake_forward(x, scale, zero_point, qmin, qmax, reciprocal, order, bits):
    """What `forward_residual` gives, without values."""
    lengths = _memory.layout(x, scale, zero_point, order)[0]
    codes = x.new_empty((math.prod(codes_shape(lengths, bits)),), dtype=_dtype(bits))
    return torch.empty_like(_memory.dense(x, order)), codes


def fake_backward(dy, codes, scale, zero_point, qmin, qmax, reciprocal, order, bits):
    """What `backward_residual` gives, without values."""
    sums = (torch.empty(one.shape, dtype=scale.dtype, device=dy.device) for one in (scale, zero_point))
    return torch.empty_like(_memory.dense(dy, order)), *sums


def keep_codes(ctx, inputs, output):
    """For `gradients`."""
    _, scale, zero_point, *ctx.grid = inputs
    ctx.save_for_backward(output[1], scale, zero_point)


def wanted(zero_point, dx, dscale, dzero_point):
    """The gradients of the arguments of a forward."""
    return dx, dscale, dzero_point if zero_point.is_floating_point() else None, *[None] * 5


class AtOnce(torch.autograd.Function):
    """y of plain tensors; codes are kept."""

    @staticmethod
    def forward(ctx, *inputs):
        output = forward_residual(*inputs)
        keep_codes(ctx, inputs, output)
        return output[0]

    @staticmethod
    def backward(ctx, dy):
        codes, scale, zero_point = ctx.saved_tensors
        if dy.layout != torch.strided:
            dy = dy.to_dense()
        return wanted(zero_point, *Gradients.apply(dy, codes, scale, zero_point, *ctx.grid))


class Gradients(torch.autograd.Function):
    """The gradients of x, scale and zero_point, which have none of their own."""

    @staticmethod
    def forward(ctx, dy, codes, scale, zero_point, *grid):
        if _memory.is_plain(dy):
            return backward_residual(dy, codes, scale, zero_point, *grid)
        qmin, qmax, _, order, bits = grid
        lengths = [dy.shape[axis] for axis in order]
        row = _memory.layout(dy, scale, zero_point, order)[0][-1]
        each = _unpacked(codes, bits, row).reshape(lengths).permute(_memory.inverse(order))
        return _formula_gradients(dy, each, scale, zero_point, qmin, qmax, bits)

    @staticmethod
    def backward(ctx, *_):
        raise NotImplementedError(_formula.NO_SECOND)


class Elsewhere(torch.autograd.Function):
    """y on a device that fq's C does not reach; codes are kept."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax, reciprocal, bits):
        level = nearest_level(zero_point, qmin, qmax)
        scale = _formula.checked(x, scale, level, qmin, qmax, reciprocal, residual=True)
        ctx.grid, ctx.bits, ctx.shape = (qmin, qmax), bits, tuple(x.shape)
        y, codes = _formula_forward(x, scale, level, qmin, qmax, reciprocal, bits)
        ctx.save_for_backward(codes, scale, zero_point)
        return y

    @staticmethod
    def backward(ctx, dy):
        codes, scale, zero_point = ctx.saved_tensors
        each = _unpacked(codes, ctx.bits, math.prod(ctx.shape)).reshape(ctx.shape)
        found = FormulaGradients.apply(dy, each, scale, zero_point, *ctx.grid, ctx.bits)
        return wanted(zero_point, *found)[:7]


class FormulaGradients(torch.autograd.Function):
    """The same from codes of x's shape, in PyTorch's own operations."""

    @staticmethod
    def forward(ctx, *arguments):
        return _formula_gradients(*arguments)

    backward = Gradients.backward


def _formula_forward(x, scale, level, qmin, qmax, reciprocal, bits):
    """y and the codes, in one axis."""
    quotient, last = _formula.quotient(x, scale, reciprocal), _last(bits)
    low, high = _formula.ends(level, qmin, qmax, scale.dtype)
    rounded = quotient.round()
    code = ((rounded.clamp(low, high) - quotient) * (2 * last)).round()
    beyond = torch.copysign(torch.full_like(code, last + 1), quotient)
    code = torch.where((low <= rounded) & (rounded <= high), code, beyond)
    code = torch.where(quotient.isnan(), -last - 2, code).to(torch.int8).reshape(-1)
    return _formula.forward(x, scale, level, qmin, qmax, reciprocal)[0], _packed(code) if bits == 4 else code


def _packed(codes):
    """Two codes to a byte, the first one's lowest."""
    pairs = torch.nn.functional.pad(codes & 15, (0, codes.numel() % 2)).to(torch.uint8).reshape(-1, 2)
    return pairs[:, 0] | pairs[:, 1] << 4


def _unpacked(codes, bits, row):
    """Codes of rows of so many elements, in one axis."""
    if bits == 8:
        return codes
    rows = codes.reshape(-1, (row + 1) // 2, 1).to(torch.int16) if row else codes.to(torch.int16)
    if not row:
        return rows
    each = torch.cat([rows & 15, rows >> 4], 2).flatten(1)[:, :row]
    return ((each ^ 8) - 8).to(torch.int8).reshape(-1)


def _formula_gradients(dy, codes, scale, zero_point, qmin, qmax, bits):
    """The gradients of x, scale and zero_point, from the codes of x's shape."""
    last, wide = _last(bits), _formula.widest(dy)
    low, high = _formula.ends(nearest_level(zero_point, qmin, qmax), qmin, qmax, wide)
    inside, above, below = (codes >= -last) & (codes <= last), codes == last + 1, codes == -last - 1
    by_end = torch.where(above, high, torch.where(below, low, torch.nan))
    slopes = torch.where(inside, codes.to(wide) / (2 * last), by_end), torch.where(above | below, -scale.to(wide), 0.0)
    sums = (
        (dy.to(wide) * slope).sum_to_size(one.shape).to(scale.dtype)
        for slope, one in zip(slopes, (scale, zero_point), strict=True)
    )
    return dy * inside, *sums
