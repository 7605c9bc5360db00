"""Laws of the gradient of x."""

from fq import reference
from fq.testing.laws.cases import at_an_end, between_the_ends, drawn, many_levels, outside
from fq.testing.laws.law import Difference, Law, different, some_dy
from fq.testing.subject import Case, Subject

__all__ = ["LAWS"]


def _gradient(subject: Subject, case: Case, arithmetic: str) -> Difference | None:
    dy = some_dy(case.x)
    expected = reference.backward_recompute(dy, case.x, *case.qparams, arithmetic=arithmetic)
    return different(case, expected, subject.gradient(dy, case))


LAWS = (
    Law(
        "gradient inside",
        "Between the end levels dx is dy.",
        drawn(("ordinary", "tie"), scales="exact", zero_points="any", ranges=many_levels, keep=between_the_ends),
        _gradient,
        ("gradient",),
    ),
    Law(
        "gradient at the ends",
        "At the end levels, and wherever x rounds to them, dx is dy.",
        drawn(("end", "past an end", "end tie"), scales="exact", zero_points="any", keep=at_an_end),
        _gradient,
        ("gradient",),
    ),
    Law(
        "gradient outside",
        "Where x rounds to no level of the range, dx is 0.",
        drawn(("beyond", "beside an end tie", "end tie"), scales="exact", zero_points="any", keep=outside),
        _gradient,
        ("gradient",),
    ),
    Law(
        "gradient of infinities and NaN",
        "Where x is infinite or NaN, dx is 0.",
        drawn(("infinite", "nan"), scales="exact", zero_points="any"),
        _gradient,
        ("gradient",),
    ),
)
