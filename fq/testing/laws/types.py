"""Laws of y by the type of x."""

from fq.testing.laws.cases import of_all_types, of_type
from fq.testing.laws.law import Difference, Law, of_y
from fq.testing.subject import Case, Subject

__all__ = ["LAWS"]


def _in(name: str) -> Law:
    return Law(name, f"In {name} too, y is the reference's bit for bit.", of_type(name), of_y, (name,))


def _type(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    expected, found = (f"{one.dtype.name} of shape {one.shape}" for one in (case.x, subject.forward(case)))
    return Difference(case, expected, found, x=expected) if expected != found else None


TYPE_AND_SHAPE = Law("type and shape", "y has the type and the shape of x.", of_all_types, _type)

LAWS = (*map(_in, ("float16", "bfloat16", "float64")), TYPE_AND_SHAPE)
