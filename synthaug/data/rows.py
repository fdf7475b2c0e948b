"""From rows of image, class, split and group, in any order, to an index."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from synthaug.data.index import ImageIndex, counted, refuse_classes_without_train
from synthaug.data.layout import refuse_twins
from synthaug.data.scan import is_utf8
from synthaug.data.source import ImageSource
from synthaug.errors import DataError


@dataclass
class Rows:
    """N images in the order of the dataset: one entry each in all of these lists.

    Attributes:
        paths: unique names.
        classes: names of classes.
        splits: "train", "val", "test" or "".
        groups: names of groups, or "".
        sizes: bytes.
    """

    paths: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def add(self, path: str, class_name: str, split: str, group: str, size: int) -> None:
        """One more image."""
        self.paths.append(path)
        self.classes.append(class_name)
        self.splits.append(split)
        self.groups.append(group)
        self.sizes.append(size)


def index_rows(
    origin: str,
    rows: Rows,
    source: ImageSource,
    *,
    ignored: Counter[str],
    container: str,
    notices: Sequence[str] = (),
) -> ImageIndex:
    """Sort the rows by path and number their classes; ``source`` is in the order of the rows.

    Raises:
        DataError: when there are no rows, or for a class name that is unsafe, differs from another
            only in case or Unicode form, or has no train images.
    """
    if not rows.paths:
        seen = ", ".join(f"{n} x {reason}" for reason, n in counted(ignored).items())
        raise DataError(
            f"{origin} holds no labelled images" + (f" (passed over: {seen})" if seen else "")
        )
    class_names = sorted(set(rows.classes))
    for name in class_names:
        if fault := class_name_fault(name):
            raise DataError(
                f"{origin} has the class {name!a}, which {fault}",
                expected="a plain name",
                remedy="rename the class",
            )
    refuse_twins(origin, class_names)
    refuse_classes_without_train(origin, rows.classes, rows.splits)
    number = {name: k for k, name in enumerate(class_names)}
    order = sorted(range(len(rows.paths)), key=rows.paths.__getitem__)
    return ImageIndex(
        origin=origin,
        paths=tuple(rows.paths[i] for i in order),
        labels=np.array([number[rows.classes[i]] for i in order], dtype=np.int64),
        class_names=tuple(class_names),
        declared_split=tuple(rows.splits[i] for i in order),
        ignored=counted(ignored),
        source=source.take(order),
        sizes=tuple(rows.sizes[i] for i in order),
        groups=tuple(rows.groups[i] for i in order),
        container=container,
        notices=tuple(notices),
    )


def numeric_class_names(numbers: Iterable[int]) -> dict[int, str]:
    """Names for classes that the dataset only numbers: "0", "1", ...

    From ten classes on they are padded to equal length, "00" to "10", so that sorting the names
    keeps the order of the numbers.
    """
    distinct = set(numbers)
    width = len(str(max(distinct, default=0)))
    return {number: f"{number:0{width}d}" for number in distinct}


def class_name_fault(name: str) -> str:
    """Why a class cannot have this name, to follow "which", or ""."""
    if not name.strip():
        return "is empty"
    if not is_utf8(name):
        return "is not valid UTF-8"
    return path_fault(name)


def path_fault(path: str) -> str:
    """Why a name from a dataset may lead where it should not, to follow "which", or "".

    Backslashes and drive letters count wherever this runs: what is written may be copied elsewhere.
    """
    if "\0" in path:
        return "has a NUL character"
    if re.match(r"[/\\]|[A-Za-z]:[/\\]", path):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", path):
        return 'leads out of the dataset ("..")'
    return ""
