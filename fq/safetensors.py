"""Quantized weights in safetensors files of the compressed-tensors layout, which vLLM reads.

::

    grids = {name: fq.calibrate(weight, 4, group=32, symmetric=True) for name, weight in linear.items()}
    fq.safetensors.save("folder", tensors, grids)

A weight W of shape (n, k) becomes, in format pack-quantized, ``W_packed`` (int32, eight or four integers in each, low
bits first), ``W_scale`` of shape (n, groups) and ``W_shape``, with ``W_zero_point``, packed along the other axis, where
a zero point is not 0. In format int-quantized the integers are ``W`` itself, in int8. ``config.json`` says so under
``quantization_config``. The package ``compressed-tensors`` decompresses such a weight to the values of
`fq.fake_quantize`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    import safetensors
    import safetensors.numpy
except ModuleNotFoundError as error:
    if error.name != "safetensors":
        raise
    raise ImportError(
        "fq.safetensors needs the package safetensors: pip install safetensors, or fq[safetensors]"
    ) from error

import fq
from fq._named import check_numbers, checked_grid

__all__ = ["load", "load_quantized", "save"]

Array = NDArray[Any]
Folder = str | os.PathLike[str]
Format = Literal["pack-quantized", "int-quantized"]

_FILE = "model.safetensors"
_SUFFIX = "weight"
_PARTS = "packed", "scale", "zero_point", "shape", "g_idx"
# What runs an int-quantized model quantizes its activations too: a scale for each token, found as it runs.
_BY_TOKEN = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


class _Scheme(NamedTuple):
    """What weights of one kind have in common."""

    bits: int
    group: int | None  # None: a scale for each row
    symmetric: bool

    def config(self) -> dict[str, Any]:
        """In the words of compressed-tensors."""
        strategy: dict[str, Any] = {"strategy": "channel"}
        if self.group is not None:
            strategy = {"strategy": "group", "group_size": self.group}
        return {"num_bits": self.bits, "type": "int", "symmetric": self.symmetric, "dynamic": False, **strategy}


class _Grid(NamedTuple):
    """A grid with levels about 0, as the layout has them, of the scales of shape (rows, groups)."""

    scheme: _Scheme
    scale: Array
    zero_point: Array
    shift: int  # what the levels of fq's grid are larger by


def save(
    folder: Folder,
    tensors: Mapping[str, ArrayLike],
    qparams: Mapping[str, fq.QParams],
    *,
    format: Format = "pack-quantized",
) -> None:
    """Write tensors, some of them quantized, as model.safetensors and config.json of a folder.

    Nothing is written if anything is refused.

    Parameters
    ----------
    folder : path
        Made if it is not there. Of a config.json that is there, all but ``quantization_config`` stays.
    tensors : dict of str to array
        All tensors of the model, under their names in it.
    qparams : dict of str to QParams
        The grids of the weights to quantize: two axes, names that end in ``.weight``, of float16, bfloat16 or float32.
        One scale, one for each row, shape (n, 1), or one for each group of a row, shape (n, k / group, 1). Levels of at
        most 8 bits.
    format : {"pack-quantized", "int-quantized"}
        "pack-quantized": weights of 4 or 8 bits, activations in float. "int-quantized": weights of 8 bits, a scale for
        each row; whatever runs the model then quantizes its activations to 8 bits as well, with a scale for each token.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        If a weight is not of a float type that the layout has.
    ValueError
        If qparams names no tensor, a grid does not fit, a weight holds NaN, or a scale would change when it is stored:
        it has the type of the weight.

    Examples
    --------
    >>> import tempfile, numpy as np, fq.safetensors
    >>> weight = np.float32([[1, -2, 3, -4], [5, -6, 7, -8]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fq.safetensors.save(folder, {"lm.weight": weight}, {"lm.weight": fq.QParams(1.0, 0, -8, 7)})
    ...     fq.safetensors.load(folder)["lm.weight"]
    array([[ 1., -2.,  3., -4.],
           [ 5., -6.,  7., -8.]], dtype=float32)
    """
    if format not in ("pack-quantized", "int-quantized"):
        raise ValueError(f"format must be 'pack-quantized' or 'int-quantized', got {format!r}")
    if missing := sorted(set(qparams) - set(tensors)):
        raise ValueError(f"there is no tensor {missing[0]!r} to quantize")
    stored: dict[str, Array] = {}
    schemes: dict[str, _Scheme] = {}
    for name, given in tensors.items():
        array = np.asarray(given, order="C")
        if name not in qparams:
            parts, of = {name: array}, None
        else:
            parts, of = _compressed(name, array, qparams[name], format)
            schemes[name.removesuffix(_SUFFIX).removesuffix(".")] = of
        if again := sorted(set(parts) & set(stored)):
            raise ValueError(f"{again[0]!r} is the name of a tensor, and of a part of another")
        stored |= parts
    others = [name for name, array in tensors.items() if name not in qparams and np.ndim(array) == 2]
    config = _config(schemes, others, format)
    _write(Path(folder), stored, config)


def load(folder: Folder) -> dict[str, Array]:
    """Read all tensors of a folder in the compressed-tensors layout, the quantized ones as floats.

    Parameters
    ----------
    folder : path
        With config.json and one or more safetensors files.

    Returns
    -------
    dict of str to ndarray
        Quantized weights under their own names, of the type of their scales, as `fq.dequantize` gives them; all other
        tensors as they are.

    Raises
    ------
    FileNotFoundError
        If there is no config.json or no safetensors file.
    ValueError
        If a file is broken, or a weight is stored in a way that this does not read. The message names it.

    Examples
    --------
    >>> import fq.safetensors
    >>> fq.safetensors.load("no such folder")
    Traceback (most recent call last):
    FileNotFoundError: no such folder has no config.json
    """
    stored, sizes = _read(Path(folder))
    quantized = _quantized(stored)
    parts = {f"{name}_{part}" for name in quantized for part in _PARTS} | set(quantized)
    found = {name: array for name, array in stored.items() if name not in parts}
    for name in quantized:
        q, grid = _decompressed(name, stored, sizes)
        found[name] = fq.dequantize(_cut(q, grid), *grid[:2], dtype=grid.scale.dtype).reshape(q.shape)
    return found


def load_quantized(folder: Folder) -> dict[str, tuple[Array, fq.QParams]]:
    """Read the quantized weights of a folder in the compressed-tensors layout, as integers and grids.

    Parameters
    ----------
    folder : path
        As for `load`.

    Returns
    -------
    dict of str to (ndarray, QParams)
        The integers of each weight, int8, and its grid: scales of shape (n, 1), or (n, groups, 1) which broadcast
        against the weight with its last axis cut into groups.

    Raises
    ------
    FileNotFoundError
        If there is no config.json or no safetensors file.
    ValueError
        As `load`.

    Examples
    --------
    >>> import tempfile, numpy as np, fq.safetensors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fq.safetensors.save(folder, {"lm.weight": np.float32([[1, -2]])}, {"lm.weight": fq.QParams(1.0, 0, -8, 7)})
    ...     fq.safetensors.load_quantized(folder)["lm.weight"][0]
    array([[ 1, -2]], dtype=int8)
    """
    stored, sizes = _read(Path(folder))
    return {name: _decompressed(name, stored, sizes) for name in _quantized(stored)}


def _compressed(name: str, weight: Array, given: fq.QParams, format: Format) -> tuple[dict[str, Array], _Scheme]:
    """The stored parts of a weight."""
    if name != _SUFFIX and not name.endswith(f".{_SUFFIX}"):
        raise ValueError(f"{name!r}: the layout has quantized tensors whose names end in '.{_SUFFIX}'")
    if weight.ndim != 2 or not weight.size:
        raise ValueError(f"{name!r} has shape {weight.shape}: the layout has matrices")
    if weight.dtype.name not in ("float16", "bfloat16", "float32"):
        raise TypeError(f"{name!r} must be float16, bfloat16 or float32, got {weight.dtype}")
    check_numbers(name, weight)
    given = checked_grid(name, given)
    grid = _grid(name, weight, given, format)
    q = fq.quantize(_cut(weight, given), *given, dtype=np.int32).reshape(weight.shape) - grid.shift
    parts = {f"{name}_scale": grid.scale}
    if format == "int-quantized":
        parts[name] = q.astype(np.int8)
        if not grid.scheme.symmetric:
            parts[f"{name}_zero_point"] = grid.zero_point.astype(np.int8)
        return parts, grid.scheme
    parts[f"{name}_packed"] = _packed(q, grid.scheme.bits)
    parts[f"{name}_shape"] = np.array(weight.shape, np.int64)
    if not grid.scheme.symmetric:
        parts[f"{name}_zero_point"] = np.ascontiguousarray(_packed(grid.zero_point.T, grid.scheme.bits).T)
    return parts, grid.scheme


def _grid(name: str, weight: Array, given: fq.QParams, format: Format) -> _Grid:
    """The grid as the layout has it; refused if it does not fit."""
    scale, zero_point, qmin, qmax = given
    rows, columns = weight.shape
    if scale.ndim == 3 and scale.shape[0] in (1, rows) and scale.shape[2] == 1 and columns % scale.shape[1] == 0:
        groups = scale.shape[1]
    elif scale.ndim <= 2 and scale.shape in ((), (1,), (1, 1), (rows, 1)):
        groups = 1
    else:
        raise ValueError(
            f"{name!r} has shape {weight.shape}: scales have shape (), ({rows}, 1), or ({rows}, groups, 1) with the "
            f"last axis cut evenly, got {scale.shape}"
        )
    if groups > 1 and format == "int-quantized":
        raise ValueError(f"{name!r}: int-quantized has a scale for each row, not for groups; pack-quantized has both")
    bits = _bits(name, qmin, qmax)
    shift = 2 ** (bits - 1) if qmin >= 0 else 0
    shape = scale.shape[:2] if scale.ndim == 3 else scale.shape
    scale, zero_point = (np.broadcast_to(one.reshape(shape), (rows, groups)) for one in (scale, zero_point))
    zero_point = zero_point - shift
    scheme = _Scheme(
        8 if format == "int-quantized" else bits, columns // groups if groups > 1 else None, not zero_point.any()
    )
    return _Grid(scheme, _stored_scale(name, scale, weight.dtype), zero_point, shift)


def _bits(name: str, qmin: int, qmax: int) -> int:
    """4 or 8: the fewest that hold the levels."""
    for bits in (4, 8):
        half = 2 ** (bits - 1)
        if (qmin >= 0 and qmax < 2 * half) or (-half <= qmin and qmax < half):
            return bits
    raise ValueError(f"{name!r}: levels from {qmin} to {qmax} do not fit 8 bits")


def _stored_scale(name: str, scale: Array, dtype: np.dtype[Any]) -> Array:
    """The scale in the type of the weight, refused if that changes a value."""
    wide = scale.astype(np.float32)  # what fq computes with
    with np.errstate(over="ignore", under="ignore"):
        stored = np.ascontiguousarray(wide.astype(dtype))
    changed = stored.astype(np.float32) != wide
    if changed.any():
        index = tuple(int(i) for i in np.argwhere(changed)[0])
        raise ValueError(
            f"{name!r} is of {dtype}, and so is its stored scale: {wide[index]} at index {index} would become "
            f"{stored[index]}; train with scale.astype({dtype}), or store the weight in float32"
        )
    return stored


def _cut(x: Array, grid: fq.QParams) -> Array:
    """x with its last axis cut into groups, where the grid has groups."""
    return fq.grouped(x, x.shape[-1] // grid.scale.shape[1]) if grid.scale.ndim == 3 else x


def _packed(q: Array, bits: int) -> Array:
    """Integers about 0 as the layout packs them along the last axis: with half of the levels added, in int32."""
    raised = (q + 2 ** (bits - 1)).astype(np.uint8)
    raw = fq.pack(raised, bits) if bits < 8 else raised
    raw = np.pad(raw, ((0, 0), (0, -raw.shape[-1] % 4)))
    return np.ascontiguousarray(raw).view("<i4")


def _unpacked(packed: Array, bits: int, n: int) -> Array:
    """What was packed."""
    raw = np.ascontiguousarray(packed.astype("<i4")).view(np.uint8)
    raw = raw[:, : -(-n * bits // 8)]
    raised = fq.unpack(raw, bits, n, signed=False) if bits < 8 else raw
    q: Array = raised.astype(np.int16) - 2 ** (bits - 1)
    return q.astype(np.int8)


def _config(schemes: Mapping[str, _Scheme], others: list[str], format: Format) -> dict[str, Any]:
    """quantization_config: a group for each scheme. One for all names the class of the modules, several the modules."""
    kinds: dict[_Scheme, list[str]] = {}
    for module, scheme in schemes.items():
        kinds.setdefault(scheme, []).append(module)
    groups = {}
    for k, (scheme, modules) in enumerate(kinds.items()):
        groups[f"group_{k}"] = {
            "targets": ["Linear"] if len(kinds) == 1 else modules,
            "weights": scheme.config(),
            "input_activations": _BY_TOKEN if format == "int-quantized" else None,
            "output_activations": None,
            "format": format,
        }
    ignored = [name.removesuffix(_SUFFIX).removesuffix(".") for name in others if name.endswith(f".{_SUFFIX}")]
    return {
        "quant_method": "compressed-tensors",
        "format": format,
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": sorted(ignored),
        "kv_cache_scheme": None,
    }


def _write(folder: Path, stored: Mapping[str, Array], config: Mapping[str, Any]) -> None:
    """Both files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    whole = _read_config(path) if path.exists() else {}
    whole["quantization_config"] = config
    arrays = {name: np.ascontiguousarray(array) for name, array in stored.items()}
    half = folder / f"{_FILE}.half"
    try:
        safetensors.numpy.save_file(arrays, half, metadata={"format": "pt"})
        half.replace(folder / _FILE)
    finally:
        half.unlink(missing_ok=True)
    half = folder / "config.json.half"
    half.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
    half.replace(path)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not a JSON object")
    return config


def _read(folder: Path) -> tuple[dict[str, Array], set[int]]:
    """All tensors of a folder, and the bits that its config names."""
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} has no config.json")
    config = _read_config(path).get("quantization_config")
    if not isinstance(config, dict) or config.get("quant_method") != "compressed-tensors":
        raise ValueError(f"{path} has no quantization_config of compressed-tensors")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder} has no safetensors file")
    stored: dict[str, Array] = {}
    for name, array in (pair for file in files for pair in _tensors(file)):
        if name in stored:
            raise ValueError(f"{name!r} is in more than one file of {folder}")
        stored[name] = array
    return stored, _sizes(path, config)


def _tensors(file: Path) -> Iterator[tuple[str, Array]]:
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 - this is no dict
                yield name, opened.get_tensor(name)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{file}: {error}") from None
    except (AttributeError, TypeError) as error:  # a type that NumPy has not
        raise ValueError(f"{file}: {name!r} is of a type that this does not read: {error}") from None


def _sizes(path: Path, config: Mapping[str, Any]) -> set[int]:
    groups = config.get("config_groups")
    sizes = set()
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            if weights.get("type", "int") != "int" or weights.get("num_bits") not in (4, 8):
                raise ValueError(
                    f"{path}: weights of {weights.get('num_bits')} bits of type {weights.get('type')}, not int"
                )
            sizes.add(int(weights["num_bits"]))
    if not sizes:
        raise ValueError(f"{path}: quantization_config has no weights in config_groups")
    return sizes


def _quantized(stored: Mapping[str, Array]) -> list[str]:
    """The names of the quantized weights."""
    names = [name.removesuffix("_scale") for name in stored if name.endswith(f"{_SUFFIX}_scale")]
    return [name for name in names if name in stored or f"{name}_packed" in stored]


def _decompressed(name: str, stored: Mapping[str, Array], sizes: set[int]) -> tuple[Array, fq.QParams]:
    """The integers of a weight, and its grid."""
    if f"{name}_g_idx" in stored:
        raise ValueError(f"{name!r} has its columns in another order ({name}_g_idx), which this does not read")
    scale, zero_point = stored[f"{name}_scale"], stored.get(f"{name}_zero_point")
    if f"{name}_packed" not in stored:
        q, bits = stored[name], 8
        if q.dtype != np.int8:
            raise ValueError(f"{name!r} is of {q.dtype}; int-quantized weights are int8")
    else:
        rows, columns = _shape(name, stored)
        bits = _packed_bits(name, columns, stored[f"{name}_packed"].shape, sizes)
        q = _unpacked(stored[f"{name}_packed"], bits, columns)
        if zero_point is not None:
            if zero_point.ndim != 2 or len(zero_point) != -(-rows * bits // 32):
                raise ValueError(
                    f"{name!r} has {rows} rows, and its zero points are packed in shape {zero_point.shape}"
                )
            zero_point = _unpacked(np.ascontiguousarray(zero_point.T), bits, rows).T
    groups = scale.shape[1] if scale.ndim == 2 else 1
    if q.ndim != 2 or scale.shape not in ((), (1,), (len(q), groups)) or q.shape[1] % groups:
        raise ValueError(f"{name!r} has shape {q.shape}: scales of shape {scale.shape} do not fit")
    shape = (*scale.shape, 1) if groups > 1 else scale.shape
    zero = np.zeros(scale.shape, np.int64) if zero_point is None else zero_point.astype(np.int64)
    if zero.shape != scale.shape:
        raise ValueError(f"{name!r} has scales of shape {scale.shape}, zero points of shape {zero.shape}")
    half = 2 ** (bits - 1)
    return q, fq.QParams(scale.reshape(shape), zero.reshape(shape), -half, half - 1)


def _shape(name: str, stored: Mapping[str, Array]) -> tuple[int, int]:
    """The shape of a packed weight, which must be that of what is packed."""
    shape = tuple(int(n) for n in np.ravel(stored.get(f"{name}_shape", ())))
    packed = stored[f"{name}_packed"]
    if len(shape) != 2 or packed.ndim != 2 or packed.dtype != np.int32 or len(packed) != shape[0] or shape[1] < 1:
        raise ValueError(f"{name!r} is packed as {packed.dtype} of shape {packed.shape}, and has shape {shape}")
    return shape[0], shape[1]


def _packed_bits(name: str, columns: int, shape: tuple[int, ...], sizes: set[int]) -> int:
    """The bits of a packed weight: those of the config that its shape agrees with."""
    fitting = [bits for bits in sorted(sizes) if len(shape) == 2 and shape[1] == -(-columns * bits // 32)]
    if len(fitting) != 1:
        raise ValueError(
            f"{name!r} of {columns} columns is packed in shape {shape}, with {sorted(sizes)} bits in the config"
        )
    return fitting[0]
