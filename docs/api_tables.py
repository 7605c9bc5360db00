"""Tables of all names for the API pages, made of what these document; and links to names from all text."""

import importlib
import inspect
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref

API = Path(__file__).resolve().parent / "api"
NAMES = re.compile(r"^\.\. auto(?:function|class|data|exception|attribute):: (fq[\w.]+)$", re.MULTILINE)
FIRST_BLOCK = re.compile(r"```\{eval-rst\}\n\.\. automodule::.*?\n```\n", re.DOTALL)


def found(path):
    """What a path like fq.torch.calibrate names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def sentence_of(path):
    """The first sentence of its docstring; for data, whose class would speak, the comment above."""
    one = found(path)
    if not (inspect.isclass(one) or callable(one)):
        return comment_on(path)
    first = (inspect.getdoc(one) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return re.sub(r"(?<!`)`([\w.]+)`(?!`)", r"`\1`", first)


def comment_on(path):
    """The comment `#:` above data, in the module that defines it."""
    module, _, name = path.rpartition(".")
    modules = [one for key, one in list(sys.modules.items()) if f"{key}.".startswith(f"{module}.")]
    lines = (re.search(rf"^#: (.*)\n{name} = ", inspect.getsource(one), re.MULTILINE) for one in modules)
    return next(line[1].replace("``", "`") for line in lines if line)


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
    if page == "api/index":
        source[0] = source[0].replace("```{toctree}", every_name(source[0]) + "```{toctree}", 1)
    if page.startswith("api/") and block and "\n| ---" not in source[0]:
        source[0] = source[0][: block.end()] + table(source[0]) + source[0][block.end() :]


def every_name(index):
    """The tables of all pages that the index lists, each under its module."""
    pages = re.search(r":hidden:\n\n(.*?)```", index, re.DOTALL)[1].split()
    texts = {page: (API / f"{page}.md").read_text("utf-8") for page in pages}
    modules = {page: re.search(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE) for page, text in texts.items()}
    parts = [f"### {module[1]}\n{table(texts[page])}\n" for page, module in modules.items() if module]
    return "\n".join(["## Every name\n", *parts])


def link(app, doctree):
    """For Sphinx, when it has read a page: a name that stands in the text as code leads to what describes it."""
    known = {name for page in API.glob("*.md") for name in NAMES.findall(page.read_text("utf-8"))}
    options = {"refdoc": app.env.current_document.docname, "refdomain": "py", "reftype": "obj", "refexplicit": True}
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext().partition("(")[0]
        if name in known and isinstance(literal.parent, nodes.paragraph):
            reference = pending_xref("", literal.deepcopy(), reftarget=name, refwarn=True, **options)
            literal.replace_self(reference)
