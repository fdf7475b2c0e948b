"""What a picture of `show` is made of: a run, its networks, and what the user asked to see."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synthaug.diffusion.noise import image_seeds
from synthaug.diffusion.schedule import NoiseSchedule, make_schedule
from synthaug.recipe import Recipe
from synthaug.report.sheets import Sheet
from synthaug.stages.dataset import Dataset
from synthaug.stages.networks import Networks
from synthaug.stages.run_dir import RunDir

MOST_CLASSES = 10


@dataclass(frozen=True)
class Scene:
    """The run that is shown, and what of it the user asked for.

    `label` is the one class asked for or None, `n` the number of images of a class or None.
    `chosen` are the classes to show where nobody was asked; None: a selection by size.
    """

    run: RunDir
    dataset: Dataset
    recipe: Recipe
    networks: Networks
    label: int | None
    n: int | None
    chosen: tuple[int, ...] | None = None

    @property
    def labels(self) -> list[int]:
        """The classes to show: the one asked for, or at most ten from the largest to the rarest."""
        if self.label is not None:
            return [self.label]
        if self.chosen is not None:
            return list(self.chosen)
        K = self.dataset.n_classes
        if K <= MOST_CLASSES:
            return list(range(K))
        by_size = np.argsort(-self.counts, kind="stable")
        return [int(by_size[i]) for i in np.linspace(0, K - 1, MOST_CLASSES).round().astype(int)]

    @property
    def counts(self) -> np.ndarray:
        return self.dataset.counts(self.dataset.splits.train)

    @property
    def schedule(self) -> NoiseSchedule:
        return make_schedule(self.recipe.diffusion.schedule, self.recipe.diffusion.T)

    def images(self, k: int) -> np.ndarray:
        """The train images of class k, uint8 [n, C, H, W]."""
        images, labels = self.dataset.train
        own: np.ndarray = images[labels == k]
        return own

    def seeds(self, k: int, n: int) -> np.ndarray:
        """The seeds that `generate` begins with."""
        return image_seeds(self.recipe.seed, k, 0, n)

    def how_many(self, of_each: int, of_one: int) -> int:
        """Images of a class: as asked, else one number for many classes and one for a single."""
        return self.n or (of_each if self.label is None else of_one)

    def row_label(self, k: int) -> tuple[str, str]:
        n = int(self.counts[k])
        return self.dataset.class_names[k], f"{n} train image{'s' if n != 1 else ''}"


@dataclass(frozen=True)
class Shown:
    """A picture, how to read it in one sentence, and numbers for --json."""

    sheet: Sheet
    reading: str
    facts: dict[str, Any] = field(default_factory=dict)
