"""Labelled sheets of images as PNG: a title, columns and rows with their labels, words below."""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

LEAST_CELL = 64
"""Images are enlarged by a whole factor until they are at least this many pixels wide."""

_PAPER, _INK, _FAINT, _LINE, _RED = "#fbfaf7", "#1d1d1f", "#6b6b70", "#c9c7c1", "#d01c2a"
_MARGIN, _GAP, _WIDE_GAP, _LEAST_WIDTH = 28, 8, 26, 560
_TITLE, _NOTE, _LABEL, _SMALL = 21, 14, 13, 12
_LABEL_WIDTH = 190
_FRAME = 3


@dataclass(frozen=True)
class Cell:
    """One image, uint8 [C, H, W] with C = 1 or 3, the words under it, and a red frame or none."""

    image: NDArray[np.uint8]
    caption: str = ""
    framed: bool = False


@dataclass(frozen=True)
class Row:
    """Cells from the left, None where one is missing; the first line of `label` is the name."""

    label: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    apart: bool = False
    """Whether more room than usual sets it off from the row above."""


@dataclass(frozen=True)
class Sheet:
    """A picture to be drawn. All images have one size; a column label may have several lines.

    `apart` holds the positions of columns that more room than usual sets off from the one before.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    apart: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Layout:
    """Where everything goes, in pixels: left of each column, top of each row, the size of a cell.

    Image (r, c) covers `left[c] <= x < left[c] + cell[0]` and `top[r] <= y < top[r] + cell[1]`.
    """

    size: tuple[int, int]
    cell: tuple[int, int]
    scale: int
    left: tuple[int, ...]
    top: tuple[int, ...]
    labels_left: int
    columns_top: int
    note_lines: tuple[str, ...]


def lay_out(sheet: Sheet) -> Layout:
    """Work out where everything goes. Raises `ValueError` for a sheet without an image."""
    images = [cell.image for row in sheet.rows for cell in row.cells if cell is not None]
    if not images:
        raise ValueError("a sheet needs at least one image")
    shape = images[0].shape
    if any(i.shape != shape or i.dtype != np.uint8 for i in images) or shape[0] not in (1, 3):
        raise ValueError("images must be uint8 [1 or 3, H, W] of one size")
    height, width = shape[1:]
    scale = max(-(-LEAST_CELL // width), 1)
    cell = (width * scale, height * scale)
    lines = [(line, i == 0) for row in sheet.rows for i, line in enumerate(row.label)]
    widths = [_width(_clip(t, _LABEL, _LABEL_WIDTH, bold=b), _LABEL, bold=b) for t, b in lines]
    label_width = max(widths, default=0)
    x = _MARGIN + (label_width + 2 * _GAP if label_width else 0)
    left = []
    for column in range(len(sheet.columns)):
        x += _WIDE_GAP - _GAP if column in sheet.apart else 0
        left.append(x)
        x += cell[0] + _GAP
    total = max(x - _GAP + _MARGIN, _LEAST_WIDTH)
    note_lines = _wrap(sheet.note, _NOTE, total - 2 * _MARGIN)
    y = _MARGIN + _TITLE + 14 + len(note_lines) * (_NOTE + 6) + 14
    columns_top = y
    y += max(label.count("\n") + 1 for label in sheet.columns) * (_LABEL + 4) + 6
    top = []
    for row in sheet.rows:
        y += _WIDE_GAP - _GAP if row.apart else 0
        top.append(y)
        captions = any(c is not None and c.caption for c in row.cells)
        y += cell[1] + _GAP + (_SMALL + 10 if captions else 0)
    return Layout(
        size=(total, y - _GAP + _MARGIN),
        cell=cell,
        scale=scale,
        left=tuple(left),
        top=tuple(top),
        labels_left=_MARGIN,
        columns_top=columns_top,
        note_lines=note_lines,
    )


def draw_sheet(sheet: Sheet) -> Image.Image:
    """The sheet as an RGB picture; raises `ValueError` as `lay_out` does."""
    layout = lay_out(sheet)
    picture = Image.new("RGB", layout.size, _PAPER)
    draw = ImageDraw.Draw(picture)
    width, height = layout.cell
    draw.text((_MARGIN, _MARGIN - 4), sheet.title, _INK, _font(_TITLE, bold=True))
    for i, line in enumerate(layout.note_lines):
        y = _MARGIN + _TITLE + 14 + i * (_NOTE + 6)
        draw.text((_MARGIN, y), line, _FAINT, _font(_NOTE))
    n_lines = max(label.count("\n") + 1 for label in sheet.columns)
    for x, label in zip(layout.left, sheet.columns, strict=True):
        lines = label.split("\n")
        # Short labels stand on the line of the last one, next to their images.
        y = layout.columns_top + (n_lines - len(lines)) * (_LABEL + 4)
        for i, line in enumerate(lines):
            colour = _INK if i == 0 else _FAINT
            size = _LABEL if i == 0 else _SMALL
            middle = (x + width / 2, y + i * (_LABEL + 4))
            draw.text(middle, line, colour, _font(size), anchor="ma")
    for y, row in zip(layout.top, sheet.rows, strict=True):
        text_height = len(row.label) * (_LABEL + 5)
        for i, line in enumerate(row.label):
            shown = _clip(line, _LABEL, _LABEL_WIDTH, bold=i == 0)
            at = (layout.labels_left, y + max((height - text_height) / 2, 0) + i * (_LABEL + 5))
            colour = _INK if i == 0 else _FAINT
            draw.text(at, shown, colour, _font(_LABEL, bold=i == 0))
        for x, cell in zip(layout.left, row.cells, strict=False):
            if cell is not None:
                _draw_cell(picture, draw, cell, (x, y), layout)
    return picture


def sheet_png(sheet: Sheet) -> bytes:
    """The sheet as the bytes of a PNG file, the same bytes for the same sheet."""
    buffer = io.BytesIO()
    draw_sheet(sheet).save(buffer, format="PNG")
    return buffer.getvalue()


def _draw_cell(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    cell: Cell,
    at: tuple[int, int],
    layout: Layout,
) -> None:
    (x, y), (width, height) = at, layout.cell
    upright = np.broadcast_to(cell.image, (3, *cell.image.shape[1:])).transpose(1, 2, 0)
    small = Image.fromarray(np.ascontiguousarray(upright))
    if cell.framed:
        draw.rectangle((x - _FRAME, y - _FRAME, x + width + 2, y + height + 2), _RED)
    else:  # a hair line, without which a white image has no edge on light paper
        draw.rectangle((x - 1, y - 1, x + width, y + height), _LINE)
    picture.paste(small.resize((width, height), Image.Resampling.NEAREST), (x, y))
    if cell.caption:
        shown = _clip(cell.caption, _SMALL, width + _GAP - 2)
        colour = _RED if cell.framed else _FAINT
        draw.text((x + width / 2, y + height + 5), shown, colour, _font(_SMALL), anchor="ma")


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which comes with matplotlib: Pillow's own font has no é, no λ and no ×."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(get_data_path()) / "fonts" / "ttf" / name
    # Basic layout everywhere: with libraqm the same text may be a pixel wider.
    engine = ImageFont.Layout.BASIC
    if path.is_file():
        return ImageFont.truetype(path, size, layout_engine=engine)
    return ImageFont.load_default(size=size)


def _width(text: str, size: int, *, bold: bool = False) -> int:
    return int(-(-_font(size, bold=bold).getlength(text) // 1))


def _clip(text: str, size: int, room: int, *, bold: bool = False) -> str:
    """The text, its end replaced by an ellipsis where it would take more than `room` pixels."""
    if _width(text, size, bold=bold) <= room:
        return text
    kept = text
    while kept and _width(f"{kept}…", size, bold=bold) > room:
        kept = kept[:-1]
    return f"{kept}…"


def _wrap(text: str, size: int, room: int) -> tuple[str, ...]:
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(lines)
