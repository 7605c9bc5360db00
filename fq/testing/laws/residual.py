"""Laws of gradients that are made from codes of 8 or 4 bits for the residuals of x, which is not kept.

They are judged by `fq.reference.backward_learnable`: dx and dzero_point exactly, dscale to half a step of a code.
"""

from functools import partial
from typing import Any

import numpy as np

from fq import reference
from fq.testing.laws.cases import FINITE, drawn
from fq.testing.laws.law import Cases, Difference, Law, different, listed, some_dy
from fq.testing.subject import Array, Case, Subject

__all__ = ["LAWS"]

_LAST = {"residual": 126, "residual4": 6}


def _near(qmin: int, qmax: int) -> bool:
    """Whether codes say something of all levels."""
    return qmax - qmin <= 2**15


def _both(subject: Subject, case: Case, arithmetic: str, name: str) -> tuple[Array, Any, Any]:
    """dy, the gradients that are right, and those that were found."""
    dy = some_dy(case.x)
    return (
        dy,
        reference.backward_learnable(dy, case.x, *case.qparams, arithmetic=arithmetic),
        subject.learnable(dy, case, name),
    )


def _dx(subject: Subject, case: Case, arithmetic: str, *, name: str) -> Difference | None:
    _, expected, found = _both(subject, case, arithmetic, name)
    return different(case, expected[0], found[0], more={"gradient": "dx"})


def _sum(subject: Subject, case: Case, arithmetic: str, *, name: str, which: int, steps: float) -> Difference | None:
    """dscale or dzero_point, which may be off by so many steps of the code an element, and by rounding."""
    dy, expected, found = _both(subject, case, arithmetic, name)
    eps = float(np.finfo(np.float64 if case.x.dtype == np.float64 else np.float32).eps)
    grid = case.qparams
    unit = max(float(np.max(np.abs(end - np.asarray(grid.zero_point)))) for end in (grid.qmin, grid.qmax))
    rounding = 8 * eps * (max(unit, 1) if which == 1 else float(np.max(grid.scale)))
    most = float(np.abs(dy.astype(np.float64)).sum()) * (rounding + steps / (2 * _LAST[name]))
    one, other = (np.asarray(each[which]).astype(np.float64) for each in (expected, found))
    equal = (one == other) | (np.isnan(one) & np.isnan(other)) | (np.abs(one - other) <= most)
    if equal.all():
        return None
    more: dict[str, object] = {"gradient": ("dx", "dscale", "dzero_point")[which], "dy": listed(dy)}
    return Difference(case, one, other, x=listed(case.x), more=more)


def _cases(kinds: tuple[str, ...]) -> Cases:
    return drawn(kinds, scales="exact", ranges=_near)


def _of(name: str, bits: int) -> tuple[Law, ...]:
    kept = f"from codes of {bits} bits"
    scale, zero_point = partial(_sum, name=name, which=1), partial(_sum, name=name, which=2, steps=0)
    every = (*FINITE, "infinite", "nan")
    return (
        Law(f"{name} gradient of x", f"dx {kept} is that from x.", _cases(every), partial(_dx, name=name), (name,)),
        Law(
            f"{name} gradient of zero_point",
            f"dzero_point {kept} is that from x.",
            _cases(("ordinary", "beyond", "infinite")),
            zero_point,
            (name,),
        ),
        Law(
            f"{name} gradient of scale",
            f"dscale {kept} is that from x, to half a step of a code for each element.",
            _cases(("ordinary", "beyond")),
            partial(scale, steps=0.5),
            (name,),
        ),
        Law(
            f"{name} of levels and ties",
            f"On a level, and halfway between two, dscale {kept} is that from x.",
            _cases(("level", "tie")),
            partial(scale, steps=0),
            (name,),
        ),
        Law(
            f"{name} of NaN", f"A NaN in x makes dscale {kept} NaN.", _cases(("nan",)), partial(scale, steps=0), (name,)
        ),
    )


LAWS = (*_of("residual", 8), *_of("residual4", 4))
