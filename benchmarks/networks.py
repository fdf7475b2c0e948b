"""Which network learns most in the same time? Held-out denoising loss of UNets at equal minutes.

    python benchmarks/networks.py DATASET EXTRA --size 16 --minutes 2 [--only NAME ...]

DATASET is a folder with train/, EXTRA further real images of its classes that it does not hold.
Speeds are measured first, one network after the other on all cores; each network then gets the
images that its speed allows in the time, whatever else the machine does meanwhile. Two networks
are trained side by side with one thread each. Prints a Markdown table.
"""

import argparse
import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import loky
import numpy as np
import torch

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.schedule import cosine_schedule
from synthaug.diffusion.training import denoising_losses, make_ema, train_denoiser
from synthaug.diffusion.unet import NetworkSpec, build_denoiser, flops_per_image
from synthaug.recipe import DataSection
from synthaug.stages.dataset import read_dataset, read_extra
from synthaug.stages.progress import Silent

NETWORKS = {
    16: {
        "pixels 24-48-48": NetworkSpec((24, 48, 48), 1, 1, (False,) * 3),
        "pixels 32-64-64": NetworkSpec((32, 64, 64), 1, 1, (False,) * 3),
        "pixels 48-96-96": NetworkSpec((48, 96, 96), 1, 1, (False,) * 3),
        "pixels 24-64-96": NetworkSpec((24, 64, 96), 1, 1, (False,) * 3),
        "2x2 patches 64-128": NetworkSpec((64, 128), 1, 2, (False,) * 2),
    },
    28: {
        "pixels 24-48-48": NetworkSpec((24, 48, 48), 1, 1, (False,) * 3),
        "pixels 32-64-64": NetworkSpec((32, 64, 64), 1, 1, (False,) * 3),
        "pixels 16-48-96": NetworkSpec((16, 48, 96), 1, 1, (False,) * 3),
        "2x2 patches 48-96": NetworkSpec((48, 96), 1, 2, (False,) * 2),
        "2x2 patches 64-128": NetworkSpec((64, 128), 1, 2, (False,) * 2),
        "2x2 patches 96-192": NetworkSpec((96, 192), 1, 2, (False,) * 2),
    },
}
HELD_OUT = 20
"""Images of each class that EXTRA has."""
BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """Held-out loss over all classes and over the three rarest, and the loss on what it learned."""

    held_out: float
    rare: float
    train: float


def build(spec: NetworkSpec, size: int, channels: int, n_classes: int) -> Denoiser:
    return build_denoiser(
        spec, image_size=size, channels=channels, n_classes=n_classes, schedule=cosine_schedule(),
        prediction="v", seed=0, device=torch.device("cpu"),
    )  # fmt: skip


def speed(denoiser: Denoiser, images: np.ndarray, labels: np.ndarray) -> float:
    """Training images/s: the best of eight windows of half a second, after three steps."""
    run = train_denoiser(
        denoiser, make_ema(denoiser, 0.9), images, labels, steps=10_000, seed=0,
        options=TrainingOptions(batch_size=BATCH),
    )  # fmt: skip
    for _ in range(3):
        next(run)
    best = 0.0
    for _ in range(8):
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < 0.5:
            next(run)
            steps += 1
        best = max(best, steps * BATCH / (time.perf_counter() - started))
    return best


def train(
    spec: NetworkSpec, steps: int, learn: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
) -> Outcome:  # fmt: skip
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images, labels = learn
    counts = np.bincount(labels)
    denoiser = build(spec, images.shape[-1], images.shape[1], len(counts))
    options = TrainingOptions(batch_size=BATCH)
    ema = make_ema(denoiser, options.ema_decay)
    for _ in train_denoiser(denoiser, ema, images, labels, steps=steps, seed=0, options=options):
        pass
    ema.copy_to(denoiser.network.parameters())
    rarest = np.argsort(counts, kind="stable")[:3]
    rare = np.isin(labels, rarest)
    losses = denoising_losses(denoiser, *held_out)
    return Outcome(
        held_out=float(losses.mean()),
        rare=float(losses[np.isin(held_out[1], rarest)].mean()),
        train=float(denoising_losses(denoiser, images[rare], labels[rare]).mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("extra", type=Path)
    parser.add_argument("--size", type=int, default=16, choices=NETWORKS)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--only", nargs="*", default=[])
    asked = parser.parse_args()
    section = DataSection(image_size=asked.size)
    data = read_dataset(asked.dataset, section, largest=asked.size, seed=0, progress=Silent())
    images, labels = read_extra(asked.extra, data, section, Silent())
    few = np.concatenate([np.flatnonzero(labels == k)[:HELD_OUT] for k in range(data.n_classes)])
    learn, held_out = data.train, (images[few], labels[few])
    specs = {n: s for n, s in NETWORKS[asked.size].items() if n in asked.only or not asked.only}
    networks = {n: build(s, asked.size, data.channels, data.n_classes) for n, s in specs.items()}
    rates = {name: speed(network, *learn) for name, network in networks.items()}
    steps = {name: int(asked.minutes * 60 * rate / BATCH) for name, rate in rates.items()}
    pool = loky.get_reusable_executor(max_workers=2, env={"OMP_NUM_THREADS": "1"})
    pending = {n: pool.submit(train, s, steps[n], learn, held_out) for n, s in specs.items()}
    print(
        f"{asked.dataset.name} at {asked.size}×{asked.size}, {asked.minutes:g} min on "
        f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, seed 0, "
        f"{datetime.now(UTC):%Y-%m-%d}\n"
    )
    print(
        "| network | parameters | MFLOP an image | training images/s | images seen | held-out loss "
        "| of the 3 rarest | their loss in train |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    for name, future in pending.items():
        got = future.result()
        print(
            f"| {name} | {networks[name].n_parameters / 1e6:.2f} M | "
            f"{flops_per_image(networks[name]) / 1e6:.1f} | {rates[name]:.0f} | "
            f"{steps[name] * BATCH:,} | {got.held_out:.4f} | {got.rare:.4f} | {got.train:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
