"""From the values of an array to the grid of a quantizer, and how well the grid fits them."""

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq._clip import check_method, clip_range
from fq._distribution import distribution, exact_ends, extremes, finite_or_refused, shape_of
from fq._errors import in_memory, refuse_lazy
from fq._seen import checked
from fq.qparams import QParams, choose_qparams

__all__ = ["MovingAverage", "calibrate", "grouped", "sqnr"]

Array = NDArray[Any]
Axes = int | tuple[int, ...] | None
Energies = tuple[tuple[Array, Array], tuple[Array, Array]]  # sums of squares over 2**shift, and the shifts: twice
Method = Literal["minmax", "percentile", "mse", "entropy"]

_NONFINITE = "skip", "raise"
_SCALES = "float32", "float64"


def calibrate(
    x: ArrayLike,
    bits: int = 8,
    axis: Axes = None,
    group: int | None = None,
    method: Method = "minmax",
    *,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    eps: float | None = None,
    p: float = 99.99,
    exact: bool = False,
    nonfinite: Literal["skip", "raise"] = "skip",
    formula: Literal["cover", "torch"] = "cover",
) -> QParams:
    """Choose the grid for the values of one array: per tensor, per channel or per group.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        The values.
    bits : int
        1 to 16.
    axis : int or tuple of int, optional
        The axes that are kept, each index of which has a grid of its own; without any, one grid serves all.
    group : int, optional
        So many elements along the last axis share a grid, which is for ``fq.grouped(x, group)``: with axis None in each
        row, else along the axes that are kept.
    method : {"minmax", "percentile", "mse", "entropy"}
        "minmax": the range holds all values. "percentile": it leaves out the outermost. "mse": its grid has the least
        error of fake quantization, squared. "entropy": the quantized sizes of the values have the least
        Kullback-Leibler divergence from all sizes, as in TensorRT's calibration; for at most 8 bits.
    signed, symmetric, narrow_range, eps, formula
        As `choose_qparams` has them.
    p : float
        For the percentile: so many percent of the sizes of x lie inside for a symmetric grid, otherwise
        ``(100 - p) / 2`` percent of x lie beyond either end.
    exact : bool
        The percentile is a value of x. Otherwise it comes from a histogram, whose bins are at most 1/128 of their
        values wide.
    nonfinite : {"skip", "raise"}
        What to do with NaN and infinities: leave them out, or refuse them.

    Returns
    -------
    QParams
        scale (float32, or float64 if x is) and zero_point of a shape that broadcasts against x: ``(1, C, 1, 1)`` for
        axis 1 of images, ``(..., G, 1)`` for G groups in a row, numbers without axis and group.

    Raises
    ------
    TypeError
        If x is not of a floating-point type, or an argument has a type that it cannot have.
    ValueError
        If a set has no finite value, if x is refused by ``nonfinite``, if an axis is not there or the last axis is not
        whole groups, or if another argument is impossible.

    References
    ----------
    Migacz, "8-bit Inference with TensorRT" (2017), for the divergence.

    Examples
    --------
    >>> import numpy as np, fq
    >>> weights = np.float32([[0.5, -1.0, 0.25, 0.125], [3.0, 1.0, -2.0, 0.0]])
    >>> fq.calibrate(weights, 4, symmetric=True).scale
    np.float32(0.4000004)
    >>> qparams = fq.calibrate(weights, 4, axis=0, symmetric=True)
    >>> qparams.scale.shape, qparams.qmin, qparams.qmax
    ((2, 1), -8, 7)
    >>> qparams = fq.calibrate(weights, 4, group=2)
    >>> fq.fake_quantize(fq.grouped(weights, 2), *qparams).shape
    (2, 2, 2)
    """
    check_method(method, bits, narrow_range, p)
    _check_nonfinite(nonfinite)
    values, reduced = _sets(checked(x), axis, group)
    kind = {"signed": bool(signed), "symmetric": bool(symmetric), "narrow_range": bool(narrow_range)}
    low, high = _seen(*extremes(finite_or_refused(values, nonfinite), reduced), "calibrate")
    if method == "percentile" and exact:
        low, high = exact_ends(values, reduced, p, bool(symmetric))
    elif method != "minmax":
        found = distribution(values, reduced)
        ends = clip_range(found, low.ravel(), high.ravel(), bits=bits, method=method, p=p, **kind)
        low, high = (end.reshape(low.shape) for end in ends)
    return _grid(low, high, values.dtype, bits, kind | {"formula": formula, "eps": eps})


class MovingAverage:
    """The range of batch after batch as exponential moving averages of their smallest and largest values.

    **The answer depends on the order of the batches**, and is another for other batches of the same values; two of
    these cannot be merged. That is the price of following values that drift, as in training.

    Parameters
    ----------
    axis : int or tuple of int, optional
        The axes that are kept, as in `calibrate`.
    momentum : float
        The weight of a new batch, above 0 and up to 1; the first batch has all of it.
    nonfinite : {"skip", "raise"}
        What to do with NaN and infinities: leave them out, or refuse the batch.

    Attributes
    ----------
    min, max : float or ndarray
        The averages, of a shape that broadcasts against a batch.

    Notes
    -----
    ``min += momentum * (batch.min() - min)`` and likewise max, as PyTorch's MovingAverageMinMaxObserver, computed in
    float64. A batch that is empty, or refused with an error, changes nothing.

    Examples
    --------
    >>> import numpy as np, fq
    >>> average = fq.MovingAverage(momentum=0.5)
    >>> average.update(np.float32([-1, 2])).update(np.float32([-2, 2])).min
    -1.5
    >>> average.qparams(8, symmetric=True).zero_point
    np.int64(0)
    """

    def __init__(
        self, axis: Axes = None, momentum: float = 0.01, *, nonfinite: Literal["skip", "raise"] = "skip"
    ) -> None:
        if isinstance(momentum, bool) or not isinstance(momentum, int | float | np.integer | np.floating):
            raise TypeError(f"momentum must be a real number, got {momentum!r}")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be above 0 and up to 1, got {momentum}")
        _check_nonfinite(nonfinite)
        self.axis, self.momentum, self.nonfinite = axis, float(momentum), nonfinite
        self._low: Array | None = None  # with NaN where nothing was seen
        self._high: Array | None = None
        self._dtype: np.dtype[Any] = np.dtype(np.float32)

    def update(self, x: ArrayLike) -> Self:
        """Take the range of a batch into the averages.

        Parameters
        ----------
        x : array_like of float16, bfloat16, float32 or float64
            The batch. The axes that are kept have the same lengths in all batches.

        Returns
        -------
        MovingAverage
            Itself.

        Raises
        ------
        TypeError
            If x is not of a floating-point type.
        ValueError
            If an axis is not there or has another length than before, or x is refused by ``nonfinite``.
        """
        values = checked(x)
        reduced = _reduced(values, self.axis)
        shape = shape_of(values, reduced)
        if self._low is not None and shape != self._low.shape:
            raise ValueError(f"ranges of a batch have shape {shape}, those of the batches before {self._low.shape}")
        finite_or_refused(values, self.nonfinite)
        if values.size == 0:
            return self
        low, high = extremes(values, reduced)
        self._low, self._high = self._averaged(self._low, low), self._averaged(self._high, high)
        self._dtype = np.result_type(self._dtype, np.float64 if values.dtype == np.float64 else np.float32)
        return self

    def _averaged(self, before: Array | None, new: Array) -> Array:
        if before is None:
            return new
        with np.errstate(all="ignore"):
            moved = before + self.momentum * (new - before)
            wide = (1 - self.momentum) * before + self.momentum * new  # where the difference overflows
        moved = np.where(np.isfinite(moved), moved, wide)
        return np.where(np.isnan(before), new, np.where(np.isnan(new), before, moved))

    @property
    def min(self) -> float | Array:
        """The average of the smallest values."""
        return _number_or_array(self._ends()[0])

    @property
    def max(self) -> float | Array:
        """The average of the largest values."""
        return _number_or_array(self._ends()[1])

    def _ends(self) -> tuple[Array, Array]:
        if self._low is None or self._high is None:
            raise ValueError("this moving average has seen no value yet, so it has no range: update(x) first")
        return _seen(self._low, self._high, "this moving average")

    def qparams(
        self,
        bits: int = 8,
        *,
        signed: bool = True,
        symmetric: bool = False,
        narrow_range: bool = False,
        formula: Literal["cover", "torch"] = "cover",
        eps: float | None = None,
    ) -> QParams:
        """Choose the grid for the averages.

        Parameters
        ----------
        bits, signed, symmetric, narrow_range, formula, eps
            As `choose_qparams` has them.

        Returns
        -------
        QParams
            scale is float32, or float64 if a batch was.

        Raises
        ------
        ValueError
            If nothing was seen, of any index of the axes that are kept, or an argument is impossible.
        """
        low, high = self._ends()
        kind = {"signed": signed, "symmetric": symmetric, "narrow_range": narrow_range, "formula": formula, "eps": eps}
        return _grid(low, high, self._dtype, bits, kind)

    def state(self) -> dict[str, Any]:
        """What `from_state` makes an equal one of.

        Returns
        -------
        dict
            axis, momentum and nonfinite as they were given; min and max, arrays of float64 or None; dtype, a name.
        """
        ends = {"min": self._low, "max": self._high}
        given = {"axis": self.axis, "momentum": self.momentum, "nonfinite": self.nonfinite}
        return given | {k: None if v is None else v.copy() for k, v in ends.items()} | {"dtype": self._dtype.name}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Make one that goes on where another stood.

        Parameters
        ----------
        state : dict
            What `state` gave.

        Returns
        -------
        MovingAverage
            An equal one, with memory of its own.

        Raises
        ------
        TypeError
            If state is not a dict.
        ValueError
            If it lacks something, or its arrays do not fit each other.
        """
        if not isinstance(state, dict):
            raise TypeError(f"state must be a dict, as MovingAverage.state gives it, got {type(state).__name__}")
        try:
            made = cls(state["axis"], state["momentum"], nonfinite=state["nonfinite"])
            ends, dtype = (state["min"], state["max"]), state["dtype"]
        except KeyError as error:
            raise ValueError(f"the state lacks {error}") from None
        if dtype not in _SCALES:
            raise ValueError(f"the state's dtype must be float32 or float64, got {dtype!r}")
        made._dtype = np.dtype(dtype)
        if any(end is not None for end in ends):
            made._low, made._high = _fitting(*ends)
        return made


def _fitting(low: ArrayLike | None, high: ArrayLike | None) -> tuple[Array, Array]:
    """The ends of a state, of their own memory."""
    ends = np.array(low, np.float64), np.array(high, np.float64)  # None is NaN
    unseen = np.isnan(ends[0])
    if (
        ends[0].shape != ends[1].shape
        or not ((ends[0] <= ends[1]) | unseen).all()
        or (unseen & ~np.isnan(ends[1])).any()
    ):
        raise ValueError("the state's min and max do not fit each other")
    return ends


def grouped(x: Array, size: int) -> Array:
    """Cut the last axis into groups, so that a parameter of shape ``(..., G, 1)`` broadcasts.

    Parameters
    ----------
    x : ndarray
        Of shape ``(..., G * size)``, and of any type and strides.
    size : int
        Elements of a group.

    Returns
    -------
    ndarray
        A view of x of shape ``(..., G, size)``: never a copy, which no strides need, so that what is written to it is
        written to x.

    Raises
    ------
    TypeError
        If x is not an array, or size is not an integer.
    ValueError
        If x has no axis, the last one is not whole groups, or x is of a class whose views cannot have another axis.

    Examples
    --------
    >>> import numpy as np, fq
    >>> fq.grouped(np.arange(6), 3)
    array([[0, 1, 2],
           [3, 4, 5]])
    """
    refuse_lazy(x)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"x must be an array of NumPy, of which this is a view, got {type(x).__name__}")
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise TypeError(f"the size of a group must be an integer, got {size!r}")
    if x.ndim == 0:
        raise ValueError("x must have an axis, the last one being cut into groups: np.atleast_1d(x)")
    if size < 1 or x.shape[-1] % size:
        raise ValueError(f"the last axis of x must be whole groups of {size}, got shape {x.shape}")
    shape = *x.shape[:-1], x.shape[-1] // int(size), int(size)
    view = np.reshape(x, shape, copy=False)
    if view.shape != shape:
        raise ValueError(f"x is of {type(x).__name__}, whose views have no axis more: np.asarray(x)")
    return view


def sqnr(x: ArrayLike, y: ArrayLike, axis: Axes = None) -> np.float64 | Array:
    """The ratio of a signal to the noise that quantization adds, in decibels.

    ``10 * log10(sum of x**2 / sum of (x - y)**2)``, the sums in float64. Six decibels are about one bit.

    Parameters
    ----------
    x : array_like of real numbers
        The signal.
    y : array_like of real numbers
        The same after quantization, of x's shape, and of any type.
    axis : int or tuple of int, optional
        The axes that are kept, as in `calibrate`; without any, one ratio is for all.

    Returns
    -------
    float64 or ndarray of float64
        The ratio, or one for each index of the axes that are kept, in the order of x's axes. inf where x equals y,
        -inf where x is 0 and y is not, NaN where either has a NaN or x an infinity.

    Raises
    ------
    TypeError
        If x or y is complex or not of numbers.
    ValueError
        If x and y have different shapes, or an axis is not there.

    Examples
    --------
    >>> import numpy as np, fq
    >>> x = np.linspace(-1, 1, 1001)
    >>> round(float(fq.sqnr(x, fq.fake_quantize(x, *fq.calibrate(x)))), 1)
    48.1
    """
    signal, noisy = (_real(name, one) for name, one in (("x", x), ("y", y)))
    if signal.shape != noisy.shape:
        raise ValueError(f"x and y must have the same shape, got {signal.shape} and {noisy.shape}")
    reduced = _reduced(signal, axis)
    return np.squeeze(ratio_of(energies(signal, noisy, reduced)), reduced)[()]


def energies(signal: Array, noisy: Array, reduced: tuple[int, ...]) -> Energies:
    """The sums of squares of a signal and of the noise, over the axes that are reduced, which are kept as 1."""
    signal, noisy = (one.astype(np.float64, copy=False) for one in (signal, noisy))
    with np.errstate(all="ignore"):
        power, of_power = _sum_of_squares(signal, reduced)
        apart = signal - noisy
        beyond = np.isinf(apart) & np.isfinite(signal) & np.isfinite(noisy)
        halves = int(beyond.any())
        noise, of_noise = _sum_of_squares(signal / 2 - noisy / 2 if halves else apart, reduced)
    return (power, of_power), (noise, of_noise + halves)


def merged_energies(parts: list[Energies]) -> Energies:
    """Those of all parts together."""
    power, noise = zip(*parts, strict=True)
    return _added(power), _added(noise)


def _added(sums: tuple[tuple[Array, Array], ...]) -> tuple[Array, Array]:
    # A sum of 0 has no size that others could be too small beside.
    most = np.max([np.where(one == 0, -(2**20), shift) for one, shift in sums], axis=0)
    with np.errstate(all="ignore"):
        return sum(np.ldexp(one, 2 * (shift - most)) for one, shift in sums), most


def ratio_of(found: Energies) -> Array:
    """In decibels."""
    (power, of_power), (noise, of_noise) = found
    with np.errstate(all="ignore"):
        ratio = 10 * np.log10(power / noise) + 20 * np.log10(2.0) * (of_power - of_noise)
    return np.where(noise == 0, np.inf, ratio)


def _sum_of_squares(values: Array, reduced: tuple[int, ...]) -> tuple[Array, Array]:
    """Of the values divided by 2**shift, which is 0 where no square overflows or vanishes; and the shifts."""
    most = np.max(np.abs(values), axis=reduced, keepdims=True, initial=0)
    exponent = np.where(np.isfinite(most), np.frexp(most)[1], 0)
    shift = np.where(np.abs(exponent) < 200, 0, exponent)
    if shift.any():
        values = np.ldexp(values, -shift)
    return np.square(values).sum(axis=reduced, keepdims=True), shift


def _real(name: str, given: ArrayLike) -> Array:
    if np.ma.isMaskedArray(given):
        raise TypeError(f"{name} must not be a masked array, whose mask would be lost: {name}.filled(0)")
    values = np.asarray(in_memory(given))
    if not np.can_cast(values.dtype, np.float64, "same_kind"):
        raise TypeError(f"{name} must be real, got {values.dtype}")
    return values if values.dtype == np.float64 else values.astype(np.float64)


def _check_nonfinite(nonfinite: str) -> None:
    if nonfinite not in _NONFINITE:
        raise ValueError(f"nonfinite must be 'skip' or 'raise', got {nonfinite!r}")


def _sets(values: Array, axis: Axes, group: int | None) -> tuple[Array, tuple[int, ...]]:
    """The values, cut into groups if there are any, and the axes over which values share a grid."""
    if group is None:
        return values, _reduced(values, axis)
    view = grouped(values, group)
    if axis is None:
        return view, (values.ndim,)
    reduced = _reduced(values, axis)
    if values.ndim - 1 not in reduced:
        raise ValueError(
            f"axis {axis} must not name the last axis of x, which is cut into groups: x has shape {values.shape}"
        )
    return view, (*reduced[:-1], values.ndim)


def _reduced(values: Array, kept: Axes) -> tuple[int, ...]:
    """The axes that are not kept."""
    axes = () if kept is None else kept if isinstance(kept, tuple) else (kept,)
    places = set()
    for axis in axes:
        if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
            raise TypeError(f"axis must be an integer or a tuple of integers, got {kept!r}")
        if not -values.ndim <= axis < values.ndim:
            raise ValueError(f"axis {axis} is not there: x has shape {values.shape}")
        places.add(int(axis) % values.ndim)
    if len(places) < len(axes):
        raise ValueError(f"axis names one axis twice, got {kept}: x has shape {values.shape}")
    return tuple(axis for axis in range(values.ndim) if axis not in places)


def _seen(low: Array, high: Array, who: str) -> tuple[Array, Array]:
    """The ends, if every set has some."""
    unseen = np.isnan(low)
    if unseen.any() or not low.size:
        place = f" at index {tuple(map(int, np.argwhere(unseen)[0]))}" if low.ndim and low.size else ""
        raise ValueError(f"{who} got no finite value{place}, so there is no range")
    return low, high


def _number_or_array(end: Array) -> float | Array:
    return end.copy() if end.ndim else float(end)


def _grid(low: Array, high: Array, dtype: np.dtype[Any], bits: int, options: dict[str, Any]) -> QParams:
    """choose_qparams for ends of this type."""
    of = np.float64 if dtype == np.float64 else np.float32
    with np.errstate(over="ignore"):
        low, high = low.astype(of), high.astype(of)
    return choose_qparams(low, high, bits, **options)
