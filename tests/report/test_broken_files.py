"""Broken and hostile files of every format: one line and exit code 2, no code run, no memory taken."""

import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import made_files
import numpy as np
import pytest

from fq.__main__ import main


def refused(capsys, path, *arguments):
    """The one line with which the file is refused."""
    with pytest.raises(SystemExit) as ended:
        main(["report", str(path), *arguments])
    told = capsys.readouterr()
    line = told.err.splitlines()[-1]
    assert ended.value.code == 2
    assert told.out == ""
    assert line.startswith("python -m fq report: error: ")
    assert line.isprintable()
    assert "Traceback" not in told.err
    return line


@pytest.fixture(params=made_files.MAKERS)
def whole(request, tmp_path):
    path = tmp_path / request.param
    made_files.MAKERS[request.param](path, made_files.arrays())
    return path


def survives(path):
    """Read to the end or refused, whatever the file holds."""
    try:
        code = main(["report", str(path), "--json"])
    except SystemExit as ended:
        code = ended.code or "left"
    assert code in (0, 2)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.97])
def test_a_cut_file_is_refused(whole, share, capsys):
    data = whole.read_bytes()
    cut = data[: int(len(data) * share)]
    whole.write_bytes(cut)
    if whole.suffix == ".onnx":  # protocol buffers may end anywhere between fields
        return survives(whole)
    assert "error" in refused(capsys, whole)


def test_damaged_bytes_never_crash(whole, capsys):
    data, rng = whole.read_bytes(), np.random.default_rng(1)
    for _ in range(25):
        damaged = np.frombuffer(data, np.uint8).copy()
        end = len(damaged) if rng.random() < 0.5 else min(400, len(damaged))
        places = rng.integers(0, end, rng.integers(1, 9))
        damaged[places] = rng.choice([0, 1, 127, 128, 255, *rng.integers(0, 256, 3)], len(places))
        whole.write_bytes(damaged.tobytes())
        survives(whole)
    capsys.readouterr()


def test_other_content_is_refused(whole, capsys):
    whole.write_bytes(b"<html>404 not found</html>" * 9)
    refused(capsys, whole)


def test_no_file_no_format_no_tensors(tmp_path, capsys):
    assert "No such file" in refused(capsys, tmp_path / "none.npz")
    assert "directory" in refused(capsys, tmp_path)
    assert "null" in refused(capsys, "a\0b.npz")
    (tmp_path / "a.txt").write_text("words")
    assert "no format known here: npy, npz, safetensors" in refused(capsys, tmp_path / "a.txt")
    (tmp_path / "a\x1b[31m\n.txt").write_text("words")
    assert "a [31m .txt is of no format" in refused(capsys, tmp_path / "a\x1b[31m\n.txt")
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    assert "holds no tensors" in refused(capsys, tmp_path / "a.npz")


class Runs:
    """Pickled, this would run code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickles_are_not_run(tmp_path, capsys):
    ran = tmp_path / "ran"
    harmful = np.array([Runs(ran)], object)
    np.save(tmp_path / "a.npy", harmful, allow_pickle=True)
    np.savez(tmp_path / "a.npz", harmful)
    ran.unlink(missing_ok=True)
    assert "Python objects" in refused(capsys, tmp_path / "a.npy")
    assert main(["report", str(tmp_path / "a.npz"), "--json"]) == 0
    assert {one["dtype"] for one in json.loads(capsys.readouterr().out)["tensors"]} == {"object"}
    assert not ran.exists()


def test_pickles_in_pytorch_files_are_not_run(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    ran = tmp_path / "ran"
    torch.save({"w": torch.ones(2), "x": Runs(ran)}, tmp_path / "a.pt")
    torch.save({"x": Runs(ran)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "c.bin").write_bytes(pickle.dumps(Runs(ran), 2))
    for name in ("a.pt", "b.pt", "c.bin"):
        ran.unlink(missing_ok=True)
        refused(capsys, tmp_path / name)
        assert not ran.exists()


def npy_header(shape, descr="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


TERA = 1 << 40


def claims_npy(path):
    path.write_bytes(npy_header((TERA,)) + bytes(64))


def claims_npz(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy_header((TERA, 2)) + bytes(64))


def claims_safetensors(path):
    pytest.importorskip("safetensors")
    made_files.raw_safetensors(path, [("w", "F32", (TERA,), bytes(64))])


def claims_long_header(path):
    pytest.importorskip("safetensors")
    path.write_bytes(struct.pack("<Q", TERA) + b'{"w":')


def claims_onnx(path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[TERA, 4], raw_data=bytes(64))
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor])).SerializeToString())


def claims_onnx_numbers(path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[TERA, 4], float_data=[1, 2])
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor])).SerializeToString())


def claims_pytorch(path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(1).expand(TERA)}, path)


def claims_hdf5(path):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.create_dataset("w", (TERA,), "f4", chunks=(1 << 20,))


def claims_gguf(path):
    pytest.importorskip("gguf")
    name, kind = struct.pack("<Q", 1) + b"w", struct.pack("<I", 0)
    tensor = name + struct.pack("<I", 1) + struct.pack("<Q", TERA) + kind + struct.pack("<Q", 0)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor + bytes(64))


def claims_gguf_words(path):
    pytest.importorskip("gguf")
    array = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 4, TERA)  # an array of so many integers
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + array + bytes(64))


def claims_flax(path):
    package = pytest.importorskip("msgpack")
    inner = package.packb(((TERA,), "float32", bytes(64)), use_bin_type=True)
    path.write_bytes(package.packb({"w": package.ExtType(1, inner)}))


def claims_long_list(path):
    pytest.importorskip("msgpack")
    path.write_bytes(b"\xdd\xff\xff\xff\xff" + bytes(64))


def bomb_npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w.npy", "w") as file:
        file.write(npy_header((1 << 25,)))
        for _ in range(128):
            file.write(bytes(1 << 20))


def bomb_keras(path):
    pytest.importorskip("h5py")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("model.weights.h5", "w") as file:
        for _ in range(128):
            file.write(bytes(1 << 20))


def bomb_pytorch(path):
    pytest.importorskip("torch")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 20))


HOSTILE = {
    "a.npy": [claims_npy],
    "a.npz": [claims_npz, bomb_npz],
    "a.safetensors": [claims_safetensors, claims_long_header],
    "a.onnx": [claims_onnx, claims_onnx_numbers],
    "a.pt": [claims_pytorch, bomb_pytorch],
    "a.h5": [claims_hdf5],
    "a.keras": [bomb_keras],
    "a.gguf": [claims_gguf, claims_gguf_words],
    "a.msgpack": [claims_flax, claims_long_list],
}
PAIRS = [(name, make) for name, makers in HOSTILE.items() for make in makers]


@pytest.mark.parametrize(("name", "make"), PAIRS, ids=[make.__name__ for _, make in PAIRS])
def test_what_claims_more_than_the_file_has_is_refused(name, make, tmp_path, capsys):
    make(tmp_path / name)
    tracemalloc.start()
    try:
        refused(capsys, tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20  # imports among it
    finally:
        tracemalloc.stop()


def test_files_beside_the_file_are_not_read(tmp_path, capsys):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret").write_bytes(bytes(range(64)))
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[16], data_location=1)
    tensor.external_data.add(key="location", value="../secret")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    (tmp_path / "inner" / "a.onnx").write_bytes(model.SerializeToString())
    refused(capsys, tmp_path / "inner" / "a.onnx")


def test_hdf5_does_not_follow_to_other_files(tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(range(64)))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = np.ones((4, 4), np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = np.ones((4, 4), np.float32)
        file["w"] = h5py.ExternalLink("other.h5", "w")
    assert main(["report", str(tmp_path / "a.h5"), "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["tensors"]] == ["v"]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("w", (4, 4), "f4", external=[(str(tmp_path / "secret"), 0, 64)])
    assert "another file" in refused(capsys, tmp_path / "b.h5")
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "w", (4, 4))
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_virtual_dataset("w", layout)
    assert "another file" in refused(capsys, tmp_path / "c.h5")


def test_a_name_that_is_no_text_is_told_nevertheless(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "name")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString().replace(b"name", b"n\xffm\xfe"))
    assert main(["report", str(tmp_path / "a.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"][0]["name"] == "n\\xffm\\xfe"


def test_a_name_twice_in_a_safetensors_header_is_refused(tmp_path, capsys):
    pytest.importorskip("safetensors")
    one = '"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = f"{{{one},{one}}}".encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refused(capsys, tmp_path / "a.safetensors")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_an_archive_is_two_tensors(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for value in (1, 2):
            file = io.BytesIO()
            np.save(file, np.full((2, 2), value, np.float32))
            archive.writestr("w.npy", file.getvalue())
    assert main(["report", str(tmp_path / "a.npz"), "--json"]) == 0
    assert [one["max"] for one in json.loads(capsys.readouterr().out)["tensors"]] == [1, 2]


def test_pytorch_archives_that_were_compressed_are_refused(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(100)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as made,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as again,
    ):
        for name in made.namelist():
            again.writestr(name, made.read(name))
    assert "compressed" in refused(capsys, tmp_path / "b.pt")


def test_a_torchscript_archive_says_the_way_out(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/code/__torch__.py", "x")
        archive.writestr("a/data.pkl", "x")
    pytest.importorskip("torch")
    assert "state_dict()" in refused(capsys, tmp_path / "a.pt")


def test_a_reader_that_is_missing_is_named(tmp_path, capsys, monkeypatch):
    import sys

    made_files.raw_safetensors(tmp_path / "a.safetensors", [("w", "F32", (1,), bytes(4))])
    monkeypatch.setitem(sys.modules, "safetensors", None)
    line = refused(capsys, tmp_path / "a.safetensors")
    assert 'this needs safetensors: in a checkout of fq, pip install -e ".[report]"' in line
