"""Ranges and grids for PyTorch: `fq.choose_qparams` and `fq.calibrate` in PyTorch's own operations, on any device.

All of it computes in float64, as `fq.choose_qparams` does, on the device of what is given.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fq import _range_arguments
from fq._range_arguments import COARSE, FINE, Kind
from fq.qparams import QParams
from fq.torch import _arguments, _formula, _operators


def choose_qparams(xmin, xmax, bits=8, *, signed=True, symmetric=False, narrow_range=False, eps=None, formula="cover"):
    """Choose the grid of so many bits that covers the range of values from xmin to xmax, as `fq.choose_qparams` does.

    It runs on any device, and in compiled code without a graph break. No gradient passes.

    Parameters
    ----------
    xmin, xmax : Tensor, array or number
        The smallest and largest value. The range is widened to contain 0.0.
    bits, signed, symmetric, narrow_range, formula
        As for `fq.choose_qparams`.
    eps : float, optional
        The least scale there is, and that of a range of 0.0 alone. If not given, the smallest normal float32 number,
        and 1.0 for a range of 0.0 alone.

    Returns
    -------
    fq.QParams
        scale (float32, or float64 if xmin or xmax is) and zero_point (int32), tensors of the broadcast shape; qmin and
        qmax. On the CPU they have the bits of `fq.choose_qparams`.

    Raises
    ------
    TypeError, ValueError
        As by `fq.choose_qparams`. In compiled code, and elsewhere than on the CPU, a range that it refuses gives NaN or
        infinity for a scale, which `fake_quantize` refuses. An xmin of infinity with an xmax of minus infinity, the
        minimum and maximum of nothing, is taken for a range of 0.0 alone.

    Examples
    --------
    >>> import torch
    >>> scale, zero_point, qmin, qmax = choose_qparams(torch.tensor(-1.0), torch.tensor(2.0), 4)
    >>> round(scale.item(), 6), zero_point.item(), qmin, qmax
    (0.2, -3, -8, 7)
    """
    kind = _kind(bits, signed, symmetric, narrow_range, eps, formula)
    ends = _ends_given(xmin, xmax)
    scale, zero_point = _chosen(*ends, kind)
    if _arguments.can_be_seen(scale) and not torch.isfinite(scale).all():
        _refuse(*ends, kind)
    return QParams(scale, zero_point, *kind[:2])


def calibrate(
    x,
    bits=8,
    axis=None,
    group=None,
    method="minmax",
    *,
    signed=True,
    symmetric=False,
    narrow_range=False,
    eps=None,
    p=99.99,
    formula="cover",
):
    """The grid of so many bits for the values of x: one for all, for each channel, or for each group.

    It runs on any device, and in compiled code without a graph break. No gradient passes. NaN and infinities are
    skipped.

    Parameters
    ----------
    x : Tensor of float16, bfloat16, float32 or float64
    bits, signed, symmetric, narrow_range, eps, formula
        As for `choose_qparams`.
    axis : int or tuple of int, optional
        The axes of x that have a grid for each index: 0 is per channel for weights of shape (outputs, inputs). None is
        one grid for all of x.
    group : int, optional
        A grid for each group of so many neighbours along the last axis, which it divides: in each row, or along the
        axes that are named.
    method : {"minmax", "percentile", "mse"}
        "minmax": the range of the values. "percentile": the range of p percent of them, around the median, or
        if symmetric of p percent of the absolute values. "mse": the part of the range for which the squared error
        of fake quantization is least, found by trying.
    p : float
        How many percent, above 0 and at most 100; between two values as `numpy.percentile` does.

    Returns
    -------
    fq.QParams
        scale and zero_point broadcast against x: numbers for one grid, else with an axis of 1 for each axis that was
        not named. With group they broadcast against ``grouped(x, group)``, and have shape (..., n / group, 1). An x
        without a finite value is taken for a range of 0.0 alone.

    Raises
    ------
    TypeError, ValueError
        If x is not of the four types, or axis, group, method, p or a parameter of the grid is impossible.

    Notes
    -----
    "mse" tries 41 parts of the range from 1 to 1/1024, a quarter of a power of 2 apart, and then 9 near the best of
    those, for both ends and, on a grid that is not symmetric, for each end alone.

    Examples
    --------
    >>> import torch
    >>> weights = torch.tensor([[0.5, -1.0, torch.nan], [0.25, 0.125, 0.0]])
    >>> calibrate(weights, 4, axis=0, symmetric=True, narrow_range=True).scale
    tensor([[0.1429],
            [0.0357]])
    """
    kind = _kind(bits, signed, symmetric, narrow_range, eps, formula)
    _arguments.check_type_of_x(x)
    _range_arguments.check_method(method, p)
    x = x.detach()
    if group is not None:
        x = grouped(x, group)
    axes = _range_arguments.reduced_axes(axis, group, tuple(x.shape))
    ends = _percentiles(x, axes, p, kind.symmetric) if method == "percentile" else _ends(x, axes)
    if method == "mse":
        ends = search_range(x, *ends, axes, *kind)
    scale, zero_point = _chosen(*ends, kind)
    if axis is None and group is None:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    return QParams(scale, zero_point, *kind[:2])


def grouped(x, size):
    """x with its last axis cut into groups of neighbours, for scales of calibrate(x, group=size).

    Parameters
    ----------
    x : Tensor
    size : int
        How many elements a group has.

    Returns
    -------
    Tensor
        Of shape (..., n / size, size): a view of x, as `torch.unflatten` makes. ``.reshape(x.shape)`` undoes it.

    Raises
    ------
    ValueError
        If x has no axis, or size does not divide the last one.

    Examples
    --------
    >>> import torch
    >>> grouped(torch.zeros(4, 64), 32).shape
    torch.Size([4, 2, 32])
    """
    return x.unflatten(-1, _range_arguments.shape_in_groups(tuple(x.shape), size)[-2:])


def _kind(*arguments):
    return Kind(*_known(*arguments))


@torch.compiler.assume_constant_result
def _known(*arguments):
    """In compiled code a constant: what NumPy computes of constants."""
    return tuple(Kind.of(*arguments))


def _ends_given(xmin, xmax):
    """Both as tensors without derivatives, on one device."""
    ends = [_arguments.tensor(name, end).detach() for name, end in (("xmin", xmin), ("xmax", xmax))]
    for name, end in zip(("xmin", "xmax"), ends, strict=True):
        if end.is_complex():
            raise TypeError(f"{name} must be real, got {end.dtype}")
    device = (xmin if isinstance(xmin, Tensor) else ends[1]).device
    return [end.to(device) for end in ends]


def _refuse(low, high, kind):
    """ValueError for a range that gives no scale."""
    for name, end in (("xmin", low), ("xmax", high)):
        if not torch.isfinite(end).all():
            raise ValueError(
                f"{name} must be finite, got {end[~torch.isfinite(end)][0]}: calibrate skips NaN and infinities"
            )
    if (low > high).any():
        raise ValueError(f"xmin must not exceed xmax, got {low} and {high}")
    raise ValueError(f"the range from {low} to {high} is too wide for a scale at {kind.steps + 1} levels")


def _ends(x, axes):
    """The smallest and largest finite value; infinity and minus infinity where there is none."""
    if x.numel() == 0:
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        return x.new_full(shape, torch.inf), x.new_full(shape, -torch.inf)
    finite = torch.isfinite(x)
    low, high = torch.where(finite, x, torch.inf), torch.where(finite, x, -torch.inf)
    return (low.amin(axes, keepdim=True), high.amax(axes, keepdim=True)) if axes else (low, high)


def _percentiles(x, axes, p, symmetric):
    """Likewise, without a share of the finite values at each end."""
    if x.numel() == 0 or not axes:
        return _ends(x, axes)
    kept = [axis for axis in range(x.dim()) if axis not in axes]
    wide = x.double() if x.dtype == torch.float64 else x.float()
    rows = wide.permute(*kept, *axes).flatten(len(kept))
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    outside = (1 - p / 100) / (1 if symmetric else 2)
    share = (torch.isfinite(rows).sum(-1, keepdim=True) - 1).double() * outside
    if symmetric:
        high = _from_the_top(rows.abs(), share).reshape(shape)
        return -high, high
    return -_from_the_top(-rows, share).reshape(shape), _from_the_top(rows, share).reshape(shape)


def _from_the_top(rows, share):
    """The value at this distance from the largest finite one, in order, between two of them if it lies there."""
    falling = torch.where(torch.isfinite(rows), rows, -torch.inf).sort(-1, descending=True).values
    first = share.floor().clamp(0, rows.shape[-1] - 1).long()
    values = [falling.gather(-1, at) for at in (first, (first + 1).clamp_max(rows.shape[-1] - 1))]
    part = (share - first).to(rows.dtype)
    return torch.where(part > 0, values[0] + (values[1] - values[0]) * part, values[0])


@torch.library.custom_op("fq::search_range", mutates_args=())
def search_range(
    x: Tensor,
    low: Tensor,
    high: Tensor,
    axes: Sequence[int],
    qmin: int,
    qmax: int,
    symmetric: bool,
    cover: bool,
    least: float,
    of_zero: float,
) -> tuple[Tensor, Tensor]:
    """The part of the range that has the least squared error, by trying: an operator, too long to be compiled."""
    search = _Search(x, axes, Kind(qmin, qmax, symmetric, cover, least, of_zero))
    ends = low.double().clamp_max(0), high.double().clamp_min(0)
    ones = [1.0] * len(FINE)
    found = search.best(search.best(ends, COARSE, COARSE), FINE, FINE)
    if not symmetric:
        found = search.best(search.best(found, FINE, ones), ones, FINE)
    return torch.maximum(found[0], ends[0]).to(low.dtype), torch.minimum(found[1], ends[1]).to(high.dtype)


@search_range.register_fake
def _(x, low, high, *_):
    return torch.empty_like(low), torch.empty_like(high)


class _Search:
    """Tries ranges for x, one at a time."""

    def __init__(self, x, axes, kind):
        self.x, self.axes, self.kind = x, list(axes), kind
        self.wide, self.finite = x.double() if x.dtype == torch.float64 else x.float(), torch.isfinite(x)

    def best(self, ends, parts_of_low, parts_of_high):
        """The range times those parts of it for which the error is least, and the first of them if there are many."""
        least, found = torch.full_like(ends[0], torch.inf), ends
        for part_of_low, part_of_high in zip(parts_of_low, parts_of_high, strict=True):
            tried = ends[0] * float(part_of_low), ends[1] * float(part_of_high)
            error = self.error(*tried)
            found = [torch.where(error < least, one, other) for one, other in zip(tried, found, strict=True)]
            least = torch.minimum(error, least)
        return found

    def error(self, low, high):
        """The mean squared error, in float64."""
        scale, zero_point = _chosen(low, high, self.kind)
        grid = scale.to(self.wide.dtype), zero_point, self.kind.qmin, self.kind.qmax
        if self.x.device.type == "cpu":
            y = _operators.fixed(self.x, *grid, False)
        else:
            y = _formula.forward(self.x, *grid, False)[0]
        gap = torch.where(self.finite, y - self.wide, 0.0).double()
        return (gap * gap).sum(self.axes, keepdim=True) if self.axes else gap * gap


def _chosen(low, high, kind):
    """scale and zero_point of a range."""
    dtype, device = torch.promote_types(low.dtype, high.dtype), low.device
    dtype = torch.float64 if dtype == torch.float64 else torch.float32
    low, high, refused = _range(low, high)
    nothing = low == high

    def usable(step):
        return torch.where(nothing, kind.of_zero, step.clamp_min(kind.least)).to(dtype)

    if kind.symmetric:
        step = torch.maximum(-low, high) / kind.steps * 2
        scale = usable(step * (1 + kind.enlarged) if kind.has_tie else step)
        below = torch.full_like(low, (kind.steps + 1) // 2)
    else:
        step = high / kind.steps - low / kind.steps
        scale = usable(step)
        below, tight = _levels_below(low, high, scale, kind)
        if kind.cover:
            scale = usable(torch.where(tight, step * (1 + kind.enlarged), step))
            below, _ = _levels_below(low, high, scale, kind)
    scale = torch.where(refused, torch.nan, scale)
    zero_point = torch.where(refused, kind.zero, below + kind.qmin).to(torch.int32)
    return scale.to(device), zero_point.to(device)


def _range(low, high):
    """The range widened to contain 0.0, in float64, on the CPU if the device has none; 0 where the range is refused."""
    low, high = torch.broadcast_tensors(
        *((end.cpu() if end.device.type == "mps" else end).double() for end in (low, high))
    )
    empty = (low == torch.inf) & (high == -torch.inf)
    good = torch.isfinite(low) & torch.isfinite(high) & (low <= high)
    return torch.where(good, low.clamp_max(0), 0.0), torch.where(good, high.clamp_min(0), 0.0), ~good & ~empty


def _levels_below(low, high, scale, kind):
    """How many levels lie below zero_point, and whether an end of the range is within the margin of a tie."""
    scale = scale.double()
    down, up = -low / scale, high / scale
    below = (down + kind.margin).round()
    return below, torch.maximum(down - below, up - (kind.steps - below)) > 0.5 - kind.margin
