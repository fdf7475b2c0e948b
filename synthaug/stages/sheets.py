"""The pictures of `show`: what is drawn, from which images and by which network."""

from collections.abc import Callable

import numpy as np

from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import source_draws
from synthaug.diffusion.partial import PartialStart, partial_timesteps
from synthaug.diffusion.samplers import spaced_timesteps
from synthaug.diffusion.schedule import NoiseSchedule
from synthaug.diffusion.trajectory import forward_images, progressive_estimates
from synthaug.errors import DataError, UsageError
from synthaug.report.sheets import Cell, Row, Sheet
from synthaug.stages.neighbours import neighbours
from synthaug.stages.scene import Scene, Shown

COLUMNS = 10
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
LAMBDAS = tuple(i / 10 for i in range(11))


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
            eta=sampling.eta,
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
    """The class asked for, or the rarest of those to show with two train images."""
    if scene.label is not None and scene.counts[scene.label] < 2:
        raise UsageError(
            f"class {scene.dataset.class_names[scene.label]!r} has one train image",
            expected="two to mix",
            remedy="choose another --class",
        )
    if scene.label is not None:
        return scene.label
    classes = range(scene.dataset.n_classes) if scene.chosen is None else scene.chosen
    enough = [k for k in classes if scene.counts[k] >= 2]
    if not enough:
        raise DataError("no class has two train images to mix")
    return min(enough, key=lambda k: scene.counts[k])


def _levels(scene: Scene) -> list[tuple[float, int]]:
    """(strength, t) of the rows of an interpolation; with few steps some strengths coincide."""
    T = scene.recipe.diffusion.T
    timesteps = spaced_timesteps(T, scene.recipe.sampling.steps)
    levels: dict[int, float] = {}
    for strength in STRENGTHS:
        if timesteps[-1] <= strength * T - 1:
            levels.setdefault(partial_timesteps(timesteps, strength, T)[0], strength)
    return [(strength, t) for t, strength in levels.items()]


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")
