"""A results.json as `synthaug evaluate` writes it, in any size, with numbers that are known."""

from typing import Any

import numpy as np
import pytest

METRICS = [
    "balanced_accuracy",
    "macro_f1",
    "minority_recall",
    "rarest_recall",
    "many_recall",
    "medium_recall",
    "few_recall",
]
ARMS = {  # name: (mean balanced accuracy, gap closed)
    "real/ce": (0.941, None),
    "real/la": (0.958, None),
    "real+oversample/ce": (0.955, None),
    "real+oversample/la": (0.960, None),
    "copy-control/ce": (0.952, -0.4),
    "synthaug/ce": (0.966, 0.3),
    "synthaug/la": (0.969, 0.45),
    "oracle/ce": (0.980, None),
}


def estimate(mean: float, half: float | None, rng: np.random.Generator) -> dict[str, Any]:
    if half is None:
        return {"mean": mean, "low": None, "high": None, "values": [mean]}
    noise = rng.normal(size=5)
    values = mean + (noise - noise.mean()) * half
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "values": [round(float(v), 6) for v in values],
    }


def make_results(
    n_classes: int = 10, *, seeds: int = 5, oracle: bool = True, names: list[str] | None = None
) -> dict[str, Any]:
    """Results with `n_classes` classes, train counts falling from 2000 to 20."""
    rng = np.random.default_rng(7)
    half = None if seeds == 1 else 0.002
    train = [round(2000 * 100 ** (-k / max(1, n_classes - 1))) for k in range(n_classes)]
    names = names or [f"digit {k}" for k in range(n_classes)]
    arms = []
    for name, (level, gap) in ARMS.items():
        data, loss = name.split("/")
        if data == "oracle" and not oracle:
            continue
        metrics: dict[str, Any] = {
            "balanced_accuracy": estimate(level, half, rng),
            "macro_f1": estimate(level - 0.003, half, rng),
            "minority_recall": estimate(level - 0.02, half, rng),
            "rarest_recall": estimate(level - 0.05, half and 0.011, rng),
            "many_recall": estimate(0.985, half, rng),
            "medium_recall": estimate(level - 0.03, half, rng),
            "few_recall": None,
        }
        per_class = [estimate(level - 0.005 * k / n_classes, half, rng) for k in range(n_classes)]
        arms.append(
            {
                "name": name,
                "data": data,
                "loss": loss,
                "synthetic": data == "synthaug",
                "oracle": data == "oracle",
                "control": data == "copy-control",
                "metrics": metrics,
                "recall": per_class,
                "precision": [*per_class[:-1], None],
                "worst_class": names[-1],
                "confusion": None,
                "train_seconds": 12.3,
                "train_accuracy": 0.99,
                "gap_closed": {"rarest_recall": gap, "balanced_accuracy": gap / 2}
                if gap is not None and oracle
                else None,
            }
        )
    differences: dict[str, Any] = dict.fromkeys(METRICS)
    differences["balanced_accuracy"] = estimate(0.009, half and 0.006, rng)
    differences["macro_f1"] = estimate(0.0091, half, rng)
    differences["minority_recall"] = estimate(0.009, half and 0.012, rng)
    differences["rarest_recall"] = estimate(0.031, half and 0.014, rng)
    differences["many_recall"] = estimate(-0.004, half and 0.003, rng)
    differences["medium_recall"] = estimate(0.009, half, rng)
    gains = [estimate(0.03 * k / n_classes - 0.004, half and 0.003, rng) for k in range(n_classes)]
    for estimated in (*filter(None, differences.values()), *gains):
        estimated["p"] = None if seeds == 1 else 0.01
    return {
        "schema_version": 3,
        "synthaug_version": "0.1.0",
        "created": "2026-11-24T09:00:00+00:00",
        "versions": {"Python": "3.11.2", "torch": "2.13.0", "numpy": "2.3.4"},
        "dataset": {
            "name": "mnist-lt100",
            "class_names": names,
            "train_counts": train,
            "test_counts": [900 + 10 * k for k in range(n_classes)],
            "groups": ["many" if n > 100 else "medium" for n in train],
            "minority": [n < 1000 for n in train],
            "imbalance_ratio": 100.0,
            "rarest": names[-3:],
            "image_size": 16,
            "channels": 1,
            "fingerprint": "f" * 64,
            "splits": {
                "train": {"n": sum(train), "sha256": "1a" * 32},
                "val": {"n": 0, "sha256": "2b" * 32},
                "test": {"n": sum(900 + 10 * k for k in range(n_classes)), "sha256": "3c" * 32},
            },
        },
        "synthetic_counts": [2000 - n if n < 1000 else 0 for n in train],
        "protocol": {
            "steps": 800,
            "batch_size": 64,
            "seeds": list(range(seeds)),
            "augmentation": "shift up to 2 pixels, no flip",
            "classifier": "ResNet, 0.18 M parameters",
            "synthetic_share": 0.5,
            "n_test": sum(900 + 10 * k for k in range(n_classes)),
            "device": "cpu",
            "torch": "2.13.0",
            "optimiser": "AdamW, learning rate 0.0005, cosine",
            "logit_adjustment_tau": 1.0,
            "recipe": "default",
        },
        "metrics": METRICS,
        "arms": arms,
        "comparison": {
            "primary": "synthaug/la",
            "opponent": "real+oversample/la",
            "differences": differences,
            "recall_differences": gains,
        },
        "verdict": {
            "overall": "use",
            "sentence": "Synthetic images raised balanced accuracy by 0.009 over the strongest "
            "training without them, and most for the rarest classes.",
        },
        "fit": {
            "minutes": 12.1,
            "n_img": 276000,
            "images_per_second": 270.0,
            "parameters": 1060000,
            "flops_per_image": 121900000,
            "specialists": [
                {
                    "class_name": names[-1],
                    "kept": True,
                    "n_held_out": 3,
                    "base_loss": 0.0412,
                    "specialist_loss": 0.0398,
                    "reason": "lower held-out loss",
                },
                {
                    "class_name": names[-2],
                    "kept": False,
                    "n_held_out": 4,
                    "base_loss": 0.0400,
                    "specialist_loss": 0.0401,
                    "reason": "no gain",
                },
            ],
        },
        "generate": {
            "images_per_second": 40.0,
            "n": 7522,
            "sampler": "ddim",
            "steps": 20,
            "cfg_scale": 1.0,
            "rejected": {"copy of a train image": 21},
            "candidates": {names[-1]: 3000, names[-2]: 2900},
            "rejected_by_class": {names[-1]: {"copy of a train image": 21}, names[-2]: {}},
        },
        "collapse": None,
        "fidelity": None,
        "memorisation": {
            "ratio_below": 0.333333,
            "classes": [
                {
                    "class_name": names[-1],
                    "n_synthetic": 500,
                    "copies": 12,
                    "n_real": train[-1],
                    "copies_among_real": 1,
                    "p": 0.4,
                },
                {
                    "class_name": names[-2],
                    "n_synthetic": 500,
                    "copies": 61,
                    "n_real": train[-2],
                    "copies_among_real": 0,
                    "p": 0.002,
                },
            ],
        },
        "learning": {
            "train": {"n_img": [640.0, 1280.0, 1920.0], "loss": [0.81, 0.32, 0.21]},
            "held_out": {"n_img": [640.0, 1920.0], "loss": [0.7, 0.25]},
        },
        "commands": [
            "synthaug fit digits/",
            "synthaug generate --balance",
            "synthaug evaluate",
        ],
        "notices": ["The filter left class “digit 9” 14 images short of its target."],
    }


@pytest.fixture
def results() -> dict[str, Any]:
    """Ten classes, five seeds, with an oracle."""
    return make_results()


@pytest.fixture(name="make_results")
def make_results_fixture() -> Any:
    """The maker itself, for results of another shape."""
    return make_results
