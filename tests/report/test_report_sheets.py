"""Labelled sheets: every pixel where the layout says, every label drawn, the same bytes twice."""

import io

import numpy as np
import pytest
from PIL import Image

from synthaug.report import sheets
from synthaug.report.sheets import Cell, Row, Sheet, draw_sheet, lay_out, sheet_png

RED = (208, 28, 42)
PAPER = (251, 250, 247)


def noise(seed: int, channels: int = 1, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (channels, *size), dtype=np.uint8)


def sheet_of(*rows: Row, columns: int = 2, **changes) -> Sheet:
    settings = {"title": "A title", "note": "a note", "columns": ("one",) * columns}
    return Sheet(rows=rows, **{**settings, **changes})


def drawn(sheet: Sheet) -> np.ndarray:
    return np.asarray(draw_sheet(sheet))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "scale"), [((8, 8), 8), ((16, 16), 4), ((28, 28), 3), ((40, 20), 4), ((80, 80), 1)]
)
def test_every_image_stands_where_the_layout_says_enlarged_by_a_whole_factor(channels, size, scale):
    images = [[noise(2 * r + c, channels, size) for c in range(2)] for r in range(3)]
    rows = [Row(("name", "more"), tuple(Cell(i, "words") for i in row)) for row in images]
    sheet = sheet_of(*rows)
    layout, picture = lay_out(sheet), drawn(sheet)
    assert layout.scale == scale and layout.cell[0] >= 64
    assert picture.shape == (layout.size[1], layout.size[0], 3)
    for top, row in zip(layout.top, images, strict=True):
        for left, image in zip(layout.left, row, strict=True):
            there = picture[top : top + layout.cell[1], left : left + layout.cell[0]]
            expected = image.repeat(scale, axis=1).repeat(scale, axis=2).transpose(1, 2, 0)
            np.testing.assert_array_equal(there, np.broadcast_to(expected, there.shape))


def test_nothing_overlaps_and_all_lies_inside():
    rows = [Row((), (Cell(noise(i)), Cell(noise(i))), apart=i == 1) for i in range(3)]
    layout = lay_out(sheet_of(*rows, apart=frozenset({1})))
    (width, height), (w, h) = layout.size, layout.cell
    assert layout.left[1] - layout.left[0] == w + 26
    assert [b - a for a, b in zip(layout.top, layout.top[1:], strict=False)] == [h + 26, h + 8]
    assert layout.left[0] >= 28 and layout.left[-1] + w <= width - 28
    assert layout.top[-1] + h == height - 28


def test_a_cell_that_is_missing_leaves_paper():
    sheet = sheet_of(Row((), (Cell(noise(0)), None)), Row((), (Cell(noise(1)),)))
    layout, picture = lay_out(sheet), drawn(sheet)
    for top in layout.top:
        left = layout.left[1]
        assert (picture[top : top + 64, left : left + 64] == PAPER).all()


def test_a_frame_is_red_all_round_and_only_where_asked():
    sheet = sheet_of(Row((), (Cell(noise(0), framed=True), Cell(noise(1)))))
    layout, picture = lay_out(sheet), drawn(sheet)
    (top,), (left, other) = layout.top, layout.left
    ring = picture[top - 3 : top + 67, left - 3 : left + 67].copy()
    ring[3:-3, 3:-3] = RED
    assert (ring == RED).all()
    beside = picture[top - 3 : top + 67, other - 3 : other + 67]
    assert not (beside == RED).all(axis=2).any()


@pytest.mark.parametrize("part", ["title", "note", "column", "second line", "name", "caption"])
def test_every_label_is_drawn_in_its_own_place(part: str):
    """The picture without the label differs, and only inside the band that belongs to it."""
    words = dict.fromkeys(("title", "note", "column", "second line", "name", "caption"), "Wxyz")

    def make(words: dict[str, str]) -> Sheet:
        column = f"{words['column']}\n{words['second line']}"
        row = Row((words["name"], "Wxyz long enough"), (Cell(noise(0), words["caption"]),))
        return Sheet(words["title"], words["note"] + " Wxyz", (column,), (row,))

    with_it, without = make(words), make({**words, part: " "})
    layout = lay_out(with_it)
    assert layout == lay_out(without) or part in ("note", "caption")
    if part == "caption":  # no captions, no room for them: compare with another word instead
        without = make({**words, part: "iiii"})
    a, b = drawn(with_it), drawn(without)
    assert a.shape == b.shape
    y, x = np.nonzero((a != b).any(axis=2))
    assert len(y), "the label is not drawn"
    (left,), (top,) = layout.left, layout.top
    bands = {
        "title": (0, layout.columns_top), "note": (0, layout.columns_top),
        "column": (layout.columns_top - 2, top), "second line": (layout.columns_top - 2, top),
        "name": (top, top + 64), "caption": (top + 64, a.shape[0]),
    }  # fmt: skip
    assert bands[part][0] <= y.min() and y.max() < bands[part][1]
    if part == "name":
        assert x.max() < left
    if part in ("column", "second line", "caption"):
        assert abs((x.min() + x.max()) / 2 - (left + 32)) < 8, "not centred over its image"


def test_long_names_and_captions_are_clipped_not_drawn_over_the_images():
    long = "a class with quite a name " * 9
    sheet = sheet_of(Row((long, long), (Cell(noise(0), long), Cell(noise(1), long))), note=long)
    layout, picture = lay_out(sheet), drawn(sheet)
    plain = drawn(sheet_of(Row((), (Cell(noise(0)), Cell(noise(1)))), note=""))
    (top,) = layout.top
    image = picture[top : top + 64, layout.left[0] : layout.left[0] + 64]
    assert any((image == plain[y : y + 64, 28:92]).all() for y in range(plain.shape[0] - 64))
    assert layout.left[0] < 28 + 190 + 20
    assert len(layout.note_lines) > 1
    assert (picture[:, -20:] == PAPER).all()


def test_the_font_has_what_labels_need():
    """A missing glyph is drawn as a box, the same for every missing one."""
    font = sheets._font(13)
    box = bytes(font.getmask("\U0010ffff"))
    for letter in "λx₀éüß×·…≤√":
        assert bytes(font.getmask(letter)) not in (box, b""), letter


def test_the_same_sheet_gives_the_same_bytes_and_a_png():
    sheet = sheet_of(Row(("a",), (Cell(noise(0), "x", True), Cell(noise(1)))))
    png = sheet_png(sheet)
    assert png == sheet_png(sheet)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG" and picture.size == lay_out(sheet).size


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (Row(("empty",), (None,)),),
        (Row((), (Cell(noise(0)), Cell(noise(0, size=(9, 9))))),),
        (Row((), (Cell(noise(0, channels=2)),)),),
        (Row((), (Cell(noise(0).astype(float)),)),),
    ],
)
def test_what_is_no_sheet_is_refused(rows):
    with pytest.raises(ValueError):
        lay_out(sheet_of(*rows))
