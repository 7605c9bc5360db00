"""What a check found, as objects, text and JSON."""

from dataclasses import asdict, dataclass, field

__all__ = ["FAILS", "HOLDS", "LAST_BITS", "NOT_APPLICABLE", "SYMBOLS", "Counterexample", "Report", "Result", "table"]

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

    parameters: dict
    x: tuple
    expected: tuple
    found: tuple

    def __str__(self):
        given = ", ".join(f"{name}={_both(value)}" for name, value in self.parameters.items())
        return f"{given}: x = {_both(self.x)}: expected {_both(self.expected)}, found {_both(self.found)}"


def _both(value):
    """The decimal with the hexadecimal beside it, where there is one."""
    if not isinstance(value, (tuple, list)):
        return str(value)
    return " = ".join(value)


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

    def __str__(self):
        told = self.reason or self.counterexample or ""
        return f"{SYMBOLS[self.status]} {self.law}: {self.status}" + (f": {told}" if told else "")


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
    versions: dict = field(default_factory=dict)
    about: str = ""

    @property
    def failures(self):
        """The results of the laws that do not hold."""
        return [result for result in self.results if result.status in (FAILS, LAST_BITS)]

    @property
    def ok(self):
        """Whether every law that applies holds."""
        return not self.failures

    def __str__(self):
        head = f"{self.candidate}, arithmetic {self.arithmetic}, seed {self.seed}, {self.examples} examples a law"
        return "\n".join([head, *(f"  {result}" for result in self.results)])

    def to_dict(self):
        """The report in lists, dicts, strings and numbers, as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, made):
        """The report that `to_dict` gave."""
        results = [Result(**{**one, "counterexample": _counterexample(one)}) for one in made["results"]]
        return cls(**{**made, "results": results})


def _counterexample(result):
    found = result["counterexample"]
    if found is None:
        return None
    parameters = {name: _tuple(value) for name, value in found["parameters"].items()}
    return Counterexample(parameters, *(tuple(found[name]) for name in ("x", "expected", "found")))


def _tuple(value):
    return tuple(value) if isinstance(value, list) else value


def table(reports):
    """Laws by candidates, a symbol each, with the names of the candidates above.

    Parameters
    ----------
    reports : list of Report
        Of the same laws.

    Returns
    -------
    str
    """
    names = [report.candidate for report in reports]
    laws = list(dict.fromkeys(result.law for report in reports for result in report.results))
    by_law = [{result.law: SYMBOLS[result.status] for result in report.results} for report in reports]
    width = max([len(law) for law in laws], default=0)
    lines = [" " * width + "  " + "| " * column + name for column, name in enumerate(names)]
    for law in laws:
        lines.append(f"{law:{width}}  " + " ".join(symbols.get(law, " ") for symbols in by_law))
    return "\n".join(lines)
