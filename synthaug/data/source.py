"""Where the images of an index come from: files, bytes held in memory, or arrays.

An index asks its source for one image at a time, so that nothing after it needs to know which kind
of dataset the user has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


class ImageSource(Protocol):
    """N images in the order of an index."""

    def read(self, position: int) -> bytes | np.ndarray:
        """One image: an encoded file, or pixels [H, W] or [H, W, C] of any number type.

        Raises:
            OSError: when it cannot be read (`FileNotFoundError`: it has vanished).
        """
        ...

    def take(self, positions: Sequence[int]) -> "ImageSource":
        """The source of some of the images, in that order."""
        ...


@dataclass(frozen=True)
class Files:
    """Files below ``root`` at POSIX paths relative to it."""

    root: Path
    paths: tuple[str, ...]

    def read(self, position: int) -> bytes:
        return self.path(position).read_bytes()

    def take(self, positions: Sequence[int]) -> "Files":
        return Files(self.root, tuple(self.paths[i] for i in positions))

    def path(self, position: int) -> Path:
        """Where the file lies."""
        return self.root / self.paths[position]


@dataclass(frozen=True, eq=False)
class Blobs:
    """Encoded image files in memory, as they come out of an archive or a parquet file."""

    contents: tuple[bytes, ...]

    def read(self, position: int) -> bytes:
        return self.contents[position]

    def take(self, positions: Sequence[int]) -> "Blobs":
        return Blobs(tuple(self.contents[i] for i in positions))


@dataclass(frozen=True, eq=False)
class Arrays:
    """Pixels as the dataset stores them: ``images`` [M, H, W] or [M, H, W, C], ``rows`` int64 [N].

    The array is shared, not copied; several of them may follow each other (train, val, test).
    """

    images: tuple[np.ndarray, ...]
    rows: np.ndarray
    """Positions in the arrays laid end to end."""

    def read(self, position: int) -> np.ndarray:
        row = int(self.rows[position])
        for array in self.images:
            if row < len(array):
                image: np.ndarray = array[row]
                return image
            row -= len(array)
        raise IndexError(position)

    def take(self, positions: Sequence[int]) -> "Arrays":
        return Arrays(self.images, self.rows[np.asarray(positions, dtype=np.int64)])
