"""Each law catches the mutant it names, and no other law does; the reference breaks none."""

from functools import cache
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample
from mutants import ALL_TYPES, COARSE, MORE, MUTANTS, Reference, mutant

from fq.testing import ALL, Supports, check, law_named
from fq.testing.subject import CandidateError, Subject

pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")

SPECIFIC = {**MUTANTS, **MORE}


@cache
def cases_of(law):
    """Cases of a law, drawn once for all mutants."""
    drawn = []

    def kept(case):
        drawn.append(case)
        return False

    how = settings(max_examples=60, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    supports = Supports(dtypes=ALL_TYPES, channels=True)
    with np.errstate(all="ignore"), pytest.raises(NoSuchExample):
        find(law.cases(supports, "divide"), kept, settings=how, random=Random(7))
    return drawn


def caught_by(candidate, law):
    subject = Subject(candidate)
    for case in cases_of(law):
        try:
            with np.errstate(all="ignore"):
                found = law.judge(subject, _copied(case), "divide")
        except CandidateError:
            return True
        if found is not None:
            return True
    return False


def _copied(case):
    """A mutant may write into its input."""
    if hasattr(case, "x"):
        return case._replace(x=case.x.copy())
    return case[0]._replace(x=case[0].x.copy()), *case[1:]


@pytest.mark.parametrize("law", ALL, ids=lambda law: law.name)
def test_the_reference_keeps_every_law(law):
    assert not caught_by(Reference(), law)


@pytest.mark.parametrize("name", SPECIFIC)
def test_a_mutant_is_caught_by_the_laws_that_name_it(name):
    method, replacement, expected = SPECIFIC[name]
    report = check(mutant(method, replacement), sorted(expected), examples=40)
    assert {result.law for result in report.failures} == expected


@pytest.mark.parametrize("name", SPECIFIC)
def test_a_mutant_is_caught_by_no_unrelated_law(name):
    method, replacement, expected = SPECIFIC[name]
    candidate = mutant(method, replacement)
    assert {law.name for law in ALL if law.name not in expected and caught_by(candidate, law)} == set()


@pytest.mark.parametrize("name", COARSE)
def test_a_coarse_mutant_is_caught_by_its_laws_among_others(name):
    replacement, expected = COARSE[name]
    assert {one for one in expected if caught_by(mutant("forward", replacement), law_named(one))} == expected


def test_every_law_is_named_by_a_mutant():
    named = set().union(*(expected for *_, expected in [*SPECIFIC.values(), *COARSE.values()]))
    assert named == {law.name for law in ALL}


def test_the_smallest_counterexample_of_rounding_half_away_is_one_half():
    found = check(mutant(*MUTANTS["round half away"][:2]), ["ties"]).failures[0].counterexample
    assert found.parameters["scale"] == ("1.0", "0x1.0000000000000p+0")
    assert (found.parameters["zero_point"], found.parameters["qmin"], found.parameters["qmax"]) == (("0",), "-8", "7")
    assert (found.x[0], found.expected[0], found.found[0]) == ("0.5", "0.0", "1.0")
