"""What ``python -m fq equivalence`` does: checks candidates with a progress line, and writes what it found."""

import argparse
import ctypes
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from fq._input import InputError, check_writable, imported, need, print_in_any_encoding, write

__all__ = ["run"]

_NEEDED = "hypothesis and tqdm", "testing"


def run(args: argparse.Namespace) -> int:
    """Check, read and write as the arguments say; returns the exit code."""
    if args.examples < 1:
        raise InputError(f"argument --examples: must be 1 or more, got {args.examples}")
    testing = need("fq.testing", *_NEEDED)
    for name in ("html", "markdown"):
        check_writable(name, getattr(args, name))
    reports = [report for path in args.read for report in _read(path, testing)]
    with _candidates_print_elsewhere():
        candidates, absent = _chosen(args)
        reports += _checked(candidates, args, testing)
    _told(reports, absent, args)
    return int(args.strict and not all(report.ok for report in reports))


def _told(reports: list[Any], absent: list[str], args: argparse.Namespace) -> None:
    """Write what was found, to standard output first: a file that cannot be written loses no run."""
    from fq.testing import render

    if args.json:
        print(json.dumps({"reports": [report.to_dict() for report in reports], "absent": absent}, indent=1))
    else:
        print_in_any_encoding(render.text(reports, absent))
    if args.html is not None:
        write("html", args.html, render.html(reports, absent))
    if args.markdown is not None:
        write("markdown", args.markdown, render.markdown(reports, _command(args)))


def _read(path: str, testing: ModuleType) -> list[Any]:
    try:
        made = json.loads(Path(path).read_text("utf-8"))
        if not isinstance(made, dict) or not isinstance(made.get("reports"), list):
            raise ValueError("it has no list of reports")
        return [testing.Report.from_dict(one) for one in made["reports"]]
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"argument --from: {path} is no output of --json of this version: {error}") from None


def _chosen(args: argparse.Namespace) -> tuple[list[Any], list[str]]:
    """The candidates named, and those that come with fq if none is and nothing is read; and why some are not here."""
    own = [_imported(path) for path in args.candidate]
    if not args.names and (own or args.read):
        return own, []
    from fq.testing.candidates import load

    found, absent = load(args.arithmetic)
    if not args.names:
        return list(found), absent
    for name in args.names:
        if not any(name.lower() in one.name.lower() for one in found):
            told = "; ".join([", ".join(one.name for one in found), *absent])
            raise InputError(f"no candidate {name!r}: there are {told}")
    return own + [one for one in found if any(name.lower() in one.name.lower() for name in args.names)], []


def _imported(path: str) -> Any:
    """The attribute that MODULE:ATTRIBUTE names, called if it is a class."""
    found = imported("--candidate", path, "MODULE:ATTRIBUTE")
    try:
        found = found() if isinstance(found, type) else found
        callable_ = callable(getattr(found, "forward", found))
    except (Exception, SystemExit) as error:
        raise InputError(f"argument --candidate: {path}: {type(error).__name__}: {error}") from None
    if not callable_:
        raise InputError(f"argument --candidate: {path} is neither a function nor has a method forward")
    return found


def _checked(candidates: list[Any], args: argparse.Namespace, testing: ModuleType) -> list[Any]:
    if not candidates:
        return []
    tqdm, reports = need("tqdm", *_NEEDED).tqdm, []
    laws = len(candidates) * len(testing.ALL)
    with _hypothesis_elsewhere(), tqdm(total=laws, unit="law", file=sys.stderr) as bar:
        for candidate in candidates:
            try:
                subject = testing.Subject(candidate)
            except TypeError as error:
                raise InputError(f"argument --candidate: {error}") from None
            bar.set_description(subject.name)
            how = {"arithmetic": args.arithmetic, "examples": args.examples, "seed": args.seed}
            reports.append(testing.check(subject, **how, progress=bar.update))
    return reports


@contextmanager
def _candidates_print_elsewhere() -> Iterator[None]:
    """What a candidate prints, from Python or from C, goes to standard error, so that standard output is the result."""
    _flush()
    try:
        ours, theirs = os.dup(1), os.dup(2)
        os.dup2(theirs, 1)
    except OSError:  # one of them is closed
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield
        return
    try:
        with open(theirs, "w", 1, "utf-8", "backslashreplace") as stream, redirect_stdout(stream):
            yield
    finally:
        _flush()
        os.dup2(ours, 1)
        os.close(ours)


def _flush() -> None:
    """What was printed and not yet written, by Python and by C."""
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(AttributeError, OSError, ValueError):  # none, or closed
            stream.flush()  # type: ignore[union-attr]
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).fflush(None)


@contextmanager
def _hypothesis_elsewhere() -> Iterator[None]:
    """hypothesis would leave its folder where the command is run."""
    from hypothesis.configuration import set_hypothesis_home_dir

    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)


def _command(args: argparse.Namespace) -> str:
    """The command as one would type it again, without the files it read and wrote."""
    words = ["python -m fq equivalence", *map(shlex.quote, args.names)]
    words += [f"--candidate {shlex.quote(one)}" for one in args.candidate]
    return " ".join(words + ["--from RUN.json ..."] * bool(args.read) + ["--markdown FILE"])
