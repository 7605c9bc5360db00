"""Fake quantization whose scale is learned: LSQ and LSQ+, as a module."""

import math

import torch

from fq.learnable import scale_gradient_factor
from fq.torch import _functions, _keep, _residual

SMALLEST = 1e-8


class LearnableFakeQuantize(_keep.Float32, torch.nn.Module):
    """Fake quantization with a learned scale, by LSQ; and with a learned zero point, by LSQ+.

    The first batch chooses scale by a rule, and each step of the optimizer changes it. The scale that is used is never
    smaller than ``eps``, whatever the optimizer does, and its gradient passes that bound.

    Parameters
    ----------
    quant_min, quant_max : int
        The first and last level of the grid.
    axis : int, optional
        The axis of x that has a scale for each of its ``channels`` places.
    channels : int, optional
        How many there are.
    group : int, optional
        The length of the groups that the last axis of x is cut into, each with a scale of its own. ``shape`` is then
        the shape of x.
    shape : tuple of int, optional
        The shape of x, where ``group`` is given.
    learn_zero_point : bool
        LSQ+: zero_point is a parameter too, a real number that is rounded where it is used.
    rule : {"lsq", "lsq+", "minmax"}, optional
        How the first batch chooses scale. "lsq": twice the mean of abs(x), over the root of quant_max. "lsq+": the
        larger end of the mean plus or minus three standard deviations, over half of the levels. "minmax": the range of
        x, extended to zero, over the levels, and zero_point where the range wants it. By default "minmax" if zero_point
        is learned, else "lsq".
    gradient_factor : bool
        Whether the gradients of scale and zero_point are multiplied by `fq.scale_gradient_factor`.
    eps : float
        The smallest scale.
    keep : {"x", "residual", "residual4"}
        What is kept of x for the backward, as by `fake_quantize_learnable`: codes are for activations.

    Attributes
    ----------
    scale : Parameter
        Of float32, also under ``model.bfloat16()``; of shape (), that of the channels beside x, or (..., groups, 1).
    zero_point : Parameter, or buffer of int64
    started : Tensor of bool
        A buffer: whether a batch has chosen scale.

    Raises
    ------
    ValueError
        When called on an x whose shape does not fit, or for a first batch that has NaN or an infinity.

    Notes
    -----
    Each process of a distributed run must choose the same scale: call the model once before it is wrapped, or load one.

    References
    ----------
    Esser et al., Learned Step Size Quantization, 2020; Bhalgat et al., LSQ+, 2020.

    Examples
    --------
    >>> import torch
    >>> module = LearnableFakeQuantize(-8, 7)
    >>> module(torch.tensor([-1.0, 0.1, 1.0])).sum().backward()
    >>> round(module.scale.item(), 4), module.scale.grad is not None
    (0.5292, True)
    """

    def __init__(
        self,
        quant_min,
        quant_max,
        *,
        axis=None,
        channels=None,
        group=None,
        shape=None,
        learn_zero_point=False,
        rule=None,
        gradient_factor=True,
        eps=SMALLEST,
        keep="x",
    ):
        super().__init__()
        if (axis is None) != (channels is None) or (group is None) != (shape is None) or (axis is not None and group):
            raise ValueError("give axis and channels, or group and shape, or none of them")
        rule = rule or ("minmax" if learn_zero_point else "lsq")
        if rule not in _RULES:
            raise ValueError(f"rule must be one of {', '.join(_RULES)}, got {rule!r}")
        if keep not in _residual.KEEPS:
            raise ValueError(f"keep must be one of {', '.join(_residual.KEEPS)}, got {keep!r}")
        if not quant_min <= 0 <= quant_max or quant_min == quant_max:
            raise ValueError(f"quant_min and quant_max must hold 0 and another level, got {quant_min} and {quant_max}")
        self.quant_min, self.quant_max, self.axis, self.group = quant_min, quant_max, axis, group
        self.rule, self.gradient_factor, self.eps, self.keep = rule, gradient_factor, eps, keep
        self.scale = torch.nn.Parameter(torch.ones(self._shape(channels, shape)))
        zero = torch.zeros(self.scale.shape)
        if learn_zero_point:
            self.zero_point = torch.nn.Parameter(zero)
        else:
            self.register_buffer("zero_point", zero.long())
        self.register_buffer("started", torch.tensor(False))
        self._waits = True  # for its first batch

    def _shape(self, channels, shape):
        """Of scale; each axis is one of x's, of groups cut."""
        if self.group is not None:
            *leading, last = shape
            if self.group < 1 or last % self.group:
                raise ValueError(f"the last axis of {tuple(shape)} cannot be cut into groups of {self.group}")
            return *leading, last // self.group, 1
        return () if channels is None else (channels,)

    def extra_repr(self):
        """The grid, and where scales differ."""
        places = {"axis": self.axis, "group": self.group, "keep": None if self.keep == "x" else repr(self.keep)}
        told = [f"quant_min={self.quant_min}, quant_max={self.quant_max}, rule={self.rule!r}"]
        return ", ".join(told + [f"{name}={value}" for name, value in places.items() if value is not None])

    def forward(self, x):
        if x.numel() == 0:
            return x
        seen = x.unflatten(-1, (-1, self.group)) if self.group else x
        if self._waits and not self.started:
            self.start(x)
        factor = self._factor(seen) if self.gradient_factor else 1.0
        scale = self.scale.detach().clamp(min=self.eps) + (self.scale - self.scale.detach()) * factor
        zero_point = self.zero_point
        if zero_point.requires_grad:
            zero_point = zero_point.detach() + (zero_point - zero_point.detach()) * factor
        parameters = (self._beside(one, seen) for one in (scale, zero_point))
        try:
            y = _functions.fake_quantize_learnable(seen, *parameters, self.quant_min, self.quant_max, keep=self.keep)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None
        return y.flatten(-2) if self.group else y

    def _factor(self, x):
        return scale_gradient_factor(x.numel() // self.scale.numel(), self.quant_max)

    def _beside(self, parameter, x):
        """Of a shape that broadcasts into x."""
        if self.axis is None:
            return parameter
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return parameter.reshape(shape)

    @torch.no_grad()
    def start(self, x):
        """Choose scale, and zero_point if it is learned, by this batch.

        Parameters
        ----------
        x : Tensor

        Raises
        ------
        ValueError
            If x has NaN or an infinity.
        """
        seen = x.detach().to(torch.float64 if x.dtype == torch.float64 else torch.float32)
        if self.group:
            rows = seen.unflatten(-1, (-1, self.group)).reshape(-1, self.group)
        else:
            rows = seen.reshape(1, -1) if self.axis is None else seen.movedim(self.axis, 0).flatten(1)
        if not torch.isfinite(rows).all():
            raise ValueError(
                f"{type(self).__name__}: the first batch, of shape {tuple(x.shape)}, has NaN or an infinity"
            )
        scale, zero_point = _RULES[self.rule](rows, self.quant_min, self.quant_max)
        self.scale.copy_(scale.clamp(min=self.eps).reshape(self.scale.shape))
        if self.zero_point.is_floating_point():
            self.zero_point.copy_(zero_point.reshape(self.zero_point.shape))
        self.started.fill_(True)
        self._waits = False

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self._waits = not bool(self.started)


def _by_mean(rows, quant_min, quant_max):
    """LSQ's."""
    scale = 2 * rows.abs().mean(1) / math.sqrt(max(quant_max, 1))
    return scale, torch.zeros_like(scale)


def _by_deviation(rows, quant_min, quant_max):
    """LSQ+'s, for weights."""
    mean, three = rows.mean(1), 3 * rows.std(1, correction=0)
    scale = torch.maximum((mean - three).abs(), (mean + three).abs()) / ((quant_max - quant_min + 1) / 2)
    return scale, torch.zeros_like(scale)


def _by_range(rows, quant_min, quant_max):
    """LSQ+'s, for activations."""
    low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
    scale = (high - low) / (quant_max - quant_min)
    zero_point = quant_min - low / scale.clamp(min=SMALLEST)
    return scale, zero_point.round().clamp(quant_min, quant_max)


_RULES = {"lsq": _by_mean, "lsq+": _by_deviation, "minmax": _by_range}
