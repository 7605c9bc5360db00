"""Every bad input, in every place, form and type, is refused: none crashes, none is taken in silence."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, OPERATIONS, bfloat16, kept_as

import fq

CONTRACT = Path(__file__).resolve().parents[2] / "docs" / "guide" / "contract.md"
ERRORS = TypeError, ValueError, OverflowError  # the last is NumPy's, for a Python int beyond int64
SHAPE = (4, 60)
WITH_GRID = [name for name, operation in OPERATIONS.items() if operation["parameters"]]
GOOD = (0.5, 0, -8, 7)

NOT_FLOATS = [np.ones(SHAPE, kind) for kind in ("?", "i1", "u8", "c8", "c16", "g", "O", "S3", "U3", "M8[s]", "m8[s]")]
NOT_FLOATS += [np.zeros(SHAPE, kind) for kind in ("V4", "f4,f4")]
NOT_NUMBERS = [None, "1", b"1", 1j, {}, {1}, object(), [[1.0], [1.0, 2.0]], np.datetime64("2020"), slice(3), print]
NOT_SCALES = [0, 0.0, -0.0, -1, -1e-30, np.nan, np.inf, -np.inf, 1e400, False]
NOT_GRIDS = [
    *((zero_point, -8, 7) for zero_point in (-9, 8, 2**31, -(2**63), 2**63 - 1)),
    *((0, qmin, 7) for qmin in (1, 8, 2**40, 2**63 - 1)),
    *((0, -8, qmax) for qmax in (-1, -9, -(2**40), -(2**63))),
    *((0, low, high) for low, high in ((-(2**53) - 1, 7), (-8, 2**53 + 1), (-(2**63), 2**63 - 1), (3, -3))),
]
NOT_INTEGERS = [0.0, 0.5, np.nan, 2**64, -(2**63) - 1, np.float32(0), np.zeros(SHAPE), *NOT_NUMBERS[:7]]
NOT_SHAPES = [(5,), (3, 60), (4, 59), (4, 0), (2, 4, 60, 2), (60, 4)]


def forms(good, bad):
    """Bad values of the parameters, given with good ones, as numbers and in arrays of every layout."""
    yield bad
    yield tuple(np.asarray(one) for one in bad)
    for place in (0, 97, 239):
        arrays = [np.full(SHAPE, one, np.result_type(one, other)) for one, other in zip(good, bad, strict=True)]
        for array, one in zip(arrays, bad, strict=True):
            array.flat[place] = one
        yield tuple(arrays)
        yield tuple(np.asfortranarray(array) for array in arrays)
        yield tuple(array.astype(array.dtype.newbyteorder()) for array in arrays)
        yield tuple(np.ndarray(SHAPE, array.dtype, b" " + array.tobytes(), 1) for array in arrays)
        yield tuple(np.stack([array, array], -1)[..., 0] for array in arrays)
    for place in range(4):
        yield tuple(np.where(np.arange(4) == place, one, other)[:, None] for one, other in zip(bad, good, strict=True))


def bad_grids(dtype):
    """scale, zero_point, qmin and qmax of which at least one is bad."""
    for scale in NOT_SCALES:
        yield from forms(GOOD, (scale, *GOOD[1:]))
    for levels in NOT_GRIDS:
        yield from forms(GOOD, (GOOD[0], *levels))
    for beyond in () if dtype == np.float64 else (1e-46, 1e39):  # 0 and infinity in float32
        yield from forms(GOOD, (beyond, *GOOD[1:]))
    for place in range(4):
        for bad in (NOT_NUMBERS if place == 0 else NOT_INTEGERS) + [np.zeros(shape, int) + 1 for shape in NOT_SHAPES]:
            yield (*GOOD[:place], bad, *GOOD[place + 1 :])


def laid_for(name, grid):
    """A grid as a function takes it: qmin and qmax lack the last axis where something is packed along it."""
    if not OPERATIONS[name]["packed"]:
        return grid
    return *grid[:2], *(one[..., 0] if isinstance(one, np.ndarray) and one.shape == (4, 1) else one for one in grid[2:])


def bad_calls(name, dtype):
    """(arguments, keywords) of every bad call of a function of x and a grid."""
    x = np.linspace(-3, 3, 240).reshape(SHAPE).astype(dtype)
    if "residual" in OPERATIONS[name]["inputs"]:
        yield from bad_residuals(name, x)
        return
    before = (x,) if "backward" in name else ()
    for grid in bad_grids(dtype):
        yield (*before, x, *laid_for(name, grid)), {}
    for bad in NOT_FLOATS + NOT_NUMBERS:
        yield (*before, bad, *GOOD), {}
        yield (*(bad for _ in before), bad, *GOOD), {}
    yield from bad_signatures((*before, x, *GOOD))
    if before:
        yield (x[:3], x, *GOOD), {}
    sums = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    types = {one: kept[0] for one in OPERATIONS[name]["outputs"] if (kept := kept_as(name, one, SHAPE))}
    types |= {"dscale": sums, "dzero_point": sums}
    results = [types.get(one, dtype) for one in OPERATIONS[name]["outputs"]]
    yield from bad_places((*before, x, *GOOD), results)


def bad_residuals(name, dy):
    """The same for functions of dy, codes and a grid."""
    kind, shape = kept_as(name, "residual", SHAPE)
    good = np.ones(shape, kind)
    for grid in bad_grids(dy.dtype):
        yield (dy, good, *laid_for(name, grid)), {}
    for beyond in ((0, -(2**45), 7), (0, -8, 2**45)):
        yield (dy, good, 0.5, *beyond), {}
    for other in ("?", "i1", "u1", "i2", "i8", "f4", "O", "S3", "c8", "M8[s]"):
        if np.dtype(other) != kind:
            yield (dy, np.zeros(shape, other), *GOOD), {}
    for bad in NOT_NUMBERS:
        yield (dy, bad, *GOOD), {}
        yield (bad, good, *GOOD), {}
    yield from (((bad, good, *GOOD), {}) for bad in NOT_FLOATS)
    yield from (((dy, np.ones(one, kind), *GOOD), {}) for one in [*NOT_SHAPES, (), (4, 8), (4, 29), (4, 31)])
    yield ((dy[0, 0], good[0, 0], *GOOD), {}) if OPERATIONS[name]["packed"] else ((dy[0], good, *GOOD), {})
    yield from bad_signatures((dy, good, *GOOD))
    sums = np.dtype(np.float64 if dy.dtype == np.float64 else np.float32)
    yield from bad_places((dy, good, *GOOD), (dy.dtype, sums, sums))


def bad_signatures(arguments):
    yield arguments[:-1], {}
    yield (), {}
    yield (*arguments, None, None, None, None), {}
    yield arguments, {"nonsense": 1}
    yield arguments, {"out": 3}
    yield arguments, {"out": "y"}
    yield arguments, {"out": (None,) * 7}


def bad_places(arguments, results):
    """Arrays that cannot take the first result: read-only ones, and ones of a wrong shape or type."""
    others = tuple(None for _ in results[1:])
    read_only = np.zeros(SHAPE, results[0])
    read_only.flags.writeable = False
    wrong = [read_only, np.broadcast_to(np.zeros((), results[0]), SHAPE), [0.0], 3, {}]
    wrong += [np.zeros(shape, results[0]) for shape in NOT_SHAPES]
    wrong += [np.zeros(SHAPE, kind) for kind in ("?", "i4", "u1", "M8[s]", "m8[s]")]
    yield from ((arguments, {"out": (one, *others)}) for one in wrong)


def bad_masks(dtype):
    """The same for backward and backward_packed."""
    dy = np.ones(SHAPE, dtype)
    mask, bits = np.ones(SHAPE, bool), np.ones((4, 8), np.uint8)
    for name, good in (("backward", mask), ("backward_packed", bits)):
        kinds = [kind for kind in ("?", "i1", "u1", "u2", "f4", "O", "S3", "c8", "M8[s]") if kind != good.dtype.str[1:]]
        for kind in kinds:
            if np.dtype(kind) != good.dtype:
                yield name, (dy, good.astype(kind) if kind != "M8[s]" else np.zeros(good.shape, kind)), {}
        for bad in NOT_NUMBERS:
            yield name, (dy, bad), {}
            yield name, (bad, good), {}
        for bad in NOT_FLOATS:
            yield name, (bad, good), {}
        for call in (*bad_signatures((dy, good)), *bad_places((dy, good), (dtype,))):
            yield name, *call
    for shape in NOT_SHAPES:
        yield "backward", (dy, np.ones(shape, bool)), {}
    for length in (*range(8), 9, 60, 64):
        yield "backward_packed", (dy, np.ones((4, length), np.uint8)), {}
    for shape in ((), (3, 8), (8, 4)):
        yield "backward_packed", (dy, np.ones(shape, np.uint8)), {}
    yield "backward_packed", (dy[0, 0], bits), {}


def bad_settings():
    """The same for the functions that are no ufuncs and take no x."""
    for bad in (0, -1, 1025, 2**31, 2**64, -(2**64), 1.0, np.nan, *NOT_NUMBERS):
        yield "set_num_threads", (bad,), {}
    for bad in (0, -1, np.nan, -np.inf, *NOT_NUMBERS):
        yield "scale_gradient_factor", (bad, 7), {}
        yield "scale_gradient_factor", (100, bad), {}
    numbers = [one for one in NOT_FLOATS if one.dtype.kind not in "biuf"] + NOT_NUMBERS
    for bad in (np.nan, np.inf, -np.inf, np.float32([1, np.nan]), *numbers):
        yield "choose_qparams", (bad, 1.0), {}
        yield "choose_qparams", (-1.0, bad), {}
    for ends in ((1.0, -1.0), ([-1, 2], [1, 1]), (np.zeros(2), np.ones(3)), np.float32([-3e38, 3e38])):
        yield "choose_qparams", (*ends, 1), {}
    for bits in (0, -1, 17, 2**70, 8.0, True, *NOT_NUMBERS):
        yield "choose_qparams", (-1.0, 1.0, bits), {}
    yield "choose_qparams", (-1.0, 1.0, 1), {"narrow_range": True}


def taken(calls):
    """How many calls there are, and those that are not refused."""
    number, wrong = 0, []
    for function, arguments, keywords in calls:
        number += 1
        try:
            function(*arguments, **keywords)
        except ERRORS:
            continue
        wrong.append((function, arguments, keywords))
    return number, wrong


def all_calls():
    """{what is tried: its bad calls}"""
    found = {"settings": ((getattr(fq, name), *call) for name, *call in bad_settings())}
    for dtype in FLOAT_TYPES:
        found[f"masks {dtype}"] = ((getattr(fq, name), *call) for name, *call in bad_masks(dtype))
        for (arithmetic, module), name in product(ARITHMETICS.items(), WITH_GRID):
            function = getattr(module, name)
            found[f"{arithmetic} {name} {dtype}"] = ((function, *call) for call in bad_calls(name, dtype))
    return found


@pytest.fixture(scope="module")
def tried():
    return {}


@pytest.mark.parametrize("what", all_calls())
@pytest.mark.filterwarnings("ignore:.*")
def test_every_bad_input_is_refused(what, tried):
    with np.errstate(all="ignore"):
        tried[what], wrong = taken(all_calls()[what])
    assert wrong == []


@pytest.mark.skipif(bfloat16 is None or not CONTRACT.is_file(), reason="a type, or the contract, is not here")
def test_the_contract_says_how_many_bad_inputs_are_tried(tried):
    if len(tried) < len(all_calls()):
        pytest.skip("not all of them were tried")
    assert re.findall(r"([\d,]+) bad inputs", CONTRACT.read_text()) == [f"{sum(tried.values()):,}"]
