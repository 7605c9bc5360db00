"""Networks that other packages ship, where they are installed: mixed bits gain on each, and the prediction holds."""

import importlib.util
import json
from pathlib import Path

import pytest

from fq.__main__ import main
from fq.report.statistics import CLIPS

# A package, the file in it, and what else reads it.
FILES = [
    ("silero_vad", "data/silero_vad_16k.safetensors", "safetensors"),
    ("silero_vad", "data/silero_vad_half.onnx", "onnx"),
    ("nudenet", "320n.onnx", "onnx"),
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", "onnx"),
    ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", "onnx"),
    ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", "onnx"),
    ("magika", "models/standard_v3_3/model.onnx", "onnx"),
    ("facenet_pytorch", "data/onet.pt", "torch"),
    ("basic_pitch", "saved_models/icassp_2022/nmp.onnx", "onnx"),
]


def shipped(package, file, reader):
    pytest.importorskip(reader)
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    path = Path(found.submodule_search_locations[0]) / file
    if not path.is_file():
        pytest.skip(f"this version of {package} has another file")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("package", "file", "reader"), FILES, ids=[Path(file).name for _, file, _ in FILES])
def test_mixed_bits_gain_a_decibel_at_the_size_of_four(package, file, reader, capsys):
    assert main(["report", str(shipped(package, file, reader)), "--budget", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["budget"]["used"] <= 4
    assert found["budget"]["sqnr"] >= dict(found["uniform"])[4] + 1
    for one in found["tensors"]:
        for clip in CLIPS if len(one["shape"]) > 1 and one["sqnr"] else ():
            for predicted, real in zip(one["predicted"][clip], one["sqnr"]["tensor"][clip], strict=True):
                assert real is None or min(predicted, 100) == pytest.approx(min(real, 100), abs=0.1), one["name"]
