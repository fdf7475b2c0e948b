"""Which candidates of a class are kept: `selection` at work in a run, and what is written of it."""

import io
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch

from synthaug.recipe import Recipe
from synthaug.selection import sets
from synthaug.selection.choose import COPY, FULL, REASONS, RealImages, Thresholds, select, study
from synthaug.stages.dataset import Dataset
from synthaug.stages.features import Selector, selector_key, selector_of
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag

FLAT = "one flat colour"
SATURATED = "saturated"
ALL_REASONS = (REASONS[0], FLAT, SATURATED, *REASONS[1:])
"""In the order in which they are looked for."""
MANIFEST_SCORES = (
    "prototype_distance", "neighbour_distance", "entropy", "nearest_train_distance",
    "pixel_ratio_class", "feature_ratio_class",
)  # fmt: skip

LEARNED = 0.8
"""Share of its train images that a classifier has to know to be worth asking."""
Columns = dict[str, np.ndarray]


@dataclass
class Chooser:
    """Chooses among the candidates of a run; learns to when it is first asked."""

    run: RunDir
    dataset: Dataset
    recipe: Recipe
    device: torch.device
    progress: Progress
    stop: StopFlag

    @property
    def key(self) -> str:
        """Everything that a choice depends on, for caches."""
        return (
            f"{self.recipe.selection.model_dump_json()} {selector_key(self.dataset, self.recipe)}"
        )

    @cached_property
    def thresholds(self) -> Thresholds:
        section = self.recipe.selection
        return Thresholds(**{f.name: getattr(section, f.name) for f in fields(Thresholds)})

    @cached_property
    def selector(self) -> Selector:
        return selector_of(
            self.run, self.dataset, self.recipe, self.device, self.progress, self.stop
        )

    @cached_property
    def real(self) -> RealImages:
        """The train images. A val/ folder, from which nothing learned, makes their limits fairer.

        Images that `fit` held out of the train images do not serve for that: variations start from
        them too, so they have to be among those whose copies are looked for.
        """
        self.progress.say("comparing the real images with each other")
        train, val = (
            self._image_set(*self.dataset.part(positions))
            for positions in (self.dataset.splits.train, self.dataset.splits.val)
        )
        held_out = val if len(val) else None
        return study(train, self.dataset.n_classes, held_out, self.thresholds)

    def choose(
        self, k: int, images: np.ndarray, unusable: np.ndarray, quota: int
    ) -> tuple[np.ndarray, Columns]:
        """Choose up to `quota` of uint8 images [N, C, H, W] of class k, in their order.

        `unusable` str [N] is why an image is out of the question, or empty. Returns the reason
        str [N] against each image, empty where it is kept, and the scores, each [N].
        """
        usable = unusable == ""
        n, n_classes = len(images), self.dataset.n_classes
        seen, likely = self.selector.look(images[usable])
        features = np.full((n, seen.shape[1]), np.nan)
        probabilities = np.full((n, n_classes), np.nan)
        features[usable], probabilities[usable] = seen, likely
        # Preferred in the order of drawing, so that drawing more never takes an image back.
        order = np.arange(n)
        candidates = sets.Candidates(images, features, np.full(n, k), probabilities, order)
        quotas = np.zeros(n_classes, dtype=np.int64)
        quotas[k] = quota
        selection = select(candidates, self.real, quotas, self.thresholds)
        told = {
            name: values
            for name, values in selection.columns.items()
            if name not in ("label", "seed", "kept", "reason")
        }
        return np.where(usable, selection.reason, unusable), told

    def _image_set(self, images: np.ndarray, labels: np.ndarray) -> sets.ImageSet:
        if not len(images):
            return sets.ImageSet(images, np.empty((0, 1)), labels)
        return sets.ImageSet(images, self.selector.look(images)[0], labels)


def rejected(reasons: np.ndarray) -> dict[str, int]:
    """How many images were refused for each reason. Having enough of them is none."""
    counts = {name: int((reasons == name).sum()) for name in ALL_REASONS if name != FULL}
    return {name: n for name, n in counts.items() if n}


def selector_notice(facts: dict[str, Any]) -> str:
    """That the classifier which selects has not learned its own train images; else empty."""
    if facts["train_accuracy"] >= LEARNED:
        return ""
    return (
        f"the classifier that selects knows {facts['train_accuracy']:.0%} of its own train images "
        f"and may refuse good ones; raise selection.steps, now {facts['steps']}"
    )


def copies_notice(name: str, mode: str, strength: float, counts: dict[str, int], n: int) -> str:
    """What to do where most of n candidates of a class were copies; else empty."""
    copies = counts.get(COPY, 0)
    if 2 * copies <= n:
        return ""
    remedy = "add real images, or train for less time or with augmentation"
    if mode != "sample" and strength < 1:
        remedy = f"raise --strength, now {strength:g}, or add real images"
    return f"{copies} of {n} candidates of class {name!r} were copies of train images; {remedy}"


def shortfall_notice(name: str, kept: int, quota: int, counts: dict[str, int], n: int) -> str:
    """That a class got fewer images than planned, and why."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return (
        f"class {name!r} got {kept} of {quota} images: of {n} candidates "
        f"{sum(counts.values())} were rejected ({reasons})"
    )


def manifest_scores(columns: Columns, i: int) -> dict[str, float] | None:
    """The main scores of candidate i, for its line in the manifest; None without selection."""
    known = {name: float(columns[name][i]) for name in MANIFEST_SCORES if name in columns}
    return {name: round(v, 6) for name, v in known.items() if np.isfinite(v)} or None


def table_content(
    dataset: Dataset, classes: dict[int, tuple[np.ndarray, np.ndarray, Columns]]
) -> bytes:
    """The content of selection.parquet: a row for each candidate, in the order of drawing.

    `classes` has (seeds int64 [N], reasons str [N], scores each [N]) of the classes drawn, one at
    least.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = np.array([*(dataset.paths[i] for i in dataset.splits.train), ""], dtype=object)
    names = np.array([*dataset.class_names, ""], dtype=object)
    parts = []
    for k, (seeds, reasons, columns) in classes.items():
        made: dict[str, Any] = {
            "class": [dataset.class_names[k]] * len(seeds),
            "seed": seeds,
            "kept": reasons == "",
            "reason": reasons.astype(object),
            **columns,
        }
        # Positions of this process become what they stand for: -1 is the last, nothing.
        made["third_class"] = names[columns["third_class"]]
        made["nearest_train"] = paths[columns["nearest_train"]]
        earlier = columns["duplicate_of"]
        made["duplicate_of"] = pa.array(seeds[earlier], mask=earlier < 0)
        parts.append(pa.table(made))
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables(parts), buffer)
    return buffer.getvalue()
