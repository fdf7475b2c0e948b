"""Datasets of the Hugging Face Hub, the only thing here that uses the network."""

import errno
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthaug.data.arrow import BATCH, Shard, index_shards
from synthaug.data.columns import Wanted
from synthaug.data.index import ImageIndex
from synthaug.data.layout import SPLIT_WORDS
from synthaug.data.packed import Allowance
from synthaug.errors import DataError, ResourceError, SynthaugError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "hf://"
FORM = "hf://owner/name or hf://owner/name:configuration"

_ID = re.compile(r"hf://([\w.-]+/[\w.-]+)(?::(.+))?", re.ASCII)
_NOISY = ("datasets", "huggingface_hub", "fsspec", "filelock", "httpx")


def index_hub(dataset: str, wanted: Wanted) -> ImageIndex:
    """Index a dataset of the Hub, as `index_shards` does; it is kept in the user's Hub cache.

    Args:
        dataset: ``hf://owner/name``, with ``:configuration`` where there are several.
        wanted: columns to read.

    Raises:
        UsageError: for an id of another form, or a column that does not exist.
        DataError: when the dataset does not exist, is not accessible or has several
            configurations, and as `index_shards` does.
        ResourceError: when the Hub cannot be reached and the dataset is not in the cache, or when
            the images do not fit into memory.
    """
    matched = _ID.fullmatch(dataset)
    if not matched:
        raise UsageError(f"{dataset!r} is not the id of a dataset on the Hub", expected=FORM)
    name, configuration = matched.groups()
    if os.path.exists(name):
        # `load_dataset` would take it for the dataset and never ask the Hub.
        raise UsageError(
            f"there is a folder {name} here that has the name of the dataset {dataset}",
            remedy=f"give ./{name} to read it, or start in another folder to read the Hub",
        )
    splits = _load(dataset, name, configuration)
    ignored: Counter[str] = Counter()
    shards = []
    for split_name, split in sorted(splits.items()):
        declared = SPLIT_WORDS.get(split_name.lower(), "")
        if declared or len(splits) == 1:
            shards.append(_shard(dataset, declared, split))
        else:
            ignored[f"image of the split {split_name!r}"] += len(split)
    if not shards:
        raise DataError(
            f"{dataset} has only the splits {', '.join(sorted(splits))}",
            expected=f"splits called {', '.join(SPLIT_WORDS)}",
        )
    # Its size in the cache says nothing about how much an attacker packed into it.
    return index_shards(
        dataset, shards, wanted, allowance=Allowance(dataset, None), ignored=ignored
    )


def _load(dataset: str, name: str, configuration: str | None) -> dict[str, Any]:
    import datasets

    try:
        with quietly():
            return dict(datasets.load_dataset(name, configuration))
    except Exception as exc:  # whatever the library, the network and the cache lead to
        raise _hub_fault(dataset, name, exc) from exc


def _hub_fault(dataset: str, name: str, exc: Exception) -> SynthaugError:
    """What a failure of `load_dataset` means, in one line."""
    from datasets.exceptions import DatasetNotFoundError

    # The library wraps what goes wrong while it prepares a dataset.
    causes = [exc]
    while isinstance(cause := causes[-1].__cause__, Exception):
        causes.append(cause)
    message = str(exc)
    page = f"https://huggingface.co/datasets/{name}"
    if isinstance(exc, DatasetNotFoundError) and "gated" in message:
        return DataError(
            f"{dataset} is gated", remedy=f"ask for access at {page}, then run `hf auth login`"
        )
    if isinstance(exc, DatasetNotFoundError):
        return DataError(
            f"{dataset} does not exist on the Hub, or is private",
            remedy="check the name, or run `hf auth login`",
        )
    configurations = re.search(r"[Aa]vailable[^[]*(\[.*?\])", message)
    if isinstance(exc, ValueError) and configurations:
        return DataError(
            f"{dataset} names no configuration that the dataset has",
            expected=f"hf://{name}:configuration with one of {configurations[1]}",
        )
    if any(isinstance(cause, MemoryError) for cause in causes):
        return ResourceError(f"{dataset} does not fit into memory")
    if any(getattr(cause, "errno", None) in {errno.ENOSPC, errno.EDQUOT} for cause in causes):
        return ResourceError(
            f"the disk of the Hub cache is full, {dataset} does not fit",
            remedy="make room, or set HF_HOME to a folder on a larger disk",
        )
    if any(_is_network_fault(cause) for cause in causes):
        return ResourceError(
            f"{dataset} is not in the cache and the Hub cannot be reached",
            remedy="check the network and HF_HUB_OFFLINE, or give a local copy",
        )
    detail = " ".join(str(causes[-1]).split())[:200] or type(causes[-1]).__name__
    return DataError(f"{dataset} cannot be loaded: {detail}", remedy=f"see {page}")


def _is_network_fault(exc: Exception) -> bool:
    module = type(exc).__module__.partition(".")[0]
    return isinstance(exc, ConnectionError | TimeoutError) or module in {"httpx", "requests"}


def _shard(dataset: str, declared: str, split: Any) -> Shard:
    def read(columns: list[str]) -> Iterable["pa.Table"]:
        batches: Iterable[pa.Table] = (
            split.select_columns(columns).with_format("arrow").iter(batch_size=BATCH)
        )
        return batches

    def open_path(path: str) -> bytes:
        # Some datasets are folders of files, which the library keeps beside its tables.
        real = Path(os.path.realpath(path))
        if not any(real.is_relative_to(cache) for cache in _caches()):
            raise DataError(
                f"{dataset} holds the path {path[:80]!r} instead of an image",
                expected="images that come with the dataset",
            )
        return real.read_bytes()

    return Shard(declared, len(split), split.features.arrow_schema, split.features, read, open_path)


def _caches() -> list[str]:
    import datasets
    from huggingface_hub import constants

    caches = (datasets.config.HF_DATASETS_CACHE, constants.HF_HUB_CACHE)
    return [os.path.realpath(cache) for cache in caches]


@contextmanager
def quietly() -> Iterator[None]:
    """No progress bars, warnings and log lines of the libraries, whose faults are told in one line.

    What the user had set is put back.
    """
    import datasets
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    had_bars = (not datasets.are_progress_bars_disabled(), not are_progress_bars_disabled())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            datasets.disable_progress_bars()
            disable_progress_bars()
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if had_bars[0]:
                datasets.enable_progress_bars()
            if had_bars[1]:
                enable_progress_bars()
