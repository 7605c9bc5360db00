"""Each law catches the mutant it names, and no other law does; the reference breaks none."""

from functools import cache
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample
from mutants import COARSE, MORE, MUTANTS, Reference, mutant

from fq.testing import ALL, check, law_named
from fq.testing.subject import CandidateError, Subject

pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")

SPECIFIC = {**MUTANTS, **MORE}
OPTIONAL = "mask", "gradient", "learnable", "residual", "residual4"


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


def caught_by(candidate, law, count=None):
    """Whether one of the cases, or of the last `count`, breaks the law."""
    subject = Subject(candidate)
    cases = cases_of(law)
    with np.errstate(all="ignore"):
        return any(_breaks(law, subject, case) for case in cases[-(count or len(cases)) :])


def _breaks(law, subject, case):
    try:
        return law.judge(subject, case, "divide") is not None
    except CandidateError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("law", ALL, ids=lambda law: law.name)
def test_the_reference_keeps_every_law(law):
    assert not caught_by(Reference(), law)


def calls(method, law):
    """Whether judging the law calls this method of the candidate."""
    optional = set(OPTIONAL) & set(law.needs)
    return law.name == "input unmodified" or (method in optional if optional else method == "forward")


@pytest.mark.parametrize("name", SPECIFIC)
def test_a_mutant_is_caught_by_the_laws_that_name_it(name):
    method, replacement, expected = SPECIFIC[name]
    assert {one for one in expected if caught_by(mutant(method, replacement), law_named(one))} == expected


@pytest.mark.parametrize("count", [8, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SPECIFIC)
def test_a_mutant_is_caught_by_no_unrelated_law(name, count):
    method, replacement, expected = SPECIFIC[name]
    candidate = mutant(method, replacement)
    others = [law for law in ALL if law.name not in expected and calls(method, law)]
    assert [law.name for law in others if caught_by(candidate, law, count)] == []


@pytest.mark.parametrize("law", ALL, ids=lambda law: law.name)
def test_a_law_calls_the_methods_that_it_needs_and_no_other(law):
    methods = ("forward", *OPTIONAL)
    called = set()

    def counted(method):
        function = getattr(Reference(), method)

        def replacement(*args):
            called.add(method)
            return function(*args)

        return replacement

    candidate = Reference()
    for method in methods:
        setattr(candidate, method, counted(method))
    subject = Subject(candidate)
    called.clear()
    assert not _breaks(law, subject, cases_of(law)[-1])
    assert called == {method for method in methods if calls(method, law)} - (
        {"mask"} if law.name == "input unmodified" else set()
    )


@pytest.mark.parametrize("name", COARSE)
def test_a_coarse_mutant_is_caught_by_its_laws_among_others(name):
    replacement, expected = COARSE[name]
    assert {one for one in expected if caught_by(mutant("forward", replacement), law_named(one))} == expected


def test_every_law_is_named_by_a_mutant():
    named = set().union(*(expected for *_, expected in [*SPECIFIC.values(), *COARSE.values()]))
    assert named == {law.name for law in ALL}


def test_every_law_of_the_learnable_gradient_has_a_mutant_that_no_other_law_catches():
    alone = {one for _, _, expected in SPECIFIC.values() if len(expected) == 1 for one in expected}
    assert {law.name for law in ALL if "learnable" in law.needs} <= alone


def test_the_smallest_counterexample_of_rounding_half_away_is_one_half():
    found = check(mutant(*MUTANTS["round half away"][:2]), ["ties"]).failures[0].counterexample
    assert found.parameters["scale"] == ("1.0", "0x1.0000000000000p+0")
    assert (found.parameters["zero_point"], found.parameters["qmin"], found.parameters["qmax"]) == (("0",), "-8", "7")
    assert (found.x[0], found.expected[0], found.found[0]) == ("0.5", "0.0", "1.0")
