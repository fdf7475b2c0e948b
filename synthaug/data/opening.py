"""Any dataset a user may give, as an index: folder, table, arrays, archive, parquet or the Hub."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from synthaug.data.archive import TAR_SUFFIXES, ZIP_SUFFIXES, index_archive
from synthaug.data.columns import Wanted
from synthaug.data.folder import index_folder
from synthaug.data.hub import FORM, PREFIX, index_hub
from synthaug.data.index import ImageIndex
from synthaug.data.npz import index_npz
from synthaug.data.parquet import SUFFIX, index_parquet, parquet_files
from synthaug.data.table import index_table
from synthaug.errors import DataError, UsageError

TABLE_SUFFIXES = (".csv", ".tsv")
ARCHIVE_SUFFIXES = (*ZIP_SUFFIXES, *TAR_SUFFIXES)
ACCEPTED = (
    f"a folder of images, a file that ends in .csv, .tsv, .npz, {SUFFIX}, "
    f"{', '.join(ARCHIVE_SUFFIXES)}, or {FORM}"
)


@dataclass(frozen=True)
class OpenOptions:
    """What the user may say about a dataset. Options that do not fit its kind are refused.

    Attributes:
        follow_links: read files that links outside the dataset lead to.
        groups: what tells which images belong together: a column of a table, parquet or Hub
            dataset, an array of an npz, or a regular expression for paths in folders and archives.
        images_root: the folder that the paths of a table start from.
        image_column: the column of images, or of their paths (tables, parquet, Hub).
        label_column: the column of labels (tables, parquet, Hub).
    """

    follow_links: bool = False
    groups: str | None = None
    images_root: Path | None = None
    image_column: str | None = None
    label_column: str | None = None


def open_index(dataset: str, options: OpenOptions | None = None) -> ImageIndex:
    """Index a dataset, whatever it is. Only an id that starts with ``hf://`` uses the network.

    Args:
        dataset: a folder of images or of parquet files, a file, or ``hf://owner/name[:config]``.
        options: what the user says about it; default: nothing.

    Raises:
        DataError: when it does not exist, is of no known kind or cannot be used.
        UsageError: when an option does not fit the dataset.
        ResourceError: when the images do not fit into memory, or the Hub cannot be reached.
    """
    options = options or OpenOptions()
    wanted = Wanted(options.image_column, options.label_column, options.groups)
    if dataset.startswith(PREFIX):
        _refuse(options, "a Hub dataset", "images_root")
        return index_hub(dataset, wanted)
    path = Path(dataset)
    name = path.name.lower()
    _refuse_missing(dataset)
    if path.is_dir():
        if files := parquet_files(path, follow_links=options.follow_links):
            _refuse(options, "a folder of parquet files", "images_root")
            return index_parquet(dataset, files, wanted)
        _refuse(options, "a folder of images", "images_root", "image_column", "label_column")
        return index_folder(path, follow_links=options.follow_links, groups=options.groups)
    if not path.is_file():
        raise DataError(f"{dataset} is neither a folder nor a file", expected=ACCEPTED)
    if name.endswith(TABLE_SUFFIXES):
        return index_table(
            path,
            images_root=options.images_root,
            follow_links=options.follow_links,
            image_column=options.image_column,
            label_column=options.label_column,
            groups=options.groups,
        )
    if name.endswith(SUFFIX):
        _refuse(options, "a parquet file", "images_root")
        return index_parquet(dataset, [path], wanted)
    if name.endswith(".npz"):
        _refuse(options, "an npz", "images_root", "image_column", "label_column")
        return index_npz(path, groups=options.groups)
    if name.endswith(ARCHIVE_SUFFIXES):
        _refuse(options, "an archive", "images_root", "image_column", "label_column")
        return index_archive(path, groups=options.groups)
    raise DataError(
        f"{dataset} is a file of unknown kind ({path.suffix or 'it has no extension'})",
        expected=ACCEPTED,
    )


def _refuse(options: OpenOptions, kind: str, *names: str) -> None:
    """Refuse options that would be passed over without a word."""
    for name in names:
        if getattr(options, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} was given for {kind}, which has no use for it",
                remedy="leave it out",
            )


def _refuse_missing(dataset: str) -> None:
    if dataset and os.path.exists(dataset):
        return
    remedy = "check the path"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", dataset, re.ASCII):
        remedy += f", or write {PREFIX}{dataset} if it is a dataset on the Hugging Face Hub"
    raise DataError(f"the dataset {dataset!r} does not exist", expected=ACCEPTED, remedy=remedy)
