"""The examples of the gallery run as they stand, give a picture and a line, and have the pages made of them."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "gallery"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the gallery is only in the checkout")


@pytest.fixture
def gallery(monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("docs.figures.gallery")


def packages(path):
    """What an example imports, and what it looks for with find_spec."""
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "find_spec":
            yield node.args[0].value
    if "load_sample_image" in text:
        yield "PIL"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_draws_a_picture_and_prints_what_its_page_shows(gallery, name):
    absent = sorted(one for one in {*packages(FOLDER / f"{name}.py")} if importlib.util.find_spec(one) is None)
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    shown = gallery.run(FOLDER / f"{name}.py")
    printed = (FOLDER / f"{name}.md").read_text("utf-8").partition("```text\n")[2].partition("\n```")[0]
    assert NUMBER.sub("N", shown.printed) == NUMBER.sub("N", printed)
    # What is trained differs a little between libraries of linear algebra.
    now, then = ([float(one) for one in NUMBER.findall(text)] for text in (shown.printed, printed))
    assert now == pytest.approx(then, rel=0.15)
    assert shown.picture.startswith("<?xml")


def test_every_example_has_a_card_and_the_page_that_its_first_line_makes(gallery):
    assert sorted(gallery.TITLES) == NAMES
    assert (FOLDER / "index.md").read_text("utf-8") == gallery.index()
    for name in NAMES:
        page = (FOLDER / f"{name}.md").read_text("utf-8")
        printed = page.partition("```text\n")[2].partition("\n```")[0]
        assert printed
        assert page == gallery.page(name, printed)
        picture = (FOLDER / f"{name}.svg").read_text("utf-8")
        assert "prefers-color-scheme: dark" in picture
        assert len(picture) < 300_000


def test_examples_are_short(gallery):
    for path in gallery.examples():
        assert len(path.read_text("utf-8").splitlines()) <= 70
