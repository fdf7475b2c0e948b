"""`sampling`: how images are drawn."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from synthaug.recipe.section import Contradiction, Section


class SamplingSection(Section):
    sampler: Literal["ddpm", "ddim", "dpmpp_2m", "heun"] = Field(
        "ddim", description="how images are drawn"
    )
    steps: int = Field(20, ge=1, description="of the sampler, at most diffusion.T")
    cfg_scale: float = Field(1.0, ge=0, description="1 is off")
    strength: float = Field(
        0.6, gt=0, le=1, description="noise put on real images to vary or mix them; 1 is all"
    )
    eta: float = Field(0.0, ge=0, le=1, description="noise of ddim: 0 none, 1 that of ddpm")
    batch_size: int = Field(128, ge=1, description="images drawn at a time")

    def contradictions(self) -> Iterator[Contradiction]:
        if self.eta and self.sampler != "ddim":
            yield Contradiction(
                ("eta", "sampler"),
                f"eta {self.eta:g} belongs to `sampler: ddim`, not {self.sampler}",
            )
