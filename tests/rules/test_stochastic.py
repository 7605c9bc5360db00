"""Stochastic rounding: the words of Threefry, and the levels that these choose in any parts and layouts."""

import sys

import numpy as np
import pytest
from grids import values_near
from helpers import FLOAT_TYPES, assert_same
from hypothesis import given
from hypothesis import strategies as st
from layouts import broadcasting_shape, laid_out

import fq
from fq import _core
from fq._words import key_words, random_words

GRID = (0, -8, 7)
KEY = 0x0123456789ABCDEF


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_reference_is_what_the_authors_of_threefry_publish(key, counter, words):
    found = fq.reference.stochastic.threefry(key, *(np.array([word], np.uint32) for word in counter))
    assert tuple(int(one[0]) for one in found) == words


@pytest.mark.parametrize("start", [0, 1, 7, 254, 2**34 - 100, 2**64 - 5000])
@pytest.mark.parametrize("n", [0, 1, 5, 255, 257, 4999])
def test_words_are_those_of_the_reference_on_every_target(n, start, target):
    assert_same(random_words((n,), key_words(KEY), start), fq.reference.stochastic.random_words(n, KEY, start))


def test_threads_change_no_word():
    before = fq.get_num_threads()
    try:
        expected = random_words((10**6,), (1, 2), 3)
        fq.set_num_threads(3)
        assert_same(random_words((10**6,), (1, 2), 3), expected)
    finally:
        fq.set_num_threads(before)


def test_words_and_keys_are_those_of_jax():
    jax = pytest.importorskip("jax")
    from jax.extend.random import threefry_2x32

    raw = jax.random.PRNGKey(5)
    assert key_words(raw) == key_words(5) == key_words(jax.random.key(5)) == key_words(np.asarray(raw))
    low = np.arange(100, dtype=np.uint32)
    outputs = np.asarray(threefry_2x32(raw, np.concatenate([low, np.zeros_like(low)]))).reshape(2, -1)
    halves = np.stack([outputs[0] & 0xFFFF, outputs[0] >> 16, outputs[1] & 0xFFFF, outputs[1] >> 16], axis=-1)
    assert_same(random_words((400,), key_words(5), 0), halves.astype(np.uint16).ravel())
    with pytest.raises(ValueError, match="must be one of Threefry, got one of rbg"):
        key_words(jax.random.key(5, impl="rbg"))


@pytest.mark.parametrize("key", [-1, 2**64, 1.0, True, None, "1", [1, 2], np.zeros(3, np.uint32), np.zeros(2)])
def test_what_is_no_key_is_refused_with_its_value(key):
    with pytest.raises(ValueError, match=r"key must have 64 bits.*got"):
        fq.stochastic.forward(np.ones(3), 1, *GRID, key=key)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_fractions_one_spacing_from_their_word_equal_the_reference(dtype, target):
    words = random_words((4096,), key_words(KEY), 0)
    limits = (words + 0.5) / 2**16
    for at in (limits - 1, limits):
        x = at.astype(dtype)
        for near in (x, np.nextafter(x, dtype.type(-1)), np.nextafter(x, dtype.type(1))):
            assert_same(
                fq.stochastic.forward(near, 1, *GRID, key=KEY), fq.reference.stochastic.forward(near, 1, *GRID, key=KEY)
            )


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_equals_the_reference_on_every_target(dtype, target):
    rng = np.random.default_rng(0)
    for n in (1, 3, 64, 200, 1031):
        x = values_near(dtype, 0.1, GRID, rng, n)
        for scale in (0.1, 0.25, rng.uniform(0.05, 0.3, n)):
            expected = fq.reference.stochastic.forward(x, scale, *GRID, key=KEY, start=n)
            assert_same(fq.stochastic.forward(x, scale, *GRID, key=KEY, start=n), expected)
            assert_same(fq.stochastic.fake_quantize(x, scale, *GRID, key=KEY, start=n), expected[0])
            packed = fq.stochastic.forward_packed(x, scale, *GRID, key=KEY, start=n)
            assert_same(packed, (expected[0], np.packbits(expected[1], bitorder="little")))


@given(st.data())
def test_any_layout_and_any_parts(data):
    draw = data.draw
    rng, dtype = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.sampled_from(FLOAT_TYPES))
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    x = laid_out(values_near(dtype, 0.1, GRID, rng, int(np.prod(shape))).reshape(shape), draw)
    scale = rng.uniform(0.05, 0.3, broadcasting_shape(shape, draw))[()]
    zero_point = rng.integers(-2, 3, broadcasting_shape(shape, draw))[()]
    start, given = draw(st.integers(0, 2**40)), (scale, zero_point, -8, 7)
    expected = fq.reference.stochastic.forward(x, *given, key=KEY, start=start)
    bits = np.packbits(expected[1], axis=-1, bitorder="little")
    before = fq.stochastic._AT_ONCE
    try:
        fq.stochastic._AT_ONCE = draw(st.sampled_from([1, 8, 50, 2**16]))
        assert_same(fq.stochastic.forward(x, *given, key=KEY, start=start), expected)
        assert_same(fq.stochastic.forward_packed(x, *given, key=KEY, start=start), (expected[0], bits))
    finally:
        fq.stochastic._AT_ONCE = before


def test_arrays_of_more_axes_than_numpy_broadcasts_are_taken():
    x = np.linspace(-2, 2, 6).reshape((1,) * 50 + (2, 3))
    y, mask = fq.stochastic.forward(x, np.ones((2, 1)), *GRID, key=KEY)
    assert_same(y.ravel(), fq.stochastic.fake_quantize(x.ravel(), 1, *GRID, key=KEY))
    bits = np.packbits(mask.reshape(2, 3), axis=-1, bitorder="little")
    assert_same(fq.stochastic.forward_packed(x, 1, *GRID, key=KEY)[1].reshape(2, 1), bits)


@pytest.mark.parametrize("x", [np.float32(1), np.ones(1, np.float32), np.ones((2, 1), np.float32)])
def test_a_packed_axis_is_that_of_x_as_in_fq_itself(x):
    for function, how in (fq.forward_packed, {}), (fq.stochastic.forward_packed, {"key": KEY}):
        with pytest.raises(
            ValueError, match=r"must have an axis|the last axis of scale must be 1 or that of x, 1, got 3"
        ):
            function(x, np.ones(3), *GRID, **how)


def test_out_is_written_and_what_lies_across_x_is_seen(monkeypatch):
    monkeypatch.setattr(fq.stochastic, "_AT_ONCE", 64)
    rng = np.random.default_rng(1)
    x = rng.standard_normal(1000).astype(np.float32)
    y, mask = fq.stochastic.forward(x, 0.1, *GRID, key=KEY)
    place, kept = x.copy(), np.empty(1000, bool)
    assert fq.stochastic.forward(place, 0.1, *GRID, key=KEY, out=(place, kept))[0] is place
    assert_same((place, kept), (y, mask))
    room = np.zeros(1003, np.float32)
    room[:1000] = x
    fq.stochastic.fake_quantize(room[:1000], 0.1, *GRID, key=KEY, out=room[3:])
    assert_same(room[3:], y)
    with pytest.raises(ValueError, match=r"out must have shape \(1000,\), got \(1003,\)"):
        fq.stochastic.fake_quantize(x, 0.1, *GRID, key=KEY, out=room)


def test_a_bad_parameter_of_a_late_part_writes_nothing(monkeypatch):
    monkeypatch.setattr(fq.stochastic, "_AT_ONCE", 8)
    scale = np.full((100, 1), 0.1)
    scale[-1] = np.nan
    y = np.full((100, 4), 5.0)
    with pytest.raises(ValueError, match="scale must be positive"):
        fq.stochastic.fake_quantize(np.ones((100, 4)), scale, *GRID, key=1, out=y)
    assert (y == 5).all()


def test_the_mean_is_x_and_points_of_the_grid_never_move():
    n = 2**20
    x = np.repeat(np.linspace(-1, 1, 17), n // 16)[:n]
    y = fq.stochastic.fake_quantize(x, 1, *GRID, key=7)
    for value in np.unique(x):
        at = y[x == value]
        error = np.sqrt(abs(value) * (1 - abs(value)) / at.size) if abs(value) < 1 else 0
        assert abs(at.mean() - value) <= 5 * error
    assert (fq.stochastic.fake_quantize(np.arange(-8.0, 8), 1, *GRID, key=7) == np.arange(-8, 8)).all()


@pytest.mark.parametrize("start", [-1, 2**64 - 2, 1.0, True])
def test_what_is_no_start_is_refused(start):
    with pytest.raises((TypeError, ValueError), match="start must"):
        fq.stochastic.forward(np.ones(3), 1, *GRID, key=0, start=start)


def test_jax_is_not_imported_for_a_key():
    assert "jax" in sys.modules or key_words(3) == (0, 3)
    assert _core.operations("stochastic").keys() == {"fake_quantize", "forward", "forward_packed"}
