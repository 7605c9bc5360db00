"""fq.testing: its strategies draw what they say and shrink, and its reports tell the truth and are the same twice."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

import fq
from fq.testing import (
    ALL,
    KINDS,
    Candidate,
    Report,
    Supports,
    arrays_for,
    assert_equivalent,
    broadcast_qparams,
    check,
    law_named,
    qparams,
    strategies,
    table,
)
from fq.testing.candidates import load
from fq.testing.report import FAILS, HOLDS, LAST_BITS, NOT_APPLICABLE

TYPES = ["float32", "float64", "float16", *(["bfloat16"] if find_spec("ml_dtypes") else [])]
CANDIDATES, ABSENT = load()
FEW = ["ties", "beside ties", "NaN", "sign of zero", "mask", "gradient at the ends"]


def half_away(x, scale, zero_point, qmin, qmax):
    level = np.trunc(x / scale + np.copysign(0.5, x)) + zero_point
    return (np.clip(level, qmin, qmax) - zero_point) * scale


# Strategies


@pytest.mark.parametrize("scales", strategies.SCALES)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_grid_is_one_that_the_reference_takes(dtype, scales):
    @given(st.data())
    def takes(data):
        grid = data.draw(qparams(dtype, scales=scales))
        x = data.draw(arrays_for(grid, dtype))
        assert x.dtype == strategies.type_named(dtype)
        assert 1 <= x.size <= 8
        fq.reference.forward(x, *grid)

    takes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_value_is_drawn(kind):
    grid = fq.QParams(np.float32(0.5), 1, -8, 7)
    x = find(arrays_for(grid, kinds=[kind]), lambda x: True)
    quotient = x.astype(np.float64) / 0.5
    with np.errstate(invalid="ignore"):  # inf - inf
        part = np.abs(quotient - np.rint(quotient))
    tie = part == 0.5
    outside = (quotient < -9.5) | (quotient > 6.5)
    assert {
        "tie": tie.all() and not outside.all(),
        "end tie": tie.all(),
        "beside a tie": not tie.any() and np.allclose(part, 0.5),
        "beyond": outside.all(),
        "huge": (np.abs(quotient) > 2**30).all() and np.isfinite(x).all(),
        "infinite": np.isinf(x).all(),
        "nan": np.isnan(x).all(),
        "zero": (x == 0).all(),
        "subnormal": (np.abs(x) < np.finfo(np.float32).tiny).all(),
    }.get(kind, np.isfinite(x).all())


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        (lambda x: np.isnan(x).any(), [np.nan]),
        (lambda x: np.isposinf(x).any(), [np.inf]),
        (lambda x: ((x == 0) & np.signbit(x)).any(), [-0.0]),
        (lambda x: x.size > 2, [0.0, 0.0, 0.0]),
    ],
)
def test_arrays_shrink_to_short_ones_of_round_numbers(holds, expected):
    grid = fq.QParams(np.float32(1), 0, -8, 7)
    np.testing.assert_array_equal(find(arrays_for(grid), holds), np.float32(expected))


def test_an_ordinary_value_shrinks_to_one_multiple_of_a_half():
    found = find(arrays_for(fq.QParams(np.float32(1), 0, -8, 7)), lambda x: (x > 3).any())
    assert found.size == 1
    assert 2 * found[0] == np.rint(2 * found[0])


def test_grids_shrink_to_round_numbers():
    assert find(qparams(), lambda grid: True) == (1.0, 0, -8, 7)
    assert find(qparams(), lambda grid: grid.qmax > 200) == (1.0, 0, 0, 255)


@given(st.data())
def test_broadcast_grids_fit_the_shape(data):
    shape = data.draw(st.sampled_from([(3,), (2, 3), (2, 1, 4), (0, 2)]))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    grid = data.draw(broadcast_qparams(shape, axis=axis))
    assert np.broadcast_shapes(grid.scale.shape, shape) == shape
    if axis is not None:
        assert grid.scale.size == shape[axis]
    assert fq.reference.fake_quantize(np.zeros(shape, np.float32), *grid).shape == shape


# Reports


def test_the_same_seed_gives_the_same_report():
    first, second = (check(half_away, FEW, examples=40, seed=5) for _ in range(2))
    assert first == second
    assert not first.ok


def test_a_report_says_what_holds_what_fails_and_what_does_not_apply():
    report = check(half_away, ["ordinary values", "ties", "mask"], examples=40, name="mine")
    assert [one.status for one in report.results] == [HOLDS, FAILS, NOT_APPLICABLE]
    assert report.results[2].reason == "it gives no mask"
    told = str(report)
    assert "mine, arithmetic divide, seed 0, 40 examples" in told
    assert "X ties: fails: x=float32, scale=1.0 = 0x1.0000000000000p+0, zero_point=0, qmin=-8, qmax=7" in told
    assert "expected 0.0 = 0x0.0p+0, found 1.0 = 0x1.0000000000000p+0" in told
    assert table([report]).splitlines() == [
        "                 mine",
        "ordinary values  =",
        "ties             X",
        "mask             .",
    ]


def test_a_report_survives_json():
    import json

    report = check(half_away, FEW, examples=30)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_last_bits_are_told_from_the_level():
    def inexact(x, scale, zero_point, qmin, qmax):
        level = np.clip(np.rint(x / scale), qmin - zero_point, qmax - zero_point)
        return (level / (1 / scale)).astype(x.dtype)

    result = check(inexact, ["ordinary values"]).results[0]
    assert result.status == LAST_BITS
    assert not check(inexact, ["ordinary values"]).ok


def test_assert_equivalent_raises_with_the_counterexample():
    with pytest.raises(AssertionError, match=r"half_away differs:\n. ties: fails: .* x = 0\.5"):
        assert_equivalent(half_away, ["ties"])


def test_what_a_candidate_raises_is_what_was_found():
    def refuses(x, *qparams):
        raise RuntimeError("no kernel\nfor this")

    found = check(refuses, ["ties"], examples=5).failures[0].counterexample
    assert found.found == ("RuntimeError: no kernel for this",)


def test_a_candidate_that_answers_in_two_ways_fails():
    calls = []

    def moody(x, *qparams):
        calls.append(1)
        return fq.reference.fake_quantize(x, *qparams) + np.float32(len(calls) % 2)

    assert not check(moody, ["ordinary values"], examples=20).ok


def test_laws_draw_only_what_the_candidate_supports():
    seen = []

    def narrow(x, scale, zero_point, qmin, qmax):
        seen.append((x.dtype.name, np.ndim(scale), zero_point, qmin, qmax))
        return fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)

    supports = Supports(("float64",), ((-128, 127),), zero_points=False)
    report = check(narrow, examples=10, supports=supports)
    assert report.ok
    assert {one[1:] for one in seen[1:]} == {(0, 0, -128, 127)}
    assert {one[0] for one in seen} == {"float64"}
    reasons = {one.law: one.reason for one in report.results if one.status == NOT_APPLICABLE}
    assert reasons["zero points"] == "it takes no zero_point but 0"
    assert reasons["several channels"] == "it takes no scale per channel"
    assert reasons["float16"] == "float16 is not among its other types"


@pytest.mark.parametrize("dtype", TYPES)
def test_any_type_may_be_the_main_one(dtype):
    report = assert_equivalent(fq.forward, examples=8, supports=Supports((dtype,)))
    assert law_named("mask").name in {one.law for one in report.results if one.status == HOLDS}


def test_a_candidate_may_be_a_function_an_object_or_give_the_mask_with_y():
    class Mine:
        forward = staticmethod(fq.reference.fake_quantize)
        mask = staticmethod(lambda *args: fq.reference.forward(*args)[1])

    for candidate in (fq.forward, Mine(), Candidate("named", fq.forward)):
        assert check(candidate, ["ties", "mask"], examples=10).ok
        assert check(candidate, ["mask"], examples=10).results[0].status == HOLDS
    assert check(fq.fake_quantize, ["mask"], examples=10).results[0].status == NOT_APPLICABLE


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"arithmetic": "float"}, ValueError, "'divide' or 'reciprocal'"),
        ({"examples": 0}, ValueError, "examples must be 1 or more"),
        ({"laws": ["tie"]}, ValueError, "no law 'tie': there are ordinary values, ties"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, told):
    with pytest.raises(error, match=told):
        check(half_away, **arguments)
    with pytest.raises(TypeError, match="a candidate is a function"):
        check(3)


def test_a_law_has_a_name_and_one_sentence():
    assert len({law.name for law in ALL}) == len(ALL)
    for law in ALL:
        assert law.meaning.endswith(".")
        assert ". " not in law.meaning
        assert law_named(law.name) is law


# Candidates


@pytest.mark.parametrize("arithmetic", ["divide", "reciprocal"])
def test_fq_keeps_every_law_on_every_target(arithmetic):
    for candidate in load(arithmetic)[0]:
        if candidate.name.startswith("fq, "):
            assert_equivalent(candidate, arithmetic=arithmetic, examples=8)


def test_the_arithmetics_are_told_apart():
    assert not check(fq.reciprocal.fake_quantize, ["beside ties"]).ok
    assert not check(fq.fake_quantize, ["beside ties"], arithmetic="reciprocal").ok
    assert check(fq.reciprocal.fake_quantize, ["beside ties"], arithmetic="reciprocal").ok


DEVIATIONS = {
    "NumPy formula": {"type and shape", "several channels"},
    "PyTorch": {"NaN", "beside ties"},
    "PyTorch per channel": {"NaN", "infinities"},
    "PyTorch learnable": {"learnable gradients"},
    "JAX clip(round)": {"gradient inside"},
    "JAX clip(round), custom gradient": {"gradient at the ends"},
    "JAX x + stop_gradient(q - x)": {"gradient outside", "infinities"},
    "ONNX Runtime": {"NaN"},
    "OpenVINO": {"ties", "NaN"},
    "TensorFlow": {"ties", "gradient at the ends"},
    "TensorFlow per channel": {"ties", "gradient at the ends"},
}


@pytest.mark.parametrize("name", DEVIATIONS)
@pytest.mark.filterwarnings("ignore")
def test_known_deviations_are_found(name):
    candidate = next((one for one in CANDIDATES if one.name == name), None)
    if candidate is None:
        pytest.skip("; ".join(ABSENT))
    report = check(candidate, sorted({*DEVIATIONS[name], "empty", "input unmodified"}), examples=40)
    assert {one.law for one in report.failures} == DEVIATIONS[name]


def test_importing_fq_loads_neither_hypothesis_nor_a_framework():
    code = "import sys, fq; print([m for m in ('hypothesis', 'torch', 'jax', 'fq.testing') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_hypothesis_the_error_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import fq.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'ImportError: fq.testing needs hypothesis: pip install "fq[testing]"' in done.stderr
