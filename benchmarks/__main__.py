"""The command line of the benchmarks: what to measure, and where to write it."""

import argparse
import contextlib
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

import fq
from benchmarks import machine, report, sections, timing
from benchmarks.peers import ALL_THREADS

TOLD = (
    "Speed of fq relative to memcpy, and to its peers. Takes about two minutes, with --peers three, and with --quick "
    "some seconds."
)
UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
SHORT_ROWS, CHANNELS_LAST = (32, 160, 7, 7), (32, 56, 56, 144)
LEARNABLE = {  # title -> the shape for so many elements, and the axis of the channels
    "learnable, per tensor": (lambda n: (n,), None),
    "learnable, per channel": (lambda n: (-(-n // 256), 256), 0),
    "learnable, channels last": (lambda n: (-(-n // 144), 144), 1),
}
QUICK_SIZES, QUICK_ROUNDS, QUICK_CALLS = [1000, 4096], 3, 2
QUICK_SHORT_ROWS, QUICK_CHANNELS_LAST = (2, 5, 7, 7), (2, 3, 4, 24)
LONG_ROWS, QUICK_LONG_ROWS = (16, 64, 256), (2, 3, 32)
GROUPS = (32, 64, 128)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")

    def add_quick(self, **smaller):
        """Add --quick, with which these are the defaults: what is given beside it stays."""
        self.add_argument("--quick", action="store_true", help="small and few: to see that it runs, not how fast")
        self._smaller = smaller

    def parse_args(self, *arguments, **more):
        """As of every parser, --quick carried out."""
        chosen = super().parse_args(*arguments, **more)
        if getattr(chosen, "quick", False) and self._smaller:
            self.set_defaults(**self._smaller)
            chosen = super().parse_args(*arguments, **more)
        return chosen


def size(text):
    """65536 for 64K or 64Ki."""
    number = text.lower().removesuffix("i")
    unit = UNITS.get(number[-1:], 1)
    digits = number[:-1] if unit > 1 else number
    if not digits.isdecimal() or int(digits) == 0:
        raise argparse.ArgumentTypeError(f"not a size: {text!r} (try 4096, 64K or 16M)")
    return int(digits) * unit


def positive(text):
    """A positive integer."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"not a positive integer: {text!r}")
    return int(text)


def parser():
    """The options."""
    options = Parser(prog="python -m benchmarks", description=TOLD)
    add = options.add_argument
    add("--sizes", nargs="+", type=size, metavar="N", help="elements, such as 4096, 64K or 16M (default: 64K 1M 16M)")
    add("--types", nargs="+", choices=sections.TYPES, default=["float32"], help="default: float32")
    add("--functions", nargs="+", choices=sections.FUNCTIONS, default=sections.FUNCTIONS, help="default: all")
    add("--targets", nargs="+", choices=fq._core.targets(), default=[fq._core.target()], help="default: the one in use")
    add("--threads", nargs="+", type=positive, default=[1], metavar="N", help="numbers of threads (default: 1)")
    add("--rounds", type=positive, metavar="N", help="samples of each candidate (default: about a second for a cell)")
    add("--peers", action="store_true", help="also measure what is installed of the other libraries")
    options.add_quick()  # whose sizes and rounds depend on what else is asked for
    add("--out", type=Path, metavar="DIR", help="write results.md, results.json and speed.svg here")
    return options


def parsed(arguments):
    """The options, checked as far as argparse cannot."""
    options = parser()
    chosen = options.parse_args(arguments)
    chosen.sizes = chosen.sizes or (QUICK_SIZES if chosen.quick else [2**16, 2**20, 2**24])
    if max(chosen.threads) > 1 and not hasattr(fq, "set_num_threads"):
        options.error("this fq has no set_num_threads: only --threads 1")
    if "bfloat16" in chosen.types and not find_spec("ml_dtypes"):
        options.error("--types bfloat16 needs ml_dtypes: pip install ml_dtypes")
    if chosen.out is not None:
        if not find_spec("matplotlib"):
            options.error("--out needs matplotlib: pip install matplotlib")
        try:
            chosen.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            options.error(f"--out {chosen.out}: {error.strerror}")
    return chosen


def observed():
    """The titles of what an observer is measured with, as far as this fq and this machine have them."""
    titles = sections.OBSERVED if hasattr(fq, "Observer") else {}
    return [title for title, (name, *_) in titles.items() if name != "bfloat16" or find_spec("ml_dtypes")]


def cells(chosen, functions):
    """Functions that build the cells to measure: built one at a time, they do not share the memory."""
    target = fq._core.target()
    quick = QUICK_SHORT_ROWS, QUICK_CHANNELS_LAST, QUICK_LONG_ROWS
    short, last, long = quick if chosen.quick else (SHORT_ROWS, CHANNELS_LAST, LONG_ROWS)
    dtypes = [sections.dtype_of(name) for name in chosen.types]
    grid = (functions, chosen.targets, chosen.threads)
    found = [partial(sections.grid_cell, dtype, n, *grid) for dtype in dtypes for n in chosen.sizes]
    found += [
        partial(sections.small_cell, target),
        partial(sections.rows_cell, "per channel, short rows", short, 1, target),
        partial(sections.rows_cell, "per channel, channels last", last, 3, target),
        partial(sections.rows_cell, "per channel, long rows", long, 1, target),
        partial(sections.rows_cell, "per channel, rows with gaps", long, 1, target, sections.with_gaps),
        partial(
            sections.rows_cell,
            "per channel, permuted axes",
            (*long[:2], 16, long[2] // 16),
            1,
            target,
            sections.permuted,
        ),
    ]
    found += [partial(sections.groups_cell, n, group, target) for group in GROUPS for n in chosen.sizes]
    alone = [sections.allocating_cell, sections.read_cell, *[sections.integers_cell] * hasattr(fq, "quantize")]
    alone += [sections.formats_cell] * hasattr(fq, "blocks")
    found += [partial(cell, n, target) for cell in alone for n in chosen.sizes]
    found += [
        partial(sections.learnable_cell, title, shape(n), axis, target, chosen.peers)
        for title, (shape, axis) in LEARNABLE.items()
        for n in chosen.sizes
    ]
    found += [
        partial(sections.ranges_cell, title, (2, 32) if chosen.quick else shape, target)
        for title, (shape, _) in sections.RANGES.items()
    ]
    found += [partial(sections.observer_cell, title, n, target) for title in observed() for n in chosen.sizes]
    return found + [partial(sections.peers_cell, n, target, ALL_THREADS) for n in chosen.sizes] * chosen.peers


@contextlib.contextmanager
def settings_restored():
    """Puts back the SIMD target and the numbers of threads."""
    target, threads = fq._core.target(), fq.get_num_threads() if hasattr(fq, "get_num_threads") else 1
    torch = sys.modules.get("torch")
    torch_threads = torch and torch.get_num_threads()
    try:
        yield
    finally:
        sections.use(target, threads)
        if torch:
            torch.set_num_threads(torch_threads)


def run(chosen):
    """Everything asked for, as one dict ready for JSON."""
    functions = [name for name in chosen.functions if getattr(fq, name, None) is not None]
    notes = [f"fq.{name}: this fq does not have it" for name in chosen.functions if name not in functions]
    rows, calls = [], QUICK_CALLS if chosen.quick else None
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else None)
    with settings_restored():
        for build in tqdm(cells(chosen, functions), desc="benchmarks", unit="cell", file=sys.stderr):
            cell = build()
            rows += timing.measure(cell, rounds, calls)
            notes += cell.notes
    settings = {name: getattr(chosen, name) for name in ("sizes", "types", "targets", "threads", "peers", "quick")}
    settings["functions"] = functions
    return {"machine": machine.describe(), "settings": settings, "notes": list(dict.fromkeys(notes)), "rows": rows}


def main(arguments=None):
    """Measure, print, write; the exit code."""
    chosen = parsed(arguments)
    result = run(chosen)
    print(report.markdown(result))
    if chosen.out is not None:
        from benchmarks import plot

        report.write(result, chosen.out)
        plot.save(plot.picture(result["rows"]), chosen.out / "speed.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
