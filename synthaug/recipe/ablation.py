"""`ablation`: variants of a recipe that are compared."""

from typing import Any

from pydantic import Field

from synthaug.recipe.section import Section


class AblationSection(Section):
    question: str = Field("", description="what the comparison is to answer")
    variants: dict[str, dict[str, Any]] = Field(
        {}, description="name: {section.key: value}, each over the rest of the recipe"
    )
