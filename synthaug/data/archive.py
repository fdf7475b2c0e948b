"""A zip or tar of class folders, read into memory; nothing is ever unpacked to disk."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from synthaug.data.groups import group_by_pattern
from synthaug.data.index import ImageIndex, counted
from synthaug.data.layout import SPLIT_WORDS
from synthaug.data.members import read_tar, read_zip
from synthaug.data.packed import file_hash, reading
from synthaug.data.rows import path_fault
from synthaug.data.scan import (
    FoundImage,
    accept_extension,
    accept_utf8,
    passed_over_name,
    refuse_undecodable_folder,
)
from synthaug.data.source import Blobs
from synthaug.data.tree import label_tree
from synthaug.errors import DataError

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def index_archive(file: Path, *, groups: str | None = None) -> ImageIndex:
    """Index the images of an archive of class folders, or of split folders with class folders.

    The same files count as images as in a folder, and layouts are recognised as there. A single
    folder around everything is left out of the paths.

    Args:
        file: a zip, or a tar that may be packed with gzip, bzip2 or xz.
        groups: a regular expression for the group of an image in its path, see `group_by_pattern`.

    Raises:
        DataError: when the archive is damaged, encrypted or expands like a bomb, when a member is
            a link, a device or would lead out of the archive, or as `label_tree` does.
        UsageError: as `group_by_pattern` does.
        ResourceError: when the images do not fit into memory.
    """
    origin = str(file)
    is_zip = file.name.lower().endswith(ZIP_SUFFIXES)
    sieve = _Sieve(origin)
    with reading(origin, f"a {'zip' if is_zip else 'tar'} archive"):
        contents = (read_zip if is_zip else read_tar)(file, sieve.keep)
        container = file_hash(file)
    loose, tops, wrapped_in = _tree(contents, sieve)
    sieve.ignored["class folder without images"] += sum(not images for images in tops.values())
    tree = label_tree(origin, loose, tops, sieve.ignored)
    index = ImageIndex(
        origin=origin,
        paths=tuple(image.path for image in tree.images),
        labels=tree.labels,
        class_names=tree.class_names,
        declared_split=tree.splits,
        ignored=counted(sieve.ignored),
        source=Blobs(tuple(contents[wrapped_in + image.path] for image in tree.images)),
        sizes=tuple(image.size for image in tree.images),
        container=container,
    )
    return group_by_pattern(index, groups)


@dataclass
class _Sieve:
    """Decides by their names which members are images, and counts the others.

    Attributes:
        origin: the archive.
        ignored: what was passed over.
        folders: the visible folders, at any depth.
    """

    origin: str
    ignored: Counter[str] = field(default_factory=Counter)
    folders: set[str] = field(default_factory=set)
    _skipped: set[str] = field(default_factory=set)
    _kept: set[str] = field(default_factory=set)

    def keep(self, name: str, is_folder: bool) -> str:
        """The path of a member that is an image, or "".

        Raises:
            DataError: for a name that leads out of the archive or occurs twice.
        """
        if fault := path_fault(name):
            raise DataError(
                f"{self.origin} has the member {name[:80]!a}, which {fault}",
                expected="paths inside the archive",
                remedy="do not trust it, or pack it again",
            )
        parts = [part for part in name.split("/") if part not in {"", "."}]
        path, file = "/".join(parts), "" if is_folder else parts.pop() if parts else ""
        for depth, part in enumerate(parts, start=1):
            folder = "/".join(parts[:depth])
            if reason := passed_over_name(part, is_folder=True):
                # As often as in a folder, where nobody looks at what is in there.
                self.ignored[reason] += folder not in self._skipped
                self._skipped.add(folder)
                return ""
            self.folders.add(folder)
        if not file:
            return ""
        if reason := passed_over_name(file, is_folder=False):
            self.ignored[reason] += 1
            return ""
        if not (accept_extension(file, self.ignored) and accept_utf8(path, self.ignored)):
            return ""
        if path in self._kept:
            raise DataError(f"{self.origin} has two files {path}", remedy="pack it again")
        self._kept.add(path)
        return path


def _tree(
    contents: dict[str, bytes], sieve: _Sieve
) -> tuple[list[FoundImage], dict[str, list[FoundImage]], str]:
    """Loose images, those below each top folder, and the folder around it all as "name/" or ""."""
    wrapper = _wrapping_folder(contents)
    inside = [FoundImage(path.removeprefix(wrapper), len(raw)) for path, raw in contents.items()]
    folders = {f.removeprefix(wrapper) for f in sieve.folders if f.startswith(wrapper)}
    tops: dict[str, list[FoundImage]] = {f: [] for f in sorted(folders) if f and "/" not in f}
    for top in tops:
        refuse_undecodable_folder(sieve.origin, top)
    loose: list[FoundImage] = []
    for image in inside:
        top, slash, _ = image.path.partition("/")
        (tops[top] if slash else loose).append(image)
    return loose, tops, wrapper


def _wrapping_folder(contents: dict[str, bytes]) -> str:
    """The one folder around the folders of all images, as "name/", or ""."""
    tops = {path.partition("/")[0] for path in contents}
    if len(tops) != 1 or (top := tops.pop()).lower() in SPLIT_WORDS:
        return ""
    # Images directly in it make it a class; split folders and classes hold all theirs.
    return f"{top}/" if all(path.count("/") > 1 for path in contents) else ""
