"""Laws of the mask."""

from fq import reference
from fq.testing.laws.cases import FINITE, drawn
from fq.testing.laws.law import Difference, Law, different
from fq.testing.subject import Case, Subject

__all__ = ["LAWS"]


def _mask(subject: Subject, case: Case, arithmetic: str) -> Difference | None:
    expected = reference.forward(case.x, *case.qparams, arithmetic=arithmetic)[1]
    return different(case, expected, subject.mask(case))


LAWS = (
    Law(
        "mask",
        "The mask is True where x rounds to a level of the range; not for infinities and NaN.",
        drawn((*FINITE, "infinite", "nan"), scales="exact", zero_points="any"),
        _mask,
        ("mask",),
    ),
    Law(
        "mask beside ties",
        "The mask follows the quotient as the arithmetic rounds it, for scales that are no power of two.",
        drawn(("beside an end tie", "end tie", "ordinary"), zero_points="any"),
        _mask,
        ("mask",),
    ),
)
