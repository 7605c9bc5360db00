"""Rounding by other rules, and to formats: bit for bit the reference, in any layout, on every target."""

import numpy as np
import pytest
from grids import OPERATIONS, ROUNDINGS, RULES, values_near
from helpers import FLOAT_TYPES, assert_same, gradients
from hypothesis import given
from hypothesis import strategies as st
from layouts import broadcasting_shape, laid_out

import fq
from fq import _core

SCALES = (1.0, 0.1, 0.25, 3.7, 2.0**-40)
EVERY = pytest.mark.parametrize("rule", RULES, ids=repr)
SIXTEEN = [dtype for dtype in FLOAT_TYPES if dtype.itemsize == 2]


def test_no_rule_is_forgotten():
    known = {"divide", "reciprocal", "stochastic", *(rule.name for rule in RULES)}
    assert known == set(_core.rules())
    assert len(ROUNDINGS) == 5


@EVERY
@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_every_value_of_16_bits_is_that_of_the_reference(rule, dtype, target):
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    forward, reference = rule.both("forward")
    for grid in rule.grids:
        for scale in SCALES[:3]:
            assert_same(forward(x, scale, *grid), reference(x, scale, *grid))


@EVERY
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_equals_the_reference_on_every_target(rule, dtype, operation, target):
    rng = np.random.default_rng(0)
    function, reference = rule.both(operation)
    for n in (1, 3, 8, 63, 64, 65, 200, 1031):
        for grid in rule.grids:
            scale = rng.choice(SCALES)
            given = [values_near(dtype, scale, grid, rng, n), scale, *grid]
            if operation == "backward_recompute":
                given.insert(0, gradients(dtype, rng, n))
            assert_same(function(*given), reference(*given))


@EVERY
@given(st.data())
def test_any_layout_and_any_broadcasting(rule, data):
    draw = data.draw
    dtype = draw(st.sampled_from(FLOAT_TYPES))
    shape = tuple(draw(st.lists(st.integers(1, 70), min_size=1, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = rule.grids[draw(st.integers(0, len(rule.grids) - 1))]
    x = laid_out(values_near(dtype, 0.1, grid, rng, int(np.prod(shape))).reshape(shape), draw)
    scale = rng.choice([0.1, 0.25, 1e-3], broadcasting_shape(shape, draw))[()]
    for operation in ("fake_quantize", "forward", "forward_packed"):
        function, reference = rule.both(operation)
        assert_same(function(x, scale, *grid), reference(x, scale, *grid))


@EVERY
def test_every_element_may_have_a_grid_of_its_own(rule):
    rng, n = np.random.default_rng(1), 300
    picked = rng.integers(0, len(rule.grids), (3, n))
    picked[:, 100:170] = 0  # a run of one grid
    grids = [np.array([grid[k] for grid in rule.grids])[picked] for k in range(len(rule.grids[0]))]
    for dtype in FLOAT_TYPES:
        x = values_near(dtype, 0.1, rule.grids[0], rng, 3 * n).reshape(3, n)
        for scale in (0.25, rng.uniform(0.05, 0.3, n), rng.uniform(0.05, 0.3, (3, 1))):
            function, reference = rule.both("forward")
            assert_same(function(x, scale, *grids), reference(x, scale, *grids))
            function, reference = rule.both("forward_packed")
            names = _core.operations(rule.name)["forward"]["parameters"][1:]
            rows = [grid[:, :1] if one == "zero_point" else grid[:, 0] for one, grid in zip(names, grids, strict=True)]
            assert_same(function(x, scale, *rows), reference(x, scale, *rows))


@EVERY
def test_out_where_and_in_place(rule):
    rng, grid = np.random.default_rng(2), rule.grids[0]
    x = values_near(np.dtype(np.float32), 0.1, grid, rng, 500)
    y, mask = rule.library.forward(x, 0.1, *grid)
    where = rng.random(500) < 0.5
    assert_same(rule.library.fake_quantize(x, 0.1, *grid, out=x.copy(), where=where), np.where(where, y, x))
    place = x.copy()
    assert rule.library.forward(place, 0.1, *grid, out=(place, None))[0] is place
    assert_same(place, y)
    assert_same(rule.library.backward_recompute(x, x, 0.1, *grid), fq.backward(x, mask))
    wider = np.empty(500)
    assert_same(rule.library.fake_quantize(x, 0.1, *grid, out=wider), y.astype(np.float64))


@EVERY
def test_threads_and_stores_past_the_cache_change_nothing(rule):
    rng, grid, threads, before = np.random.default_rng(3), rule.grids[0], fq.get_num_threads(), _core.cache_threshold()
    x = values_near(np.dtype(np.float32), 0.1, grid, rng, 2**19 + 17)
    expected = rule.library.forward_packed(x, 0.1, *grid)
    try:
        fq.set_num_threads(3)
        _core._set_cache_threshold(1)
        for skipped in range(0, 20, 3):
            place = np.empty(x.size + 64, np.float32)[skipped:][: x.size]
            assert_same(rule.library.forward_packed(x, 0.1, *grid, out=(place, None)), expected)
    finally:
        fq.set_num_threads(threads)
        _core._set_cache_threshold(before)


@EVERY
@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_is_not_positive_is_refused(rule, scale):
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        rule.library.forward(np.ones(3), scale, *rule.grids[0])


@EVERY
def test_names_of_arguments_and_documentation(rule):
    for name, operation in OPERATIONS.items():
        parameters = _core.operations(rule.name)[name]["parameters"]
        function = getattr(rule.library, name)
        arguments = dict(zip(operation["inputs"], [np.ones(3), np.ones(3)], strict=False))
        function(**arguments, **dict(zip(parameters, (1.0, *rule.grids[0]), strict=True)))
        assert f"{parameters[1]}" in function.__doc__
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            function(*arguments.values(), 1.0, *rule.grids[0][:-1])


def test_a_half_is_where_the_rules_differ():
    x = np.array([-1.5, -0.5, 0.49999997, 0.5, 1.5, 2.5], np.float32)
    found = {name: getattr(fq.rounding, name).fake_quantize(x, 1, 0, -8, 7).tolist() for name in ROUNDINGS}
    assert found == {
        "half_away": [-2, -1, 0, 1, 2, 3],
        "half_up": [-1, 0, 0, 1, 2, 3],
        "floor": [-2, -1, 0, 0, 1, 2],
        "ceil": [-1, 0, 1, 1, 2, 3],
        "toward_zero": [-1, 0, 0, 0, 1, 2],
    }
