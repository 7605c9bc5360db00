"""fq.jax with codes of residuals kept in the place of x: values, gradients, what is saved, and what is refused."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import fq  # noqa: E402
import fq.jax as fj  # noqa: E402
from fq.jax import _calls  # noqa: E402

CODES = {"residual": 126, "residual4": 6}
EVERY = pytest.mark.parametrize("keep", CODES)
WAYS = pytest.mark.parametrize(
    "via", ["xla", "callback", *(["c"] if _calls._target("fake_quantize", False) in _calls.handlers() else [])]
)
SHAPES = [((37,), ()), ((), ()), ((4, 3, 5), (3, 1)), ((2, 9), (2, 1)), ((3, 9), (9,)), ((0, 4), ())]


def arguments(shape, of_scale, dtype=np.float32):
    rng = np.random.default_rng(0)
    x, dy = (jnp.asarray(rng.standard_normal(shape).astype(np.float32), dtype) for _ in range(2))
    return x, dy, jnp.full(of_scale, 0.3, np.float32), jnp.zeros(of_scale, np.float32)


def gradients(x, dy, scale, zero_point, **how):
    y, back = jax.vjp(lambda *three: fj.fake_quantize_learnable(*three, -3, 3, **how), x, scale, zero_point)
    return y, *back(dy)


@EVERY
@WAYS
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(("shape", "of_scale"), SHAPES)
def test_gradients_are_those_of_x_and_that_of_scale_nearly(shape, of_scale, dtype, via, keep):
    given = arguments(shape, of_scale, dtype)
    expected, found = gradients(*given), gradients(*given, keep=keep, via=via)
    assert all(one.dtype == other.dtype for one, other in zip(found, expected, strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(found[:2], expected[:2], strict=True))
    np.testing.assert_allclose(found[3], expected[3], rtol=1e-4, atol=1e-5)
    most = np.abs(np.asarray(given[1]).astype(np.float64)).sum() / (4 * CODES[keep]) + 1e-3
    assert np.all(np.abs(found[2] - expected[2]) <= most)


@EVERY
@WAYS
def test_codes_are_those_of_numpy_and_by_xla_next_to_them(via, keep):
    """Where a residual lies between two codes."""
    x, _, scale, _ = arguments((4, 333), ())
    x = x.at[0, :3].set(jnp.array([np.nan, np.inf, -np.inf]))
    suffix = "_packed" if keep == "residual4" else ""
    qparams = [jnp.broadcast_to(one, (1, 1)) for one in (scale, *map(jnp.int32, (0, -3, 3)))]
    y, found = _calls.bind(f"forward_residual{suffix}", via, False, x, *qparams)
    expected = getattr(fq, f"forward_residual{suffix}")(np.asarray(x), np.float32(0.3), 0, -3, 3)
    assert np.array_equal(y, expected[0], equal_nan=True)
    one, other = (
        (fq.unpack(each, 4, 333) if suffix else each).astype(int) for each in (np.asarray(found), expected[1])
    )
    assert np.abs(one - other).max() <= (via == "xla")
    assert np.mean(one != other) < 1e-2


@EVERY
def test_what_is_kept_of_x(keep):
    x, _, scale, zero_point = arguments((1000,), ())
    _, back = jax.vjp(lambda *three: fj.fake_quantize_learnable(*three, -3, 3, keep=keep), x, scale, zero_point)
    sizes = [leaf.nbytes for leaf in jax.tree_util.tree_leaves(back) if hasattr(leaf, "nbytes")]
    assert 0 <= sum(sizes) - 1000 * {"residual": 1, "residual4": 0.5}[keep] < 200


@EVERY
def test_it_goes_under_jit_vmap_and_checkpoint(keep):
    x, _, _, _ = arguments((5, 8), ())
    scales = jnp.linspace(0.1, 1, 5)
    loss = lambda scale, x: fj.fake_quantize_learnable(x, scale, 0, -3, 3, keep=keep).sum()  # noqa: E731
    expected = [jax.grad(loss)(*pair) for pair in zip(scales, x, strict=True)]
    for transform in (lambda f: f, jax.jit, jax.checkpoint):
        found = jax.vmap(jax.grad(transform(loss)))(scales, x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@EVERY
def test_higher_derivatives_are_refused(keep):
    x, _, _, _ = arguments((5, 8), ())
    loss = lambda scale: fj.fake_quantize_learnable(x, scale, 0, -3, 3, keep=keep).sum()  # noqa: E731
    with pytest.raises(NotImplementedError, match="no second derivative"):
        jax.grad(jax.grad(loss))(0.3)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (0.3,), (1.0,))


def test_what_cannot_be_kept_is_refused():
    x, _, scale, zero_point = arguments((5,), ())
    with pytest.raises(ValueError, match="keep must be one of 'x', 'residual', 'residual4', got 'bits'"):
        fj.fake_quantize_learnable(x, scale, zero_point, -3, 3, keep="bits")
    for keep in CODES:
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=r"no level may lie further than 2\*\*15"):
            jax.grad(lambda s, keep=keep: fj.fake_quantize_learnable(x, s, 0, -(2**20), 3, keep=keep).sum())(0.3)
