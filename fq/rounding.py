"""Rounding other than half to even: each rule has the functions of fq that round, as ufuncs.

::

    y, mask = fq.rounding.half_away.forward(x, scale, zero_point, qmin, qmax)
    dx = fq.backward(dy, mask)

The quotient x / scale is correctly rounded, and the rule exact: no 0.5 is added, which would round 0.49999997 up.
"""

from fq import _core, _docs

__all__ = ["Rounding", "ceil", "floor", "half_away", "half_up", "toward_zero"]


class Rounding:
    """The functions of fq that round, by a rule of their own: its attributes are ufuncs.

    Attributes
    ----------
    name : str
        Of the rule.
    fake_quantize, forward, forward_packed, backward_recompute : numpy.ufunc
        As those of `fq`, but for the rule. `fq.backward` and `fq.backward_packed` take their masks.

    Examples
    --------
    >>> import fq, numpy as np
    >>> fq.rounding.half_away.fake_quantize(np.array([-2.5, 0.5, 1.5]), 1, 0, -8, 7)
    array([-3.,  1.,  2.])
    >>> fq.fake_quantize(np.array([-2.5, 0.5, 1.5]), 1, 0, -8, 7)
    array([-2.,  0.,  2.])
    """

    def __init__(self, name):
        ufuncs = getattr(_core, name)
        _docs.describe(ufuncs, f"fq.rounding.{name}", name)
        vars(self).update(ufuncs, name=name)

    def __repr__(self):
        return f"fq.rounding.{self.name}"


#: To the nearest, halves away from zero: C's ``round``, and what most deployment toolkits of integers do.
half_away = Rounding("half_away")
#: To the nearest, halves up: floor(q + 1/2), TensorFlow's and OpenVINO's.
half_up = Rounding("half_up")
#: Down.
floor = Rounding("floor")
#: Up.
ceil = Rounding("ceil")
#: Toward zero: what a cast to integers does.
toward_zero = Rounding("toward_zero")
