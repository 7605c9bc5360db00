"""Property-based tests for any fake quantization: which laws it keeps, with the smallest counterexample of each other.

::

    from fq.testing import assert_equivalent

    def test_my_fake_quantize():
        assert_equivalent(my_fake_quantize)

`check` gives the `Report`, `check_quantizer` that of a quantization to integers and `check_floats` that of a rounding
to float formats; `ALL`, `OF_INTEGERS` and `OF_FLOATS` are the laws;
`qparams`, `arrays_for` and `broadcast_qparams` are hypothesis strategies for tests of your own. Needs hypothesis:
``pip install -e ".[testing]"`` in a checkout.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError('fq.testing needs hypothesis: in a checkout of fq, pip install -e ".[testing]"') from error

from fq.testing.laws import ALL, OF_FLOATS, OF_INTEGERS, Law, law_named
from fq.testing.quantizer import Quantizer, QuantizerSubject
from fq.testing.report import Counterexample, Report, Result, table
from fq.testing.rounder import FloatSupports, Rounder, RounderSubject
from fq.testing.search import (
    assert_equivalent,
    assert_floats,
    assert_quantizer,
    check,
    check_floats,
    check_quantizer,
)
from fq.testing.strategies import KINDS, arrays_for, broadcast_qparams, qparams
from fq.testing.subject import Candidate, Subject, Supports

__all__ = [
    "ALL",
    "KINDS",
    "OF_FLOATS",
    "OF_INTEGERS",
    "Candidate",
    "Counterexample",
    "FloatSupports",
    "Law",
    "Quantizer",
    "QuantizerSubject",
    "Report",
    "Result",
    "Rounder",
    "RounderSubject",
    "Subject",
    "Supports",
    "arrays_for",
    "assert_equivalent",
    "assert_floats",
    "assert_quantizer",
    "broadcast_qparams",
    "check",
    "check_floats",
    "check_quantizer",
    "law_named",
    "qparams",
    "table",
]
