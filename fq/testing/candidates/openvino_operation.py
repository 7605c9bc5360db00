"""OpenVINO's operation FakeQuantize, on the CPU."""

import sys
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from fq.testing.strategies import RANGES
from fq.testing.subject import Candidate, Supports

modules: dict[str, Any] = sys.modules
modules.setdefault("openvino_telemetry", None)  # which would fork, and report over the network, at import
openvino = import_module("openvino")
opset = import_module("openvino.opset13")

_ABOUT = """\
`FakeQuantize` is given the ends of the range as values and the number of levels, in place of scale and zero_point, and
computes round((x - low) / (high - low) * (levels - 1)) / (levels - 1) * (high - low) + low in float32: it counts levels
from the low end, so ties go to the other side where zero_point - qmin is odd. With 255
levels and ends that differ from channel to channel it makes 256. Tried with no more than that: at 65,536 its
low-precision transformations fail."""


def candidates(_arithmetic: str) -> list[Candidate]:
    """One."""
    ranges = tuple(one for one in RANGES if one[1] - one[0] < 256)
    supports = Supports(("float32",), ranges, channels=True)
    return [Candidate("OpenVINO", _forward, supports, _ABOUT, {"OpenVINO": openvino.__version__.split("-")[0]})]


@lru_cache(512)
def _request(rank: Any, shape: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    """scale and zero_point are the bytes of arrays of a shape: the ends of the range must be constants."""
    scale = np.frombuffer(scale, np.float32).reshape(shape)
    zero_point = np.frombuffer(zero_point, np.int64).reshape(shape)
    low, high = (((level - zero_point) * scale).astype(np.float32) for level in (qmin, qmax))
    x = opset.parameter(openvino.PartialShape([-1] * rank), np.float32)
    model = openvino.Model([opset.fake_quantize(x, low, high, low, high, qmax - qmin + 1)], [x])
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(model, "CPU", options).create_infer_request()


def _forward(x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    shape = np.shape(scale)
    zero_points = np.broadcast_to(np.int64(zero_point), shape)
    request = _request(x.ndim, shape, np.float32(scale).tobytes(), zero_points.tobytes(), qmin, qmax)
    request.infer([np.ascontiguousarray(x).reshape(x.shape)])
    return request.get_output_tensor(0).data.copy()
