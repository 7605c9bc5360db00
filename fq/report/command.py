"""What ``python -m fq report`` runs: reads a file tensor by tensor with a progress bar, and tells what was found."""

import argparse
import json
from pathlib import Path

from fq._input import InputError, check_writable, one_line, print_in_any_encoding, progress, write
from fq.report.activations import activations, read_feeds
from fq.report.files import load, open_tensors
from fq.report.report import Report
from fq.report.statistics import BITS, Measured, measure
from fq.report.table import as_csv, as_text

__all__ = ["run"]

_GROUPS = 2, 4096


def run(args: argparse.Namespace) -> int:
    """Measure and tell as the arguments say; returns the exit code."""
    _check(args)
    path = Path(args.file)
    kind, tensors = open_tensors(path)
    if args.activations is not None and kind != "ONNX":
        raise InputError(f"argument --activations: only an ONNX model can be run, and {one_line(path)} is {kind}")
    feeds = None if args.activations is None else read_feeds(args.activations)
    measured = []
    with progress(sum(one.size for one in tensors if one.load), "w") as advance:
        for one in tensors:
            if args.axis is not None and -len(one.shape) <= args.axis < len(one.shape):
                one = one._replace(axis=args.axis)
            measured.append(measure(one, load(path, one), args.group, advance) if one.load else Measured(one))
        if feeds is not None:
            for one, array in activations(path, feeds):
                measured.append(measure(one, array, args.group, lambda _: None))
    report = Report(path.name, kind, args.group, measured)
    report.plan(args.budget)
    _tell(report, args)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.budget is not None and not BITS[0] <= args.budget < float("inf"):
        raise InputError(f"argument --budget: must be at least {BITS[0]} bits per weight, got {args.budget:g}")
    if not _GROUPS[0] <= args.group <= _GROUPS[1]:
        raise InputError(f"argument --group: must be {_GROUPS[0]} to {_GROUPS[1]} elements, got {args.group}")
    check_writable("html", args.html)


def _tell(report: Report, args: argparse.Namespace) -> None:
    """To standard output first: a file that cannot be written loses no run."""
    if args.json:
        print(json.dumps(report.to_dict(), allow_nan=False))
    else:
        print_in_any_encoding(as_csv(report) if args.csv else as_text(report))
    if args.html is not None:
        from fq.report.page import as_html

        write("html", args.html, as_html(report))
