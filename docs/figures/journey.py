"""What the page docs/guide/journey.md finds, and what other choices of bits would have given, written as JSON.

    python -m docs.figures.journey

It runs the code of the page itself, so that the pictures show the same network, and needs what the page needs.
"""

import doctest
import json
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
FILE = DOCS / "pictures" / "journey.json"
PAGE = DOCS / "guide" / "journey.md"
LINE = "Four bits are enough"
LARGE, LEAST = 20_000, 20.5  # the page's rule: weights that get 4 bits are as large, and keep as many dB


def names_of_the_page():
    """What the code of the page defines; an error if one of its examples fails."""
    test = doctest.DocTestParser().get_doctest(PAGE.read_text("utf-8"), {}, PAGE.name, str(PAGE), 0)
    done = doctest.DocTestRunner().run(test, clear_globs=False)
    if done.failed:
        raise ValueError(f"{done.failed} examples of {PAGE.name} fail")
    return test.globs


def weights_of(page):
    """Each weight of the network: its size, its noise at 4 bits, and whether the page gives it 4 bits."""
    return [
        {"name": name, "size": page["size"][name], "decibels": decibels, "four": name in page["chosen"]}
        for name, decibels in page["decibels"].items()
    ]


def measured():
    """Each weight of the network, and each choice of bits with its size and what it reads."""
    page = names_of_the_page()
    weights = weights_of(page)
    quantize, eight = page["fq"].onnx.quantize, page["fq"].onnx.Weights(bits=8)
    more = [one["name"] for one in weights if one["size"] >= LARGE and one["decibels"] >= 20]
    models = {
        "float": page["onnx"].load(page["path"]),
        "8 bits": quantize(page["path"], {"*": eight}),
        f"4 bits from {LEAST} dB": page["small"],
        "4 bits from 20 dB": quantize(page["path"], dict.fromkeys(more, page["four"]) | {"*": eight}),
        "4 bits": quantize(page["path"], {"*": page["four"]}),
    }
    lines = {"zen": page["zen"], "license": license_lines()}
    original = {kind: [page["read"](page["original"], one) for one in texts] for kind, texts in lines.items()}
    rows = []
    for name, model in models.items():
        network = page["session"](model)
        rows.append({"name": name, "bytes": model.ByteSize(), "text": page["read"](network, LINE)})
        for kind, texts in lines.items():
            pairs = zip(texts, original[kind], strict=True)
            rows[-1][kind] = [sum(page["read"](network, one) == same for one, same in pairs), len(texts)]
    return {"line": LINE, "weights": weights, "models": rows}


def license_lines():
    """Lines that had no part in the choice of the rules: those of fq's license."""
    text = (DOCS.parent / "LICENSE").read_text("utf-8")
    return [line.strip() for line in text.splitlines() if line]


def main():
    """Run, and write the file."""
    FILE.write_text(json.dumps(measured(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
