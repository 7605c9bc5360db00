"""All 2**32 values of float32 in the OCP formats beside ml_dtypes: `python tests/rules/exhaustive.py [NAME ...]`.

Takes a minute or two for a format. The suite tries a sample.
"""

import sys

import ml_dtypes
import numpy as np

import fq

TYPES = {"e4m3fn": "float8_e4m3fn", "e5m2": "float8_e5m2", "e2m3fn": "float6_e2m3fn", "e3m2fn": "float6_e3m2fn"}
TYPES["e2m1fn"] = "float4_e2m1fn"
AT_ONCE = 2**24


def differences(name, x):
    """How many values of x are neither the cast, where that is finite, nor the largest number; and how many masks."""
    grid, dtype = getattr(fq.formats, name), np.dtype(getattr(ml_dtypes, TYPES[name]))
    y, mask = fq.floats.forward(x, 1, *grid)
    with np.errstate(all="ignore"):
        cast, is_nan = x.astype(dtype).astype(x.dtype), np.isnan(x)
        beyond = ~mask & ~is_nan
        wrong = (y.view(np.uint32) != cast.view(np.uint32)) & mask
        wrong |= (y != np.copysign(np.float32(grid.max), x)) & beyond
        wrong |= ~np.isnan(y) & is_nan
        masks = mask != np.isfinite(cast) if TYPES[name].startswith("float8") else mask & is_nan
    return int(wrong.sum()), int(masks.sum())


def main(names):
    """Print a line for each format; 1 where something differs."""
    failed = 0
    for name in names or TYPES:
        parts = (
            np.arange(start, start + AT_ONCE, dtype=np.uint32).view(np.float32) for start in range(0, 2**32, AT_ONCE)
        )
        values, masks = np.sum([differences(name, x) for x in parts], axis=0)
        print(f"{name}: {values} values and {masks} masks differ", flush=True)
        failed |= bool(values or masks)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
