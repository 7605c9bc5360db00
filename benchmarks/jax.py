"""fq.jax beside the usual formula with a saved boolean mask, both under jax.jit: `python -m benchmarks.jax`.

Each number of threads is a process of its own, bound to so many cores, since XLA's threads cannot be set within one.
And each by what the allocator does with freed memory, as new pages cost more than the computation. As it is, glibc
gives back to the system what exceeds twice the largest array that was freed, so that two results of 4 MiB and their
bits may be new each time; in a program that has freed a larger array, they are not. Kept: by glibc's switches, nothing
is given back.
"""

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks import machine, report, timing
from benchmarks.__main__ import Parser, positive, size

SCALE, QMIN, QMAX = 0.05, -128, 127
PARTS = "forward", "backward", "forward, then backward", "both in one jit"
LARGER = "after a larger array"
MEMORY = {
    "as it is": {},
    LARGER: {},
    "kept": {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**33)},
}
PAUSE = 0.003  # lets thread pools fall asleep before the next candidate


def formula():
    """The formula as one writes it: x and the mask, a byte per element."""
    import jax
    import jax.numpy as jnp

    @jax.custom_vjp
    def fake_quantize(x, scale):
        return jnp.clip(jnp.round(x / scale), QMIN, QMAX) * scale

    def forward(x, scale):
        q = jnp.round(x / scale)
        return jnp.clip(q, QMIN, QMAX) * scale, (q >= QMIN) & (q <= QMAX)

    def backward(mask, dy):
        return dy * mask, None

    fake_quantize.defvjp(forward, backward)
    return fake_quantize


def calls(function, x, dy, scale):
    """part -> a call of it, and what is kept between forward and backward."""
    import jax

    def forward(x, scale):
        return jax.vjp(lambda x: function(x, scale), x)

    def both(x, dy, scale):
        y, vjp = forward(x, scale)
        return y, vjp(dy)[0]

    forward_jit, backward_jit, both_jit = jax.jit(forward), jax.jit(lambda vjp, dy: vjp(dy)[0]), jax.jit(both)
    _, vjp = forward_jit(x, scale)

    def one_after_the_other():
        y, kept = jax.block_until_ready(forward_jit(x, scale))
        return y, backward_jit(kept, dy)

    found = {
        "forward": partial(forward_jit, x, scale),
        "backward": partial(backward_jit, vjp, dy),
        "forward, then backward": one_after_the_other,
        "both in one jit": partial(both_jit, x, dy, scale),
    }
    return {part: partial(finished, call) for part, call in found.items()}, jax.tree.leaves(vjp)


def finished(call):
    """What the call gives, when it is there."""
    import jax

    return jax.block_until_ready(call())


def free_a_larger_array():
    """One of 16 MiB, which glibc takes from the system and gives back."""
    np.empty(2**24, np.uint8).fill(0)


def cell(elements, rounds):
    """Rows of both implementations on one array of so many elements."""
    import jax
    import jax.numpy as jnp

    import fq.jax

    rng = np.random.default_rng(1)
    x, dy = (jnp.asarray(rng.standard_normal(elements, np.float32)) for _ in range(2))
    scale = jnp.float32(SCALE)
    ours, our_residuals = calls(lambda x, scale: fq.jax.fake_quantize(x, scale, 0, QMIN, QMAX), x, dy, scale)
    theirs, their_residuals = calls(formula(), x, dy, scale)
    rows = []
    for part in PARTS:
        if not jax.tree.all(jax.tree.map(np.array_equal, leaves(ours[part]()), leaves(theirs[part]()))):
            raise AssertionError(f"{part}: the results differ")
        pair = [timing.Candidate("fq", ours[part]), timing.Candidate("formula", theirs[part])]
        samples = timing.interleave(pair, rounds, max(2, 2**24 // elements), PAUSE)[0]
        us, formula_us = (float(np.median(each)) * 1e6 for each in samples)
        rows.append({"elements": elements, "part": part, "fq_us": us, "formula_us": formula_us})
        rows[-1]["times_the_formula"] = formula_us / us
        rows[-1]["residual_bytes"] = sum(leaf.nbytes for leaf in our_residuals)
        rows[-1]["formula_residual_bytes"] = sum(leaf.nbytes for leaf in their_residuals)
    return rows


def leaves(result):
    """The results that have values in common: y and dx, not the masks."""
    import jax

    return [leaf for leaf in jax.tree.leaves(result) if leaf.dtype == np.float32]


def parser():
    """The options."""
    told = "Speed and residual bytes of fq.jax. Takes about three minutes, and with --quick some seconds."
    options = Parser(prog="python -m benchmarks.jax", description=told)
    add = options.add_argument
    add("--sizes", nargs="+", type=size, metavar="N", default=[2**16, 2**20, 2**24], help="default: 64K 1M 16M")
    add("--threads", nargs="+", type=positive, metavar="N", help="default: 1, and all")
    add("--rounds", type=positive, metavar="N", help="samples of each candidate (default: by size)")
    add("--out", type=Path, metavar="DIR", help="write jax.md and jax.json here")
    options.add_quick(sizes=[2**12], threads=[1], rounds=3)
    add("--cells", choices=MEMORY, help=argparse.SUPPRESS)  # what each process measures
    return options


def measured(threads, memory, sizes, rounds):
    """The rows of one process."""
    arguments = ["--cells", memory, "--threads", threads, "--sizes", *sizes, *(["--rounds", rounds] if rounds else [])]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.jax", *map(str, arguments)],
        env={**os.environ, "FQ_NUM_THREADS": str(threads), **MEMORY[memory]},
        stdout=subprocess.PIPE,
        check=True,
    )
    return [{"threads": threads, "memory": memory, **row} for row in json.loads(done.stdout)]


def markdown(result):
    """The result as a page."""
    described = result["machine"]
    heads = ["elements", "threads", "memory", "part", "fq, us", "formula, us", "formula / fq", "residual bytes"]
    lines = ["# fq.jax beside the formula with a boolean mask", "", "float32; medians of calls that take turns.", ""]
    lines += [f"- {described['processor']}, {described['cores']} cores, {described['system']}"]
    lines += ["- " + ", ".join(f"{name} {version}" for name, version in described["versions"].items())]
    lines += [f"- load {result['load']}, {described['date']}", ""]
    lines += [report.line(heads), report.line(["---"] * len(heads))]
    for row in result["rows"]:
        values = [report.size_text(row["elements"]), row["threads"], row["memory"], row["part"]]
        values += [f"{row['fq_us']:.0f}", f"{row['formula_us']:.0f}", f"{row['times_the_formula']:.2f}"]
        values += [f"{row['residual_bytes']:,} : {row['formula_residual_bytes']:,}"]
        lines.append(report.line(map(str, values)))
    return "\n".join(lines) + "\n"


def bind(threads):
    """Run on so many of the cores, where the system can be told so."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main(arguments=None):
    """Measure, print, write; the exit code."""
    chosen = parser().parse_args(arguments)
    counts = chosen.threads or sorted({1, os.cpu_count() or 1})
    if chosen.cells:
        bind(counts[0])
        if chosen.cells == LARGER:
            free_a_larger_array()
        json.dump([row for n in chosen.sizes for row in cell(n, chosen.rounds or 15)], sys.stdout)
        return 0
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    processes = [(threads, memory) for threads in counts for memory in MEMORY]
    progress = tqdm(processes, desc="benchmarks.jax", unit="process", file=sys.stderr)
    rows = [row for each in progress for row in measured(*each, chosen.sizes, chosen.rounds)]
    result = {"machine": machine.describe(), "load": load, "rows": rows}
    print(markdown(result))
    if chosen.out is not None:
        report.save(chosen.out, "jax", markdown(result), result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
