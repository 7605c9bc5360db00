"""Float formats and blocks for PyTorch: by fq's C on the CPU, else in PyTorch's own operations."""

import math

import numpy as np
import torch
from torch.overrides import handle_torch_function, has_torch_function

import fq
from fq import _core
from fq.formats import BlockFormat, FloatGrid
from fq.torch import _arguments, _formula, _memory, _operators


def fake_quantize_float(x, scale, format):
    """Round x to the numbers of a float format, times scale, and back, with the straight-through gradient.

    Between forward and backward a bit per element is kept, and one byte where all of x was inside the range.

    Parameters
    ----------
    x : Tensor of float16, bfloat16, float32 or float64
        Values to quantize, of any shape and strides, on any device. bfloat16 needs ml_dtypes.
    scale : Tensor, array or float
        Positive and finite. It broadcasts into x.
    format : FloatGrid
        Of `fq.formats`, as ``fq.formats.e4m3fn``, or one of your own.

    Returns
    -------
    y : Tensor
        Of x's shape, type and memory format: `fq.floats.fake_quantize` of x. Its gradient reaches x where the rounded
        quotient was at most the largest number, and nothing else.

    Raises
    ------
    TypeError
        If x is not of the four types, or format is not a `fq.formats.FloatGrid`.
    ValueError
        If scale does not broadcast into x, or scale or format is refused by `fq.floats.fake_quantize`. On other devices
        than the CPU a refused scale makes y NaN instead.

    Examples
    --------
    >>> import fq, torch
    >>> x = torch.tensor([0.3, 1.0, 500.0], requires_grad=True)
    >>> y = fake_quantize_float(x, 1, fq.formats.e4m3fn)
    >>> y.tolist()
    [0.3125, 1.0, 448.0]
    >>> y.sum().backward()
    >>> x.grad.tolist()
    [1.0, 1.0, 0.0]
    """
    if has_torch_function((x, scale)):
        return handle_torch_function(fake_quantize_float, (x, scale), x, scale, format)
    if not isinstance(format, FloatGrid):
        raise TypeError(f"format must be a FloatGrid of fq.formats, as fq.formats.e4m3fn, got {format!r}")
    x, scale, *_ = _arguments.read(x, scale, 0, 0, 0)
    scale = scale.detach()
    _check_format(format, x.dtype == torch.float64)
    if _operators.is_transformed(x, scale) or _operators.is_elsewhere(x):
        _formula.check(scale, torch.zeros((), dtype=torch.int64), 0, 0, False)
        return _straight(x, *_float_formula(x, scale, format))
    order = _memory.memory_order(x)
    if _operators.runs_at_once(x, scale):
        if not (x.requires_grad and torch.is_grad_enabled()):
            return _forward_float(x, scale, *format, order, keep=False)[0]
        return _Kept.apply(x, order, _row(x, scale, order), _forward_float, (scale, *format))
    return forward_float(x, scale, *format, order)[0]


def fake_quantize_blocks(x, format, *, axis=-1, tensor_scale=None):
    """Round x to blocks that share a scale, and back, with the straight-through gradient.

    Parameters
    ----------
    x : Tensor of float16, bfloat16, float32 or float64
        At least one axis, any strides, on any device. bfloat16 needs ml_dtypes.
    format : BlockFormat
        Of `fq.formats`, as ``fq.formats.mxfp4`` or ``fq.formats.mxfp4._replace(rule="fit")``.
    axis : int
        Along which blocks lie: that of a matrix product's sum.
    tensor_scale : float, optional
        As for `fq.blocks.forward`.

    Returns
    -------
    y : Tensor
        Of x's shape and type: `fq.blocks.fake_quantize` of x. Its gradient reaches x but where elements were clamped,
        and where a block held NaN or an infinity. Nothing was clamped by the rules "up" and "fit": then one byte is
        kept for the backward, else a bit per element.

    Raises
    ------
    TypeError, ValueError
        As of `fq.blocks.forward`.

    Examples
    --------
    >>> import fq, torch
    >>> x = torch.tensor([0.3, 1.0, -5.1, 7.5], requires_grad=True)
    >>> y = fake_quantize_blocks(x, fq.formats.mxfp4)
    >>> y.tolist()
    [0.5, 1.0, -6.0, 6.0]
    >>> y.sum().backward()
    >>> x.grad.tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    if has_torch_function((x,)):
        return handle_torch_function(fake_quantize_blocks, (x,), x, format, axis=axis, tensor_scale=tensor_scale)
    x, *_ = _arguments.read(x, 1.0, 0, 0, 0)
    _check_blocks(format, axis, x.dim(), tensor_scale)
    given = (format, axis % x.dim(), tensor_scale)
    if _operators.is_transformed(x) or _operators.is_elsewhere(x):
        return _straight(x, *_block_formula(x, *given))
    order = list(range(x.dim()))
    if _operators.runs_at_once(x):
        if not (x.requires_grad and torch.is_grad_enabled()):
            return _forward_blocks(x, *given, order, keep=False)[0]
        return _Kept.apply(x, order, x.numel(), _forward_blocks, given)
    grid, block, kind, rule = format
    return forward_blocks(x, *grid, block, kind, rule, axis % x.dim(), tensor_scale)[0]


@torch.compiler.assume_constant_result
def _check_format(format, in_float64):
    """ValueError for what `fq.floats` refuses; once where a call is compiled."""
    fq.floats.fake_quantize(np.zeros((), np.float64 if in_float64 else np.float32), 1, *format)


@torch.compiler.assume_constant_result
def _check_blocks(format, axis, axes, tensor_scale):
    fq.blocks.check_call(format, axis, axes, tensor_scale)


def _row(x, scale, order):
    """Elements of a row whose bits begin a byte."""
    return _memory.layout(x, scale, torch.zeros(()), order)[0][-1] if x.numel() else 0


def _forward_float(x, scale, mantissa_bits, min_exponent, max, signed_zero, order, keep=True):
    """y and its bits, if these are to be kept."""
    x = _memory.dense(x, order)
    y = _memory.new_output(x, order)
    zero = torch.zeros((), dtype=torch.int64)
    a, out, s, _ = _memory.rows(order, (x, y), scale, zero)
    given = (s, mantissa_bits, min_exponent, max, signed_zero)
    if not keep:
        _core._into_new(fq.floats.fake_quantize, out, a, *given)
        return y, None
    bits = torch.empty(_memory.bits_shape(a.shape), dtype=torch.uint8, device="cpu")
    _core._into_new(fq.floats.forward_packed, (out, _memory.bytes_of(bits)), a, *given)
    return y, bits.reshape(-1)


_FLOAT = (
    "Tensor x, Tensor scale, SymInt mantissa_bits, SymInt min_exponent, float max, bool signed_zero, SymInt[] order"
)
forward_float = _operators.operator(f"forward_float({_FLOAT}) -> (Tensor, Tensor)")(_forward_float)


@torch.library.register_fake("fq::forward_float")
def _(x, scale, mantissa_bits, min_exponent, max, signed_zero, order):
    lengths = _memory.layout(x, scale, torch.zeros(()), order)[0]
    bits = x.new_empty((math.prod(_memory.bits_shape(lengths)),), dtype=torch.uint8)
    return torch.empty_like(_memory.dense(x, order)), bits


def _keep_bits_of_float(ctx, inputs, output):
    x, scale, *_, ctx.order = inputs
    ctx.row = _memory.layout(x, scale, torch.zeros(()), ctx.order)[0][-1]
    ctx.save_for_backward(output[1])


def _pass_where_kept(ctx, dy, _=None):
    count = len(ctx.needs_input_grad) - 1
    return _operators.backward_packed(dy, ctx.saved_tensors[0], ctx.order, ctx.row), *[None] * count


torch.library.register_autograd("fq::forward_float", _pass_where_kept, setup_context=_keep_bits_of_float)


def _forward_blocks(x, format, axis, tensor_scale, order, keep=True):
    """y and its bits, if these are to be kept, of all elements as one row."""
    x = _memory.dense(x, order)
    array, how = _memory.in_memory_order(x, order), {"axis": axis, "tensor_scale": tensor_scale}
    if not keep:
        return _tensor_of(fq.blocks.fake_quantize(array, format, **how), x), None
    if x.shape[-1] % 8 == 0:
        y, bits = fq.blocks.forward_packed(array, format, **how)
        return _tensor_of(y, x), torch.from_numpy(bits.reshape(-1))
    y, mask = fq.blocks.forward(array, format, **how)
    return _tensor_of(y, x), torch.from_numpy(np.packbits(mask.reshape(-1), bitorder="little"))


def _tensor_of(array, x):
    """An array of x's type as a tensor; PyTorch does not know NumPy's bfloat16."""
    return (
        torch.from_numpy(array.view(np.int16)).view(x.dtype) if x.dtype == torch.bfloat16 else torch.from_numpy(array)
    )


_BLOCKS = (
    "Tensor x, SymInt mantissa_bits, SymInt min_exponent, float max, bool signed_zero, SymInt block, str scale, "
    "str rule, SymInt axis, float? tensor_scale"
)


@_operators.operator(f"forward_blocks({_BLOCKS}) -> (Tensor, Tensor)")
def forward_blocks(x, mantissa_bits, min_exponent, max, signed_zero, block, scale, rule, axis, tensor_scale):
    """The operator of `_forward_blocks`."""
    format = BlockFormat(FloatGrid(mantissa_bits, min_exponent, max, signed_zero), block, scale, rule)
    return _forward_blocks(x, format, axis, tensor_scale, list(range(x.dim())))


@torch.library.register_fake("fq::forward_blocks")
def _(x, *_):
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    return y, x.new_empty(((x.numel() + 7) // 8,), dtype=torch.uint8)


def _keep_bits_of_blocks(ctx, inputs, output):
    ctx.order, ctx.row = list(range(inputs[0].dim())), inputs[0].numel()
    ctx.save_for_backward(output[1])


torch.library.register_autograd("fq::forward_blocks", _pass_where_kept, setup_context=_keep_bits_of_blocks)


class _Kept(torch.autograd.Function):
    """y of plain tensors, for which bits are kept, or one byte where all are set."""

    @staticmethod
    def forward(ctx, x, order, row, run, given):
        y, bits = run(x, *given, order)
        ctx.order, ctx.row = order, row
        if x.requires_grad:
            ctx.save_for_backward(
                _operators.full_bits(bits.numel()) if _core._all_set(_memory.bytes_of(bits), row) else bits
            )
        return y

    @staticmethod
    def backward(ctx, dy):
        return _operators.masked(dy, ctx.saved_tensors[0], ctx.order, ctx.row), *[None] * 4


def _straight(x, y, mask):
    return _ByMask.apply(x, y.detach(), mask)


class _ByMask(torch.autograd.Function):
    """y, whose gradient and tangent are x's where the mask is set."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, y, mask):
        return y.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[2])
        ctx.save_for_forward(inputs[2])

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0], None, None

    @staticmethod
    def jvp(ctx, x_tangent, *_):
        return None if x_tangent is None else x_tangent * ctx.saved_tensors[0]


def _bits(value):
    return value.view(torch.int64 if value.dtype == torch.float64 else torch.int32)


def _round_to(q, x, grid):
    """The numbers of the format nearest to q, as if it went on, with the sign of x."""
    fraction = 52 if q.dtype == torch.float64 else 23
    infinity = int(_bits(torch.tensor(torch.inf, dtype=q.dtype)))
    spacing = math.ldexp(1.0, max(math.frexp(grid.max)[1] - 1, grid.min_exponent) - grid.mantissa_bits)
    size = q.abs().clamp(max=grid.max + spacing)
    power = (_bits(size) & infinity).view(q.dtype).clamp(min=math.ldexp(1.0, grid.min_exponent))
    large = power * math.ldexp(1.0, fraction - grid.mantissa_bits)
    return ((size + large) - large).copysign(x)


def _clamped(point, scale, x, grid):
    """y, and whether each point was in range."""
    y = (point.clamp(-grid.max, grid.max) * scale).to(x.dtype)
    y = y.abs().copysign(x) if grid.signed_zero else y.masked_fill(y == 0, 0.0)
    return y, point.abs() <= grid.max


def _float_formula(x, scale, grid):
    with torch.no_grad():
        good = (scale > 0) & (scale < torch.inf)
        scale, wide = torch.where(good, scale, torch.nan), x.detach().to(scale.dtype)
        return _clamped(_round_to(_formula.quotient(wide, scale, False), wide, grid), scale, x.detach(), grid)


def _block_formula(x, format, axis, tensor_scale):
    grid, block = format.grid, format.block
    with torch.no_grad():
        given = x.detach()
        wide = given.to(torch.float64 if x.dtype == torch.float64 else torch.float32).movedim(axis, -1)
        n = wide.shape[-1]
        padded = torch.nn.functional.pad(wide, (0, -n % block)).unflatten(-1, (-1, block))
        scale = _block_scales(padded.abs().amax(-1, keepdim=True), format, tensor_scale)
        point = _round_to(_formula.quotient(padded, scale, False), padded, grid)
        y, mask = _clamped(point, scale, padded, grid)
        y, mask = (one.flatten(-2)[..., :n].movedim(-1, axis) for one in (y, mask))
        y = y.to(x.dtype)
        return y if grid.signed_zero else y.masked_fill(y == 0, 0.0), mask


def _block_scales(amax, format, tensor_scale):
    """The scales of blocks, NaN where amax is not finite."""
    if format.scale == "e4m3":
        return _e4m3_scales(amax, format, tensor_scale)
    grid, fraction = format.grid, 52 if amax.dtype == torch.float64 else 23
    bias, bits = (1023 if fraction == 52 else 127), _bits(amax)
    least = math.frexp(grid.max)[1] - 1
    rest = (bits & ((1 << fraction) - 1)) | (bias << fraction)
    number = rest.view(amax.dtype) * math.ldexp(1.0, least)  # amax, brought into the binade of max
    above = _round_to(number, number, grid) > grid.max if format.rule == "fit" else number > grid.max
    k = (bits >> fraction) - bias - least + (above if format.rule != "floor" else 0)
    k = torch.where(amax == 0, -127, k.clamp(-127, 127))
    return torch.where(amax.isfinite(), _power(k, amax.dtype), torch.nan)


def _power(k, dtype):
    """2**k for k from -127 to 127, as two factors: float32 has the first one as a subnormal number."""
    half = k // 2
    wide, bias, fraction = (torch.int64, 1023, 52) if dtype == torch.float64 else (torch.int32, 127, 23)
    first, second = ((((one + bias).to(wide)) << fraction).view(dtype) for one in (half, k - half))
    return first * second


def _e4m3_scales(amax, format, tensor_scale):
    largest, e4m3 = format.grid.max, fq.formats.e4m3fn
    if tensor_scale is None:
        finite = torch.where(amax.isfinite(), amax, 0).amax() if amax.numel() else amax.new_zeros(())
        found = (finite.float() / (e4m3.max * largest)).clamp(torch.finfo(torch.float32).tiny)
        tensor_scale = torch.where(finite == 0, 1.0, found).to(amax.dtype)
    else:
        tensor_scale = torch.tensor(tensor_scale, dtype=torch.float32, device=amax.device).to(amax.dtype)
    b = _formula.quotient(amax, tensor_scale * largest, False)
    b = _round_to(b, b, e4m3).clamp(2.0**-9, e4m3.max)
    return torch.where(amax.isfinite(), b * tensor_scale, torch.nan)
