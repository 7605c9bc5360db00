"""What a check found, as objects, text and JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fq._input import one_line

__all__ = [
    "ARITHMETICS",
    "FAILS",
    "HOLDS",
    "LAST_BITS",
    "NOT_APPLICABLE",
    "SYMBOLS",
    "Counterexample",
    "Report",
    "Result",
    "table",
]

ARITHMETICS = {"divide": "x / scale", "reciprocal": "x * (1 / scale)"}
HOLDS, FAILS, LAST_BITS, NOT_APPLICABLE = "holds", "fails", "differs in the last bits", "not applicable"
SYMBOLS = {HOLDS: "=", FAILS: "X", LAST_BITS: "~", NOT_APPLICABLE: "."}


@dataclass(frozen=True)
class Counterexample:
    """The smallest case found in which a law does not hold.

    Numbers are written twice: in decimal, and as ``float.hex`` writes them. What is no number, as a shape or an
    exception, is written once.

    Attributes
    ----------
    parameters : dict
        The grid and what else the case depends on, by name.
    x, expected, found : tuple of str
        The element, the reference's result and the candidate's.
    """

    parameters: dict[str, str | tuple[str, ...]]
    x: tuple[str, ...]
    expected: tuple[str, ...]
    found: tuple[str, ...]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={_both(value)}" for name, value in self.parameters.items())
        return f"{given}: x = {_both(self.x)}: expected {_both(self.expected)}, found {_both(self.found)}"


def _both(value: str | tuple[str, ...]) -> str:
    """The decimal with the hexadecimal beside it, where there is one."""
    return one_line(value if isinstance(value, str) else " = ".join(value))


@dataclass(frozen=True)
class Result:
    """What was found about one law: whether it holds, why it does not apply, or the counterexample.

    Attributes
    ----------
    law : str
        Its name.
    status : str
        "holds", "fails", "differs in the last bits" or "not applicable".
    reason : str
        Why it does not apply.
    counterexample : Counterexample or None
    """

    law: str
    status: str
    reason: str = ""
    counterexample: Counterexample | None = None

    def __str__(self) -> str:
        told = one_line(self.reason or self.counterexample or "")
        return f"{SYMBOLS[self.status]} {one_line(self.law)}: {self.status}" + (f": {told}" if told else "")


@dataclass(frozen=True)
class Report:
    """The results of all laws for one candidate, reproducible from the seed and the number of examples.

    Attributes
    ----------
    candidate, arithmetic : str
    seed, examples : int
    results : list of Result
    versions : dict
        Of the packages that took part.
    about : str
        What the candidate does in its own way.
    """

    candidate: str
    arithmetic: str
    seed: int
    examples: int
    results: list[Result]
    versions: dict[str, str] = field(default_factory=dict)
    about: str = ""

    @property
    def failures(self) -> list[Result]:
        """The results of the laws that do not hold."""
        return [result for result in self.results if result.status in (FAILS, LAST_BITS)]

    @property
    def ok(self) -> bool:
        """Whether every law that applies holds."""
        return not self.failures

    def __str__(self) -> str:
        how = f"arithmetic {self.arithmetic}, seed {self.seed}, {self.examples} examples a law"
        head = f"{one_line(self.candidate)}, {how}"
        return "\n".join([head, *(f"  {result}" for result in self.results)])

    def to_dict(self) -> dict[str, Any]:
        """The report in lists, dicts, strings and numbers, as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, made: dict[str, Any]) -> "Report":
        """The report that `to_dict` gave, or a ValueError that names what is not as `to_dict` gives it."""
        _check(made, cls, "a report")
        for one in made["results"]:
            _check(one, Result, "a result")
            if (one["status"] in (FAILS, LAST_BITS)) != (one["counterexample"] is not None):
                raise ValueError(f"{one['law']!r} {one['status']}, and its counterexample is another law's")
        return cls(**{**made, "results": [Result(**{**one, **_counterexample(one)}) for one in made["results"]]})


def _counterexample(result: dict[str, Any]) -> dict[str, Any]:
    found = result["counterexample"]
    if found is None:
        return {}
    _check(found, Counterexample, "a counterexample")
    parameters = {
        name: value if isinstance(value, str) else tuple(value) for name, value in found["parameters"].items()
    }
    others = {name: tuple(found[name]) for name in ("x", "expected", "found")}
    return {"counterexample": Counterexample(parameters, **others)}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) in (1, 2) and all(map(_is_text, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_parameters(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _is_text(value.get("x"))
        and all(_is_text(name) and (_is_text(one) or _is_texts(one)) for name, one in value.items())
    )


_FIELDS = {
    "candidate": _is_text,
    "about": lambda value: isinstance(value, str) and _is_text(one_line(value)),
    "arithmetic": lambda value: value in tuple(ARITHMETICS),
    "seed": _is_number,
    "examples": _is_number,
    "results": lambda value: isinstance(value, list),
    "versions": lambda value: isinstance(value, dict) and all(map(_is_text, [*value, *value.values()])),
    "law": _is_text,
    "status": lambda value: value in tuple(SYMBOLS),
    "reason": _is_text,
    "counterexample": lambda value: value is None or isinstance(value, dict),
    "parameters": _is_parameters,
    "x": _is_texts,
    "expected": _is_texts,
    "found": _is_texts,
}


def _check(made: object, kind: type, called: str) -> None:
    """A ValueError unless `made` has the fields of this class and no other, each of the kind that it should be."""
    names = set(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    if not isinstance(made, dict) or set(made) != names:
        raise ValueError(f"{called} has {', '.join(sorted(names))}, got {_short(made)}")
    for name, value in made.items():
        if not _FIELDS[name](value):
            raise ValueError(f"{name} of {called} cannot be {_short(value)}")


def _short(value: object) -> str:
    try:
        told = repr(value)
    except RecursionError:
        told = "what is nested deeper than can be told"
    return told if len(told) <= 60 else f"{told[:57]}..."


def table(reports: Sequence[Report]) -> str:
    """Laws by candidates, a symbol each, with the names of the candidates above.

    Parameters
    ----------
    reports : list of Report
        Of the same laws.

    Returns
    -------
    str
    """
    names = [one_line(report.candidate) for report in reports]
    laws = list(dict.fromkeys(result.law for report in reports for result in report.results))
    by_law = [{result.law: SYMBOLS[result.status] for result in report.results} for report in reports]
    width = max([len(one_line(law)) for law in laws], default=0)
    lines = [" " * width + "  " + "| " * column + name for column, name in enumerate(names)]
    for law in laws:
        lines.append(f"{one_line(law):{width}}  " + " ".join(symbols.get(law, " ") for symbols in by_law))
    return "\n".join(lines)
