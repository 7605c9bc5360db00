"""The short way of a call on plain tensors: one call of C a direction, through DLPack's C exchange API.

A function here gives None where C does not take the call: the way through NumPy's arrays (`_operators.py`) then does
the work, or says what is wrong. An older PyTorch, which has no such API, always goes that way.
"""

import functools

import torch
from torch.autograd import Function

from fq import _core
from fq.torch import _memory, _operators
from fq.torch._operators import nothing_watches


def _start():
    """Whether C can read the tensors of this PyTorch."""
    capsule = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    keys_of = getattr(torch._C, "_dispatch_keys", None)
    if capsule is None or keys_of is None:
        return False
    kinds = []
    for is_inference in (False, True):
        with torch.inference_mode(is_inference):
            kinds.append(keys_of(torch.empty(0, device="cpu")).raw_repr())
    types = torch.Tensor, torch.nn.Parameter
    return _core._use_torch(capsule, *types, keys_of, torch.empty_like, _operators.SET_BYTE, *kinds)


IS_ON = _start()


def fixed(x, scale, zero_point, qmin, qmax, reciprocal, axis=None):
    """`fake_quantize`; axis: the one of x that parameters of one axis vary along."""
    if not (IS_ON and nothing_watches() and isinstance(x, torch.Tensor)):
        return None
    grid = scale, zero_point, qmin, qmax, reciprocal, axis
    if x.requires_grad and torch.is_grad_enabled():
        return _apply_packed(x, _core._tensor_forward, grid, False)
    return _core._tensor_forward(x, *grid, None, False, False)


def observed(x, state, grid):
    """A fused module's call: its buffers move on, and y has the parameters found.

    state : tuple of Tensor
        Whether observer and fake quantization are on; min_val, max_val, scale, zero_point.
    grid : tuple
        averaging_constant, qmin, qmax, whether it is symmetric, the axis of channels or None.
    """
    if not (IS_ON and nothing_watches()):
        return None
    by_fbgemm = _by_fbgemm()
    if by_fbgemm is None:
        return None
    if x.requires_grad and torch.is_grad_enabled():
        y = _apply_packed(x, _core._tensor_observed, (*state, *grid), by_fbgemm)
    else:
        y = _core._tensor_observed(x, *state, *grid, None, False, by_fbgemm)
    if y is not None:
        torch._C._increment_version(state[2:])
    return y


@functools.cache
def _by_fbgemm():
    """Whether this PyTorch finds zero_point as FBGEMM does, by what its operator gives; None where C knows no way."""
    for by_fbgemm in (False, True):
        if all(
            _observes_alike(m, symmetric, by_fbgemm)
            for m in (3.0, 3.03, 3.0897, 1e-5, 0.1)
            for symmetric in (False, True)
        ):
            return by_fbgemm
    return None


@torch.no_grad()
def _observes_alike(end, symmetric, by_fbgemm):
    """Whether C's buffers are PyTorch's after a range and a wider one; ties of zero_point tell how it is found."""
    new, both = functools.partial(torch.tensor, dtype=torch.float32, device="cpu"), []
    on = new([1.0]).long()
    for ours in (False, True):
        buffers = new([torch.inf]), new([-torch.inf]), new([1.0]), new([0.0]).int()
        for x in (new([-end, end]), new([-2 * end, 2 * end])):
            if ours:
                _core._tensor_observed(x, on, on, *buffers, 0.01, -8, 7, symmetric, None, None, False, by_fbgemm)
            else:
                torch.fused_moving_avg_obs_fake_quant(x, on, on, *buffers, 0.01, -8, 7, 0, False, symmetric)
        both.append(torch.cat([each.double() for each in buffers]))
    return torch.equal(*both)


def learnable(x, scale, zero_point, qmin, qmax, reciprocal):
    """`fake_quantize_learnable`, where a parameter asks for a gradient."""
    if not (IS_ON and nothing_watches() and isinstance(scale, torch.Tensor) and isinstance(x, torch.Tensor)):
        return None
    computed = torch.float64 if x.dtype is torch.float64 else torch.float32
    is_tensor = isinstance(zero_point, torch.Tensor)
    learns = scale.requires_grad or (is_tensor and zero_point.requires_grad)
    if not (learns and torch.is_grad_enabled() and scale.dtype is computed):
        return None
    if is_tensor and zero_point.is_floating_point() and zero_point.dtype is not computed:
        return None
    return _apply_learnable(x, scale, zero_point, qmin, qmax, reciprocal)


class _Packed(Function):
    """y, and bits that are kept. Gives None, and no node, where C does not take the call."""

    @staticmethod
    def forward(ctx, x, function, arguments, last):
        found = function(x, *arguments, None, True, last)
        if found is None:
            return None
        y, bits, ctx.order, ctx.row = found
        ctx.save_for_backward(_operators.full_bits(bits) if isinstance(bits, int) else bits)
        return y

    @staticmethod
    def backward(ctx, dy):
        return _operators.masked(dy, ctx.saved_tensors[0], ctx.order, ctx.row), None, None, None


class _Learnable(Function):
    """y; x, scale and zero_point are kept."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax, reciprocal):
        y = _core._tensor_forward(x, scale, zero_point, qmin, qmax, reciprocal, None, None, False, True)
        if y is None:
            return None
        is_tensor = isinstance(zero_point, torch.Tensor)
        ctx.save_for_backward(x, scale, *((zero_point,) if is_tensor else ()))
        ctx.zero_point = None if is_tensor else zero_point
        ctx.grid = qmin, qmax, reciprocal
        return y

    @staticmethod
    def backward(ctx, dy):
        x, scale, *rest = ctx.saved_tensors
        zero_point = rest[0] if rest else ctx.zero_point
        if not torch.is_grad_enabled() and nothing_watches():
            found = _core._tensor_learn(dy, x, scale, zero_point, *ctx.grid, None, None)
            if found is not None:
                return *found, None, None, None
        zero_point = torch.as_tensor(zero_point)
        dx, dscale, dzero_point = _operators.learned(dy, x, scale, zero_point, *ctx.grid, _memory.memory_order(x))
        return dx, dscale, dzero_point if zero_point.is_floating_point() else None, None, None, None


# As Function.apply, which looks first for what `nothing_watches` has excluded.
_apply_packed = super(Function, _Packed).apply
_apply_learnable = super(Function, _Learnable).apply
