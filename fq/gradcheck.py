"""Numerical checks of the straight-through gradient and of the learnable gradients: of fq's, or of your own.

The derivative of a staircase is 0 or infinite, so small steps say nothing. Two larger ones do: a step of one whole
scale lands on the same place of the next stair, and with the rounding's offset held still y is smooth in scale and
zero_point.

A forward is called as ``forward(x, scale, zero_point, qmin, qmax)`` and a backward as
``backward(dy, x, scale, zero_point, qmin, qmax)``; of a tuple that they return the first items count. Results of
any framework go through `numpy.asarray`.
"""

from dataclasses import dataclass

import numpy as np

__all__ = [
    "GradientMismatch",
    "GradientReport",
    "check_input_gradient",
    "check_parameter_gradients",
    "numerical_gradient",
]


class GradientMismatch(AssertionError):
    """A gradient differs from the numerical one; the message is the report."""


@dataclass(frozen=True)
class GradientReport:
    """What a check found.

    Attributes
    ----------
    checked : dict of str to int
        How many elements were compared, by where they lie.
    excluded : dict of str to int
        How many were not, by the reason.
    failed : dict of str to int
        How many of those compared differ.
    worst : tuple or None
        (name, index, at, expected, found) of the largest difference; ``at`` is x, or the parameter.
    """

    checked: dict
    excluded: dict
    failed: dict
    worst: tuple | None

    @property
    def ok(self):
        """Whether something was compared and nothing differs."""
        return sum(self.checked.values()) > 0 and not any(self.failed.values())

    def __str__(self):
        lines = [f"{'ok' if self.ok else 'MISMATCH'}: {sum(self.checked.values())} checked"]
        lines += [f"  {name}: {n} checked, {self.failed.get(name, 0)} wrong" for name, n in self.checked.items()]
        lines += [f"  excluded, {reason}: {n}" for reason, n in self.excluded.items() if n]
        if self.worst is not None:
            name, index, at, expected, found = self.worst
            lines.append(f"  worst: {name} at {index}, {at!r}: expected {expected!r}, found {found!r}")
        if not any(self.checked.values()):
            lines.append("  nothing could be checked")
        return "\n".join(lines)

    def raise_if_failed(self):
        """Return the report, or raise GradientMismatch with it."""
        if not self.ok:
            raise GradientMismatch(str(self))
        return self


def numerical_gradient(f, x, step):
    """Central differences of any function of an array, in float64.

    Parameters
    ----------
    f : callable
        Takes a float64 array of the shape of x, returns a number or an array.
    x : array_like of real numbers
    step : array_like of positive numbers
        Half the distance of the two points, of a shape that broadcasts to x.

    Returns
    -------
    ndarray of float64
        Of the shape of f(x), then that of x: the derivative of each result by each element.

    Examples
    --------
    >>> numerical_gradient(lambda x: np.sum(x**2), [1.0, 2.0], 0.5)
    array([2., 4.])
    """
    x = np.array(x, np.float64)
    steps = np.broadcast_to(np.asarray(step, np.float64), x.shape)
    columns = []
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * steps[index]
            ends.append((np.asarray(f(moved), np.float64), moved[index]))
        (above, high), (below, low) = ends
        columns.append((above - below) / (high - low))
    if not columns:
        return np.zeros((*np.shape(f(x)), *x.shape))
    return np.stack(columns, -1).reshape(columns[0].shape + x.shape)


def check_input_gradient(forward, backward, x, qparams):
    """Compare a gradient of x with the stairs of the true forward.

    A step of one scale up and one down changes y by exactly one scale each inside the range and by 0 outside. At
    the border, the first and last level, one of the two changes y: there the straight-through gradient is 1.

    Parameters
    ----------
    forward, backward : callable
        See the module.
    x : array_like of a floating type
        Where to check; values on and beside the first and last level tell most.
    qparams : sequence
        scale, zero_point, qmin and qmax.

    Returns
    -------
    GradientReport
        Of elements "inside", "outside" and at the "border". Excluded are those that are not finite, those so close to
        a rounding boundary that the type cannot tell on which side a step lands, and grids of a single level.

    Examples
    --------
    >>> import fq
    >>> x = np.linspace(-3, 3, 101)
    >>> check_input_gradient(fq.forward, fq.backward_recompute, x, (0.25, 0, -8, 7)).ok
    True
    """
    x = np.asarray(x)
    scale, _, qmin, qmax = (np.asarray(one) for one in qparams)
    wide, eps = _wide(x), _epsilon(x.dtype)
    step = np.broadcast_to(scale, x.shape).astype(np.float64)
    with np.errstate(all="ignore"):
        excluded = _excluded(wide, wide / step, eps)
        y, above, below = (_first(forward(at.astype(x.dtype), *qparams)) for at in (wide, wide + step, wide - step))
        rises = [_snapped((b - a) / step, eps * (np.abs(y) / step + 2)) for a, b in ((below, y), (y, above))]
    excluded["one level"] = ~_any(excluded) & np.broadcast_to(qmin == qmax, x.shape)
    usable = ~_any(excluded)
    border = (rises[0] + rises[1] == 1) & (rises[0] * rises[1] == 0)
    expected = np.where(border, 1.0, (rises[0] + rises[1]) / 2)
    dy = np.resize(np.array([1.0, -2.0, 0.5, 3.0]), x.shape)
    found = _first(backward(dy.astype(x.dtype), x, *qparams)) / dy
    groups = {"inside": ~border & (expected != 0), "border": border, "outside": ~border & (expected == 0)}
    wrong = ~(np.abs(found - expected) <= 8 * eps)
    return _report({name: usable & group for name, group in groups.items()}, excluded, wrong, wide, expected, found)


def check_parameter_gradients(backward, x, qparams, *, dy=None, factor=1.0):
    """Compare gradients of scale and zero_point with those of the forward whose rounding is held still.

    With the offset rint(x / scale) - x / scale and the set of clamped elements frozen, y is smooth in both
    parameters, and central differences of sum(dy * y) are their gradients.

    Parameters
    ----------
    backward : callable
        As `fq.backward_learnable`: returns (dx, dscale, dzero_point).
    x : array_like of a floating type
    qparams : sequence
        scale, zero_point, qmin and qmax; any shapes that broadcast into x.
    dy : array_like, optional
        The gradient of y; by default numbers between 1 and 2, so that nothing cancels by itself.
    factor : float
        What backward multiplies both gradients by: ``fq.scale_gradient_factor(n, qmax)`` for LSQ.

    Returns
    -------
    GradientReport
        Of the elements of "scale" and "zero_point". Elements of x that are not finite or too close to a rounding
        boundary are excluded: they are given a dy of 0. The tolerance is what rounding in x's type explains.

    Examples
    --------
    >>> import fq
    >>> x = np.linspace(-3, 3, 101)
    >>> check_parameter_gradients(fq.backward_learnable, x, (0.25, 0, -8, 7)).ok
    True
    """
    x = np.asarray(x)
    scale, zero_point, qmin, qmax = (np.asarray(one) for one in qparams)
    computed = np.float64 if x.dtype == np.float64 else np.float32
    scale = scale.astype(computed).astype(np.float64)
    wide, eps = _wide(x), np.finfo(computed).eps
    finite = np.where(np.isfinite(wide), wide, 0)
    place = finite / scale
    excluded = _excluded(wide, place, eps)
    dy = 1 + np.resize(np.arange(7) / 8, x.shape) if dy is None else np.asarray(dy).astype(np.float64)
    dy = np.where(_any(excluded), 0.0, dy).astype(x.dtype)
    frozen = _frozen(place * scale, place, zero_point, qmin, qmax)
    weights = dy.astype(np.float64)
    expected = (
        numerical_gradient(lambda s: np.sum(weights * frozen(s, zero_point)), scale, scale / 1024),
        numerical_gradient(lambda z: np.sum(weights * frozen(scale, z)), zero_point, 1 / 1024),
    )
    results = backward(dy, finite.astype(x.dtype), *qparams)
    size = np.abs(weights) * (np.abs(place) + np.abs(qmin - zero_point) + np.abs(qmax - zero_point) + 1)
    tolerance = 64 * eps * np.sum(size) * abs(factor) * np.array([1.0, np.max(scale)])
    return _parameter_report(expected, results[1:3], tolerance, (scale, zero_point), factor, excluded)


def _frozen(x, place, zero_point, qmin, qmax):
    """y as a function of scale and zero_point, the offset of the rounding and the clamped elements held still."""
    rounded = np.rint(place)
    low, high = rounded < qmin - zero_point, rounded > qmax - zero_point

    def y(scale, zero):
        clamped = (np.where(low, qmin, qmax) - zero) * scale
        return np.where(low | high, clamped, x + (rounded - place) * scale)

    return y


def _excluded(x, place, eps):
    """The elements that no check can judge, by the reason."""
    finite = np.isfinite(x)
    beside = np.abs(place - np.floor(place) - 0.5) <= 4 * eps * (np.abs(place) + 2)
    return {"not finite": ~finite, "beside a rounding boundary": finite & beside}


def _any(groups):
    return np.logical_or.reduce(list(groups.values()))


def _counts(groups):
    return {name: int(np.sum(group)) for name, group in groups.items()}


def _place_of_largest(gap):
    return tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape))


def _wide(x):
    if x.dtype.kind not in "fV" or x.dtype.names:
        raise TypeError(f"x must be of a floating type, got {x.dtype}")
    return x.astype(np.float64)


def _epsilon(dtype):
    return 2.0**-8 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)


def _first(results):
    return np.asarray(results[0] if isinstance(results, tuple | list) else results).astype(np.float64)


def _snapped(rise, tolerance):
    """The nearest integer where rounding explains the difference."""
    nearest = np.rint(rise)
    return np.where(np.abs(rise - nearest) <= np.minimum(4 * tolerance, 0.25), nearest, rise)


def _report(groups, excluded, wrong, at, expected, found):
    failed = _counts({name: group & wrong for name, group in groups.items()})
    worst, used = None, _any(groups)
    if np.any(used):
        gap = np.where(used, np.nan_to_num(np.abs(found - expected), nan=np.inf), -1.0)
        index = _place_of_largest(gap)
        worst = ("x", index, float(at[index]), float(expected[index]), float(found[index]))
    return GradientReport(_counts(groups), _counts(excluded), failed, worst)


def _parameter_report(expected, found, tolerance, at, factor, excluded):
    checked, failed, worst, largest = {}, {}, None, -1.0
    for name, one, given, most, value in zip(("scale", "zero_point"), expected, found, tolerance, at, strict=True):
        one, given = one * factor, np.asarray(given).astype(np.float64)
        if given.shape != one.shape:
            raise GradientMismatch(f"the gradient of {name} must have its shape {one.shape}, got {given.shape}")
        gap = np.nan_to_num(np.abs(given - one), nan=np.inf) / most
        checked[name], failed[name] = gap.size, int(np.sum(gap > 1))
        if gap.size and np.max(gap) > largest:
            index, largest = _place_of_largest(gap), np.max(gap)
            worst = (name, index, value[index].item(), float(one[index]), float(given[index]))
    return GradientReport(checked, _counts(excluded), failed, worst)
