"""fq.jax.quantized: rules reach the products of the weights they name, in any network, or say that they do not."""

import doctest
import importlib

import numpy as np
import pytest

import fq

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import fq.jax  # noqa: E402
from fq.jax import Rule, quantized  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 32)).astype(np.float32)
DENSE = {"hidden": {"kernel": RNG.standard_normal((32, 16)), "bias": np.ones(16)}, "out": RNG.standard_normal((16, 3))}
PARAMETERS = jax.tree.map(lambda one: jnp.asarray(one, np.float32), DENSE)


def dense(parameters, x):
    h = jax.nn.relu(x @ parameters["hidden"]["kernel"] + parameters["hidden"]["bias"])
    return h @ parameters["out"]


def by_hand(parameters, x):
    """Weights at 4 bits per channel, inputs at 8 bits; the last product in float."""
    x = fq.jax.fake_quantize(x, *fq.jax.calibrate(x))
    weight = parameters["hidden"]["kernel"]
    weight = fq.jax.fake_quantize(weight, *fq.jax.calibrate(weight, 4, axis=1, symmetric=True))
    return jax.nn.relu(x @ weight + parameters["hidden"]["bias"]) @ parameters["out"]


RULE = Rule("hidden.*", weights=4, activations=8)


def test_values_and_gradients_are_those_of_fake_quantizing_by_hand():
    run = quantized(dense, RULE)
    assert run.paths(PARAMETERS, X) == ["hidden.kernel", "out"]
    loss = lambda function: lambda parameters, x: (function(parameters, x) ** 2).sum()  # noqa: E731
    np.testing.assert_array_equal(jax.jit(run)(PARAMETERS, X), jax.jit(by_hand)(PARAMETERS, X))
    found, expected = (jax.jit(jax.grad(loss(f), (0, 1)))(PARAMETERS, X) for f in (run, by_hand))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("around", ["jit", "checkpoint", "nested jit", "cast", "part", "transposed"])
def test_weights_are_found_behind_what_keeps_their_values(around):
    weight = PARAMETERS["hidden"]["kernel"]
    product = lambda w, x: x @ w  # noqa: E731
    functions = {
        "jit": jax.jit(product),
        "checkpoint": jax.checkpoint(product),
        "nested jit": jax.jit(lambda w, x: jax.jit(product)(w.astype(w.dtype), x)),
        "cast": lambda w, x: x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16),
        "part": lambda w, x: x @ w[:, :8],
        "transposed": lambda w, x: (w.T @ x.T).T,
    }
    function = functions[around]
    run = quantized(lambda w, x: function(w["w"], x), Rule("w", weights=4))
    found = jax.jit(run)({"w": weight}, X)
    used = {"part": weight[:, :8], "cast": weight.astype(jnp.bfloat16)}.get(around, weight)
    expected = fq.jax.fake_quantize(used, *fq.jax.calibrate(used, 4, axis=1, symmetric=True))
    np.testing.assert_allclose(
        np.asarray(found, np.float32), np.asarray(X.astype(expected.dtype) @ expected, np.float32), rtol=2e-2, atol=1e-2
    )
    assert np.abs(np.asarray(found, np.float32) - np.asarray(function(weight, X), np.float32)).max() > 0.1
    gradient = jax.jit(jax.grad(lambda w: run(w, X).astype(np.float32).sum()))({"w": weight})["w"]
    assert np.any(np.asarray(gradient))


def test_a_state_is_used_where_it_has_something():
    run = quantized(dense, Rule("*", weights=4, activations=4))
    state = run.calibrate(PARAMETERS, X)
    assert sorted(state) == ["hidden.kernel", "out"]
    assert state["out"]["weights"]["scale"].shape == (1, 3)
    assert state["out"]["inputs"]["zero_point"].shape == ()
    large = 10 * X
    assert not np.array_equal(run(PARAMETERS, large, state=state), run(PARAMETERS, large))
    inputs = run.calibrate(PARAMETERS, X, of="inputs")
    assert set(inputs["out"]) == {"inputs"}
    for given in (state, inputs):
        x = fq.jax.fake_quantize(large, *state["hidden.kernel"]["inputs"].values(), -8, 7)
        np.testing.assert_allclose(run(PARAMETERS, large, state=given), run(PARAMETERS, x, state=given), rtol=1e-5)
    with pytest.raises(ValueError, match="the state has nobody, which no rule quantizes here"):
        run(PARAMETERS, X, state=state | {"nobody": {}})


@pytest.mark.parametrize("per", ["channel", "tensor", 8])
@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_weights_have_a_scale_for_each_channel_or_group(per, method):
    run = quantized(dense, Rule("hidden.kernel", weights=3, per=per, method=method))
    scale = run.calibrate(PARAMETERS, X)["hidden.kernel"]["weights"]["scale"]
    assert scale.shape == {"channel": (1, 16), "tensor": (), 8: (16, 4, 1)}[per]
    assert np.isfinite(run(PARAMETERS, X)).all()


def test_groups_are_along_the_axis_that_is_summed_over():
    weight = PARAMETERS["hidden"]["kernel"]
    found = quantized(lambda w, x: x @ w, Rule("parameters", weights=3, per=8))(weight, X)
    groups = fq.jax.grouped(weight.T, 8)
    y = fq.jax.fake_quantize(groups, *fq.jax.calibrate(weight.T, 3, group=8, symmetric=True)).reshape(weight.T.shape)
    np.testing.assert_allclose(found, X @ y.T, rtol=1e-5)


def test_learned_scales_are_those_of_the_state_and_have_gradients():
    run = quantized(dense, Rule("*", weights=3, activations=4, learned=True))
    state = run.calibrate(PARAMETERS, X)
    scales = lambda state: jax.tree.map_with_path(lambda path, one: one if "scale" in str(path) else None, state)  # noqa: E731

    def loss(scale):
        merged = jax.tree.map(
            lambda one, other: one if other is None else other, state, scale, is_leaf=lambda one: one is None
        )
        return (run(PARAMETERS, X, state=merged) ** 2).sum()

    gradients = jax.jit(jax.grad(loss))(scales(state))
    assert all(np.any(np.asarray(one)) for one in jax.tree.leaves(gradients))
    below = jax.tree.map(lambda one: -one, scales(state))
    assert np.isfinite(loss(below))
    with pytest.raises(ValueError, match=r"the scale of hidden\.kernel is learned"):
        run(PARAMETERS, X)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (Rule("nobody", weights=4), "rule 'nobody' matches no weight that is multiplied: there are hidden.kernel, out"),
        (Rule("hidden.bias", weights=4), "rule 'hidden.bias' matches no weight"),
        ([Rule("*", weights=4), Rule("out", weights=8)], r"rules '\*' and 'out' are both for out: leave it out of one"),
        (Rule("*", weights=4, but=("nobody",)), "but='nobody' matches no weight"),
        (Rule("out", weights=4, per=5), "no last axis that groups of 5 divide"),
    ],
)
def test_rules_for_nothing_and_rules_that_fight_are_refused_with_the_names(rules, message):
    with pytest.raises(ValueError, match=message):
        quantized(dense, rules)(PARAMETERS, X)
    assert np.isfinite(
        quantized(dense, [Rule("*", weights=4, but=("out",)), Rule("out", weights=8)])(PARAMETERS, X)
    ).all()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({}, ValueError, "rule 'w' has no bits"),
        ({"weights": 17}, ValueError, "bits must be 1 to 16"),
        ({"weights": 4, "per": "row"}, ValueError, "per must be"),
        ({"weights": 4, "per": 0}, ValueError, "per must be"),
        ({"weights": 4, "method": "max"}, ValueError, "method must be"),
        ({"weights": 4, "eps": 0}, ValueError, "eps must be positive"),
        ({"weights": 4, "but": "out"}, TypeError, "but must be a tuple"),
    ],
    ids=str,
)
def test_impossible_rules_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        Rule("w", **wrong)
    with pytest.raises(TypeError, match="rules must be of Rule"):
        quantized(dense, ["*"])


def scanned(parameters, x):
    return jax.lax.scan(lambda h, w: (h @ w, None), x, parameters["layers"])[0] @ parameters["out"]


def test_loops_are_refused_only_where_a_rule_would_reach_in():
    parameters = {"layers": jnp.ones((2, 32, 32)), "out": jnp.ones((32, 3))}
    with pytest.raises(NotImplementedError, match="rules do not reach into scan, which uses layers"):
        quantized(scanned, Rule("*", weights=4))(parameters, X)
    assert quantized(scanned, Rule("out", weights=4))(parameters, X).shape == (5, 3)


def test_a_weight_that_is_used_twice_has_two_names_in_the_state():
    run = quantized(lambda p, x: (x @ p["w"]) @ p["w"], Rule("w", weights=4, activations=8))
    state = run.calibrate({"w": jnp.eye(32)}, X)
    assert sorted(state) == ["w", "w:2"]
    assert run({"w": jnp.eye(32)}, X, state=state).shape == X.shape


def test_arguments_that_are_no_arrays_stay_what_they_are():
    run = quantized(lambda p, x, scale, how="no": (x @ p) * scale if how == "yes" else None, Rule("*", weights=4))
    weight = jnp.ones((32, 2))
    assert run(weight, X, 2, how="yes").shape == (5, 2)


# Libraries of modules


def test_flax_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.layers = nnx.List([nnx.Linear(256, 16, rngs=rngs)])
            self.out = nnx.Linear(16, 3, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.conv(x))).reshape(len(x), -1)
            return self.out(nnx.relu(self.layers[0](x)))

    model, x = Network(nnx.Rngs(0)), jnp.asarray(RNG.standard_normal((6, 8, 8, 1)), np.float32)
    run = quantized(
        lambda model, x: model(x), [Rule("*", weights=4, activations=8, but=("out.*",)), Rule("out.*", weights=8)]
    )
    assert run.paths(model, x) == ["conv.kernel", "layers.0.kernel", "out.kernel"]
    state = run.calibrate(model, x)
    assert state["conv.kernel"]["weights"]["scale"].shape == (1, 1, 1, 4)
    before = np.asarray(model.norm.mean[...])
    gradients = nnx.jit(nnx.grad(lambda model: (run(model, x, state=state) ** 2).sum()))(model)
    assert all(np.any(np.asarray(one)) for one in jax.tree.leaves(gradients) if np.size(one) > 4)
    assert not np.array_equal(before, model.norm.mean[...]), "what a call of the module changes must change"


def test_equinox():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(32, 3, 16, 2, key=jax.random.key(0))
    run = quantized(lambda model, x: jax.vmap(model)(x), Rule("*", weights=4, activations=8))
    assert run.paths(model, X) == ["layers.0.weight", "layers.1.weight", "layers.2.weight"]
    state = run.calibrate(model, X)
    assert state["layers.0.weight"]["weights"]["scale"].shape == (16, 1)
    gradients = eqx.filter_jit(eqx.filter_grad(lambda model: (run(model, X, state=state) ** 2).sum()))(model)
    assert all(np.any(np.asarray(layer.weight)) for layer in gradients.layers)


def test_orbax_saves_a_state(tmp_path):
    checkpoint = pytest.importorskip("orbax.checkpoint")
    state = quantized(dense, Rule("*", weights=4, activations=8)).calibrate(PARAMETERS, X)
    with checkpoint.StandardCheckpointer() as saver:
        saver.save(tmp_path / "state", state)
        saver.wait_until_finished()
        found = saver.restore(tmp_path / "state", state)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, state))


def test_examples():
    failed, tried = doctest.testmod(importlib.import_module("fq.jax.rules"))
    assert tried
    assert not failed
