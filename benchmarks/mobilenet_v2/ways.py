"""The ways of fake quantization that are compared: the same observation and arithmetic, another residual each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.ao import quantization

import fq
import fq.torch
from fq import _core
from fq.torch import _memory


@dataclass(frozen=True)
class Way:
    """The kinds of module that a network asks for: `image` is for what it is given, which is never overwritten."""

    weight: Callable
    activation: Callable
    image: Callable


class KeepingX(torch.autograd.Function):
    """The older way: x is kept, and the mask worked out again."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax):
        order = _memory.memory_order(x)
        y = _memory.new_output(x, order)
        a, out, s, z = _memory.rows(order, (x, y), scale, zero_point)
        _core._into_new(fq.reciprocal.fake_quantize, out, a, s, z, qmin, qmax)
        ctx.save_for_backward(x, scale, zero_point)
        ctx.order, ctx.ends = order, (qmin, qmax)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, scale, zero_point = ctx.saved_tensors
        dy, dx = _memory.new_product(dy, ctx.order)
        d, a, out, s, z = _memory.rows(ctx.order, (dy, x, dx), scale, zero_point)
        _core._into_new(fq.reciprocal.backward_recompute, out, d, a, s, z, *ctx.ends)
        return dx, None, None, None, None


class ByteMask(torch.autograd.Function):
    """A byte per element is kept."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, qmin, qmax):
        order = _memory.memory_order(x)
        y, mask = _memory.new_output(x, order), torch.empty_like(x, dtype=torch.bool)
        a, out, kept, s, z = _memory.rows(order, (x, y, mask), scale, zero_point)
        _core._into_new(fq.reciprocal.forward, (out, kept), a, s, z, qmin, qmax)
        ctx.save_for_backward(mask)
        ctx.order = order
        return y

    @staticmethod
    def backward(ctx, dy):
        (mask,) = ctx.saved_tensors
        dy, dx = _memory.new_product(dy, ctx.order)
        d, kept, out = (_memory.in_memory_order(tensor, ctx.order) for tensor in (dy, mask, dx))
        _core._into_new(fq.backward, out, d, kept)
        return dx, None, None, None, None


def through(function):
    """A module that observes as PyTorch's does and quantizes through an autograd function."""

    class Module(fq.torch.FusedMovingAvgObsFakeQuantize):
        def _in_one_call(self, x):
            return None  # so that it comes to quantize

        def quantize(self, x, enabled=None):
            return function.apply(x, *self.grid(x))

    return Module


def like_fbgemm(module, **more):
    """Weights per channel and activations per tensor, with the arguments of PyTorch's setting, and this module."""
    setting = quantization.get_default_qat_qconfig("fbgemm")
    factories = setting.weight, setting.activation
    weight, activation = (module.with_args(**factory.p.keywords) for factory in factories)
    return Way(weight, activation.with_args(**more) if more else activation, activation)


NONE = "no fake quantization"
WAYS = {
    NONE: Way(*[torch.nn.Identity] * 3),
    "keeping x": like_fbgemm(through(KeepingX)),
    "PyTorch, byte mask": like_fbgemm(quantization.FusedMovingAvgObsFakeQuantize),
    "fq, byte mask": like_fbgemm(through(ByteMask)),
    "fq, bits": like_fbgemm(fq.torch.FusedMovingAvgObsFakeQuantize),
    "fq, bits, in place": like_fbgemm(fq.torch.FusedMovingAvgObsFakeQuantize, inplace=True),
}


class TorchLearnable(fq.torch.LearnableFakeQuantize):
    """PyTorch's own learnable function, with the same first scale and gradient factor."""

    def forward(self, x):
        if not self.started:
            self.start(x)
        parameters = self.scale.reshape(1), self.zero_point.reshape(1).float()
        return torch._fake_quantize_learnable_per_tensor_affine(
            x, *parameters, self.quant_min, self.quant_max, self._factor(x)
        )


def learning(module, keep="x"):
    """Weights and activations of 4 bits, each tensor with a scale that is learned."""
    return Way(lambda: module(-8, 7), lambda: module(-8, 7, keep=keep), torch.nn.Identity)


LEARNED = {
    NONE: WAYS[NONE],
    "PyTorch, learnable": learning(TorchLearnable),
    "fq, keeping x": learning(fq.torch.LearnableFakeQuantize),
    "fq, residual": learning(fq.torch.LearnableFakeQuantize, "residual"),
    "fq, residual4": learning(fq.torch.LearnableFakeQuantize, "residual4"),
}
