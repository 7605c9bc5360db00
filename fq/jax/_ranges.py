"""Ranges and grids for JAX: `fq.choose_qparams` and `fq.calibrate` in XLA's own operations, which can be traced.

Without 64-bit types a number that float32 does not hold is a pair of numbers of float32, a large one and a small one,
whose sum it is. So the quotients are nearly as good as those of float64, and the same margins hold.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import fq
from fq import _range_arguments
from fq._range_arguments import COARSE, FINE, Kind
from fq.jax import _arguments, _calls, _formula
from fq.qparams import QParams


def choose_qparams(xmin, xmax, bits=8, *, signed=True, symmetric=False, narrow_range=False, eps=None, formula="cover"):
    """Choose the grid of so many bits that covers the range of values from xmin to xmax, as `fq.choose_qparams` does.

    It can be traced: inside ``jax.jit``, ``jax.vmap``, ``jax.lax.scan`` and ``jax.shard_map``. No gradient passes.

    Parameters
    ----------
    xmin, xmax : array_like of real numbers
        The smallest and largest value. The range is widened to contain 0.0.
    bits, signed, symmetric, narrow_range, formula
        As for `fq.choose_qparams`.
    eps : float, optional
        The least scale there is, and that of a range of 0.0 alone. If not given, the smallest normal float32 number,
        and 1.0 for a range of 0.0 alone.

    Returns
    -------
    fq.QParams
        scale (float32, or float64 if xmin or xmax is) and zero_point (int32) of the broadcast shape; qmin and qmax.

    Raises
    ------
    TypeError, ValueError
        As by `fq.choose_qparams`, for what is known: values of a range only where both ends are numbers or NumPy
        arrays. Else a range that it refuses gives NaN for a scale, which `fake_quantize` refuses. An xmin of infinity
        with an xmax of minus infinity, the minimum and maximum of nothing, is taken for a range of 0.0 alone.

    Notes
    -----
    Both ends are inside by the mask of `fq.forward`, as they are for `fq.choose_qparams`. With ``jax_enable_x64`` the
    bits are those of `fq.choose_qparams`. Without, they are the same but for the last bit of scale where the quotient
    is halfway between two numbers of float32, to within ``2**-44`` of itself: one range in some thousands.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> scale, zero_point, qmin, qmax = jax.jit(choose_qparams, static_argnums=2)(-1.0, 2.0, 4)
    >>> print(scale, zero_point, qmin, qmax)
    0.2 -3 -8 7
    """
    kind = Kind.of(bits, signed, symmetric, narrow_range, eps, formula)
    ends = [_arguments.plain(end) for end in (xmin, xmax)]
    for name, end in zip(("xmin", "xmax"), ends, strict=True):
        _arguments.check_real(name, end)
    if not any(isinstance(end, jax.Array) for end in ends):
        fq.choose_qparams(*ends, bits, signed=signed, symmetric=symmetric, narrow_range=narrow_range, formula=formula)
    low, high = map(jnp.asarray, ends)
    return QParams(*_chosen(low, high, kind), *kind[:2])


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

    It can be traced: inside ``jax.jit``, ``jax.vmap``, ``jax.lax.scan`` and ``jax.shard_map``, where it sees the shard
    alone. No gradient passes. NaN and infinities are skipped.

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
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
    those, for both ends and, on a grid that is not symmetric, for each end alone. It tries one at a time, and so needs
    memory for a few arrays like x. A range over the shards of ``jax.shard_map``::

        choose_qparams(jax.lax.pmin(x.min(), "d"), jax.lax.pmax(x.max(), "d"))

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> weights = jnp.array([[0.5, -1.0, jnp.nan], [0.25, 0.125, 0.0]])
    >>> qparams = calibrate(weights, 4, axis=0, symmetric=True, narrow_range=True)
    >>> print(qparams.scale)
    [[0.14285715]
     [0.03571429]]
    """
    kind = Kind.of(bits, signed, symmetric, narrow_range, eps, formula)
    x = jnp.asarray(_arguments.plain(x))
    _arguments.check_type_of_x(x.dtype)
    _range_arguments.check_method(method, p)
    if group is not None:
        x = grouped(x, group)
    axes = _range_arguments.reduced_axes(axis, group, x.shape)
    scale, zero_point = _calibrated(x, axes, method, float(p), kind)
    if axis is None and group is None:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    return QParams(scale, zero_point, *kind[:2])


def grouped(x, size):
    """x with its last axis cut into groups of neighbours, for scales of calibrate(x, group=size).

    Parameters
    ----------
    x : array
    size : int
        How many elements a group has.

    Returns
    -------
    array
        Of shape (..., n / size, size); ``.reshape(x.shape)`` undoes it.

    Raises
    ------
    ValueError
        If x has no axis, or size does not divide the last one.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> grouped(jnp.zeros((4, 64)), 32).shape
    (4, 2, 32)
    """
    x = jnp.asarray(_arguments.plain(x))
    return x.reshape(_range_arguments.shape_in_groups(x.shape, size))


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _calibrated(x, axes, method, p, kind):
    x = jax.lax.stop_gradient(x)
    wide = _formula.widened(x)
    ends = _percentiles(wide, axes, p, kind.symmetric) if method == "percentile" else _ends(wide, axes)
    if method == "mse":
        ends = _searched(x, wide, axes, ends, kind)
    return _chosen(*ends, kind)


def _ends(wide, axes):
    """The smallest and largest finite value; infinity and minus infinity where there is none."""
    finite = jnp.isfinite(wide)
    low = jnp.where(finite, wide, np.inf).min(axes, keepdims=True, initial=np.inf)
    return low, jnp.where(finite, wide, -np.inf).max(axes, keepdims=True, initial=-np.inf)


def _percentiles(wide, axes, p, symmetric):
    """Likewise, without a share of the finite values at each end."""
    if wide.size == 0:
        return _ends(wide, axes)
    kept = [axis for axis in range(wide.ndim) if axis not in axes]
    wide = _whole_along(wide, axes)
    rows = wide.transpose(*kept, *axes).reshape(*(wide.shape[axis] for axis in kept), -1)
    shape = [1 if axis in axes else size for axis, size in enumerate(wide.shape)]
    count = jnp.isfinite(rows).sum(-1, keepdims=True)
    outside = np.float32((1 - p / 100) / (1 if symmetric else 2))
    share = (count - 1) * outside  # from an end: the nearer to it, the more exact
    if symmetric:
        high = _from_the_top(jnp.abs(rows), share)
        return (-high).reshape(shape), high.reshape(shape)
    return (-_from_the_top(-rows, share)).reshape(shape), _from_the_top(rows, share).reshape(shape)


def _whole_along(x, axes):
    """x, not split along these axes: JAX does not gather for a sort by itself where a mesh's axes are explicit."""
    sharding = jax.typeof(x).sharding
    if not any(sharding.spec[axis] for axis in axes):
        return x
    spec = PartitionSpec(*(None if axis in axes else part for axis, part in enumerate(sharding.spec)))
    return jax.sharding.reshard(x, NamedSharding(sharding.mesh, spec))


def _from_the_top(rows, share):
    """The value at this distance from the largest finite one, in order, between two of them if it lies there."""
    falling = -jnp.sort(jnp.where(jnp.isfinite(rows), -rows, np.inf), -1)
    first = jnp.clip(jnp.floor(share), 0, rows.shape[-1] - 1).astype(int)
    values = [jnp.take_along_axis(falling, at, -1) for at in (first, jnp.minimum(first + 1, rows.shape[-1] - 1))]
    part = share - first
    return jnp.where(part > 0, values[0] + (values[1] - values[0]) * part, values[0])


def _searched(x, wide, axes, ends, kind):
    """The part of the range that has the least squared error, by trying."""
    if not x.ndim:
        return ends
    ends, levels = (jnp.minimum(ends[0], 0), jnp.maximum(ends[1], 0)), (jnp.asarray(kind.qmin), jnp.asarray(kind.qmax))
    most = jnp.maximum(-ends[0], ends[1])
    unit = jnp.where(most > 0, most, 1)

    def error(low, high):
        scale, zero_point = _chosen(low, high, kind)
        arrays, qparams = _arguments.read(x, scale, zero_point, *levels)
        (y,) = _calls.bind("fake_quantize", None, False, arrays, *qparams)
        gap = jnp.where(jnp.isfinite(wide), (_formula.widened(y) - wide) / unit, 0)
        return (gap * gap).sum(axes, keepdims=True)

    def best(ends, parts):
        parts = jnp.asarray(parts, wide.dtype)
        found = jax.lax.map(lambda part: error(ends[0] * part[0], ends[1] * part[1]), parts)
        chosen = parts[jnp.argmin(found, 0)]
        return ends[0] * chosen[..., 0], ends[1] * chosen[..., 1]

    ones = np.ones_like(FINE)
    found = best(best(ends, np.stack([COARSE, COARSE], 1)), np.stack([FINE, FINE], 1))
    if not kind.symmetric:
        found = best(best(found, np.stack([FINE, ones], 1)), np.stack([ones, FINE], 1))
    return jnp.maximum(found[0], ends[0]), jnp.minimum(found[1], ends[1])


@partial(jax.jit, static_argnums=2)
def _chosen(low, high, kind):
    """scale and zero_point of a range."""
    dtype = np.dtype(np.float64 if np.float64 in (low.dtype, high.dtype) else np.float32)
    low, high, refused = _range(low, high)
    power, nothing = _formula.Power(jnp.maximum(jnp.maximum(-low, high), kind.least)), _formula.are_zero(low, high)
    near = power.nearer(low), power.nearer(high)

    def usable(step):
        """The scale, behind a barrier as XLA may leave out a conversion beside its inverse."""
        return jax.lax.optimization_barrier(
            jnp.where(nothing, kind.of_zero, jnp.maximum(power.back(step[0] + step[1]).astype(dtype), kind.least))
        )

    if kind.symmetric:
        step = _quotient((2 * jnp.maximum(-near[0], near[1]), 0), kind.steps)
        scale = usable(_enlarged(step, kind) if kind.has_tie else step)
        below = jnp.full(scale.shape, (kind.steps + 1) // 2)
    else:
        step = _step(*near, kind.steps)
        scale = usable(step)
        below, tight = _levels_below(near, power.nearer(scale.astype(low.dtype)), kind)
        if kind.cover:
            scale = usable(
                [jnp.where(tight, one, other) for one, other in zip(_enlarged(step, kind), step, strict=True)]
            )
            below, _ = _levels_below(near, power.nearer(scale.astype(low.dtype)), kind)
    level = below.astype(np.int32) + np.int32(kind.qmin)
    return jnp.where(refused, np.nan, scale), jnp.where(refused, kind.zero, level).astype(np.int32)


def _range(low, high):
    """The range widened to contain 0.0, in the widest type that there is; 0 where the range is refused."""
    low, high = jnp.broadcast_arrays(*map(_wide, (low, high)))
    empty = (low == np.inf) & (high == -np.inf)
    good = jnp.isfinite(low) & jnp.isfinite(high) & (low <= high)
    return _formula.negative(low, good), _formula.positive(high, good), ~good & ~empty


def _wide(end):
    """An end of a range, behind a barrier: what it was computed from may not be seen."""
    end = jax.lax.optimization_barrier(jax.lax.stop_gradient(end))
    wide = np.dtype(np.float64 if jax.config.jax_enable_x64 else np.float32)
    if not jnp.issubdtype(end.dtype, np.floating):
        return end.astype(wide)
    return _formula.in_type(_formula.widened(end), wide)


def _step(low, high, steps):
    """The width of a step. In float64 as `fq.choose_qparams` computes it: divided before subtracted."""
    if low.dtype == np.float64:
        return _quotient((high, 0), steps)[0] - _quotient((low, 0), steps)[0], 0
    return _quotient(_sum(high, -low), steps)


def _levels_below(near, scale, kind):
    """How many levels lie below zero_point, and whether an end of the range is within the margin of a tie."""
    down, up = (_quotient((end, 0), scale) for end in (-near[0], near[1]))
    below = _nearest(down[0], down[1] + kind.margin)
    beyond, above = (
        ((first - levels) - 0.5) + (second + kind.margin)
        for (first, second), levels in ((down, below), (up, kind.steps - below))
    )
    return below, jnp.maximum(beyond, above) > 0


# Numbers as sums of two


def _sum(a, b):
    """a + b, exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _quotient(pair, by):
    """A quotient, the first of the two being the nearest to it; in float64, as NumPy has it, that one alone."""
    by = jnp.asarray(by, pair[0].dtype)
    first = pair[0] / by
    second = (_formula.remainder(pair[0], first, by) + pair[1]) / by
    total = first + second
    return total, 0 if total.dtype == np.float64 else second - (total - first)


def _nearest(first, second):
    """The integer nearest to a sum, half to even; in float64 to the sum as rounded."""
    if first.dtype == np.float64:
        return jnp.rint(first + second)
    even = 2 * jnp.rint(first / 2)  # of an even number the half rounds as the sum does
    total, rest = _sum(first - even, second)
    level = jnp.rint(total)
    is_tie = (jnp.abs(total - level) == 0.5) & (rest != 0)
    return even + jnp.where(is_tie, total + jnp.where(rest > 0, 0.5, -0.5), level)


def _enlarged(pair, kind):
    """Larger by what keeps an end of the range off a tie."""
    return pair[0], pair[1] + pair[0] * kind.enlarged
