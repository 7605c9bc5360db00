"""What the tests share: the SIMD targets of this machine, hypothesis profiles, and equality to the last bit."""

import os

import hypothesis
import numpy as np
import pytest

from fq import _core

# In CI a change is judged by the same examples each time; new ones are drawn everywhere else.
SETTINGS = {"deadline": None, "derandomize": bool(os.environ.get("CI"))}
hypothesis.settings.register_profile("quick", max_examples=20, **SETTINGS)
hypothesis.settings.register_profile("whole", max_examples=60, **SETTINGS)
hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None)


def pytest_configure(config):
    if config.getoption("hypothesis_profile", None) is None:
        hypothesis.settings.load_profile("quick" if config.option.markexpr == "not slow" else "whole")


@pytest.fixture(params=_core.targets())
def target(request):
    """Runs the test once on every SIMD target that this machine has."""
    before = _core.target()
    _core._set_target(request.param)
    yield request.param
    _core._set_target(before)


@pytest.fixture(autouse=True)
def no_floating_point_warnings():
    with np.errstate(divide="raise", over="raise", invalid="raise"):  # underflow: NumPy's own casts of a scale
        yield
