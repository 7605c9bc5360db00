"""The laws of fake quantization by subject; each stands with the inputs that it tries and with how it is judged."""

from collections.abc import Sequence

from fq.testing.laws import floats, gradients, integers, learnable, masks, residual, shapes, types, values
from fq.testing.laws.law import Difference, Law

__all__ = ["ALL", "OF_FLOATS", "OF_INTEGERS", "Difference", "Law", "law_named"]

#: The laws, each a `Law`; their names are the rows of ``python -m fq equivalence``.
ALL = (
    *values.LAWS,
    *types.LAWS,
    *masks.LAWS,
    *gradients.LAWS,
    *learnable.LAWS,
    *residual.LAWS,
    *shapes.LAWS,
)

#: The laws of quantization to integers, each a `Law`, for `check_quantizer`.
OF_INTEGERS = integers.LAWS

#: The laws of rounding to float formats, each a `Law`, for `check_floats`.
OF_FLOATS = floats.LAWS


def law_named(name: str, among: Sequence[Law] = ALL) -> Law:
    """The law of this name.

    Parameters
    ----------
    name : str
    among : sequence of Law, optional
        The laws to choose from: `ALL`, `OF_INTEGERS` or `OF_FLOATS`.

    Returns
    -------
    Law

    Raises
    ------
    ValueError
        If there is none; the message lists them.

    Examples
    --------
    >>> law_named("ties").meaning
    'Halfway between two levels, y is the even one.'
    """
    for law in among:
        if law.name == name:
            return law
    raise ValueError(f"no law {name!r}: there are {', '.join(law.name for law in among)}")
