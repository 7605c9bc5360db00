"""Every row of src/ops.h equals its namesake in fq.reference: a new row is tested the day it is written."""

import inspect

import numpy as np
import pytest
from helpers import (
    ARITHMETICS,
    FLOAT_TYPES,
    OPERATIONS,
    assert_same,
    gradients,
    grids_of,
    hard_values,
    kept_as,
    random_kept,
)

import fq

LENGTHS = 1, 7, 64, 257


def value_of(name, label, dtype, grid, rng, n):
    kept = kept_as(name, label, (n,))
    if kept is not None:
        return random_kept(rng, *kept)
    return gradients(dtype, rng, n) if label == "dy" else hard_values(dtype, grid, rng, n)


def function_of(name, arithmetic):
    """Of the extension, since a new row has no public name yet."""
    ufuncs = getattr(fq._core, arithmetic)
    return ufuncs[name] if name in ufuncs else getattr(ARITHMETICS[arithmetic], name)


def calls(name, arithmetic):
    """The function, its reference, and arguments of every type and grid."""
    rng = np.random.default_rng(0)
    function, twin = function_of(name, arithmetic), getattr(fq.reference, name)
    how = {"arithmetic": arithmetic} if "arithmetic" in inspect.signature(twin).parameters else {}
    for dtype in FLOAT_TYPES:
        for grid in grids_of(name)[:: 1 + bool(OPERATIONS[name]["reduction"])]:
            for n in LENGTHS:
                inputs = [value_of(name, one, dtype, grid, rng, n) for one in OPERATIONS[name]["inputs"]]
                parameters = grid[: len(OPERATIONS[name]["parameters"])]
                yield function(*inputs, *parameters), twin(*inputs, *parameters, **how)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_its_reference(name, arithmetic):
    for found, expected in calls(name, arithmetic):
        if OPERATIONS[name]["reduction"]:
            (first, *sums), (right, *right_sums) = found, expected
            assert_same(first, right)
            for one, other in zip(sums, right_sums, strict=True):
                assert type(one) is type(other)
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-30)
        else:
            assert_same(found, expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gives_its_outputs(name):
    """As many as the row names, and the docstring names them too."""
    found, _ = next(calls(name, "divide"))
    outputs = OPERATIONS[name]["outputs"]
    assert len(found if isinstance(found, tuple) else (found,)) == len(outputs)
    returns = function_of(name, "divide").__doc__.partition("Returns\n")[2].partition("Raises\n")[0]
    assert all(output in returns for output in outputs)
