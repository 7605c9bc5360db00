"""fq.onnx.calibrate observes what the model computes, batch by batch."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_same, beside_the_tests

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
import networks
from networks import one_matrix, run

import fq
import fq.onnx
from fq.onnx import Weights


def rng():
    return np.random.default_rng(0)


def batches(n):
    made = rng()
    return ({"x": made.standard_normal((2, 4, 8, 8)).astype(np.float32)} for _ in range(n))


def test_what_operators_read_is_observed_over_all_batches():
    given = networks.convolutions(rng())
    observers = fq.onnx.calibrate(given, batches(5))
    assert sorted(observers) == ["f", "r", "x"]
    extended = networks.onnx.ModelProto()
    extended.CopyFrom(given)
    extended.graph.output.add(name="r")
    r = np.concatenate([run(extended, feed, ["r"])[0] for feed in batches(5)])
    assert_same(observers["r"].qparams(8).scale, fq.choose_qparams(r.min(), r.max(), 8).scale)
    assert observers["r"].count == r.size


def test_an_axis_and_names_can_be_given():
    given = networks.convolutions(rng())
    observers = fq.onnx.calibrate(given, batches(2), ["x", "u"], axis={"u": 1})
    assert observers["u"].qparams(8).scale.size == 6
    assert np.ndim(observers["x"].qparams(8).scale) == 0
    rules = {name: one.qparams(8) for name, one in observers.items()} | {"*": Weights(8)}
    assert fq.onnx.verify(fq.onnx.quantize(given, rules), batches(2), given, rules).ok


def test_one_dict_is_one_batch():
    given = networks.convolutions(rng())
    assert fq.onnx.calibrate(given, next(batches(1)))["x"].count == 2 * 4 * 8 * 8


def test_bad_arguments_are_refused():
    given = networks.convolutions(rng())
    with pytest.raises(ValueError, match="the main graph of the model has no activation 'z'"):
        fq.onnx.calibrate(given, batches(1), ["z"])
    with pytest.raises(ValueError, match="axis names 'y', which is not observed"):
        fq.onnx.calibrate(given, batches(1), ["x"], axis={"y": 0})
    with pytest.raises(ValueError, match="there are no feeds: nothing was observed"):
        fq.onnx.calibrate(given, [])
    with pytest.raises(ValueError, match="feed 0: the model has no input 'y'"):
        fq.onnx.calibrate(given, {"y": 1})
    shape = networks.model(
        [networks.helper.make_node("Shape", ["x"], ["s"])],
        [networks.value("x", ["n"])],
        [networks.value("s", [1], 7)],
        {},
    )
    with pytest.raises(ValueError, match="the model has no activation that"):
        fq.onnx.calibrate(shape, [{"x": np.ones(2, np.float32)}])
    with pytest.raises(TypeError, match="'s' is of type int64"):
        fq.onnx.calibrate(shape, [{"x": np.ones(2, np.float32)}], ["s"])
    assert one_matrix(np.ones((2, 2), np.float32)).graph.output[0].name == "y"


_MEMORY = """
import resource, sys
import numpy as np
import fq.onnx, networks

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

given = networks.convolutions(np.random.default_rng(0))
def feeds(n):
    rng = np.random.default_rng(1)
    for k in range(n):
        if k == 100:
            marks.append(peak())
        yield {"x": rng.standard_normal((16, 4, 8, 8)).astype(np.float32)}
marks = []
fq.onnx.calibrate(given, feeds(1000))
print(marks[0], peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource is not on Windows")
def test_memory_does_not_grow_with_the_number_of_batches():
    environment = beside_the_tests()
    environment["PYTHONPATH"] = f"{networks.__file__.rpartition('/')[0]}:{environment['PYTHONPATH']}"
    done = subprocess.run([sys.executable, "-c", _MEMORY], env=environment, capture_output=True, text=True, check=True)
    after_100, after_1000 = map(int, done.stdout.split())
    assert after_1000 - after_100 < 2048  # kilobytes; 900 batches of activations are 240,000
