#!/usr/bin/env python
"""Feeds fq arrays and parameters of every kind, guided by coverage, and compares with fq.reference.

    python tests/fuzz/fuzz.py --seconds 60 [CORPUS ...]     new inputs go to the first folder
    python tests/fuzz/fuzz.py --merge SMALL [CORPUS ...]    the fewest inputs of all that reach as much

Each input is a few bytes that choose a SIMD target, a function and its arguments: shapes, strides, offsets, types, byte
order, alignment, out=, where=, overlap, read-only arrays, bits of any length, parameters good and bad. fq must take
what the reference takes, with its bits, and refuse by a TypeError or ValueError what the reference refuses; inputs must
stay as they were. INTENDED says where the two differ.
"""

import argparse
import atexit
import math
import os
import sys
import tempfile
import time
from functools import partial
from itertools import zip_longest
from pathlib import Path

import atheris
import numpy as np
from inputs import ENDS, FLOATS, ODD_TYPES, Source

# What atheris instruments loses the result of every comparison, arrays in the reference: gigabytes in ten minutes.
with atheris.instrument_imports(include=["fq"], exclude=["fq.reference"]):
    import fq
    from fq import _core
    from fq.formats import BlockFormat

OPERATIONS = _core.operations()
NAMES = tuple(OPERATIONS)
ELEMENTWISE = [name for name, ufunc in _core.divide.items() if ufunc.signature is None]
ON_FORMATS = _core.operations("floats")
ROUNDINGS = [one for one in _core.rules() if isinstance(getattr(fq.rounding, one, None), fq.rounding.Rounding)]
# Float formats, and what is none: bits, an exponent and a largest number that are refused, and other types.
FORMATS = [
    *(one for name in fq.formats.__all__ if isinstance(one := getattr(fq.formats, name), fq.formats.FloatGrid)),
    *((10, -126, 2.0**100, True), (0, 3, 8.0, False), (11, 0, 1.0, True), (3, -127, 1.0, True), (3, 0, 7.6, True)),
    *((3, 0, np.nan, True), (3, 0, 2.0**107, True), (3.0, 0, 1.0, True), (3, 0, 1.0, 1), (3, 0, -1.0, True)),
]
# Blocks, each format by every rule, and what is none: no element, no rule, no kind of scale, a grid that is refused.
BLOCKS = [
    *(
        one._replace(rule=rule)
        for name in fq.formats.__all__
        if isinstance(one := getattr(fq.formats, name), BlockFormat)
        for rule in ("floor", "up", "fit")
    ),
    *(BlockFormat(fq.formats.e2m1fn, *one) for one in ((1,), (5, "e4m3"), (8, "e8m0", "fit"), (100, "e8m0", "up"))),
    *(BlockFormat(fq.formats.FloatGrid(*one), 7) for one in ((2, -1, 7.0, False), (10, -126, 2.0**100), (0, 3, 8.0))),
]
NO_BLOCKS = [
    *(
        BlockFormat(fq.formats.e2m1fn, *one)
        for one in ((0,), (-1,), (2.0,), (True,), (32, "e5m2"), (32, "e8m0", "down"))
    ),
    *(BlockFormat(fq.formats.FloatGrid(*one)) for one in FORMATS[-8:-3]),
    *(None, "mxfp4", tuple(fq.formats.mxfp4), fq.formats.e4m3fn),
]
GOOD_TENSOR_SCALES, TENSOR_SCALES = [1.0, 0.05, 2.0**-126, 3e38], [0.0, -1.0, 1e-45, float("nan"), float("inf"), 1e39]
BLOCK_FUNCTIONS, STOCHASTIC = ([one for one in module.__all__ if one in NAMES] for module in (fq.blocks, fq.stochastic))
KEYS = [0, 1, 2**32, 2**64 - 1, np.uint64(2**63), np.uint32([1, 2])]
NO_KEYS = [-1, 2**64, 1.0, True, None, "1", np.uint32([1]), np.int64([1, 2])]
GRADIENTS = [name for name, operation in OPERATIONS.items() if operation["reduction"]]  # sums, in any order
OTHERS = "choose_qparams", "integers", "methods", "observer", "settings", "blocks", "stochastic"
# What fq takes and the reference refuses.
INTENDED = {
    "an empty result computes nothing, so its parameters are not checked": (
        lambda given: any(np.size(one) == 0 for one in given)
    ),
}
LARGE = 2**22  # elements
STORED = [np.dtype(one) for one in ("i1", "u1", "i2", "u2", "i4")]
COUNTS = dict.fromkeys(
    (
        "calls compared",
        "refused by both",
        "taken as intended",
        "with out=",
        "with where=",
        "refused for their out=",
        "grids chosen",
        "arrays observed",
        "refused for a scale that overflows",
        "too large to try",
    ),
    0,
)


def count(what):
    COUNTS[what] += 1


def outcome(function, given, **options):
    """("taken", results) or ("refused", the error); anything else is a finding."""
    try:
        with np.errstate(all="ignore"):
            found = function(*given, **options)
    except (TypeError, ValueError, OverflowError) as error:  # the last is NumPy's, for a Python int beyond int64
        return "refused", error
    return "taken", found if isinstance(found, tuple) else (found,)


def bits_of(array):
    """Bytes of an array, every NaN the same."""
    array = np.array(array, order="C")
    array = array.astype(array.dtype.newbyteorder("="))
    with np.errstate(invalid="ignore"):  # signalling NaNs
        if array.dtype.kind in "fV":
            array[np.isnan(array)] = np.nan
    return array.dtype, array.shape, array.tobytes()


def copies(arrays):
    return [np.array(one, copy=True) if isinstance(one, np.ndarray) else one for one in arrays]


def is_large(name, given):
    """Whether broadcasting makes gigabytes of the arguments: a packed axis does not take part in it."""
    packed = 3 if "packed" in name else 0
    shapes = [np.shape(one)[:-1] if i < packed else np.shape(one) for i, one in enumerate(given)]
    row = np.shape(given[0])[-1:] if packed else ()
    longest = (max(lengths) for lengths in zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1))
    return math.prod((*longest, *row)) > LARGE


def check(name, source):
    """One call of fq beside one of the reference, then perhaps one with out=."""
    operation, rule = OPERATIONS[name], rule_for(name, source)
    ours, theirs = functions(name, rule)
    given = source.arguments(operation)
    if rule == "floats":
        operation = ON_FORMATS[name]
        given = (*given[: len(operation["inputs"]) + 1], *source.pick(FORMATS))
    ours = named(ours, operation, source)
    if is_large(name, given):
        count("too large to try")
        return
    kept = copies(given)
    kind, found = outcome(ours, given)
    assert outcome(ours, given)[0] == kind, "the second call differs"
    for one, copy in zip(given, kept, strict=True):
        assert not isinstance(one, np.ndarray) or one.tobytes() == copy.tobytes(), "an input was changed"
    with np.errstate(all="ignore"):
        expected_kind, expected = outcome(theirs, kept)
    if kind != expected_kind:
        wrong = kind == "refused" or not any(so(kept) for so in INTENDED.values())
        assert not wrong, (name, kind, found, expected_kind, expected, kept)
        count("taken as intended")
    elif kind == "refused":
        count("refused by both")
    else:
        count("calls compared")
        compare(name, found, expected, kept)
        if source.chance(2):
            check_out(name, ours, source, given, kept, expected)


def rule_for(name, source):
    """How to divide and to round."""
    if not OPERATIONS[name]["parameters"]:
        return "divide"
    rules = ["divide", "divide", "reciprocal", *(["floats", *ROUNDINGS] if name in ON_FORMATS else [])]
    return source.pick(rules)


def functions(name, rule):
    """That of fq, and that of the reference."""
    if rule == "floats":
        return getattr(fq.floats, name), getattr(fq.reference.floats, name)
    reference = getattr(fq.reference, name)
    if rule in ROUNDINGS:
        return getattr(getattr(fq.rounding, rule), name), partial(reference, rounding=rule)
    if rule == "reciprocal":
        return getattr(fq.reciprocal, name), partial(reference, arithmetic=rule)
    return getattr(fq, name), reference


def named(function, operation, source):
    """The function, which now and then gets its last arguments by name."""
    names = operation["inputs"] + operation["parameters"]
    first = source.number(0, len(names)) if source.chance(4) else len(names)

    def call(*given, **options):
        return function(*given[:first], **dict(zip(names[first:], given[first:], strict=True)), **options)

    return call


def check_out(name, ours, source, given, kept, expected):
    """The same call with out= and perhaps where=, whose elements that are not asked for stay."""
    given, outs, good = places(source, name, given, expected)
    options = {"out": outs}
    if name in ELEMENTWISE and source.chance(2):
        options["where"] = source.array(source.part_of(np.shape(outs[0])), np.dtype(bool))
    before = copies(outs)
    kind, again = outcome(ours, given, **options)
    assert good is None or (kind == "taken") == good, (name, kind, again, [one.dtype for one in outs], given)
    if kind == "refused":
        count("refused for their out=")
        assert all(bits_of(a) == bits_of(b) for a, b in zip(outs, before, strict=True)), "half a result"
        return
    count("with where=" if "where" in options else "with out=")
    asked = options.get("where", True)
    with np.errstate(all="ignore"):
        # As any ufunc, fq casts its result to the type of an output, and repeats it over one of more axes.
        cast = [np.asarray(e).astype(b.dtype) for e, b in zip(expected, before, strict=True)]
        compare(name, again, [np.where(asked, e, b) for e, b in zip(cast, before, strict=True)], kept)


def places(source, name, given, expected):
    """Arguments, arrays for their results, and whether these must be taken, or None where NumPy decides."""
    results = [np.asarray(one) for one in expected]
    outs = [source.room(source.pick([0, 3, 4, 5, 6, 8]), one.shape, one.dtype) for one in results]
    trouble, x = source.number(0, 7), given[0]
    if trouble == 1:
        outs[0].flags.writeable = False
        return given, tuple(outs), False
    if trouble == 2:
        outs[0] = np.empty((*outs[0].shape, 2), outs[0].dtype)
        return given, tuple(outs), False if outs[0].shape[-2:-1] not in ((), (1,), (2,)) else None
    if trouble == 3:
        outs[0] = np.zeros((2, *outs[0].shape), outs[0].dtype)
        return given, tuple(outs), True if len(outs) == 1 else False if name in GRADIENTS else None
    if trouble == 4:
        outs[0] = source.room(source.pick([0, 7]), outs[0].shape, source.pick(FLOATS))
        return given, tuple(outs), None
    if trouble == 5:
        same = [one for one in given if isinstance(one, np.ndarray) and one.flags.writeable]
        same = [one for one in same if (one.shape, one.dtype) == (results[0].shape, results[0].dtype)]
        outs[0] = source.pick(same) if same else outs[0]
    if trouble == 6 and (x.shape, x.dtype) == (results[0].shape, results[0].dtype):
        given, outs[0] = shifted(source, given)
    return given, tuple(outs), True


def shifted(source, given):
    """Arguments whose first lies across the place for its result."""
    x = given[0]
    shift = source.number(0, 9)
    room = np.zeros(x.size + shift, x.dtype.newbyteorder("="))
    inside, place = room[shift:].reshape(x.shape), room[: x.size].reshape(x.shape)
    inside[...] = x
    if source.chance(2):
        inside, place = place, inside
        inside[...] = x
    return (inside, *given[1:]), place[..., ::-1] if x.ndim and source.chance(4) else place


def compare(name, found, expected, given):
    """The same bits; sums for scale and zero_point only nearly, and where no term overflows."""
    assert len(found) == len(expected)
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        if name in GRADIENTS and index:
            one, other = (np.asarray(a, np.float64) for a in (one, other))
            with np.errstate(all="ignore"):
                near = 1e-6 * size_of_terms(*given)
                assert (~(np.abs(one - other) > near + 1e-6 * np.abs(other)) | ~np.isfinite(other)).all(), (one, other)
        else:
            assert bits_of(one) == bits_of(other), (name, index, one, other, given)


def size_of_terms(dy, _, scale, zero_point, qmin, qmax):
    """An upper bound of the terms of a sum, all together."""
    wide = [np.abs(np.asarray(one, np.float64)).max(initial=0) for one in (scale, zero_point, qmin, qmax)]
    size = np.abs(dy.astype(np.float64)).sum() * (1 + sum(wide))
    return size if size < 1e300 else np.inf  # where parts of a sum may overflow in one order and not in another


def check_choose_qparams(source):
    """A good range gives a grid that covers it and holds 0.0; any other is refused."""
    shape = source.shape()
    ends = [source.parameter(ENDS, shape, np.dtype(source.pick([np.float16, np.float32]))) for _ in range(2)]
    if source.chance(2) and all(np.asarray(end).dtype.kind == "f" for end in ends):
        with np.errstate(all="ignore"):
            ends = [-np.abs(ends[0]), np.abs(ends[1])]
    bits = source.pick([*range(-1, 19), 2**70, 8.0, None, True])
    options = {name: source.chance(2) for name in ("signed", "symmetric", "narrow_range")}
    options["eps"] = source.pick([None, None, 2.0**-23, 1e-300])
    kind, found = outcome(fq.choose_qparams, (*ends, bits), **options)
    good = type(bits) is int and (2 if options["narrow_range"] else 1) <= bits <= 16 and is_range(*ends)
    if kind == "refused":
        count("refused by both" if not good else "refused for a scale that overflows")
        assert not good or "too wide" in str(found), (found, ends, bits, options)
        return
    count("grids chosen")
    assert good, ("taken", ends, bits, options)
    scale, zero_point, qmin, qmax = found
    low, high = (np.asarray(end, np.float64) for end in ends)
    with np.errstate(all="ignore"):
        for x in np.minimum(low, 0) + 0 * high, np.maximum(high, 0) + 0 * low, 0 * low:
            y, mask = fq.forward(x, scale, zero_point, qmin, qmax)
            wrong = ~mask | (np.abs(y - x) > 1.001 * np.asarray(scale, np.float64)) | ((x == 0) & (y != 0))
            assert not wrong.any(), (ends, bits, options, found)


def is_range(low, high):
    low, high = np.asarray(low), np.asarray(high)
    if low.dtype.kind not in "fbiu" or high.dtype.kind not in "fbiu":
        return False
    try:
        return bool(np.isfinite(low).all() and np.isfinite(high).all() and np.all(low <= high))
    except ValueError:  # shapes that do not broadcast
        return False


def check_integers(source):
    """To integers and back, packed or not: as the reference, or refused by both."""
    arguments = source.arguments(OPERATIONS["fake_quantize"])
    if is_large("quantize", arguments):
        count("too large to try")
        return
    name = source.pick(["quantize", "quantize_packed"])
    given = *arguments, source.pick([1, 2, 4] if name == "quantize_packed" else [None, *STORED])
    kept = copies(given)
    reciprocal = source.chance(3)
    kind, found = outcome(getattr(fq.reciprocal if reciprocal else fq, name), given)
    how = {"arithmetic": "reciprocal"} if reciprocal else {}
    expected_kind, expected = outcome(getattr(fq.reference, name), kept, **how)
    if kind != expected_kind:
        wrong = kind == "refused" or not any(so(kept[:5]) for so in INTENDED.values())
        assert not wrong, (name, kind, found, expected_kind, expected, kept)
        count("taken as intended")
        return
    count("calls compared" if kind == "taken" else "refused by both")
    if kind == "taken":
        compare(name, found, expected, kept)
        check_back(source, name, found[0], arguments, given[5])


def check_back(source, name, q, arguments, bits):
    """The values of levels, in any layout; a scale of float64 may be none of float32."""
    dtype, signed = source.pick(FLOATS), source.chance(2)
    q = source.laid_out(q)
    last = max(np.shape(one)[-1] if np.ndim(one) else 1 for one in arguments)
    how = (bits, last, signed, dtype) if name == "quantize_packed" else (dtype,)
    function = "dequantize_packed" if name == "quantize_packed" else "dequantize"
    given = q, *arguments[1:3], *how
    kind, found = outcome(getattr(fq, function), given)
    expected_kind, expected = outcome(getattr(fq.reference, function), given)
    assert kind == expected_kind, (function, found, expected, given)
    count("calls compared" if kind == "taken" else "refused by both")
    if kind == "taken":
        compare(function, found, expected, given)


def check_blocks(source):
    """Blocks along any axis: as the reference, or refused; and their codes and scales back, with the bits of y."""
    x = source.array(source.shape(6), source.pick(FLOATS) if not source.chance(16) else source.pick(ODD_TYPES))
    format = source.pick(BLOCKS) if not source.chance(8) else source.pick(NO_BLOCKS)
    is_format = any(format is one for one in BLOCKS)
    scaled = is_format and format.scale == "e4m3"
    options = {
        "axis": source.pick([-1, -1, 0, 1, -2, -3, 4]) if not source.chance(16) else source.pick([None, 0.0, True])
    }
    tensor_scale = source.pick([None, *GOOD_TENSOR_SCALES]) if scaled else None
    tensor_scale = source.pick(TENSOR_SCALES) if source.chance(12) else tensor_scale
    good = is_format and x.dtype.newbyteorder("=") in FLOATS and x.ndim and type(options["axis"]) is int
    good = good and -x.ndim <= options["axis"] < x.ndim and tensor_scale in (None, *GOOD_TENSOR_SCALES * scaled)
    name, kept = source.pick(BLOCK_FUNCTIONS), copies([x])
    kind, found = outcome(getattr(fq.blocks, name), (x, format), tensor_scale=tensor_scale, **options)
    assert (kind == "taken") == bool(good), (name, kind, found, x.dtype, x.shape, format, options, tensor_scale)
    assert x.dtype.hasobject or x.tobytes() == kept[0].tobytes(), "an input was changed"
    if kind == "refused":
        count("refused by both")
        return
    if scaled and tensor_scale is None:
        tensor_scale = tensor_scale_of(x, format)
    given = np.float32(1.0 if tensor_scale is None else tensor_scale)
    y, mask, scales = fq.reference.blocks.forward(x, format, tensor_scale=given, **options)
    count("calls compared")
    compare(name, found, masked(name, y, mask), (x, format, options, given))
    check_stored(x, format, options, tensor_scale, y, scales)


def tensor_scale_of(x, format):
    """NVFP4's own: the largest finite magnitude / (448 * max), rounded in float32, normal; 1 where all is 0."""
    finite = np.abs(np.where(np.isfinite(x), x, 0).astype(np.float64))
    if not finite.any():
        return 1.0
    with np.errstate(all="ignore"):
        scale = np.float32(finite.max()) / np.float32(448 * format.grid.max)
    return float(np.clip(scale, np.finfo(np.float32).tiny, np.finfo(np.float32).max))


def masked(name, y, mask):
    """The results of a function, of those of the reference's forward."""
    if name == "fake_quantize":
        return (y,)
    return y, np.packbits(mask, axis=-1, bitorder="little") if name == "forward_packed" else mask


def check_stored(x, format, options, tensor_scale, y, scales):
    """quantize and dequantize, of a format whose numbers fit a byte."""
    kind, stored = outcome(fq.blocks.quantize, (x, format), tensor_scale=tensor_scale, **options)
    if kind == "refused":
        assert "8 bits" in str(stored), (stored, format)
        count("refused by both")
        return
    assert (stored[0].shape, stored[1].shape) == (x.shape, scales.shape), (stored, x.shape, format)
    kind, back = outcome(fq.blocks.dequantize, (*stored, format), dtype=y.dtype, **options)
    assert kind == "taken", (back, format, options, x.shape)
    count("calls compared")
    compare("dequantize", back, (y,), (x, format, options, tensor_scale))


def check_stochastic(source):
    """Stochastic rounding by any key, from any start, of an array in any layout: as the reference, or refused."""
    name = source.pick(STOCHASTIC)
    given = source.arguments(OPERATIONS[name])
    if is_large(name, given):
        count("too large to try")
        return
    key = source.pick(KEYS) if not source.chance(12) else source.pick(NO_KEYS)
    start = source.pick([0, 1, 3, 255, 2**32, 2**34 - 7, 2**63, 2**64 - 2 * LARGE]) + source.number(0, 9)
    start = source.pick([-1, 2**64 + 1, 2**70, 0.0, None, True]) if source.chance(12) else start
    good = any(key is one for one in KEYS) and type(start) is int and 0 <= start <= 2**64 - 2 * LARGE + 9
    kept = copies(given)
    kind, found = outcome(getattr(fq.stochastic, name), given, key=key, start=start)
    for one, copy in zip(given, kept, strict=True):
        assert not isinstance(one, np.ndarray) or one.tobytes() == copy.tobytes(), "an input was changed"
    refused = outcome(getattr(fq, name), given)[0] == "refused"  # for its other arguments
    assert (kind == "taken") == (good and not refused), (name, kind, found, key, start, kept)
    if kind == "refused":
        count("refused by both")
        return
    if any(np.size(one) == 0 for one in given):
        return
    spread = kept if name != "forward_packed" else [*kept[:3], *map(unpacked, kept[3:])]
    expected = fq.reference.stochastic.forward(*spread, key=key, start=start)
    count("calls compared")
    compare(name, found, masked(name, *expected), (kept, key, start))


def unpacked(end):
    """A qmin or qmax that lacks the axis that is packed, with it."""
    return np.asarray(end)[..., np.newaxis] if np.ndim(end) else end


def check_methods(source):
    """backward.at and backward.outer, the ufunc methods that apply, and the others, which are refused."""
    dtype = source.pick(FLOATS)
    dy, mask = source.array(source.part_of((3, 5)), dtype), source.array(source.part_of((4,)), np.dtype(bool))
    kind, found = outcome(fq.backward.outer, (dy, mask))
    assert kind == "taken", found
    expected = fq.reference.backward(np.reshape(dy, (*dy.shape, *(1,) * mask.ndim)), mask)
    compare("backward", found, (expected,), None)
    places = np.array([source.number(-6, 5) for _ in range(source.number(0, 6))], int)
    dy, mask = source.room(source.number(3, 8), (5,), dtype), source.array(places.shape, np.dtype(bool))
    dy[...] = source.values(5, dtype)
    expected = dy.copy()
    try:
        fq.backward.at(dy, places, mask)
    except IndexError:
        assert ((places < -5) | (places > 4)).any()
        count("refused by both")
        return
    for place, one in zip(places, mask, strict=True):
        expected[place] = fq.reference.backward(expected[place], one)
    count("calls compared")
    assert bits_of(dy) == bits_of(expected), (dy, expected, places, mask)
    for method in ("reduce", "accumulate"):
        assert outcome(getattr(fq.backward, method), (dy,))[0] == "refused"


def check_observer(source):
    """An array in any layout beside its parts in order, along any axes or in groups: the same state, or refused."""
    x = source.array(source.shape(6), source.pick(FLOATS) if not source.chance(16) else source.pick(ODD_TYPES))
    axis = source.pick([None, 0, -1, 1, (0, 1), (0, -1), 4])
    group = source.pick([None, None, 1, 2, 3])
    make = lambda: fq.Observer(axis, group)  # noqa: E731
    kind, _ = outcome(make().update, (x,))
    if kind == "refused" or x.size == 0:
        return
    native = np.array(x, order="C").astype(x.dtype.newbyteorder("="))
    keeps_first = axis is not None or group is not None
    parts = [native] if keeps_first or x.ndim == 0 else np.split(native, [source.number(0, len(native))])
    whole, others = make().update(x), make()
    for part in parts[::-1]:
        others.update(part)
    for op in ("sum", "min", "max", "bins"):
        for key, one in whole.state(dense=False)[op].items():
            other = others.state(dense=False)[op][key]
            assert one.tobytes() == other.tobytes(), (op, key, one, other, x, axis, group)
    finite = native[np.isfinite(native)]
    assert np.sum(whole.count) == finite.size
    if finite.size:
        assert (np.nanmin(whole.min), np.nanmax(whole.max)) == (finite.min(), finite.max())
    count("arrays observed")


def check_settings(source):
    """Numbers of threads, and LSQ's factor, of any value."""
    value = source.pick([0, 1, 2, 3, 1024, 1025, -1, 2**31, 2**63, 2**70, 1.5, "2", None, float("nan")])
    before = fq.get_num_threads()
    kind, _ = outcome(fq.set_num_threads, (value,))
    assert (kind == "taken") == (isinstance(value, int) and 1 <= value <= 1024), value
    fq.set_num_threads(before)
    kind, _ = outcome(fq.scale_gradient_factor, (value, source.pick([1, 7])))
    assert (kind == "taken") == (isinstance(value, int | float) and value > 0), value


def one_input(data):
    """What atheris calls."""
    source = Source(data)
    _core._set_target(source.pick(_core.targets()))
    _core._set_cache_threshold(source.pick([0, 64]))  # outputs of so many bytes are stored past the cache
    name = source.pick([*NAMES * 4, *OTHERS])
    if name in NAMES:
        check(name, source)
    else:
        globals()[f"check_{name}"](source)


def report():
    print(*(f"{number:,} {what}" for what, number in COUNTS.items()), sep=", ", flush=True)


def until(end):
    """one_input, and at the end of the time a report; libFuzzer's own end runs none of Python's handlers."""

    def one_more(data):
        one_input(data)
        if time.monotonic() > end:
            report()
            os._exit(0)

    return one_more


def main():
    options = argparse.ArgumentParser(description="Fuzz fq against its reference.")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--merge", action="store_true", help="fill the first folder with the fewest inputs")
    options.add_argument("corpus", nargs="*", type=Path, help="folders; new inputs go to the first")
    chosen, words = options.parse_known_args()  # words of libFuzzer, as it gives them to those that it starts to merge
    atexit.register(report)  # after a finding
    words += ["-max_len=256", "-timeout=60", f"-artifact_prefix={tempfile.gettempdir()}/fq-"]
    words += ["-merge=1", "-use_counters=0"] if chosen.merge else []
    merging = any(word.startswith("-merge") for word in words)
    call = one_input if merging else until(time.monotonic() + chosen.seconds)
    atheris.Setup([sys.argv[0], *words, *map(str, chosen.corpus)], call)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
