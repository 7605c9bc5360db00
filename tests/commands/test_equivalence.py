"""python -m fq equivalence: a table, counterexamples, JSON, and pages that need nothing else."""

import json
import os
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


NOISY = """
import ctypes, os, subprocess, sys
import numpy as np
print("at import")
calls = 0

def noisy(x, scale, zero_point, qmin, qmax):
    global calls
    calls += 1
    print("from Python")
    print("past the redirection", file=sys.__stdout__)
    if calls == 1:
        os.write(1, b"from the system\\n")
        subprocess.run(["echo", "from a child"])
        ctypes.CDLL(None).printf(b"from C\\n")
    return np.clip(np.rint(x / scale), qmin - zero_point, qmax - zero_point) * scale

def leaves(*args):
    sys.exit("left")

def closes(*args):
    print("closed")
    sys.stdout.close()
    return noisy(*args)

class Needs:
    def __init__(self, something):
        pass
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "fq_candidate_under_test.py").write_text(HALF_AWAY)
    (tmp_path / "fq_that_exits.py").write_text("import sys; sys.exit('no')")
    (tmp_path / "fq_that_fails.py").write_text("1 / 0")
    (tmp_path / "fq_that_is_no_python.py").write_text("def")
    (tmp_path / "fq_noisy.py").write_text(NOISY)
    monkeypatch.syspath_prepend(tmp_path)
    yield "fq_candidate_under_test"
    sys.modules.pop("fq_candidate_under_test", None)


def run(capsys, *arguments):
    code = main(["equivalence", "--examples", "4", *arguments])
    return code, capsys.readouterr()


def test_a_table_of_laws_by_candidates_with_counterexamples(module, capsys):
    code, told = run(capsys, "--candidate", f"{module}:quantize", "--candidate", f"{module}:Reference")
    assert code == 0
    lines = told.out.splitlines()
    assert lines[0] == "y computed with x / scale: = holds, X fails, ~ differs in the last bits, . not applicable"
    assert lines[2].split() == ["quantize"]
    assert lines[3].split(maxsplit=1) == ["|", "<mine> & more"]
    assert [line.rsplit(maxsplit=2)[0] for line in lines[4 : 4 + len(ALL)]] == [law.name for law in ALL]
    assert ["ties", "X", "="] in [line.split() for line in lines]
    assert any("X ties: fails" in line and "x = 0.5 = 0x1.0000000000000p-1" in line for line in lines)
    assert "100%" in told.err
    assert "quantize" in told.err


def in_a_process(folder, *arguments):
    (folder / "noisy.py").write_text(NOISY)
    code = "import sys; sys.path[:0] = sys.argv[1:3]; del sys.argv[1:3]; from fq.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, str(Path(fq.__file__).parent.parent), str(folder)]
    command += ["equivalence", "--examples", "2", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # which C would heed too
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="the candidate calls echo and libc")
def test_what_a_candidate_prints_goes_to_standard_error(tmp_path):
    candidates = [f"noisy:{name}" for name in ("noisy", "leaves", "closes")]
    done = in_a_process(tmp_path, *(word for one in candidates for word in ("--candidate", one)), "--json")
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)["reports"]
    assert [one["candidate"] for one in reports] == ["noisy", "leaves", "closes"]
    assert all([result["law"] for result in one["results"]] == [law.name for law in ALL] for one in reports)
    for said in ("at import", "from Python", "past the redirection", "from the system", "from a child", "from C"):
        assert said in done.stderr
    assert "SystemExit: left" in done.stdout


def test_a_candidate_of_tensors_that_require_a_gradient_is_judged_by_its_values(module, tmp_path, capsys):
    pytest.importorskip("torch")
    (tmp_path / f"{module}.py").write_text(
        "import torch\n"
        "def f(x, scale, zero_point, qmin, qmax):\n"
        "    level = torch.round(torch.as_tensor(x.copy()) / scale)\n"
        "    y = torch.clamp(level, qmin - zero_point, qmax - zero_point) * scale + 0.0\n"
        "    return y.requires_grad_() if y.ndim else None\n"
    )
    code, told = run(capsys, "--candidate", f"{module}:f", "--json")
    assert code == 0
    status = {one["law"]: one["status"] for one in json.loads(told.out)["reports"][0]["results"]}
    assert status["ordinary values"] == "holds"
    assert [law for law, one in status.items() if one == "fails"] == ["zero-dimensional"]


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
    command += ["equivalence", "--candidate", "fq:forward", "--examples", "4", "--json"]
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


MADE = []


@pytest.fixture
def pages(module, capsys, tmp_path):
    """The JSON of one run for all tests, and the page and document made of it."""
    if not MADE:
        candidates = ["--candidate", f"{module}:quantize", "--candidate", f"{module}:Reference"]
        MADE.append(run(capsys, *candidates, "--json")[1].out)
    made = MADE[0]
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
        (["--candidate", "fq_that_exits:f"], "fq_that_exits:f cannot be imported: SystemExit: no"),
        (["--candidate", "fq_that_fails:f"], "fq_that_fails:f cannot be imported: ZeroDivisionError"),
        (["--candidate", "fq_that_is_no_python:f"], "fq_that_is_no_python:f cannot be imported: SyntaxError"),
        (["--candidate", "fq_noisy:Needs"], "fq_noisy:Needs: TypeError: "),
        (["--from", "no/such.json"], "no/such.json is no output of --json"),
        (["--from", "."], ". is no output of --json"),
        (["--html", "a" * 300], "cannot be written"),
        (["--html", "no/such/folder.html"], "argument --html: no/such/folder.html cannot be written"),
        (["--arithmetic", "other"], "invalid choice: 'other'"),
        (["--examples", "0"], "argument --examples: must be 1 or more"),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_wrong_argument_is_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["equivalence", *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"NaN",
        b'{"reports": 3}',
        b'{"reports": {"a": 1}}',
        b'{"reports": [3]}',
        b'{"reports": [NaN]}',
        b'{"absent": []}',
        b'{"reports": [{"candidate": "a"}]}',
        b'{"reports": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'{"reports": [' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"]}",
        b'{"reports": [{"seed": ' + b"9" * 5_000 + b"}]}",
    ],
    ids=range(15),
)
def test_a_hostile_file_is_one_line(text, tmp_path, capsys):
    path = tmp_path / "run.json"
    path.write_bytes(text)
    with pytest.raises(SystemExit) as stop:
        main(["equivalence", "--from", str(path)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "run.json is no output of --json" in said
    assert said.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_page_that_cannot_be_written_loses_no_run(module, capsys):
    with pytest.raises(SystemExit) as stop:
        run(capsys, "--candidate", f"{module}:quantize", "--html", "/dev/full")
    assert stop.value.code == 2
    told = capsys.readouterr()
    assert "X ties: fails" in told.out
    assert "cannot be written: " in told.err
