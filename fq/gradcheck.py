"""Numerical checks of the straight-through gradient and of the learnable gradients: of fq's, or of your own.

The derivative of a staircase is 0 or infinite, so small steps say nothing. Two larger ones do: a step of one whole
scale lands on the same place of the next stair, and with the rounding's offset held still y is smooth in scale and
zero_point.

A forward is called as ``forward(x, scale, zero_point, qmin, qmax)`` and a backward as
``backward(dy, x, scale, zero_point, qmin, qmax)``; of a tuple that they return the first items count. Functions made
of PyTorch or JAX are called with their arrays, all others with NumPy's. One that raises, or gives what is no gradient,
fails the check: the report says why. Arguments with which nothing could be judged are refused.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq._gradcheck_inputs import (
    Broken,
    Candidate,
    computed_in,
    epsilon,
    floating,
    gradient_of_y,
    numbers_of,
    parameters,
    refuse,
)

__all__ = [
    "GradientMismatch",
    "GradientReport",
    "check_input_gradient",
    "check_parameter_gradients",
    "numerical_gradient",
]

Array = NDArray[Any]
_P = ParamSpec("_P")


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
    problem : str or None
        Why nothing could be compared: what a function raised, or gave in place of a gradient.
    cause : BaseException or None
        What it raised.
    """

    checked: dict[str, int]
    excluded: dict[str, int]
    failed: dict[str, int]
    worst: tuple[Any, ...] | None
    problem: str | None = None
    cause: BaseException | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.problem is None and sum(self.checked.values()) > 0 and not any(self.failed.values())

    def __str__(self) -> str:
        lines = [f"{'ok' if self.ok else 'MISMATCH'}: {sum(self.checked.values())} checked"]
        lines += [f"  {name}: {n} checked, {self.failed.get(name, 0)} wrong" for name, n in self.checked.items()]
        lines += [f"  excluded, {reason}: {n}" for reason, n in self.excluded.items() if n]
        if self.worst is not None:
            name, index, at, expected, found = self.worst
            lines.append(f"  worst: {name} at {index}, {at!r}: expected {expected!r}, found {found!r}")
        if self.problem is not None:
            lines.append(f"  {self.problem}")
        elif not any(self.checked.values()):
            lines.append("  nothing could be checked")
        return "\n".join(lines)

    def raise_if_failed(self) -> Self:
        """Return the report, or raise GradientMismatch with it."""
        if not self.ok:
            raise GradientMismatch(str(self)) from self.cause
        return self


def numerical_gradient(
    f: Callable[[NDArray[np.float64]], ArrayLike], x: ArrayLike, step: ArrayLike
) -> NDArray[np.float64]:
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

    Raises
    ------
    TypeError
        If f gives no real numbers.
    ValueError
        If step is not positive and finite.

    Examples
    --------
    >>> numerical_gradient(lambda x: np.sum(x**2), [1.0, 2.0], 0.5)
    array([2., 4.])
    """
    x = np.array(x, np.float64)
    steps = np.broadcast_to(np.asarray(step, np.float64), x.shape)
    refuse("step must be positive and finite", steps, ~(np.isfinite(steps) & (steps > 0)))
    columns = []
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * steps[index]
            ends.append((numbers_of("f(x)", f(moved)).astype(np.float64), moved[index]))
        (above, high), (below, low) = ends
        columns.append((above - below) / (high - low))
    if not columns:
        return np.zeros((*np.shape(f(x)), *x.shape))
    return np.stack(columns, -1).reshape(columns[0].shape + x.shape)


def _one_grid(check: Callable[_P, GradientReport]) -> Callable[_P, GradientReport]:
    """Tells whoever gives the four numbers of a grid as arguments how they are given."""
    most = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in inspect.signature(check).parameters.values())

    @functools.wraps(check)
    def called(*args: _P.args, **keywords: _P.kwargs) -> GradientReport:
        if len(args) > most:
            raise TypeError(
                f"{check.__name__} takes the grid as one argument, (scale, zero_point, qmin, qmax), "
                f"so {most} arguments in all, got {len(args)}"
            )
        return check(*args, **keywords)

    return called


@_one_grid
def check_input_gradient(
    forward: Callable[..., Any], backward: Callable[..., Any], x: ArrayLike, qparams: Sequence[ArrayLike]
) -> GradientReport:
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
        scale, zero_point, qmin and qmax; any shapes that broadcast into x.

    Returns
    -------
    GradientReport
        Of elements "inside", "outside" and at the "border". Excluded are those that are not finite, those so close to
        a rounding boundary that the type cannot tell on which side a step lands, and grids of a single level.

    Raises
    ------
    TypeError
        If a function cannot be called so, x is of no floating type, or qparams are not four numbers or arrays.
    ValueError
        If scale is not positive and finite, qmin exceeds qmax, or a shape does not broadcast into that of x.

    Examples
    --------
    >>> import fq
    >>> x = np.linspace(-3, 3, 101)
    >>> check_input_gradient(fq.forward, fq.backward_recompute, x, (0.25, 0, -8, 7)).ok
    True
    """
    stairs, gradient = Candidate("forward", forward), Candidate("backward", backward)
    x = floating(x)
    scale, _, qmin, qmax = parameters(qparams, x)
    wide, eps = x.astype(np.float64), epsilon(x.dtype)
    step = np.broadcast_to(scale, x.shape)
    dy = np.resize(np.array([1.0, -2.0, 0.5, 3.0]), x.shape)
    with np.errstate(all="ignore"):
        excluded = _excluded(wide, wide / step, eps)
        excluded["one level"] = ~_any(excluded) & np.broadcast_to(qmin == qmax, x.shape)
        try:
            ys = (stairs.gradient("y", (at.astype(x.dtype),), qparams) for at in (wide, wide + step, wide - step))
            y, above, below = ys
            found = gradient.gradient("dx", (dy.astype(x.dtype), x), qparams) / dy
        except Broken as broken:
            return _broken_report(broken, excluded)
        rises = [_snapped((b - a) / step, eps * (np.abs(y) / step + 2)) for a, b in ((below, y), (y, above))]
        usable = ~_any(excluded)
        border = (rises[0] + rises[1] == 1) & (rises[0] * rises[1] == 0)
        expected = np.where(border, 1.0, (rises[0] + rises[1]) / 2)
        groups = {"inside": ~border & (expected != 0), "border": border, "outside": ~border & (expected == 0)}
        wrong = ~(np.abs(found - expected) <= 8 * eps)
        return _report({name: usable & group for name, group in groups.items()}, excluded, wrong, wide, expected, found)


@_one_grid
def check_parameter_gradients(
    backward: Callable[..., Any],
    x: ArrayLike,
    qparams: Sequence[ArrayLike],
    *,
    dy: ArrayLike | None = None,
    factor: float = 1.0,
    codes: int | None = None,
) -> GradientReport:
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
        The gradient of y, finite; by default numbers between 1 and 2, so that nothing cancels by itself.
    factor : float
        What backward multiplies both gradients by: ``fq.scale_gradient_factor(n, qmax)`` for LSQ.
    codes : {None, 8, 4}, optional
        The bits of the codes that backward takes for the residuals of x, as `fq.backward_residual` does: the gradient
        of scale may be off by half a step of the code for each element.

    Returns
    -------
    GradientReport
        Of the elements of "scale" and "zero_point". Elements of x that are not finite or too close to a rounding
        boundary are excluded: they are given a dy of 0. The tolerance is what rounding in x's type explains.

    Raises
    ------
    TypeError, ValueError
        As `check_input_gradient`; and if dy or factor is not finite, or factor is 0: with these nothing differs.

    Examples
    --------
    >>> import fq
    >>> x = np.linspace(-3, 3, 101)
    >>> check_parameter_gradients(fq.backward_learnable, x, (0.25, 0, -8, 7)).ok
    True
    >>> by_codes = lambda dy, x, *grid: fq.backward_residual(dy, fq.forward_residual(x, *grid)[1], *grid)
    >>> check_parameter_gradients(by_codes, x, (0.25, 0, -8, 7), codes=8).ok
    True
    """
    gradients = Candidate("backward", backward)
    if codes not in (None, 4, 8):
        raise ValueError(f"codes must be None, 4 or 8 bits, got {codes!r}")
    x = floating(x)
    scale, zero_point, qmin, qmax = parameters(qparams, x)
    if np.ndim(factor) or not np.isfinite(numbers_of("factor", factor)) or factor == 0:
        raise ValueError(f"factor must be a finite number other than 0, got {factor}")
    wide, eps = x.astype(np.float64), float(np.finfo(computed_in(x)).eps)
    dy, finite = gradient_of_y(dy, x), np.where(np.isfinite(wide), wide, 0)
    with np.errstate(all="ignore"):
        place = finite / scale
        excluded = _excluded(wide, place, eps)
        dy = np.where(_any(excluded), 0.0, dy).astype(x.dtype)
        frozen = _frozen(place * scale, place, zero_point, qmin, qmax)
        weights = dy.astype(np.float64)
        try:
            found = gradients.parameter_gradients(
                (dy, finite.astype(x.dtype)), qparams, (scale.shape, zero_point.shape)
            )
        except Broken as broken:
            return _broken_report(broken, excluded)
        expected = (
            numerical_gradient(lambda s: np.sum(weights * frozen(s, zero_point)), scale, scale / 1024),
            numerical_gradient(lambda z: np.sum(weights * frozen(scale, z)), zero_point, 1 / 1024),
        )
        size = np.abs(weights) * (np.abs(place) + np.abs(qmin - zero_point) + np.abs(qmax - zero_point) + 1)
        tolerance = 64 * eps * np.sum(size) * abs(factor) * np.array([1.0, np.max(scale, initial=0)])
        if codes is not None:
            tolerance[0] += np.sum(np.abs(weights)) * abs(factor) / (4 * (2 ** (codes - 1) - 2))
        return _parameter_report(expected, found, tolerance, (scale, zero_point), factor, excluded)


def _frozen(x: Array, place: Array, zero_point: Array, qmin: Array, qmax: Array) -> Callable[[Array, Array], Array]:
    """y as a function of scale and zero_point, the offset of the rounding and the clamped elements held still."""
    rounded = np.rint(place)
    low, high = rounded < qmin - zero_point, rounded > qmax - zero_point

    def y(scale: Array, zero: Array) -> Array:
        clamped = (np.where(low, qmin, qmax) - zero) * scale
        return np.where(low | high, clamped, x + (rounded - place) * scale)

    return y


def _excluded(x: Array, place: Array, eps: float) -> dict[str, Array]:
    """The elements that no check can judge, by the reason."""
    finite = np.isfinite(x)
    beside = np.abs(place - np.floor(place) - 0.5) <= 4 * eps * (np.abs(place) + 2)
    return {"not finite": ~finite, "beside a rounding boundary": finite & beside}


def _any(groups: dict[str, Array]) -> Array:
    return np.asarray(np.logical_or.reduce(list(groups.values())))


def _counts(groups: dict[str, Array]) -> dict[str, int]:
    return {name: int(np.sum(group)) for name, group in groups.items()}


def _place_of_largest(gap: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape))


def _snapped(rise: Array, tolerance: Array) -> Array:
    """The nearest integer where rounding explains the difference."""
    nearest = np.rint(rise)
    return np.where(np.abs(rise - nearest) <= np.minimum(4 * tolerance, 0.25), nearest, rise)


def _report(
    groups: dict[str, Array], excluded: dict[str, Array], wrong: Array, at: Array, expected: Array, found: Array
) -> GradientReport:
    failed = _counts({name: group & wrong for name, group in groups.items()})
    worst, used = None, _any(groups)
    if np.any(used):
        gap = np.where(used, np.nan_to_num(np.abs(found - expected), nan=np.inf), -1.0)
        index = _place_of_largest(gap)
        worst = ("x", index, float(at[index]), float(expected[index]), float(found[index]))
    return GradientReport(_counts(groups), _counts(excluded), failed, worst)


def _broken_report(broken: Broken, excluded: dict[str, Array]) -> GradientReport:
    return GradientReport({}, _counts(excluded), {}, None, str(broken), broken.__cause__)


def _parameter_report(
    expected: tuple[Array, ...],
    found: list[Array],
    tolerance: Array,
    at: tuple[Array, ...],
    factor: float,
    excluded: dict[str, Array],
) -> GradientReport:
    checked, failed, worst, largest = {}, {}, None, -1.0
    for name, one, given, most, value in zip(("scale", "zero_point"), expected, found, tolerance, at, strict=True):
        one = one * factor
        # No tolerance: every dy is 0, and nothing could differ. An infinite one: everything would be tolerated.
        gap = np.nan_to_num(np.abs(given - one), nan=np.inf) / most if 0 < most < np.inf else np.full(one.shape, np.inf)
        checked[name], failed[name] = gap.size * bool(most > 0), int(np.sum(~(gap <= 1))) * bool(most > 0)
        if gap.size and np.max(gap) > largest:
            index, largest = _place_of_largest(gap), np.max(gap)
            worst = (name, index, value[index].item(), float(one[index]), float(given[index]))
    return GradientReport(checked, _counts(excluded), failed, worst)
