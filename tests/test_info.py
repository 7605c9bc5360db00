"""python -m fq info names the target in use, the threads and the types."""

import numpy as np

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


def test_every_type_named_works(capsys):
    main(["info"])
    told = capsys.readouterr().out.splitlines()[-1].split(maxsplit=1)[1]
    assert told == ", ".join(dtype.name for dtype in _core.types())
    for dtype in _core.types():
        assert fq.fake_quantize(np.ones(1, dtype), 1, 0, 0, 1).dtype == dtype
