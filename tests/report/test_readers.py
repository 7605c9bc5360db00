"""Every format that `python -m fq report` reads: names, shapes, types, values, and the axis of the output channels."""

import struct
from pathlib import Path

import made_files
import numpy as np
import pytest

from fq.report import readers
from fq.report.files import FORMATS, format_of, load, open_tensors

KINDS = {"a.npy": "npy", "a.pt": "PyTorch", "legacy.pth": "PyTorch", "a.h5": "HDF5", "a.keras": "Keras"}
KINDS |= {"a.npz": "npz", "packed.npz": "npz", "a.safetensors": "safetensors", "a.onnx": "ONNX", "a.gguf": "GGUF"}
KINDS |= {"a.msgpack": "flax"}


@pytest.fixture(params=made_files.MAKERS)
def made(request, tmp_path):
    """(format, tensors, arrays) of a small file."""
    arrays = made_files.arrays()
    path = tmp_path / request.param
    made_files.MAKERS[request.param](path, arrays)
    kind, tensors = open_tensors(path)
    assert kind == KINDS[request.param]
    return path, kind, tensors, arrays


def test_every_format_is_tried():
    assert set(KINDS.values()) == set(FORMATS)
    assert set(KINDS) == set(made_files.MAKERS)


def ends_of(name):
    return [name, name.replace(".", "/")]


def test_every_tensor_is_found_with_its_values(made):
    _, kind, tensors, arrays = made
    path = made[0]
    for name, array in arrays.items():
        array = np.asarray(array)
        if (kind == "npy" and name != "fc.weight") or (kind == "GGUF" and not (array.size and array.ndim)):
            continue
        found = [one for one in tensors if kind == "npy" or any(end in one.name for end in ends_of(name))]
        assert found, name
        assert (found[0].shape, found[0].dtype) == (array.shape, array.dtype.name)
        assert (found[0].load is None) == (array.dtype.kind == "i")
        if found[0].load:
            np.testing.assert_array_equal(load(path, found[0]), array)


def test_every_tensor_can_be_loaded_twice(made):
    path, _, tensors, _ = made
    for one in tensors:
        if one.load:
            np.testing.assert_array_equal(load(path, one), load(path, one))


def test_onnx_knows_the_axis_of_output_channels(tmp_path):
    onnx = pytest.importorskip("onnx")
    weight = np.ones((4, 6), np.float32)
    tensors = [onnx.numpy_helper.from_array(weight, name) for name in ("m", "g", "t", "e", "left")]
    tensors.append(onnx.numpy_helper.from_array(np.ones((4, 6, 1), np.float32), "deconv"))
    tensors.append(onnx.numpy_helper.from_array(np.ones((1, 8, 2), np.float32), "lstm"))
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "m"], ["1"]),
        onnx.helper.make_node("MatMul", ["left", "x"], ["2"]),
        onnx.helper.make_node("Gemm", ["x", "g"], ["3"]),
        onnx.helper.make_node("Gemm", ["x", "t"], ["4"], transB=1),
        onnx.helper.make_node("Gather", ["e", "x"], ["5"]),
        onnx.helper.make_node("ConvTranspose", ["x", "deconv"], ["6"]),
        onnx.helper.make_node("LSTM", ["x", "lstm", "lstm"], ["7"]),
    ]
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], tensors)).SerializeToString())
    axes = {one.name: one.axis % len(one.shape) for one in open_tensors(path)[1]}
    assert axes == {"m": 1, "g": 1, "t": 0, "e": 0, "left": 0, "deconv": 1, "lstm": 1}


def test_onnx_is_the_same_model_without_its_initializers(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "a.onnx"
    made_files.onnx(path, made_files.arrays())
    extra = onnx.ModelProto(producer_name="again", graph=onnx.GraphProto(doc_string="d" * 300))
    extra.graph.initializer.add(name="late", data_type=1, dims=[0])
    path.write_bytes(path.read_bytes() + extra.SerializeToString())  # protocol buffers merge what comes twice
    rest, places = readers._without_initializers(path.read_bytes())
    model = onnx.ModelProto.FromString(rest)
    assert not model.graph.initializer
    model.graph.initializer.extend(onnx.TensorProto.FromString(path.read_bytes()[slice(*place)]) for place in places)
    assert model == onnx.load(path)
    assert model.graph.initializer[-1].name == "late"


def test_onnx_subgraphs_and_external_data_are_read(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, weight = onnx.helper, np.arange(2048, dtype=np.float32).reshape(32, 64)
    inner = helper.make_graph([], "then", [], [], [onnx.numpy_helper.from_array(weight, "inner")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    outer = onnx.numpy_helper.from_array(weight + 1, "outer")
    model = helper.make_model(helper.make_graph([node], "g", [], [], [outer]))
    path = tmp_path / "a.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin")
    found = {one.name: load(path, one) for one in open_tensors(path)[1]}
    np.testing.assert_array_equal(found["outer"], weight + 1)
    np.testing.assert_array_equal(found["inner"], weight)


def test_keras_and_flax_have_their_channels_last(tmp_path):
    for name in ("a.keras", "a.msgpack"):
        made_files.MAKERS[name](tmp_path / name, made_files.arrays())
        for one in open_tensors(tmp_path / name)[1]:
            assert one.load is None or one.axis == (-1 if one.shape else 0), one


@pytest.mark.parametrize(
    ("code", "name"),
    [("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"), ("F16", "float16")],
)
def test_safetensors_of_narrow_floats(tmp_path, code, name):
    pytest.importorskip("safetensors")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    values = np.array([[1, -2, 0.5, 0], [448, -0.25, 3, 1.5]], np.float32).astype(dtype)
    made_files.raw_safetensors(tmp_path / "a.safetensors", [("w", code, values.shape, values.tobytes())])
    (one,) = open_tensors(tmp_path / "a.safetensors")[1]
    assert one.dtype == name
    np.testing.assert_array_equal(load(tmp_path / "a.safetensors", one).astype(np.float32), values.astype(np.float32))


def test_pytorch_of_narrow_floats_and_views(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = {
        "t": whole.T,
        "b": whole.to(torch.bfloat16),
        "f8": whole.to(torch.float8_e4m3fn),
        "i": torch.ones(2, dtype=torch.int8),
    }
    state["s"] = torch.eye(3).to_sparse()
    state["again"] = [state]  # a dict that holds itself
    torch.save(state, tmp_path / "a.pt")
    found = {one.name: one for one in open_tensors(tmp_path / "a.pt")[1]}
    assert set(found) == {"t", "b", "f8", "i", "s"}
    for name in ("t", "b", "f8"):
        array = load(tmp_path / "a.pt", found[name])
        np.testing.assert_array_equal(array.astype(np.float32), state[name].to(torch.float32).numpy())
    assert found["i"].load is None
    assert found["s"].load is None


def test_gguf_expands_what_is_quantized(tmp_path):
    package = pytest.importorskip("gguf")
    arrays = made_files.arrays()
    made_files.gguf(tmp_path / "a.gguf", arrays)
    (packed,) = [one for one in open_tensors(tmp_path / "a.gguf")[1] if one.name == "packed"]
    assert packed.dtype == "Q8_0"
    half = arrays["half"].astype(np.float32)
    expected = package.quants.dequantize(package.quants.quantize(half, package.GGMLQuantizationType.Q8_0), 8)
    np.testing.assert_array_equal(load(tmp_path / "a.gguf", packed), expected)


def test_keras_bfloat16_is_known(tmp_path):
    h5py = pytest.importorskip("h5py")
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    values = np.array([[1, 2], [3, -4]], np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("w", data=values.astype(bfloat16).view("V2"))
        made.attrs["dtype"] = "bfloat16"
    (one,) = open_tensors(tmp_path / "a.h5")[1]
    np.testing.assert_array_equal(load(tmp_path / "a.h5", one).astype(np.float32), values)


def test_content_comes_before_the_name(tmp_path):
    made_files.npz(tmp_path / "weights.bin", made_files.arrays())
    assert format_of(tmp_path / "weights.bin") == "npz"
    (tmp_path / "a.txt").write_text("words")
    assert format_of(tmp_path / "a.txt") is None
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert format_of(Path(tmp_path / "model")) == "safetensors"
