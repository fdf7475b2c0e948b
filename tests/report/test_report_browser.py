"""The page in a real browser: quiet, without a request, and nowhere wider than the screen."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthaug.report.render import Picture, Show, render_report
from synthaug.report.sheets import Cell, Row, Sheet
from synthaug.report.strips import strip_of

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--v=0",
)  # fmt: skip
MEASURE = """
<script>
addEventListener("load", () => {
  const width = document.documentElement.clientWidth;
  const scrolls = (e) => e.closest(".scroll, pre, .unseen");
  const wide = [...document.body.querySelectorAll("*")].filter(
    (e) => !scrolls(e) && e.getBoundingClientRect().right > width + 0.5);
  const letters = [...document.querySelectorAll("svg text")]
    .map((t) => t.getBoundingClientRect().height).filter((height) => height > 0);
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    scrollWidth: document.documentElement.scrollWidth,
    wide: wide.slice(0, 5).map((e) => e.outerHTML.slice(0, 200)),
    broken: [...document.images].filter((i) => !i.complete || i.naturalWidth === 0).length,
    images: document.images.length,
    requests: performance.getEntriesByType("resource").map((r) => r.name)
      .filter((name) => !name.startsWith("data:")),
    letters: Math.min(...letters),
    askew: [...document.querySelectorAll("tbody tr")].filter((row) => {
      const head = row.closest("table").tHead;
      return head.offsetHeight && [...row.cells].some((cell, i) => Math.abs(
        cell.getBoundingClientRect().right
          - head.rows[0].cells[i].getBoundingClientRect().right) > 1);
    }).length,
  }), "*");
});
</script>
"""
# No window is narrower than 500 pixels, but a frame is: to the page it is the screen.
FRAME = """<!DOCTYPE html><body><script>
addEventListener("message", (event) => { document.body.dataset.measured = event.data; });
</script>
<iframe src="measured.html" style="border: 0; width: WIDTHpx; height: 900px"></iframe></body>
"""
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")


@pytest.fixture
def page(make_results, tmp_path: Path) -> Path:
    """A page with everything on it, and with a name that has no place to be broken at."""
    names = [f"digit {k}" for k in range(9)] + ["a-class-called-by-forty-letters-and-more-x"]
    results = make_results(names=names)
    results["dataset"]["name"] = "a/folder/" + "x" * 80
    results["commands"][0] = "synthaug fit --dataset " + "y" * 200
    advice = {"advice": "cannot tell", "opponent": None, "recall": None, "p": None, "prices": []}
    results["verdict"]["per_class"] = [
        {**advice, "class_name": name, "n_test": n, "detectable": 0.05, "reason": "why " * 20}
        for name, n in zip(names, results["dataset"]["test_counts"], strict=True)
    ]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    rows = [Row((name, "20 train images"), tuple(map(Cell, images[:13]))) for name in names]
    sheet = Sheet("Progressive generation", "", ("t = 999",) * 13, tuple(rows), frozenset({12}))
    strip = strip_of(sheet, "Each row is one image.")
    pictures = [Picture(name, "20 real images", images[:16], images[:16]) for name in names]
    neighbours = replace(strip, title="Nearest train images")
    path = tmp_path / "report.html"
    show = Show(pictures, neighbours, [strip], ["One picture would take long."])
    path.write_text(render_report(results, show), encoding="utf-8")
    return path


def browse(page: Path) -> tuple[str, str]:
    """The page as the browser left it, and what it logged."""
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={page.parent / 'profile'}", "--window-size=1400,900",
         "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert "</html>" in done.stdout, done.stderr[-2000:]
    return done.stdout, done.stderr


def measure(page: Path, width: int) -> dict:
    """What a script finds that is injected into a copy, which must allow scripts."""
    text = page.read_text(encoding="utf-8")
    text, n = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert n == 1
    copy = page.with_name("measured.html")
    copy.write_text(text.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    dom, _ = browse(frame)
    (found,) = re.findall(r'<body data-measured="([^"]*)"', dom)
    return json.loads(html.unescape(found))


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_row_106_nothing_is_wider_than_the_screen_or_asked_of_a_network(page, width):
    found = measure(page, width)
    assert found["width"] == width
    assert found["wide"] == [] and found["scrollWidth"] <= width
    assert found["requests"] == []
    assert found["broken"] == 0 and found["images"] > 100
    assert found["askew"] == 0, "cells do not stand below their headings"
    assert found["letters"] >= 10, "letters of a drawing are too small to read"


@needs_browser
def test_row_106_the_browser_has_nothing_to_complain_of(page):
    _, log = browse(page)
    assert "CONSOLE" not in log


@needs_browser
def test_planted_faults_are_found(page):
    """What the two tests above look for would be seen."""
    fault = (
        '<img src="http://127.0.0.1:54999/missing.png"><div style="width: 2000px">x</div>'
        "<script>console.error('planted')</script>"
    )
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</main>", f"{fault}</main>"), encoding="utf-8")
    assert "CONSOLE" in browse(page)[1]
    found = measure(page, 390)
    assert found["broken"] == 1 and found["scrollWidth"] > 390 and len(found["wide"]) > 0
    assert [name.rsplit("/", 1)[1] for name in found["requests"]] == ["missing.png"]
