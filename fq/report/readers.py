"""One function a format: the tensors that a file holds, each read only when it is asked for.

Each function takes the path and gives a list of `Tensor`. What it imports beside NumPy is imported when it is called.
Whatever goes wrong is an exception of any type: `fq.report.files` makes one line of it.
"""

import io
import json
import math
import mmap
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fq._input import InputError, need, one_line
from fq.report.tensors import Array, Tensor, check_claim, check_expansion, dtype_named, is_float

__all__ = ["gguf", "hdf5", "keras", "msgpack", "npy", "npz", "onnx", "pytorch", "safetensors"]

_EXTRA = "report"


def _tensor(name: str, shape: Any, dtype: np.dtype[Any], load: Callable[[], Array], axis: int = 0) -> Tensor:
    """A tensor that is quantized if its type is one of floats."""
    return Tensor(name, tuple(int(n) for n in shape), dtype.name, load if is_float(dtype) else None, axis)


# NumPy ---------------------------------------------------------------------------------------------------------------


def npy(path: Path) -> list[Tensor]:
    """The array of an .npy file, mapped into memory."""
    with path.open("rb") as file:
        shape, dtype = _npy_header(file)
        check_claim(path.name, shape, dtype.itemsize, path.stat().st_size - file.tell())
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which would be unpickled")
    return [_tensor(path.stem, shape, dtype, partial(np.load, path, "r", allow_pickle=False))]


def npz(path: Path) -> list[Tensor]:
    """The arrays of an .npz archive, unpacked one at a time."""
    archive, tensors = zipfile.ZipFile(path), []
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            continue
        with archive.open(member) as file:
            shape, dtype = _npy_header(file)
        name = member.filename.removesuffix(".npy")
        check_claim(name, shape, 0 if dtype.hasobject else dtype.itemsize, member.file_size)
        check_expansion(name, member.file_size, min(member.compress_size, path.stat().st_size))
        tensors.append(_tensor(name, shape, dtype, partial(_npz_member, archive, member)))
    return tensors


def _npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _npz_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


# safetensors ---------------------------------------------------------------------------------------------------------

_SAFETENSORS = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    "BF16": "bfloat16",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}


def safetensors(path: Path) -> list[Tensor]:
    """The tensors of a safetensors file, mapped into memory: its own reader has no NumPy arrays of 8-bit floats."""
    with need("safetensors", "safetensors", _EXTRA).safe_open(path, framework="np"):  # which checks the whole header
        pass
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=_once)
    header.pop("__metadata__", None)
    return [_safetensor(path, 8 + length, name, one) for name, one in header.items()]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in the header")
    return found


def _safetensor(path: Path, start: int, name: str, header: dict[str, Any]) -> Tensor:
    shape, (begin, end) = header["shape"], header["data_offsets"]
    dtype = dtype_named(_SAFETENSORS[header["dtype"]]) if header["dtype"] in _SAFETENSORS else None
    if dtype is None:
        return Tensor(name, tuple(shape), header["dtype"], None)
    check_claim(name, shape, dtype.itemsize, end - begin)
    return _tensor(name, shape, dtype, partial(_mapped, path, start + begin, end - begin, dtype, shape))


def _mapped(path: Path, offset: int, length: int, dtype: np.dtype[Any], shape: list[int]) -> Array:
    # Mapped from the file's beginning: an empty tensor maps no bytes, which would be an error.
    return np.memmap(path, np.uint8, "r")[offset : offset + length].view(dtype).reshape(shape)


# ONNX ----------------------------------------------------------------------------------------------------------------

# The axis of output channels, by the operator and the place of the weight among its inputs; otherwise 0.
_ONNX_AXES = {
    ("ConvTranspose", 1): 1,
    ("MatMul", 1): -1,
    ("MatMul", 0): -2,
    **{(recurrent, place): 1 for recurrent in ("LSTM", "GRU", "RNN") for place in (1, 2)},
}


def onnx(path: Path) -> list[Tensor]:
    """The initializers and the constants of an ONNX model, in functions and subgraphs too.

    The initializers of the main graph are parsed one at a time: all together would need twice the memory of the file.
    """
    package = need("onnx", "onnx", _EXTRA)
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    rest, places = _without_initializers(data)
    model = package.ModelProto.FromString(rest)

    def parsed(start: int, end: int) -> Any:
        return package.TensorProto.FromString(data[start:end])

    tensors, main = [], _onnx_axes(list(model.graph.node))
    for place in places:
        tensors.append(_onnx_tensor(package, path, parsed(*place), partial(parsed, *place), main))
    for nodes, initializers in _onnx_graphs(model):
        axes = _onnx_axes(nodes)
        for tensor in initializers:
            tensors.append(_onnx_tensor(package, path, tensor, partial(_same, tensor), axes))
        for node in nodes:
            for one in node.attribute:
                if (node.op_type, one.name) == ("Constant", "value"):
                    tensors.append(_onnx_tensor(package, path, one.t, partial(_same, one.t), axes, node.output[0]))
    return tensors


def _same(tensor: Any) -> Any:
    return tensor


def _without_initializers(data: mmap.mmap | bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The message of a model without the initializers of its graph, and where these begin and end."""
    others, graph, places = [], [], []
    for number, begin, body, end in _fields(data, 0, len(data)):
        if number != 7:  # ModelProto.graph
            others.append(data[begin:end])
            continue
        for inner, start, content, stop in _fields(data, body, end):
            if inner == 5:  # GraphProto.initializer
                places.append((content, stop))
            else:
                graph.append(data[start:stop])
    length, size = sum(map(len, graph)), []
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return b"".join([*others, b"\x3a", bytes([*size, length]), *graph]), places


def _fields(data: mmap.mmap | bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, where the field begins, where its content does, where it ends) for each field of a message.

    A field without a length has the number 0.
    """
    while at < end:
        begin = at
        key, at = _varint(data, at)
        body, kind = at, key & 7
        if kind == 2:
            length, body = _varint(data, at)
            at = body + length
        elif kind in (1, 5):
            at += {1: 8, 5: 4}[kind]
        elif kind == 0:
            _, at = _varint(data, at)
        else:
            raise ValueError("it has a field of a kind that is not known")
        if at > end:
            raise ValueError("it ends too early")
        yield key >> 3 if kind == 2 else 0, begin, body, at


def _varint(data: mmap.mmap | bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it has a number of more than ten bytes")


def _onnx_graphs(model: Any) -> Iterator[tuple[list[Any], list[Any]]]:
    """(nodes, initializers) of the graph, of all graphs in its nodes, and of functions."""
    waiting = [(list(model.graph.node), list(model.graph.initializer))]
    waiting += [(list(one.node), []) for one in model.functions]
    while waiting:
        nodes, initializers = waiting.pop(0)
        yield nodes, initializers
        inner = [one for node in nodes for value in node.attribute for one in (value.g, *value.graphs)]
        waiting += [(list(one.node), list(one.initializer)) for one in inner if one.node or one.initializer]


def _onnx_axes(nodes: list[Any]) -> dict[str | bytes, int]:
    axes: dict[str | bytes, int] = {}
    for node in nodes:
        for place, name in enumerate(node.input):
            axes.setdefault(name, _ONNX_AXES.get((node.op_type, place), 0))
            if (node.op_type, place) == ("Gemm", 1):
                axes[name] = 0 if any(one.name == "transB" and one.i for one in node.attribute) else 1
    return axes


def _onnx_tensor(
    package: Any,
    path: Path,
    tensor: Any,
    again: Callable[[], Any],
    axes: dict[str | bytes, int],
    name: str | bytes = "",
) -> Tensor:
    name, shape = name or tensor.name, tuple(tensor.dims)
    axis = axes.get(name, 0)
    name = name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")  # bytes, where it is no UTF-8
    try:
        dtype = package.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError):
        return Tensor(name, shape, f"type {tensor.data_type}", None)
    if not is_float(dtype):
        return Tensor(name, shape, package.TensorProto.DataType.Name(tensor.data_type).lower(), None)
    if tensor.HasField("raw_data"):
        check_claim(name, shape, dtype.itemsize if dtype.name != "float4_e2m1fn" else 0.5, len(tensor.raw_data))

    # onnx itself refuses external data that lie outside of the model's folder.
    def load() -> Array:
        return package.numpy_helper.to_array(again(), str(path.parent))  # type: ignore[no-any-return]

    return _tensor(name, shape, dtype, load, axis if -len(shape) <= axis < len(shape) else 0)


# PyTorch -------------------------------------------------------------------------------------------------------------


def pytorch(path: Path) -> list[Tensor]:
    """The tensors of a state dict, however deep in dicts and lists. Nothing is unpickled but tensors and containers."""
    torch = need("torch", "PyTorch", "torch")
    mapped = zipfile.is_zipfile(path)
    if mapped:
        _check_pytorch_archive(path)
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    tensors = []
    for name, one in _leaves(found, ".", torch.Tensor):
        tensors.append(_pytorch_tensor(torch, name or path.stem, one.detach(), path.stat().st_size))
    return tensors


def _check_pytorch_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any("/code/" in one.filename or one.filename.endswith("constants.pkl") for one in members):
        raise InputError(f"{one_line(path)} is a TorchScript archive, which is code: save the module's state_dict()")
    if any(one.compress_type != zipfile.ZIP_STORED for one in members):
        raise ValueError("its tensors are compressed, which torch.save never does")


def _leaves(found: Any, between: str, wanted: type) -> Iterator[tuple[str, Any]]:
    """(name, leaf) of containers in containers, each container once: one may hold itself."""
    waiting, seen = [("", found)], set()
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, wanted):
            yield name, one
        elif isinstance(one, (dict, list, tuple)) and id(one) not in seen:
            seen.add(id(one))
            items = list(one.items() if isinstance(one, dict) else enumerate(one))
            waiting += [(f"{name}{between}{key}" if name else str(key), inner) for key, inner in reversed(items)]


def _pytorch_tensor(torch: Any, name: str, tensor: Any, stored: int) -> Tensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if not tensor.dtype.is_floating_point or tensor.layout != torch.strided or tensor.device.type != "cpu":
        return Tensor(name, tuple(tensor.shape), dtype, None)
    check_claim(name, tensor.shape, tensor.element_size(), stored)  # a stride of 0 claims any size
    found = dtype_named(dtype)
    return Tensor(name, tuple(tensor.shape), dtype, found and partial(_pytorch_array, torch, tensor, found))


def _pytorch_array(torch: Any, tensor: Any, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        return tensor.resolve_neg().numpy()  # type: ignore[no-any-return]
    return tensor.resolve_neg().view(getattr(torch, f"uint{dtype.itemsize * 8}")).numpy().view(dtype)  # type: ignore[no-any-return]


# HDF5 and Keras ------------------------------------------------------------------------------------------------------


def hdf5(path: Path) -> list[Tensor]:
    """The datasets of an HDF5 file, Keras's or any other."""
    return _datasets(path, need("h5py", "h5py", _EXTRA), path.stat().st_size)


def keras(path: Path) -> list[Tensor]:
    """The weights of a .keras archive, which are an HDF5 file in it."""
    package = need("h5py", "h5py", _EXTRA)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("model.weights.h5")
        check_expansion(member.filename, member.file_size, min(member.compress_size, path.stat().st_size))
        data = archive.read(member)
    return _datasets(io.BytesIO(data), package, len(data))


def _datasets(source: Any, package: Any, stored: int) -> list[Tensor]:
    file, tensors = package.File(source, "r"), []
    axis = -1 if _is_keras(file) else 0

    def visit(name: str, one: Any) -> None:  # which follows no link to another file
        if isinstance(one, package.Dataset):
            tensors.append(_dataset(name, one, stored, axis))

    file.visititems(visit)
    return tensors


def _is_keras(file: Any) -> bool:
    return "keras_version" in file.attrs or bool(
        {"layers", "_layer_checkpoint_dependencies", "model_weights"} & set(file)
    )


def _dataset(name: str, dataset: Any, stored: int, axis: int) -> Tensor:
    dtype = dataset.dtype
    if dtype == np.dtype("V2") and dataset.attrs.get("dtype") == "bfloat16":  # as Keras writes them
        dtype = dtype_named("bfloat16")
    shape = dataset.shape
    if shape is None or not is_float(dtype):
        return Tensor(name, shape or (), dtype.name, None)
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} is kept in another file")
    size = math.prod(shape) * dtype.itemsize
    if dataset.chunks is None:
        check_claim(name, shape, dtype.itemsize, stored)
    else:
        check_expansion(name, size, dataset.id.get_storage_size())
    return _tensor(name, shape, dtype, lambda: np.asarray(dataset[()]).view(dtype), axis if shape else 0)


# GGUF ----------------------------------------------------------------------------------------------------------------


def gguf(path: Path) -> list[Tensor]:
    """The tensors of a GGUF file; those that are quantized already are expanded to float32."""
    package = need("gguf", "gguf", _EXTRA)

    class Reader(package.GGUFReader):  # type: ignore[misc, name-defined]
        """Ends at the end of the file, where the package's would read empty arrays for ever."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *more: Any, **others: Any) -> Any:
            if int(offset) + int(count) * np.dtype(dtype).itemsize > len(self.data):
                raise ValueError("it ends too early")
            return super()._get(offset, dtype, count, *more, **others)

    return [_gguf_tensor(package, one) for one in Reader(path).tensors]


def _gguf_tensor(package: Any, tensor: Any) -> Tensor:
    shape, kind = tuple(int(n) for n in reversed(tensor.shape)), tensor.tensor_type.name
    plain = {"F32": "float32", "F16": "float16", "F64": "float64", "BF16": "bfloat16"}
    if kind in plain:
        dtype = dtype_named(plain[kind])
        assert dtype is not None
        return _tensor(str(tensor.name), shape, dtype, lambda: tensor.data.view(dtype).reshape(shape))
    quantized = tensor.tensor_type in package.quants._type_traits
    load = partial(_gguf_expanded, package, tensor, shape) if quantized else None
    return Tensor(str(tensor.name), shape, kind, load)


def _gguf_expanded(package: Any, tensor: Any, shape: tuple[int, ...]) -> Array:
    """Expanded some rows at a time: the package needs several times the memory of the result."""
    packed = tensor.data.reshape(-1, tensor.data.shape[-1])
    rows = np.empty((len(packed), shape[-1]), np.float32)
    step = max(1, (1 << 18) // shape[-1])
    for start in range(0, len(rows), step):
        rows[start : start + step] = package.quants.dequantize(packed[start : start + step], tensor.tensor_type)
    return rows.reshape(shape)


# flax ----------------------------------------------------------------------------------------------------------------


class _Flax:
    """An array of flax's messages: its shape, the name of its type, and its bytes in one part or more."""

    def __init__(self, shape: Any, dtype: Any, *parts: bytes) -> None:
        self.shape, self.parts = tuple(int(n) for n in shape), parts
        self.dtype = str(dtype.decode() if isinstance(dtype, bytes) else dtype)

    def load(self) -> Array:
        """The array itself."""
        data = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        return np.frombuffer(data, dtype_named(self.dtype)).reshape(self.shape)


def msgpack(path: Path) -> list[Tensor]:
    """The arrays of a message as flax.serialization.to_bytes writes them."""
    package = need("msgpack", "msgpack", _EXTRA)

    def extension(code: int, data: bytes) -> Any:
        if code in (1, 3):  # an array, or a scalar
            return _Flax(*package.unpackb(data, raw=True))
        return None

    size, tensors = path.stat().st_size, []
    with path.open("rb") as file:  # read in parts, so that the file is in memory once
        unpacker = package.Unpacker(file, ext_hook=extension, strict_map_key=False, max_buffer_size=size)
        found = unpacker.unpack()
        if unpacker.tell() < size:
            raise ValueError("it goes on after its end")
    for name, one in _leaves(_whole(found), "/", _Flax):
        dtype = dtype_named(one.dtype)
        if dtype is None:
            raise ValueError(f"{name} is of type {one.dtype}")
        check_claim(name, one.shape, dtype.itemsize, sum(map(len, one.parts)))
        tensors.append(_tensor(name, one.shape, dtype, one.load, -1 if one.shape else 0))
    return tensors


def _whole(found: Any) -> Any:
    """With the arrays joined that flax cut because they are long."""
    if not isinstance(found, dict):
        return found
    if found.get("__msgpack_chunked_array__") is not True:
        return {key: _whole(one) for key, one in found.items()}
    shape, chunks = ([found[name][str(i)] for i in range(len(found[name]))] for name in ("shape", "chunks"))
    return _Flax(shape, chunks[0].dtype, *(part for one in chunks for part in one.parts))
