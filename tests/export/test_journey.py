"""The page that takes a text recognizer from its file to 4 bits: its examples run, and its pictures show them."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the page is only in the checkout")


@pytest.fixture
def journey(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("docs.figures.journey")


@pytest.mark.slow
def test_the_examples_of_the_journey_run_and_give_what_its_pictures_show(journey):
    for package in ("onnx", "onnxruntime", "PIL"):
        pytest.importorskip(package)
    importlib.import_module("networks").file_of("ocr-rec")  # found by its place: its package would import OpenCV
    page, shown = journey.names_of_the_page(), json.loads(journey.FILE.read_text("utf-8"))
    found = journey.weights_of(page)
    assert [(one["name"], one["four"]) for one in found] == [(one["name"], one["four"]) for one in shown["weights"]]
    small = next(one for one in shown["models"] if one["name"] == f"4 bits from {journey.LEAST} dB")
    assert page["small"].ByteSize() == pytest.approx(small["bytes"], rel=0.01)  # onnx's writer may change


def test_the_pictures_of_the_journey_show_that_the_rule_takes_what_is_marked(journey):
    shown = json.loads(journey.FILE.read_text("utf-8"))
    for one in shown["weights"]:
        assert one["four"] is (one["size"] >= journey.LARGE and one["decibels"] >= journey.LEAST)
    page = journey.PAGE.read_text("utf-8")
    assert f">= {journey.LARGE:_} and decibels[name] >= {journey.LEAST}]" in page
    small = next(one for one in shown["models"] if one["name"] == f"4 bits from {journey.LEAST} dB")
    assert f"{small['bytes'] / 1e6:.2f} MB, " in page
    assert small["text"] == journey.LINE


def test_an_example_of_the_journey_that_fails_stops_the_figures(journey, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(">>> 1 + 1\n3\n", "utf-8")
    monkeypatch.setattr(journey, "PAGE", page)
    with pytest.raises(ValueError, match="1 examples"):
        journey.names_of_the_page()
