"""`diffusion`: the network, the noise it learns to remove, and its training."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from synthaug.recipe.data import SMALLEST_IMAGE
from synthaug.recipe.duration import parse_duration
from synthaug.recipe.section import Contradiction, Section, told_as_value_error


def _schedule_kind(value: object) -> str:
    return "name" if isinstance(value, str) else "betas"


class DiffusionSection(Section):
    prediction: Literal["v", "eps", "x0"] = Field(
        "v", description="what the network puts out: velocity, noise or image"
    )
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
    loss: Literal["simple", "bound", "min_snr"] = Field(
        "simple", description="squared error, the variational bound, or min-SNR weights"
    )
    min_snr_gamma: float = Field(5.0, gt=0, description="with loss: min_snr")
    T: int = Field(1000, ge=10, description="steps; with a list of betas, their number")
    channels: tuple[int, ...] | None = Field(
        None, min_length=1, description="UNet channels per level; null: from size and device"
    )
    layers: int = Field(1, ge=1, le=4, description="residual blocks per level, with `channels`")
    patch: Literal[1, 2, 4] = Field(1, description="pixels folded into channels, with `channels`")
    attention: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="sides of the feature maps with self-attention, as in [16]; with `channels`"
    )
    attention_width: int | None = Field(
        16, ge=8, description="channels of an attention head; null: a single head"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="in the residual blocks")
    time_limit: str | None = Field("10m", description="training time, such as 90s, 10m, 1.5h")
    steps: int | None = Field(None, ge=1, description="optimiser steps; overrides the time limit")
    batch_size: int = Field(64, ge=1, description="images of an optimiser step")
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="images of a step in memory at once; auto: as many as fit"
    )
    learning_rate: float = Field(1e-3, gt=0, description="the highest; falls as half a cosine")
    warmup_steps: int = Field(100, ge=0, description="of rising rate; at most a tenth of all")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="warms up as (1 + step)/(10 + step)")
    p_uncond: float = Field(0.1, ge=0, lt=1, description="label drop for classifier-free guidance")
    class_power: float = Field(0.5, ge=0, le=1, description="0 natural, 0.5 sqrt, 1 balanced")
    grad_clip: float = Field(1.0, gt=0, description="greatest norm of a gradient")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
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
    checkpoint_every: Annotated[int, Field(ge=1)] | str = Field(
        "2m", description="time such as 90s or 5m, or a number of steps, between two checkpoints"
    )
    keep_checkpoints: int = Field(2, ge=1, description="of a training under way, the newest")
    specialist: Literal["full", "low_rank"] = Field(
        "full", description="train all weights of a specialist, or low-rank adapters"
    )
    specialist_rank: int = Field(8, ge=1, description="of low-rank adapters")
    specialist_share: float = Field(
        0.3, gt=0, lt=1, description="of the training time, for --per-class specialists"
    )
    specialist_learning_rate: float = Field(
        2e-4, gt=0, description="lower than the base's, where they continue it"
    )

    @field_validator("time_limit", "checkpoint_every")
    @classmethod
    def _readable(cls, value: str | int | None) -> str | int | None:
        if isinstance(value, str):
            told_as_value_error(parse_duration, value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _count_betas(cls, content: Any) -> Any:
        """With a list of betas T is their number, so that nobody has to count them."""
        betas = content.get("schedule") if isinstance(content, dict) else None
        if not isinstance(betas, (list, tuple)) or "T" in content:
            return content
        return {**content, "T": len(betas)}

    def contradictions(self) -> Iterator[Contradiction]:
        if isinstance(self.schedule, tuple) and len(self.schedule) != self.T:
            yield Contradiction(
                ("T", "schedule"),
                f"T is {self.T} beside a schedule of {len(self.schedule)} betas; leave T out",
            )
        # Ends of a schedule that has none would be ignored without a word.
        if self.schedule != "linear" and (self.beta_start, self.beta_end) != (1e-4, 0.02):
            yield Contradiction(
                ("schedule", "beta_start", "beta_end"),
                "beta_start and beta_end belong to `schedule: linear`",
            )
        if self.transfer == "t2h" and self.augment:
            yield Contradiction(
                ("transfer", "augment"),
                "transfer t2h and augment exclude each other: a swapped target would carry "
                "another image's augmentation",
            )
        if self.channels is None and (self.layers, self.patch, self.attention) != (1, 1, ()):
            yield Contradiction(
                ("channels", "layers", "patch", "attention"),
                "layers, patch and attention belong to a network of your own: give channels too",
            )

    def map_sides(self, image_size: int) -> tuple[int, ...]:
        """Pixels a side of the feature maps of each level of `channels`, the largest first."""
        levels = range(len(self.channels or ()))
        return tuple(image_size // (self.patch * 2**level) for level in levels)

    @property
    def divisor(self) -> int:
        """What the side of an image has to be a multiple of, for a network of one's own."""
        return self.patch << (len(self.channels or (0,)) - 1)

    def near_sizes(self, image_size: int) -> tuple[int, ...]:
        """The nearest sizes that halve as often as there are levels; none if this one does."""
        if image_size % self.divisor == 0:
            return ()
        below = image_size // self.divisor * self.divisor
        return tuple(n for n in (below, below + self.divisor) if n >= SMALLEST_IMAGE)

    def misfit(self, image_size: int) -> str:
        """Why a network of one's own cannot take images of a size; empty if it can."""
        if self.channels is None:
            return ""
        if near := self.near_sizes(image_size):
            return (
                f"image size {image_size} is no multiple of {self.divisor}, as the "
                f"{len(self.channels)} levels of diffusion.channels need: "
                f"{' or '.join(map(str, near))} would be"
            )
        sides = self.map_sides(image_size)
        odd = sorted(set(self.attention) - set(sides))
        if odd:
            return (
                f"diffusion.attention {odd}: at image size {image_size} the feature maps are "
                f"{', '.join(map(str, sides))} pixels a side"
            )
        return ""
