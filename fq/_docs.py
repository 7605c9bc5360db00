"""The docstrings and signatures of the ufuncs, attached when fq is imported; their examples run as doctests.

Names and sections come from the rows of src/ops.h. Here stand the texts: a summary, notes and examples a function, and
what each argument is.
"""

import re
from textwrap import fill

from fq import _core

_OPERATIONS = {rule: _core.operations(rule) for rule in _core.rules()}

_REFERENCES = """\
References
----------
The mask comes from PyTorch PR #50561, "fake_quant: add a more memory efficient version"; the straight-through
gradient from Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons" (2013)."""

_FLOAT_REFERENCES = """\
References
----------
Micikevicius et al., "FP8 Formats for Deep Learning" (2022); the OCP's "8-bit Floating Point Specification" (2023) and
"Microscaling Formats Specification" (2023)."""

_QPARAMS = """\
scale : array_like of real numbers
    Width of a step: positive and finite, cast to float32, or float64 for float64 x. Broadcasts against x:
    shape (C, 1, 1) is a scale per channel for x of shape (N, C, H, W).
zero_point : array_like of integers
    The level of 0.0, within [qmin, qmax].
qmin, qmax : array_like of integers
    The first and last level of the grid. No level may lie further from zero_point than 2**24, or 2**53 in float64."""

_FORMAT = """\
scale : array_like of real numbers
    What the numbers of the format are multiplied by: positive and finite, cast to float32, or float64 for float64 x.
    Broadcasts against x: shape (C, 1, 1) is a scale per channel for x of shape (N, C, H, W).
mantissa_bits, min_exponent : array_like of integers
    Bits of a number's fraction, 0 to 10, and the exponent of the smallest normal number.
max : array_like of real numbers
    The largest number, one of the format. It is less than 2**(104 + mantissa_bits), or 2**(971 + mantissa_bits) in
    float64.
signed_zero : array_like of bool
    Whether the format has -0.0. These four are what a `fq.formats.FloatGrid` holds: ``*fq.formats.e4m3fn``."""

_PACKED_FORMAT = """
    The last axis of scale is 1 or that of x.
    The others are the same along the last axis of x, and broadcast against the other axes."""

_PACKED_QPARAMS = """
    The last axis of scale and zero_point is 1 or that of x.
    qmin and qmax are the same along the last axis of x, and broadcast against the other axes."""

_FLOATS = "array_like of float16, bfloat16, float32 or float64"

_FORMULA = """\
    q_unclamped = {round}({quotient}) + zero_point
    mask        = qmin <= q_unclamped <= qmax
    y           = (clamp(q_unclamped, qmin, qmax) - zero_point) * scale"""

_FLOAT_FORMULA = """\
    q    = the number of the format nearest to x / scale, half to even, as if it went on beyond max
    mask = abs(q) <= max
    y    = clamp(q, -max, max) * scale"""

_FLOAT_ROUNDING = """\
Computed in float32 (float64 for float64), the quotient correctly rounded; y is rounded once, when it is stored, and is
-0.0 only where signed_zero says so. A NaN gives NaN and False; infinities clamp. With scale 1, where the mask is True,
y is what a cast of ml_dtypes to the format and back gives, to the last bit."""

_ROUNDING = """\
Computed in float32 (float64 for float64), {rounded}; {round} is {rule}; zero_point is added
exactly; y is rounded once, when it is stored, and is never -0.0. A NaN gives NaN and False; infinities clamp."""

_DIVIDES = {
    "quotient": "x / scale",
    "rounded": "the quotient correctly rounded",
    "round": "rint",
    "rule": "half to even",
}
_MULTIPLIES = {
    "quotient": "x * (1 / scale)",
    "rounded": "1 / scale and the product each rounded, which must be finite",
    "round": "rint",
    "rule": "half to even",
}
_ROUNDS = {
    "half_away": ("round", "to the nearest, half away from zero"),
    "half_up": ("round", "to the nearest, half up"),
    "floor": ("floor", "down"),
    "ceil": ("ceil", "up"),
    "toward_zero": ("trunc", "toward zero"),
}

_INPUTS = {
    "x": f"""\
x : {_FLOATS}
    Values to quantize, of any shape. Its type is the type of the result, or of the gradient.""",
    "dy": f"""\
dy : {_FLOATS}
    Gradient with respect to y. Beside an x it is cast to the type of x, else its type is the type of the result.""",
    "mask": """\
mask : array_like of bool
    The mask that `forward` gave. Broadcasts against dy.""",
    "bits": """\
bits : array_like of uint8
    The bits that `forward_packed` gave: ceil(n / 8) along the last axis. The other axes broadcast against dy's.""",
}

_OUTPUTS = {
    "y": """\
y : array of the type of x
    The nearest point of the grid, of the broadcast shape.""",
    "mask": """\
mask : array of bool
    True where x was in range, so where the gradient passes. All that `backward` needs: x can be freed.""",
    "bits": """\
bits : array of uint8
    The mask, its last axis packed to ceil(n / 8) bytes: ``np.packbits(mask, axis=-1, bitorder="little")``. Spare
    bits are 0. The other axes stay, so bits slice, batch and shard like x. All that `backward_packed` needs.""",
    "dx": """\
dx : array of the type of x, or of dy where there is no x
    Gradient with respect to x: the product dy * mask, so a masked NaN or infinity gives NaN, and a masked number
    a zero of its sign.""",
}

_CODES = """\
residual : array of {dtype}
    {kept}, in the place of x: `backward_residual{suffix}` takes them."""

_RESIDUAL = """\
With q_unclamped as above and q the level it is clamped to, the code of x is::

    rint((q - zero_point - {quotient}) * {steps})   in range, from -{last} to {last}
    {beyond} with the sign of x                             where x was clamped
    {nan}                                      of NaN

No level may lie further than 2**15 from zero_point, or 2**44 in float64: beyond, half an ulp of the quotient exceeds a
step of such a code."""

_FLOAT_TEXTS = {
    "fake_quantize": """\
Round x to the numbers of a float format, times scale, and back to floats.

{sections}

See Also
--------
forward : also gives the mask that the backward needs.
fq.blocks.fake_quantize : for blocks that share a scale.

Notes
-----
::

{formula}

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> x = np.array([0.3, 1.0, 17.0, 500.0, -np.inf], np.float32)
>>> fq.floats.fake_quantize(x, 1, *fq.formats.e4m3fn)
array([ 3.125e-01,  1.000e+00,  1.600e+01,  4.480e+02, -4.480e+02],
      dtype=float32)""",
    "forward": """\
Round x to the numbers of a float format, and say which elements were inside its range.

{sections}

Notes
-----
::

{formula}

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> y, mask = fq.floats.forward(np.array([0.3, 5.1, 7.0, np.nan]), 1, *fq.formats.e2m1fn)
>>> y
array([0.5, 6. , 6. , nan])
>>> mask
array([ True,  True, False, False])""",
    "forward_packed": """\
Round x to the numbers of a float format, and say in one bit per element which were inside its range.

{sections}

Notes
-----
::

{formula}

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> y, bits = fq.floats.forward_packed(np.array([0.3, 5.1, 7.0, np.nan]), 1, *fq.formats.e2m1fn)
>>> bits
array([3], dtype=uint8)
>>> fq.backward_packed(np.ones(4), bits)
array([1., 1., 0., 0.])""",
    "backward_recompute": """\
The straight-through gradient the older way: keeps x and works the mask out again.

{sections}

Notes
-----
::

{formula}
    dx   = dy * mask

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> fq.floats.backward_recompute(np.ones(3), np.array([0.3, 6.9, 7.0]), 1, *fq.formats.e2m1fn)
array([1., 1., 0.])""",
}

_TYPE_ERRORS = {
    "x": "x is not of the four types",
    "dy": "dy is not of the four types",
    "mask": "mask is not bool",
    "bits": "bits is not uint8",
}

_TEXTS = {
    "fake_quantize": """\
Round x to the grid of quantized levels and back to floats.

{sections}

See Also
--------
forward : also gives the mask that the backward needs.

Notes
-----
::

{formula}

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> x = np.array([-9.0, -0.3, 0.0, 0.2, 0.3, 5.0], np.float32)
>>> {module}.fake_quantize(x, 0.25, 0, -8, 7)
array([-2.  , -0.25,  0.  ,  0.25,  0.25,  1.75], dtype=float32)""",
    "forward": """\
Fake-quantize x, and say which elements were inside the range.

{sections}

Notes
-----
::

{formula}

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> x = np.array([-9.0, -0.3, 0.0, 0.2, 0.3, 5.0], np.float32)
>>> y, mask = {module}.forward(x, 0.25, 0, -8, 7)
>>> y
array([-2.  , -0.25,  0.  ,  0.25,  0.25,  1.75], dtype=float32)
>>> mask
array([False,  True,  True,  True,  True, False])

A scale per channel is a scale that broadcasts:

>>> y, mask = {module}.forward(np.ones((2, 3), np.float32), [[0.25], [0.5]], 0, -8, 7)
>>> y.dtype, mask.shape
(dtype('float32'), (2, 3))""",
    "backward": """\
The straight-through gradient: dy where the mask is True, zero elsewhere.

{sections}

{references}

Examples
--------
>>> import numpy as np, fq
>>> {module}.backward(np.array([1.0, 2.0, 3.0], np.float32), [True, False, True])
array([1., 0., 3.], dtype=float32)""",
    "backward_recompute": """\
The straight-through gradient the older way: keeps x and works the mask out again.

{sections}

Notes
-----
::

{formula}
    dx          = dy * mask

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> x = np.array([-9.0, -0.3, 5.0], np.float32)
>>> {module}.backward_recompute(np.float32([1.0, 2.0, 3.0]), x, 0.25, 0, -8, 7)
array([0., 2., 0.], dtype=float32)""",
    "forward_packed": """\
Fake-quantize x, and say in one bit per element which were inside the range.

{sections}

Notes
-----
::

{formula}

{rounding}

{references}

Examples
--------
>>> import numpy as np, fq
>>> x = np.array([-9.0, -0.3, 0.0, 0.2, 0.3, 5.0], np.float32)
>>> y, bits = {module}.forward_packed(x, 0.25, 0, -8, 7)
>>> bits
array([30], dtype=uint8)
>>> {module}.backward_packed(np.ones_like(x), bits)
array([0., 1., 1., 1., 1., 0.], dtype=float32)""",
    "forward_residual": """\
Fake-quantize x, and keep of x what the gradient of scale needs: a byte per element.

{sections}

Notes
-----
::

{formula}

{rounding}

{residual}

{references}

Examples
--------
>>> import numpy as np, fq
>>> x = np.array([-9.0, -0.3, 0.0, 0.2, np.nan, 5.0], np.float32)
>>> y, residual = {module}.forward_residual(x, 0.25, 0, -8, 7)
>>> residual
array([-127,   50,    0,   50, -128,  127], dtype=int8)
>>> dx, dscale, dzero_point = {module}.backward_residual(np.ones_like(x), residual, 0.25, 0, -8, 7)
>>> dx, dzero_point
(array([0., 1., 1., 1., 0., 0.], dtype=float32), np.float32(-0.5))""",
    "forward_residual_packed": """\
Fake-quantize x, and keep of x what the gradient of scale needs: four bits per element.

{sections}

Notes
-----
::

{formula}

{rounding}

{residual}

A code is stored as four bits in two's complement, the first of two in the lower half of a byte, as ONNX stores INT4.

{references}

Examples
--------
>>> import numpy as np, fq
>>> x = np.array([-9.0, -0.3, 0.0, 0.2, 5.0], np.float32)
>>> y, residual = {module}.forward_residual_packed(x, 0.25, 0, -8, 7)
>>> residual
array([41, 32,  7], dtype=uint8)
>>> dx, dscale, dzero_point = {module}.backward_residual_packed(np.ones_like(x), residual, 0.25, 0, -8, 7)
>>> dx, dzero_point
(array([0., 1., 1., 1., 0.], dtype=float32), np.float32(-0.5))""",
    "backward_packed": """\
The straight-through gradient from a mask of one bit per element.

{sections}

{references}

Examples
--------
>>> import numpy as np, fq
>>> {module}.backward_packed(np.array([1.0, 2.0, 3.0], np.float32), np.array([0b101], np.uint8))
array([1., 0., 3.], dtype=float32)""",
}


_INDENT = {"initial_indent": "    ", "subsequent_indent": "    "}


def _sections(name, rule):
    """Parameters, Returns and Raises."""
    operation, is_format = _OPERATIONS[rule][name], rule == "floats"
    inputs, outputs, has_grid = operation["inputs"], operation["outputs"], bool(operation["parameters"])
    packed = bool(operation["packed"])
    integers = "mantissa_bits or min_exponent" if is_format else "zero_point, qmin or qmax"
    wrong = [_TYPE_ERRORS[one] for one in inputs] + [f"{integers} is not an integer"] * has_grid
    values = "scale is not positive and finite, " + (
        "the numbers of the format are not ones of the type computed in, max is not one of the format, "
        if is_format
        else "qmin exceeds qmax, zero_point lies outside them, a level is not exact, "
    )
    values = values * has_grid + "the last axis of bits is not ceil(n / 8), " * ("bits" in inputs)
    parts = [_INPUTS[one] for one in inputs]
    parts[0] += "\n    It has at least one axis." * packed
    grid = _FORMAT + _PACKED_FORMAT * packed if is_format else _QPARAMS + _PACKED_QPARAMS * packed
    parts += [grid] * has_grid
    parts.append(f"out, {'axes, axis' if packed else 'where'}, casting, order, dtype, subok, signature")
    parts.append(f"    As for every {'generalized ' * packed}`numpy.ufunc`.")
    raises = {
        "TypeError": f"If {', or '.join(wrong)}.",
        "ValueError": f"If {values + 'or ' if values else ''}shapes do not broadcast.",
    }
    return "\n\n".join(
        (
            _section("Parameters", parts),
            _section("Returns", [_output(name, one, rule) for one in outputs]),
            _section("Raises", [f"{error}\n{fill(text, 115, **_INDENT)}" for error, text in raises.items()]),
        )
    )


_KEPT = {
    "forward_residual": {
        "dtype": "int8",
        "kept": "The residuals as codes of 8 bits, of the broadcast shape",
        "suffix": "",
        "steps": 252,
        "last": 126,
        "beyond": 127,
        "nan": -128,
    },
    "forward_residual_packed": {
        "dtype": "uint8",
        "kept": "The residuals as codes of 4 bits, the last axis packed to ceil(n / 2) bytes; spare bits are 0",
        "suffix": "_packed",
        "steps": 12,
        "last": 6,
        "beyond": 7,
        "nan": -8,
    },
}


def _output(name, one, rule):
    if rule == "floats":  # which leaves the backward to fq
        return re.sub(r"`(backward\w*)`", r"`fq.\1`", _OUTPUTS[one])
    return _CODES.format(**_KEPT[name]) if one == "residual" else _OUTPUTS[one]


def _section(title, parts):
    return "\n".join((title, "-" * len(title), *parts))


def text_of(name, module, rule="divide"):
    """The docstring of ``module.name``."""
    if rule == "floats":
        sections = _sections(name, rule)
        return _FLOAT_TEXTS[name].format(
            sections=sections, formula=_FLOAT_FORMULA, rounding=_FLOAT_ROUNDING, references=_FLOAT_REFERENCES
        )
    arithmetic = _MULTIPLIES if rule == "reciprocal" else _DIVIDES
    text = _TEXTS[name]
    if rule in _ROUNDS:
        arithmetic = arithmetic | dict(zip(("round", "rule"), _ROUNDS[rule], strict=True))
        text = text.partition("\n\nExamples\n")[0]  # the values are those of half to even
    return text.format(
        sections=_sections(name, rule),
        references=_REFERENCES,
        module=module,
        formula=_FORMULA.format(**arithmetic),
        rounding=_ROUNDING.format(**arithmetic),
        residual=_RESIDUAL.format(**arithmetic, **_KEPT[name]) if name in _KEPT else "",
    )


def _signature(ufunc, names):
    """NumPy's own signature of the ufunc with our names for the inputs, or None before NumPy 2.4."""
    import inspect

    built_in = getattr(ufunc, "__signature__", None)
    if built_in is None:
        return None
    inputs = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    return built_in.replace(parameters=[*inputs, *list(built_in.parameters.values())[ufunc.nin :]])


def describe(ufuncs, module, rule="divide"):
    """Give each ufunc of the dict its docstring and, from NumPy 2.4 on, its signature and module."""
    for name, ufunc in ufuncs.items():
        operation = _OPERATIONS[rule][name]
        signature = _signature(ufunc, operation["inputs"] + operation["parameters"])
        if signature is None:
            _core._describe(ufunc, text_of(name, module, rule))
        else:
            ufunc.__signature__ = signature
            ufunc.__module__ = module
            ufunc.__qualname__ = name
            ufunc.__doc__ = text_of(name, module, rule)


__test__ = {
    f"{module}.{name}": text_of(name, module, rule)
    for module, rule in (("fq", "divide"), ("fq.reciprocal", "reciprocal"), ("fq.floats", "floats"))
    for name in (_FLOAT_TEXTS if rule == "floats" else _TEXTS)
}
