"""What the parts of results.json have in common: strictness, names, and numbers with intervals."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Advice = Literal["use", "do not use", "cannot tell"]
MetricName = Literal[
    "balanced_accuracy", "rarest_recall", "minority_recall", "macro_f1", "many_recall",
    "medium_recall", "few_recall", "accuracy", "g_mean", "worst_recall", "calibration_error",
]  # fmt: skip


class Part(BaseModel):
    """A part of results.json: frozen, nothing beside the fields it has, no NaN, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(Part):
    """A number with its 95 % interval."""

    mean: float = Field(description="the mean")
    low: float | None = Field(description="lower end of the interval; null where there is none")
    high: float | None = Field(description="upper end of the interval; null where there is none")


class Estimate(Interval):
    """A score: its mean over seeds with a t-interval over them, null with one seed."""

    values: tuple[float, ...] = Field(description="the number of each seed, in order")


class Difference(Estimate):
    """A paired difference; its interval counts the luck of seeds and of test images."""

    p: Share | None = Field(description="two-sided p-value against no difference, not corrected")
