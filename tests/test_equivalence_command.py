"""python -m fq equivalence: a table, counterexamples, JSON, and pages that need nothing else."""

import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import fq
from fq.__main__ import main
from fq.testing import ALL, Report

pytest.importorskip("tqdm", reason="tqdm is not installed")

HALF_AWAY = """
import numpy as np

def quantize(x, scale, zero_point, qmin, qmax):
    level = np.trunc(x / scale + np.copysign(0.5, x)) + zero_point
    return (np.clip(level, qmin, qmax) - zero_point) * scale

class Reference:
    name = "<mine> & more"
    def forward(self, *args):
        import fq
        return fq.reference.fake_quantize(*args)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "fq_candidate_under_test.py").write_text(HALF_AWAY)
    monkeypatch.syspath_prepend(tmp_path)
    yield "fq_candidate_under_test"
    sys.modules.pop("fq_candidate_under_test", None)


def run(capsys, *arguments):
    code = main(["equivalence", "--examples", "10", *arguments])
    return code, capsys.readouterr()


def test_a_table_of_laws_by_candidates_with_counterexamples(module, capsys):
    code, told = run(capsys, "--candidate", f"{module}:quantize", "--candidate", f"{module}:Reference")
    assert code == 0
    lines = told.out.splitlines()
    assert lines[0] == "y computed with x / scale: = holds, X fails, ~ differs in the last bits, . not applicable"
    assert lines[2].split() == ["quantize"]
    assert lines[3].split(maxsplit=1) == ["|", "<mine> & more"]
    assert [line.rsplit(maxsplit=2)[0] for line in lines[4 : 4 + len(ALL)]] == [law.name for law in ALL]
    assert "ties                            X =" in lines
    assert any("X ties: fails" in line and "x = 0.5 = 0x1.0000000000000p-1" in line for line in lines)
    assert "100%" in told.err
    assert "quantize" in told.err


def test_strict_exits_with_1_only_where_a_law_fails(module, capsys):
    assert run(capsys, "--strict", "--candidate", f"{module}:quantize")[0] == 1
    assert run(capsys, "--strict", "--candidate", f"{module}:Reference")[0] == 0


def test_names_choose_candidates_and_the_seed_repeats_them(capsys):
    first, second = (run(capsys, "PORTABLE", "--seed", "3", "--json")[1].out for _ in range(2))
    assert first == second
    made = json.loads(first)
    assert [one["candidate"] for one in made["reports"]] == ["fq, portable"]
    assert made["reports"][0]["seed"] == 3
    assert made["reports"][0]["versions"] == {"fq": fq.__version__, "NumPy": np.__version__}
    assert Report.from_dict(made["reports"][0]).ok


def test_another_process_finds_the_same_and_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from fq.__main__ import main; main()"
    command = [sys.executable, "-c", code, str(Path(fq.__file__).parent.parent)]
    command += ["equivalence", "NumPy", "--examples", "10", "--json"]
    first, second = (
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert first == second
    assert list(folder.iterdir()) == []


class Page(HTMLParser):
    """The ids, the links within the page, and what it would fetch."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.open, self.fetched = set(), set(), [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        self.fetched += [attributes[name] for name in ("src", "srcset", "data") if name in attributes]
        if tag in ("link", "script", "iframe"):
            self.fetched.append(tag)
        if "href" in attributes:
            self.links.add(attributes["href"])
        if tag not in ("meta", "br", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("dt", "dd"):
            return
        while (last := self.open.pop()) != tag:
            assert last in ("dt", "dd")


@pytest.fixture
def pages(module, capsys, tmp_path):
    """The JSON of a run, and the page and document made of it."""
    made = run(capsys, "--candidate", f"{module}:quantize", "--candidate", f"{module}:Reference", "--json")[1].out
    files = {name: tmp_path / f"run.{name}" for name in ("json", "html", "md")}
    files["json"].write_text(made)
    read = ["--from", str(files["json"]), "--html", str(files["html"]), "--markdown", str(files["md"])]
    assert run(capsys, *read)[0] == 0
    return files


def test_the_page_is_whole_and_needs_no_other_file(pages):
    text = pages["html"].read_text("utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert "url(" not in text
    assert "@import" not in text
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= page.ids
    assert "&lt;mine&gt; &amp; more" in text
    assert "prefers-color-scheme:dark" in text


def test_no_meaning_of_the_page_is_in_a_colour_alone(pages):
    text = pages["html"].read_text("utf-8")
    assert "✗" in text
    assert 'aria-label="fails"' in text
    assert 'aria-label="holds"' in text


def test_the_page_renders_in_a_browser(pages):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", pages["html"].as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.count("<tr") == done.stdout.count("</tr>") == pages["html"].read_text("utf-8").count("<tr")
    assert "Where fake quantizations differ</h1>" in done.stdout


def test_the_document_tells_versions_laws_and_counterexamples(pages):
    text = pages["md"].read_text("utf-8")
    assert text.startswith("# Where fake quantizations differ")
    assert f"fq {fq.__version__}, NumPy {np.__version__}" in text
    assert "- **ties** fails: float32, scale `1.0`, zero_point `0`, qmin `-8`, qmax `7`, x `0.5`" in text
    for law in ALL:
        assert f"- **{law.name}**: {law.meaning}" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "no candidate 'nonsense': there are NumPy formula, "),
        (["--candidate", "fq:nothing"], "fq:nothing is no MODULE:ATTRIBUTE"),
        (["--candidate", "no_such_module_at_all:f"], "is no MODULE:ATTRIBUTE"),
        (["--candidate", "fq:__version__"], "is neither a function nor has a method forward"),
        (["--from", "no/such.json"], "no/such.json is no output of --json"),
        (["--html", "no/such/folder.html"], "argument --html: no/such/folder.html cannot be written"),
        (["--arithmetic", "other"], "invalid choice: 'other'"),
        (["--examples", "0"], "argument --examples: must be 1 or more"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["equivalence", *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
