"""What was seen of any number of arrays: exact extremes and a distribution that merge to the same bits in any order."""

import threading
from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from fq import _percentiles, _seen
from fq._bins import Bins
from fq._clip import check_method, clip_range
from fq._seen import Array, Seen, Sets
from fq._state_bytes import from_bytes, to_bytes
from fq.qparams import QParams, choose_qparams

__all__ = ["Observer"]

Axis = int | tuple[int, ...] | None

_NONFINITE = "skip", "raise"
_VERSION = 1


class Observer:
    """What was seen of any number of arrays: their ranges, and the distribution of their values.

    An observer gathers counts, sums of integers, smallest and largest values. They are the same to the last bit for any
    order of the arrays, any split, number of threads, SIMD target, process and machine.

    Parameters
    ----------
    axis : int or tuple of int, optional
        The axes that are kept: a range for each place along them, as for weights per channel. None: one range.
    group : int, optional
        A range for so many elements along the last axis, which they divide: with axis None in each row, else along the
        axes that are kept.
    distribution : bool
        Whether to count values too, which `percentile`, ``mean``, ``std`` and all methods but "minmax" need.
    nonfinite : {"skip", "raise"}
        NaN and infinities are counted and skipped, or refused.

    Attributes
    ----------
    axis, group, distribution, nonfinite
        As given.
    dtype : numpy.dtype or None
        The type of the arrays; None before the first.
    count, nan, inf : int or ndarray of int64
        How many finite values, NaN and infinities were seen; 0 before the first array.
    min, max : float or ndarray of ``dtype``
        The smallest and largest finite value, never -0.0; NaN where there was none.
    mean, std : float or ndarray of float64
        Of the finite values, correct to a few units in the last place of float64; those of float64 to 2**-23.

    Raises
    ------
    TypeError
        If axis or group is not an integer, or distribution not a bool.
    ValueError
        If axis names an axis twice, group is not positive, or nonfinite is unknown.

    See Also
    --------
    fq.choose_qparams : the grid of a range that is known.

    Notes
    -----
    Arrays are float16, bfloat16, float32 or float64, all of one type. Where axes are kept, results have the shape that
    broadcasts against x: ``(1, C, 1, 1)`` for axis 1 of four, ``(out, in / 32, 1)`` for groups of 32 of a matrix, which
    then is taken as ``x.reshape(out, in // 32, 32)``. An array without elements changes nothing.

    Values are counted by the upper 16 bits of the float32 pattern: 65,536 bins, each of which spans 2**-7 of its
    values. Per bin, the sums of the 16 bits below and of their squares are kept as integers. Of float16 and bfloat16
    the bins are the values themselves, of float64 there are 2**19. Only bins that are not empty take memory, 28 bytes
    each (12 for the 16-bit types), so at most 28 bytes per value for small groups.

    An observer may be updated from several threads at once.

    References
    ----------
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
    (2018), section 3.1, for ranges from observed activations.

    Examples
    --------
    >>> import numpy as np, fq
    >>> observer = fq.Observer()
    >>> for batch in np.float32([[-1, 2, np.nan], [0.5, 3, 1]]):
    ...     observer = observer.update(batch)
    >>> observer.min, observer.max, observer.count, observer.nan
    (np.float32(-1.0), np.float32(3.0), 5, 1)
    >>> observer.qparams(bits=4, signed=False)
    QParams(scale=np.float32(0.26666668), zero_point=np.int64(4), qmin=0, qmax=15)
    >>> weights = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 2, 2)
    >>> fq.Observer(axis=1).update(weights).qparams(symmetric=True).scale.shape
    (1, 3, 1, 1)
    """

    def __init__(
        self,
        axis: Axis = None,
        group: int | None = None,
        distribution: bool = True,
        nonfinite: Literal["skip", "raise"] = "skip",
    ) -> None:
        if nonfinite not in _NONFINITE:
            raise ValueError(f"nonfinite must be 'skip' or 'raise', got {nonfinite!r}")
        if not isinstance(distribution, bool | np.bool_):
            raise TypeError(f"distribution must be a bool, got {distribution!r}")
        self._axis, self._sets = axis, Sets.of(axis, group)
        self._distribution, self._nonfinite = bool(distribution), nonfinite
        self._lock = threading.Lock()
        self._seen: Seen | None = None  # replaced, never changed

    @property
    def axis(self) -> Axis:
        return self._axis

    @property
    def group(self) -> int | None:
        return self._sets.group

    @property
    def distribution(self) -> bool:
        return self._distribution

    @property
    def nonfinite(self) -> str:
        return self._nonfinite

    @property
    def dtype(self) -> np.dtype[Any] | None:
        return self._seen and self._seen.dtype

    @property
    def count(self) -> Any:
        return self._number(lambda seen: seen.finite())

    @property
    def nan(self) -> Any:
        return self._number(lambda seen: seen.kinds()[0])

    @property
    def inf(self) -> Any:
        return self._number(lambda seen: seen.kinds()[1] + seen.kinds()[2])

    @property
    def min(self) -> Any:
        seen = self._something()
        return self._shaped(seen, seen.end("low").astype(seen.dtype))

    @property
    def max(self) -> Any:
        seen = self._something()
        return self._shaped(seen, seen.end("high").astype(seen.dtype))

    @property
    def mean(self) -> Any:
        seen = self._something("mean")
        return self._shaped(seen, _seen.mean_and_deviation(seen)[0])

    @property
    def std(self) -> Any:
        seen = self._something("std")
        return self._shaped(seen, _seen.mean_and_deviation(seen)[1])

    def update(self, x: ArrayLike) -> Self:
        """Add an array to what was seen.

        Parameters
        ----------
        x : array_like of float16, bfloat16, float32 or float64
            Of any shape and memory layout; where axes are kept, of as many axes as the arrays before, and of their
            lengths along those that are kept.

        Returns
        -------
        Observer
            This one.

        Raises
        ------
        TypeError
            If x is of another type than those or than the arrays before, or a masked array.
        ValueError
            If x does not have the axes that are kept, or not their lengths before; if the last axis is not whole
            groups; if nonfinite is "raise" and x has NaN or infinities: how many, and the index of the first.
        OverflowError
            If there are more than 2**32 values in a bin of float32 or float64.

        Notes
        -----
        What is refused changes nothing.
        """
        array = _seen.checked(x)
        if array.size == 0:
            return self
        found = Seen.of(array, self._sets, self._distribution)
        if self._nonfinite == "raise" and found.special:
            raise ValueError(_seen.nonfinite_in(array))
        with self._lock:
            self._seen = found if self._seen is None else self._seen.merged(found, "x")
        return self

    def merge(self, other: "Observer") -> Self:
        """Add what another observer saw.

        Parameters
        ----------
        other : Observer
            Of the same axes, group and distribution; it stays as it is.

        Returns
        -------
        Observer
            This one.

        Raises
        ------
        TypeError
            If other is not an observer, or saw another type.
        ValueError
            If it keeps other axes or lengths, has other groups, or differs in ``distribution``.
        """
        if not isinstance(other, Observer):
            raise TypeError(f"other must be an Observer, got {type(other).__name__}")
        for name in ("group", "distribution"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                raise ValueError(f"observers of {name} {mine} and {its} do not merge")
        theirs = other._seen
        with self._lock:
            mine = self._seen
            if (mine is None or theirs is None) and self._sets != other._sets:
                raise ValueError(f"observers of axis {self.axis} and {other.axis} do not merge")
            if theirs is not None:
                self._seen = theirs if mine is None else mine.merged(theirs, "the other observer")
        return self

    def __or__(self, other: "Observer") -> "Observer":
        if not isinstance(other, Observer):
            return NotImplemented
        both = Observer(self.axis, self.group, self._distribution, self._nonfinite)
        both._seen = self._seen
        return both.merge(other)

    def qparams(
        self,
        bits: int = 8,
        method: Literal["minmax", "percentile", "mse", "entropy"] = "minmax",
        *,
        signed: bool = True,
        symmetric: bool = False,
        narrow_range: bool = False,
        eps: float | None = None,
        p: float = 99.99,
        formula: Literal["cover", "torch"] = "cover",
    ) -> QParams:
        """Choose the grid of so many bits for what was seen.

        Parameters
        ----------
        bits, signed, symmetric, narrow_range, eps, formula
            As for `fq.choose_qparams`.
        method : {"minmax", "percentile", "mse", "entropy"}
            "minmax": from the smallest to the largest value. The others clip the range: "percentile" to what holds p
            percent of the values, "mse" to where the mean square of the error is smallest, "entropy" to where the
            distribution loses the least information.
        p : float
            Of "percentile".

        Returns
        -------
        QParams
            Shaped to broadcast against x, in groups if there are any.

        Raises
        ------
        TypeError
            If bits is not an integer.
        ValueError
            If nothing finite was seen, in all or at a place along the axes; if method is unknown or needs the
            distribution and there is none; or as `fq.choose_qparams` does.

        Examples
        --------
        >>> import numpy as np, fq
        >>> weights = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 64)
        >>> scale = fq.Observer(group=32).update(weights).qparams(bits=4, symmetric=True).scale
        >>> scale.shape, fq.fake_quantize(weights.reshape(1, 2, 32), scale, 0, -8, 7).shape
        ((1, 2, 1), (1, 2, 32))
        """
        check_method(method, bits, narrow_range, p)
        seen = self._something(None if method == "minmax" else f"method {method!r}", finite=True)
        low, high = seen.low, seen.high
        grid: dict[str, Any] = {"signed": signed, "symmetric": symmetric, "narrow_range": narrow_range}
        if method != "minmax":
            ends = low.astype(np.float64), high.astype(np.float64)
            low, high = clip_range(seen, *ends, bits=bits, method=method, p=p, **grid)
        # The ends of float32 at the most give a scale of float32.
        with np.errstate(over="ignore"):
            low, high = (self._shaped(seen, end.astype(seen.low.dtype)) for end in (low, high))
        return choose_qparams(low, high, bits, **grid, eps=eps, formula=formula)

    def percentile(self, p: ArrayLike, data: Iterable[ArrayLike] | None = None) -> Any:
        """The values below which p percent of the finite values lie, as `numpy.percentile` interpolates them.

        Parameters
        ----------
        p : array_like of real numbers
            0 to 100.
        data : iterable of array_like, optional
            The same arrays again, split and ordered as you like: makes the result exact for float32 and float64.

        Returns
        -------
        float or ndarray of float64
            Of the shape of p followed by that of ``min``. Exact for float16 and bfloat16. For the other types without
            ``data``, within 2**-7 of the values that are interpolated, as if those of a bin were spread evenly over it;
            never outside of ``min`` and ``max``.

        Raises
        ------
        TypeError
            If p is not real, or as `update` does for ``data``.
        ValueError
            If p is not within 0 to 100, nothing finite was seen, there is no distribution, or ``data`` are not the
            arrays that were seen.

        Examples
        --------
        >>> import numpy as np, fq
        >>> x = np.arange(1001, dtype=np.float32)
        >>> fq.Observer().update(x).percentile([0, 50, 99.9], data=[x])
        array([  0., 500., 999.])
        """
        wanted = np.asarray(p)
        if not np.can_cast(wanted.dtype, np.float64, "same_kind"):
            raise TypeError(f"p must be real, got {wanted.dtype}")
        if not ((wanted >= 0) & (wanted <= 100)).all():
            raise ValueError(f"p must lie within 0 to 100, got {p!r}")
        seen = self._something("percentile", finite=True)
        found = _percentiles.percentiles(seen, wanted.astype(np.float64).ravel(), self._sets, data)
        return found.T.reshape((*wanted.shape, *seen.shape))[()]

    def state(self, dense: bool | None = None) -> dict[str, Any]:
        """What was seen as plain arrays, for a process, a file or a collective operation.

        Parameters
        ----------
        dense : bool, optional
            Whether the distribution has all bins, so that states merge element by element. None: if there is a single
            range. For each range, a dense distribution takes 1.5 MiB for float32, 0.5 MiB for float16 and bfloat16,
            and 12 MiB for float64.

        Returns
        -------
        dict
            "version": int. "settings": dict of what two states must agree in. "sum", "min", "max": dicts of arrays,
            with the operation that merges them. If not dense, "bins": arrays that `merge` alone can merge.

            - "sum": "count", "nan", "positive_inf", "negative_inf": uint64, shape (ranges,). If dense, also "bins":
              uint64, shape (ranges, 65536, 3): count, sum of the 16 bits below, sum of their squares; of shape
              (ranges, 65536, 1) for the 16-bit types, (ranges, 2**19, 3) for float64.
            - "min": "low", "max": "high": float32, or float64 for float64, shape (ranges,); inf and -inf where there
              was no finite value.
            - "bins": "start": int64, shape (ranges + 1,), "keys": uint32, shape (bins,), "cells": uint64, shape
              (bins, 3) or (bins, 1).

        Raises
        ------
        ValueError
            If nothing was seen: neither shape nor type are known.

        Examples
        --------
        >>> import numpy as np, fq
        >>> a, b = (fq.Observer().update(np.float32([i, 2 * i])).state() for i in (1, 2))
        >>> merge = {"sum": np.add, "min": np.minimum, "max": np.maximum}
        >>> both = {op: {name: merge[op](a[op][name], b[op][name]) for name in a[op]} for op in merge}
        >>> fq.Observer.from_state(a | both).max
        np.float32(4.0)
        """
        seen = self._something()
        settings = {
            "axis": self.axis,
            "group": self.group,
            "distribution": self._distribution,
            "nonfinite": self._nonfinite,
            "dtype": seen.dtype.name,
            "kept": seen.kept,
            "shape": seen.shape,
        }
        return {"version": _VERSION, "settings": settings} | seen.arrays(len(seen.low) == 1 if dense is None else dense)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Observer":
        """An observer of a state that `state` gave, or of several that were merged.

        Parameters
        ----------
        state : dict
            As `state` gives it.

        Returns
        -------
        Observer
            One that saw all of it.

        Raises
        ------
        TypeError
            If state is not a dict, or its type is not known here: bfloat16 needs ml_dtypes.
        ValueError
            If the state is of another version, or its arrays do not fit each other.
        """
        if not isinstance(state, dict):
            raise TypeError(f"state must be a dict, as Observer.state gives it, got {type(state).__name__}")
        if (version := state.get("version")) != _VERSION:
            raise ValueError(f"the state is of version {version}; this fq reads version {_VERSION}")
        try:
            settings = state["settings"]
            names = ("axis", "group", "distribution", "nonfinite")
            observer = Observer(*(_plain(settings[name]) for name in names))
            observer._seen = Seen.from_arrays(settings, state, observer._distribution)
        except (KeyError, IndexError) as error:
            raise ValueError(f"the state lacks {error}") from None
        return observer

    def __reduce__(self) -> Any:
        if self._seen is None:
            return Observer, (self.axis, self.group, self._distribution, self._nonfinite)
        return _observer_of, (to_bytes(self.state(dense=False)),)

    def __repr__(self) -> str:
        given = [f"axis={self.axis}"] * (self.axis is not None) + [f"group={self.group}"] * (self.group is not None)
        given += ["distribution=False"] * (not self._distribution) + ["nonfinite='raise'"] * (
            self._nonfinite == "raise"
        )
        text, seen = f"Observer({', '.join(given)})", self._seen
        if seen is None:
            return f"<{text}, nothing seen>"
        finite, nan, inf = (int(np.sum(one)) for one in (self.count, self.nan, self.inf))
        ranges = f"{len(seen.low)} range{'s' * (len(seen.low) > 1)}"
        return f"<{text}, {ranges} of {seen.dtype.name}: {finite} finite, {nan} NaN, {inf} infinite>"

    def _bins(self) -> Bins:
        """The distribution in the order of values, for a search."""
        return _seen.bins_of(self._something("a search"))

    def _something(self, wants_distribution: str | None = None, *, finite: bool = False) -> Seen:
        """What was seen; refused where there is nothing."""
        seen = self._seen
        if wants_distribution and not self._distribution:
            raise ValueError(f"{wants_distribution} needs the distribution: Observer(distribution=True)")
        if seen is None:
            raise ValueError("the observer saw nothing yet: call update(x) first")
        if finite and not (some := seen.finite() > 0).all():
            at = ""
            if seen.shape:
                at = f" at index {tuple(int(i) for i in np.argwhere(~some.reshape(seen.shape))[0])} of its ranges"
            raise ValueError(f"the observer saw no finite value{at}")
        return seen

    def _number(self, of: Any) -> Any:
        seen = self._seen
        if seen is None:
            return 0
        numbers = of(seen).astype(np.int64)
        return numbers.reshape(seen.shape) if seen.shape else int(numbers[0])

    @staticmethod
    def _shaped(seen: Seen, values: Array) -> Any:
        return values.reshape(seen.shape)[()]


def _observer_of(told: bytes) -> Observer:
    """What pickle calls."""
    return Observer.from_state(from_bytes(told))


def _plain(value: Any) -> Any:
    """A setting as it was, where a file made a list or an array of it."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return tuple(value) if isinstance(value, list) else value
