"""The points at which frameworks are compared: title of a group, scale, values of x."""

import math

QMIN, QMAX = -128, 127
GROUPS = {
    "levels": (
        ("ties", 1.0, (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)),
        ("beside\na tie", 11.0, (-60.499996,)),
        ("ends", 1.0, (-128.5, 126.5, 127.4, 127.5)),
        ("beyond", 1.0, (1e6, 1e10, 1e19, -math.inf, math.inf, math.nan)),
    ),
    "gradients": (
        ("inside", 1.0, (0.3, 0.5)),
        ("first level", 1.0, (-128.0, -128.5, -128.6)),
        ("last level", 1.0, (126.5, 127.0, 127.4, 127.5)),
        ("beyond", 1.0, (1e6, -math.inf, math.inf, math.nan)),
    ),
}
