"""Reads the fuzzer's bytes as arrays in every layout, parameters good and bad, and places for results."""

import atheris
import numpy as np

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = np.float32

FLOATS = [np.dtype(t) for t in (np.float16, bfloat16, np.float32, np.float64)]
ODD_TYPES = [np.dtype(t) for t in ("i4", "c8", "O", "U3", "M8[s]", "g", "?", "u8", "V4", "i1,f4")]
SCALES = [0.1, 1.0, 0.25, 1 / 3, 1e-30, 1e30, 1e-40, 3e38, 1e-320, 0.0, -1.0, float("nan"), float("inf"), "1", None, 1j]
LEVELS = [0, 1, -8, 7, 127, -128, 255, 2**24, -(2**24), 2**53, 2**63 - 1, -(2**63), 2**64, 0.5, None, True]
ENDS = [0.0, -1.0, 1.0, 2.5, 1e-45, 3e38, -3e38, 1e308, -1e308, float("nan"), float("inf"), 3, True, None, "2", 1j]
LONG = 20000  # elements, over NumPy's buffers of 8192 and fq's chunks of 256


class Source:
    """Choices made by the fuzzer's bytes."""

    def __init__(self, data):
        self.bytes = atheris.FuzzedDataProvider(data)

    def chance(self, one_in):
        return self.bytes.ConsumeIntInRange(0, one_in - 1) == one_in - 1

    def pick(self, values):
        return values[self.bytes.ConsumeIntInRange(0, len(values) - 1)]

    def number(self, low, high):
        return self.bytes.ConsumeIntInRange(low, high)

    def shape(self, most_axes=60):
        if self.chance(64):
            return (self.number(LONG - 20, LONG),)
        axes = self.number(0, 3)
        most = self.pick([3, 3, 17, 70, 700 if axes < 2 else 17])
        shape = tuple(self.number(0 if self.chance(8) else 1, most) for _ in range(axes))
        return (1,) * self.number(1, most_axes - axes) + shape if self.chance(16) else shape

    def part_of(self, shape):
        """A shape that broadcasts into this one."""
        lengths = [length if self.chance(2) else 1 for length in shape]
        return tuple(lengths[self.number(0, len(lengths)) :])

    def values(self, count, dtype):
        """Values of a type: random bits, or ordinary numbers near a grid's ends."""
        if dtype.kind not in "fVbiu" or dtype.names:
            return np.zeros(count, dtype)
        rng = np.random.default_rng(self.number(0, 2**16))
        if self.chance(2):
            raw = rng.integers(0, 256, count * dtype.itemsize, np.uint8)
            return raw.view(dtype) if dtype.kind in "fV" else raw[:count].astype(dtype)
        with np.errstate(all="ignore"):
            return (np.rint(rng.standard_normal(count) * 20) / self.pick([1, 2, 4, 10])).astype(dtype)

    def array(self, shape, dtype):
        return self.laid_out(self.values(int(np.prod(shape)), dtype).reshape(shape))

    def laid_out(self, array):
        """The same values in one of the layouts that NumPy can give; broadcast, the values of the first of them."""
        array = np.asarray(array)
        kind, shape, dtype = self.number(0, 8), array.shape, array.dtype
        if kind == 1:
            array = array.copy()
            array.flags.writeable = False
            return array
        if kind == 2 and shape:
            return np.broadcast_to(array[:1], shape)
        view = self.room(kind, shape, dtype)
        view[...] = array
        return view

    def room(self, kind, shape, dtype):
        """A writable array whose elements stand apart, backwards, misaligned, in another order of axes or of bytes."""
        if kind == 3 and shape:
            return np.zeros((*shape[:-1], 2 * shape[-1] + 1), dtype)[..., 1::2]
        if kind == 4 and shape:
            return np.zeros(shape, dtype)[..., ::-1]
        if kind == 5:
            return np.zeros(shape[::-1], dtype).T
        if kind == 6 and not dtype.hasobject:
            return np.ndarray(shape, dtype, bytearray(int(np.prod(shape)) * dtype.itemsize + 1), 1)
        if kind == 7 and dtype.kind in "fiu":
            return np.zeros(shape, dtype.newbyteorder())
        if kind == 8 and shape:
            return np.zeros((2 * shape[0] + 1, *shape[1:]), dtype)[1::2]
        return np.zeros(shape, dtype)

    def parameter(self, values, shape, dtype):
        """A number, or an array that may broadcast into the shape."""
        value = self.pick(values)
        if self.chance(3) or isinstance(value, str | complex | None):
            return value
        lengths = self.part_of(shape)
        if self.chance(12):
            lengths += (self.number(2, 3),)
        try:
            array = np.full(lengths, value)
        except (OverflowError, ValueError):
            return value
        if array.size and array.dtype.kind == "f" and self.chance(2):
            with np.errstate(all="ignore"):
                array = array * np.linspace(1, 2, array.size).reshape(array.shape)
        with np.errstate(all="ignore"):
            return self.laid_out(array.astype(dtype) if self.chance(3) and array.dtype.kind == dtype.kind else array)

    def grid(self, shape):
        """scale, zero_point, qmin and qmax: half of them good ones."""
        if self.chance(2):
            scale = np.float32(self.pick([0.1, 0.05, 1.0]))
            if shape and self.chance(2):
                lengths = self.part_of(shape)
                count = int(np.prod(lengths))
                scale = self.laid_out(np.linspace(0.05, 0.3, count, dtype=np.float32).reshape(lengths))
            return scale, self.number(-3, 3), -8, self.pick([7, 3, 127])
        return (
            self.parameter(SCALES, shape, np.dtype(self.pick([np.float32, np.float64]))),
            *(self.parameter(LEVELS, shape, np.dtype(self.pick([np.int8, np.int32, np.int64]))) for _ in range(3)),
        )

    def arguments(self, operation):
        """The arguments of a call, of a row of `_core.operations()`."""
        inputs, packed = operation["inputs"], operation["packed"]
        shape = self.shape(30 if packed else 60)  # np.packbits, in the reference, knows 32 axes
        dtype = self.pick(ODD_TYPES) if self.chance(16) else self.pick(FLOATS)
        first = self.array(shape if not self.chance(8) else self.part_of(shape), dtype)
        others = [self.beside(first, shape, one, packed) for one in inputs[1:]]
        if not operation["parameters"]:
            return first, *others
        grid = self.grid(shape)
        if packed:  # whose qmin and qmax lack the axis that is packed
            ends = (
                one[..., 0] if isinstance(one, np.ndarray) and one.ndim and one.shape[-1] else one for one in grid[2:]
            )
            return first, *others, *grid[:2], *ends
        return first, *others, *grid

    def beside(self, first, shape, name, packed):
        """An input beside the first one."""
        if name == "mask":
            mask = self.part_of(shape) if self.chance(3) else shape
            return self.array(mask, np.dtype(bool) if not self.chance(12) else self.pick(ODD_TYPES))
        if name == packed:
            per_byte = 8 if name == "bits" else 2
            kind = np.dtype(self.pick([np.uint8] * 12 + [bool, np.int8]))
            return self.array(self.shape_of_bytes(first.shape, per_byte), kind)
        if name == "residual":
            other = first.shape if not self.chance(12) else (*first.shape, 2)
            return self.array(other, np.dtype(self.pick([np.int8] * 12 + [bool, np.uint8])))
        other = first.shape if not self.chance(12) else (*first.shape, 2)
        return self.array(other, first.dtype if not self.chance(12) else self.pick(FLOATS))

    def shape_of_bytes(self, shape, per_byte):
        """The shape of what is packed of so many elements, or another length of its last axis."""
        if not shape:
            return shape
        length = -(-shape[-1] // per_byte)
        leading = self.part_of(shape[:-1]) if self.chance(4) else shape[:-1]
        return (*leading, self.number(0, length + 2) if self.chance(4) else length)
