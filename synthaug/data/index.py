"""Which images a folder holds and which class each belongs to, without decoding any of them.

The scan is our own: the usual image-folder readers drop files without a word when a class is called
``test``, when a file name holds such a word, or when the depths differ.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from synthaug.data.layout import LAYOUTS, SPLIT_WORDS, is_split_layout, refuse_twins
from synthaug.data.scan import FoundImage, scan_images, subfolders
from synthaug.errors import DataError

_Row = tuple[FoundImage, str, str]  # image, class, split


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """The images of one folder: N files, K classes.

    Attributes:
        root: the folder that was scanned.
        paths: N POSIX paths relative to ``root``, sorted.
        labels: int64 [N], positions in ``class_names``.
        class_names: K sorted names; in the split layout the union over the splits.
        declared_split: N times "train", "val" or "test", or "" where the folder declares none.
        ignored: how many entries were passed over, by reason.
        sizes: N file sizes in bytes.
    """

    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    declared_split: tuple[str, ...]
    ignored: dict[str, int]
    sizes: tuple[int, ...] = field(default=(), repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over class names, relative paths and file sizes.

        It is cheap and survives moving the folder; a change of content that keeps the size of every
        file goes unnoticed.
        """
        digest = hashlib.sha256()
        for part in (self.class_names, self.paths, map(str, self.sizes)):
            for text in part:
                digest.update(text.encode() + b"\0")
            digest.update(b"\1")
        return digest.hexdigest()


def index_folder(root: Path) -> ImageIndex:
    """Index a folder of class folders, or of ``train/``, ``val/`` and ``test/`` with class folders.

    The split layout is recognised when every subfolder with images has the name of a split and
    ``train/`` holds class folders; otherwise such a name is a class like any other. Images may lie
    deeper inside a class folder; links are followed, each real folder once per class.

    Raises:
        DataError: when the folder is missing or empty, has fewer than two classes, has class names
            that some filesystems cannot tell apart, has a class in ``val/`` or ``test/`` that is
            missing from ``train/``, or can be read as both layouts.
    """
    root = Path(root)
    ignored: Counter[str] = Counter()
    loose, tops = _read_top_level(root, ignored)
    if not tops:
        if loose:
            raise DataError(
                f"{root} holds {len(loose)} images but no class folders",
                expected=LAYOUTS,
                remedy="move the images of each class into a subfolder named after it",
            )
        raise _no_images(root, ignored)
    ignored["image outside any class folder"] += len(loose)

    classes_in = {name: _classes_below(images, name) for name, images in tops.items()}
    if is_split_layout(root, classes_in):
        rows = _split_rows(tops, ignored)
    else:
        rows = [(image, top, "") for top in tops for image in tops[top]]
    class_names = sorted({name for _, name, _ in rows})
    refuse_twins(root, class_names)
    _refuse_classes_without_train(root, rows)
    if len(class_names) < 2:
        raise _single_class(root, class_names[0], classes_in)
    return _index(root, rows, class_names, ignored)


def load_extra_folder(root: Path, class_names: Sequence[str]) -> ImageIndex:
    """Index further images of known classes: class folders only, some classes may be absent.

    Labels are positions in ``class_names``, kept in the order given.

    Raises:
        DataError: when the folder is missing or empty, or holds a class not in ``class_names``.
    """
    root = Path(root)
    ignored: Counter[str] = Counter()
    loose, tops = _read_top_level(root, ignored)
    if not tops:
        raise _no_images(root, ignored)
    ignored["image outside any class folder"] += len(loose)
    unknown = sorted(set(tops) - set(class_names))
    if unknown:
        raise DataError(
            f"{root} has the class folder {unknown[0]!r}, which the dataset does not have",
            expected=f"only folders named {', '.join(class_names)}",
            remedy="rename or remove it",
        )
    rows = [(image, top, "") for top in tops for image in tops[top]]
    return _index(root, rows, class_names, ignored)


def _index(
    root: Path,
    rows: Iterable[_Row],
    class_names: Sequence[str],
    ignored: Counter[str],
) -> ImageIndex:
    """Sort the rows by path and number the classes."""
    ordered = sorted(rows, key=lambda row: row[0].path)
    number = {name: k for k, name in enumerate(class_names)}
    return ImageIndex(
        root=root,
        paths=tuple(image.path for image, _, _ in ordered),
        labels=np.array([number[name] for _, name, _ in ordered], dtype=np.int64),
        class_names=tuple(class_names),
        declared_split=tuple(split for _, _, split in ordered),
        ignored={reason: count for reason, count in sorted(ignored.items()) if count},
        sizes=tuple(image.size for image, _, _ in ordered),
    )


def _read_top_level(
    root: Path, ignored: Counter[str]
) -> tuple[list[FoundImage], dict[str, list[FoundImage]]]:
    """Return the images directly in ``root`` and those of each subfolder that has any."""
    if not os.path.exists(root):
        raise DataError(
            f"the folder {root} does not exist", remedy="check the path of the image folder"
        )
    if not os.path.isdir(root):
        raise DataError(
            f"{root} is not a folder", expected=LAYOUTS, remedy="unpack it if it is an archive"
        )
    loose, folders = subfolders(root, ignored)
    tops = {name: scan_images(root, name, folders, ignored) for name in folders}
    ignored["class folder without images"] += sum(not images for images in tops.values())
    return loose, {name: images for name, images in tops.items() if images}


def _classes_below(images: Iterable[FoundImage], top: str) -> set[str]:
    """Names of the folders directly below ``top`` that hold images."""
    inner = (image.path[len(top) + 1 :] for image in images)
    return {path.split("/", 1)[0] for path in inner if "/" in path}


def _split_rows(tops: Mapping[str, list[FoundImage]], ignored: Counter[str]) -> list[_Row]:
    """Return the rows of the split layout, where the second folder of a path is the class."""
    rows = []
    for top, images in tops.items():
        for image in images:
            inner = image.path[len(top) + 1 :]
            if "/" in inner:
                rows.append((image, inner.split("/", 1)[0], SPLIT_WORDS[top.lower()]))
            else:
                ignored["image outside any class folder"] += 1
    return rows


def _refuse_classes_without_train(root: Path, rows: Sequence[_Row]) -> None:
    in_train = {name for _, name, split in rows if split in {"train", ""}}
    for _, name, split in rows:
        if name not in in_train:
            raise DataError(
                f"class {name!r} has images in the {split} split of {root} but none in train",
                expected="every class in train",
                remedy=f"add train images of {name!r} or remove it from the {split} split",
            )


def _no_images(root: Path, ignored: Mapping[str, int]) -> DataError:
    passed_over = ", ".join(f"{count} x {reason}" for reason, count in ignored.items() if count)
    seen = f" (passed over: {passed_over})" if passed_over else " (it is empty)"
    return DataError(
        f"{root} holds no images{seen}",
        expected=LAYOUTS,
        remedy="check the path and the file extensions",
    )


def _single_class(root: Path, name: str, classes_in: Mapping[str, set[str]]) -> DataError:
    inner = classes_in.get(name, set())
    remedy = f"give {root / name} if the class folders lie in there" if len(inner) > 1 else ""
    return DataError(
        f"{root} has a single class, {name!r}",
        expected="at least 2 classes",
        remedy=remedy or "add a folder for each further class",
    )
