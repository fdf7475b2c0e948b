"""What do more minutes buy? Recall of the rarest classes after 2, 5, 10 and 20 minutes of training.

    python benchmarks/minutes.py DATASET OUT [--sizes 16 28] [--minutes 2 5 10 20]

DATASET is MNIST-LT as a folder; OUT keeps the runs, so that a stopped script can go on. Minutes
are those of the whole machine (see trials.py).
"""

import argparse
from pathlib import Path

from trials import Lab, Trial, heading, spread

METRICS = ("rarest_recall", "balanced_accuracy")


def network(size: int, minutes: float) -> tuple[str, ...]:
    """What `fit` chooses in this time on the machine of the table (synthaug/diffusion/unet.py)."""
    channels = "[24, 48, 48]" if size > 16 and minutes < 4 else "[32, 64, 64]"
    return ("--image-size", str(size), "--set", f"diffusion.channels={channels}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 28])
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 5, 10, 20])
    asked = parser.parse_args()
    lab = Lab(asked.dataset, asked.out)
    trials = {
        (size, minutes): Trial(
            f"{size}px-{minutes:g}m", minutes, network(size, minutes), classifier_seeds=2
        )
        for size in asked.sizes
        for minutes in sorted(asked.minutes, reverse=True)  # two long ones side by side
    }
    real = {
        size: Trial(
            f"{size}px-real", 0.01, network(size, 0.01), classifier_seeds=2,
            arms="real/la,real+oversample/la",
        )
        for size in asked.sizes
    }  # fmt: skip
    lab.run([*trials.values(), *real.values()])
    print(heading(lab, "minutes.py"))
    print("Two seeds of the classifier; mean ± standard deviation.\n")
    print(
        "| size | minutes | images seen | parameters | MFLOP an image | training images/s "
        "| recall of the 3 rarest | balanced accuracy |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    for size in asked.sizes:
        for minutes in asked.minutes:
            trial = trials[size, minutes]
            fit = lab.fit(trial)
            told = [spread(lab.metric(trial, metric)) for metric in METRICS]
            print(
                f"| {size}×{size} | {minutes:g} | {fit['n_img']:,} | "
                f"{fit['parameters'] / 1e6:.2f} M | {fit['flops_per_image'] / 1e6:.0f} | "
                f"{fit['n_img'] / minutes / 60:.0f} | {told[0]} | {told[1]} |"
            )
        for arm in ("real/la", "real+oversample/la"):
            told = [spread(lab.metric(real[size], metric, arm)) for metric in METRICS]
            print(f"| {size}×{size} | ({arm}) | | | | | {told[0]} | {told[1]} |")


if __name__ == "__main__":
    main()
