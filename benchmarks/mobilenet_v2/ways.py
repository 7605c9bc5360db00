"""The ways of fake quantization that are compared: the same observation and arithmetic, another residual each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.ao import quantization

import fq
import fq.torch
from fq.torch import _operators


@dataclass(frozen=True)
class Way:
    """The two kinds of module that a network asks for."""

    weight: Callable
    activation: Callable


class KeepingX(torch.autograd.Function):
    """The older way: x is kept, and the mask worked out again."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax):
        y = torch.empty_like(x)
        order = _operators.memory_order(x)
        a, out, s, z = _operators.rows(order, (x, y), scale, zero_point)
        fq.reciprocal.fake_quantize(a, s, z, qmin, qmax, out=out)
        ctx.save_for_backward(x, scale, zero_point)
        ctx.order, ctx.ends = order, (qmin, qmax)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, scale, zero_point = ctx.saved_tensors
        dy = _operators.dense(dy, ctx.order)
        dx = torch.empty_like(x)
        d, a, out, s, z = _operators.rows(ctx.order, (dy, x, dx), scale, zero_point)
        fq.reciprocal.backward_recompute(d, a, s, z, *ctx.ends, out=out)
        return dx, None, None, None, None


class ByteMask(torch.autograd.Function):
    """A byte an element is kept."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax):
        y, mask = torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)
        order = _operators.memory_order(x)
        a, out, kept, s, z = _operators.rows(order, (x, y, mask), scale, zero_point)
        fq.reciprocal.forward(a, s, z, qmin, qmax, out=(out, kept))
        ctx.save_for_backward(mask)
        ctx.order = order
        return y

    @staticmethod
    def backward(ctx, dy):
        (mask,) = ctx.saved_tensors
        dy = _operators.dense(dy, ctx.order)
        dx = torch.empty_like(dy)
        d, kept, out = (_operators.in_memory_order(tensor, ctx.order) for tensor in (dy, mask, dx))
        fq.backward(d, kept, out=out)
        return dx, None, None, None, None


def through(function):
    """A module that observes as PyTorch's does and quantizes through an autograd function."""

    class Module(fq.torch.FusedMovingAvgObsFakeQuantize):
        def quantize(self, x, enabled=None):
            return function.apply(x, *self.grid(x))

    return Module


def like_fbgemm(module):
    """Weights per channel and activations per tensor, with the arguments of PyTorch's setting and this module."""
    setting = quantization.get_default_qat_qconfig("fbgemm")
    weight, activation = (module.with_args(**factory.p.keywords) for factory in (setting.weight, setting.activation))
    return Way(weight, activation)


NONE = "no fake quantization"
WAYS = {
    NONE: Way(torch.nn.Identity, torch.nn.Identity),
    "keeping x": like_fbgemm(through(KeepingX)),
    "PyTorch, byte mask": like_fbgemm(quantization.FusedMovingAvgObsFakeQuantize),
    "fq, byte mask": like_fbgemm(through(ByteMask)),
    "fq, bits": like_fbgemm(fq.torch.FusedMovingAvgObsFakeQuantize),
}
