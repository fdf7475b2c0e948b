"""The parts of results.json that were measured beside the comparison."""

from typing import Literal

from pydantic import Field

from synthaug.report.schema.base import Count, Interval, Part, Share


class CollapseNumbers(Part):
    """Geometry of one arm's last layer, mean over seeds; null where it is undefined."""

    train_accuracy: Share | None = Field(description="below 0.99 the limit of collapse is far")
    nc1: float | None = Field(description="variance within classes over that between; 0 collapsed")
    cdnv: float | None = Field(description="the same by pairs of classes; 0 collapsed")
    nc3: float | None = Field(description="distance of weights from class means; 0 collapsed")
    nc4: float | None = Field(description="agreement with the nearest class mean; 1 collapsed")
    means_equinorm: float | None = Field(description="spread of the lengths of class means")
    means_equiangular: float | None = Field(description="spread of the angles of class means")
    means_max_angle: float | None = Field(description="distance of their angles from the widest")
    means_etf_distance: float | None = Field(description="distance of class means from the ETF")
    means_seli_distance: float | None = Field(description="distance of class means from the SELI")
    classifier_equinorm: float | None = Field(description="spread of the lengths of the weights")
    classifier_equiangular: float | None = Field(description="spread of the angles of the weights")
    classifier_max_angle: float | None = Field(description="distance of theirs from the widest")
    classifier_etf_distance: float | None = Field(description="distance of the weights from ETF")
    classifier_seli_distance: float | None = Field(description="distance of the weights from SELI")
    minority_cosine: float | None = Field(description="mean cosine of minority classes' weights")
    norm_ratio: float | None = Field(description="length of majority over minority weights")


class Collapse(Part):
    """Neural collapse of every arm that ends in a linear layer."""

    before: str | None = Field(description="name of the opponent, if it was measured")
    after: str | None = Field(description="name of the synthaug arm, if it was measured")
    sentence: str | None = Field(description="what changed from the one to the other")
    arms: dict[str, CollapseNumbers] = Field(description="by name of the arm")


class Beside(Part):
    """A score of synthetic images, and the same of real ones in their place."""

    synthetic: float = Field(description="mean over splits")
    real: float = Field(description="mean over splits")
    real_low: float = Field(description="lowest of the splits")
    real_high: float = Field(description="highest of the splits")


class FidelityScores(Part):
    """One class: its scores, or the reason why there are none."""

    class_name: str = Field(description="the class")
    n_real: Count = Field(description="test images of the class")
    n_synthetic: Count = Field(description="synthetic images of the class")
    n_reference: Count = Field(description="real images on one side of each comparison; 0 refused")
    n_compared: Count = Field(description="images on its other side; 0 refused")
    reason: str | None = Field(description="why there are no scores")
    precision: Beside | None = Field(description="share of images among the reference")
    recall: Beside | None = Field(description="share of the reference among the images")
    density: Beside | None = Field(description="how many reference images each lies among")
    coverage: Beside | None = Field(description="share of the reference with an image nearby")
    frechet: Beside | None = Field(description="in-domain Fréchet distance: no published FID")
    kernel: Beside | None = Field(description="in-domain kernel distance, unbiased: no KID")


class Fidelity(Part):
    """How near the synthetic images of each class are to real ones."""

    features: str = Field(description="arm and seed of the classifier whose features these are")
    classes: tuple[FidelityScores, ...] = Field(description="every class with synthetic images")


class BoundTerms(Part):
    """Means of the terms of the bound, in bits per dimension."""

    prior: float = Field(description="L_T")
    steps: float = Field(description="sum of L_t")
    decoder: float = Field(description="L_0")


class SideTerms(Part):
    """The terms of both sides; a side without images is missing."""

    train: BoundTerms | None = Field(None, description="of train images")
    test: BoundTerms | None = Field(None, description="of test images")


class OverallLikelihood(Part):
    """Bits per dimension of both sides, an upper bound, and the gap between them."""

    n_train: Count = Field(description="train images measured")
    n_test: Count = Field(description="test images measured")
    train: float | None = Field(description="of train images")
    test: float | None = Field(description="of test images")
    gap: Interval | None = Field(description="test - train")


class ClassLikelihood(OverallLikelihood):
    """The same of one class."""

    class_name: str = Field(description="the class")
    denoiser: Literal["base", "specialist"] = Field(description="the network asked")
    gap_error: float | None = Field(None, description="standard error of the gap")
    terms: SideTerms = Field(description="what the bits are made of")


class Likelihood(Part):
    """Whether the generator finds its train images likelier than unseen ones."""

    unit: Literal["bits per dimension"] = Field(description="of all numbers here")
    images_per_class_and_side: int = Field(ge=1, description="at most so many were measured")
    timesteps: int = Field(ge=2, description="network evaluations for each")
    classes: tuple[ClassLikelihood, ...] = Field(description="those that have a network")
    overall: OverallLikelihood = Field(description="means over classes")


class Configuration(Part):
    """One configuration of a tuned arm."""

    share: Share = Field(description="synthetic share")
    tau: float = Field(ge=0, description="strength of logit adjustment")
    power: Share = Field(description="0 natural draws, 1 class-balanced ones")
    amount: Literal["double", "all"] = Field(description="most synthetic images of a class")


class TuningTrial(Configuration):
    """What validation told of a configuration."""

    words: str = Field(description="the configuration in words")
    seeds: int = Field(ge=1, description="seeds it was trained with")
    balanced_accuracy: float | None = Field(description="over all validated images")
    rare_recall: float | None = Field(description="recall of the rarest classes")
    behind: float | None = Field(description="lead of the best; null if it dropped out earlier")
    standard_error: float | None = Field(description="of `behind`")
    chosen: bool = Field(description="whether this one became the arm")


class TuningSide(Part):
    """What was chosen for one side."""

    chosen: Configuration = Field(description="the configuration")
    words: str = Field(description="in words")
    reason: str = Field(description="why")
    best: str = Field(description="the one with the best score, in words")
    seconds: float = Field(ge=0, description="of all its trainings")
    trials: tuple[TuningTrial, ...] = Field(description="all that was tried")


class Tuning(Part):
    """How the tuned arms were chosen, on images held out of train."""

    folds: int = Field(ge=2, description="of the train images")
    trials_per_side: int = Field(ge=1, description="configurations tried")
    trainings_per_side: int = Field(ge=1, description="classifiers trained")
    n_validated: int = Field(ge=1, description="train images that validated")
    classes_not_validated: tuple[str, ...] = Field(description="classes none of them is of")
    n_synthetic: Count = Field(description="synthetic images in all")
    n_synthetic_by_fold: tuple[Count, ...] = Field(description="left to learn from, by fold")
    sides: dict[str, TuningSide] = Field(description="by name of the tuned data side")
    sentence: str = Field(description="what was chosen, in words")
