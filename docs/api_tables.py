"""Puts a table of all names at the top of each API page of the site, made from the names that the page documents."""

import importlib
import inspect
import re

NAMES = re.compile(r"^\.\. auto(?:function|class|data|exception|attribute):: (fq[\w.]+)$", re.MULTILINE)
FIRST_BLOCK = re.compile(r"```\{eval-rst\}\n\.\. automodule::.*?\n```\n", re.DOTALL)


def found(path):
    """What a path like fq.torch.calibrate names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def sentence_of(path):
    """The first sentence of its docstring; nothing for data, whose class would speak."""
    one = found(path)
    if not (inspect.isclass(one) or callable(one)):
        return ""
    first = (inspect.getdoc(one) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return re.sub(r"(?<!`)`([\w.]+)`(?!`)", r"`\1`", first)


def table(text):
    """The rows, for the names that a page documents; none where there are fewer than two."""
    names = NAMES.findall(text)
    if len(names) < 2:
        return ""
    rows = "\n".join(f"| {{py:obj}}`~{path}` | {sentence_of(path)} |" for path in names)
    return f"\n| name | what it is |\n| --- | --- |\n{rows}\n"


def put(_app, page, source):
    """For Sphinx, when it reads a page; one with a table of its own stays as it is."""
    block = FIRST_BLOCK.search(source[0])
    if page.startswith("api/") and block and "\n| ---" not in source[0]:
        source[0] = source[0][: block.end()] + table(source[0]) + source[0][block.end() :]
