"""Formats of low-precision floats: grids of fq.floats, and blocks that share a scale, of fq.blocks.

The names of single elements are those of ml_dtypes, less the prefix: `e4m3fn` is float8_e4m3fn. Any other format is a
`FloatGrid` of one's own. See `fq.floats` and `fq.blocks` for what takes them.
"""

from typing import NamedTuple

__all__ = [
    "BlockFormat",
    "FloatGrid",
    "e2m1fn",
    "e2m3fn",
    "e3m2fn",
    "e4m3fn",
    "e4m3fnuz",
    "e5m2",
    "e5m2fnuz",
    "mxfp4",
    "mxfp6_e2m3",
    "mxfp6_e3m2",
    "mxfp8_e4m3",
    "mxfp8_e5m2",
    "mxint8",
    "nvfp4",
]


class FloatGrid(NamedTuple):
    """The finite numbers of a float format.

    Between two powers of two lie 2**mantissa_bits numbers, evenly spaced; below 2**min_exponent, down to zero, the
    spacing stays what is above.

    Attributes
    ----------
    mantissa_bits : int
        Bits stored of a number's fraction, 0 to 10.
    min_exponent : int
        Exponent of the smallest normal number.
    max : float
        The largest number, which has to lie on the grid.
    signed_zero : bool
        Whether the format has -0.0 beside 0.0.
    """

    mantissa_bits: int
    min_exponent: int
    max: float
    signed_zero: bool = True


#: The OCP's 8 bits for numbers forward: one more bit of fraction.
e4m3fn = FloatGrid(3, -6, 448.0)
#: The OCP's 8 bits with the exponents of float16.
e5m2 = FloatGrid(2, -14, 57344.0)
#: 8 bits of AMD's MI300, without infinities and -0.0.
e4m3fnuz = FloatGrid(3, -7, 240.0, False)
#: 8 bits of AMD's MI300, without infinities and -0.0.
e5m2fnuz = FloatGrid(2, -15, 57344.0, False)
#: The OCP's 6 bits with more fraction.
e2m3fn = FloatGrid(3, 0, 7.5)
#: The OCP's 6 bits with more range.
e3m2fn = FloatGrid(2, -2, 28.0)
#: The OCP's 4 bits: 0, 0.5, 1, 1.5, 2, 3, 4 and 6.
e2m1fn = FloatGrid(1, 0, 6.0)


class BlockFormat(NamedTuple):
    """Blocks of elements that share a scale.

    Attributes
    ----------
    grid : FloatGrid
        What the elements of a block are rounded to. That of mxint8 has 7 bits and a sign: the multiples of 1/64 up to
        127/64.
    block : int
        Elements of a block.
    scale : {"e8m0", "e4m3"}
        How a block's scale is stored: a power of two, or a float8_e4m3fn that a scale of the tensor multiplies.
    rule : {"floor", "up", "fit"}
        How a power of two is chosen, with amax the largest magnitude of the block. "floor", of the OCP standard: that
        of amax less that of the grid's max; what is above max is clamped. "up", as NVIDIA and JAX do: the smallest
        with which amax is at most max. "fit": the smallest with which amax is not clamped after it is rounded. A
        scale of e4m3 is amax / max, rounded, whatever the rule.
    """

    grid: FloatGrid
    block: int = 32
    scale: str = "e8m0"
    rule: str = "floor"


#: 32 elements of e4m3fn and a power of two.
mxfp8_e4m3 = BlockFormat(e4m3fn)
#: 32 elements of e5m2 and a power of two.
mxfp8_e5m2 = BlockFormat(e5m2)
#: 32 elements of e2m3fn and a power of two.
mxfp6_e2m3 = BlockFormat(e2m3fn)
#: 32 elements of e3m2fn and a power of two.
mxfp6_e3m2 = BlockFormat(e3m2fn)
#: 32 elements of e2m1fn and a power of two.
mxfp4 = BlockFormat(e2m1fn)
#: 32 elements of 8 bits, multiples of 1/64, and a power of two.
mxint8 = BlockFormat(FloatGrid(6, 0, 127 / 64, False))
#: NVIDIA's 16 elements of e2m1fn, and a scale of e4m3fn that a scale of the tensor multiplies.
nvfp4 = BlockFormat(e2m1fn, 16, "e4m3")
