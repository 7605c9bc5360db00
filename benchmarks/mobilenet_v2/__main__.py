"""The options of `python -m benchmarks.mobilenet_v2`, its processes, and what it writes.

Peak memory is that of processes of their own, in which nothing but the steps of one way ran. Times are of steps that
take turns in one process, the others' networks waiting.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from benchmarks import machine, timing
from benchmarks.__main__ import Parser, positive
from benchmarks.mobilenet_v2 import table
from benchmarks.mobilenet_v2.net import NETS
from benchmarks.mobilenet_v2.training import Trainer
from benchmarks.mobilenet_v2.ways import LEARNED, WAYS


def parser():
    """The options."""
    options = Parser(
        prog="python -m benchmarks.mobilenet_v2",
        description="What each way of fake quantization costs a training step of MobileNetV2. Takes about fifteen "
        "minutes, and with --quick one.",
    )
    add = options.add_argument
    add("--learn-scale", action="store_true", help="learned scales of 4 bits (LSQ), and what each way keeps for them")
    add("--net", choices=NETS, default="mobilenet_v2", help="the network (default: mobilenet_v2)")
    add("--batch", type=positive, metavar="N", default=32, help="images of a step (default: 32)")
    add("--size", type=positive, metavar="N", default=224, help="pixels of a side (default: 224)")
    add("--steps", type=positive, metavar="N", default=5, help="steps before the loss is read (default: 5)")
    add("--processes", type=positive, metavar="N", default=5, help="of each way, for its peak memory (default: 5)")
    add("--rounds", type=positive, metavar="N", default=31, help="steps of each way that are timed (default: 31)")
    add("--threads", type=positive, metavar="N", default=os.cpu_count() or 1, help="default: all")
    add("--out", type=Path, metavar="DIR", help="write NET.md, .json and .svg here, or learned_NET")
    options.add_quick(batch=2, size=32, steps=1, processes=1, rounds=1, threads=1)
    add("--alone", choices={**WAYS, **LEARNED}, help=argparse.SUPPRESS)  # what each process measures
    return options


def alone(chosen):
    """Peak memory and losses of a process that does nothing else."""
    trainer = Trainer(chosen.alone, chosen.batch, chosen.size, chosen.net)
    losses = [trainer.next_step() for _ in range(chosen.steps + 1)]
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "losses": losses}


def of_a_process(way, chosen):
    """What `alone` says in a new process."""
    options = {"alone": way, **{name: getattr(chosen, name) for name in ("net", "batch", "size", "steps", "threads")}}
    arguments = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "benchmarks.mobilenet_v2", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measured(chosen):
    """A row per way."""
    ways = LEARNED if chosen.learn_scale else WAYS
    processes = tqdm(list(ways) * chosen.processes, desc="processes", unit="process", file=sys.stderr)
    found = [{"way": way, **of_a_process(way, chosen)} for way in processes]
    rows = found[: len(ways)]
    for row in rows:
        row["peaks_bytes"] = [one["peak_bytes"] for one in found if one["way"] == row["way"]]
        row["peak_bytes"] = median(row["peaks_bytes"])
    trainers = [Trainer(way, chosen.batch, chosen.size, chosen.net) for way in ways]
    candidates = [_candidate(row["way"], trainer) for row, trainer in zip(rows, trainers, strict=True)]
    for row, seconds in zip(rows, timing.interleave(candidates, chosen.rounds, 1)[0], strict=True):
        row["seconds"] = seconds
        row["median_seconds"] = median(seconds)
    for row, trainer in zip(rows, trainers, strict=True):
        row["saved_bytes"] = trainer.saved_bytes()  # of a step like any other: in the first, all is inside the ranges
    return rows


def _candidate(way, trainer):
    """A step of a way, whose batch is made ready untimed."""
    return timing.Candidate(way, trainer.step, prepare=trainer.next_batch)


def main(arguments=None):
    """Measure, print, write; the exit code."""
    chosen = parser().parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    if chosen.alone is not None:
        json.dump(alone(chosen), sys.stdout)
        return 0
    names = "net", "learn_scale", "batch", "size", "steps", "processes", "rounds", "threads"
    settings = {name: getattr(chosen, name) for name in names}
    result = {"machine": machine.describe(), "settings": settings, "rows": measured(chosen)}
    print(table.markdown(result))
    if chosen.out is not None:
        table.write(result, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
