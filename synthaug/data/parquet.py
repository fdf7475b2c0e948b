"""Parquet files of encoded images: one, or a folder of them with a split in each name."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthaug.data.arrow import BATCH, Shard, index_shards
from synthaug.data.columns import Wanted
from synthaug.data.index import ImageIndex
from synthaug.data.layout import SPLIT_WORDS
from synthaug.data.packed import Allowance, reading
from synthaug.data.scan import EXTENSIONS, leads_out, passed_over_name
from synthaug.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"
_DATA_FOLDER = "data"


def parquet_files(folder: Path, *, follow_links: bool = False) -> list[Path]:
    """The parquet files of a folder and of ``data/`` in it, if they are all that it holds.

    Further files, such as a README, do not matter; images and other folders do: then the list is
    empty, since the folder is one of images.

    Raises:
        DataError: when the folder cannot be listed, or when a file is a link out of it that is not
            to be followed.
    """
    fence = os.path.realpath(folder)
    found = []
    for inner in (folder, folder / _DATA_FOLDER):
        try:
            entries = sorted(os.scandir(inner), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            raise DataError(
                f"the folder {inner} cannot be listed: {exc.strerror}",
                remedy="check its permissions",
            ) from exc
        for entry in entries:
            extension = os.path.splitext(entry.name)[1].lower()
            if entry.is_dir():
                is_data = inner == folder and entry.name == _DATA_FOLDER
                if not is_data and not passed_over_name(entry.name, is_folder=True):
                    return []
            elif extension in EXTENSIONS:
                return []
            elif extension == SUFFIX and not passed_over_name(entry.name, is_folder=False):
                found.append(Path(entry.path))
    for file in found:
        if not follow_links and leads_out(str(file), fence):
            raise DataError(
                f"{file} is a link that leads out of the folder",
                remedy="give --follow-links to read what the links lead to",
            )
    return found


def index_parquet(origin: str, files: list[Path], wanted: Wanted) -> ImageIndex:
    """Index parquet files, as `index_shards` does.

    Several files start with the word of their split, as in ``train-00000-of-00002.parquet``, or
    none of them does.

    Raises:
        DataError: when a file is damaged or only some files name a split, and as `index_shards`
            does.
        UsageError: when a column that was asked for does not exist.
        ResourceError: when the images do not fit into memory.
    """
    splits = [_split_of(file) if len(files) > 1 else "" for file in files]
    if "" in splits and any(splits):
        raise DataError(
            f"{origin} has {files[splits.index('')].name} beside files that name a split",
            expected=f"files that all start with one of {', '.join(SPLIT_WORDS)}, or none",
        )
    with reading(origin, "parquet"):
        shards = [_shard(file, split) for file, split in zip(files, splits, strict=True)]
        allowance = Allowance(origin, sum(file.stat().st_size for file in files))
    return index_shards(origin, shards, wanted, allowance=allowance, ignored=Counter())


def _split_of(file: Path) -> str:
    word = re.match(r"[a-z]*", file.name.lower())
    return SPLIT_WORDS.get(word[0], "") if word else ""


def _shard(file: Path, split: str) -> Shard:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        schema, n_rows = opened.schema_arrow, opened.metadata.num_rows

    def read(columns: list[str]) -> Iterable["pa.RecordBatch"]:
        with pq.ParquetFile(file) as opened:
            yield from opened.iter_batches(batch_size=BATCH, columns=columns)

    def open_path(path: str) -> bytes:
        raise DataError(
            f"{file} holds the path {path[:80]!r} instead of an image",
            expected="encoded images in the file itself",
            remedy="give the folder of the images, or a CSV of their paths",
        )

    return Shard(split, n_rows, schema, _features(schema), read, open_path)


def _features(schema: "pa.Schema") -> dict[str, Any]:
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    from datasets import Features

    return dict(Features.from_arrow_schema(schema))
