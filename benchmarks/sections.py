"""What is measured: the grid of fq's functions, a small call, rows, readers, learnable gradients, and the peers."""

import math
from functools import partial

import numpy as np

import fq
from benchmarks import peers
from benchmarks.timing import ADD, COPY, FORWARD, Candidate, Cell
from fq import _clip, _distribution

ROWS = {name: row for name, row in fq._core.operations().items() if not row["reduction"]}
FUNCTIONS = list(ROWS)
TYPES = ["float16", "bfloat16", "float32", "float64"]
SCALE, ZERO_POINT, QMIN, QMAX = peers.GRID

# Thread pools spin for about a millisecond after a call; this lets them fall asleep before the next candidate.
PAUSE = 0.003


def dtype_of(name):
    """The NumPy dtype; bfloat16 comes from ml_dtypes, else ModuleNotFoundError."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def use(target, threads):
    """Run fq on this SIMD target with so many threads."""
    fq._core._set_target(target)
    if hasattr(fq, "set_num_threads"):
        fq.set_num_threads(threads)


def touched(shape, dtype):
    """An array whose pages are all in memory."""
    array = np.empty(shape, dtype)
    array.fill(0)
    return array


def normal(shape, dtype, seed):
    """Standard normal values."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(dtype)


def with_gaps(shape, dtype):
    """An array whose rows have a gap of 16 elements behind them."""
    return touched((*shape[:-1], shape[-1] + 16), dtype)[..., : shape[-1]]


def permuted(shape, dtype):
    """An array whose last two axes have changed places in memory."""
    return touched((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-1, -2)


def copy_of(x):
    """The yardstick: np.copyto into an array that is already in memory."""
    return Candidate(COPY, partial(np.copyto, touched(x.shape, x.dtype), x), gives="a copy")


def calls_on(x, scale, zero_point, names, lay=touched, **level):
    """name -> a call of that function of fq on x, all arguments and outputs made beforehand, by `lay`."""
    values = {
        "x": x,
        "dy": lay(x.shape, x.dtype),
        "scale": scale,
        "zero_point": zero_point,
        "qmin": np.array(level.get("qmin", QMIN), np.int64),
        "qmax": np.array(level.get("qmax", QMAX), np.int64),
    }
    values["dy"][...] = normal(x.shape, x.dtype, 2)
    calls = {}
    for name, row in ROWS.items():  # what one writes, such as a mask, a later one reads
        function = getattr(fq, name, fq._core.divide[name])
        inputs = [values[operand] for operand in named(row, row["inputs"] + row["parameters"])]
        results, several = function(*inputs), len(row["outputs"]) > 1
        for operand, result in zip(named(row, row["outputs"]), results if several else [results], strict=True):
            if operand not in values:
                values[operand] = (lay if result.shape == x.shape else touched)(result.shape, result.dtype)
            values[operand][...] = result
        out = tuple(values[operand] for operand in named(row, row["outputs"]))
        calls[name] = partial(function, *inputs, out=out if several else out[0])
    return {name: calls[name] for name in names}


def named(row, operands):
    """The names of operands, of which what is packed has another than what is not."""
    return [f"packed {operand}" if operand == row["packed"] else operand for operand in operands]


def scalar_calls(x, names):
    """`calls_on` with one scale and zero point, as 0-d arrays of the types computed in."""
    scale = np.array(SCALE, np.float64 if x.dtype == np.float64 else np.float32)
    return calls_on(x, scale, np.array(ZERO_POINT, np.int64), names)


def grid_cell(dtype, size, functions, targets, threads):
    """Every function on every target with every number of threads, on one array."""
    x = normal((size,), dtype, 1)
    candidates = [
        Candidate(f"fq.{name}", call, partial(use, target, n), target, n)
        for name, call in scalar_calls(x, functions).items()
        for target in targets
        for n in threads
    ]
    return Cell("grid", dtype.name, x.shape, x.size, [copy_of(x), *candidates])


def small_cell(target):
    """Sixteen elements and Python numbers: what a call costs before any work."""
    x = normal((16,), np.float32, 1)
    call = partial(fq.forward, x, *peers.GRID)
    candidates = [copy_of(x), Candidate(FORWARD, call, partial(use, target, 1), target, 1, "y and mask")]
    theirs = peers.build("PyTorch eager", x, 1)
    return with_peers(Cell("small call", "float32", x.shape, x.size, candidates), [theirs])


def rows_cell(title, shape, axis, target, lay=touched):
    """A scale and zero point per channel, along `axis` of an array of this shape, which lies as `lay` makes it."""
    x = lay(shape, np.float32)
    x[...] = normal(shape, np.float32, 1)
    channels = shape[axis]
    scale = np.linspace(0.04, 0.06, channels, dtype=np.float32)
    zero_point = np.arange(channels, dtype=np.int64) % 5 - 2
    along = (channels,) + (1,) * (len(shape) - 1 - axis)
    calls = calls_on(x, scale.reshape(along), zero_point.reshape(along), row_functions(), lay)
    theirs = [peers.build("PyTorch eager per channel", x, 1, scale, zero_point, axis)] if lay is touched else []
    return with_peers(Cell(title, "float32", x.shape, x.size, [copy_of(x), *ours(calls, target)]), theirs)


def row_functions():
    """The functions that rows are measured with, as far as this fq has them."""
    return [name for name in ("forward", "forward_packed", "backward_recompute") if hasattr(fq, name)]


def ours(calls, target, gives=None):
    """A candidate for each of these calls, on one thread."""
    what = {"forward": "y and mask", "forward_packed": "y and bits"}
    return [
        Candidate(f"fq.{name}", call, partial(use, target, 1), target, 1, gives or what.get(name, ""))
        for name, call in calls.items()
    ]


def groups_cell(size, group, target):
    """A scale for every `group` elements along the last axis, levels of four bits."""
    x = normal((-(-size // group), group), np.float32, 1)
    scale = np.abs(x).max(axis=-1, keepdims=True) / np.float32(7)
    calls = calls_on(x, scale, np.array(0), row_functions(), qmin=-8, qmax=7)
    return Cell(f"groups of {group}", "float32", x.shape, x.size, [copy_of(x), *ours(calls, target)])


def integers_cell(size, target):
    """To integers and back, of one scale: beside the copy of the floats."""
    x = normal((size,), np.float32, 1)
    scale, zero_point, y = np.array(SCALE, np.float32), np.array(ZERO_POINT, np.int64), touched(x.shape, x.dtype)
    few = np.array(0.5, np.float32), np.array(0, np.int64)
    q, packed = touched(x.shape, np.int8), touched((-(-size // 2),), np.uint8)
    calls = {
        "quantize": partial(fq.quantize, x, scale, zero_point, -128, 127, out=q),
        "quantize_packed": partial(fq.quantize_packed, x, *few, -8, 7, out=packed),
        "dequantize": partial(fq.dequantize, q, scale, zero_point, out=y),
        "dequantize_packed": partial(fq.dequantize_packed, packed, *few, 4, size, out=y),
    }
    for call in calls.values():
        call()
    return Cell("integers", "float32", x.shape, x.size, [copy_of(x), *ours(calls, target, "8 bits, or 4 packed")])


def formats_cell(size, target):
    """Float formats, other rules of rounding, and blocks along rows of 1024: beside the copy."""
    x = normal((-(-size // 1024), 1024), np.float32, 1)
    y, mask = touched(x.shape, x.dtype), touched(x.shape, bool)
    levels = np.array(SCALE, np.float32), np.array(ZERO_POINT, np.int64), QMIN, QMAX
    calls = {}
    for name in ("e4m3fn", "e2m1fn"):
        given = (x, np.float32(1), *getattr(fq.formats, name))
        calls[f"floats.fake_quantize {name}"] = partial(fq.floats.fake_quantize, *given, out=y)
        calls[f"floats.forward {name}"] = partial(fq.floats.forward, *given, out=(y, mask))
    rules = [rule for rule in fq.rounding.__all__ if isinstance(getattr(fq.rounding, rule), fq.rounding.Rounding)]
    for rule in rules:
        calls[f"rounding.{rule}.forward"] = partial(getattr(fq.rounding, rule).forward, x, *levels, out=(y, mask))
    calls["stochastic.forward"] = partial(fq.stochastic.forward, x, *levels, key=1, out=(y, mask))
    blocks = [name for name in fq.formats.__all__ if isinstance(getattr(fq.formats, name), fq.formats.BlockFormat)]
    for name in blocks:
        format = getattr(fq.formats, name)
        scale = fq.blocks.quantize(x, format).tensor_scale
        calls[f"blocks.forward_packed {name}"] = partial(fq.blocks.forward_packed, x, format, tensor_scale=scale)
    return Cell("formats and rounding", "float32", x.shape, x.size, [copy_of(x), *ours(calls, target, "y and a mask")])


def allocating_cell(size, target):
    """Calls that make their outputs, beside a copy that does."""
    x = normal((size,), np.float32, 1)
    calls = {name: partial(call.func, *call.args) for name, call in scalar_calls(x, row_functions()).items()}
    new = Candidate("x.copy", x.copy, gives="a new copy")
    return Cell("allocating", "float32", x.shape, x.size, [copy_of(x), new, *ours(calls, target, "new arrays")])


def read_cell(size, target):
    """Each call followed by one that reads its first output: what was stored past the cache comes back from memory."""
    x = normal((size,), np.float32, 1)
    copy, calls = copy_of(x), scalar_calls(x, row_functions())
    copied = copy.call.args[0]
    copy.call = partial(both, copy.call, partial(np.max, copied))
    for name, call in calls.items():
        out = call.keywords["out"]
        calls[name] = partial(both, call, partial(np.max, out[0] if isinstance(out, tuple) else out))
    return Cell("followed by a reader of y", "float32", x.shape, x.size, [copy, *ours(calls, target)])


def both(first, second):
    """One call after the other."""
    first()
    second()


def learnable_cell(title, shape, axis, target, with_torch):
    """backward_learnable and those from codes beside np.add: a scale for all, or one per channel along `axis`."""
    x, dy, dx = normal(shape, np.float32, 1), normal(shape, np.float32, 2), touched(shape, np.float32)
    channels = () if axis is None else (shape[axis],)
    scale = np.linspace(0.04, 0.06, math.prod(channels), dtype=np.float32).reshape(channels)
    zero_point = np.zeros(channels, np.int64)
    along = () if axis is None else channels + (1,) * (len(shape) - 1 - axis)
    qparams = scale.reshape(along), zero_point.reshape(along), QMIN, QMAX
    kept = {
        "learnable": x,
        "residual": fq.forward_residual(x, *qparams)[1],
        "residual_packed": fq.forward_residual_packed(x, *qparams)[1],
    }
    calls = {
        f"backward_{how}": partial(getattr(fq, f"backward_{how}"), dy, one, *qparams, out=(dx, None, None))
        for how, one in kept.items()
    }
    candidates = [
        copy_of(x),
        Candidate(ADD, partial(np.add, dy, x, out=dx), gives="a sum"),
        *ours(calls, target, "dx and sums"),
    ]
    theirs = [peers.build("PyTorch learnable", x, 1, dy, scale, zero_point, axis)] if with_torch else []
    return with_peers(Cell(title, "float32", x.shape, x.size, candidates), theirs)


RANGES = {  # title -> the shape of x, and the call: from x and its extremes along the last axis
    "numbers": ((1, 1000), lambda x, low, high: partial(fq.choose_qparams, float(low[0]), float(high[0]), 8)),
    "64 channels": ((64, 576), lambda x, low, high: partial(fq.choose_qparams, low, high, 8)),
    "131,072 groups": ((131072, 32), lambda x, low, high: partial(fq.choose_qparams, low, high, 4)),
    "mse of a tensor": ((1, 2**18), lambda x, low, high: clip_call(x, low, high)),
    "mse of 512 channels": ((512, 4096), lambda x, low, high: clip_call(x, low, high)),
    "calibrate in groups of 32": ((2**17, 32), lambda x, low, high: partial(fq.calibrate, x, 4, group=32)),
}


def ranges_cell(title, shape, target):
    """A grid from a range, a distribution or an array."""
    x = normal(shape, np.float32, 1)
    call = RANGES[title][1](x, x.min(-1), x.max(-1))
    name = f"fq.{call.func.__name__.replace('clip_range', '_clip.clip_range')}"
    candidate = Candidate(name, call, partial(use, target, 1), target, 1, "a grid")
    return Cell(f"ranges, {title}", "float32", x.shape, x.size, [copy_of(x), candidate])


def clip_call(x, low, high):
    """The search of the least error in the distribution of each row of x."""
    bins = _distribution.distribution(x, (1,))
    kind = {"bits": 8, "signed": True, "symmetric": False, "narrow_range": False}
    return partial(_clip.clip_range, bins, low, high, method="mse", **kind)


# title -> type, shape for so many elements, what is kept, and whether values are counted.
OBSERVED = {
    "observer, extremes": ("float32", lambda n: (n,), {}, False),
    "observer, extremes of float16": ("float16", lambda n: (n,), {}, False),
    "observer, extremes of bfloat16": ("bfloat16", lambda n: (n,), {}, False),
    "observer, extremes per channel": ("float32", lambda n: (-(-n // 256), 256), {"axis": 0}, False),
    "observer, extremes, channels last": ("float32", lambda n: (-(-n // 256), 256), {"axis": 1}, False),
    "observer, extremes of groups of 32": ("float32", lambda n: (-(-n // 32), 32), {"group": 32}, False),
    "observer, distribution": ("float32", lambda n: (n,), {}, True),
    "observer, distribution of float16": ("float16", lambda n: (n,), {}, True),
    "observer, distribution of bfloat16": ("bfloat16", lambda n: (n,), {}, True),
    "observer, distribution per channel": ("float32", lambda n: (512, -(-n // 512)), {"axis": 0}, True),
}


def observer_cell(title, size, target):
    """An observer's update beside NumPy's ways: a minimum and a maximum, or a count of the upper bits."""
    name, shape, kept, distribution = OBSERVED[title]
    x = normal(shape(size), dtype_of(name), 1)
    update = partial(fq.Observer(**kept, distribution=distribution).update, x)
    axis = None if not kept else 1 - kept.get("axis", 0)
    ways = {"np.min and np.max": partial(both, partial(np.min, x, axis=axis), partial(np.max, x, axis=axis))}
    if distribution:
        ways = {"np.bincount of the upper bits": partial(count_upper_bits, x)}
    theirs = [Candidate(way, call, gives="counts" if distribution else "extremes") for way, call in ways.items()]
    ours = Candidate(
        "fq.Observer.update", update, partial(use, target, 1), target, 1, "extremes" + " and bins" * distribution
    )
    return Cell(title, name, x.shape, x.size, [copy_of(x), ours, *theirs])


def count_upper_bits(x):
    """How many elements of all have each of the upper 16 bits."""
    bits = x.view(f"u{x.itemsize}").ravel()
    return np.bincount(bits >> (8 * x.itemsize - 16), minlength=2**16)


def peers_cell(size, target, all_threads):
    """fq.forward and its peers, each with one thread and with all."""
    x = normal((size,), np.float32, 1)
    counts = sorted({1, all_threads})
    ours = [n for n in counts if n == 1 or hasattr(fq, "set_num_threads")]
    call = scalar_calls(x, ["forward"])["forward"]
    allocating = partial(fq.forward, *call.args)
    candidates = [
        Candidate(name, each, partial(use, target, n), target, n, "y and mask")
        for name, each in ((FORWARD, call), ("fq.forward, allocating", allocating))
        for n in ours
    ]
    theirs = [peers.build(name, x, n) for name in peers.ADAPTERS if name not in peers.OTHER_WORK for n in counts]
    return with_peers(Cell("peers", "float32", x.shape, x.size, [copy_of(x), *candidates], pause=PAUSE), theirs)


def with_peers(cell, found):
    """The cell with those peers that are there, and a note for each that is not."""
    for peer in found:
        if isinstance(peer, str):
            cell.notes.append(peer)
        else:
            cell.candidates.append(Candidate(peer.name, peer.call, peer.prepare, None, peer.threads, peer.gives))
    return cell
