"""results.json as models: every field it may have, its type, its range and what it means.

`docs/results.schema.json` is the same as JSON Schema; `docs/write_schema.py` writes it.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from synthaug.errors import DataError
from synthaug.report.schema.base import Count, MetricName, Part
from synthaug.report.schema.comparison import (
    ArmResult,
    Comparison,
    DatasetFacts,
    Protocol,
    Verdict,
)
from synthaug.report.schema.making import FitFacts, GenerateFacts, Learning, Memorisation
from synthaug.report.schema.measured import Collapse, Fidelity, Likelihood, Tuning

__all__ = ["SCHEMA_VERSION", "ResultsFile", "json_schema", "validate_results"]

SCHEMA_VERSION = 3
_FAULTS_TOLD = 3


class ResultsFile(Part):
    """What `synthaug evaluate` measured: the numbers that the page and the tables show."""

    schema_version: Literal[3] = Field(description="raised by every change that is not a new part")
    synthaug_version: str = Field(description="the version that wrote this")
    created: str = Field(description="UTC, ISO 8601")
    versions: dict[str, str] = Field(description="of Python and the libraries that computed")
    dataset: DatasetFacts = Field(description="what was balanced")
    synthetic_counts: tuple[Count, ...] = Field(description="synthetic images of each class [K]")
    protocol: Protocol = Field(description="what all arms share")
    metrics: tuple[MetricName, ...] = Field(description="what two arms are compared by")
    arms: tuple[ArmResult, ...] = Field(description="every training regime")
    comparison: Comparison | None = Field(description="null without two sides to compare")
    verdict: Verdict = Field(description="the answer")
    collapse: Collapse | None = Field(description="null where no arm ends in a linear layer")
    fidelity: Fidelity | None = Field(description="null without synthetic images or features")
    memorisation: Memorisation | None = Field(description="null without synthetic images")
    learning: Learning | None = Field(description="null without a joint network")
    likelihood: Likelihood | None = Field(None, description="missing without `--likelihood`")
    tuning: tuple[Tuning, ...] | None = Field(
        None, description="one for each fold; missing without tuned arms"
    )
    fit: FitFacts | None = Field(None, description="missing without fit.json")
    generate: GenerateFacts | None = Field(None, description="missing before `generate`")
    notices: tuple[str, ...] = Field(description="what reading the dataset brought up")
    commands: tuple[str, ...] = Field(description="what to type to repeat the run")

    @model_validator(mode="after")
    def _one_entry_a_class(self) -> "ResultsFile":
        """Every list [K] has K entries, and every arm that is named exists."""
        K, data = len(self.dataset.class_names), self.dataset
        lists: dict[str, Any] = {
            "dataset.train_counts": data.train_counts,
            "dataset.test_counts": data.test_counts,
            "dataset.groups": data.groups,
            "dataset.minority": data.minority,
            "synthetic_counts": self.synthetic_counts,
        }
        names = {arm.name for arm in self.arms}
        named: set[str | None] = set(self.verdict.opponents)
        for arm in self.arms:
            lists |= {f"{arm.name}: recall": arm.recall, f"{arm.name}: precision": arm.precision}
        if self.comparison is not None:
            lists["comparison.recall_differences"] = self.comparison.recall_differences
            named |= {self.comparison.primary, self.comparison.opponent}
        if self.verdict.per_class:
            lists["verdict.per_class"] = self.verdict.per_class
        wrong = [f"{name} for {K} classes" for name, entries in lists.items() if len(entries) != K]
        wrong += [f"an arm called {name}" for name in sorted(map(str, named)) if name not in names]
        if wrong:
            raise ValueError(f"there should be {', '.join(wrong)}")
        return self


def validate_results(results: Mapping[str, Any]) -> None:
    """Check that the content of a results.json is what this version of synthaug writes and reads.

    Raises:
        DataError: if it is of another schema version, or does not fit the schema; the first faults
            are told with their places.
    """
    version = results.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"results with schema_version {version!r}",
            expected=f"schema_version {SCHEMA_VERSION}",
            remedy="run `synthaug evaluate` again with this version of synthaug",
        )
    try:
        # As JSON and strict: a list is what tuples are written as, and "3" is no number.
        ResultsFile.model_validate_json(json.dumps(results), strict=True)
    except ValidationError as error:
        faults = [_told(fault) for fault in error.errors()]
        more = f", and {len(faults) - _FAULTS_TOLD} more" if len(faults) > _FAULTS_TOLD else ""
        raise DataError(
            f"results that do not fit their schema: {'; '.join(faults[:_FAULTS_TOLD])}{more}",
            remedy="undo the edit or run `synthaug evaluate` again",
        ) from error


def json_schema() -> str:
    """The schema as the text of docs/results.schema.json."""
    schema = ResultsFile.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _told(fault: Any) -> str:
    place = ".".join(map(str, fault["loc"]))
    what = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {what}" if place else str(what)
