"""report.html: the results with pictures of what was made and of how it comes about."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthaug.errors import DataError, DivergedError, UsageError
from synthaug.report.pictures import Picture
from synthaug.report.render import Show, write_report
from synthaug.report.strips import Strip, strip_of
from synthaug.stages.dataset import Dataset
from synthaug.stages.networks import Networks, find_denoiser
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import RunDir, read_recipe
from synthaug.stages.scene import Scene, Shown
from synthaug.stages.sheets import LAMBDAS, SHEETS, STRENGTHS
from synthaug.stages.signals import StopFlag
from synthaug.stages.synthetic import MANIFEST, read_synthetic

PICTURED_CLASSES = 20
PICTURED_IMAGES = 15
STRIP_CLASSES = 5
NEIGHBOUR_CLASSES = 6
MOST_FLOPS_ON_A_CPU = 1e12
"""Of one strip: some ten seconds. A page is not worth more, and `show` draws it all the same."""


def write_page(
    run: RunDir,
    dataset: Dataset,
    results: dict[str, Any],
    *,
    pictures: RunDir,
    device: torch.device,
    progress: Progress,
    stop: StopFlag,
) -> Path:
    """Write report.html from the results, the synthetic images and the networks.

    `pictures` is the run that the images and the networks are taken from: of folds, one. What
    cannot be drawn is left out, and the page says why.
    """
    path = run / "report.html"
    progress.say("drawing the pictures of the page")
    networks = Networks(pictures, dataset, device, progress)
    scene = Scene(pictures, dataset, read_recipe(pictures), networks, None, None)
    write_report(path, results, _Gallery(scene, results, stop).show())
    return path


class _Gallery:
    """The pictures of one page, and what it had to leave out."""

    def __init__(self, scene: Scene, results: dict[str, Any], stop: StopFlag) -> None:
        self.scene, self.results, self.stop = scene, results, stop
        self.omitted: list[str] = []

    def show(self) -> Show:
        if not self.scene.run.has(MANIFEST):
            return Show(strips=self._strips())
        try:
            synthetic = read_synthetic(self.scene.run, self.scene.dataset)
        except DataError as error:
            self.omitted.append(f"The synthetic images are not shown: {error}")
            return Show(strips=self._strips(), omitted=self.omitted)
        return Show(self._pictures(*synthetic), self._neighbours(synthetic[1]), self._strips(),
                    self.omitted)  # fmt: skip

    def _pictures(self, images: np.ndarray, labels: np.ndarray) -> list[Picture]:
        """Real beside synthetic, the classes with the fewest train images first."""
        dataset, counts = self.scene.dataset, self.scene.counts
        pictures = []
        for k in np.argsort(counts, kind="stable")[:PICTURED_CLASSES]:
            made = images[labels == k]
            if len(made):
                caption = f"{counts[k]:,} real train images, {len(made):,} synthetic ones"
                own = self.scene.images(int(k))[:PICTURED_IMAGES]
                made = made[:PICTURED_IMAGES]
                pictures.append(Picture(dataset.class_names[k], caption, own, made))
        return pictures

    def _neighbours(self, labels: np.ndarray) -> Strip | None:
        """The synthetic images most like a single train image, of the rarest classes with any."""
        counts = self.scene.counts
        made = [int(k) for k in np.argsort(counts, kind="stable") if (labels == k).any()]
        if not made:
            return None
        return self._drawn("neighbours", made[:NEIGHBOUR_CLASSES])

    def _strips(self) -> list[Strip]:
        """Images on their way from noise, and between two real images."""
        run, names = self.scene.run, self.scene.dataset.class_names
        known = [k for k in range(len(names)) if find_denoiser(run, names, k) is not None]
        if not known:
            return []
        by_size = sorted(known, key=lambda k: (-self.scene.counts[k], k))
        some = np.unique(np.linspace(0, len(known) - 1, STRIP_CLASSES).round().astype(int))
        steps = self.scene.recipe.sampling.steps
        strips = [self._drawn("progressive", [by_size[i] for i in some], len(some) * steps)]
        pairs = [k for k in by_size if self.scene.counts[k] > 1]
        if pairs:
            evaluations = round(len(LAMBDAS) * sum(STRENGTHS) * steps)
            strips.append(self._drawn("interpolate", pairs[-1:], evaluations))
        return [strip for strip in strips if strip is not None]

    def _drawn(self, what: str, classes: Sequence[int], evaluations: int = 0) -> Strip | None:
        """One of the pictures of `show` for some classes, unless it costs too much or fails."""
        self.stop.check("results.json is written; run `synthaug evaluate` again for the page")
        flops = (self.results.get("fit") or {}).get("flops_per_image") or 0
        guided = 1 if self.scene.recipe.sampling.cfg_scale == 1 else 2
        cost = evaluations * flops * guided
        if self.scene.networks.device.type == "cpu" and cost > MOST_FLOPS_ON_A_CPU:
            self.omitted.append(
                f"One picture would take long on a CPU; `synthaug show {what}` draws it."
            )
            return None
        draw: Callable[[Scene], Shown] = SHEETS[what]
        try:
            shown = draw(replace(self.scene, chosen=tuple(classes)))
        except (DataError, DivergedError, UsageError) as error:
            self.omitted.append(f"One picture, `synthaug show {what}`, could not be drawn: {error}")
            return None
        return strip_of(shown.sheet, shown.reading)
