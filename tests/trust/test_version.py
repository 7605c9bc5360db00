"""The version stands in one place, fq/__init__.py: what is installed, and what is to be cited, agrees."""

from importlib import metadata
from pathlib import Path

import pytest

import fq

ROOT = Path(__file__).resolve().parents[2]


def test_installed_version_is_that_of_the_source():
    try:
        installed = metadata.version("fq")
    except metadata.PackageNotFoundError:
        pytest.skip("fq is not installed, but run from its source")
    assert installed == fq.__version__


@pytest.mark.parametrize("name", ["CITATION.cff", "pyproject.toml", "setup.py"])
def test_no_other_file_repeats_the_version(name):
    if not (ROOT / name).exists():
        pytest.skip("no checkout")
    assert f'"{fq.__version__}"' not in (ROOT / name).read_text()
    assert f"version: {fq.__version__}" not in (ROOT / name).read_text()
