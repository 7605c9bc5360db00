"""Each law of integers catches the mutant that breaks it, and no other law does; candidates are judged as they are."""

from functools import cache
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample
from quantizer_mutants import MUTANTS, Reference

import fq
from fq.testing import OF_INTEGERS, QuantizerSubject, assert_quantizer, check_quantizer, law_named
from fq.testing.candidates import load_quantizers
from fq.testing.subject import CandidateError, Supports

pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")

CANDIDATES, ABSENT = load_quantizers()


@cache
def cases_of(law):
    """Cases of a law, drawn once for all mutants."""
    drawn = []

    def kept(case):
        drawn.append(case)
        return False

    how = settings(max_examples=30, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    with np.errstate(all="ignore"), pytest.raises(NoSuchExample):
        find(law.cases(Reference.supports, "divide"), kept, settings=how, random=Random(7))
    return drawn


def catches(law, candidate):
    subject = QuantizerSubject(candidate)
    with np.errstate(all="ignore"):
        return any(breaks(law, subject, case) for case in cases_of(law))


def breaks(law, subject, case):
    try:
        return law.judge(subject, case, "divide") is not None
    except CandidateError:
        return True


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_its_law_alone(name):
    method, replacement, expected = MUTANTS[name]
    candidate = Reference()
    setattr(candidate, method, replacement)
    assert [law.name for law in OF_INTEGERS if catches(law, candidate)] == [expected]


def test_every_law_has_a_mutant():
    assert [expected for *_, expected in MUTANTS.values()] == [law.name for law in OF_INTEGERS]


def test_the_reference_keeps_every_law():
    assert [law.name for law in OF_INTEGERS if catches(law, Reference())] == []


def test_a_law_has_a_name_and_one_sentence():
    for law in OF_INTEGERS:
        assert law.meaning.endswith(".")
        assert ". " not in law.meaning.replace("0.0", "")
        assert law_named(law.name, OF_INTEGERS) is law
    with pytest.raises(ValueError, match="no law 'ties': there are levels, level ties"):
        law_named("ties", OF_INTEGERS)


@pytest.mark.parametrize("examples", [3, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("arithmetic", ["divide", "reciprocal"])
def test_fq_keeps_every_law_on_every_target(arithmetic, examples):
    for candidate in load_quantizers(arithmetic)[0]:
        if candidate.name.startswith("fq, "):
            report = assert_quantizer(candidate, arithmetic=arithmetic, examples=examples)
            assert {one.status for one in report.results} == {"holds"}


# What each does differently of the laws that it is asked about.
DEVIATIONS = {
    "NumPy formula": {"levels of infinities", "level of NaN"},
    "PyTorch": {"level of NaN"},
    "JAX clip(round)": {"level of NaN"},
    "ONNX Runtime": {"level of NaN"},
    "ONNX's storage": set(),
}


@pytest.mark.parametrize("name", DEVIATIONS)
@pytest.mark.filterwarnings("ignore")
def test_known_deviations_are_found(name):
    candidate = next((one for one in CANDIDATES if one.name == name), None)
    if candidate is None:
        pytest.skip("; ".join(ABSENT))
    asked = {"level ties", "levels stay in range", "level of NaN", "levels of infinities", "round trip", "packed bytes"}
    report = check_quantizer(candidate, sorted(asked), examples=40)
    assert {one.law for one in report.failures} == DEVIATIONS[name]


def test_what_a_quantizer_lacks_is_told():
    found = {one.law: one.reason for one in check_quantizer(fq.quantize, examples=2).results}
    assert found["round trip"] == "it gives no values of levels"
    assert found["packed bytes"] == "it packs no integers"
    assert found["levels in float16"] == "float16 is not among its other types"
    wide = Supports(ranges=((0, 255),))
    report = check_quantizer(Reference(), ["packed bytes"], supports=wide)
    assert report.results[0].reason == "it takes no range of 4 bits"


def test_floats_are_no_levels():
    def floats(x, scale, zero_point, qmin, qmax):
        return np.asarray(fq.quantize(x, scale, zero_point, qmin, qmax)).astype(float)

    found = check_quantizer(floats, ["levels"], examples=5).failures[0].counterexample
    assert (found.expected, found.found) == (("integers",), ("levels of float64",))
    with pytest.raises(AssertionError, match=r"floats differs:\n. levels: fails"):
        assert_quantizer(floats, ["levels"], examples=5)
    with pytest.raises(TypeError, match="an object with a method quantize"):
        check_quantizer(3)


def test_integers_of_ml_dtypes_are_levels():
    def four_bits(x, scale, zero_point, qmin, qmax):
        import ml_dtypes

        return fq.quantize(x, scale, zero_point, qmin, qmax, ml_dtypes.int4)

    assert assert_quantizer(four_bits, supports=Supports(ranges=((-8, 7),)), examples=10).ok
