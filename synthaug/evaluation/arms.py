"""Arms: the training regimes under comparison, each a data side and a loss side.

A data side is a `TrainingSet`: images and how often each is drawn. Everything else (network, steps,
seeds, augmentation, test set) is the same for every arm, so a difference between two arms is a
difference between their `TrainingSet`s or losses and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthaug.errors import UsageError


@dataclass(frozen=True)
class TrainingSet:
    """`images` uint8 [N, C, H, W], `labels` int64 [N], `weights` float64 [N] summing to 1.

    `weights` is the probability of each image to be the next one drawn.
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Material:
    """What arms are made of; only `real` exists everywhere. Arrays as in `TrainingSet`.

    `synthetic` comes from the balanced set, `extra` are further real images (the oracle's).
    `synthetic_share` is how far to go from oversampling (0) to the balanced set as it is (1).
    """

    real: tuple[np.ndarray, np.ndarray]
    n_classes: int
    synthetic: tuple[np.ndarray, np.ndarray] | None = None
    extra: tuple[np.ndarray, np.ndarray] | None = None
    synthetic_share: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Arm:
    """One training regime: `name` is `data/loss`."""

    data: str
    loss: str

    @property
    def name(self) -> str:
        return f"{self.data}/{self.loss}"

    @property
    def synthetic(self) -> bool:
        return self.data == "synthaug"

    @property
    def oracle(self) -> bool:
        return self.data == "oracle"

    @property
    def control(self) -> bool:
        return self.data == "copy-control"


def natural(material: Material) -> TrainingSet:
    """The real train images, each as likely as the next."""
    images, labels = material.real
    return TrainingSet(images, labels, np.full(len(labels), 1 / len(labels)))


def oversampled(material: Material) -> TrainingSet:
    """The real train images, every class equally likely: class-balanced oversampling."""
    images, labels = material.real
    return TrainingSet(images, labels, class_balanced(labels))


def with_synthetic(material: Material) -> TrainingSet:
    """Class-balanced draws in which a class's images are partly synthetic (see `mixed`)."""
    if material.synthetic is None:
        raise ValueError("the synthaug arm needs synthetic images")
    return mixed(material.real, material.synthetic, material.synthetic_share)


def with_copies(material: Material) -> TrainingSet:
    """The synthaug arm with every synthetic image replaced by a real train image of its class.

    Same counts, same weights, no new information: what is left is the effect of rebalancing.
    """
    if material.synthetic is None:
        raise ValueError("the copy control needs the counts of the synthetic images")
    images, labels = material.real
    rng = np.random.default_rng([material.seed, 0xC0])
    copied = np.array(
        [rng.choice(np.flatnonzero(labels == k)) for k in material.synthetic[1]], dtype=np.int64
    )
    return mixed(material.real, (images[copied], labels[copied]), material.synthetic_share)


def with_extra_real(material: Material) -> TrainingSet:
    """Real train images and further real ones, class-balanced: what collecting data would give."""
    if material.extra is None:
        raise ValueError("the oracle arm needs extra real images")
    images = np.concatenate([material.real[0], material.extra[0]])
    labels = np.concatenate([material.real[1], material.extra[1]])
    return TrainingSet(images, labels, class_balanced(labels))


def class_balanced(labels: np.ndarray) -> np.ndarray:
    """Weights float64 [N] that draw every class present equally often."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels] / np.count_nonzero(counts)


def mixed(
    real: tuple[np.ndarray, np.ndarray], added: tuple[np.ndarray, np.ndarray], share: float
) -> TrainingSet:
    """Real and added images, classes equally likely; `share` of the balanced set's mix within one.

    A class with n real and m added images draws added ones with probability share * m / (n + m):
    share 0 is oversampling of the real images, share 1 draws all n + m alike, and a class that
    needed few images is little changed by them.
    """
    n_classes = int(max(real[1].max(), added[1].max(initial=0))) + 1
    n = np.bincount(real[1], minlength=n_classes)
    m = np.bincount(added[1], minlength=n_classes)
    p_added = share * m / np.maximum(n + m, 1)
    per_class = 1.0 / np.count_nonzero(n)
    w_real = (per_class * (1 - p_added) / np.maximum(n, 1))[real[1]]
    w_added = (per_class * p_added / np.maximum(m, 1))[added[1]]
    return TrainingSet(
        np.concatenate([real[0], added[0]]),
        np.concatenate([real[1], added[1]]),
        np.concatenate([w_real, w_added]),
    )


DATA_SIDES: dict[str, Callable[[Material], TrainingSet]] = {
    "real": natural,
    "real+oversample": oversampled,
    "copy-control": with_copies,
    "synthaug": with_synthetic,
    "oracle": with_extra_real,
}
LOSS_SIDES = ("ce", "la")
DEFAULT_ARMS = (
    Arm("real", "ce"),
    Arm("real", "la"),
    Arm("real+oversample", "ce"),
    Arm("real+oversample", "la"),
    Arm("copy-control", "ce"),
    Arm("copy-control", "la"),
    Arm("synthaug", "ce"),
    Arm("synthaug", "la"),
)


def parse_arms(text: str, *, oracle: bool) -> tuple[Arm, ...]:
    """Arms from `default`, `all`, or a comma-separated list of `data` and `data/loss` names.

    `data` alone means all its losses. `oracle` adds the oracle arm, and allows it to be named.
    Raises `UsageError` for an unknown arm, naming the known ones.
    """
    available = [d for d in DATA_SIDES if oracle or d != "oracle"]
    chosen: list[Arm] = []
    for word in (w.strip() for w in text.split(",")):
        data, _, loss = word.partition("/")
        if word in ("default", "all"):
            chosen += [*DEFAULT_ARMS]
        elif data == "oracle" and not oracle:
            raise UsageError(
                "arm 'oracle' without extra real images", remedy="name their folder: --oracle DIR"
            )
        elif data in available and (not loss or loss in LOSS_SIDES):
            chosen += [Arm(data, loss_name) for loss_name in ([loss] if loss else LOSS_SIDES)]
        else:
            names = ", ".join(f"{d}/{side}" for d in available for side in LOSS_SIDES)
            raise UsageError(f"unknown arm {word!r}", expected=f"some of {names}")
    if oracle and not any(arm.oracle for arm in chosen):
        chosen += [Arm("oracle", "ce")]
    return tuple(dict.fromkeys(chosen))
