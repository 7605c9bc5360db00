"""Feeds fq arrays and parameters of every kind, guided by coverage, and compares with fq.reference.

    python tests/fuzz/fuzz.py --seconds 60 [CORPUS ...]

Each input is a few bytes that choose a function and make its arguments: shapes, strides, offsets, types, byte order,
alignment, out=, overlap, read-only outputs, bits of any length, and parameters good and bad. What fq returns must be
the reference's bits, what it refuses must be a TypeError or ValueError, what it refuses it must refuse again, and
inputs must stay as they were.
"""

import argparse
import sys
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["fq"]):
    import fq

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = np.float32

NAMES = "fake_quantize", "forward", "forward_packed", "backward", "backward_packed", "backward_recompute", "learnable"
FLOATS = [np.dtype(t) for t in (np.float16, bfloat16, np.float32, np.float64)]
ODD_TYPES = [np.dtype(t) for t in ("i4", "c8", "O", "U3", "M8[s]", ">f4", ">f8", "f2", "?", "u8")]
SCALES = [0.1, 1.0, 0.25, 1 / 3, 1e-30, 1e30, 1e-40, 3e38, 1e-320, 0.0, -1.0, float("nan"), float("inf"), "1", None, 1j]
LEVELS = [0, 1, -8, 7, 127, -128, 255, 2**24, -(2**24), 2**53, 2**63 - 1, -(2**63), 2**64, 0.5, None, True]
COUNTS = {"refused": 0, "compared": 0}


class Source:
    """Choices read from the fuzzer's bytes."""

    def __init__(self, data):
        self.bytes = atheris.FuzzedDataProvider(data)

    def chance(self, one_in):
        return self.bytes.ConsumeIntInRange(0, one_in - 1) == one_in - 1

    def pick(self, values):
        return values[self.bytes.ConsumeIntInRange(0, len(values) - 1)]

    def number(self, low, high):
        return self.bytes.ConsumeIntInRange(low, high)

    def shape(self):
        axes = self.number(0, 3)
        most = self.pick([3, 3, 17, 70, 700 if axes < 2 else 17])
        return tuple(self.number(0 if self.chance(8) else 1, most) for _ in range(axes))

    def values(self, count, dtype):
        """Values of a type: random bits, or ordinary numbers near a grid's ends."""
        rng = np.random.default_rng(self.number(0, 2**16))
        if self.chance(2):
            raw = rng.integers(0, 256, count * dtype.itemsize, np.uint8)
            return raw.view(dtype.newbyteorder("=")).astype(dtype) if dtype.kind in "fV" else raw[:count].astype(dtype)
        with np.errstate(all="ignore"):
            return (np.rint(rng.standard_normal(count) * 20) / self.pick([1, 2, 4, 10])).astype(dtype)

    def array(self, shape, dtype):
        """An array of this shape in one of the layouts that NumPy can give."""
        kind = self.number(0, 7)
        size = int(np.prod(shape))
        flat = self.values(2 * size + 2, dtype) if dtype.kind in "fVbiu" else np.zeros(2 * size + 2, dtype)
        if kind == 1 and size:
            return flat[: 2 * size : 2].reshape(shape)
        if kind == 2 and size:
            return flat[size - 1 :: -1].reshape(shape) if size > 1 else flat[:size].reshape(shape)
        if kind == 3:
            return flat[:size].reshape(shape[::-1]).T
        if kind == 4 and dtype.kind in "fV":
            room = np.empty(size * dtype.itemsize + 1, np.uint8)
            array = np.frombuffer(room.data, np.uint8, size * dtype.itemsize, 1).view(dtype).reshape(shape)
            array[...] = flat[:size].reshape(shape)
            return array
        if kind == 5 and shape and size:
            return np.broadcast_to(flat[: shape[-1]], shape)
        if kind == 6 and dtype.kind == "f":
            return flat[:size].reshape(shape).astype(dtype.newbyteorder())
        return flat[1 : size + 1].reshape(shape)

    def parameter(self, values, shape, dtype):
        """A number, or an array that may broadcast into the shape."""
        value = self.pick(values)
        if self.chance(3) or isinstance(value, str | complex | None):
            return value
        lengths = [length if self.chance(2) else 1 for length in shape]
        if self.chance(12):
            lengths.append(self.number(2, 3))
        try:
            array = np.full(lengths[self.number(0, len(lengths)) :], value)
        except (OverflowError, ValueError):
            return value
        if array.size and array.dtype.kind == "f" and self.chance(2):
            array = array * np.linspace(1, 2, array.size).reshape(array.shape)
        return array.astype(dtype) if self.chance(3) and array.dtype.kind == dtype.kind else array

    def grid(self, shape):
        if self.chance(2):
            scale = np.float32(self.pick([0.1, 0.05, 1.0]))
            if shape and self.chance(2):
                scale = np.linspace(0.05, 0.3, shape[0], dtype=np.float32).reshape((-1,) + (1,) * (len(shape) - 1))
            return scale, self.number(-3, 3), -8, self.pick([7, 3, 127])
        return (
            self.parameter(SCALES, shape, np.dtype(self.pick([np.float32, np.float64]))),
            *(self.parameter(LEVELS, shape, np.dtype(self.pick([np.int8, np.int32, np.int64]))) for _ in range(3)),
        )


def arguments(source, name):
    """The positional arguments of a call."""
    shape = source.shape()
    dtype = source.pick(ODD_TYPES) if source.chance(16) else source.pick(FLOATS)
    x = source.array(shape, dtype)
    if name == "backward":
        return x, source.array(shape, np.dtype(bool))
    if name == "backward_packed":
        bits = (*shape[:-1], max(0, (shape[-1] + 7) // 8 + source.pick([0, 0, 0, 0, 1, -1]))) if shape else shape
        return x, source.array(bits, np.dtype(np.uint8))
    grid = source.grid(shape)
    if name in ("backward_recompute", "learnable"):
        other = shape if not source.chance(12) else (*shape, 2)
        return x, source.array(other, dtype if not source.chance(12) else source.pick(FLOATS)), *grid
    if name == "forward_packed":  # whose qmin and qmax lack the axis that is packed
        ends = (one[..., 0] if isinstance(one, np.ndarray) and one.ndim and one.shape[-1] else one for one in grid[2:])
        return x, *grid[:2], *ends
    return x, *grid


def outcome(function, given, **options):
    """("ok", results) or ("refused", type and text of the error); anything else is a finding."""
    try:
        with np.errstate(all="ignore"):
            found = function(*given, **options)
    except (TypeError, ValueError, OverflowError) as error:
        return "refused", (type(error).__name__, str(error))
    return "ok", found if isinstance(found, tuple) else (found,)


def bits_of(array):
    """Bytes of an array, every NaN the same."""
    array = np.array(array, order="C")
    if array.dtype.kind in "fV":
        array[np.isnan(array)] = np.nan
    return array.dtype.newbyteorder("="), array.shape, array.astype(array.dtype.newbyteorder("=")).tobytes()


def options_for(source, results, given):
    """out=: of the right kind mostly, overlapping an input or read-only at times; and what must stay."""
    options = {}
    if source.chance(2):
        outs = [np.empty(one.shape, one.dtype) for one in results]
        if source.chance(4) and isinstance(given[0], np.ndarray) and given[0].shape == results[0].shape:
            outs[0] = given[0].copy() if not source.chance(2) else given[0]
        if source.chance(4):
            outs[0] = np.asfortranarray(outs[0])
        if source.chance(8):
            outs[0].flags.writeable = False
        if source.chance(8):
            outs[0] = np.empty((*outs[0].shape, 2), outs[0].dtype)
        options["out"] = tuple(outs)
    return options


def check(name, source):
    """One call of fq beside one of the reference."""
    reciprocal = source.chance(3) and name != "backward" and name != "backward_packed"
    real = "backward_learnable" if name == "learnable" else name
    ours = getattr(fq.reciprocal if reciprocal else fq, real)
    theirs = getattr(fq.reference, real)
    given = arguments(source, name)
    kept = [np.array(one, copy=True) if isinstance(one, np.ndarray) else one for one in given]
    kind, found = outcome(ours, given)
    assert outcome(ours, given)[0] == kind, "the second call differs"
    for one, copy in zip(given, kept, strict=True):
        assert not isinstance(one, np.ndarray) or one.tobytes() == copy.tobytes(), "an input was changed"
    if kind == "refused":
        COUNTS["refused"] += 1
        return
    expected = reference(theirs, given, reciprocal)
    if expected is None:
        return
    COUNTS["compared"] += 1
    compare(name, found, expected, given)
    options = options_for(source, [np.asarray(one) for one in found], given)
    if options:
        before = [np.array(one, copy=True) for one in options["out"]]
        kind, again = outcome(ours, given, **options)
        if kind == "ok":
            # As any ufunc, fq repeats its result over an output of more axes.
            compare(name, again, [np.broadcast_to(e, np.shape(a)) for a, e in zip(again, expected, strict=True)], given)
        else:
            assert all(bits_of(a) == bits_of(b) for a, b in zip(options["out"], before, strict=True)), "half a result"


def reference(function, given, reciprocal):
    """The reference's results for native, aligned arguments; None where it takes less than a ufunc does."""
    with np.errstate(all="ignore"):
        plain = [np.asarray(one).astype(np.asarray(one).dtype.newbyteorder("=")) for one in given]
        options = {"arithmetic": "reciprocal"} if reciprocal else {}
        kind, found = outcome(function, plain, **options)
    return None if kind == "refused" else found


def compare(name, found, expected, given):
    """The same bits; sums for scale and zero_point only nearly, and where no term overflows."""
    assert len(found) == len(expected)
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        if name == "learnable" and index:
            one, other = (np.asarray(a, np.float64) for a in (one, other))
            with np.errstate(all="ignore"):
                near = 1e-6 * size_of_terms(*given)
                assert (~(np.abs(one - other) > near + 1e-6 * np.abs(other)) | ~np.isfinite(other)).all(), (one, other)
        else:
            assert bits_of(one) == bits_of(other), (name, index, one, other)


def size_of_terms(dy, _, scale, zero_point, qmin, qmax):
    """An upper bound of the terms of a sum, all together."""
    wide = [np.abs(np.asarray(one, np.float64)).max(initial=0) for one in (scale, zero_point, qmin, qmax)]
    size = np.abs(dy.astype(np.float64)).sum() * (1 + sum(wide))
    return size if size < 1e300 else np.inf  # where parts of a sum may overflow in one order and not in another


def one_input(data):
    """What atheris calls."""
    source = Source(data)
    check(source.pick(NAMES), source)


def main():
    options = argparse.ArgumentParser(description="Fuzz fq against its reference.")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("corpus", nargs="*", type=Path, help="folders; new inputs go to the first")
    chosen = options.parse_args()
    words = [f"-max_total_time={chosen.seconds}", "-max_len=256", "-timeout=60", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *words, *map(str, chosen.corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
