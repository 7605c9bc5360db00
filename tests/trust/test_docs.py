"""Every public name is documented, in its docstring and on the site; examples, links and tables of the pages hold."""

import doctest
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fq
from fq.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MODULES = [
    "fq",
    "fq.blocks",
    "fq.dask",
    "fq.dialects",
    "fq.dialects.onnx",
    "fq.dialects.openvino",
    "fq.dialects.tensorflow",
    "fq.dialects.torch",
    "fq.floats",
    "fq.formats",
    "fq.gradcheck",
    "fq.jax",
    "fq.onnx",
    "fq.reciprocal",
    "fq.reference",
    "fq.rounding",
    "fq.safetensors",
    "fq.stochastic",
    "fq.testing",
    "fq.torch",
    "fq.torch.pt2e",
    "fq.torch.torchao",
]
NEEDS = {
    "fq.dask": "dask",
    "fq.jax": "jax",
    "fq.onnx": "onnx",
    "fq.safetensors": "safetensors",
    "fq.testing": "hypothesis",
    "fq.torch": "torch",
    "fq.torch.pt2e": "torchao",
    "fq.torch.torchao": "torchao",
}
ELSEWHERE = ["docs/guide/journey.md"]  # whose examples tests/export/test_journey.py runs: they take a while
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*DOCS.glob("*.md"), *DOCS.glob("[!b]*/*.md")])
PAGES_NEED = {
    "jax": ["jax", "flatbuffers"],
    "jax-networks": ["flax", "optax", "equinox", "sklearn"],
    "jax-onnx": ["jax", "jax2onnx", "onnx", "onnxruntime", "sklearn"],
    "jax-qwix": ["qwix", "flax"],
    **{name: ["torch"] for name in ("pytorch", "pytorch-training", "pytorch-transforms", "pytorch-out")},
    "scale": ["dask", "xarray"],
    "tutorial": ["hypothesis"],
    "equivalence": ["hypothesis"],
    "formats": ["hypothesis", "ml_dtypes"],
    "export": ["onnx", "onnxruntime", "safetensors"],
}
SLOW_PAGES = {f"docs/guide/jax-{name}.md" for name in ("networks", "onnx", "qwix")}
UFUNCS = {
    (module, name): operation["inputs"] + operation["parameters"]
    for module, rule in (("fq", "divide"), ("fq.reciprocal", "reciprocal"), ("fq.floats", "floats"))
    for name, operation in fq._core.operations(rule).items()
    if not operation["reduction"]
}
SETTABLE = hasattr(np.add, "__signature__")
in_checkout = pytest.mark.skipif(not DOCS.is_dir(), reason="the pages are only in the checkout")


def imported(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao's, when it is imported
        if module in NEEDS:
            pytest.importorskip(NEEDS[module])
        return importlib.import_module(module)


def section(doc, title):
    """The text of a section of a docstring in NumPy style, empty if there is none."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n--|\Z)", inspect.cleandoc(doc), re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def described(doc, title):
    """The names that a section describes."""
    heads = re.findall(r"^\S.*$", section(doc, title), re.MULTILINE)
    return {name.strip(" *") for head in heads for name in head.partition(" : ")[0].split(",")}


def parameters(module, name, function):
    if isinstance(function, np.ufunc):
        return UFUNCS[module, name]
    return [one.lstrip("*") for one in inspect.signature(function).parameters]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented_in_numpy_style(module):
    found = imported(module)
    assert found.__doc__
    for name in found.__all__:
        one = getattr(found, name)
        assert inspect.getdoc(one), name
        if inspect.isclass(one) and not issubclass(one, Exception):
            assert described(one.__doc__, "Parameters") | described(one.__doc__, "Attributes"), name
        elif inspect.isroutine(one) or isinstance(one, np.ufunc):
            assert set(parameters(module, name, one)) <= described(one.__doc__, "Parameters"), name
            assert section(one.__doc__, "Returns") or name == "set_num_threads", name


@in_checkout
@pytest.mark.parametrize("module", MODULES)
def test_the_api_pages_list_exactly_the_public_names(module):
    page = (DOCS / "api" / f"{module.removeprefix('fq.')}.md").read_text("utf-8")
    submodules = {one.removeprefix(f"{module}.") for one in MODULES}
    listed = re.findall(rf"^\.\. auto(?!module)\w+:: {re.escape(module)}\.(\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(set(imported(module).__all__) - submodules)
    assert f".. automodule:: {module}\n" in page


@in_checkout
def test_the_page_of_the_commands_has_a_line_on_each(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    (\w+)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    page = (DOCS / "api" / "command.md").read_text("utf-8")
    assert len(commands) >= 6
    assert re.findall(r"^\| `python -m fq (\w+)", page, re.MULTILINE) == commands


@in_checkout
@pytest.mark.parametrize("module", MODULES)
def test_the_index_of_the_api_has_a_line_on_each_public_name(module, monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT)
    tables, found = importlib.import_module("docs.api_tables"), imported(module)
    text = (DOCS / "api" / f"{module.removeprefix('fq.')}.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| \{py:obj\}`~([\w.]+)` \| (.+) \|$", tables.table(text), re.MULTILINE))
    submodules = {one.removeprefix(f"{module}.") for one in MODULES}
    assert sorted(rows) == sorted(f"{module}.{name}" for name in set(found.__all__) - submodules)
    assert all(row.endswith(".") for row in rows.values())
    index = (DOCS / "api" / "index.md").read_text("utf-8").partition("toctree")[2]
    assert module.removeprefix("fq.") in index.split()


@in_checkout
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW_PAGES else [])
        for page in PAGES
        if page not in ELSEWHERE
    ],
)
def test_the_examples_of_a_page_run(page):
    for package in PAGES_NEED.get(Path(page).stem, []):
        pytest.importorskip(package)
    with warnings.catch_warnings():
        if Path(page).stem.startswith("pytorch-"):
            warnings.simplefilter("ignore")  # PyTorch's, of torch.ao.quantization
        assert doctest.testfile(str(ROOT / page), module_relative=False, encoding="utf-8").failed == 0


@in_checkout
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *PAGES])
def test_the_links_of_a_page_lead_to_files(page):
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@in_checkout
def test_the_paths_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = set(re.findall(r"(?<![\w./])(?:src|fq|tests|docs|benchmarks|\.ci|\.github)/[\w./*-]*", text))
    assert len(paths) > 60
    made = {"docs/decisions/NNN-title.md", "fq/testing/candidates/NAME.py", "src/simd_NAME.h", "src/target_NAME.c"}
    assert [path for path in sorted(paths - made) if not any(ROOT.glob(path.rstrip(".")))] == []


@pytest.fixture
def figures(monkeypatch):
    """Imports a module that makes figures, which no wheel has."""
    if not DOCS.is_dir():
        pytest.skip("the pages are only in the checkout")
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"docs.figures.{name}")


def test_the_tables_of_the_readme_are_those_of_the_benchmarks(figures):
    page = (ROOT / "README.md").read_text("utf-8")
    assert page.count("<!-- figures: ") == page.count("<!-- end of figures -->") == 1
    assert figures("readme").filled(page, figures("texts").read(DOCS)) == page, "run python -m docs.figures"


def test_tables_need_no_measurement_of_what_was_left_out(figures):
    result = json.loads((DOCS / "benchmarks" / "results.json").read_text("utf-8"))
    alone = result | {"rows": [row for row in result["rows"] if row["section"] == "grid" and row["threads"] == 1]}
    texts = figures("texts")
    assert texts.learnable(alone) == ""
    assert "NumPy" not in texts.speed(alone)


def test_the_picture_of_the_frameworks_shows_what_fq_does_now(figures):
    pytest.importorskip("hypothesis")
    frameworks = figures("frameworks")
    rows = {row["name"]: row for row in json.loads(frameworks.FILE.read_text("utf-8"))["rows"]}
    now = frameworks.reference_row()
    for name in ("fq.reference", "fq"):
        assert (rows[name]["levels"], rows[name]["gradients"]) == (now["levels"], now["gradients"])


def test_the_picture_of_the_frameworks_marks_every_difference(figures):
    pytest.importorskip("matplotlib")
    pytest.importorskip("hypothesis")
    rows = json.loads(figures("frameworks").FILE.read_text("utf-8"))["rows"]
    expected, *others = rows
    pairs = [(row[kind] or expected[kind], expected[kind]) for row in others for kind in ("levels", "gradients")]
    differences = sum(a != b for found, right in pairs for a, b in zip(found, right, strict=True))
    picture = figures("frameworks_picture").picture(rows)
    texts = [text for axes in picture.axes for text in axes.texts]
    assert sum(text.get_fontweight() == "bold" for text in texts) == differences > 0


@pytest.mark.slow
def test_all_pictures_can_be_drawn_anew(figures, tmp_path):
    pytest.importorskip("matplotlib")
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    pictures = [one for one in (tmp_path / "docs").glob("[!g]*/*.svg") if one.stem != "favicon"]
    for picture in pictures:
        picture.unlink()
    figures("__main__").main(tmp_path / "docs")
    assert len(pictures) == 13
    follow = [picture.stem for picture in pictures if "prefers-color-scheme: dark" in picture.read_text("utf-8")]
    assert len(follow) == 11
    assert all(picture.read_text("utf-8").startswith("<?xml") for picture in pictures)
    assert max(picture.stat().st_size for picture in pictures) < 300_000


@pytest.mark.parametrize(("module", "name"), UFUNCS)
def test_docstring_says_what_users_need(module, name):
    doc = getattr(imported(module), name).__doc__
    for title in ["Parameters", "Returns", "Raises", "References", "Examples"]:
        assert section(doc, title)


@pytest.mark.skipif(not SETTABLE, reason="a ufunc carries a signature from NumPy 2.4 on")
@pytest.mark.parametrize(("module", "name"), UFUNCS)
def test_signature_gives_the_real_names(module, name):
    ufunc = getattr(imported(module), name)
    names = list(inspect.signature(ufunc).parameters)
    inputs = UFUNCS[module, name]
    assert names[: len(inputs)] == inputs
    assert names[len(inputs)] == "out"
    assert ufunc.__module__ == module


def test_a_missing_extension_says_how_to_build_it(tmp_path):
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(Path(fq.__file__).parent, tmp_path / "fq", ignore=ignored)
    # An editable install would find the extension of the checkout.
    code = "import sys; sys.meta_path = [f for f in sys.meta_path if 'ditable' not in repr(f)]; import fq"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: fq's C extension is not built here" in done.stderr
    assert "pip install -e ." in done.stderr


@in_checkout
def test_every_story_has_the_right_answer_first_and_each_framework_once(figures):
    pytest.importorskip("matplotlib")
    stories, rows = figures("stories"), json.loads((DOCS / "pictures" / "frameworks.json").read_text("utf-8"))["rows"]
    for _, _, kind, point in stories.STORIES:
        found = stories.answers(rows, kind, point)
        assert len(found) > 1  # or it would be no story
        assert "fq" in next(iter(found.values()))
        names = [name for group in found.values() for name in group]
        assert sorted(names) == sorted(row["name"] for row in rows[1:] if row[kind] is not None)
        for group in found.values():  # a family stands for its members, and for no other
            shown = stories.together(group, [row["name"] for row in rows[1:]])
            assert {name for name in group if not any(name.startswith(one) for one in shown)} == set()
            assert set(shown) <= set(group)
