"""Runs the examples of docs/gallery, each in a folder of its own, and writes the pages that show them."""

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.plot import following_scheme

FOLDER = Path(__file__).resolve().parent.parent / "gallery"
TITLES = {  # in the order of the page
    "qat_digits": "Quantization-aware training on digits",
    "learned_scale": "A scale that is learned",
    "jax_step": "A training step in JAX",
    "pytorch_memory": "What PyTorch keeps for the backward pass",
    "ranges": "Where to clip weights",
    "formats": "Integers, MX and NVFP4",
    "integers": "A photograph in integers",
    "broken_kernel": "What is wrong with this quantizer?",
}
# So that pictures have no background, and are the same each time.
SETTINGS = "backend: svg\nsavefig.transparent: True\nlegend.framealpha: 0\nsvg.hashsalt: fq\n"


class Shown(NamedTuple):
    """What an example gives: what it printed, and its picture."""

    printed: str
    picture: str


def examples():
    """The files of the examples."""
    return [FOLDER / f"{name}.py" for name in TITLES]


def run(path):
    """What an example gives; CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "matplotlibrc"
        settings.write_text(SETTINGS, "utf-8")
        environment = os.environ | {"MATPLOTLIBRC": str(settings), "SOURCE_DATE_EPOCH": "0"}
        done = subprocess.run(
            [sys.executable, str(path)], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        return Shown(done.stdout.strip(), (Path(folder) / f"{path.stem}.svg").read_text("utf-8"))


def sentence_of(path):
    """The first line of an example: what it shows."""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))).splitlines()[0]


def page(name, printed):
    """The page of an example."""
    path = FOLDER / f"{name}.py"
    return (
        f"# {TITLES[name]}\n\n{sentence_of(path)}\n\n![{TITLES[name]}]({name}.svg)\n\n"
        f"The program below draws this picture, and prints:\n\n```text\n{printed}\n```\n\n"
        f"```{{literalinclude}} {name}.py\n:language: python\n```\n"
    )


def card(name):
    """The card of an example on the page of all."""
    return (
        f":::{{grid-item-card}} {TITLES[name]}\n:link: {name}\n:link-type: doc\n:img-bottom: {name}.svg\n"
        f":img-alt: {TITLES[name]}\n\n{sentence_of(FOLDER / f'{name}.py')}\n:::\n"
    )


def index():
    """The page of all examples."""
    cards, names = "\n".join(map(card, TITLES)), "\n".join(TITLES)
    return (
        "# Gallery\n\nShort programs on real data, each with a picture and a number. They are files of the checkout, "
        "in `docs/gallery`, and run as\nthey stand.\n\n"
        f"::::{{grid}} 1 1 2 2\n:gutter: 3\n\n{cards}::::\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )


def main():
    """Writes all pages and pictures."""
    for path in examples():
        shown = run(path)
        text = "\n".join(line.rstrip() for line in following_scheme(shown.picture).splitlines()) + "\n"
        (FOLDER / f"{path.stem}.svg").write_text(text, "utf-8")
        (FOLDER / f"{path.stem}.md").write_text(page(path.stem, shown.printed), "utf-8")
    (FOLDER / "index.md").write_text(index(), "utf-8")


if __name__ == "__main__":
    main()
