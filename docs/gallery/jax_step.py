"""Train in JAX with 3-bit weights: the grid is found inside the compiled step, and a bit per weight is kept."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import fq.jax

x, labels = load_digits(return_X_y=True)
x, targets = jnp.asarray(x / 16, jnp.float32), jax.nn.one_hot(labels, 10)
BITS, STEPS = 3, 150


def start():
    keys = jax.random.split(jax.random.key(0))
    return [jax.random.normal(k, s) * np.sqrt(2 / s[0]) for k, s in zip(keys, ((64, 64), (64, 10)), strict=True)]


def fake(w):
    """The weights on a grid of so many bits for each output, chosen anew."""
    return fq.jax.fake_quantize(w, *fq.jax.calibrate(w, bits=BITS, axis=1))


def loss(weights, quantizer):
    a, b = map(quantizer, weights)
    scores = jax.nn.log_softmax(jax.nn.relu(x @ a) @ b)
    return -jnp.mean(jnp.sum(scores * targets, 1))


def training(quantizer):
    """The loss after each step."""

    @jax.jit
    def step(weights):
        value, gradients = jax.value_and_grad(loss)(weights, quantizer)
        return [w - 0.5 * dw for w, dw in zip(weights, gradients, strict=True)], value

    weights, found = start(), []
    for _ in range(STEPS):
        weights, value = step(weights)
        found.append(float(value))
    return weights, found


weights, of_float = training(lambda w: w)
_, of_bits = training(fake)
after = float(loss(weights, fake))
w = start()[0]
kept = jax.tree.leaves(jax.vjp(fake, w)[1])
kept_bytes = sum(one.nbytes for one in kept)

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
axes.plot(of_float, color="#777777", linestyle=":", label="float")
axes.plot(of_bits, color="#0072B2", label=f"{BITS} bits, trained with fq.jax")
axes.plot([STEPS], [after], "s", color="#D55E00", label=f"float, then {BITS} bits")
axes.set(xlabel="step", ylabel="loss", yscale="log")
axes.legend()
figure.savefig("jax_step.svg")
print(f"loss {of_bits[-1]:.3f} where quantizing afterwards gives {after:.3f}", end="; ")
print(f"{kept_bytes} bytes kept for {w.size} weights")
