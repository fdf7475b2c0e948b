"""From noise, from one real image or from two? Recall of each class by mode, one trained network.

    python benchmarks/modes.py DATASET OUT [--minutes 3] [--seed 0]

DATASET is MNIST-LT as a folder; OUT keeps the runs, so that a stopped script can go on. All rows
share one joint model and differ in how `generate` draws, for every class alike.
"""

import argparse
from pathlib import Path

import numpy as np
from trials import Lab, Trial, heading, spread

MODES: dict[str, tuple[str, ...]] = {
    "variation, strength 0.6": ("--mode", "variation", "--strength", "0.6"),
    "variation, strength 0.8": ("--mode", "variation", "--strength", "0.8"),
    "interpolate, strength 0.8": ("--mode", "interpolate", "--strength", "0.8"),
}
MOST = 150
"""Classes with more train images than this are left out of the table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    lab = Lab(asked.dataset, asked.out)
    name = f"none-{asked.minutes:g}m-seed{asked.seed}"
    base = Trial(name, asked.minutes, seed=asked.seed)
    trials = {
        mode: Trial(f"{name}-{mode.replace(', strength ', '-')}", 0, generate=words, fitted=name)
        for mode, words in MODES.items()
    }
    lab.run([base])
    lab.run(list(trials.values()))
    data = lab.results(base)["dataset"]
    counts = np.array(data["train_counts"])
    shown = [int(k) for k in np.argsort(counts, kind="stable") if counts[k] <= MOST]
    print(heading(lab, "modes.py"))
    print(
        f"One network, {asked.minutes:g} minutes, seed {asked.seed}; {base.classifier_seeds} seeds "
        "of the classifier, mean (± standard deviation). Columns by class are recall, headed by "
        "the number of train images.\n"
    )
    heads = " | ".join(f"{counts[k]}" for k in shown)
    print(f"| mode | {heads} | of the 3 rarest | balanced accuracy |")
    print("|---|" + "---:|" * (len(shown) + 2))
    for mode, trial in {"sample": base, **trials}.items():
        arm = next(a for a in lab.results(trial)["arms"] if a["name"] == "synthaug/la")
        each = " | ".join(f"{arm['recall'][k]['mean']:.3f}" for k in shown)
        told = [spread(lab.metric(trial, m)) for m in ("rarest_recall", "balanced_accuracy")]
        print(f"| {mode} | {each} | {told[0]} | {told[1]} |")


if __name__ == "__main__":
    main()
