"""What is measured: the grid of fq's functions, a small call, per-channel rows, learnable gradients, and the peers."""

import math
from functools import partial

import numpy as np

import fq
from benchmarks import peers
from benchmarks.timing import ADD, COPY, FORWARD, Candidate, Cell

FUNCTIONS = ["fake_quantize", "forward", "backward", "backward_recompute", "forward_packed", "backward_packed"]
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


def packed_shape(shape):
    """The shape of the packed mask of an array of this shape."""
    return (*shape[:-1], -(-shape[-1] // 8))


def copy_of(x):
    """The yardstick: np.copyto into an array that is already in memory."""
    return Candidate(COPY, partial(np.copyto, touched(x.shape, x.dtype), x), gives="a copy")


def calls_on(x, scale, zero_point, names):
    """name -> a call of that function of fq on x, all arguments and outputs made beforehand."""
    grid = scale, zero_point, np.array(QMIN, np.int64), np.array(QMAX, np.int64)
    dy, y = normal(x.shape, x.dtype, 2), touched(x.shape, x.dtype)
    mask, bits = touched(x.shape, np.bool_), touched(packed_shape(x.shape), np.uint8)
    fq.forward(x, *grid, out=(y, mask))
    if any("packed" in name for name in names):
        fq.forward_packed(x, *grid, out=(y, bits))
    arguments = {
        "fake_quantize": ((x, *grid), y),
        "forward": ((x, *grid), (y, mask)),
        "backward": ((dy, mask), y),
        "backward_recompute": ((dy, x, *grid), y),
        "forward_packed": ((x, *grid), (y, bits)),
        "backward_packed": ((dy, bits), y),
    }
    return {name: partial(getattr(fq, name), *arguments[name][0], out=arguments[name][1]) for name in names}


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


def rows_cell(title, shape, axis, target):
    """A scale and zero point per channel, along `axis` of an array of this shape."""
    x = normal(shape, np.float32, 1)
    channels = shape[axis]
    scale = np.linspace(0.04, 0.06, channels, dtype=np.float32)
    zero_point = np.arange(channels, dtype=np.int64) % 5 - 2
    along = (channels,) + (1,) * (len(shape) - 1 - axis)
    names = [name for name in ("forward", "forward_packed") if hasattr(fq, name)]
    prepare = partial(use, target, 1)
    candidates = [
        Candidate(f"fq.{name}", call, prepare, target, 1, "y and bits" if "packed" in name else "y and mask")
        for name, call in calls_on(x, scale.reshape(along), zero_point.reshape(along), names).items()
    ]
    theirs = peers.build("PyTorch eager per channel", x, 1, scale, zero_point, axis)
    return with_peers(Cell(title, "float32", x.shape, x.size, [copy_of(x), *candidates]), [theirs])


def learnable_cell(title, shape, axis, target, with_torch):
    """backward_learnable beside np.add of its two inputs: a scale for all, or one per channel along `axis`."""
    x, dy, dx = normal(shape, np.float32, 1), normal(shape, np.float32, 2), touched(shape, np.float32)
    channels = () if axis is None else (shape[axis],)
    scale = np.linspace(0.04, 0.06, math.prod(channels), dtype=np.float32).reshape(channels)
    zero_point = np.zeros(channels, np.int64)
    along = () if axis is None else channels + (1,) * (len(shape) - 1 - axis)
    qparams = scale.reshape(along), zero_point.reshape(along), QMIN, QMAX
    call = partial(fq.backward_learnable, dy, x, *qparams, out=(dx, None, None))
    candidates = [
        copy_of(x),
        Candidate(ADD, partial(np.add, dy, x, out=dx), gives="a sum"),
        Candidate("fq.backward_learnable", call, partial(use, target, 1), target, 1, "dx and sums"),
    ]
    theirs = [peers.build("PyTorch learnable", x, 1, dy, scale, zero_point, axis)] if with_torch else []
    return with_peers(Cell(title, "float32", x.shape, x.size, candidates), theirs)


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
