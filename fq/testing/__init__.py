"""Property-based tests for any fake quantization: which laws it keeps, with the smallest counterexample of each other.

::

    from fq.testing import assert_equivalent

    def test_my_fake_quantize():
        assert_equivalent(my_fake_quantize)

`check` gives the `Report`; `ALL` are the laws; `qparams`, `arrays_for` and `broadcast_qparams` are hypothesis
strategies for tests of your own. Needs hypothesis: ``pip install "fq[testing]"``.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError('fq.testing needs hypothesis: pip install "fq[testing]"') from error

from fq.testing.laws import ALL, Law, law_named
from fq.testing.report import Counterexample, Report, Result, table
from fq.testing.search import assert_equivalent, check
from fq.testing.strategies import KINDS, arrays_for, broadcast_qparams, qparams
from fq.testing.subject import Candidate, Subject, Supports

__all__ = [
    "ALL",
    "KINDS",
    "Candidate",
    "Counterexample",
    "Law",
    "Report",
    "Result",
    "Subject",
    "Supports",
    "arrays_for",
    "assert_equivalent",
    "broadcast_qparams",
    "check",
    "law_named",
    "qparams",
    "table",
]
