"""Looks at the built site in Chromium: `make docs`, then `python -m docs.look`.

It loads every page at the width of a phone, 390 pixels, and exits with 1 where one scrolls sideways. With --out it also
writes a screenshot of each page, wide and narrow, light and dark.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape, unescape
from pathlib import Path

SITE = Path(__file__).resolve().parent.parent / "build" / "site"
PHONE, WIDE, HEIGHT = 390, 1280, 2400
# Frames of the width of a phone: a window of Chromium's cannot be as narrow.
MEASURE = """<!doctype html><pre id="told"></pre><script>
const pages = {pages}, told = [];
async function look(page) {{
  const frame = document.createElement("iframe");
  frame.style.cssText = "width:{phone}px;height:800px;border:0";
  frame.src = page;
  document.body.append(frame);
  await new Promise((done) => frame.addEventListener("load", done));
  told.push([page, frame.contentDocument.scrollingElement.scrollWidth]);
  frame.remove();
}}
(async () => {{
  for (const page of pages) await look(page);
  document.getElementById("told").textContent = JSON.stringify(told);
}})();
</script>"""


def browser():
    """Chromium's or Chrome's path."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or sys.exit("error: there is no Chromium here: apt-get install chromium")


def run(*options):
    """What headless Chromium prints."""
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=120000"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout


def widths(pages):
    """{page: the width that its content takes in a window of a phone's width}."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measure.html"
        file.write_text(MEASURE.format(pages=json.dumps([page.as_uri() for page in pages]), phone=PHONE), "utf-8")
        told = re.search(r'<pre id="told">(.+?)</pre>', run("--dump-dom", file.as_uri()), re.DOTALL)
    return dict(json.loads(unescape(told[1])))


def shoot(page, out):
    """Four pictures of a page."""
    name = "-".join(page.relative_to(SITE).with_suffix("").parts)
    for scheme, number in (("light", 1), ("dark", 0)):
        for width in (WIDE, PHONE):
            with tempfile.TemporaryDirectory() as folder:
                frame = Path(folder) / "frame.html"
                style = f"border:0;width:{width}px;height:{HEIGHT}px"
                text = f'<!doctype html><body style="margin:0"><iframe style="{style}" src="{escape(page.as_uri())}">'
                frame.write_text(text, "utf-8")
                run(
                    f"--screenshot={out / f'{name}-{width}-{scheme}.png'}",
                    f"--window-size={max(width, 500)},{HEIGHT}",
                    f"--blink-settings=preferredColorScheme={number}",
                    frame.as_uri(),
                )


def main(arguments=None):
    """Look, and tell; the exit code."""
    options = argparse.ArgumentParser(prog="python -m docs.look", description=__doc__.splitlines()[0])
    options.add_argument("pages", nargs="*", help="of build/site, such as guide/jax.html (all)")
    options.add_argument("--out", type=Path, metavar="DIR", help="write screenshots here")
    chosen = options.parse_args(arguments)
    pages = [SITE / page for page in chosen.pages] or sorted(SITE.rglob("*.html"))
    if not pages or not all(page.is_file() for page in pages):
        sys.exit("error: build/site has no such page: make docs first")
    wide = {page: width for page, width in widths(pages).items() if width > PHONE}
    for page, width in wide.items():
        print(f"scrolls sideways at {PHONE} pixels, as it is {width} wide: {page}")
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
        for page in pages:
            shoot(page, chosen.out.resolve())
    print(f"{len(pages)} pages, {len(wide)} of them scroll sideways")
    return int(bool(wide))


if __name__ == "__main__":
    sys.exit(main())
