"""What the cards say, and that no name in them is taken for Markdown or HTML."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from synthaug.report.cards import (
    CardClass,
    CardFacts,
    CardVerdict,
    Generation,
    ModelFacts,
    dataset_card,
    escape_markdown,
    model_card,
)

FACTS = CardFacts(
    "moles",
    (CardClass("benign", 900, 0), CardClass("melanoma", 12, 88)),
    image_size=32,
    channels=3,
    version="0.1.0",
    n_test=228,
)
GENERATED = dataclasses.replace(
    FACTS,
    copies=[{"class_name": "melanoma", "n_synthetic": 88, "copies": 5, "n_real": 12,
             "copies_among_real": 1}],
    n_candidates=132,
    n_refused_copies=17,
    generation=Generation("ddim", 20, 1.5, ("variation",)),
)  # fmt: skip
JUDGED = dataclasses.replace(
    GENERATED,
    verdict=CardVerdict("do not use", "It made things worse by 0.12.",
                        (("benign", 225, "cannot tell"), ("melanoma", 3, "do not use"))),
)  # fmt: skip
MODEL = ModelFacts("600 optimiser steps.", 1000, 1, 0, False, 3, 32)
HOSTILE = [
    "<script>alert(1)</script>", "a|b", "[x](http://evil.example)", "`code`", "**bold**",
    "a\nb | c", "# head", "--> <!--", "&amp;", "\\", "![i](x)", "$x^2$", "{{ 7 * 7 }}",
    "\u202eflipped", "~~s~~", "https://evil.example", "me@evil.example", "| | |", "-", "1. x",
]  # fmt: skip


class Shown(HTMLParser):
    """The text that a page shows, its tags, and the cells of its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_cell:
            self.rows[-1][-1] += data


def render(text: str) -> Shown:
    return Shown(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))


def shown(card: str) -> Shown:
    return render(card.split("\n---\n", 1)[1])


def front_matter(card: str) -> dict:
    assert card.startswith("---\n")
    return yaml.safe_load(card[4:].split("\n---\n", 1)[0])


def test_a_model_card_says_what_it_learned_from():
    card = model_card(FACTS, MODEL)
    assert front_matter(card)["library_name"] == "diffusers"
    assert front_matter(card)["license"] == "other"
    rows = shown(card).rows
    assert ["0", "benign", "900", "0"] in rows and ["1", "melanoma", "12", "88"] in rows
    assert "912 training images of moles; 228 test images were kept from it" in card
    assert "synthaug evaluate" in card  # the verdict is not there yet
    assert "2006.11239" in card and "licence" in card.lower()
    assert "fewer than 20 training images" in card and r"melanoma \(12\)" in card


def test_a_dataset_card_says_what_is_synthetic():
    card = dataset_card(GENERATED, with_real=True)
    assert front_matter(card)["task_categories"] == ["image-classification"]
    assert "configs" not in front_matter(card)
    page = shown(card)
    assert ["melanoma", "12", "88"] in page.rows
    assert "88 of the 1000 images here are synthetic" in page.text
    assert "from single real images at partial noise" in page.text
    assert "Of 132 candidates 88 are here" in page.text
    assert ["melanoma", "88", "5", "12", "1"] in page.rows  # copies beside their null
    assert "refused 17 of 132" in page.text


def test_only_synthetic_images():
    card = dataset_card(GENERATED, with_real=False, files="train/**")
    page = shown(card)
    assert ["melanoma", "88"] in page.rows and "real-" not in page.text
    assert front_matter(card)["configs"][0]["data_files"] == [
        {"split": "train", "path": "train/**"}
    ]


@pytest.mark.parametrize("card", [model_card(JUDGED, MODEL), dataset_card(JUDGED, with_real=True)])
def test_the_verdict_is_told_once_there_is_one(card: str):
    page = shown(card)
    assert "Do not use the synthetic images. It made things worse by 0.12." in page.text
    assert ["melanoma", "3", "do not use"] in page.rows


def test_a_specialist_names_its_class():
    model = dataclasses.replace(MODEL, specialist="melanoma", label=1)
    card = model_card(FACTS, model)
    assert "images of the class melanoma, on which it was trained further" in card
    assert "torch.full((8,), 1)" in card
    alone = model_card(FACTS, dataclasses.replace(model, from_scratch=True))
    assert "on which it was trained alone" in alone


def with_names(*names: str) -> CardFacts:
    return dataclasses.replace(
        JUDGED,
        dataset=names[0],
        classes=tuple(CardClass(name, 5, 5) for name in names),
        copies=[{**GENERATED.copies[0], "class_name": name} for name in names],
        verdict=CardVerdict("use", f"{names[0]} gains.", tuple((n, 3, "use") for n in names)),
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_names_break_nothing(name: str):
    facts, plain = with_names(name, "other"), with_names("plain", "other")
    specialist = dataclasses.replace(MODEL, specialist=name)
    for make in (
        lambda f: model_card(f, MODEL),
        lambda f: model_card(f, specialist),
        lambda f: dataset_card(f, with_real=True),
        lambda f: dataset_card(f, with_real=False, files="train/**"),
    ):
        card = make(facts)
        page, reference = shown(card), shown(make(plain))
        assert page.tags == reference.tags
        assert [len(row) for row in page.rows] == [len(row) for row in reference.rows]
        assert front_matter(card).keys() == front_matter(make(plain)).keys()
        assert any(cell == one_line(name) for row in page.rows for cell in row)


def one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@given(st.text(max_size=40))
def test_escaped_text_is_shown_as_it_is(text: str):
    escaped = escape_markdown(text)
    assert "\n" not in escaped and "<" not in escaped
    page = render(f"| a |\n|---|\n| x{escaped}x |\n")
    assert page.rows[-1] == [f"x{one_line(text)}x"]


def test_code_in_a_model_card_follows_the_model():
    plain = model_card(FACTS, MODEL)
    assert "pixel_shuffle" not in plain and "zeros" not in plain and "output[:, :" not in plain
    folded = model_card(FACTS, dataclasses.replace(
        MODEL, patch=2, vector_size=9, learned_variance=True, side=16, T=30))  # fmt: skip
    for line in (
        "x = torch.randn(8, 12, 16, 16)", "torch.zeros(8, 9, 16, 16)", "output[:, :12]",
        "pixel_shuffle(x, 2)", "set_timesteps(30)",
    ):  # fmt: skip
        assert line in folded
    for block in re.findall(r"```python\n(.*?)```", plain + folded, re.DOTALL):
        compile(block, "card", "exec")
