"""The examples of the gallery run as they stand, give a picture and a line, and have the pages made of them."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "gallery"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the gallery is only in the checkout")


@pytest.fixture
def gallery(monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("docs.figures.gallery")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_gives_a_picture_and_a_line(gallery, name):
    for package in ("sklearn", *gallery.NEEDS.get(name, [])):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    shown = gallery.run(FOLDER / f"{name}.py")
    assert shown.printed
    assert shown.picture.startswith("<?xml")


def test_every_example_has_a_card_and_the_page_that_its_first_line_makes(gallery):
    assert sorted(gallery.TITLES) == NAMES
    assert (FOLDER / "index.md").read_text("utf-8") == gallery.index()
    for name in NAMES:
        page = (FOLDER / f"{name}.md").read_text("utf-8")
        printed = page.partition("```text\n")[2].partition("\n```")[0]
        assert printed
        assert page == gallery.page(name, printed)
        assert (FOLDER / f"{name}.svg").is_file()


def test_examples_are_short(gallery):
    for path in gallery.examples():
        assert len(path.read_text("utf-8").splitlines()) <= 70
