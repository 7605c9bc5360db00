"""Writes the tables into the README, each between two comments that name it."""

import re

_PLACE = re.compile(r"(<!-- figures: (\w+) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)


def filled(page, texts):
    """The page with each marked place filled anew."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{texts[found[2]]}\n\n{found[4]}", page)
