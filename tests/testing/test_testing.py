"""fq.testing: its strategies draw what they say and shrink, and its reports tell the truth and are the same twice."""

import dataclasses
import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

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
    render,
    strategies,
    table,
)
from fq.testing.candidates import load
from fq.testing.report import FAILS, HOLDS, LAST_BITS, NOT_APPLICABLE
from fq.testing.search import _judged
from fq.testing.subject import Subject

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


@pytest.mark.slow
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
    report = check(half_away, FEW, examples=30)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


MADE = {
    "candidate": "one",
    "arithmetic": "divide",
    "seed": 0,
    "examples": 1,
    "results": [
        {
            "law": "ties",
            "status": "fails",
            "reason": "",
            "counterexample": {"parameters": {"x": "float32"}, "x": ["1"], "expected": ["2"], "found": ["3"]},
        }
    ],
    "versions": {"fq": "0"},
    "about": "",
}
DEEP = "[" * 900 + "]" * 900


def changed(path, value):
    made = json.loads(json.dumps(MADE))
    *way, last = path
    at = made
    for step in way:
        at = at[step]
    at[last] = value
    return made


HOSTILE_REPORTS = {
    "nothing": None,
    "a list": [MADE],
    "a field missing": {name: value for name, value in MADE.items() if name != "seed"},
    "a field of another version": {**MADE, "time": 1},
    "a candidate of lines": changed(["candidate"], "a\n# b"),
    "half a surrogate": changed(["candidate"], "\ud800"),
    "no arithmetic": changed(["arithmetic"], "float"),
    "arithmetic of a list": changed(["arithmetic"], ["divide"]),
    "a seed of text": changed(["seed"], "0"),
    "NaN examples": changed(["examples"], float("nan")),
    "results of text": changed(["results"], "ties"),
    "a result of text": changed(["results", 0], "ties"),
    "another status": changed(["results", 0, "status"], "unknown"),
    "a status of a dict": changed(["results", 0, "status"], {}),
    "fails without a counterexample": changed(["results", 0, "counterexample"], None),
    "holds with a counterexample": changed(["results", 0, "status"], "holds"),
    "a law of a number": changed(["results", 0, "law"], 3),
    "numbers for text": changed(["results", 0, "counterexample", "x"], [1.0]),
    "no numbers": changed(["results", 0, "counterexample", "found"], []),
    "no type": changed(["results", 0, "counterexample", "parameters"], {}),
    "nested": changed(["results", 0, "counterexample", "parameters"], {"x": json.loads(DEEP)}),
    "versions of a list": changed(["versions"], ["fq"]),
    "a version of nothing": changed(["versions"], {"fq": None}),
}


def test_a_report_is_made_of_what_to_dict_gives():
    assert Report.from_dict(MADE).to_dict() == Report.from_dict(json.loads(json.dumps(MADE))).to_dict()


@pytest.mark.parametrize("made", HOSTILE_REPORTS)
def test_a_report_of_anything_else_is_refused(made):
    with pytest.raises(ValueError, match=r"report|result|counterexample"):
        Report.from_dict(HOSTILE_REPORTS[made])


def test_markdown_shows_names_as_they_are():
    name = "<b>a</b> | `b` *c* _d_ [e](f) # \\ &amp; ~g~\n# h"
    report = Report.from_dict({**MADE, "about": "Uses `x | y` and <i>z</i>,\nor | a ` tick."})
    report = dataclasses.replace(report, candidate=name, versions={"<v>": "`1`"})
    text = render.markdown([report], "python -m fq\n# hostile")
    heading = next(line for line in text.splitlines() if line.startswith("### "))
    assert heading == (r"### \<b\>a\</b\> \| \`b\` \*c\* \_d\_ \[e\](f) \# \\ \&amp; \~g\~ \# h")
    assert r"Uses `x | y` and \<i\>z\</i\>, or \| a \` tick." in text
    assert r"with \<v\> \`1\`; seed 0" in text
    assert "    python -m fq # hostile\n" in text
    assert "\n# h" not in text.removeprefix("# Where")
    table = text[text.index('<div class="wide">') : text.index("</div>")]
    assert "&lt;b&gt;a&lt;/b&gt;" in table
    assert "\n\n" not in table


def test_a_name_of_backticks_ends_no_code():
    report = Report.from_dict(changed(["results", 0, "counterexample", "found"], ["a `b`` c", ""]))
    text = render.markdown([dataclasses.replace(report, candidate="```")], "run")
    assert '<th scope="col">```</th>' in text
    assert "found ``` a `b`` c ``` (`  `)" in text


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


# Candidates that do what no fake quantization does


def right(x, *qparams):
    return fq.reference.fake_quantize(x, *qparams)


class Unreadable:
    """Nothing about it can be told."""

    def __array__(self, *_args, **_options):
        raise KeyError("no array")

    def __repr__(self):
        raise RuntimeError("no repr")


class Untold(Exception):
    def __str__(self):
        raise RuntimeError("no message")


def recursive(*args):
    return recursive(*args)


def raises(error):
    def candidate(*_):
        raise error

    return candidate


def writes(x, *qparams):
    y = right(x, *qparams)
    x[...] = 7
    return y


def reshapes(x, *qparams):
    y = right(x, *qparams)
    x.shape = (*x.shape, 1)
    x.flags.writeable = False
    return y


BUFFERS = {}


def reuses_memory(x, *qparams):
    y = BUFFERS.setdefault((x.shape, x.dtype), np.empty_like(x))
    y[...] = right(x, *qparams)
    return y


def sets_errors(x, *qparams):
    np.seterr(all="raise")
    return right(x, *qparams)


NONSENSE = {
    "None": lambda x, *_: None,
    "nothing": lambda x, *_: (),
    "a pair of nothing": lambda x, *_: (None, None),
    "another shape": lambda x, *_: np.zeros((2, 3, 4)),
    "no axis": lambda x, *_: 0.0,
    "an axis more": lambda x, *_: x[None],
    "strings": lambda x, *_: np.full(x.shape, "y"),
    "a string": lambda x, *_: "y",
    "complex": lambda x, *q: right(x, *q) + 0j,
    "objects": lambda x, *q: right(x, *q).astype(object),
    "dates": lambda x, *_: np.zeros(x.shape, "M8[s]"),
    "structures": lambda x, *_: np.zeros(x.shape, "f4,f4"),
    "a masked array": lambda x, *q: np.ma.masked_array(right(x, *q), mask=x > 0),
    "a generator": lambda x, *q: (one for one in right(x, *q)),
    "a dict": lambda x, *_: {"y": x},
    "lists of unequal length": lambda x, *_: [[1], [1, 2]],
    "what is no array": lambda *_: Unreadable(),
    "a class": lambda *_: Unreadable,
    "terabytes": lambda x, *_: np.broadcast_to(np.float32(0), (10**6, 10**6)),
    "SystemExit": raises(SystemExit("bye")),
    "GeneratorExit": raises(GeneratorExit()),
    "pytest.fail": lambda *_: pytest.fail("here"),
    "no message": raises(Untold()),
    "a message of lines": raises(ValueError("a\n\x1b[31mb\ud800")),
    "RecursionError": recursive,
    "MemoryError": raises(MemoryError()),
    "StopIteration": raises(StopIteration()),
    "AssertionError": raises(AssertionError()),
}
EVERYTHING = Supports(("float32", *TYPES[1:]), channels=True, broadcast=True)


@cache
def case_of(law):
    last = []
    how = settings(max_examples=5, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    with np.errstate(all="ignore"), pytest.raises(NoSuchExample):
        find(law.cases(EVERYTHING, "divide"), last.append, settings=how)  # none counts, since append gives None
    return last[-1]


def broken(candidate):
    """The laws that a candidate breaks in one case of each that applies."""
    subject = Subject(candidate, supports=EVERYTHING)
    applied = [law for law in ALL if subject.lacks(law.needs) is None]
    with np.errstate(all="ignore"):
        return {law.name for law in applied if _judged(law, subject, case_of(law), "divide") is not None}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_breaks_every_law_and_ends_no_run(nonsense):
    function = NONSENSE[nonsense]
    optional = ("mask", "gradient", "learnable", "residual", "residual4")
    whole = Candidate("nonsense", function, **dict.fromkeys(optional, function))
    holding = {law.name for law in ALL} - broken(whole)
    without_bfloat16 = {law.name for law in ALL if "bfloat16" in law.name and "bfloat16" not in TYPES}
    assert holding <= {"input unmodified", "empty", "zero-dimensional", *without_bfloat16}
    report = check(function, ["ties", "input unmodified"], examples=2)
    assert report.results[0].status == FAILS
    assert str(report).isprintable() or str(report).count("\n") == 2


def test_what_was_given_is_told():
    told = {name: check(NONSENSE[name], ["ties"], examples=1).failures[0].counterexample for name in NONSENSE}
    assert told["None"].found == ("NoneType",)
    assert told["None"].expected == ("numbers of shape (64,)",)
    assert told["complex"].found == ("ndarray of complex64",)
    assert told["another shape"].found == ("shape (2, 3, 4)",)
    assert told["a masked array"].found == ("MaskedArray",)
    assert told["SystemExit"].found == ("SystemExit: bye",)
    assert told["a message of lines"].found == ("ValueError: a [31mb",)


def test_the_user_can_still_stop_a_run():
    with pytest.raises(KeyboardInterrupt):
        check(raises(KeyboardInterrupt()), ["ties"], examples=2)


@pytest.mark.parametrize("candidate", [right, writes, reshapes, reuses_memory, sets_errors])
def test_what_a_candidate_writes_reaches_no_other_law(candidate):
    whole = Candidate("mine", candidate, mask=lambda *args: fq.reference.forward(*args)[1])
    assert broken(whole) == ({"input unmodified"} if candidate is writes else set())


def test_memory_that_is_used_again_hides_no_difference():
    def loses_infinities(x, *qparams):
        return reuses_memory(np.where(np.isinf(x), x.dtype.type(0), x), *qparams)

    assert not check(loses_infinities, ["infinities"], examples=3).ok


def test_a_law_is_broken_by_writing_into_dy():
    def overwrites(dy, x, *qparams):
        dy[...] = 0
        return fq.reference.backward_recompute(dy, x, *qparams)

    result = check(Candidate("mine", right, gradient=overwrites), ["input unmodified"], examples=2).results[0]
    assert result.status == FAILS
    assert result.counterexample.parameters["input"] == "dy"


@pytest.mark.parametrize("warn", [True, False])
def test_a_candidate_that_prints_and_warns_is_judged_by_its_values(warn, capsys, recwarn):
    import warnings

    def noisy(x, *qparams):
        print("noise")
        if warn:
            warnings.warn("noise", UserWarning, stacklevel=1)
        return right(x, *qparams)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert check(noisy, ["ties"], examples=2).ok
    assert "noise" in capsys.readouterr().out


def test_attributes_that_are_nonsense_are_passed_over_or_refused():
    class Odd:
        name = 3
        about = None
        versions = ("1",)
        forward = staticmethod(right)

        @property
        def gradient(self):
            raise OSError("no\ngradient")

    report = check(Odd(), ["ties", "gradient inside", "mask"], examples=2)
    assert report.candidate == "Odd"
    assert [one.status for one in report.results] == [HOLDS, FAILS, NOT_APPLICABLE]
    assert report.failures[0].counterexample.found == ("AttributeError: gradient: OSError: no gradient",)
    assert check(right, ["ties"], examples=1, name="a\n\tname\x1b[2J").candidate == "a name [2J"
    with pytest.raises(TypeError, match="supports must be a Supports, got 'all'"):
        check(right, supports="all")
    with pytest.raises(TypeError, match="laws are names or of the type Law, got 3"):
        check(right, [3])


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtypes": ()},
        {"dtypes": ("int8",)},
        {"dtypes": "float32"},
        {"ranges": ()},
        {"ranges": ((7, -8),)},
        {"ranges": ((0.0, 1.0),)},
        {"ranges": (3,)},
    ],
)
def test_supports_refuses_what_no_law_can_draw(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be a tuple of .*, got "):
        Supports(**wrong)


# Candidates made of another framework's functions


def test_functions_of_pytorch_are_called_with_tensors():
    torch = pytest.importorskip("torch")
    leaf = torch.ones((), requires_grad=True)
    seen = set()

    class OfTensors:
        name = "of tensors"
        supports = Supports(("float32", *(["bfloat16"] if "bfloat16" in TYPES else [])), channels=True)

        @staticmethod
        def forward(x, scale, zero_point, qmin, qmax):
            seen.add((type(x), type(scale)))
            level = torch.clamp(torch.round(x / scale) + zero_point, qmin, qmax)
            return (level - zero_point) * scale * leaf

        @staticmethod
        def gradient(dy, x, scale, zero_point, qmin, qmax):
            level = torch.round(x / scale) + zero_point
            return dy * ((qmin <= level) & (level <= qmax))

    laws = ["ordinary values", "ends", "several channels", "gradient at the ends", "non-contiguous", "empty"]
    report = assert_equivalent(OfTensors(), [*laws, "type and shape", "input unmodified"], examples=5)
    assert all(result.status == HOLDS for result in report.results)
    assert seen == {(np.ndarray, np.float32), (torch.Tensor, float), (torch.Tensor, torch.Tensor)}


@pytest.mark.parametrize(
    "given",
    [
        lambda torch, y: y.requires_grad_(),
        lambda torch, y: torch.nn.Parameter(y),
        lambda torch, y: (y, y > 0),
        lambda torch, y: torch.complex(y, -y).conj().imag,
        lambda torch, y: y.to_sparse(),
        lambda torch, y: y.double(),
    ],
)
def test_a_tensor_that_numpy_does_not_take_is_judged_by_its_values(given):
    torch = pytest.importorskip("torch")
    assert check(lambda *args: given(torch, torch.from_numpy(right(*args))), ["ties", "ends"], examples=3).ok


def test_a_tensor_without_values_breaks_laws():
    torch = pytest.importorskip("torch")
    for wrong in (torch.empty(64, device="meta"), torch.ones(64, dtype=torch.complex64), torch.ones(3)):
        report = check(lambda *_, wrong=wrong: wrong, ["ties", "ends"], examples=2)
        assert [one.status for one in report.results] == [FAILS, FAILS]


def test_functions_of_jax_are_called_with_its_arrays():
    pytest.importorskip("jax")

    def only_of_jax(x, scale, zero_point, qmin, qmax):
        level = (x.at[...].get() / scale).round() + zero_point
        return (level.clip(qmin, qmax) - zero_point) * scale

    assert check(only_of_jax, ["ordinary values", "ends", "any length"], examples=3).ok


def test_fq_torch_is_a_candidate():
    torch = pytest.importorskip("torch")
    import fq.torch

    assert isinstance(torch.ones(1), torch.Tensor)
    assert check(fq.torch.fake_quantize, ["ties", "ends", "NaN", "input unmodified"], examples=5).ok


def test_laws_draw_only_what_the_candidate_supports():
    seen = []

    def narrow(x, scale, zero_point, qmin, qmax):
        seen.append((x.dtype.name, np.ndim(scale), zero_point, qmin, qmax))
        return fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)

    supports = Supports(("float64",), ((-128, 127),), zero_points=False)
    report = check(narrow, examples=4, supports=supports)
    assert report.ok
    assert {one[1:] for one in seen[1:]} == {(0, 0, -128, 127)}
    assert {one[0] for one in seen} == {"float64"}
    reasons = {one.law: one.reason for one in report.results if one.status == NOT_APPLICABLE}
    assert reasons["zero points"] == "it takes no zero_point but 0"
    assert reasons["several channels"] == "it takes no scale per channel"
    assert reasons["float16"] == "float16 is not among its other types"


@pytest.mark.parametrize("dtype", TYPES)
def test_any_type_may_be_the_main_one(dtype):
    report = assert_equivalent(fq.forward, examples=3, supports=Supports((dtype,)))
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


@pytest.mark.parametrize("examples", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("arithmetic", ["divide", "reciprocal"])
def test_fq_keeps_every_law_on_every_target(arithmetic, examples):
    for candidate in load(arithmetic)[0]:
        if candidate.name.startswith("fq, "):
            assert_equivalent(candidate, arithmetic=arithmetic, examples=examples)


def test_the_arithmetics_are_told_apart():
    assert not check(fq.reciprocal.fake_quantize, ["beside ties"]).ok
    assert not check(fq.fake_quantize, ["beside ties"], arithmetic="reciprocal").ok
    assert check(fq.reciprocal.fake_quantize, ["beside ties"], arithmetic="reciprocal").ok


DEVIATIONS = {
    "NumPy formula": {"type and shape", "several channels"},
    "PyTorch": {"NaN", "beside ties"},
    "PyTorch per channel": {"NaN", "infinities"},
    "PyTorch learnable": {"learnable empty", "learnable NaN", "learnable sums that cancel", "learnable zero points"},
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
    assert 'ImportError: fq.testing needs hypothesis: in a checkout of fq, pip install -e ".[testing]"' in done.stderr
