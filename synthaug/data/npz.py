"""An npz of arrays: ``images, labels``, the same for val and test, ``class_names`` and ``groups``.

MedMNIST's names, ``train_images`` and so on with labels [N, 1], are read as well.
"""

import math
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthaug.data.index import ImageIndex
from synthaug.data.npz_arrays import ArrayHeader, NpzArrays
from synthaug.data.packed import file_hash, reading
from synthaug.data.rows import Rows, index_rows, numeric_class_names
from synthaug.data.source import Arrays
from synthaug.errors import DataError, UsageError

CHANNELS = (1, 3, 4)

_ARRAYS = "images and labels, or train_images and train_labels"
_SHAPES = f"[N, H, W] or [N, H, W, C] with C one of {', '.join(map(str, CHANNELS))}"
_SPLIT_OF_PREFIX = {"": "train", "train_": "train", "val_": "val", "test_": "test"}


def index_npz(file: Path, *, groups: str | None = None) -> ImageIndex:
    """Index the images of an npz, which are held in memory as the arrays they are.

    Images are numbers [N, H, W] or [N, H, W, C] with C of 1, 3 or 4; labels are integers or text
    [N] or [N, 1]. Integers are positions in ``class_names`` [K] if there is such an array, else
    the classes are called after them, see `numeric_class_names`. An image is called after its
    array and its row from 0, such as ``images/00012``.

    Args:
        file: the npz. It is never unpickled.
        groups: the array [N] of groups, with the prefix ``val_`` or ``test_`` for those splits;
            default: "groups", if there is one.

    Raises:
        DataError: when the file is damaged, holds Python objects, lies about its size or expands
            like a bomb, or when its arrays are not as above.
        UsageError: when the array of groups that was asked for does not exist.
        ResourceError: when the arrays do not fit into memory.
    """
    origin = str(file)
    with reading(origin, "an npz"), zipfile.ZipFile(file) as archive:
        arrays = NpzArrays(file, archive)
        prefixes = _prefixes(origin, arrays.names)
        headers = [_image_header(origin, arrays, f"{prefix}images") for prefix in prefixes]
        numbers = {prefix: h.shape[0] for prefix, h in zip(prefixes, headers, strict=True)}
        labels = {prefix: _labels(origin, arrays, prefix, n) for prefix, n in numbers.items()}
        class_names = _class_names(origin, arrays)
        classes = _classes(origin, labels, class_names)
        in_groups = {p: _groups(origin, arrays, p, groups, n) for p, n in numbers.items()}
        # Last, so that nothing large is loaded from a file that is refused.
        images = tuple(arrays.load(header) for header in headers)
        container = file_hash(file)

    rows = Rows()
    declares = prefixes != [""]
    for prefix, array in zip(prefixes, images, strict=True):
        n = len(array)
        rows.paths += [f"{prefix}images/{row:0{len(str(n - 1))}d}" for row in range(n)]
        rows.classes += classes[prefix]
        rows.splits += [_SPLIT_OF_PREFIX[prefix] if declares else ""] * n
        rows.groups += in_groups[prefix] or [""] * n
        rows.sizes += [array.nbytes // max(n, 1)] * n
    used = {f"{p}{a}" for p in prefixes for a in ("images", "labels", groups or "groups")}
    unread = set(arrays.names) - used - {"class_names"}
    empty = set(class_names or ()) - set(rows.classes)
    ungrouped = [prefix for prefix in prefixes if in_groups[prefix] is None]
    return index_rows(
        origin,
        rows,
        Arrays(images, np.arange(len(rows.paths), dtype=np.int64)),
        ignored=Counter({"array of another name": len(unread), "class without images": len(empty)}),
        container=container,
        notices=[f"{prefix}images have no groups" for prefix in ungrouped]
        if len(ungrouped) < len(prefixes)
        else [],
    )


def _prefixes(origin: str, names: tuple[str, ...]) -> list[str]:
    """The prefixes of the arrays of images, of which one is for training."""
    found = [prefix for prefix in _SPLIT_OF_PREFIX if f"{prefix}images" in names]
    train = {"", "train_"} & set(found)
    if len(train) == 2:
        raise DataError(
            f"{origin} has both images and train_images",
            expected=_ARRAYS,
            remedy="leave one of them out",
        )
    missing = [f"{prefix}labels" for prefix in found if f"{prefix}labels" not in names]
    if not train or missing:
        raise DataError(
            f"{origin} has no array {missing[0] if train else 'images'}, only {_listed(names)}",
            expected=_ARRAYS,
        )
    return found


def _image_header(origin: str, arrays: NpzArrays, name: str) -> ArrayHeader:
    header = arrays.header(name)
    shape = header.shape
    if header.dtype.kind not in "buif":
        raise DataError(f"{origin} has {name} of type {header.dtype}", expected="numbers")
    if len(shape) == 3 or (len(shape) == 4 and shape[3] in CHANNELS):
        if 0 in shape[1:]:
            raise DataError(f"{origin} has {name} of shape {list(shape)}, images of no pixels")
        return header
    remedy = ""
    if len(shape) == 4 and shape[1] in CHANNELS:
        remedy = f"if the channels come first, save {name}.transpose(0, 2, 3, 1)"
    elif len(shape) in {4, 5}:
        remedy = "3-D volumes cannot be used: save one slice of each as an image"
    raise DataError(f"{origin} has {name} of shape {list(shape)}", expected=_SHAPES, remedy=remedy)


def _labels(origin: str, arrays: NpzArrays, prefix: str, n: int) -> np.ndarray:
    """Labels of n images: int64 [n], at least 0, or str [n]."""
    name = f"{prefix}labels"
    shape = arrays.header(name).shape
    if len(shape) == 2 and shape[1] > 1:
        raise DataError(
            f"{origin} has {name} of shape {list(shape)}, several labels for each image",
            expected="one class for each image",
            remedy=f"if they are one-hot rows, save {name}.argmax(1)",
        )
    labels = _column(origin, arrays, name, n)
    if labels.dtype.kind == "i" and n and labels.min() < 0:
        row = int(labels.argmin())
        raise DataError(
            f"{origin} has the label {labels[row]} in row {row} of {name}",
            expected="labels from 0",
            remedy="leave out images that have no label",
        )
    return labels


def _class_names(origin: str, arrays: NpzArrays) -> list[str] | None:
    if "class_names" not in arrays.names:
        return None
    n = math.prod(arrays.header("class_names").shape)
    column = _column(origin, arrays, "class_names", n)
    names: list[str] = column.tolist()
    twice = [name for name, count in Counter(names).items() if count > 1]
    if column.dtype.kind != "U" or twice:
        raise DataError(
            f"{origin} has class_names " + (f"with {twice[0]!a} twice" if twice else "of numbers"),
            expected="the name of each class, once",
        )
    return names


def _classes(
    origin: str, labels: Mapping[str, np.ndarray], names: list[str] | None
) -> dict[str, list[str]]:
    """The names of the classes of all images, by prefix."""
    kinds = {column.dtype.kind for column in labels.values()}
    values = {prefix: column.tolist() for prefix, column in labels.items()}
    if len(kinds) > 1:
        raise DataError(
            f"{origin} has labels that are numbers in one split and text in another",
            expected="one of them",
        )
    distinct = {value for column in values.values() for value in column}
    if names is not None:
        unknown = distinct - set(names if kinds == {"U"} else range(len(names)))
        if unknown:
            raise DataError(
                f"{origin} has the label {min(unknown)!a}, which class_names lacks",
                expected=f"one of the {len(names)} class names, or its position from 0",
            )
    if kinds == {"U"}:
        return values
    name_of = numeric_class_names(distinct) if names is None else dict(enumerate(names))
    return {prefix: [name_of[value] for value in column] for prefix, column in values.items()}


def _groups(
    origin: str, arrays: NpzArrays, prefix: str, wanted: str | None, n: int
) -> list[str] | None:
    name = f"{prefix}{wanted or 'groups'}"
    if name in arrays.names:
        return [str(group) for group in _column(origin, arrays, name, n).tolist()]
    if wanted is None:
        return None
    raise UsageError(
        f"{origin} has no array {name!r} for the groups",
        expected=f"one of {_listed(arrays.names)}",
    )


def _column(origin: str, arrays: NpzArrays, name: str, n: int) -> np.ndarray:
    """An array of n integers or texts, as int64 or str [n]."""
    header = arrays.header(name)
    if header.shape not in {(n,), (n, 1)}:
        raise DataError(
            f"{origin} has {name} of shape {list(header.shape)}", expected=f"shape [{n}]"
        )
    if header.dtype.kind not in "buiSU":
        raise DataError(f"{origin} has {name} of type {header.dtype}", expected="integers or text")
    column = arrays.load(header).reshape(n)
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8")
    return column if column.dtype.kind == "U" else column.astype(np.int64)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)[:400] or "no arrays"
