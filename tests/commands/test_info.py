"""python -m fq info names the target in use, the threads and the types."""

import numpy as np
import pytest

import fq
from fq import _core
from fq.__main__ import main


def test_info_tells_what_is_in_use(target, capsys):
    assert not main(["info"])
    told = capsys.readouterr().out
    assert f"fq               {fq.__version__}" in told
    assert f"SIMD target      {target} (this machine has {', '.join(_core.targets())}" in told
    assert f"threads          {fq.get_num_threads()} " in told
    assert f"{_core.cache_threshold():,} bytes" in told
    for name in ("float16", "float32", "float64"):
        assert name in told


@pytest.mark.parametrize(
    ("handlers", "line"),
    [
        ({"fq_fake_quantize": None, "fq_forward_packed": None}, "2 handlers, for fq.jax on the CPU"),
        ({}, "built without jaxlib's header: fq.jax runs in XLA's own operations (install jax, then fq from"),
    ],
)
def test_info_says_whether_jax_gets_the_c(handlers, line, monkeypatch, capsys):
    monkeypatch.setattr(_core, "xla_handlers", lambda: handlers)
    assert not main(["info"])
    assert f"XLA              {line}" in capsys.readouterr().out


def test_every_type_named_works(capsys):
    main(["info"])
    told = capsys.readouterr().out.splitlines()[-1].split(maxsplit=1)[1]
    assert told == ", ".join(dtype.name for dtype in _core.types())
    for dtype in _core.types():
        assert fq.fake_quantize(np.ones(1, dtype), 1, 0, 0, 1).dtype == dtype
