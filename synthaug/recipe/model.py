"""A whole recipe: its sections, and what they say against each other."""

from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import Field, model_validator

from synthaug.recipe.ablation import AblationSection
from synthaug.recipe.balance import BalanceSection
from synthaug.recipe.data import DataSection
from synthaug.recipe.diffusion import DiffusionSection
from synthaug.recipe.evaluation import EvaluationSection
from synthaug.recipe.sampling import SamplingSection
from synthaug.recipe.section import Contradiction, Section
from synthaug.recipe.selection import SelectionSection
from synthaug.recipe.tracking import TrackingSection


class Recipe(Section):
    """A whole run: what `fit`, `generate` and `evaluate` do, and the seed they share."""

    name: str = Field("default", description="what the report calls it")
    description: str = Field("", description="one line of what it is for")
    needs_gpu: bool = Field(False, description="`fit` refuses it elsewhere: it would take weeks")
    seed: int = Field(0, ge=0, description="of splits, training and images")
    data: DataSection = DataSection()
    balance: BalanceSection = BalanceSection()
    diffusion: DiffusionSection = DiffusionSection()
    sampling: SamplingSection = SamplingSection()
    selection: SelectionSection = SelectionSection()
    evaluation: EvaluationSection = EvaluationSection()
    ablation: AblationSection = AblationSection()
    tracking: TrackingSection = TrackingSection()

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, content: Any) -> Any:
        """A section whose keys are all commented out is null to YAML."""
        if not isinstance(content, dict):
            return content
        return {key: value for key, value in content.items() if value is not None}

    def contradictions(self) -> Iterator[Contradiction]:
        if self.sampling.steps > self.diffusion.T:
            yield Contradiction(
                ("sampling.steps", "diffusion.T"),
                f"sampling.steps {self.sampling.steps} is above diffusion.T {self.diffusion.T}",
            )
        size, network = self.data.image_size, self.diffusion
        misfit = "" if size is None else network.misfit(size)
        if misfit:
            keys = ("channels", "patch", "attention")
            yield Contradiction(("data.image_size", *(f"diffusion.{key}" for key in keys)), misfit)

    def to_yaml(self, *, said_only: bool = False) -> str:
        """As a YAML file has it; with `said_only`, without the keys that are left to default."""
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_unset=said_only), sort_keys=False
        )
