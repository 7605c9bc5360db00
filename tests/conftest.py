"""What the tests share: the SIMD targets of this machine, hypothesis profiles, and equality to the last bit."""

import os

import hypothesis
import numpy as np
import pytest

from fq import _core

hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.register_profile("whole", deadline=None, max_examples=60)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True)


def pytest_configure(config):
    quick = config.option.markexpr == "not slow"
    hypothesis.settings.load_profile("quick" if quick else "ci" if os.environ.get("CI") else "whole")


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
