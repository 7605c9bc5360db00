"""What a law is, and how a result is compared with the one that was expected."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fq import reference
from fq.testing.subject import Array, Case, Subject, Supports

__all__ = ["Cases", "Difference", "Judge", "Law", "different", "listed", "of_y", "some_dy"]


@dataclass(frozen=True)
class Difference:
    """Where a candidate breaks a law: at an index of x or, without one, on the whole of it."""

    case: Case
    expected: object
    found: object
    index: tuple[Any, ...] | None = None
    close: bool = False  # the right level, and other last bits
    x: object = None  # in place of the element of x
    more: dict[str, object] = field(default_factory=dict)


Cases = Callable[[Supports, str], st.SearchStrategy[Case]]
Judge = Callable[[Any, Case, str], Difference | None]  # of a Subject, or of a QuantizerSubject


@dataclass(frozen=True)
class Law:
    """What every fake quantization should do.

    Attributes
    ----------
    name : str
    meaning : str
        In a sentence.
    cases : callable
        ``cases(supports, arithmetic)`` is a hypothesis strategy of inputs.
    judge : callable
        ``judge(subject, case, arithmetic)`` gives None, or the difference that it found.
    needs : tuple of str
        What a candidate must have for the law to apply.
    """

    name: str
    meaning: str
    cases: Cases
    judge: Judge
    needs: tuple[str, ...] = ()


def different(
    case: Case, expected: Any, found: Array, *, close: bool = False, more: dict[str, object] | None = None
) -> Difference | None:
    """The element that differs nearest to 0, or None; 0.0 equals -0.0 and NaN equals NaN. close: whether to say that
    they differ in the last bits alone."""
    expected = np.asarray(expected)
    one, other = expected.astype(np.float64), found.astype(np.float64)
    unequal = (one != other) & ~(np.isnan(one) & np.isnan(other))
    if not unequal.any():
        return None
    step = np.broadcast_to(np.asarray(case.qparams.scale, np.float64), one.shape)
    near = np.abs(one - other) < step / 4
    worse = unequal & ~near if (unequal & ~near).any() else unequal
    size = np.where(worse, np.abs(np.nan_to_num(case.x.astype(np.float64), nan=np.inf)), np.nan)
    index = np.unravel_index(np.nanargmin(size), size.shape)
    return Difference(case, expected[index], found[index], index, close and bool(near[index]), more=more or {})


def of_y(subject: Subject, case: Case, arithmetic: str) -> Difference | None:
    """y as the reference's."""
    expected = reference.forward(case.x, *case.qparams, arithmetic=arithmetic)[0]
    return different(case, expected, subject.forward(case), close=True)


def some_dy(x: Array) -> Array:
    """A gradient of y: numbers of both signs that no power of two is common to."""
    return np.resize(np.array([1.0, -2.0, 0.5, 3.0]), x.shape).astype(x.dtype)


def listed(x: Array) -> str:
    """The elements that repeat."""
    values = dict.fromkeys(map(str, x.reshape(-1).tolist()))  # as text, in which NaN is NaN
    return f"[{', '.join(values)}] to {x.size} elements"
