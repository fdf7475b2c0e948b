"""The pictures of `show`: what is drawn, from which images and by which network."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import image_seeds, source_draws
from synthaug.diffusion.partial import PartialStart, partial_timesteps
from synthaug.diffusion.samplers import spaced_timesteps
from synthaug.diffusion.schedule import NoiseSchedule, make_schedule
from synthaug.diffusion.trajectory import forward_images, progressive_estimates
from synthaug.errors import DataError, UsageError
from synthaug.recipe import Recipe
from synthaug.report.sheets import Cell, Row, Sheet
from synthaug.selection.memorisation import (
    COPY_BELOW,
    copy_ratio,
    copy_share,
    nearest,
    ratio_of,
)
from synthaug.stages.dataset import Dataset
from synthaug.stages.networks import Networks
from synthaug.stages.run_dir import RunDir
from synthaug.stages.synthetic import read_synthetic

MOST_CLASSES = 10
COLUMNS = 10
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
LAMBDAS = tuple(i / 10 for i in range(11))
NEIGHBOURS = 3
GROUPS = 3
"""Synthetic images side by side, each with its neighbours."""
LOOKED_AT = 500
"""Images of a class, at most, that the share of copies is taken over."""


@dataclass(frozen=True)
class Scene:
    """The run that is shown, and what of it the user asked for.

    `label` is the one class asked for or None, `n` the number of images of a class or None.
    """

    run: RunDir
    dataset: Dataset
    recipe: Recipe
    networks: Networks
    label: int | None
    n: int | None

    @property
    def labels(self) -> list[int]:
        """The classes to show: the one asked for, or at most ten from the largest to the rarest."""
        if self.label is not None:
            return [self.label]
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


def forward(scene: Scene) -> Shown:
    """Real train images at ten noise levels."""
    schedule = scene.schedule
    timesteps = spaced_timesteps(schedule.T, min(COLUMNS, schedule.T))[::-1]
    rows = []
    for k in scene.labels:
        images = scene.images(k)[: scene.how_many(1, 6)]
        noised = forward_images(images, scene.seeds(k, len(images)), timesteps, schedule)
        for i, image in enumerate(images):
            cells = (Cell(image), *(Cell(x_t[i]) for x_t in noised))
            rows.append(Row(scene.row_label(k) if i == 0 else (), cells))
    levels = [f"t = {t}\nSNR {_number(snr(schedule, t))}" for t in timesteps]
    reading = (
        "Each row is a real train image on its way to noise; a variation that starts where you "
        "still recognise it keeps the image, and further to the right the network makes it up."
    )
    sheet = Sheet(
        "Forward process",
        f"Real train images under the {schedule.name} schedule. SNR: variance of the image over "
        "variance of the noise.",
        ("x₀", *levels),
        tuple(rows),
        frozenset({1}),
    )
    return Shown(sheet, reading)


def progressive(scene: Scene) -> Shown:
    """The network's estimate of the final image at points on the way from noise."""
    sampling = scene.recipe.sampling
    n = scene.how_many(1, 6)
    rows, columns = [], []
    for k in scene.labels:
        checkpoint, kind = scene.networks.of_class(scene.dataset.class_names[k])
        estimates = progressive_estimates(
            checkpoint.denoiser,
            np.full(n, k, dtype=np.int64),
            scene.seeds(k, n),
            sampler=sampling.sampler,
            steps=sampling.steps,
            cfg_scale=sampling.cfg_scale,
        )
        last = len(estimates.timesteps) - 1
        some = np.unique(np.linspace(0, last, COLUMNS).round().astype(int))[:-1]
        columns = [f"t = {estimates.timesteps[i]}" for i in some]
        for i in range(n):
            cells = (*(Cell(estimates.x_0_hat[j, i]) for j in some), Cell(estimates.samples[i]))
            label = scene.row_label(k)
            label = label if kind == "base" else (label[0], f"{label[1]}, specialist")
            rows.append(Row(label if i == 0 else (), cells))
    reading = (
        "Each row is one image coming into being: the network's guess of the finished image at "
        "every stage; what is settled early is the class and the pose, what comes late is detail."
    )
    sheet = Sheet(
        "Progressive generation",
        f"Estimates of x₀ while sampling with {sampling.sampler}, {sampling.steps} steps, from "
        "pure noise on the left to the sample on the right.",
        (*columns, "sample"),
        tuple(rows),
        frozenset({len(columns)} if columns else ()),
    )
    return Shown(sheet, reading)


def interpolate(scene: Scene) -> Shown:
    """Pairs of real train images of one class, mixed at several noise levels."""
    k = _class_with_pairs(scene)
    own, n = scene.images(k), scene.how_many(1, 1)
    checkpoint, _ = scene.networks.of_class(scene.dataset.class_names[k])
    seeds = scene.seeds(k, n)
    firsts, seconds, _ = source_draws(seeds, len(own))
    lam = np.array(LAMBDAS)
    rows = []
    for pair, (seed, a, b) in enumerate(zip(seeds, own[firsts], own[seconds], strict=True)):
        weights = lam[:, None, None, None]
        mixed = np.rint((1 - weights) * a + weights * b).astype(np.uint8)
        lines = [(("t = 0", "pixels mixed"), mixed)]
        for strength, t in _levels(scene):
            drawn = generate_images(
                checkpoint.denoiser,
                np.full(len(lam), k, dtype=np.int64),
                np.full(len(lam), seed),
                sampler=scene.recipe.sampling.sampler,
                steps=scene.recipe.sampling.steps,
                cfg_scale=scene.recipe.sampling.cfg_scale,
                start=PartialStart(
                    np.repeat(a[None], len(lam), 0), strength, np.repeat(b[None], len(lam), 0), lam
                ),
            )
            images = np.concatenate([batch.images for batch in drawn])
            lines.append(((f"t = {t}", f"strength {strength:g}"), images))
        for i, (label, images) in enumerate(lines):
            cells = (Cell(a), *(Cell(image) for image in images), Cell(b))
            rows.append(Row(label, cells, apart=pair > 0 and i == 0))
    name = scene.dataset.class_names[k]
    reading = (
        "From left to right one real image turns into another; a good --strength is the smallest "
        "at which the middle looks like one object and not like two laid over each other."
    )
    sheet = Sheet(
        f"Interpolation between train images of class {name}",
        "Both images are noised to t with the same noise, mixed with weight λ and denoised; the "
        "more noise, the less is left of either.",
        ("real", *(f"λ = {x:g}" for x in LAMBDAS), "real"),
        tuple(rows),
        frozenset({1, len(LAMBDAS) + 1}),
    )
    return Shown(sheet, reading, {"strengths": [s for s, _ in _levels(scene)]})


def neighbours(scene: Scene) -> Shown:
    """Synthetic images beside the train images nearest to them, copies framed in red."""
    images, labels = read_synthetic(scene.run, scene.dataset)
    made = [k for k in scene.labels if (labels == k).any()]
    if not made:
        which = "images" if scene.label is None else "images of this class"
        raise UsageError(
            f"run {scene.run.path} has no synthetic {which}",
            remedy="run `synthaug generate --balance` with a target above its train images",
        )
    train, train_labels = scene.dataset.train
    rows: list[Row] = []
    copies = {}
    for k in made:
        own = images[labels == k][:LOOKED_AT]
        index, distance = nearest(own, train, max(NEIGHBOURS, 2))
        ratio = ratio_of(distance)
        mine = np.flatnonzero(train_labels == k)[:LOOKED_AT]
        null = copy_ratio(train[mine], train, own=mine)
        copies[scene.dataset.class_names[k]] = {
            "looked_at": len(own),
            "share": _known(copy_share(ratio)),
            "share_among_real": _known(copy_share(null)),
        }
        # The most suspicious first: where these are no copies, none is.
        order = np.argsort(np.where(np.isnan(ratio), np.inf, ratio), kind="stable")
        chosen = order[: scene.how_many(GROUPS, 3 * GROUPS)]
        groups = []
        for i in chosen:
            copied = bool(ratio[i] < COPY_BELOW)
            group: list[Cell | None] = [Cell(own[i], f"ratio {ratio[i]:.2f}", copied)]
            for rank, (j, d) in enumerate(zip(index[i], distance[i], strict=True)):
                if rank < NEIGHBOURS:
                    group.append(_neighbour(scene, k, int(j), float(d), copied and rank == 0))
            groups.append(group)
        for at in range(0, len(groups), GROUPS):
            cells = tuple(cell for group in groups[at : at + GROUPS] for cell in group)
            label = _copies_label(scene, k, ratio, null) if at == 0 else ()
            rows.append(Row(label, cells, apart=at == 0 and bool(rows)))
    width = max(len(row.cells) for row in rows) // (NEIGHBOURS + 1)
    reading = (
        "Beside each synthetic image stand its three nearest train images with their distance; "
        "a red frame marks a likely copy, at most a third as far from the nearest as from the next."
    )
    sheet = Sheet(
        "Nearest train images",
        "The synthetic images of each class that are most like a single train image. Ratio: "
        "distance to the nearest over distance to the second; below 1/3, in red, it is a copy. A "
        "neighbour of another class has its name after the distance.",
        ("synthetic", "nearest", "2nd", "3rd") * width,
        tuple(rows),
        frozenset(range(NEIGHBOURS + 1, width * (NEIGHBOURS + 1), NEIGHBOURS + 1)),
    )
    return Shown(sheet, reading, {"copies": copies})


def snr(schedule: NoiseSchedule, t: int) -> float:
    """alpha_bar_t / (1 - alpha_bar_t)."""
    alpha_bar = schedule.alpha_bar(t)
    return alpha_bar / (1 - alpha_bar)


SHEETS: dict[str, Callable[[Scene], Shown]] = {
    "forward": forward,
    "progressive": progressive,
    "interpolate": interpolate,
    "neighbours": neighbours,
}


def _class_with_pairs(scene: Scene) -> int:
    """The class asked for, or the rarest of those with two train images."""
    if scene.label is not None and scene.counts[scene.label] < 2:
        raise UsageError(
            f"class {scene.dataset.class_names[scene.label]!r} has one train image",
            expected="two to mix",
            remedy="choose another --class",
        )
    if scene.label is not None:
        return scene.label
    enough = np.flatnonzero(scene.counts >= 2)
    if not len(enough):
        raise DataError("no class has two train images to mix")
    return int(enough[np.argmin(scene.counts[enough])])


def _levels(scene: Scene) -> list[tuple[float, int]]:
    """(strength, t) of the rows of an interpolation; with few steps some strengths coincide."""
    T = scene.recipe.diffusion.T
    timesteps = spaced_timesteps(T, scene.recipe.sampling.steps)
    levels: dict[int, float] = {}
    for strength in STRENGTHS:
        if timesteps[-1] <= strength * T - 1:
            levels.setdefault(partial_timesteps(timesteps, strength, T)[0], strength)
    return [(strength, t) for t, strength in levels.items()]


def _neighbour(scene: Scene, k: int, j: int, distance: float, framed: bool) -> Cell | None:
    if j < 0:
        return None
    train, labels = scene.dataset.train
    other = "" if labels[j] == k else f" · {scene.dataset.class_names[labels[j]]}"
    return Cell(train[j], f"{distance:.3f}{other}", framed)


def _copies_label(scene: Scene, k: int, ratio: np.ndarray, null: np.ndarray) -> tuple[str, ...]:
    name, n_train = scene.row_label(k)
    copied, alike = int((ratio < COPY_BELOW).sum()), int((null < COPY_BELOW).sum())
    return name, n_train, f"copies: {copied} of {len(ratio)}", f"among real: {alike} of {len(null)}"


def _known(share: float) -> float | None:
    return None if np.isnan(share) else round(share, 4)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")
