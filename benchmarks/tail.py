"""What helps rare classes while the generator is trained? Each idea against none, same minutes.

    python benchmarks/tail.py DATASET OUT [--minutes 3] [--seeds 2]

DATASET is MNIST-LT as a folder; OUT keeps the runs, so that a stopped script can go on.
"""

import argparse
from pathlib import Path

from trials import Lab, Trial, heading, spread

VARIANTS = {
    "none": (),
    "cbdm": ("--set", "diffusion.transfer=cbdm"),
    "t2h": ("--set", "diffusion.transfer=t2h"),
    "augment": ("--set", "diffusion.augment=[shift, scale, rotate]"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seeds", type=int, default=2, help="of the generator")
    asked = parser.parse_args()
    lab = Lab(asked.dataset, asked.out)
    trials = {
        name: [
            Trial(f"{name}-{asked.minutes:g}m-seed{s}", asked.minutes, options, seed=s)
            for s in range(asked.seeds)
        ]
        for name, options in VARIANTS.items()
    }
    real = Trial("real", 0.01, arms="real/la,real+oversample/la", classifier_seeds=2)
    lab.run([t for s in range(asked.seeds) for ts in trials.values() for t in ts[s : s + 1]])
    lab.run([real])
    print(heading(lab, "tail.py"))
    print(
        f"{asked.minutes:g} minutes of training, {asked.seeds} seeds of the generator, "
        "3 of the classifier each (2 without synthetic images); mean ± standard deviation.\n"
    )
    print("| variant | images seen | recall of the 3 rarest | balanced accuracy |")
    print("|---|---:|---:|---:|")
    for name, ts in trials.items():
        columns = [
            spread(v for t in ts for v in lab.metric(t, metric))
            for metric in ("rarest_recall", "balanced_accuracy")
        ]
        print(f"| {name} | {lab.fit(ts[0])['n_img']:,} | {columns[0]} | {columns[1]} |")
    for arm in ("real/la", "real+oversample/la"):
        columns = [
            spread(lab.metric(real, metric, arm))
            for metric in ("rarest_recall", "balanced_accuracy")
        ]
        print(f"| ({arm}, no synthetic images) | | {columns[0]} | {columns[1]} |")


if __name__ == "__main__":
    main()
