"""A sheet of images as a table of a page: its words stay text, its images are carried as PNG data.

Where `sheets.py` draws one picture for a file, this leaves the layout to the page, which is dark or
light, wide or narrow, printed or read aloud.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.report.pictures import png_data_uri
from synthaug.report.sheets import Cell, Row, Sheet

_SIDE = 48
"""Images are shown at least this many pixels wide, by a whole factor."""


@dataclass(frozen=True)
class StripCell:
    """An image as a `data:` address, what it is, its caption, and whether it is marked."""

    uri: str
    alt: str
    caption: str
    marked: bool


@dataclass(frozen=True)
class StripRow:
    """The lines of a label and the cells, None where one is missing."""

    label: tuple[str, ...]
    cells: tuple[StripCell | None, ...]
    apart: bool


@dataclass(frozen=True)
class Strip:
    """A titled table of images of `width` pixels on the page; `reading` says how to look at it."""

    title: str
    reading: str
    columns: tuple[tuple[str, ...], ...]
    rows: tuple[StripRow, ...]
    width: int
    apart: frozenset[int]
    labelled: bool


def strip_of(sheet: Sheet, reading: str) -> Strip:
    """The sheet for a page; images of 48 pixels or less are enlarged by the page itself."""
    columns = tuple(tuple(column.split("\n")) for column in sheet.columns)
    rows = tuple(_row(row, columns) for row in sheet.rows)
    sides = [cell.image.shape[2] for row in sheet.rows for cell in row.cells if cell is not None]
    if not sides:
        raise ValueError("a strip needs at least one image")
    width = sides[0] * max(1, -(-_SIDE // sides[0]))
    labelled = any(row.label for row in sheet.rows)
    return Strip(sheet.title, reading, columns, rows, width, sheet.apart, labelled)


def _row(row: Row, columns: Sequence[tuple[str, ...]]) -> StripRow:
    name = row.label[0] if row.label else ""
    cells = tuple(
        None if cell is None else _cell(cell, ", ".join(filter(None, (name, *column))))
        for cell, column in zip(row.cells, columns, strict=False)
    )
    return StripRow(row.label, cells, row.apart)


def _cell(cell: Cell, what: str) -> StripCell:
    grey = cell.image.shape[0] == 1
    upright = cell.image[0] if grey else cell.image.transpose(1, 2, 0)
    alt = f"{what}: {cell.caption}" if cell.caption else what
    return StripCell(png_data_uri(np.ascontiguousarray(upright)), alt, cell.caption, cell.framed)
