import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from synthaug.errors import DataError
from synthaug.report.schema import SCHEMA_VERSION, ResultsFile, json_schema, validate_results

DOCS = Path(__file__).parents[2] / "docs"


def models(model: type[BaseModel], seen: dict | None = None) -> dict[str, type[BaseModel]]:
    """Every model below one, by name."""
    seen = {} if seen is None else seen
    if model.__name__ not in seen:
        seen[model.__name__] = model
        for field in model.model_fields.values():
            parts = [field.annotation]
            while parts:
                part = parts.pop()
                parts += getattr(part, "__args__", ())
                if isinstance(part, type) and issubclass(part, BaseModel):
                    models(part, seen)
    return seen


def test_the_exported_schema_is_current():
    written = (DOCS / "results.schema.json").read_text(encoding="utf-8")
    assert written == json_schema(), "run `python docs/write_schema.py`"


def test_every_field_is_described_and_nothing_else_is_allowed():
    found = models(ResultsFile)
    assert {"ArmResult", "ClassVerdict", "CollapseNumbers", "TuningTrial", "Curve"} <= set(found)
    for model in found.values():
        assert model.__doc__, model
        assert model.model_config["extra"] == "forbid" and model.model_config["frozen"]
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_real_results_fit_the_schema(smoke):
    validate_results(smoke.read("results.json"))


def test_results_read_and_written_again_are_the_same(results):
    read = ResultsFile.model_validate_json(json.dumps(results), strict=True)
    assert json.loads(read.model_dump_json(exclude_unset=True)) == results


@pytest.mark.parametrize("version", [2, 4, "3", None])
def test_results_of_another_schema_are_refused(results, version):
    with pytest.raises(DataError, match=f"schema_version {version!r}") as refused:
        validate_results({**results, "schema_version": version})
    assert refused.value.expected == f"schema_version {SCHEMA_VERSION}"
    assert "synthaug evaluate" in refused.value.remedy


def planted(results: dict, place: str, value: object) -> dict:
    """The results with one value changed, or removed where it is `...`."""
    *path, last = place.split(".")
    part = results
    for key in path:
        part = part[int(key) if key.isdigit() else key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return results


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("arms", ..., "arms: Field required"),
        ("surplus", 1, "surplus: Extra inputs"),
        ("dataset.surplus", 1, "dataset.surplus: Extra inputs"),
        ("synthetic_counts", [1], "synthetic_counts for 10 classes"),
        ("arms.0.recall", [], "real/ce: recall for 10 classes"),
        ("comparison.opponent", "real/none", "an arm called real/none"),
        ("arms.0.train_accuracy", 1.2, "arms.0.train_accuracy: "),
        ("arms.0.train_accuracy", float("nan"), "finite"),
        ("dataset.image_size", "16", "dataset.image_size: "),
        ("verdict.overall", "maybe", "verdict.overall: "),
        ("arms.0.metrics", {"recal": None}, "arms.0.metrics.recal"),
        ("dataset.splits.test.sha256", "short", "dataset.splits.test.sha256: "),
    ],
)
def test_a_planted_fault_is_told_with_its_place(results, place, value, told):
    with pytest.raises(DataError) as refused:
        validate_results(planted(results, place, value))
    assert told in refused.value.found
    assert "\n" not in str(refused.value)


def test_many_faults_are_told_in_one_short_line(results):
    for arm in results["arms"]:
        del arm["name"]
    with pytest.raises(DataError) as refused:
        validate_results(results)
    assert refused.value.found.endswith("and 5 more")
