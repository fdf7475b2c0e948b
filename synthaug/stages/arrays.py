"""Images that are arrays in memory, as a dataset that `fit` can read like any other."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from synthaug.errors import DataError

_SHAPES = "uint8 [N, H, W] or [N, H, W, C] with C of 1, 3 or 4"


@contextmanager
def arrays_as_dataset(images: ArrayLike, labels: ArrayLike) -> Iterator[Path]:
    """An npz of the arrays in a temporary folder that only this user can read, gone afterwards.

    A run needs it for `fit` alone: what later verbs read is kept in the run folder.

    Args:
        images: uint8 [N, H, W] or [N, H, W, C], C of 1 (grey), 3 (RGB) or 4 (with transparency).
        labels: [N], integers from 0 or text.

    Raises:
        DataError: for arrays of another kind.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"the images are {images.dtype} {list(images.shape)}",
            expected=_SHAPES,
            remedy="scale other numbers to 0..255 first, or save them as an .npz and give its path",
        )
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)  # an object array could only be saved as a pickle
    if labels.dtype.kind not in "biuU" or labels.shape not in {(len(images),), (len(images), 1)}:
        raise DataError(
            f"the labels are {labels.dtype} {list(labels.shape)} for {len(images)} images",
            expected="one integer or text for each image",
        )
    with tempfile.TemporaryDirectory(prefix="synthaug-") as folder:
        path = Path(folder) / "arrays.npz"
        np.savez(path, allow_pickle=False, images=images, labels=labels)
        yield path
