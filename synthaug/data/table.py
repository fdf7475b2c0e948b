"""A CSV or TSV that lists image files and their classes: ``path,label[,split][,group]``."""

import csv
import io
import os
import posixpath
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from synthaug.data.index import ImageIndex
from synthaug.data.layout import SPLIT_WORDS
from synthaug.data.packed import file_hash, reading
from synthaug.data.rows import Rows, class_name_fault, index_rows, path_fault
from synthaug.data.scan import leads_out
from synthaug.data.source import Files
from synthaug.errors import DataError, UsageError

PATH_COLUMNS = ("path", "filename", "file", "image")
LABEL_COLUMNS = ("label", "class", "target", "category")
FAULTS_NAMED = 3

_DELIMITERS = ",;\t"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_Cells = tuple[int, list[str]]


@dataclass(frozen=True)
class _Columns:
    """Positions of the columns in a row of ``width`` cells; None where there is none."""

    width: int
    path: int
    label: int
    split: int | None
    group: int | None

    def cell(self, cells: Sequence[str], column: int | None) -> str:
        return cells[column].strip() if column is not None and column < len(cells) else ""


@dataclass
class _Faults:
    """The first few faults, and how many rows have one."""

    named: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, row: int, text: str) -> None:
        self.count += 1
        if self.count <= FAULTS_NAMED:
            self.named.append(f"row {row}: {text[:200]}")


def index_table(
    file: Path,
    *,
    images_root: Path | None = None,
    follow_links: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
    groups: str | None = None,
) -> ImageIndex:
    """Index the images that a CSV lists. Rows are numbered as a spreadsheet shows them.

    Commas, semicolons or tabs may separate the columns; UTF-8, with or without byte order mark.
    Names of columns are compared without regard to case. Images are checked to be there, not
    decoded; any extension is accepted, since they were named one by one.

    Args:
        file: the CSV.
        images_root: the folder that the paths start from; default: the folder of the CSV.
        follow_links: whether images may be links that lead out of that folder.
        image_column: the column of paths; default: the first there is of `PATH_COLUMNS`.
        label_column: the column of classes; default: the first there is of `LABEL_COLUMNS`.
        groups: the column of groups; default: "group", if there is one.

    Raises:
        DataError: when the file is no such CSV, or for rows that cannot be used: how many, and the
            first few.
        UsageError: when a column that was asked for or ``images_root`` does not exist.
    """
    root = file.parent if images_root is None else images_root
    if not root.is_dir():
        raise UsageError(f"the images root {root} is not a folder")
    with reading(str(file), "a CSV"):
        content, container = file.read_bytes(), file_hash(file)
    lines = _parse(file, _decode(file, content))
    columns = _columns(file, lines[0], image_column, label_column, groups)
    rows = _check_rows(file, lines[1:], columns, _Finder(root, follow_links))
    return index_rows(
        str(file),
        rows,
        Files(root, tuple(rows.paths)),
        ignored=Counter(),
        container=container,
    )


def _decode(file: Path, content: bytes) -> str:
    try:
        if content.startswith(_WIDE_BOMS):
            raise ValueError("it looks like UTF-16 or UTF-32")
        return content.decode("utf-8-sig")
    except ValueError as exc:
        detail = str(exc)
        if isinstance(exc, UnicodeDecodeError):
            line = content.count(b"\n", 0, exc.start) + 1
            detail = f"line {line} has the byte 0x{content[exc.start]:02x}"
        raise DataError(
            f"{file} is not text in UTF-8: {detail}", remedy='save it as "CSV UTF-8"'
        ) from exc


def _parse(file: Path, text: str) -> list[_Cells]:
    """The row number and the cells of every row that has any text, the header first."""
    header = text.lstrip("\r\n").partition("\n")[0]
    try:
        delimiter = csv.Sniffer().sniff(header, _DELIMITERS).delimiter
    except csv.Error:
        delimiter = "\t" if "\t" in header else ","
    try:
        parsed = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        # Spreadsheets export the rows below the last one as separators alone.
        numbered = enumerate(parsed, start=1)
        lines = [(row, cells) for row, cells in numbered if any(map(str.strip, cells))]
    except csv.Error as exc:
        raise DataError(
            f"{file} cannot be read as a CSV: {exc}", remedy="check its quotation marks"
        ) from exc
    if not lines:
        raise DataError(f"{file} is empty", expected="a header path,label and a row for each image")
    return lines


def _columns(
    file: Path,
    header: _Cells,
    image_column: str | None,
    label_column: str | None,
    group_column: str | None,
) -> _Columns:
    row, cells = header
    names = [name.strip() for name in cells]
    folded = [name.casefold() for name in names]
    listed = ", ".join(repr(name) for name in names[:20])[:400]

    def find(wanted: str | None, usual: Sequence[str], what: str) -> int | None:
        candidates = usual if wanted is None else (wanted.strip().casefold(),)
        name = next((name for name in candidates if name in folded), None)
        if name is not None and folded.count(name) == 1:
            return folded.index(name)
        if name is not None:
            raise DataError(
                f"{file} has {folded.count(name)} columns {name!r}", remedy="rename all but one"
            )
        if wanted is not None:
            raise UsageError(
                f"{file} has no column {wanted!r} for the {what}", expected=f"one of {listed}"
            )
        return None

    path = find(image_column, PATH_COLUMNS, "images")
    label = find(label_column, LABEL_COLUMNS, "labels")
    if path is None or label is None:
        missing, usual, option = (
            ("the paths", PATH_COLUMNS, "--image-column")
            if path is None
            else ("the labels", LABEL_COLUMNS, "--label-column")
        )
        raise DataError(
            f"row {row} of {file} names no column for {missing}, only {listed}",
            expected=f"{', '.join(usual[:-1])} or {usual[-1]}",
            remedy=f"rename the column or name it with {option}",
        )
    return _Columns(
        width=len(names),
        path=path,
        label=label,
        split=find(None, ("split",), "split"),
        group=find(group_column, ("group",), "groups"),
    )


def _check_rows(file: Path, lines: Sequence[_Cells], columns: _Columns, finder: "_Finder") -> Rows:
    """Check every row before any fault is raised, so that one message tells of all of them."""
    rows, faults = Rows(), _Faults()
    first_row: dict[str, int] = {}
    declares = any(columns.cell(cells, columns.split) for _, cells in lines)
    for row, cells in lines:
        path = posixpath.normpath(columns.cell(cells, columns.path).replace("\\", "/"))
        fault = _cells_fault(cells, columns, declares)
        size = 0
        if not fault and path in first_row:
            fault = f"repeats the path {path} of row {first_row[path]}"
        elif not fault:
            size, fault = finder.look_up(path)
        first_row.setdefault(path, row)
        if fault:
            faults.add(row, fault)
            continue
        split = SPLIT_WORDS[columns.cell(cells, columns.split).lower()] if declares else ""
        class_name, group = (columns.cell(cells, c) for c in (columns.label, columns.group))
        rows.add(path, class_name, split, group, size)
    if faults.count:
        rest = faults.count - len(faults.named)
        raise DataError(
            f"{file} has {faults.count} of {len(lines)} rows that cannot be used: "
            + "; ".join([*faults.named, *([f"and {rest} more"] if rest else [])]),
            expected=f"paths below {finder.root}, each once, with a label"
            + (f" and a split, one of {', '.join(SPLIT_WORDS)}" if declares else ""),
        )
    return rows


def _cells_fault(cells: Sequence[str], columns: _Columns, declares: bool) -> str:
    """What is wrong with a row, its path aside, or ""."""
    class_name = columns.cell(cells, columns.label)
    split = columns.cell(cells, columns.split)
    if any(cells[columns.width :]):
        return f"has {len(cells)} cells where the header has {columns.width}"
    if not class_name:
        return "the label is empty"
    if fault := class_name_fault(class_name):
        return f"has the class {class_name[:80]!a}, which {fault}"
    if declares and not split:
        return "the split is empty"
    if declares and split.lower() not in SPLIT_WORDS:
        return f"has the unknown split {split[:80]!r}"
    return ""


class _Finder:
    """Finds files below one folder."""

    def __init__(self, root: Path, follow_links: bool) -> None:
        self.root = root
        self._follow_links = follow_links
        self._leads_out = cache(partial(leads_out, fence=os.path.realpath(root)))

    def look_up(self, path: str) -> tuple[int, str]:
        """Size in bytes of the file at a relative path, and what is wrong with it or ""."""
        if path in {"", "."}:
            return 0, "the path is empty"
        if fault := path_fault(path):
            return 0, f"has the path {path!a}, which {fault}"
        full = os.path.join(self.root, path)
        try:
            status = os.lstat(full)
            is_link = stat.S_ISLNK(status.st_mode)
            status = os.stat(full) if is_link else status
        except OSError as exc:
            reason = "no such file" if isinstance(exc, FileNotFoundError) else exc.strerror
            return 0, f"{reason}: {path}"
        if not stat.S_ISREG(status.st_mode):
            return 0, f"not a file: {path}"
        # Real files are where their folder is, and a folder needs to be resolved only once.
        outside = self._leads_out(full if is_link else os.path.dirname(full))
        if outside and not self._follow_links:
            return 0, f"a link that leads out of the folder, give --follow-links: {path}"
        return status.st_size, ""
