"""Networks on digits, trained with learned scales from x and from codes of its residuals, reach the same accuracy."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from fq._demo_data import load
from fq._demo_net import BATCH, Adam, Network

SEEDS, EPOCHS = 24, 12
KEEPS = "x", "residual", "residual4"


def train(network, data, epochs, rng):
    adam, n = Adam(network.parameters), len(data.x_train) // BATCH * BATCH
    for epoch in range(epochs):
        for rows in rng.permutation(len(data.x_train))[:n].reshape(-1, BATCH):
            rate = 0.003 * (1 + np.cos(np.pi * epoch / epochs)) / 2
            adam.step(network.gradients(data.x_train[rows], data.y_train[rows]), rate)
    return network


def accuracies(bits, seed):
    """Of the test part, in points, for each thing that is kept."""
    data = load(None, np.random.default_rng([seed, 0]))
    sizes = data.x_train.shape[1], 64, 32, data.classes
    network = train(Network.random(sizes, np.random.default_rng(seed)), data, EPOCHS, np.random.default_rng([seed, 1]))
    found = []
    for keep in KEEPS:
        learned = network.quantized(bits, data.x_train, learn_scale=True, keep=keep)
        train(learned, data, EPOCHS, np.random.default_rng([seed, 2]))
        found.append(100 * learned.accuracy(data.x_test, data.y_test))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 3, 2])
def test_accuracy_is_that_of_x(bits):
    """Within three standard errors of the paired differences: of six such means one in sixty is beyond by chance."""
    threads = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    with threads.threadpool_limits(1, user_api="blas"):
        found = np.array([accuracies(bits, seed) for seed in range(SEEDS)])
    differences = found[:, 1:] - found[:, :1]
    errors = differences.std(0, ddof=1) / np.sqrt(SEEDS)
    assert found[:, 0].mean() > 85
    assert np.all(errors > 0)  # the codes do change the training
    assert np.all(np.abs(differences.mean(0)) <= 3 * errors), (differences.mean(0), errors)
