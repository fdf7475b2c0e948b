"""Joint model, specialists or networks from scratch? Recall, held-out loss, copies; same minutes.

    python benchmarks/specialists.py DATASET EXTRA OUT [--minutes 3] [--seeds 1]

DATASET is MNIST-LT as a folder, EXTRA further real images of its classes: held-out loss and the
null of the copies are measured on them. OUT keeps the runs, so that a stopped script can go on.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from trials import Lab, Trial, heading, spread

from synthaug.data.names import folder_names
from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint
from synthaug.diffusion.training import denoising_losses
from synthaug.selection.memorisation import copy_ratio
from synthaug.stages.dataset import load_dataset, read_extra
from synthaug.stages.progress import Silent
from synthaug.stages.run_dir import RunDir, read_recipe
from synthaug.stages.synthetic import read_synthetic

LOW_RANK = ("--set", "diffusion.specialist=low_rank")
VARIANTS: dict[str, tuple[str, ...]] = {
    "joint": (),
    "specialists, all weights": ("--per-class",),
    "specialists, low rank": ("--per-class", *LOW_RANK),
    "from scratch": ("--per-class", "--from-scratch"),
}
RAREST = 3
HELD_OUT = 20
COPY = 1 / 3
"""An image is called a copy if its nearest train image is this much nearer than the second."""


def rare_facts(run: RunDir, extra_folder: Path) -> tuple[float, list[float], list[float]]:
    """Of the rarest classes: held-out loss, copies among synthetic and among unseen real images."""
    dataset = load_dataset(run)
    extra, extra_labels = read_extra(extra_folder, dataset, read_recipe(run).data, Silent())
    synthetic, synthetic_labels = read_synthetic(run, dataset)
    counts = dataset.counts(dataset.splits.train)
    images, labels = dataset.train
    losses, copies, null = [], [], []
    for k in np.argsort(counts, kind="stable")[:RAREST]:
        folder = folder_names(dataset.class_names)[dataset.class_names[k]]
        found = newest_checkpoint(run / "specialists" / folder) or newest_checkpoint(run / "base")
        assert found is not None
        denoiser = load_checkpoint(found, torch.device("cpu")).denoiser
        unseen = extra[extra_labels == k]
        held_out = unseen[:HELD_OUT]
        losses.append(denoising_losses(denoiser, held_out, np.full(len(held_out), k)).mean())
        copies.append(copy_share(synthetic[synthetic_labels == k], images[labels == k]))
        null.append(copy_share(unseen, images[labels == k]))
    return float(np.mean(losses)), copies, null


def copy_share(images: np.ndarray, reference: np.ndarray) -> float:
    return float(np.mean(copy_ratio(images, reference) < COPY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("extra", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=1, help="of the generator")
    asked = parser.parse_args()
    lab = Lab(asked.dataset, asked.out)
    trials = {
        name: [
            Trial(
                f"{name.replace(', ', '-').replace(' ', '-')}-{asked.minutes:g}m-seed{s}",
                asked.minutes, options, seed=s,
            )
            for s in range(asked.seeds)
        ]
        for name, options in VARIANTS.items()
    }  # fmt: skip
    lab.run([t for ts in trials.values() for t in ts])
    print(heading(lab, "specialists.py").replace("DATASET OUT", "DATASET EXTRA OUT"))
    print(
        f"{asked.minutes:g} minutes of training in all for each row, {asked.seeds} seed(s) of the "
        "generator, 3 of the classifier each; mean ± standard deviation. Held-out loss and copies "
        f"are of the {RAREST} rarest classes; a copy is {COPY:.2f} times as far from its nearest "
        "train image as from the second, and unseen real images are the null.\n"
    )
    print(
        "| generator | held-out loss | recall of the 3 rarest | balanced accuracy | copies "
        "| copies among unseen real | specialists kept |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, ts in trials.items():
        facts = [rare_facts(RunDir(lab.out / t.name), asked.extra) for t in ts]
        recall = spread(v for t in ts for v in lab.metric(t, "rarest_recall"))
        accuracy = spread(v for t in ts for v in lab.metric(t, "balanced_accuracy"))
        kept = [sum(s["kept"] for s in lab.fit(t)["specialists"]) for t in ts]
        of = [len(lab.fit(t)["specialists"]) for t in ts]
        print(
            f"| {name} | {np.mean([f[0] for f in facts]):.4f} | {recall} | {accuracy} | "
            f"{np.mean([f[1] for f in facts]):.1%} | {np.mean([f[2] for f in facts]):.1%} | "
            f"{sum(kept)} of {sum(of)} |"
        )


if __name__ == "__main__":
    main()
