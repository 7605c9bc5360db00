"""What ``python -m fq calibrate`` runs: observes the tensors of files by Dask, resumes, and writes a grid for each."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fq import Observer, _core
from fq._input import InputError, check_writable, need, one_line, print_in_any_encoding, progress
from fq._observed_file import Observed, save, stamp_of
from fq.report.files import load, open_tensors
from fq.report.tensors import Tensor, dtype_named

PATIENCE = 10  # seconds that a scheduler has to answer
WHOLE = "npz", "HDF5", "Keras", "PyTorch", "flax"  # formats of which a part costs as much as the whole


class Part(NamedTuple):
    """A tensor in a file: as it is named, where it is, and the lazy array of it."""

    name: str
    file: str
    array: Any

    @property
    def told(self) -> str:
        return f"{one_line(self.file)}: {one_line(self.name)}"


class Stored:
    """A tensor in a file as Dask reads it: part by part, in any process that sees the file."""

    def __init__(self, path: str, tensor: Tensor):
        self.path, self.name = path, tensor.name
        self.shape, self.dtype, self.ndim = tensor.shape, dtype_named(tensor.dtype), len(tensor.shape)

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        tensors = _tensors(self.path, tuple(stamp_of(self.path)))
        return np.array(load(Path(self.path), tensors[self.name])[index])


@lru_cache(maxsize=64)
def _tensors(path: str, _stamp: tuple[int, ...]) -> dict[str, Tensor]:
    """Where the tensors of a file lie; a worker lives longer than a file may stay as it is."""
    return {one.name: one for one in open_tensors(Path(path))[1]}


def run(args: Namespace) -> int:
    """Observe, choose and write as the arguments say; returns the exit code."""
    da, out = need("dask.array", "Dask", "dask"), Path(args.out)
    check_writable("out", args.out)
    kept = Path(args.state) if args.state else out.with_name(f"{out.name}.state.npz")
    axis = None if args.axis is None else tuple(args.axis) if len(args.axis) > 1 else args.axis[0]
    settings = {"axis": axis, "group": args.group, "distribution": args.method != "minmax", "nonfinite": "skip"}
    try:
        Observer(**settings)
        # What is wrong with the grid is told before anything is read.
        Observer().update(np.ones(1, np.float32)).qparams(**_grid(args))
    except (TypeError, ValueError) as error:
        raise InputError(one_line(error)) from None
    observed = Observed.read(kept, settings) if kept.exists() else Observed(settings, {}, {})
    parts = [part for file in args.files for part in _parts(da, file)]
    with _scheduler(args.scheduler), progress(sum(part.array.nbytes for part in parts), "B") as advance:
        for part in parts:
            if not observed.has(part.file, part.name):
                before = stamp_of(part.file)
                observed.add(part.file, part.name, _observe(part, settings), before)
                observed.write(kept)
            advance(part.array.nbytes)
    _write(out, observed.observers, args)
    if not args.state:
        kept.unlink(missing_ok=True)
    return 0


def _grid(args: Namespace) -> dict[str, Any]:
    grid = {name: getattr(args, name) for name in ("bits", "method", "symmetric", "narrow_range", "p")}
    return grid | {"signed": not args.unsigned}


def _parts(da: Any, file: str) -> Iterator[Part]:
    """The tensors of floats in a file."""
    found = list(_of_zarr(da, file) if Path(file).is_dir() else _of_file(da, file))
    if not found:
        raise InputError(f"{one_line(file)} holds no tensor of floats")
    yield from found


def _of_file(da: Any, file: str) -> Iterator[Part]:
    kind, tensors = open_tensors(Path(file))
    for tensor in tensors:
        if tensor.load and dtype_named(tensor.dtype) in _core.types():
            chunks = -1 if kind in WHOLE or not tensor.shape else "auto"
            stored = Stored(str(Path(file).resolve()), tensor)
            meta = np.empty((0,) * stored.ndim, stored.dtype)
            # Arrays of .npy files, which have no name, are batches of one tensor.
            name = "x" if kind == "npy" else tensor.name
            yield Part(name, file, da.from_array(stored, chunks, name=False, meta=meta))


def _of_zarr(da: Any, file: str) -> Iterator[Part]:
    zarr = need("zarr", "zarr", "dask")
    try:
        opened = zarr.open(file, mode="r")
        members = {"x": opened} if hasattr(opened, "shape") else dict(opened.members(max_depth=None))
        arrays = {name: one for name, one in members.items() if getattr(one, "dtype", None) in _core.types()}
        for name, one in arrays.items():
            yield Part(name, file, da.from_zarr(one))
    except Exception as error:  # of any type: zarr fails as it likes on a folder that is none of its own
        raise InputError(f"{one_line(file)} cannot be read as zarr: {one_line(error)[:300]}") from None


def _observe(part: Part, settings: dict[str, Any]) -> Observer:
    from fq import dask as fq_dask

    try:
        observer: Observer = fq_dask.observe(part.array, **settings).compute()
        return observer
    except InputError:
        raise
    except Exception as error:  # of any type: what reads the file, and what runs on other machines
        raise InputError(f"{part.told} cannot be observed: {one_line(error)[:300]}") from None


@contextmanager
def _scheduler(address: str | None) -> Iterator[None]:
    """The cluster of Dask at this address; without one, threads of this process."""
    if address is None:
        yield
        return
    distributed = need("distributed", "Dask's scheduler, distributed", "dask")
    try:
        client = distributed.Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"argument --scheduler: {one_line(address)} cannot be reached: {one_line(error)[:200]}"
        ) from None
    with client:
        print(f"dashboard: {client.dashboard_link}", file=sys.stderr)
        yield


def _write(out: Path, observers: dict[str, Observer], args: Namespace) -> None:
    """The grids to the file, and a line for each."""
    arrays: dict[str, Any] = {}
    for name, observer in sorted(observers.items()):
        try:
            qparams = observer.qparams(**_grid(args))
        except ValueError as error:
            raise InputError(f"{one_line(name)}: {one_line(error)}") from None
        arrays |= {f"{name}.{field}": np.asarray(value) for field, value in qparams._asdict().items()}
        low, high = np.min(observer.min), np.max(observer.max)
        missing = int(np.sum(observer.nan) + np.sum(observer.inf))
        told = f"{one_line(name)}: {int(np.sum(observer.count))} values from {low:.4g} to {high:.4g}"
        shape = np.shape(qparams.scale)
        scales = f"scale {float(qparams.scale):.4g}" if not shape else f"scales of shape {shape}"
        print_in_any_encoding(f"{told}{f', {missing} not finite' if missing else ''}; {scales}")
    save(out, arrays)
