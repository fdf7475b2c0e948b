"""The keys of a recipe: what each may be, and what it is when nothing is said."""

import math
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)


class Section(BaseModel):
    """A part of a recipe: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSection(Section):
    image_size: int | None = Field(None, ge=8, le=256, description="pixels; null: from the images")
    channels: Literal[1, 3] | None = Field(None, description="1 grey, 3 colour; null: from images")
    test_fraction: float = Field(
        0.2, gt=0, lt=0.9, description="cut per class if there is no test/"
    )
    held_out_fraction: float = Field(
        0.15, gt=0, lt=0.5, description="of a class's train images, to judge specialists by"
    )
    exclude: tuple[str, ...] = Field((), description="classes to leave out")
    groups: str | None = Field(
        None,
        description="what stays on one side of a split, such as a patient: a column of a table, or "
        "a pattern searched in the paths of a folder",
    )
    near_duplicates: Literal["group", "drop", "ignore"] = Field(
        "group", description="keep them on one side, leave out test images like train, or nothing"
    )
    folds: int | None = Field(None, ge=2, le=20, description="k-fold instead of one test split")
    fold: int | None = Field(None, ge=0, description="the one of the folds to test on")
    on_bad_image: Literal["skip", "error"] = "skip"
    animations: Literal["first_frame", "refuse"] = "first_frame"
    background: int = Field(255, ge=0, le=255, description="grey level behind transparency")
    value_range: tuple[float, float] | None = Field(
        None, description="levels of deep images that become black and white; null: all 16 bits"
    )
    max_pixels: int = Field(50_000_000, ge=1, description="larger images are left out")
    min_side: int = Field(4, ge=1, description="smaller images are left out")
    follow_links: bool = Field(False, description="also links that lead out of the folder")
    images_root: str | None = Field(None, description="of a table's paths; null: its own folder")
    image_column: str | None = None
    label_column: str | None = None

    @model_validator(mode="after")
    def _sensible(self) -> "DataSection":
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range {self.value_range} is empty: LOW must be under HIGH")
        if self.fold is not None and self.fold >= (self.folds or 0):
            raise ValueError(f"fold {self.fold} of {self.folds} folds: they count from 0")
        return self


class BalanceSection(Section):
    strategy: str | int | float | dict[str, int] = Field(
        "auto",
        description="auto, minority, 'not minority', 'not majority', all; a final count N; a share "
        "such as 0.5 for two classes; class=N,... or {class: N}",
    )
    cap: float | dict[str, float | None] | None = Field(
        None, description="synthetic images for each real one, of every class or {class: number}"
    )
    minority_below: float = Field(
        0.5, gt=0, le=1, description="a class is minority below this share of the largest"
    )

    # Checked before the unions are, which would list what is wrong with each of their forms.
    @field_validator("strategy", mode="before")
    @classmethod
    def _strategy(cls, value: Any) -> Any:
        by_class = isinstance(value, dict)
        numbers = value.values() if by_class else [value]
        kinds = int if by_class else str | int | float
        if any(isinstance(n, bool) or not isinstance(n, kinds) for n in numbers):
            raise ValueError(f"{value!r} is no word, number, share or {{class: whole number}}")
        return _text_keys(value)

    @field_validator("cap", mode="before")
    @classmethod
    def _cap(cls, value: Any) -> Any:
        for n in value.values() if isinstance(value, dict) else [value]:
            number = isinstance(n, int | float) and not isinstance(n, bool)
            if n is not None and not (number and 0 <= n < math.inf):
                raise ValueError(f"{value!r} is no number of 0 or more, {{class: number}} or null")
        return _text_keys(value)


def _text_keys(value: Any) -> Any:
    """Class names as text: YAML reads that of a class called 3 as a number."""
    if not isinstance(value, dict):
        return value
    return {str(key) if isinstance(key, int) else key: item for key, item in value.items()}


def _schedule_kind(value: object) -> str:
    return "name" if isinstance(value, str) else "betas"


class DiffusionSection(Section):
    prediction: Literal["v", "eps", "x0"] = "v"
    schedule: Annotated[
        Annotated[Literal["cosine", "linear"], Tag("name")]
        | Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Tag("betas")],
        Discriminator(_schedule_kind),
    ] = Field("cosine", description="cosine, linear, or the list of all betas")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="first beta of the linear schedule")
    beta_end: float = Field(0.02, gt=0, lt=1, description="last beta of the linear schedule")
    variance: Literal["beta_tilde", "beta", "learned"] = Field(
        "beta_tilde", description="of the reverse steps, for the ddpm sampler and the bound"
    )
    loss: Literal["simple", "bound", "min_snr"] = "simple"
    min_snr_gamma: float = Field(5.0, gt=0, description="with loss: min_snr")
    T: int = Field(1000, ge=10, description="steps; with a list of betas, their number")
    channels: tuple[int, ...] | None = Field(
        None, min_length=1, description="UNet channels per level; null: from size and device"
    )
    layers: int = Field(1, ge=1, le=4, description="residual blocks per level, with `channels`")
    patch: Literal[1, 2, 4] = Field(1, description="pixels folded into channels, with `channels`")
    dropout: float = Field(0.0, ge=0, lt=1)
    time_limit: str | None = Field("10m", description="training time, such as 90s, 10m, 1.5h")
    steps: int | None = Field(None, ge=1, description="optimiser steps; overrides the time limit")
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup_steps: int = Field(100, ge=0)
    ema_decay: float = Field(0.999, ge=0, lt=1, description="warms up as (1 + step)/(10 + step)")
    p_uncond: float = Field(0.1, ge=0, lt=1, description="label drop for classifier-free guidance")
    class_power: float = Field(0.5, ge=0, le=1, description="0 natural, 0.5 sqrt, 1 balanced")
    grad_clip: float = Field(1.0, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    flip: bool = Field(False, description="mirror images; only if that keeps their class")
    augment: tuple[Literal["shift", "scale", "rotate", "flip"], ...] = Field(
        (), description="non-leaky: the network is told, and makes images as they are in the data"
    )
    augment_probability: float = Field(0.15, ge=0, le=1, description="of each augmentation")
    transfer: Literal["none", "cbdm", "t2h"] = Field(
        "none", description="from frequent to rare classes"
    )
    transfer_tau: float = Field(1.0, ge=0, description="weight of the CBDM regulariser")
    early_stop: bool | None = Field(
        None, description="null: if val/ or --per-class holds images out anyway; true: cut some"
    )
    check_every: int = Field(250, ge=1, description="steps between checks of the held-out loss")
    patience: int = Field(8, ge=1, description="checks without a lower loss before stopping")
    specialist: Literal["full", "low_rank"] = Field(
        "full", description="train all weights of a specialist, or low-rank adapters"
    )
    specialist_rank: int = Field(8, ge=1)
    specialist_share: float = Field(
        0.3, gt=0, lt=1, description="of the training time, for --per-class specialists"
    )
    specialist_learning_rate: float = Field(2e-4, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _count_betas(cls, content: Any) -> Any:
        """With a list of betas T is their number, so that nobody has to count them."""
        betas = content.get("schedule") if isinstance(content, dict) else None
        if isinstance(betas, (list, tuple)) and content.get("T", len(betas)) != len(betas):
            raise ValueError(
                f"T is {content['T']} beside a schedule of {len(betas)} betas; leave T out"
            )
        return {**content, "T": len(betas)} if isinstance(betas, (list, tuple)) else content

    @model_validator(mode="after")
    def _fits_together(self) -> "DiffusionSection":
        # Ends of a schedule that has none would be ignored without a word.
        if self.schedule != "linear" and (self.beta_start, self.beta_end) != (1e-4, 0.02):
            raise ValueError("beta_start and beta_end belong to `schedule: linear`")
        if self.transfer == "t2h" and self.augment:
            raise ValueError(
                "transfer t2h and augment exclude each other: a swapped target would carry "
                "another image's augmentation"
            )
        return self


class SamplingSection(Section):
    sampler: Literal["ddpm", "ddim", "dpmpp_2m", "heun"] = "ddim"
    steps: int = Field(20, ge=1)
    cfg_scale: float = Field(1.0, ge=0, description="1 is off")
    strength: float = Field(
        0.6, gt=0, le=1, description="noise put on real images to vary or mix them; 1 is all"
    )
    eta: float = Field(0.0, ge=0, le=1, description="noise of ddim: 0 none, 1 that of ddpm")
    batch_size: int = Field(128, ge=1)

    @model_validator(mode="after")
    def _eta_of_ddim(self) -> "SamplingSection":
        """Any other sampler would ignore it without a word."""
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta {self.eta:g} belongs to `sampler: ddim`, not {self.sampler}")
        return self


class SelectionSection(Section):
    """Thresholds as in `selection.choose.Thresholds`."""

    enabled: bool = Field(True, description="refuse copies and images that are not of their class")
    over_generate: float = Field(
        1.5, ge=1, le=20, description="candidates drawn at first for each image wanted"
    )
    draw_at_most: float = Field(
        3.0, ge=1, le=100, description="candidates for each image wanted, with all redraws"
    )
    steps: int = Field(400, ge=1, description="of training the classifier that selects")
    copy_rate: float = Field(
        0.02, ge=0, lt=1, description="share of real images that may be taken for copies"
    )
    copy_below: float = Field(
        0.5, gt=0, le=1, description="ratio of distances above which no image is called a copy"
    )
    limit_rate: float = Field(
        0.01, ge=0, lt=0.5, description="share of real images beyond each limit, before widening"
    )
    widen: float = Field(
        2.0, ge=0, description="limits move by a factor 1 + widen / sqrt(images of the class)"
    )
    duplicate_below: float = Field(
        0.25, ge=0, lt=1, description="of the distance of two real images: a repetition"
    )
    third_above: float = Field(
        0.5, ge=0, le=1, description="probability of an unlike class that refuses an image"
    )
    entropy_above: float = Field(
        0.75, ge=0, le=1, description="of the class probabilities, 1 is undecided"
    )
    max_shift: int | None = Field(
        None, ge=0, le=7, description="pixels a copy may have moved; null: 1, from 16 pixels on 2"
    )
    mirror: bool = Field(True, description="a mirrored train image is a copy too")

    @model_validator(mode="after")
    def _at_least_the_first_draw(self) -> "SelectionSection":
        if self.draw_at_most < self.over_generate:
            raise ValueError(
                f"draw_at_most {self.draw_at_most:g} is below over_generate {self.over_generate:g}"
            )
        return self


class EvaluationSection(Section):
    arms: str = "default"
    seeds: int = Field(5, ge=1)
    steps: int = Field(800, ge=1)
    batch_size: int = Field(64, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(5e-2, ge=0)
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


class AblationSection(Section):
    question: str = Field("", description="what the comparison is to answer")
    variants: dict[str, dict[str, Any]] = Field(
        {}, description="name: {section.key: value}, each over the rest of the recipe"
    )


class Recipe(Section):
    """A whole run: what `fit`, `generate` and `evaluate` do, and the seed they share."""

    name: str = "default"
    description: str = ""
    seed: int = Field(0, ge=0)
    data: DataSection = DataSection()
    balance: BalanceSection = BalanceSection()
    diffusion: DiffusionSection = DiffusionSection()
    sampling: SamplingSection = SamplingSection()
    selection: SelectionSection = SelectionSection()
    evaluation: EvaluationSection = EvaluationSection()
    ablation: AblationSection = AblationSection()

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
