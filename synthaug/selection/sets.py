"""What selection looks at: images, what a classifier sees in them, and their labels."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ImageSet:
    """N images of one size.

    `images` uint8 [N, C, H, W], `features` float [N, D] and `labels` int [N]. The features come
    from a classifier that learned from the real train images alone, and never from one that judges
    the result: a judge flatters what was chosen by its own eyes.

    Raises `ValueError` if the shapes do not fit each other.
    """

    images: Images
    features: Floats
    labels: Ints

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"parts of different lengths: {lengths}")
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.features.ndim != 2:
            raise ValueError(
                f"images {self.images.dtype} {self.images.shape} and features "
                f"{self.features.shape}; expected uint8 [N, C, H, W] and [N, D]"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Ints | Bools) -> Self:
        """The images at some positions, in their order."""
        return type(self)(*(getattr(self, f.name)[positions] for f in fields(self)))

    @property
    def directions(self) -> Floats:
        """Features scaled to length 1, float64 [N, D]; those of length 0 stay as they are.

        Half of the squared distance of two of them is their cosine distance.
        """
        features = self.features.astype(np.float64)
        length = np.linalg.norm(features, axis=1, keepdims=True)
        np.divide(features, length, out=features, where=length > 0)
        return features


@dataclass(frozen=True)
class Candidates(ImageSet):
    """Synthetic images that may be kept; `labels` are the classes they were made for.

    `probabilities` float [N, K] of the classifier that the features come from, `seeds` int [N] of
    the images, no two alike within a class: their order is the order of preference.
    """

    probabilities: Floats
    seeds: Ints

    @property
    def finite(self) -> Bools:
        """Whether the classifier's answer to an image is a number throughout, bool [N]."""
        told = np.concatenate([self.features, self.probabilities], axis=1)
        finite: Bools = np.isfinite(told).all(axis=1)
        return finite
