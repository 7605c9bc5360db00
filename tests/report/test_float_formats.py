"""The float formats of a report: the noise of real fake quantization, of whole rows and of pieces of them."""

import json

import numpy as np
import pytest

import fq
from fq.report import statistics, table
from fq.report.formats import FORMATS
from fq.report.page import as_html
from fq.report.report import Report
from fq.report.tensors import Tensor


def measured(x):
    tensor = Tensor("weight", x.shape, str(x.dtype), lambda: x)
    return statistics.measure(tensor, x, 100, lambda done: None)


def expected(name, x):
    one = FORMATS[name]
    if name in ("e4m3fn", "e5m2"):
        y = fq.floats.fake_quantize(x, abs(x).max(1, keepdims=True) / one.max, *one)
    else:
        y = fq.blocks.fake_quantize(x, one)
    noise = ((y - x.astype(np.float64)) ** 2).sum()
    return 10 * np.log10((x.astype(np.float64) ** 2).sum() / noise)


@pytest.mark.parametrize("shape", [(40, 100), (3, 200_000)])
def test_it_is_the_noise_of_fake_quantization(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = measured(x).formats
    assert list(found) == list(FORMATS)
    for name, dB in found.items():
        assert dB == pytest.approx(expected(name, x), abs=1e-3), name
    assert found["mxfp8_e4m3"] > found["mxfp6_e2m3"] - 1 > found["mxfp4"]
    assert found["nvfp4"] > found["mxfp4"]


def test_values_that_are_not_finite_or_tiny_make_no_trouble():
    x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    x[0, 0], x[1, 1], x[2] = np.nan, np.inf, 0
    assert all(dB is not None and np.isfinite(dB) for dB in measured(x).formats.values())
    assert measured(x * np.float32(1e-30)).formats.keys() == FORMATS.keys()


def test_all_that_is_written_has_them():
    x = np.random.default_rng(2).standard_normal((40, 100)).astype(np.float32)
    report = Report("file", "npz", 100, [measured(x)])
    report.plan(None)
    mean = report.mean_formats()
    assert mean == pytest.approx(report.tensors[0].formats)
    assert json.loads(json.dumps(report.to_dict()))["mean_formats"] == mean
    for name, dB in mean.items():
        for text in (table.as_text(report), as_html(report)):
            assert name in text
            assert f"{dB:.1f}" in text
        assert f"sqnr_{name}" in table.as_csv(report).splitlines()[0]
