"""The parts of results.json that carry the answer: data, protocol, arms, comparison, verdict."""

from typing import Literal

from pydantic import Field

from synthaug.report.schema.base import (
    Advice,
    Count,
    Difference,
    Estimate,
    MetricName,
    Part,
    Share,
)


class SplitSide(Part):
    """One side of the split: how many images, and which."""

    n: Count = Field(description="images")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the sorted hashes of the images' content, one a line: two runs "
        "with the same have the same images on this side, whatever the files are called",
    )


class Splits(Part):
    """Who is on which side; of folds, the train images of the first and the test images of all."""

    train: SplitSide = Field(description="the only images that anything learned from")
    val: SplitSide = Field(description="the dataset's own validation images, if it has some")
    test: SplitSide = Field(description="the images that every arm was judged by")


class DatasetFacts(Part):
    """What was balanced; lists have one entry for each class, in the order of `class_names`."""

    name: str = Field(description="name of the folder, file or Hub dataset")
    class_names: tuple[str, ...] = Field(min_length=1, description="the K classes")
    train_counts: tuple[Count, ...] = Field(description="real train images [K]")
    test_counts: tuple[Count, ...] = Field(description="test images [K]")
    groups: tuple[Literal["many", "medium", "few"], ...] = Field(
        description="over 100, 20 to 100, under 20 train images [K]"
    )
    minority: tuple[bool, ...] = Field(description="whether the plan calls it a minority class [K]")
    imbalance_ratio: float = Field(ge=1, description="largest over smallest train count")
    rarest: tuple[str, ...] = Field(description="the classes of `rarest_recall`")
    image_size: int = Field(ge=1, description="side of an image in pixels, as used")
    channels: Literal[1, 3] = Field(description="1 grey, 3 colour")
    fingerprint: str = Field(description="digest of the file list that was read")
    splits: Splits = Field(description="what was learned from and what was tested on")


class Protocol(Part):
    """What all arms share."""

    steps: int = Field(ge=1, description="optimiser steps of every arm")
    batch_size: int = Field(ge=1, description="images in a step")
    seeds: tuple[int, ...] = Field(min_length=1, description="paired seeds of every arm")
    augmentation: str = Field(description="of every arm, in words")
    classifier: str = Field(description="the network, in words")
    optimiser: str = Field(description="in words")
    logit_adjustment_tau: float = Field(ge=0, description="strength of logit adjustment")
    synthetic_share: Share = Field(description="0 real images only, 1 the balanced folder as it is")
    n_test: Count = Field(description="test images")
    device: str = Field(description="what the classifiers were trained on")
    torch: str = Field(description="version of torch")
    recipe: str = Field(description="name of the recipe")


class GapClosed(Part):
    """Share of the way from the best arm without synthetic images to the oracle; null: no gap."""

    rarest_recall: float | None = Field(description="in recall of the rarest classes")
    balanced_accuracy: float | None = Field(description="in balanced accuracy")


class ArmResult(Part):
    """What one training regime reached on the test images."""

    name: str = Field(description="data/loss, as `--arms` takes it")
    data: str = Field(description="what it was trained on")
    loss: str = Field(description="what it minimised")
    synthetic: bool = Field(description="whether it saw synthetic images")
    oracle: bool = Field(description="whether it saw real images that no other arm had")
    control: bool = Field(description="whether it is a control: duplicates instead of new images")
    metrics: dict[MetricName, Estimate | None] = Field(
        description="scores; null where undefined, as for a group without classes"
    )
    recall: tuple[Estimate | None, ...] = Field(
        description="share of a class's test images that are recognised [K]; null without any"
    )
    precision: tuple[Estimate | None, ...] = Field(
        description="share of the images given a label that belong to it [K]; null where no seed "
        "or not every seed gave it, or without test images"
    )
    worst_class: str | None = Field(description="class of the lowest mean recall")
    confusion: tuple[tuple[float, ...], ...] | None = Field(
        description="mean over seeds [K, K], true classes as rows; null with over 100 classes"
    )
    train_seconds: float = Field(ge=0, description="of one training, mean over seeds")
    train_accuracy: Share = Field(description="on the real train images, mean over seeds")
    gap_closed: GapClosed | None = Field(description="null without an oracle, and for it")


class Comparison(Part):
    """The synthaug arm named beforehand against the best arm without synthetic images."""

    primary: str = Field(description="name of the synthaug arm")
    opponent: str = Field(description="name of the best arm without synthetic images")
    differences: dict[MetricName, Difference | None] = Field(description="primary - opponent")
    recall_differences: tuple[Difference | None, ...] = Field(
        description="primary - opponent in the recall of each class [K]"
    )


class Price(Part):
    """A loss beyond chance that came with the gain."""

    class_name: str = Field(description="the class that lost")
    metric: Literal["recall", "precision"] = Field(description="what it lost")
    difference: Difference = Field(description="with - without, below zero")


class ClassVerdict(Part):
    """What is known of one class, against all arms that may be the best."""

    class_name: str = Field(description="the class")
    n_test: Count = Field(description="its test images")
    advice: Advice = Field(description="the answer, corrected for the number of classes")
    reason: str = Field(description="why, in words")
    opponent: str | None = Field(description="name of the arm that decides")
    recall: Difference | None = Field(description="difference in recall to that arm")
    p: Share | None = Field(description="corrected for the number of classes and opponents")
    detectable: float | None = Field(
        description="least difference that so many test images would find 8 times out of 10; null: "
        "none, or not to be told"
    )
    prices: tuple[Price, ...] = Field(description="what other classes lost to this one")


class VerdictDifferences(Part):
    """The overall differences that the verdict rests on, each to the arm that decides."""

    minority_recall: Difference | None = Field(description="in recall of minority classes")
    balanced_accuracy: Difference | None = Field(description="in balanced accuracy")
    macro_f1: Difference | None = Field(description="in macro F1")


class Verdict(Part):
    """The answer. Without two sides to compare there are only `overall` and `sentence`."""

    overall: Advice = Field(description="the answer in a word")
    sentence: str = Field(description="the answer and its reason")
    opponents: tuple[str, ...] = Field((), description="arms that may be the best, best first")
    differences: VerdictDifferences | None = Field(None, description="what the answer rests on")
    prices: tuple[Price, ...] = Field((), description="what the gain was paid with")
    per_class: tuple[ClassVerdict, ...] = Field((), description="the answer for each class [K]")
