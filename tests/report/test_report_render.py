import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import pytest

from synthaug.errors import DataError
from synthaug.report.render import Picture, Show, render_report, write_report
from synthaug.report.schema import ResultsFile
from synthaug.report.sheets import Cell, Row, Sheet
from synthaug.report.strips import strip_of

HOSTILE = ["<script>alert(1)</script>", "[/red]", "{{ 7 * 7 }}", '" onmouseover="x']
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects tags and attributes, and fails on elements that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 1, 8, 8), dtype=np.uint8)
    return [
        Picture("digit 9", "20 real images", images, images[:3]),
        Picture("digit 0", "", images, images[:0]),
    ]


@pytest.fixture
def strip():
    image = np.full((1, 8, 8), 7, np.uint8)
    cells = (Cell(image), Cell(image, "ratio 0.20", framed=True))
    rows = (Row(("digit 9", "20 train images"), cells), Row((), (cells[0], None)))
    sheet = Sheet("Nearest train images", "", ("synthetic", "nearest\n2nd line"), rows)
    return strip_of(sheet, "A red frame marks a likely copy.")


@pytest.fixture
def show(pictures, strip):
    return Show(pictures, strip, [replace(strip, title="Progressive generation")], ["No picture."])


def test_the_page_is_whole_and_in_the_promised_order(results, show):
    text = render_report(results, show)
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert "<title>Use the synthetic images: mnist-lt100" in text
    order = [
        results["verdict"]["sentence"],
        "What changed for each class",
        "What else was tried",
        "What the generator makes",
        "Nearest train images",
        "Copies of train images",
        "How an image comes about",
        "Progressive generation",
        "How the generator learned",
        "How it was done",
        "What this cannot tell",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    for part in (*results["commands"], *results["notices"], "learning rate 0.0005"):
        assert part in text


def test_the_page_can_be_read_without_seeing_it(results, show):
    page = Page(render_report(results, show))
    tables = len(page.all("table"))
    assert tables == 8 == len(page.all("caption"))
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    assert [img["alt"] for img in page.all("img")][:5] == [
        "10 real images of digit 9",
        "3 synthetic images of digit 9",
        "10 real images of digit 0",
        "digit 9, synthetic",
        "digit 9, nearest, 2nd line: ratio 0.20",
    ]
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a]
    assert set(named) <= set(ids)


def test_row_106_the_page_asks_nothing_of_a_network_and_runs_nothing(results, show):
    text = render_report(results, show)
    page = Page(text)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe")
        assert attrs.get("src", "data:").startswith("data:")
        assert attrs.get("href", "#").startswith("#")


def test_names_are_shown_and_never_run(make_results):
    results = make_results(len(HOSTILE), names=HOSTILE)
    results["dataset"]["name"] = HOSTILE[0]
    results["verdict"]["sentence"] = HOSTILE[0]
    results["notices"] = results["commands"] = HOSTILE
    image = np.zeros((1, 3, 4, 4), np.uint8)
    pictures = [Picture(name, name, image, image) for name in HOSTILE]
    cells = (Cell(image[0], HOSTILE[0]),) * len(HOSTILE)
    sheet = Sheet(HOSTILE[0], "", tuple(HOSTILE), (Row(tuple(HOSTILE), cells),))
    strip = strip_of(sheet, HOSTILE[0])
    text = render_report(results, Show(pictures, strip, [strip], HOSTILE))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "[/red]" in text and "{{ 7 * 7 }}" in text
    page = Page(text)
    assert not any("onmouseover" in attrs for _, attrs in page.tags)
    assert HOSTILE[3] in "".join(page.text)


def test_the_same_input_gives_the_same_page(make_results, show):
    def page():
        return render_report(make_results(), show)

    assert page() == page()


def test_what_is_optional_may_be_missing(make_results):
    results = make_results(oracle=False)
    for name, field in ResultsFile.model_fields.items():
        if not field.is_required():
            results.pop(name, None)
        elif type(None) in get_args(field.annotation):
            results[name] = None
    results["commands"] = results["notices"] = []
    text = render_report(results)
    Page(text)
    assert "▲" not in text and "■" in text
    assert "racle:" not in text and "Commands" not in text
    assert "How the generator learned" not in text and "How an image comes about" not in text


@pytest.mark.parametrize(("n_classes", "seeds"), [(2, 5), (2, 1), (100, 5), (100, 1)])
def test_few_and_many_classes_one_and_many_seeds(make_results, n_classes, seeds):
    text = render_report(make_results(n_classes, seeds=seeds))
    Page(text)
    assert ("There is one seed" in text) == (seeds == 1)
    assert ("by chance" in text) == (seeds > 1 and n_classes > 2)


@pytest.mark.parametrize("overall", ["use", "do not use", "cannot tell"])
def test_each_verdict_has_its_headline(results, overall):
    results["verdict"]["overall"] = overall
    headline = {"use": "Use the", "do not use": "Do not use the", "cannot tell": "Cannot tell"}
    assert f'">{headline[overall]}' in render_report(results)


def test_limits_speak_of_this_test_set(results):
    results["dataset"]["test_counts"][9] = 4
    text = render_report(results)
    assert (
        "“digit 9” is tested on 4 images, so one image more or less moves its recall by 0.250"
        in (text)
    )
    results["dataset"]["test_counts"][9] = 0
    assert "“digit 9” has no test image" in render_report(results)


def test_results_that_cannot_be_shown_are_refused(results):
    with pytest.raises(DataError, match="schema_version"):
        render_report({**results, "schema_version": 0})


def test_writing_replaces_the_report_or_leaves_it(tmp_path, results):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(DataError):
        write_report(path, {})
    assert path.read_text() == "old"
    write_report(path, results)
    assert path.read_text(encoding="utf-8") == render_report(results)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OSError):
        write_report(tmp_path / "missing" / "report.html", results)


def test_a_failed_replacement_leaves_no_draft(tmp_path, results):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError):
        write_report(tmp_path / "report.html", results)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_what_tuning_chose_is_told_and_escaped(make_results):
    results = make_results()
    assert "What tuning chose" not in render_report(results)
    numbers = dict.fromkeys(("folds", "trials_per_side", "trainings_per_side"), 2)
    counts = {"n_validated": 9, "n_synthetic": 4, "n_synthetic_by_fold": [2, 3]}
    told = {"sentence": "No <synthetic> image was chosen.", "classes_not_validated": []}
    results["tuning"] = [{**numbers, **counts, **told, "sides": {}}]
    text = render_report(results)
    Page(text)
    assert "What tuning chose" in text and "No &lt;synthetic&gt; image was chosen." in text
