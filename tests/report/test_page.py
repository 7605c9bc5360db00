"""The report's page: needs no other file, is small, escapes what files say, and works in a browser."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import made_files
import numpy as np
import pytest

from fq.__main__ import main

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAME = "</script><img src=x onerror=alert(1)>\x1b[31m&amp;"


def page_of(tmp_path, arrays, *arguments):
    np.savez(tmp_path / "a.npz", **arrays)
    assert main(["report", str(tmp_path / "a.npz"), "--html", str(tmp_path / "a.html"), *arguments]) == 0
    return (tmp_path / "a.html").read_text("utf-8")


def network(tensors):
    rng = np.random.default_rng(0)
    return {
        f"backbone.stage{i // 8}.block{i}.conv.weight": rng.standard_t(4, (64 + i, 33 + i)).astype(np.float32)
        for i in range(tensors)
    }


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else(tmp_path):
    page = page_of(tmp_path, made_files.arrays(), "--budget", "4")
    found = Elements(page).found
    assert not [tag for tag, attrs in found if tag in ("link", "img", "iframe") or "src" in attrs or "href" in attrs]
    assert "http://www.w3.org/2000/svg" in page  # a name, not an address
    assert not [url for url in re.findall(r"https?://[^\"' )]*", page) if "w3.org" not in url]
    assert any(attrs.get("http-equiv") == "Content-Security-Policy" for _, attrs in found)
    assert any(attrs.get("name") == "viewport" for _, attrs in found)
    assert "prefers-color-scheme:dark" in page
    for name in made_files.arrays():
        assert name in page


def test_sixty_tensors_are_at_most_300_kilobytes(tmp_path):
    page = page_of(tmp_path, network(60), "--budget", "4.5")
    assert len(page.encode()) <= 300_000


def test_names_cannot_end_what_they_stand_in(tmp_path):
    page = page_of(tmp_path, {NAME: np.ones((3, 4), np.float32)})
    found = Elements(page).found
    assert [tag for tag, _ in found].count("script") == 2
    assert "img" not in [tag for tag, _ in found]
    assert "\x1b" not in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["tensors"][0]["name"].startswith("</script><img")


def in_browser(tmp_path, page, width):
    """What try_page.js finds in the page, shown in a frame of this width."""
    page = json.dumps(page).replace("<", "\\u003c")
    frame = f'<iframe id="frame" width="{width}" height="800"></iframe><pre id="out"></pre>'
    script = f"const page = {page};\n{Path(__file__).with_name('try_page.js').read_text('utf-8')}"
    outer = f'<!doctype html><meta charset="utf-8">{frame}<script>{script}</script>'
    (tmp_path / "outer.html").write_text(outer, "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "outer.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    told = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stderr[-2000:]
    return json.loads(unescape(told[1]))


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_sorts_filters_and_opens(tmp_path, width):
    arrays = made_files.arrays()
    arrays["fc.weight"][3] *= 40
    arrays |= {NAME: np.ones((3, 4), np.float32), "zero": arrays["fc.weight"] * 0}
    found = in_browser(tmp_path, page_of(tmp_path, arrays, "--budget", "4"), width)
    assert "error" not in found, found["error"]
    known = [one for one in found["up"] if one is not None]
    assert known == sorted(known)
    assert known
    assert found["up"][len(known) :] == [None] * (len(found["up"]) - len(known))
    assert found["down"][: len(known)] == known[::-1]
    assert found["names"][-1] == "zero"
    assert found["changed"]
    assert found["filtered"] == ["fc.bias", "fc.weight"]
    assert found["under"]
    assert max(found["under"]) < 20
    assert sorted(found["panels"])[-4:] == [3, 3, 3, 3]
    assert found["bars"] > 100
    assert found["far"] >= 1
    assert any(told.endswith("% clipped") for told in found["told"])
    assert found["wrong"] == []
    assert (found["share"], found["curve"], found["chosen"]) == (8, 1, 1)
    assert found["wide"] <= 0
    assert found["panelWide"] <= 0
    assert found["closed"] == 0
