"""The short statements of the report: key numbers, how it was done, and what it cannot tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthaug.report.results import Results, comparison, estimate, find_arm, n_seeds
from synthaug.report.words import (
    describe_metric,
    interval,
    one_line,
    reading,
    share,
    signed,
    value_in_words,
)

_PROTOCOL_WORDS = {
    "recipe": "recipe",
    "classifier": "classifier",
    "steps": "optimiser steps of every arm",
    "batch_size": "batch size",
    "optimiser": "optimiser",
    "seeds": "seeds, the same for every arm",
    "augmentation": "augmentation of every arm",
    "logit_adjustment_tau": "strength of logit adjustment",
    "synthetic_share": "synthetic share (0 real images only, 1 the balanced folder as it is)",
    "n_test": "test images",
    "device": "device",
}
_FIT_WORDS = {
    "seed": "seed",
    "minutes": "training time in minutes",
    "steps": "optimiser steps",
    "best_step": "step whose weights were kept",
    "n_img": "images seen in training",
    "n_held_out": "train images held out from it",
    "images_per_second": "images per second in training",
    "parameters": "parameters of the generator",
    "flops_per_image": "FLOP of one network evaluation of one image",
    "device": "device",
}
_GENERATE_WORDS = {
    "n": "synthetic images kept",
    "sampler": "sampler",
    "steps": "sampling steps",
    "nfe": "network evaluations of an image",
    "cfg_scale": "guidance scale (1 is off)",
    "strength": "noise on real images that are varied or mixed (1 is all)",
    "eta": "eta of DDIM (0 is deterministic)",
    "images_per_second": "images per second",
}
_HASH_SHOWN = 16


@dataclass(frozen=True)
class KeyNumber:
    """A number to be set large, what it counts, and one line to put it in place."""

    value: str
    label: str
    detail: str


@dataclass(frozen=True)
class FactGroup:
    """A heading with (what, value) pairs under it."""

    heading: str
    facts: tuple[tuple[str, str], ...]


def key_numbers(results: Results) -> tuple[KeyNumber, ...]:
    """The three to five numbers that carry the verdict; those the results lack are left out."""
    data, compared = results["dataset"], comparison(results)
    numbers = []
    for metric in ("balanced_accuracy", "rarest_recall"):
        gain = estimate((compared.get("differences") or {}).get(metric))
        if gain is not None:
            detail = f"{interval(gain)}, {reading(gain)}".lstrip(", ")
            label = f"difference in {describe_metric(metric, results)}"
            numbers.append(KeyNumber(signed(gain.mean), label, detail))
    primary = find_arm(results, compared.get("primary")) or {}
    for metric in ("rarest_recall", "balanced_accuracy"):
        gap = (primary.get("gap_closed") or {}).get(metric)
        if gap is not None:
            detail = f"in {describe_metric(metric, results)}"
            numbers.append(KeyNumber(share(gap), "of the gap to the oracle closed", detail))
            break
    added = [n for n in results["synthetic_counts"] if n]
    real = sum(data["train_counts"])
    detail = f"for {len(added)} of {len(data['class_names'])} classes, beside {real:,} real ones"
    numbers.append(KeyNumber(f"{sum(added):,}", "synthetic images", detail))
    low, high = min(data["train_counts"]), max(data["train_counts"])
    ratio = f"{data['imbalance_ratio']:.3g} : 1"
    numbers.append(KeyNumber(ratio, "imbalance", f"{low:,} to {high:,} training images a class"))
    return tuple(numbers)


def how_it_was_done(results: Results) -> tuple[FactGroup, ...]:
    """Data with its splits, protocol, generator and versions, in words."""
    data = results["dataset"]
    dataset = [("name", str(data.get("name", "")))]
    dataset.append(("classes", value_in_words(len(data["class_names"]))))
    if data.get("image_size"):
        size, channels = data["image_size"], data.get("channels", 1)
        kind = "grey" if channels == 1 else "colour"
        dataset.append(("images", f"{size} × {size} pixels, {kind}"))
    if data.get("rarest"):
        dataset.append(("rarest classes", ", ".join(map(one_line, data["rarest"]))))
    for side, split in data["splits"].items():
        if split["n"]:
            text = f"{split['n']:,} images, {split['sha256'][:_HASH_SHOWN]}…"
            dataset.append((f"{side} split", text))
    versions = {"synthaug": results["synthaug_version"], **results["versions"]}
    groups = (
        FactGroup("Data", tuple(dataset)),
        FactGroup("Comparison", _in_words(results["protocol"], _PROTOCOL_WORDS)),
        FactGroup("Training of the generator", _in_words(results.get("fit"), _FIT_WORDS)),
        FactGroup("Generation", _in_words(results.get("generate"), _GENERATE_WORDS)),
        FactGroup("Versions", tuple(versions.items())),
    )
    return tuple(group for group in groups if group.facts)


def limits(results: Results) -> tuple[str, ...]:
    """What a reader must not conclude, in sentences with the numbers of this comparison."""
    data, seeds = results["dataset"], n_seeds(results)
    tested = sum(data["test_counts"])
    n_classes = len(data["class_names"])
    smallest = min(range(n_classes), key=lambda k: data["test_counts"][k])
    fewest = data["test_counts"][smallest]
    sentences = []
    if seeds == 1:
        sentences.append(
            "There is one seed, hence no interval: a second training run might order the arms "
            "differently."
        )
    else:
        sentences.append(
            f"The intervals of differences cover the luck of training over {seeds} seeds and of "
            f"which {tested:,} images form the test set. Those of single arms cover the seeds only."
        )
    if fewest:
        sentences.append(
            f"The class “{one_line(data['class_names'][smallest])}” is tested on "
            f"{_images(fewest)}, so one image more or less moves its recall by {1 / fewest:.3f}."
        )
    else:
        sentences.append(
            f"The class “{one_line(data['class_names'][smallest])}” has no test image; nothing "
            "here is said about it."
        )
    if seeds > 1 and n_classes > 2:
        sentences.append(
            f"The interval of a class is not corrected for there being {n_classes}: about "
            f"{0.05 * n_classes:.2g} of them would exclude zero by chance even if nothing had "
            "changed. The verdicts are corrected."
        )
    sentences += [
        "The opponent is the best of its kind by the numbers shown here, which favours it a "
        "little. The verdicts are against all arms that may be the best, the controls among them.",
        "The synthetic images come from one trained generator; how much another training of it "
        "would change the result is not measured.",
        "The answer holds for this classifier and this training length. A larger or pretrained "
        "one may gain more, less or nothing.",
        "Test images come from the same source as the training images. How the classifiers fare "
        "elsewhere is not asked.",
    ]
    return tuple(sentences)


def _in_words(
    values: Mapping[str, Any] | None, words: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    known = [(key, (values or {}).get(key)) for key in words]
    return tuple((words[key], value_in_words(v)) for key, v in known if v is not None)


def _images(n: int) -> str:
    return "one image" if n == 1 else f"{n:,} images"
