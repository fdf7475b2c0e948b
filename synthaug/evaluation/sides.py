"""Data sides: what an arm trains on. Each is one function from the `Material` to a `TrainingSet`.

They draw in one of five ways:

- every real image alike: real, classical, mixup, cutmix, and smote-features but for its last part;
- classes alike, real images: real+oversample, and the last part of synthaug-finetune;
- classes alike, `synthetic_share` of the balanced mix within each: synthaug, synthaug-unfiltered,
  synthaug-finetune, copy-control, noise-control, smote;
- classes alike, the balanced mix as it is: synthaug-weighted;
- classes alike, real images and further ones: oracle.

The `TUNED_SIDES` draw as the trial says that was chosen for them (see `tuning`).

With one seed the k-th draw of a step uses the same random number in every arm (`training.Draws`).
So all sides that draw classes alike draw the same classes; those of the first way draw the very
same images, and copy-control, noise-control and synthaug the same real images and, in the place of
a synthetic one, its stand-in.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from synthaug.evaluation.material import Labelled, Material, TrainingSet, class_balanced, mixed
from synthaug.evaluation.smote import smote
from synthaug.evaluation.tuning import TRIALS, Trial

NOISE = 0.2
"""Standard deviation of the noise control's noise, in standard deviations of the train pixels."""

# Real images --------------------------------------------------------------------------------------


def natural(material: Material) -> TrainingSet:
    """The real train images, each as likely as the next."""
    images, labels = material.real
    return TrainingSet(images, labels, np.full(len(labels), 1 / len(labels)))


def oversampled(material: Material) -> TrainingSet:
    """The real train images, every class equally likely: class-balanced oversampling."""
    images, labels = material.real
    return TrainingSet(images, labels, class_balanced(labels))


def classical(material: Material) -> TrainingSet:
    """The real images with classical augmentation: small affine maps, crops, colours, erasing."""
    return replace(natural(material), transform="classical")


def mixup(material: Material) -> TrainingSet:
    """The real images, mixed in pairs with their labels (Zhang et al. 2018, arXiv:1710.09412)."""
    return replace(natural(material), transform="mixup")


def cutmix(material: Material) -> TrainingSet:
    """The real images, a box of each replaced by another's (Yun et al. 2019, arXiv:1905.04899)."""
    return replace(natural(material), transform="cutmix")


def with_smote(material: Material) -> TrainingSet:
    """Real images and SMOTE's between them, in pixels, up to the counts of the plan."""
    images, labels = material.real
    flat = images.reshape(len(images), -1)
    made, made_labels = smote(flat, labels, material.planned(), seed=material.seed)
    between = made.reshape(len(made), *images.shape[1:])
    return mixed(material.real, (between, made_labels), material.synthetic_share)


def with_smote_features(material: Material) -> TrainingSet:
    """The real images, then SMOTE in the features of the network that was trained on them.

    The decoupled recipe (Kang et al. 2020, arXiv:1910.09217): all layers learn from natural draws,
    then the last layer alone, here on classes drawn alike from features that SMOTE filled up to
    the counts of the plan. It goes on from where it was: a new one would have too few steps.
    """
    return replace(natural(material), smote_features=material.planned())


def with_extra_real(material: Material) -> TrainingSet:
    """Real train images and further real ones, class-balanced: what collecting data would give."""
    images, labels = _needed(material.extra, "oracle", "extra real images")
    images = np.concatenate([material.real[0], images])
    labels = np.concatenate([material.real[1], labels])
    return TrainingSet(images, labels, class_balanced(labels))


# Controls: what is left of the synthaug arm without what is new in its images ---------------------


def with_copies(material: Material) -> TrainingSet:
    """The synthaug arm with every synthetic image replaced by a real train image of its class.

    Same counts, same weights, no new information: what is left is the effect of rebalancing.
    """
    return mixed(material.real, _copies(material, "copy-control"), material.synthetic_share)


def with_noisy_copies(material: Material) -> TrainingSet:
    """The copy control with Gaussian pixel noise on every copy (see `NOISE`).

    Copies that are never quite alike regularise without telling anything new; a synthaug arm that
    is no better owes its gain to that.
    """
    images, labels = _copies(material, "noise-control")
    rng = np.random.default_rng([material.seed, 0x40])
    level = NOISE * float(material.real[0].std())
    # One image at a time: noise is eight bytes a pixel.
    noisy = [np.clip(rng.normal(i, level).round(), 0, 255).astype(np.uint8) for i in images]
    added = (np.stack(noisy) if noisy else images, labels)
    return mixed(material.real, added, material.synthetic_share)


def _copies(material: Material, side: str) -> Labelled:
    """A real image of its class for every synthetic image, the same ones for both controls."""
    wanted = _needed(material.synthetic, side, "the counts of the synthetic images")[1]
    images, labels = material.real
    rng = np.random.default_rng([material.seed, 0xC0])
    copied = np.array([rng.choice(np.flatnonzero(labels == k)) for k in wanted], dtype=np.int64)
    return images[copied], labels[copied]


# Synthetic images ---------------------------------------------------------------------------------


def with_synthetic(material: Material) -> TrainingSet:
    """Class-balanced draws in which a class's images are partly synthetic (see `mixed`)."""
    added = _needed(material.synthetic, "synthaug", "synthetic images")
    return mixed(material.real, added, material.synthetic_share)


def with_unfiltered(material: Material) -> TrainingSet:
    """The synthaug arm with everything that was drawn, before anything was selected.

    A class's synthetic images are drawn as often as in `synthaug`, however many there are, so that
    selection is all that differs.
    """
    added = _needed(material.unfiltered, "synthaug-unfiltered", "the images before selection")
    kept = _needed(material.synthetic, "synthaug-unfiltered", "synthetic images")[1]
    m = np.bincount(kept, minlength=material.n_classes)
    return mixed(material.real, added, material.synthetic_share, m=m)


def with_weighted_synthetic(material: Material) -> TrainingSet:
    """The balanced set as it is, with a smaller loss for synthetic images.

    The other way to trust them less: `synthaug` shows them less often instead.
    """
    added = _needed(material.synthetic, "synthaug-weighted", "synthetic images")
    data = mixed(material.real, added, 1.0)
    return replace(data, discounted=np.arange(len(data.labels)) >= len(material.real[1]))


def with_real_ending(material: Material) -> TrainingSet:
    """The synthaug arm, whose last part of the steps is class-balanced draws of real images."""
    added = _needed(material.synthetic, "synthaug-finetune", "synthetic images")
    data = mixed(material.real, added, material.synthetic_share)
    ending = np.concatenate([class_balanced(material.real[1]), np.zeros(len(added[1]))])
    return replace(data, last_weights=ending)


# Tuned sides --------------------------------------------------------------------------------------


def with_trial(material: Material, trial: Trial) -> TrainingSet:
    """What a trial of tuning trains on; without synthetic images if its share is 0.

    Of a class with more synthetic images than the trial takes, the first are taken.
    """
    images, labels = material.real
    added = images[:0], labels[:0]
    if trial.share:
        added = _needed(material.synthetic, "synthaug-tuned", "synthetic images")
        if trial.amount == "double":
            added = _first_of_each_class(added, np.bincount(labels, minlength=material.n_classes))
    data = mixed(material.real, added, trial.share, power=trial.power)
    return replace(data, tau=trial.tau)


def _first_of_each_class(part: Labelled, most: np.ndarray) -> Labelled:
    """At most `most` int [K] images of each class, the first ones, in their order."""
    images, labels = part
    taken = np.zeros(len(labels), dtype=bool)
    for k in np.unique(labels):
        taken[np.flatnonzero(labels == k)[: most[k]]] = True
    return images[taken], labels[taken]


def _needed(part: Labelled | None, side: str, what: str) -> Labelled:
    if part is None:
        raise ValueError(f"the {side} arm needs {what}")
    return part


DATA_SIDES: dict[str, Callable[[Material], TrainingSet]] = {
    "real": natural,
    "real+oversample": oversampled,
    "classical": classical,
    "mixup": mixup,
    "cutmix": cutmix,
    "smote": with_smote,
    "smote-features": with_smote_features,
    "copy-control": with_copies,
    "noise-control": with_noisy_copies,
    "synthaug": with_synthetic,
    "synthaug-unfiltered": with_unfiltered,
    "synthaug-weighted": with_weighted_synthetic,
    "synthaug-finetune": with_real_ending,
    "oracle": with_extra_real,
}
TUNED_SIDES = tuple(TRIALS)


def training_set(side: str, material: Material) -> TrainingSet:
    """What a side of `DATA_SIDES` or `TUNED_SIDES` trains on.

    Raises `ValueError` for a side that the material lacks something for.
    """
    if side not in TUNED_SIDES:
        return DATA_SIDES[side](material)
    if material.tuned is None:
        raise ValueError(f"the {side} arm needs a choice")
    return with_trial(material, material.tuned[side])
