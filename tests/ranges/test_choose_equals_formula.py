"""choose_qparams in C equals its formula in NumPy to the last bit, for every kind of grid, range and argument."""

import itertools

import numpy as np
import pytest
from formula import choose
from helpers import FLOAT_TYPES, assert_same
from hypothesis import given
from hypothesis import strategies as st
from test_qparams import every_kind, near_ties

import fq

FORMULAS = "cover", "torch"
finite = st.floats(-(2.0**126), 2.0**126, width=32)


def assert_equal(low, high, kind, **options):
    found = fq.choose_qparams(low, high, **kind, **options)
    assert isinstance(found, fq.QParams)
    assert_same(tuple(found), choose(low, high, **kind, **options))
    assert type(found.qmin) is type(found.qmax) is int


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("kind", every_kind, ids=lambda kind: "-".join(map(str, kind.values())))
def test_arrays(kind, formula):
    rng = np.random.default_rng(kind["bits"])
    low, high = near_ties(kind, rng, 1000)
    for dtype, eps in itertools.product((np.float32, np.float64), (None, 2.0**-23, 0.7)):
        assert_equal(low.astype(dtype), high.astype(dtype), kind, formula=formula, eps=eps)
    low, high = np.sort(rng.standard_normal((2, 3, 100)) * 2.0 ** rng.integers(-140, 100, (3, 100)), axis=0)
    assert_equal(low, high, kind, formula=formula)
    with np.errstate(under="ignore"):
        assert_equal(low.astype(np.float32), high.astype(np.float32), kind, formula=formula)


@pytest.mark.parametrize("formula", FORMULAS)
@given(
    ends=st.tuples(finite, finite).map(sorted), kind=st.sampled_from(every_kind), eps=st.none() | st.floats(1e-45, 1e6)
)
def test_numbers(ends, kind, eps, formula):
    for convert in (float, np.float32, np.float64, np.array, lambda end: np.array([end], np.float32)):
        assert_equal(*map(convert, ends), kind, formula=formula, eps=eps)


@pytest.mark.parametrize("formula", FORMULAS)
def test_numbers_of_every_type(formula):
    ends = -3, 5
    types = [*FLOAT_TYPES, np.dtype(np.int8), np.dtype(np.int64), np.dtype(">f4"), np.dtype(">f8")]
    for one, other in itertools.product(
        [*(np.dtype(t).type for t in types), *(t.type for t in types), int, float], repeat=2
    ):
        assert_equal(one(ends[0]), other(ends[1]), {"bits": 4}, formula=formula)
    for one, other in itertools.product(types, repeat=2):
        assert_equal(np.full(3, ends[0]).astype(one), np.full(3, ends[1]).astype(other), {"bits": 4}, formula=formula)
    assert_equal(False, True, {"bits": 4}, formula=formula)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (np.zeros((0, 3)), np.ones((0, 3))),
        (-np.ones((4, 1)), np.arange(3.0)),
        (-1.0, np.arange(6.0).reshape(2, 3)),
        (np.full((), -1.0), np.arange(3, dtype=np.float32)),
        (-np.arange(3.0), np.float32(2)),
        (-np.arange(12.0).reshape(3, 4).T, np.arange(12.0).reshape(4, 3)),
        (-np.arange(20.0)[::2], np.arange(10.0)[::-1]),
        ([-1, -2], [[3], [4]]),
        (-np.arange(1000.0), np.ones(1000)),
        (np.zeros(3), np.float32([0, 1, 0])),
    ],
    ids=lambda end: str(np.shape(end)),
)
@pytest.mark.parametrize("symmetric", [True, False])
def test_shapes(low, high, symmetric):
    assert_equal(low, high, {"bits": 5, "symmetric": symmetric})


def test_flags_may_be_anything_that_is_true_or_false():
    for yes, no in ((1, 0), (np.True_, np.False_), ([1], [])):
        found = fq.choose_qparams(-1, 2, np.int64(4), signed=no, symmetric=yes, narrow_range=yes)
        assert_same(tuple(found), choose(-1, 2, 4, False, True, True))


def test_memory_that_flushes_subnormal_numbers_changes_nothing():
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush")
    try:
        found = fq.choose_qparams(-1e-44, 1.0, 8)
    finally:
        torch.set_flush_denormal(False)
    assert_same(tuple(found), choose(-1e-44, 1.0, 8))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eps_is_the_least_scale(symmetric, dtype):
    ends = dtype([-1e-9, -1, 0]), dtype([1e-9, 1, 0])
    plain, floored = (fq.choose_qparams(*ends, symmetric=symmetric, eps=eps).scale for eps in (None, 1e-3))
    assert_same(floored, np.maximum(plain, dtype(1e-3)) * dtype([1, 1, 0]) + dtype([0, 0, 1e-3]))
    assert plain[2] == 1
    assert fq.choose_qparams(*ends, eps=1e-60).scale.min() >= np.finfo(np.float32).tiny


def test_a_range_of_zero_has_the_scale_of_pytorch_s_observer_with_its_eps():
    torch = pytest.importorskip("torch")
    observer = torch.ao.quantization.MinMaxObserver(dtype=torch.qint8)
    observer(torch.zeros(3))
    scale, zero_point = observer.calculate_qparams()
    found = fq.choose_qparams(0, 0, eps=2.0**-23, formula="torch")
    assert (found.scale, found.zero_point) == (scale.item(), zero_point.item())


@pytest.mark.parametrize(
    ("eps", "error", "message"),
    [
        (0, ValueError, "eps must be positive and finite in float32, got 0"),
        (-1e-3, ValueError, "got -0.001"),
        (np.nan, ValueError, "got nan"),
        (np.inf, ValueError, "got inf"),
        (1e39, ValueError, r"in float32, got 1e\+39"),
        (10**400, ValueError, "in float32"),
        ("1e-3", TypeError, "eps must be a real number, got '1e-3'"),
        (True, TypeError, "eps must be a real number, got True"),
        ([1e-3], TypeError, "eps must be a real number"),
        (1j, TypeError, "eps must be a real number"),
    ],
)
def test_bad_eps_is_refused(eps, error, message):
    with pytest.raises(error, match=message):
        fq.choose_qparams(np.float32(-1), np.float32(1), eps=eps)


def test_eps_may_be_any_finite_number_of_the_scale_s_type():
    assert fq.choose_qparams(-1.0, 1.0, eps=1e39).scale == 1e39
    for eps in (np.float32(0.5), np.float64(0.5), np.array(0.5)[()], 1):
        assert fq.choose_qparams(-1.0, 1.0, eps=eps).scale == eps


def test_the_function_in_c_makes_tuples_alone():
    arguments = (-1.0, 1.0, 8, True, False, False, "cover", None, None)
    for wrong in (int, 3, None):
        with pytest.raises(TypeError):
            fq._core._choose_qparams(wrong, *arguments)
    with pytest.raises(TypeError):
        fq._core._choose_qparams(fq.QParams, *arguments[:-1])
