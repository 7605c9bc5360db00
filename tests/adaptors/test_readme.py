"""The README's training steps in PyTorch and JAX run as they are written."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the README is only in the checkout")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("framework", "result"), [("torch", "model"), ("jax", "w")])
def test_a_training_step_runs(framework, result):
    pytest.importorskip(framework)
    (block,) = re.findall(rf"```python\n(import {framework}\b.*?)```", README.read_text("utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    if framework == "torch":
        assert all(one.grad.abs().sum() > 0 for one in names[result].parameters())
    else:
        assert names[result].shape == (8, 4)
        assert (names[result] < 1).all()
