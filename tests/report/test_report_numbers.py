"""Every number in the tables of a real page is one of its results.json, at the digits shown."""

import copy
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from synthaug.report.render import render_report

NUMBER = re.compile(r"(?<![\w.])[+−-]?\d[\d,]*(?:\.\d+)?(?: %)?")


class Cells(HTMLParser):
    """The texts of the data cells of all tables, but for those that lay out pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self._inside = self._pictures = False
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        if tag == "table":
            self._pictures = ("class", "strip") in attrs
        if tag == "td" and not self._pictures:
            self._inside = True
            self.cells.append("")

    def handle_endtag(self, tag) -> None:
        self._inside = self._inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def numbers_in(part: Any) -> Iterator[float]:
    """Every number, the half widths of intervals, and the shares of counts that lie together."""
    if isinstance(part, dict):
        if part.get("low") is not None and part.get("high") is not None:
            yield (part["high"] - part["low"]) / 2
        for n, of in (("copies", "n_synthetic"), ("copies_among_real", "n_real")):
            if n in part and part[of]:
                yield part[n] / part[of]
        for value in part.values():
            yield from numbers_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from numbers_in(value)
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield float(part)


def texts_in(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from texts_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts_in(value)
    elif isinstance(part, str):
        yield " ".join(part.split())


def unknown(page: str, results: dict[str, Any]) -> list[str]:
    """The numbers in table cells that are neither a number of the results nor in a text of them."""
    known = list(numbers_in(results))
    sentences = set(texts_in(results))
    missing = []
    for cell in map(str.strip, Cells(page).cells):
        if cell in sentences:
            continue
        for shown in NUMBER.findall(cell):
            plain = shown.replace("−", "-").replace(",", "").replace("+", "")
            share = plain.endswith("%")
            digits = len(plain.rstrip(" %").partition(".")[2])
            value = float(plain.rstrip(" %")) / (100 if share else 1)
            digits += 2 if share else 0
            half = 0.5 * 10.0**-digits * 1.0001
            if not any(abs(value - number) <= half for number in known):
                missing.append(f"{shown} in {cell!r}")
    return missing


@pytest.fixture(scope="module")
def page(smoke) -> str:
    return (smoke.path / "report.html").read_text(encoding="utf-8")


def test_every_number_in_a_table_is_in_the_results(smoke, page: str):
    assert len(NUMBER.findall(" ".join(Cells(page).cells))) > 300
    assert unknown(page, smoke.read("results.json")) == []


def test_a_number_that_is_not_in_the_results_is_found(smoke, page: str):
    planted = page.replace("</table>", "<tr><td>3.14159 of 86,753 (777 %)</td></tr></table>", 1)
    (first, second, third) = unknown(planted, smoke.read("results.json"))
    assert first.startswith("3.14159") and second.startswith("86,753") and third.startswith("777 %")


def test_a_page_of_other_results_has_other_numbers(smoke):
    """Numbers are not taken for known because there are so many: each is moved, and missed."""
    results = smoke.read("results.json")
    moved = copy.deepcopy(results)
    for arm in moved["arms"]:
        for value in filter(None, arm["metrics"].values()):
            value["mean"] += 7
            value["low"], value["high"] = value["low"] + 7, value["high"] + 7
    missing = unknown(render_report(moved), results)
    assert len(missing) >= 7 * len(moved["arms"])
