"""Small files of every format that the report reads, made by the format's own package."""

import json
import struct
import zipfile

import numpy as np
import pytest


def arrays(seed=0):
    """A network of a few layers: weights, a bias, a scalar, an empty tensor and integers."""
    rng = np.random.default_rng(seed)
    return {
        "conv.weight": rng.normal(0, 0.1, (8, 3, 3, 3)).astype(np.float32),
        "fc.weight": rng.standard_t(4, (10, 40)).astype(np.float32),
        "fc.bias": rng.normal(0, 1, 10).astype(np.float32),
        "half": rng.normal(0, 1, (6, 32)).astype(np.float16),
        "step": np.array(3, np.int64),
        "gain": np.float32(0.5),
        "none": np.zeros((0, 4), np.float32),
    }


def npy(path, made):
    np.save(path, made["fc.weight"])


def npz(path, made):
    with path.open("wb") as file:
        np.savez(file, **made)


def npz_compressed(path, made):
    with path.open("wb") as file:
        np.savez_compressed(file, **made)


def safetensors(path, made):
    pytest.importorskip("safetensors.numpy").save_file({name: np.asarray(one) for name, one in made.items()}, path)


def raw_safetensors(path, entries):
    """One with entries of (name, type, shape, bytes), which its own package would not write from NumPy."""
    header, data = {}, b""
    for name, dtype, shape, raw in entries:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    told = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + data)


def onnx(path, made):
    package = pytest.importorskip("onnx")
    helper = package.helper
    tensors = [package.numpy_helper.from_array(np.asarray(one), name) for name, one in made.items()]
    constant = package.numpy_helper.from_array(made["fc.weight"].T.copy(), "value")
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["y"]),
        helper.make_node("Constant", [], ["inner"], value=constant),
        helper.make_node("MatMul", ["flat", "inner"], ["z"]),
    ]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    path.write_bytes(helper.make_model(graph).SerializeToString())


def pytorch(path, made):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(np.array(one)) for name, one in made.items()}
    torch.save({"model": tensors, "epoch": 3, "lists": [tensors["fc.bias"]]}, path)


def pytorch_legacy(path, made):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(np.array(one)) for name, one in made.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def hdf5(path, made):
    with pytest.importorskip("h5py").File(path, "w") as file:
        for name, one in made.items():
            file[name.replace(".", "/")] = one
        file["told"] = "words"
        file.create_dataset("packed", data=made["fc.weight"], chunks=(5, 40), compression="gzip")


def keras(path, made):
    inner = path.with_suffix(".h5")
    with pytest.importorskip("h5py").File(inner, "w") as file:
        for name, one in made.items():
            file[f"layers/{name}/vars/0"] = one
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(inner, "model.weights.h5")


def gguf(path, made):
    package = pytest.importorskip("gguf")
    writer = package.GGUFWriter(path, "llama")
    writer.add_array("words", ["a", "b"])
    for name, one in made.items():
        if one.size and one.ndim:
            writer.add_tensor(name, one)
    packed = package.quants.quantize(made["half"].astype(np.float32), package.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed", packed, raw_dtype=package.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def flax_array(package, one):
    inner = package.packb((one.shape, one.dtype.name, one.tobytes()), use_bin_type=True)
    return package.ExtType(1, inner)


def flax(path, made):
    package = pytest.importorskip("msgpack")
    tree = {"params": {name: flax_array(package, np.asarray(one)) for name, one in made.items()}}
    whole = made["fc.weight"]
    parts = [flax_array(package, part) for part in np.split(whole.ravel(), 4)]
    shape, chunks = ({str(i): one for i, one in enumerate(list_)} for list_ in (whole.shape, parts))
    tree["params"]["cut"] = {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}
    path.write_bytes(package.packb(tree))


# The name of a file, and what makes it.
MAKERS = {
    "a.npy": npy,
    "a.npz": npz,
    "packed.npz": npz_compressed,
    "a.safetensors": safetensors,
    "a.onnx": onnx,
    "a.pt": pytorch,
    "legacy.pth": pytorch_legacy,
    "a.h5": hdf5,
    "a.keras": keras,
    "a.gguf": gguf,
    "a.msgpack": flax,
}
