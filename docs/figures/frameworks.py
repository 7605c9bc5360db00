"""What each framework does at ties and at the ends: asked of the frameworks installed here, written as JSON.

    python -m docs.figures.frameworks

Rows of frameworks that are not installed stay as they are in the file, so that environments can take turns.
"""

import json
from pathlib import Path

import numpy as np

import fq
from docs.figures.points import GROUPS, QMAX, QMIN
from fq.testing.candidates import load

FILE = Path(__file__).resolve().parent.parent / "pictures" / "frameworks.json"
_BLOCK = 64  # elements: what an array of ordinary length goes through


def reference_row():
    """What fq.reference does."""
    return {
        "name": "fq.reference",
        "versions": {"fq": fq.__version__},
        "levels": _levels(fq.reference.forward),
        "gradients": _gradients(fq.reference.backward_recompute),
    }


def row(candidate):
    """What a candidate does: fq's targets are one, since they give the same bits."""
    return {
        "name": candidate.name.partition(", ")[0] if candidate.name.startswith("fq") else candidate.name,
        "versions": candidate.versions,
        "levels": _levels(candidate.forward),
        "gradients": _gradients(candidate.gradient) if candidate.gradient else None,
    }


def _levels(forward):
    def level(x, scale):
        y = forward(x, scale, 0, QMIN, QMAX)
        return np.asarray(y[0] if isinstance(y, tuple) else y) / scale

    return _asked(GROUPS["levels"], level)


def _gradients(backward):
    return _asked(GROUPS["gradients"], lambda x, scale: np.asarray(backward(np.ones_like(x), x, scale, 0, QMIN, QMAX)))


def _asked(groups, function):
    """What the function gives at each point, as text: JSON has no NaN."""
    found = []
    with np.errstate(all="ignore"):
        for _, scale, points in groups:
            for point in points:
                x = np.full(_BLOCK, point, np.float32)
                found.append(f"{float(function(x, np.float32(scale))[0]) + 0.0:.5g}")  # 0 has no sign here
    return found


def main():
    """Ask, and write the file; rows keep the order in which the candidates load."""
    old = {one["name"]: one for one in json.loads(FILE.read_text("utf-8"))["rows"]} if FILE.exists() else {}
    new = {one["name"]: one for one in [reference_row(), *(row(candidate) for candidate in load()[0])]}
    FILE.write_text(json.dumps({"rows": list((old | new).values())}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
