"""What observers saw merges to the same bits: any split, order, tree, thread count, SIMD target and process."""

import copy
import functools
import operator
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
from helpers import FLOAT_TYPES, beside_the_tests
from test_observer import mixed

import fq
from fq import _core

MERGE = {"sum": np.add, "min": np.minimum, "max": np.maximum}


def bytes_of(observer, dense=False):
    """All that the observer's state holds, as bytes."""
    state = observer.state(dense)
    arrays = [(op, name, state[op][name]) for op in (*MERGE, "bins") if op in state for name in sorted(state[op])]
    return [(op, name, array.dtype.str, array.shape, array.tobytes()) for op, name, array in arrays]


def merged(states):
    """States merged element by element, as a collective operation merges them."""
    arrays = {
        op: functools.reduce(lambda a, b, op=op: {k: MERGE[op](a[k], b[k]) for k in a}, [state[op] for state in states])
        for op in MERGE
    }
    return states[0] | arrays


def tree(observers, rng):
    """Merges neighbours, or any two, until one is left."""
    while len(observers) > 1:
        a, b = observers.pop(rng.randrange(len(observers))), observers.pop(rng.randrange(len(observers)))
        observers.append(a | b if rng.random() < 0.5 else b.merge(a))
    return observers[0]


def rounds_of_splits(x, make, rounds, axis=-1):
    """Splits along an axis at random places, and merges in random trees."""
    rng, expected = random.Random(1), bytes_of(make().update(x))
    before = _core.target(), fq.get_num_threads()
    try:
        for _ in range(rounds):
            _core._set_target(rng.choice(_core.targets()))
            fq.set_num_threads(rng.choice([1, 2, 3]))
            cuts = sorted(rng.randrange(x.shape[axis] + 1) for _ in range(rng.randrange(1, 6)))
            parts = np.split(x, cuts, axis)
            rng.shuffle(parts)
            groups = [parts[i::3] for i in range(3)]
            observers = [functools.reduce(fq.Observer.update, group, make()) for group in groups]
            assert bytes_of(tree(observers, rng)) == expected
    finally:
        _core._set_target(before[0])
        fq.set_num_threads(before[1])


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_a_thousand_splits_give_the_same_bits(dtype):
    rounds_of_splits(mixed(3000, dtype, 1), fq.Observer, 250)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("axis", [0, (0, 1)])
def test_splits_of_kept_axes_give_the_same_bits(dtype, axis):
    rounds_of_splits(mixed((5, 3, 40), dtype, 2), functools.partial(fq.Observer, axis), 20)


def test_splits_of_long_arrays_give_the_same_bits():
    rounds_of_splits(mixed(600_000, np.float32, 3, 1e-5), fq.Observer, 3)
    rounds_of_splits(mixed((3, 200_000), np.float32, 4, 1e-5), functools.partial(fq.Observer, 0), 3)


def test_the_order_of_the_elements_does_not_matter():
    x = mixed(5000, np.float32, 5)
    expected = bytes_of(fq.Observer().update(x))
    for seed in range(10):
        shuffled = np.random.default_rng(seed).permutation(x)
        assert bytes_of(fq.Observer().update(shuffled)) == expected
    assert bytes_of(fq.Observer().update(x.reshape(50, 100).T)) == expected


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("settings", [{}, {"axis": 1}, {"group": 3}, {"distribution": False}, {"axis": (0, 1)}])
def test_states_merge_element_by_element(dtype, settings):
    if dtype == np.float64 and settings.get("group"):
        pytest.skip("dense groups of float64 take 24 times the memory of the rest")
    parts = [mixed((2, 6), dtype, seed, 0.1) for seed in range(3)]
    observers = [fq.Observer(**settings).update(part) for part in parts]
    states = [observer.state(dense=True) for observer in observers]
    whole = functools.reduce(operator.or_, observers)
    assert "bins" not in states[0]
    assert bytes_of(fq.Observer.from_state(merged(states))) == bytes_of(whole)
    assert bytes_of(fq.Observer.from_state(whole.state(dense=False))) == bytes_of(whole)


def test_a_state_is_dense_for_one_range_alone():
    x = mixed((2, 6), np.float32)
    assert fq.Observer().update(x).state()["sum"]["bins"].shape == (1, 2**16, 3)
    assert "bins" in fq.Observer(0).update(x).state()
    assert fq.Observer().update(x.astype(float)).state()["sum"]["bins"].shape == (1, 2**19, 3)
    assert "bins" not in fq.Observer(distribution=False).update(x).state()["sum"]


@pytest.mark.parametrize(
    "settings", [{}, {"axis": 1}, {"axis": (0, -1)}, {"group": 3, "axis": 0}, {"nonfinite": "raise"}]
)
def test_pickles_and_copies_are_the_same(settings):
    empty = pickle.loads(pickle.dumps(fq.Observer(**settings)))
    assert repr(empty) == repr(fq.Observer(**settings))
    x = mixed((2, 6), np.float32, special=0)
    observer = fq.Observer(**settings).update(x)
    for again in (pickle.loads(pickle.dumps(observer)), copy.copy(observer), copy.deepcopy(observer)):
        assert repr(again) == repr(observer)
        assert bytes_of(again) == bytes_of(observer)
        assert bytes_of(again.update(x)) == bytes_of(observer | observer)


def test_pickles_are_small():
    observer = fq.Observer().update(np.random.default_rng(0).standard_normal(2**20, np.float32))
    assert len(pickle.dumps(observer)) < 40_000


CHILD = """
import pickle, sys
import numpy as np
import fq
from test_observer import mixed
seed, settings = int(sys.argv[1]), eval(sys.argv[2])
fq.set_num_threads(2)
x = mixed((4, 50_000), np.float32, seed)
observer = fq.Observer(**settings).update(x)
sys.stdout.buffer.write(pickle.dumps((observer, observer.state(dense=False))))
"""


@pytest.mark.parametrize("settings", [{}, {"axis": 0}])
def test_another_process_gives_the_same_bits(settings):
    environment = beside_the_tests()
    environment["PYTHONPATH"] += ":" + __file__.rpartition("/")[0]
    found = []
    for seed, target in ((1, _core.targets()[0]), (2, "portable")):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(seed), repr(settings)],
            check=True,
            capture_output=True,
            env=environment | {"FQ_SIMD": target},
        )
        found.append(pickle.loads(done.stdout))
    x = np.concatenate([mixed((4, 50_000), np.float32, seed) for seed in (2, 1)], axis=1)
    whole = bytes_of(fq.Observer(**settings).update(x))
    assert bytes_of(found[0][0] | found[1][0]) == whole
    again = [fq.Observer.from_state(state) for _, state in found]
    assert bytes_of(again[1].merge(again[0])) == whole


def test_settings_survive_a_file(tmp_path):
    """As arrays and lists, of which NumPy's and JSON's files are made."""
    state = fq.Observer(axis=(0,)).update(mixed((2, 6), np.float32)).state()
    expected = bytes_of(fq.Observer.from_state(state))
    np.savez(
        tmp_path / "state.npz",
        settings=np.array(state["settings"], object),
        **{f"{op}.{name}": array for op in (*MERGE, "bins") for name, array in state[op].items()},
    )
    with np.load(tmp_path / "state.npz", allow_pickle=True) as file:
        again = {
            "version": np.int64(1),
            "settings": dict(file["settings"].item()),
            **{op: {} for op in (*MERGE, "bins")},
        }
        for key in set(file.files) - {"settings"}:
            op, name = key.split(".")
            again[op][name] = file[key]
    again["settings"].update(axis=[0], kept=[0], shape=np.array([2, 1]), distribution=np.True_)
    assert bytes_of(fq.Observer.from_state(again)) == expected


def broken(change):
    """A state of two ranges with something wrong."""
    state = fq.Observer(axis=0).update(np.float32([[1, 2, 3], [4, 5, 6]])).state()
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda s: s.update(version=2), ValueError, "version 2; this fq reads version 1"),
        (lambda s: s.pop("version"), ValueError, "version None"),
        (lambda s: s["settings"].update(dtype="float8"), TypeError, "float8, a type that is not known"),
        (lambda s: s["settings"].update(group="a"), TypeError, "group must be an integer"),
        (lambda s: s["settings"].pop("kept"), ValueError, "lacks 'kept'"),
        (lambda s: s.pop("bins"), ValueError, "lacks 'bins'"),
        (lambda s: s["settings"].update(shape=(3, 1)), ValueError, "shape"),
        (lambda s: s["settings"].update(shape=(0, 1)), ValueError, "shape"),
        (lambda s: s["sum"]["count"].__setitem__(0, 4), ValueError, "counts"),
        (lambda s: s["min"]["low"].__setitem__(0, 9), ValueError, "ends"),
        (lambda s: s["max"]["high"].__setitem__(1, np.nan), ValueError, "ends"),
        (lambda s: s["sum"]["count"].__setitem__(slice(None), 4), ValueError, "bins do not fit its counts"),
        (lambda s: s["bins"].update(keys=s["bins"]["keys"][::-1]), ValueError, "bins do not fit"),
        (lambda s: s["bins"]["keys"].__setitem__(-1, 2**17), ValueError, "bins do not fit"),
        (lambda s: s["bins"].update(start=np.array([0, 9, 6])), ValueError, "not the bins"),
        (lambda s: s["bins"].update(cells=s["bins"]["cells"][:, :1]), ValueError, "shape"),
        (lambda s: s["bins"].update(keys=s["bins"]["keys"][:-1]), ValueError, "shape"),
        (lambda s: s["settings"].update(shape=(-2, -1)), ValueError, "shape"),
        (lambda s: s["settings"].update(kept=(1,)), ValueError, "shape"),
        (lambda s: s["bins"]["cells"].__setitem__((0, 1), 2**40), ValueError, "bins do not fit"),
        (lambda s: s["bins"]["cells"].__setitem__((0, 2), 1), ValueError, "bins do not fit"),
        (lambda s: s["bins"]["cells"].__setitem__((0, slice(None)), (1, 2, 5)), ValueError, "bins do not fit"),
        (lambda s: s["min"]["low"].__setitem__(0, -9), ValueError, "bins do not fit"),
        (lambda s: s["min"]["low"].__setitem__(0, 2), ValueError, "bins do not fit"),
        (lambda s: s["max"]["high"].__setitem__(1, 9), ValueError, "bins do not fit"),
        (lambda s: s["max"]["high"].__setitem__(0, np.inf), ValueError, "ends"),
    ],
)
def test_a_state_that_is_none_is_refused(change, error, match):
    with pytest.raises(error, match=match):
        fq.Observer.from_state(broken(change))


def test_a_state_must_be_a_dict():
    with pytest.raises(TypeError, match=r"state must be a dict, as Observer\.state gives it, got bytes"):
        fq.Observer.from_state(b"")


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_every_state_that_an_observer_gives_is_taken(dtype):
    bits = np.random.default_rng(3).integers(0, 2 ** (8 * dtype.itemsize), (40, 100), dtype=np.uint64)
    zeros = np.array([[-0.0, 0.0], [0.0, 0.0], [-0.0, -0.0], [np.nan, 1]], dtype)
    for x in (bits.astype(f"u{dtype.itemsize}").view(dtype), np.zeros((2, 3), dtype), zeros, mixed((5, 900), dtype, 4)):
        for axis in (None, 0):
            observer = fq.Observer(axis).update(x)
            for dense in (False, axis is None):
                again = fq.Observer.from_state(observer.state(dense))
                assert pickle.dumps(again.state(False)) == pickle.dumps(observer.state(False))
