"""fq.dask on workers with less memory than the data: `python -m benchmarks.scale`.

An array of float32 in zarr is read, and then observed, in turn, on clusters of 1, 2 and 4 workers of one thread each;
medians. What moves between the processes is the states, whose size and merging are measured too.
"""

import pickle
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from benchmarks import machine, report
from benchmarks.__main__ import Parser, positive

MIB = 1 << 20
COLUMNS = 512
CHUNK = 16 * MIB
WORKERS = 1, 2, 4
MERGED = 10_000


def made(folder, mib):
    """The path of an array of so many MiB, with NaN and infinities sprinkled in."""
    import zarr

    rows, path = CHUNK // 4 // COLUMNS, str(folder / "x.zarr")
    shape = mib * MIB // 4 // COLUMNS, COLUMNS
    array = zarr.create_array(path, shape=shape, chunks=(rows, COLUMNS), dtype="f4", compressors=None)
    rng = np.random.default_rng(0)
    for start in tqdm(range(0, shape[0], rows), desc="writing", leave=False):
        block = rng.standard_normal((rows, COLUMNS), np.float32)
        block[0, 0], block[-1, -1] = np.nan, np.inf
        array[start : start + rows] = block
    return path


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def on_workers(path, workers, limit, rounds):
    """Seconds of reading and of observing, medians in turn."""
    import dask.array as da
    import distributed

    import fq.dask

    settings = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": limit * MIB, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster):
        x = da.from_zarr(path)
        first = np.empty((0, 0), np.float32)
        read = x.map_blocks(lambda block: block[:1, :1], chunks=((1,) * x.numblocks[0], (1,)), meta=first)
        observed = fq.dask.observe(x)
        read.compute(), observed.compute()
        pairs = [(timed(read.compute), timed(observed.compute)) for _ in range(rounds)]
    reading, observing = (median(one) for one in zip(*pairs, strict=True))
    return {"workers": workers, "reading_s": reading, "observing_s": observing, "ratio": observing / reading}


def of_states():
    """Bytes of a state, as it is pickled, and seconds in which so many merge."""
    import fq

    rng = np.random.default_rng(1)
    observers = [fq.Observer().update(rng.standard_normal(1024, np.float32)) for _ in range(MERGED)]
    large = fq.Observer().update(rng.standard_normal(CHUNK // 4, np.float32))
    both = fq.Observer()

    def merge():
        for one in observers:
            both.merge(one)

    return {"bytes": len(pickle.dumps(large)), "merging_s": timed(merge), "merged": MERGED}


def markdown(result):
    """The result as a page."""
    described, states = result["machine"], result["states"]
    yield from ("# fq.dask at scale", "", f"{result['mib'] / 1024:g} GiB of float32 in zarr, in chunks of 16 MiB;")
    yield f"each worker has one thread and {result['limit_mib']} MiB. Medians of {result['rounds']}, in turn."
    yield ""
    yield f"- {described['processor']}, {described['cores']} cores, {described['system']}, {described['date']}"
    yield "- " + ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    yield f"- the state of a chunk takes {states['bytes'] / 1000:.0f} kB on its way"
    yield f"- {states['merged']:,} states of 1,024 elements merge in {states['merging_s']:.2f} s"
    yield ""
    yield report.line(["workers", "reading, s", "observing, s", "observing / reading"])
    yield report.line(["---"] * 4)
    for row in result["rows"]:
        values = f"{row['workers']}", f"{row['reading_s']:.2f}", f"{row['observing_s']:.2f}", f"{row['ratio']:.2f}"
        yield report.line(values)


def main(arguments=None):
    """Measure, print, write; the exit code."""
    told = f"{__doc__.splitlines()[0]} Takes about four minutes, and with --quick some seconds."
    options = Parser(prog="python -m benchmarks.scale", description=told)
    options.add_argument("--mib", type=positive, default=3072, help="of the array; 3072 if not given")
    options.add_argument("--limit", type=positive, default=700, help="MiB of a worker's memory; 700 if not given")
    options.add_argument("--rounds", type=positive, default=7, help="7 if not given")
    options.add_argument("--workers", type=positive, nargs="+", default=WORKERS, help="1 2 4 if not given")
    options.add_argument("--out", type=Path, help="folder for scale.md and scale.json")
    options.add_quick(mib=64, rounds=1, workers=[1])
    chosen = options.parse_args(arguments)
    warnings.simplefilter("ignore")
    result = {"machine": machine.describe(), "mib": chosen.mib, "limit_mib": chosen.limit, "rounds": chosen.rounds}
    result["states"] = of_states()
    with tempfile.TemporaryDirectory() as folder:
        path = made(Path(folder), chosen.mib)
        result["rows"] = [on_workers(path, workers, chosen.limit, chosen.rounds) for workers in chosen.workers]
    page = "\n".join(markdown(result)) + "\n"
    print(page)
    if chosen.out is not None:
        report.save(chosen.out, "scale", page, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
