"""A folder of images on disk: class folders, or ``train/``, ``val/`` and ``test/`` of them.

The scan is our own: the usual image-folder readers drop files without a word when a class is called
``test``, when a file name holds such a word, or when the depths differ.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from synthaug.data.groups import group_by_pattern
from synthaug.data.index import ImageIndex, counted
from synthaug.data.layout import LAYOUTS
from synthaug.data.scan import FoundImage, scan_images, subfolders
from synthaug.data.source import Files
from synthaug.data.tree import LabelledTree, label_tree, no_images, number_rows
from synthaug.errors import DataError


def index_folder(
    root: Path, *, follow_links: bool = False, groups: str | None = None
) -> ImageIndex:
    """Index a folder of class folders, or of ``train/``, ``val/`` and ``test/`` with class folders.

    Images may lie deeper inside a class folder; links inside the folder are followed, each real
    folder once per class. See `label_tree` for how the layout is recognised.

    Args:
        root: the folder.
        follow_links: whether to follow links that lead out of the folder, too.
        groups: a regular expression for the group of an image in its path, see `group_by_pattern`.

    Raises:
        DataError: when the folder is missing, or as `label_tree` does.
        UsageError: as `group_by_pattern` does.
    """
    root = Path(root)
    ignored: Counter[str] = Counter()
    loose, tops = _read_top_level(root, ignored, follow_links)
    index = _index(root, label_tree(str(root), loose, tops, ignored), ignored)
    return group_by_pattern(index, groups)


def load_extra_folder(
    root: Path, class_names: Sequence[str], *, follow_links: bool = False
) -> ImageIndex:
    """Index further images of known classes: class folders only, some classes may be absent.

    Labels are positions in ``class_names``, kept in the order given.

    Raises:
        DataError: when the folder is missing or empty, or holds a class not in ``class_names``.
    """
    root = Path(root)
    ignored: Counter[str] = Counter()
    loose, tops = _read_top_level(root, ignored, follow_links)
    tops = {name: images for name, images in tops.items() if images}
    if not tops:
        raise no_images(str(root), ignored)
    ignored["image outside any class folder"] += len(loose)
    unknown = sorted(set(tops) - set(class_names))
    if unknown:
        raise DataError(
            f"{root} has the class folder {unknown[0]!r}, which the dataset does not have",
            expected=f"only folders named {', '.join(class_names)}",
            remedy="rename or remove it",
        )
    rows = [(image, top, "") for top in tops for image in tops[top]]
    return _index(root, number_rows(rows, class_names), ignored)


def _index(root: Path, tree: LabelledTree, ignored: Counter[str]) -> ImageIndex:
    paths = tuple(image.path for image in tree.images)
    return ImageIndex(
        origin=str(root),
        paths=paths,
        labels=tree.labels,
        class_names=tree.class_names,
        declared_split=tree.splits,
        ignored=counted(ignored),
        source=Files(root, paths),
        sizes=tuple(image.size for image in tree.images),
    )


def _read_top_level(
    root: Path, ignored: Counter[str], follow_links: bool
) -> tuple[list[FoundImage], dict[str, list[FoundImage]]]:
    """Return the images directly in ``root`` and those of each subfolder."""
    if not os.path.exists(root):
        raise DataError(
            f"the folder {root} does not exist", remedy="check the path of the image folder"
        )
    if not os.path.isdir(root):
        raise DataError(
            f"{root} is not a folder", expected=LAYOUTS, remedy="unpack it if it is an archive"
        )
    loose, folders = subfolders(root, ignored, follow_links=follow_links)
    tops = {
        name: scan_images(root, name, folders, ignored, follow_links=follow_links)
        for name in folders
    }
    ignored["class folder without images"] += sum(not images for images in tops.values())
    return loose, tops
