"""From what the user named as a dataset to decoded images, before anything is split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthaug.data.decode import (
    DecodedImages,
    HeaderFacts,
    choose_channels,
    choose_size,
    decode_images,
    read_headers,
)
from synthaug.data.duplicates import components, links, near_duplicates
from synthaug.data.feedback import find_manifests, synthetic_images
from synthaug.data.index import ImageIndex
from synthaug.data.opening import OpenOptions, open_index
from synthaug.data.pixels import ReadOptions
from synthaug.errors import DataError
from synthaug.recipe import DataSection
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import dataset_name
from synthaug.stages.signals import stop_flag
from synthaug.words import number_of

BAD_IMAGES_NAMED = 5
COMPARED_SIZE = 32
"""Near duplicates are told apart from look-alikes in more detail than a small network needs."""


@dataclass(frozen=True)
class Reading:
    """The M readable images of a dataset and what is known of them before a split.

    Attributes:
        index: all images, readable or not.
        headers: size and mode of each of them.
        decoded: the readable ones.
        near: int64 [P, 2], pairs of near duplicates, positions among the readable images.
        together: int64 [M], equal for images that belong on one side of every split.
    """

    index: ImageIndex
    headers: HeaderFacts
    decoded: DecodedImages
    near: np.ndarray
    together: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """int64 [M]."""
        return self.index.labels[self.decoded.kept]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.index.paths[i] for i in self.decoded.kept)

    @property
    def declared(self) -> tuple[str, ...]:
        """M times "train", "val", "test" or ""."""
        return tuple(self.index.declared_split[i] for i in self.decoded.kept)

    @property
    def groups(self) -> tuple[str, ...]:
        """M names of groups, "" for none."""
        return tuple(self.index.groups[i] for i in self.decoded.kept)

    @property
    def image_size(self) -> int:
        return int(self.decoded.pixels.shape[-1])

    @property
    def channels(self) -> int:
        return int(self.decoded.pixels.shape[1])

    @property
    def name(self) -> str:
        """The dataset's name, short enough for a folder of its own."""
        return dataset_name(self.index.origin)


def read_images(dataset: str, section: DataSection, *, largest: int, progress: Progress) -> Reading:
    """Scan and decode a dataset; nothing in it is changed.

    `largest` bounds the image size that is chosen when the recipe names none. Size and colour are
    chosen without looking at declared test images. Raises `DataError` when the dataset cannot be
    read, or holds a bad image and the recipe says that is an error.
    """
    if dataset.startswith("hf://"):
        progress.say("asking the Hugging Face Hub, which may take a while")
    index = index_dataset(dataset, section)
    headers = read_headers(index)
    learnable = np.array([split != "test" for split in index.declared_split])
    size = section.image_size or choose_size(headers.part(learnable), largest=largest)
    channels = section.channels or choose_channels(headers.part(learnable))
    thumbnail = None
    if section.near_duplicates != "ignore" and size < COMPARED_SIZE <= headers.short_side + 4:
        thumbnail = COMPARED_SIZE
    decoded = decode(index, section, size, channels, "reading images", progress, thumbnail)
    return Reading(index, headers, decoded, *_relations(index, decoded, section))


def index_dataset(dataset: str, section: DataSection) -> ImageIndex:
    """Which images the dataset holds, without the classes that the recipe excludes."""
    root = section.images_root
    options = OpenOptions(
        follow_links=section.follow_links,
        groups=section.groups,
        images_root=Path(root) if root else None,
        image_column=section.image_column,
        label_column=section.label_column,
    )
    index = open_index(dataset, options)
    return index.without_classes(section.exclude) if section.exclude else index


def decode(
    index: ImageIndex,
    section: DataSection,
    size: int,
    channels: int,
    description: str,
    progress: Progress,
    thumbnail: int | None = None,
) -> DecodedImages:
    """Decode the images of an index as the recipe says.

    Raises `DataError` when none is readable, or one is not and that is to be an error.
    """
    options = ReadOptions(
        background=section.background,
        max_pixels=section.max_pixels,
        min_side=section.min_side,
        value_range=section.value_range,
        animations=section.animations,
    )
    with stop_flag() as stop, progress.task(description, len(index.paths), "images") as task:
        decoded = decode_images(
            index,
            size=size,
            channels=channels,
            options=options,
            advance=stop.after(task.advance),
            thumbnail=thumbnail,
        )
    if decoded.bad and (section.on_bad_image == "error" or not len(decoded.kept)):
        first, n = decoded.bad[0], len(decoded.bad)
        some = f"{n} of the {len(index.paths)}" if len(decoded.kept) else f"none of the {n}"
        raise DataError(
            f"{some} images of {index.origin} can{'not' if len(decoded.kept) else ''} be read, "
            f"the first is {first.path}: {first.reason}",
            remedy="" if not len(decoded.kept) else "mend or remove them, or --on-bad-image skip",
        )
    return decoded


def _relations(
    index: ImageIndex, decoded: DecodedImages, section: DataSection
) -> tuple[np.ndarray, np.ndarray]:
    """Near duplicates, and which images belong together because of them or of their group."""
    near = np.empty((0, 2), dtype=np.int64)
    if section.near_duplicates != "ignore":
        compared = decoded.pixels if decoded.thumbnails is None else decoded.thumbnails
        near = near_duplicates(compared)
    same_group = links([index.groups[i] for i in decoded.kept])
    return near, components(len(decoded.kept), np.concatenate([near, same_group]))


def reading_notices(reading: Reading) -> list[str]:
    """What was left out, converted or passed over, in sentences with numbers."""
    index, decoded = reading.index, reading.decoded
    notices = list(index.notices)
    if decoded.bad:
        named = "; ".join(f"{b.path} ({b.reason})" for b in decoded.bad[:BAD_IMAGES_NAMED])
        rest = len(decoded.bad) - BAD_IMAGES_NAMED
        more = f"; and {rest} more, all in dataset.json" if rest > 0 else ""
        notices.append(f"{number_of(len(decoded.bad), 'broken image')} skipped: {named}{more}")
    notices += [
        f"{number_of(n, 'image')}: {reason}" for reason, n in sorted(decoded.notices.items())
    ]
    for reason, n in sorted(index.ignored.items()):
        notices.append(f"{number_of(n, 'entry', 'entries')} passed over: {reason}")
    return notices


def refuse_synthetic(reading: Reading) -> None:
    """Raise `DataError` if the dataset holds images that `generate` made.

    A model trained on its own samples drifts away from the data, and a test on them proves nothing.
    """
    made = synthetic_images(reading.decoded.content_hashes, find_manifests(reading.index.origin))
    if made:
        (first, manifest), paths = made[0], reading.paths
        raise DataError(
            f"{len(made)} images of {reading.index.origin} were made by synthaug, the first is "
            f"{paths[first]} (listed in {manifest})",
            expected="real images only",
            remedy="give the folder of real images; balanced/ is for training classifiers",
        )
