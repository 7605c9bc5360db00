"""What the laws of integers see of a quantizer: its functions from floats to integers, back, and to bytes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fq.testing.strategies import type_named
from fq.testing.subject import Array, CandidateError, Case, Parts, Supports

__all__ = ["Quantizer", "QuantizerSubject"]


@dataclass(frozen=True)
class Quantizer:
    """A quantization to integers as `check_quantizer` takes it, made of functions.

    Parameters
    ----------
    name : str
    quantize : callable
        Of (x, scale, zero_point, qmin, qmax); gives integers.
    supports : Supports
    about : str
        What it does in its own way, in a sentence or two.
    versions : dict
        Of the packages it is made of.
    dequantize : callable, optional
        Of (q, scale, zero_point, qmin, qmax), q as quantize gave it; gives floats of the main type.
    pack : callable, optional
        Of (q, bits), q as quantize gave it, of 4 bits; gives bytes as uint8 or bytes.

    Examples
    --------
    >>> import fq
    >>> Quantizer("fq", fq.quantize).supports.dtypes
    ('float32',)
    """

    name: str
    quantize: Callable[..., Any]
    supports: Supports = field(default_factory=Supports)
    about: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    dequantize: Callable[..., Any] | None = None
    pack: Callable[..., Any] | None = None


_LACKS = {
    "dequantize": "it gives no values of levels",
    "pack": "it packs no integers",
    "4 bits": "it takes no range of 4 bits",
}


class QuantizerSubject(Parts):
    """A quantizer with its name, what it supports, and what it lacks.

    Its functions get copies, so that what they write reaches no law, as those of a `Subject` do.

    Parameters
    ----------
    candidate : callable or object
        As for `check_quantizer`.
    name : str, optional
        In place of its own.
    supports : Supports, optional
        In place of its own.

    Raises
    ------
    TypeError
        If it cannot be called, or what it supports is no `Supports`.
    """

    def __init__(self, candidate: Any, name: str | None = None, supports: Supports | None = None) -> None:
        super().__init__(candidate, "quantize", name, supports)
        x = np.zeros(64, type_named(self.supports.dtypes[0]))
        grid = np.float32(1), self.supports.ranges[0][0], *self.supports.ranges[0]
        self.add("quantize", (x, *grid))
        levels = np.zeros(64, np.int8) if self.first("quantize") is None else self.first("quantize")
        self.add("dequantize", (levels, *grid), candidate)
        self.add("pack", (levels, 4), candidate)

    def lacks(self, needs: tuple[str, ...]) -> str | None:
        """Why a law that needs all these does not apply, or None."""
        for need in needs:
            if need in ("dequantize", "pack") and not self.has(need):
                return _LACKS[need]
            if need == "4 bits" and not {(-8, 7), (0, 15)} & set(map(tuple, self.supports.ranges)):
                return _LACKS[need]
        return super().lacks(tuple(need for need in needs if need not in _LACKS))

    def levels(self, case: Case) -> Array:
        """q, as integers that NumPy knows."""
        return _integers(self.call("quantize", case.x.shape, case.x, *case.qparams))

    def dtype(self, case: Case) -> str:
        """The type of q, whatever it is."""
        return str(self.call("quantize", case.x.shape, case.x, *case.qparams).dtype.name)

    def values(self, case: Case) -> tuple[Array, Array]:
        """Its q, and what dequantize makes of them."""
        q = self.raw("quantize", case.x, *case.qparams)
        return self.levels(case), self.call("dequantize", case.x.shape, q, *case.qparams)

    def packed(self, case: Case) -> tuple[Array, Array]:
        """Its q, and the bytes that pack makes of them."""
        found = self.raw("pack", self.raw("quantize", case.x, *case.qparams), 4)
        data = np.frombuffer(found, np.uint8) if isinstance(found, bytes | bytearray) else found
        return self.levels(case), self.shaped(data, (*case.x.shape[:-1], -(-case.x.shape[-1] // 2)))


def _integers(q: Array) -> Array:
    if "int" not in q.dtype.name:
        raise CandidateError(f"levels of {q.dtype.name}", "integers")
    return q.astype(np.int64)
