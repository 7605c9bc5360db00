"""Searches for the smallest counterexample of each law."""

import zlib
from random import Random

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis.errors import Flaky, NoSuchExample

import fq
from fq.testing.laws import ALL, Difference, law_named
from fq.testing.report import FAILS, HOLDS, LAST_BITS, NOT_APPLICABLE, Counterexample, Report, Result
from fq.testing.subject import CandidateError, Case, Subject

__all__ = ["assert_equivalent", "check", "check_law"]

_ARITHMETICS = ("divide", "reciprocal")


def check(candidate, laws=ALL, arithmetic="divide", examples=100, *, seed=0, name=None, supports=None, progress=None):
    """Find out which laws of fake quantization a function keeps, with the smallest counterexample of each other.

    Parameters
    ----------
    candidate : callable or object
        A function of (x, scale, zero_point, qmin, qmax) that gives y, or (y, mask). Or an object with that as
        ``forward`` and, where it has them, ``mask`` of the same arguments, ``gradient`` of (dy, x, scale, ...) that
        gives dx, and ``learnable`` of (dy, x, scale, ...) that gives (dx, dscale, dzero_point). It may have ``name``
        and ``supports``. x is a NumPy array, the others are numbers; with channels, scale and zero_point are arrays.
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
        If the candidate cannot be called.

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
    if arithmetic not in _ARITHMETICS:
        raise ValueError(f"arithmetic must be 'divide' or 'reciprocal', got {arithmetic!r}")
    if examples < 1:
        raise ValueError(f"examples must be 1 or more, got {examples}")
    laws = [law_named(law) if isinstance(law, str) else law for law in laws]
    subject = candidate if isinstance(candidate, Subject) else Subject(candidate, name, supports)
    results = []
    for law in laws:
        results.append(check_law(law, subject, arithmetic, examples, seed))
        if progress is not None:
            progress()
    versions = {"fq": fq.__version__, "NumPy": np.__version__, **subject.versions}
    return Report(subject.name, arithmetic, seed, examples, results, versions, subject.about)


def assert_equivalent(candidate, laws=ALL, arithmetic="divide", examples=100, **options):
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
    report = check(candidate, laws, arithmetic, examples, **options)
    if not report.ok:
        raise AssertionError("\n".join([f"{report.candidate} differs:", *map(str, report.failures)]))
    return report


def check_law(law, subject, arithmetic, examples, seed):
    """The `Result` of one law: a failure of the level if there is any, else one of the last bits.

    Parameters
    ----------
    law : Law
    subject : Subject
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


def _smallest(law, subject, arithmetic, examples, seed, counts):
    """The difference that counts in the smallest case in which there is one."""
    last = None

    def differs(case):
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


def _settings(examples):
    return settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )


def _judged(law, subject, case, arithmetic):
    try:
        return law.judge(subject, case, arithmetic)
    except CandidateError as error:
        case = case if isinstance(case, Case) else case[0]
        return Difference(case, "a result", str(error), x=f"an array of shape {case.x.shape}")


def _counterexample(difference):
    case, index = difference.case, difference.index
    scale, zero_point, qmin, qmax = case.qparams
    more = dict(difference.more)
    if np.ndim(scale):
        more |= {"every scale": scale.tolist(), "every zero_point": zero_point.tolist()}
    if index is not None and np.ndim(scale):
        scale, zero_point = (np.broadcast_to(one, case.x.shape)[index] for one in (scale, zero_point))
    parameters = {
        "x": case.x.dtype.name,
        "scale": _number(scale),
        "zero_point": _number(zero_point),
        "qmin": str(qmin),
        "qmax": str(qmax),
        **{name: str(value) for name, value in more.items()},
    }
    x = case.x[index] if difference.x is None else difference.x
    return Counterexample(parameters, *(_number(one) for one in (x, difference.expected, difference.found)))


def _number(value):
    """In decimal and in hexadecimal if it is a float, else as it prints."""
    if isinstance(value, str):
        return (value,)
    array = np.asarray(value)
    if array.ndim or array.dtype.kind in "biu":
        return (str(value),)
    decimal, hexadecimal = str(array[()]), float(array).hex()
    return (decimal, hexadecimal) if np.isfinite(array) else (decimal,)
