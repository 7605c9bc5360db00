"""Searches for the smallest counterexample of each law."""

import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis.errors import Flaky, NoSuchExample

import fq
from fq._input import one_line
from fq.testing.laws import ALL, OF_FLOATS, OF_INTEGERS, Difference, law_named
from fq.testing.laws.law import Law
from fq.testing.quantizer import QuantizerSubject
from fq.testing.report import (
    ARITHMETICS,
    FAILS,
    HOLDS,
    LAST_BITS,
    NOT_APPLICABLE,
    Counterexample,
    Report,
    Result,
)
from fq.testing.rounder import FloatParams, FloatSupports, RounderSubject
from fq.testing.subject import CandidateError, Case, Parts, Subject, Supports

__all__ = [
    "assert_equivalent",
    "assert_floats",
    "assert_quantizer",
    "check",
    "check_floats",
    "check_law",
    "check_quantizer",
]


def check(
    candidate: Any,
    laws: Sequence[Law | str] = ALL,
    arithmetic: str = "divide",
    examples: int = 100,
    *,
    seed: int = 0,
    name: str | None = None,
    supports: Supports | None = None,
    progress: Callable[[], object] | None = None,
) -> Report:
    """Find out which laws of fake quantization a function keeps, with the smallest counterexample of each other.

    Parameters
    ----------
    candidate : callable or object
        A function of (x, scale, zero_point, qmin, qmax) that gives y, or (y, mask). Or an object with that as
        ``forward`` and, where it has them, ``mask`` of the same arguments, ``gradient`` of (dy, x, scale, ...) that
        gives dx, and ``learnable`` of (dy, x, scale, ...) that gives (dx, dscale, dzero_point), as ``residual`` and
        ``residual4`` do by codes of 8 and 4 bits. It may have ``name``
        and ``supports``. x is a NumPy array, the others are numbers; with channels, scale and zero_point are arrays.
        A function that takes no NumPy arrays, but PyTorch's or JAX's, is called with those. Whatever it does or
        gives breaks laws at most: arrays are copies, and only a KeyboardInterrupt ends the search.
    laws : sequence of Law or str
        All of them by default. Those that need what the candidate lacks are listed as not applicable.
    arithmetic : str
        What it should compute: "divide" for x / scale, as fq, or "reciprocal" for x * (1 / scale), as PyTorch.
    examples : int
        Arrays tried for each law.
    seed : int
        The same seed gives the same report, in the same environment.
    name : str, optional
        What the report calls the candidate.
    supports : Supports, optional
        The inputs it takes: by default its own ``supports``, or float32, any of the usual ranges, no channels.
    progress : callable, optional
        Called after each law.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If there is no such law or arithmetic, or examples is not positive.
    TypeError
        If the candidate cannot be called, or a law is neither a Law nor a name.

    Examples
    --------
    >>> import numpy as np
    >>> def half_away_from_zero(x, scale, zero_point, qmin, qmax):
    ...     level = np.trunc(x / scale + np.copysign(0.5, x)) + zero_point
    ...     return (np.clip(level, qmin, qmax) - zero_point) * scale
    >>> report = check(half_away_from_zero, ["ordinary values", "ties"])
    >>> report.ok
    False
    >>> print(report.failures[0].counterexample.expected, report.failures[0].counterexample.found)
    ('0.0', '0x0.0p+0') ('1.0', '0x1.0000000000000p+0')
    """
    subject = candidate if isinstance(candidate, Subject) else Subject(candidate, name, supports)
    return _report(subject, laws, ALL, arithmetic, examples, seed, progress)


def _report(
    subject: Parts,
    laws: Sequence[Law | str],
    among: Sequence[Law],
    arithmetic: str,
    examples: int,
    seed: int,
    progress: Callable[[], object] | None,
) -> Report:
    if arithmetic not in ARITHMETICS:
        raise ValueError(f"arithmetic must be 'divide' or 'reciprocal', got {arithmetic!r}")
    if examples < 1:
        raise ValueError(f"examples must be 1 or more, got {examples}")
    chosen = [_law(law, among) for law in ([laws] if isinstance(laws, str | Law) else laws)]
    results = []
    for law in chosen:
        results.append(check_law(law, subject, arithmetic, examples, seed))
        if progress is not None:
            progress()
    versions = {"fq": fq.__version__, "NumPy": np.__version__, **subject.versions}
    return Report(subject.name, arithmetic, seed, examples, results, versions, subject.about)


def _law(law: Law | str, among: Sequence[Law]) -> Law:
    if isinstance(law, Law):
        return law
    if not isinstance(law, str):
        raise TypeError(f"laws are names or of the type Law, got {law!r}")
    return law_named(law, among)


def check_quantizer(
    candidate: Any,
    laws: Sequence[Law | str] = OF_INTEGERS,
    arithmetic: str = "divide",
    examples: int = 100,
    *,
    seed: int = 0,
    name: str | None = None,
    supports: Supports | None = None,
    progress: Callable[[], object] | None = None,
) -> Report:
    """Find out which laws of quantization to integers a function keeps, with the smallest counterexample of each other.

    Parameters
    ----------
    candidate : callable or object
        A function of (x, scale, zero_point, qmin, qmax) that gives integers. Or an object with that as ``quantize``
        and, where it has them, ``dequantize`` of (q, scale, zero_point, qmin, qmax), which gives floats, and ``pack``
        of (q, bits), which gives bytes: both get q as quantize gave it. Else as for `check`.
    laws : sequence of Law or str
        All of `OF_INTEGERS` by default. Those that need what the candidate lacks are listed as not applicable.
    arithmetic, examples, seed, name, supports, progress
        As for `check`.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If there is no such law or arithmetic, or examples is not positive.
    TypeError
        If the candidate cannot be called, or a law is neither a Law nor a name.

    Examples
    --------
    >>> import numpy as np
    >>> def truncated(x, scale, zero_point, qmin, qmax):
    ...     return np.clip((x / scale).astype(np.int64) + zero_point, qmin, qmax)
    >>> report = check_quantizer(truncated, ["levels"])
    >>> print(report.failures[0].counterexample.expected, report.failures[0].counterexample.found)
    ('-1',) ('0',)
    """
    subject = candidate if isinstance(candidate, QuantizerSubject) else QuantizerSubject(candidate, name, supports)
    return _report(subject, laws, OF_INTEGERS, arithmetic, examples, seed, progress)


def check_floats(
    candidate: Any,
    laws: Sequence[Law | str] = OF_FLOATS,
    examples: int = 100,
    *,
    seed: int = 0,
    name: str | None = None,
    supports: FloatSupports | None = None,
    progress: Callable[[], object] | None = None,
) -> Report:
    """Find out which laws of rounding to float formats a function keeps, with a counterexample of each other.

    Parameters
    ----------
    candidate : callable or object
        A function of (x, scale, format), the name of one in `fq.formats`, that gives y or (y, mask). Or an object with
        that as ``round``. Else as for `check`.
    laws : sequence of Law or str
        All of `OF_FLOATS` by default. Those that need what the candidate lacks are listed as not applicable.
    examples, seed, name, supports, progress
        As for `check`; supports is a `FloatSupports`.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If there is no such law, or examples is not positive.
    TypeError
        If the candidate cannot be called, or a law is neither a Law nor a name.

    Examples
    --------
    >>> import ml_dtypes
    >>> def cast(x, scale, format):
    ...     return x.astype(ml_dtypes.float8_e4m3fn).astype(x.dtype)
    >>> only = FloatSupports(formats=("e4m3fn",), scales=False)
    >>> report = check_floats(cast, ["ties of numbers", "infinities of floats"], supports=only)
    >>> print(report.failures[0].law, report.failures[0].counterexample.found)
    infinities of floats ('nan',)
    """
    subject = candidate if isinstance(candidate, RounderSubject) else RounderSubject(candidate, name, supports)
    return _report(subject, laws, OF_FLOATS, "divide", examples, seed, progress)


def assert_floats(candidate: Any, laws: Sequence[Law | str] = OF_FLOATS, examples: int = 100, **options: Any) -> Report:
    """Check a rounding to float formats, and raise an AssertionError unless every law that applies holds.

    Parameters
    ----------
    candidate, laws, examples, **options
        As for `check_floats`.

    Returns
    -------
    Report

    Raises
    ------
    AssertionError
        If a law fails.

    Examples
    --------
    >>> import fq
    >>> assert_floats(lambda x, scale, name: fq.floats.forward(x, scale, *getattr(fq.formats, name)), examples=10).ok
    True
    """
    return _all_kept(check_floats(candidate, laws, examples, **options))


def assert_quantizer(
    candidate: Any,
    laws: Sequence[Law | str] = OF_INTEGERS,
    arithmetic: str = "divide",
    examples: int = 100,
    **options: Any,
) -> Report:
    """Check a quantizer, and raise an AssertionError with the report unless every law that applies holds.

    Parameters
    ----------
    candidate, laws, arithmetic, examples, **options
        As for `check_quantizer`.

    Returns
    -------
    Report

    Raises
    ------
    AssertionError
        If a law fails.

    Examples
    --------
    >>> import fq
    >>> assert_quantizer(fq.quantize, examples=10).ok
    True
    """
    return _all_kept(check_quantizer(candidate, laws, arithmetic, examples, **options))


def assert_equivalent(
    candidate: Any,
    laws: Sequence[Law | str] = ALL,
    arithmetic: str = "divide",
    examples: int = 100,
    **options: Any,
) -> Report:
    """Check, and raise an AssertionError with the report unless every law that applies holds.

    Parameters
    ----------
    candidate, laws, arithmetic, examples, **options
        As for `check`.

    Returns
    -------
    Report

    Raises
    ------
    AssertionError
        If a law fails.

    Examples
    --------
    >>> import fq
    >>> assert_equivalent(fq.forward, examples=10).ok
    True
    """
    return _all_kept(check(candidate, laws, arithmetic, examples, **options))


def _all_kept(report: Report) -> Report:
    if not report.ok:
        raise AssertionError("\n".join([f"{report.candidate} differs:", *map(str, report.failures)]))
    return report


def check_law(law: Law, subject: Parts, arithmetic: str, examples: int, seed: int) -> Result:
    """The `Result` of one law: a failure of the level if there is any, else one of the last bits.

    Parameters
    ----------
    law : Law
    subject : Subject or QuantizerSubject
    arithmetic : str
    examples, seed : int
        As for `check`.

    Returns
    -------
    Result
    """
    if reason := subject.lacks(law.needs):
        return Result(law.name, NOT_APPLICABLE, reason)
    seed = zlib.crc32(f"{seed} {law.name}".encode())
    with np.errstate(all="ignore"):
        difference = _smallest(law, subject, arithmetic, examples, seed, lambda _: True)
        if difference is None:
            return Result(law.name, HOLDS)
        if difference.close:
            worse = _smallest(law, subject, arithmetic, examples, seed, lambda one: not one.close)
            difference = worse or difference
    return Result(law.name, LAST_BITS if difference.close else FAILS, "", _counterexample(difference))


def _smallest(
    law: Law, subject: Parts, arithmetic: str, examples: int, seed: int, counts: Callable[[Difference], bool]
) -> Difference | None:
    """The difference that counts in the smallest case in which there is one."""
    last: Difference | None = None

    def differs(case: Case) -> bool:
        nonlocal last
        found = _judged(law, subject, case, arithmetic)
        if found is None or not counts(found):
            return False
        last = found
        return True

    try:
        case = find(law.cases(subject.supports, arithmetic), differs, settings=_settings(examples), random=Random(seed))
    except NoSuchExample:
        return None
    except Flaky:
        return last  # it answers the same question in two ways
    return _judged(law, subject, case, arithmetic) or last


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )


def _judged(law: Law, subject: Parts, case: Case, arithmetic: str) -> Difference | None:
    try:
        return law.judge(subject, case, arithmetic)
    except CandidateError as error:
        return Difference(case, error.expected, str(error), x=f"an array of shape {case.x.shape}")


def _counterexample(difference: Difference) -> Counterexample:
    case, index = difference.case, difference.index
    params: Any = case.qparams
    if isinstance(params, FloatParams):
        given: dict[str, str | tuple[str, ...]] = {"x": case.x.dtype.name, "scale": _number(params.scale)}
        x = case.x[index] if difference.x is None else difference.x
        expected, found = _number(difference.expected), _number(difference.found)
        return Counterexample(given | {"format": params.format}, _number(x), expected, found)
    scale: Any
    zero_point: Any
    scale, zero_point, qmin, qmax = case.qparams
    more = dict(difference.more)
    arrays = np.ndim(scale) or np.ndim(zero_point)
    if arrays:
        more |= {"every scale": scale.tolist(), "every zero_point": zero_point.tolist()}
    if index is not None and arrays:
        scale, zero_point = (np.broadcast_to(one, case.x.shape)[index] for one in (scale, zero_point))
    parameters: dict[str, str | tuple[str, ...]] = {
        "x": case.x.dtype.name,
        "scale": _number(scale),
        "zero_point": _number(zero_point),
        "qmin": str(qmin),
        "qmax": str(qmax),
        **{name: one_line(value) for name, value in more.items()},
    }
    x = case.x[index] if difference.x is None else difference.x
    expected, found = _number(difference.expected), _number(difference.found)
    return Counterexample(parameters, _number(x), expected, found)


def _number(value: object) -> tuple[str, ...]:
    """In decimal and in hexadecimal if it is a float, else as it prints."""
    array = np.asarray(value)
    if isinstance(value, str) or array.ndim or array.dtype.kind in "biu":
        return (one_line(value),)
    decimal, hexadecimal = str(array[()]), float(array).hex()
    return (decimal, hexadecimal) if np.isfinite(array) else (decimal,)
