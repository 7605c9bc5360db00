"""The two ways that plain tensors go: one call of C, or through NumPy's arrays as with an older PyTorch."""

from fq import _core
from fq.torch import _fast

WAYS = ["one call of C", "NumPy's arrays"]


def go(way, monkeypatch):
    """Go this way from now on."""
    if way == WAYS[0]:
        return
    monkeypatch.setattr(_fast, "IS_ON", False)
    for name in ("_tensor_forward", "_tensor_backward", "_tensor_learn", "_tensor_observed"):
        monkeypatch.setattr(_core, name, lambda *arguments: None)
