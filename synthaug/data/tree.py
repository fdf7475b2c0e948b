"""From a tree of image files, on disk or in an archive, to rows of image, class and split."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.data.index import refuse_classes_without_train
from synthaug.data.layout import LAYOUTS, SPLIT_WORDS, is_split_layout, refuse_twins
from synthaug.data.scan import LINK_OUT, FoundImage
from synthaug.errors import DataError


@dataclass(frozen=True, eq=False)
class LabelledTree:
    """The N images of a tree sorted by path, their classes and declared splits ("" for none)."""

    images: tuple[FoundImage, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: tuple[str, ...]


def label_tree(
    origin: str,
    loose: Sequence[FoundImage],
    tops: Mapping[str, Sequence[FoundImage]],
    ignored: Counter[str],
) -> LabelledTree:
    """Recognise the layout of a tree and label its images.

    It is a tree of class folders, or of ``train/``, ``val/`` and ``test/`` with class folders. The
    latter is recognised when every top folder with images has the name of a split and ``train/``
    holds class folders; otherwise such a name is a class like any other.

    Args:
        origin: where the tree is, for messages.
        loose: image files outside any folder.
        tops: the image files below each top folder, at any depth.
        ignored: what was passed over; added to.

    Raises:
        DataError: when there is no image, when class names differ only in case or Unicode form,
            when a class has no train images, or when the tree can be read as both layouts.
    """
    tops = {name: images for name, images in tops.items() if images}
    if not tops:
        if loose:
            raise DataError(
                f"{origin} holds {len(loose)} images but no class folders",
                expected=LAYOUTS,
                remedy=_links_remedy(ignored)
                or "move the images of each class into a subfolder named after it",
            )
        raise no_images(origin, ignored)
    ignored["image outside any class folder"] += len(loose)
    classes_in = {name: classes_below(images, name) for name, images in tops.items()}
    if is_split_layout(origin, classes_in):
        rows = _split_rows(tops, ignored)
    else:
        rows = [(image, top, "") for top in tops for image in tops[top]]
    class_names = sorted({name for _, name, _ in rows})
    if len(class_names) == 1:
        _refuse_wrapping_folder(origin, class_names[0], classes_in)
    refuse_twins(origin, class_names)
    refuse_classes_without_train(origin, [row[1] for row in rows], [row[2] for row in rows])
    return number_rows(rows, class_names)


def number_rows(
    rows: Iterable[tuple[FoundImage, str, str]], class_names: Sequence[str]
) -> LabelledTree:
    """Sort rows of (image, class, split) by path and number their classes."""
    ordered = sorted(rows, key=lambda row: row[0].path)
    number = {name: k for k, name in enumerate(class_names)}
    return LabelledTree(
        images=tuple(image for image, _, _ in ordered),
        labels=np.array([number[name] for _, name, _ in ordered], dtype=np.int64),
        class_names=tuple(class_names),
        splits=tuple(split for _, _, split in ordered),
    )


def classes_below(images: Iterable[FoundImage], top: str) -> set[str]:
    """Names of the folders directly below ``top`` that hold images."""
    inner = (image.path[len(top) + 1 :] for image in images)
    return {path.split("/", 1)[0] for path in inner if "/" in path}


def no_images(origin: str, ignored: Mapping[str, int]) -> DataError:
    """The fault of a tree without images, which tells what was seen instead."""
    passed_over = ", ".join(f"{count} x {reason}" for reason, count in ignored.items() if count)
    seen = f" (passed over: {passed_over})" if passed_over else " (it is empty)"
    return DataError(
        f"{origin} holds no images{seen}",
        expected=LAYOUTS,
        remedy=_links_remedy(ignored) or "check the path and the file extensions",
    )


def _links_remedy(ignored: Mapping[str, int]) -> str:
    return "give --follow-links to read what the links lead to" if ignored.get(LINK_OUT) else ""


def _refuse_wrapping_folder(origin: str, name: str, classes_in: Mapping[str, set[str]]) -> None:
    inner = sorted(classes_in.get(name, set()))
    if len(inner) > 1:
        given = f"{origin.rstrip('/')}/{name}" if os.path.isdir(origin) else f"{name} itself"
        raise DataError(
            f"{origin} has a single folder, {name!r}, with {len(inner)} folders in it",
            expected=LAYOUTS,
            remedy=f"give {given} if the class folders lie in there",
        )


def _split_rows(
    tops: Mapping[str, Sequence[FoundImage]], ignored: Counter[str]
) -> list[tuple[FoundImage, str, str]]:
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
