"""What ``python -m fq calibrate`` has observed, as a file: observers by name, and which tensors of which files."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fq import Observer
from fq._input import InputError, one_line

Stamp = list[int]  # size in bytes and time of the last change in ns, of a folder those of what it holds


def stamp_of(file: str) -> Stamp:
    """What tells that a file is still the one that was read."""
    path = Path(file)
    stats = [one.stat() for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path.stat()]
    return [sum(one.st_size for one in stats), max((one.st_mtime_ns for one in stats), default=0)]


@dataclass
class Observed:
    """Observers of one kind, and the tensors that they saw."""

    settings: dict[str, Any]
    observers: dict[str, Observer]
    seen: dict[str, dict[str, Any]]  # by file: its stamp and the names of tensors

    def has(self, file: str, name: str) -> bool:
        """Whether a tensor was observed before; InputError if its file has changed since."""
        known = self.seen.get(str(Path(file).resolve()))
        if known is None or name not in known["names"]:
            return False
        if known["stamp"] != stamp_of(file):
            raise InputError(
                f"{one_line(file)} has changed since a part of it was observed: delete the saved state, or give another"
            )
        return True

    def add(self, file: str, name: str, observer: Observer, before: Stamp) -> None:
        """Merge what was seen of a tensor, in a file that had this stamp before."""
        if stamp_of(file) != before:
            raise InputError(f"{one_line(file)} has changed while it was observed: run it again")
        if name in self.observers:
            try:
                observer = self.observers[name] | observer
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{one_line(file)}: {one_line(name)} does not go with the files before: {one_line(error)}"
                ) from None
        self.observers[name] = observer
        known = self.seen.setdefault(str(Path(file).resolve()), {"stamp": before, "names": []})
        known["names"].append(name)

    def write(self, path: Path) -> None:
        """All of it as an npz file."""
        arrays = {"about": as_json({"settings": self.settings, "seen": self.seen, "names": list(self.observers)})}
        for place, observer in enumerate(self.observers.values()):
            if observer.dtype is None:  # of tensors without elements
                continue
            state = observer.state(dense=False)
            arrays[f"{place}/about"] = as_json({one: state[one] for one in ("version", "settings")})
            for op in ("sum", "min", "max", "bins"):
                arrays |= {f"{place}/{op}/{name}": array for name, array in state.get(op, {}).items()}
        save(path, arrays)

    @classmethod
    def read(cls, path: Path, settings: dict[str, Any]) -> "Observed":
        """What `write` wrote; InputError if it is something else, or was observed in another way."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                about = _from_json(arrays["about"])
                observers = {
                    name: _observer(arrays, place, about["settings"]) for place, name in enumerate(about["names"])
                }
                found = cls(about["settings"], observers, about["seen"])
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{one_line(path)} is no state of fq calibrate: {one_line(error)[:200]}") from None
        if found.settings != json.loads(json.dumps(settings)):
            told = ", ".join(f"{name}={value}" for name, value in found.settings.items())
            raise InputError(f"{one_line(path)} was observed with {told}: delete it, or give another --state")
        return found


def _observer(arrays: Any, place: int, settings: dict[str, Any]) -> Observer:
    if f"{place}/about" not in arrays:
        axis = settings["axis"]
        return Observer(**settings | {"axis": tuple(axis) if isinstance(axis, list) else axis})
    state = _from_json(arrays[f"{place}/about"])
    for key in arrays:
        parts = key.split("/")
        if parts[0] == str(place) and len(parts) == 3:
            state.setdefault(parts[1], {})[parts[2]] = arrays[key]
    return Observer.from_state(state)


def save(path: Path, arrays: dict[str, Any]) -> None:
    """An npz file that is there whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise InputError(f"{one_line(path)} cannot be written: {error.strerror}") from None


def as_json(value: Any) -> np.ndarray[Any, Any]:
    """JSON as an array, which npz keeps without pickle."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _from_json(array: np.ndarray[Any, Any]) -> Any:
    return json.loads(array.tobytes())
