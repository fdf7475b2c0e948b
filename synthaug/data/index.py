"""Which images a dataset holds and which class each belongs to, without decoding any of them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from synthaug.data.source import ImageSource
from synthaug.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """The images of one dataset: N images, K classes.

    Attributes:
        origin: the folder, file or Hub id, as the user gave it.
        paths: N unique names, sorted: POSIX paths relative to the folder, or what stands for them.
        labels: int64 [N], positions in ``class_names``.
        class_names: K sorted names; over all splits together.
        declared_split: N times "train", "val" or "test", or "" where the dataset declares none.
        ignored: how many entries were passed over, by reason.
        source: gives the image at a position.
        sizes: N sizes in bytes.
        groups: N names of what must stay on one side of a split, such as a patient; "" for none.
        container: SHA-256 (hex) of what holds the images or their labels beside their names: an
            archive, a table; "" for class folders, where names and sizes say it all.
        notices: what else the user should know, in words.
    """

    origin: str
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    declared_split: tuple[str, ...]
    ignored: dict[str, int]
    source: ImageSource = field(repr=False)
    sizes: tuple[int, ...] = field(default=(), repr=False)
    groups: tuple[str, ...] = field(default=(), repr=False)
    container: str = ""
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", ("",) * len(self.paths))
        per_image = (self.paths, self.labels, self.declared_split, self.groups)
        assert len({len(column) for column in per_image}) == 1

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over class names, relative paths and file sizes.

        It is cheap and survives moving the dataset; in a folder, a change of content that keeps the
        size of every file goes unnoticed.
        """
        digest = hashlib.sha256()
        for part in (self.class_names, self.paths, map(str, self.sizes)):
            for text in part:
                digest.update(text.encode() + b"\0")
            digest.update(b"\1")
        digest.update(self.container.encode())
        return digest.hexdigest()

    def without_classes(self, excluded: Iterable[str]) -> "ImageIndex":
        """The index without some classes.

        Raises:
            UsageError: for a class that there is not.
            DataError: when no class is left.
        """
        names = set(excluded)
        for name in sorted(names - set(self.class_names)):
            raise UsageError(
                f"the excluded class {name!r} is not in {self.origin}",
                expected=f"one of {', '.join(self.class_names)}",
            )
        left = tuple(name for name in self.class_names if name not in names)
        if not left:
            raise DataError(f"every class of {self.origin} is excluded")
        number = {name: k for k, name in enumerate(left)}
        kept = [i for i, k in enumerate(self.labels) if self.class_names[k] in number]
        return replace(
            self,
            paths=tuple(self.paths[i] for i in kept),
            labels=np.array([number[self.class_names[self.labels[i]]] for i in kept], np.int64),
            class_names=left,
            declared_split=tuple(self.declared_split[i] for i in kept),
            source=self.source.take(kept),
            sizes=tuple(self.sizes[i] for i in kept) if self.sizes else (),
            groups=tuple(self.groups[i] for i in kept),
        )


def counted(ignored: Counter[str]) -> dict[str, int]:
    """What was passed over, by reason, without the reasons that never occurred."""
    return {reason: count for reason, count in sorted(ignored.items()) if count}


def refuse_classes_without_train(
    origin: str, classes: Sequence[str], splits: Sequence[str]
) -> None:
    """Refuse a class, named image by image, that only occurs in validation or test images.

    Raises:
        DataError: naming the class.
    """
    in_train = {name for name, split in zip(classes, splits, strict=True) if split in {"train", ""}}
    for name, split in zip(classes, splits, strict=True):
        if name not in in_train:
            raise DataError(
                f"class {name!r} has images in the {split} split of {origin} but none in train",
                expected="every class in train",
                remedy=f"add train images of {name!r} or remove it from the {split} split",
            )
