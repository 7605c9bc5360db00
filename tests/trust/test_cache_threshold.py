"""From which output on stores are non-temporal: a share of the last-level cache, or what is asked for."""

import os
import subprocess
import sys

import pytest

from fq import _core


def threshold(**environment):
    """What a new process prints, or the last line of its error."""
    code = "from fq import _core; print(_core.cache_threshold())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_the_machine_says_it_in_bytes():
    assert 2**16 <= _core.cache_threshold() <= 2**32
    assert threshold(FQ_STREAM_FROM="") == str(_core.cache_threshold())


@pytest.mark.parametrize("bytes_", [1, 12345, 2**40])
def test_the_environment_sets_it(bytes_):
    assert threshold(FQ_STREAM_FROM=str(bytes_)) == str(bytes_)


def test_zero_bytes_are_any():
    assert threshold(FQ_STREAM_FROM="0") == "1"


@pytest.mark.parametrize("bad", ["much", "1e6", "-1", " 5", "5 MiB", "9" * 30])
def test_no_number_of_bytes_is_an_import_error(bad):
    assert threshold(FQ_STREAM_FROM=bad) == f"ImportError: FQ_STREAM_FROM must be a number of bytes, got {bad}"
