"""Laws of how many elements there are, how they lie in memory, and who may write to them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from fq.qparams import QParams
from fq.testing.laws.cases import BLOCK, FINITE, drawn
from fq.testing.laws.law import Difference, Law, different, of_y, some_dy
from fq.testing.strategies import qparams, type_named
from fq.testing.subject import WITH_DY, Case, Subject, Supports

__all__ = ["LAWS", "contiguous", "empty", "layouts", "lengths", "zero_dimensional"]


@st.composite
def lengths(draw: st.DrawFn, supports: Supports, arithmetic: str) -> Case:
    """Three blocks, and a length that leaves a tail."""
    case = draw(drawn(("ordinary",))(supports, arithmetic))
    length = draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 100, 127, 130]))
    return case._replace(x=np.resize(case.x, 3 * BLOCK), length=length)


def _any_length(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    short = case._replace(x=case.x[: case.length].copy())
    expected = subject.forward(case)[: case.length]
    return different(short, expected, subject.forward(short), more={"length": case.length})


@st.composite
def empty(draw: st.DrawFn, supports: Supports, _arithmetic: str) -> Case:
    """No elements."""
    shape = draw(st.sampled_from([(0,), (0, 3), (3, 0)]))
    grid = draw(qparams(supports.dtypes[0], zero_points="zero", ranges=supports.ranges))
    return Case(np.zeros(shape, type_named(supports.dtypes[0])), grid)


@st.composite
def zero_dimensional(draw: st.DrawFn, supports: Supports, arithmetic: str) -> Case:
    """One element without an axis."""
    case = draw(drawn(("ordinary",))(supports, arithmetic))
    return case._replace(x=case.x[:1].reshape(()))


_LAYOUTS: dict[str, Any] = {
    "x[::2]": np.s_[::2],
    "x[::-1]": np.s_[::-1],
    "x[:, :8]": np.s_[:, :8],
    "x[::-1, ::2]": np.s_[::-1, ::2],
    "x.T": np.s_[:],
}


@st.composite
def layouts(draw: st.DrawFn, supports: Supports, arithmetic: str) -> Case:
    """A view with gaps, of negative strides, or of permuted axes."""
    case = draw(drawn(("ordinary",))(supports, arithmetic))
    layout = draw(st.sampled_from(sorted(_LAYOUTS)))
    x = np.resize(case.x, (8, 16))
    x = x.T if layout == "x.T" else (x.reshape(-1) if "," not in layout else x)[_LAYOUTS[layout]]
    return case._replace(x=x, layout=f"{layout} of shape (8, 16)")


def contiguous(case: Case) -> Case:
    """The same elements without gaps."""
    return case._replace(x=np.array(case.x, order="C"))


def _any_layout(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    expected = subject.forward(contiguous(case))
    return different(case, expected, subject.forward(case), more={"layout": case.layout})


def _unmodified(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    dy = some_dy(case.x)
    for name in ("forward", *WITH_DY):
        if name != "forward" and not subject.has(name):
            continue
        of_name = case if "residual" not in name else case._replace(qparams=_near(subject.supports, case.qparams))
        before = {**({"dy": dy} if name != "forward" else {}), "x": case.x}
        after = subject.after(name, *before.values(), case=of_name)
        for (given, one), other in zip(before.items(), after, strict=True):
            if changed := different(case, one, other, more={"after": name, "input": given}):
                return changed
    return None


def _near(supports: Supports, qparams: QParams) -> QParams:
    """The parameters with levels of which codes of residuals say something."""
    ends = next((one for one in supports.ranges if one[1] - one[0] <= 2**15), supports.ranges[0])
    return QParams(qparams.scale, np.clip(qparams.zero_point, *ends), *ends)


LAWS = (
    Law("any length", "The first n elements of x give the first n of y.", lengths, _any_length),
    Law("empty", "No elements give no elements, of the same shape.", empty, of_y),
    Law("zero-dimensional", "A zero-dimensional x gives its y, zero-dimensional too.", zero_dimensional, of_y),
    Law("non-contiguous", "However x lies in memory, y is the same.", layouts, _any_layout),
    Law("input unmodified", "x and dy are as they were.", drawn(FINITE), _unmodified),
)
