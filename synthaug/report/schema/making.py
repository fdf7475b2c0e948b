"""The parts of results.json that tell how the images were made: training, drawing, choosing."""

from typing import Literal

from pydantic import Field

from synthaug.report.schema.base import Count, Part, Share


class Specialist(Part):
    """What became of a class's own generator."""

    class_name: str = Field(description="the class")
    kept: bool = Field(description="whether its images are drawn by it")
    reason: str = Field(description="why, or why not, in words")
    n_held_out: Count = Field(description="images of the class that neither network learned from")
    base_loss: float | None = Field(description="denoising loss of the joint network on them")
    specialist_loss: float | None = Field(description="the same of the specialist")


class FitFacts(Part):
    """From fit.json: how the generator was trained. A key that fit.json lacks is missing here."""

    synthaug_version: str | None = Field(None, description="the version that trained it")
    seed: int | None = Field(None, description="the seed of the recipe")
    minutes: float | None = Field(None, ge=0, description="training time")
    steps: Count | None = Field(None, description="optimiser steps, specialists included")
    best_step: Count | None = Field(
        None, description="step whose weights were kept; null: the last, no image was held out"
    )
    n_img: Count | None = Field(None, description="images seen, specialists included")
    n_held_out: Count | None = Field(None, description="train images kept from the generator")
    images_per_second: float | None = Field(None, ge=0, description="training speed")
    parameters: Count | None = Field(None, description="of the network")
    flops_per_image: Count | None = Field(None, description="of one evaluation of one image")
    device: str | None = Field(None, description="what it was trained on")
    per_class: bool | None = Field(None, description="whether specialists were tried")
    from_scratch: bool | None = Field(None, description="whether there is no joint network")
    specialists: tuple[Specialist, ...] | None = Field(None, description="one for each tried")


class Mode(Part):
    """How the images of a class were drawn."""

    mode: Literal["sample", "variation", "interpolate"] = Field(
        description="from pure noise, from one real image, or from two"
    )
    nfe: int | float | None = Field(description="network evaluations for an image")
    reason: str = Field(description="why this way, in words")


class SelectorFacts(Part):
    """The classifier whose features choose among candidates."""

    architecture: str = Field(description="name of its class")
    parameters: Count = Field(description="of the network")
    seed: int = Field(description="of its training")
    steps: Count = Field(description="of its training")
    loss: str = Field(description="what it minimised, in words")
    train_images: Count = Field(description="real train images it learned from")
    train_accuracy: Share = Field(description="on them")


class GenerateFacts(Part):
    """From generate.json: what was drawn and kept. A key that it lacks is missing here."""

    n: Count | None = Field(None, description="synthetic images kept")
    images_per_second: float | None = Field(None, ge=0, description="sampling speed")
    sampler: str | None = Field(None, description="sampling algorithm")
    steps: int | None = Field(None, ge=1, description="sampling steps")
    nfe: int | float | None = Field(None, description="network evaluations, mean over images")
    cfg_scale: float | None = Field(None, description="guidance; 1 is off")
    eta: float | None = Field(None, description="noise of ddim; missing where it is 0")
    strength: float | None = Field(None, description="noise on real images in partial modes")
    candidates: dict[str, Count] | None = Field(None, description="images drawn, by class")
    rejected: dict[str, Count] | None = Field(None, description="candidates refused, by reason")
    rejected_by_class: dict[str, dict[str, Count]] | None = Field(
        None, description="the same, by class and reason"
    )
    shortfall: dict[str, Count] | None = Field(
        None, description="images short of the plan, by class; classes without one are left out"
    )
    modes: dict[str, Mode] | None = Field(None, description="how each class was drawn")
    selector: SelectorFacts | None = Field(None, description="missing where nothing was selected")


class Curve(Part):
    """Losses along the training; block means where there are more than 200 records."""

    n_img: tuple[float, ...] = Field(description="images seen")
    loss: tuple[float, ...] = Field(description="mean squared error of the prediction")


class Learning(Part):
    """How the joint network learned, from metrics.jsonl."""

    train: Curve = Field(description="on the batches it was trained on")
    held_out: Curve | None = Field(
        description="on train images kept from it, by averaged weights; null: none were"
    )


class Copies(Part):
    """Likely copies among the synthetic images of a class, and among its real ones: the null."""

    class_name: str = Field(description="the class")
    n_synthetic: Count = Field(description="synthetic images looked at")
    copies: Count = Field(description="of these, likely copies of a train image")
    n_real: Count = Field(description="real train images looked at, each against all others")
    copies_among_real: Count = Field(description="of these, as near to another train image")
    p: Share | None = Field(
        description="one-sided Fisher exact test of more copies than among real; null without both"
    )


class Memorisation(Part):
    """Whether synthetic images lie as near to one train image as only copies do."""

    ratio_below: float = Field(
        description="an image is a likely copy where its distance to the nearest train image is "
        "below this share of that to the second nearest"
    )
    classes: tuple[Copies, ...] = Field(description="every class with synthetic images")
