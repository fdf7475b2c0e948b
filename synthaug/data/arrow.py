"""Tables of encoded images, as parquet files and the Hub hold them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synthaug.data.columns import Chosen, Wanted, choose_columns
from synthaug.data.index import ImageIndex
from synthaug.data.packed import Allowance, reading
from synthaug.data.rows import Rows, index_rows, numeric_class_names
from synthaug.data.source import Blobs
from synthaug.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 64
"""Rows read at once: enough to be quick, few enough to stop a bomb early."""

_EXTENSION_OF_START = {
    b"\x89PNG": ".png",
    b"\xff\xd8": ".jpg",
    b"RIFF": ".webp",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"P5": ".pgm",
    b"P6": ".ppm",
}


@dataclass(frozen=True)
class Shard:
    """A part of a dataset: a parquet file, or a split of a dataset from the Hub.

    Attributes:
        split: "train", "val", "test" or "".
        n_rows: rows of its table.
        schema: of its table.
        features: what `datasets` says of its columns; empty where it says nothing.
        read: gives batches of `BATCH` rows with the columns named.
        open_path: gives the image at a path that stands in the table instead of the image.
    """

    split: str
    n_rows: int
    schema: "pa.Schema"
    features: Mapping[str, Any]
    read: Callable[[list[str]], Iterable["pa.RecordBatch | pa.Table"]]
    open_path: Callable[[str], bytes]


def index_shards(
    origin: str,
    shards: Sequence[Shard],
    wanted: Wanted,
    *,
    allowance: Allowance,
    ignored: Counter[str],
) -> ImageIndex:
    """Read all images into memory and index them.

    An image is called after its split and its row from 0, such as ``train/00012.png``. Rows
    without an image or a label are passed over and counted, as is the label -1 of a ``ClassLabel``.

    Raises:
        DataError: when images are only paths or labels are negative, and as `choose_columns` and
            `index_rows` do.
        UsageError: when a column that was asked for does not exist.
        ResourceError: when the images do not fit into memory.
    """
    chosen = [choose_columns(origin, s.schema, s.features, wanted) for s in shards]
    totals: Counter[str] = Counter()
    for shard in shards:
        totals[shard.split] += shard.n_rows
    table = _Table(origin, allowance, ignored, {s: len(str(n)) for s, n in totals.items()})
    for shard, columns in zip(shards, chosen, strict=True):
        with reading(origin, "a table of images"):
            table.read(shard, columns)
    table.rows.classes = _class_names(origin, table.labels)
    return index_rows(
        origin,
        table.rows,
        Blobs(tuple(table.contents)),
        ignored=ignored,
        container=_content_hash(table.rows.classes, table.contents),
    )


@dataclass
class _Table:
    """What has been read so far: rows without their classes, labels and encoded images."""

    origin: str
    allowance: Allowance
    ignored: Counter[str]
    digits: Mapping[str, int]
    rows: Rows = field(default_factory=Rows)
    labels: list[int | str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    _next_row: Counter[str] = field(default_factory=Counter)

    def read(self, shard: Shard, columns: Chosen) -> None:
        """Add the rows of one more shard."""
        names = list(dict.fromkeys(name for name in columns.names if name is not None))
        for batch in shard.read(names):
            values = [
                # By position: a name with a dot may bring a second column along.
                batch.column(batch.schema.get_field_index(name)).to_pylist() if name else None
                for name in columns.names
            ]
            images, labels, groups = values
            assert images is not None and labels is not None
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                self._add(shard, columns, image, label, groups[i] if groups else None)

    def _add(self, shard: Shard, columns: Chosen, image: Any, label: Any, group: Any) -> None:
        row = self._next_row[shard.split]
        self._next_row[shard.split] += 1
        content = self._content(shard, image)
        if content is None:
            self.ignored["row without an image"] += 1
            return
        if label is None or (columns.class_names is not None and label == -1):
            self.ignored["row without a label"] += 1
            return
        if columns.class_names is not None:
            if not 0 <= label < len(columns.class_names):
                raise self._fault(f"has the label {label} in row {row}", columns)
            label = columns.class_names[label]
        elif not isinstance(label, str):
            label = int(label)
            if label < 0:
                raise self._fault(f"has the label {label} in row {row}", columns)
        self.allowance.take(len(content))
        name = f"{row:0{self.digits[shard.split]}d}{_extension(content)}"
        self.rows.paths.append(f"{shard.split or 'rows'}/{name}")
        self.rows.splits.append(shard.split)
        self.rows.groups.append("" if group is None else str(group))
        self.rows.sizes.append(len(content))
        self.labels.append(label)
        self.contents.append(content)

    def _content(self, shard: Shard, image: Any) -> bytes | None:
        path = None
        if isinstance(image, dict):
            image, path = image.get("bytes"), image.get("path")
        if image is None and path:
            return shard.open_path(path)
        assert image is None or isinstance(image, bytes)
        return image

    def _fault(self, found: str, columns: Chosen) -> DataError:
        names = columns.class_names
        return DataError(
            f"{self.origin} {found}",
            expected="labels from 0" + (f" to {len(names) - 1}" if names is not None else ""),
        )


def _class_names(origin: str, labels: Sequence[int | str]) -> list[str]:
    numbers = {label for label in labels if isinstance(label, int)}
    if not numbers:
        return [str(label) for label in labels]
    if any(isinstance(label, str) for label in labels):
        raise DataError(
            f"{origin} has labels that are numbers in one part and text in another",
            expected="one of them",
        )
    name_of = numeric_class_names(numbers)
    return [name_of[int(label)] for label in labels]


def _content_hash(classes: Sequence[str], contents: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in zip(classes, contents, strict=True):
        digest.update(repr((name, len(content))).encode())
        digest.update(content)
    return digest.hexdigest()


def _extension(content: bytes) -> str:
    """The extension that the first bytes of an image call for, since rows have no file names."""
    starts = _EXTENSION_OF_START
    return next((end for start, end in starts.items() if content.startswith(start)), "")
