"""`evaluation`: the classifiers that are compared."""

from pydantic import Field, field_validator

from synthaug.evaluation.arms import parse_arms
from synthaug.recipe.section import Section, told_as_value_error


class EvaluationSection(Section):
    arms: str = Field("default", description="default, all, or a list as for evaluate --arms")
    seeds: int = Field(5, ge=1, description="classifiers of each arm, the same seeds in all")
    steps: int = Field(800, ge=1, description="optimiser steps of each classifier")
    batch_size: int = Field(64, ge=2, description="images of an optimiser step")
    learning_rate: float = Field(1e-3, gt=0, description="the highest; falls as a cosine")
    weight_decay: float = Field(5e-2, ge=0, description="of AdamW")
    classifier: str = Field(
        "small-resnet",
        description="small-resnet, timm:MODEL, or package:function(channels, n_classes, "
        "image_size)",
    )
    max_shift: int = Field(1, ge=0, description="pixels an image is moved each way, in every arm")
    flip: bool = Field(False, description="mirror images, in every arm; if that keeps their class")
    tau: float = Field(1.0, ge=0, description="strength of logit adjustment, in every /la arm")
    cb_beta: float = Field(
        0.9999, ge=0, lt=1, description="effective number of images, in /cb and late in /ldam"
    )
    focal_gamma: float = Field(2.0, ge=0, description="focusing, in /focal; 0 is /ce")
    ldam_margin: float = Field(0.5, ge=0, le=2, description="cosine margin of the rarest class")
    ldam_scale: float = Field(30.0, gt=0, description="of the cosines that are /ldam's logits")
    mixup_alpha: float = Field(0.2, gt=0, description="of Beta(alpha, alpha), in mixup")
    cutmix_alpha: float = Field(1.0, gt=0, description="of Beta(alpha, alpha), in cutmix")
    synthetic_weight: float = Field(
        0.5, ge=0, le=1, description="of a synthetic image's loss, in synthaug-weighted"
    )
    deferred_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="last part of the steps: /ldam weighs classes, synthaug-finetune shows real "
        "images only, smote-features trains the last layer",
    )
    synthetic_share: float = Field(
        0.5, ge=0, le=1, description="0 real images only, 1 the balanced folder as it is"
    )
    likelihood_images: int = Field(25, ge=1, description="per class, train and test each")
    likelihood_timesteps: int = Field(100, ge=2, description="network evaluations per image")

    @field_validator("arms")
    @classmethod
    def _known(cls, text: str) -> str:
        # Whether there are extra real images, only the command line of `evaluate` says.
        told_as_value_error(lambda words: parse_arms(words, oracle=True, unfiltered=True), text)
        return text
