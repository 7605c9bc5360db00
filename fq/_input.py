"""What the commands share about what users give them: the error, imports by name, and what is printed and written."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any


def one_line(told: object) -> str:
    """What is told, in one line of characters that print."""
    return " ".join("".join(one if one.isprintable() else " " for one in str(told)).split())


class InputError(Exception):
    """What was asked for is impossible; the message tells why in one line."""


def need(module: str, package: str, extra: str = "demo") -> ModuleType:
    """The imported module, or an InputError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f'this needs {package}: in a checkout of fq, pip install -e ".[{extra}]"') from None


def imported(option: str, path: str, form: str) -> Any:
    """What a path like pkg.mod:name, given for an option, stands for."""
    module, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"argument {option}: {path} is no {form}: {error}") from None
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise InputError(f"argument {option}: {path} cannot be imported: {type(error).__name__}: {error}") from None
    return found


def print_in_any_encoding(told: str) -> None:
    """Print it, with escapes for characters that standard output cannot encode."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(told.encode(encoding, "backslashreplace").decode(encoding))


def check_writable(option: str, path: str | None) -> None:
    """Raise an InputError if the file given for an option cannot be written: before there is anything to write."""
    try:
        possible = path is None or (not Path(path).is_dir() and Path(path).parent.is_dir())
    except (OSError, ValueError):  # the name is too long, or has a zero byte
        possible = False
    if not possible:
        raise InputError(f"argument --{option}: {path} cannot be written")


def write(option: str, path: str, told: str) -> None:
    """Write the file given for an option."""
    try:
        Path(path).write_text(told, "utf-8")
    except OSError as error:
        raise InputError(f"argument --{option}: {path} cannot be written: {error.strerror}") from None


@contextmanager
def progress(total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """What moves a bar on standard error on, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda _: None
        return
    with tqdm(total=total, unit=unit, unit_scale=True, file=sys.stderr, leave=False) as bar:
        yield bar.update
