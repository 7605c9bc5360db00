"""fq.jax beside the straight-through formula written in jnp, under every transform, to second order."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402
from jax.ad_checkpoint import print_saved_residuals  # noqa: E402
from jax.lax import stop_gradient  # noqa: E402

import fq.jax  # noqa: E402
from fq import _core  # noqa: E402

GRID = 0.25, 1, -8, 7
X = np.linspace(-4, 4, 3 * 18, dtype=np.float32).reshape(3, 18) + np.float32(0.03)
V = np.cos(np.arange(X.size, dtype=np.float32)).reshape(X.shape)
WAYS = [
    pytest.param("c", marks=pytest.mark.skipif(not _core.xla_handlers(), reason="built without XLA's header")),
    "xla",
    "callback",
]


def formula(x, scale=GRID[0], zero_point=GRID[1]):
    """The derivatives are those of what follows `y + `, in which every step is taken to have slope 1."""
    level = jnp.round(x / scale)
    inside = (level + zero_point >= GRID[2]) & (level + zero_point <= GRID[3])
    end = jnp.clip(level, GRID[2] - zero_point, GRID[3] - zero_point)
    outside = (stop_gradient(end + zero_point) - zero_point) * scale
    slope = jnp.where(inside, x + scale * stop_gradient(level - x / scale), outside)
    return stop_gradient(end * scale) + (slope - stop_gradient(slope))


def formula_of_x(x):
    return formula(x)


def loss(function):
    """Of a row or of all of X, with derivatives of any order that are not 0."""
    return lambda x: (function(jnp.sin(x) * 3) ** 3 * V[: x.size // 18].reshape(x.shape)).sum()


def gradient(function):
    return jax.grad(loss(function))


def times_a_vector(function):
    return lambda x: jax.jvp(gradient(function), (x,), (V[: x.size // 18].reshape(x.shape),))[1]


def scanned(function):
    step = lambda h, _: (function(h * 1.1), None)  # noqa: E731
    return lambda x: jax.lax.scan(step, x, None, length=3)[0]


def inner_step(function):
    """MAML's: the loss after a step along its own gradient."""
    inner = loss(function)
    return jax.grad(lambda x: inner(x - 0.01 * jax.grad(inner)(x)))


def checkpointed(function, **how):
    return gradient(jax.checkpoint(lambda x: jnp.tanh(function(x)), **how))


TRANSFORMS = {
    "grad": gradient,
    "value_and_grad": lambda f: jax.value_and_grad(loss(f)),
    "jvp": lambda f: lambda x: jax.jvp(f, (x,), (V,)),
    "linearize": lambda f: lambda x: jax.linearize(f, x)[1](V),
    "linear_transpose": lambda f: lambda x: jax.linear_transpose(jax.linearize(f, x)[1], x)(V),
    "jacfwd": lambda f: lambda x: jax.jacfwd(f)(x[0]),
    "jacrev": lambda f: lambda x: jax.jacrev(f)(x[0]),
    "vmap": lambda f: jax.vmap(f, in_axes=1, out_axes=1),
    "vmap(grad)": lambda f: jax.vmap(gradient(f)),
    "vmap(jvp)": lambda f: lambda x: jax.vmap(lambda v: jax.jvp(f, (x[0],), (v,))[1])(V),
    "grad(grad)": lambda f: jax.grad(lambda x: (gradient(f)(x) * V).sum()),
    "penalty": lambda f: jax.grad(lambda x: loss(f)(x) + (gradient(f)(x) ** 2).sum()),
    "hvp": times_a_vector,
    "vmap(hvp)": lambda f: jax.vmap(jax.grad(lambda x: (gradient(f)(x) ** 2).sum())),
    "hessian": lambda f: lambda x: jax.hessian(loss(f))(x[0]),
    "inner step": inner_step,
    "third order": lambda f: jax.grad(lambda x: times_a_vector(f)(x).sum()),
    "checkpoint": checkpointed,
    "checkpoint, all saved": lambda f: checkpointed(f, policy=jax.checkpoint_policies.everything_saveable),
    "checkpoint, nothing": lambda f: checkpointed(f, policy=jax.checkpoint_policies.nothing_saveable),
    "scan": lambda f: gradient(scanned(f)),
    "scan, second order": lambda f: times_a_vector(scanned(f)),
    "cond": lambda f: gradient(lambda x: jax.lax.cond(x.sum() > 0, f, lambda x: x, x)),
    "while": lambda f: lambda x: jax.jvp(lambda x: jax.lax.fori_loop(0, 3, lambda _, h: f(h * 1.1), x), (x,), (V,)),
}


SLOW = [
    *("value_and_grad", "linear_transpose", "vmap(jvp)", "hvp", "inner step", "third order", "jacrev"),
    *("checkpoint, all saved", "checkpoint, nothing", "scan, second order", "while"),
]


def some(names, slow):
    """All names, those that teach least for .ci/run alone."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in names]


def assert_close(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-4 * max(1, np.abs(other).max()) / 10)


def assert_transformed_alike(name, via):
    transform = TRANSFORMS[name]
    expected = jax.jit(transform(formula_of_x))(X)
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(expected)), "the law is tested on zeros"
    assert_close(jax.jit(transform(lambda x: fq.jax.fake_quantize(x, *GRID, via=via)))(X), expected)


@pytest.mark.parametrize("name", some(TRANSFORMS, SLOW))
def test_every_transform_gives_what_it_gives_of_the_formula(name):
    assert_transformed_alike(name, None)


@pytest.mark.parametrize("via", WAYS)
@pytest.mark.parametrize("name", ["vmap(hvp)"])
def test_ways_differ_in_no_transform(name, via):
    assert_transformed_alike(name, via)


def learnable(x, scale, zero_point):
    return fq.jax.fake_quantize_learnable(x, scale, zero_point, *GRID[2:])


SCALES = np.float32([[0.25], [0.125], [0.5]])
ALL = 0, 1, 2
LEARNED = {
    "grad": lambda f: jax.grad(f, ALL),
    "jvp": lambda f: lambda *a: jax.jvp(f, a, tuple(jnp.ones_like(each) for each in a)),
    "jacfwd": lambda f: jax.jacfwd(f, (1, 2)),
    "grad(grad)": lambda f: jax.grad(lambda *a: sum((g**2).sum() for g in jax.grad(f, ALL)(*a)), ALL),
    "hessian": lambda f: jax.hessian(f, (1, 2)),
    "hvp": lambda f: lambda *a: jax.jvp(jax.grad(f, ALL), a, tuple(jnp.ones_like(each) for each in a))[1],
    "vmap(grad)": lambda f: jax.vmap(jax.grad(lambda *a: f(*a), ALL), (0, 0, None)),
    "vmap(hvp)": lambda f: jax.vmap(LEARNED["hvp"](f), (0, 0, None)),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f), ALL),
}


@pytest.mark.parametrize("name", some(LEARNED, ["vmap(hvp)", "hvp", "hessian", "vmap(grad)"]))
def test_every_transform_of_learned_parameters_gives_what_it_gives_of_the_formula(name):
    def loss(function):
        return lambda x, scale, zero_point: (function(x, scale, zero_point) ** 3).sum()

    arguments = jnp.asarray(X), jnp.asarray(SCALES), jnp.float32(1)
    found, expected = (jax.jit(LEARNED[name](loss(function)))(*arguments) for function in (learnable, formula))
    assert_close(found, expected)


def test_second_derivatives_of_learned_parameters_are_minus_one_where_x_is_outside():
    found = jax.jit(jax.hessian(lambda s, z: learnable(X, s, z).sum(), (0, 1)))(0.25, 1.0)
    outside = np.sum(~fq.forward(X, *GRID)[1])
    assert np.array_equal(found, [[0, -outside], [-outside, 0]])


@pytest.mark.parametrize("via", WAYS[:2])
@pytest.mark.parametrize("order", ["first", "checkpoint", "scan"])
def test_bits_are_all_that_is_kept(order, via, capsys):
    function = lambda x: fq.jax.fake_quantize(x, *GRID, via=via)  # noqa: E731
    saved = jax.checkpoint(function, policy=jax.checkpoint_policies.everything_saveable)
    kept_of = {
        "first": (function, "u8[3,3]"),
        "checkpoint": (saved, "u8[3,3]"),
        "scan": (lambda x: jax.lax.scan(lambda h, _: (function(h), None), x, None, length=5)[0], "u8[5,3,3]"),
    }
    run, bits = kept_of[order]
    print_saved_residuals(run, jnp.asarray(X))
    lines = [line for line in capsys.readouterr().out.splitlines() if "from the argument" not in line]
    kept = [line.split()[0] for line in lines if "[]" not in line.split()[0]]
    assert kept, "nothing is kept"
    assert set(kept) == {bits}, lines
