"""Options about reading a dataset, which `inspect` and `fit` share."""

import shlex
from typing import Annotated

import typer

from synthaug.errors import UsageError

DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="Folder of class folders or of train/ and test/ with them; .csv, .npz, .parquet, "
        ".zip or .tar.gz; or hf://owner/name.",
    ),
]
GroupsOption = Annotated[
    str | None,
    typer.Option(
        help="What stays on one side of a split, such as a patient: a column of a table, or a "
        "pattern searched in the paths of a folder, as in 'patient(\\d+)'."
    ),
]
ValueRangeOption = Annotated[
    str | None,
    typer.Option(help="LOW:HIGH, the levels of 16-bit or float images from black to white."),
]
FoldsOption = Annotated[
    int | None,
    typer.Option(min=2, help="k-fold: every image is tested once, in k trainings."),
]
FollowLinksOption = Annotated[
    bool, typer.Option("--follow-links", help="Also links that lead out of the folder.")
]
OnBadImageOption = Annotated[
    str | None, typer.Option(help="skip (default) or error: what a broken image leads to.")
]


def data_overrides(
    *,
    image_size: int | None,
    groups: str | None,
    value_range: str | None,
    folds: int | None,
    follow_links: bool,
    on_bad_image: str | None,
    seed: int | None,
) -> dict[str, object]:
    """The recipe keys that the options stand for, without those that were not given."""
    values = {
        "data.image_size": image_size,
        "data.groups": groups,
        "data.value_range": None if value_range is None else parse_range(value_range),
        "data.folds": folds,
        "data.follow_links": follow_links or None,
        "data.on_bad_image": on_bad_image,
        "seed": seed,
    }
    return {key: value for key, value in values.items() if value is not None}


def as_words(dataset: str, values: dict[str, object]) -> str:
    """The options again, as one would type them after another verb."""
    words = ["--dataset", shlex.quote(dataset)]
    for key, value in values.items():
        option = "--" + key.removeprefix("data.").replace("_", "-")
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [option, ":".join(f"{level:g}" for level in value)]
        else:
            words += [option, shlex.quote(str(value))]
    return " ".join(words)


def parse_range(text: str) -> list[float]:
    """[low, high] of "LOW:HIGH". Raises `UsageError` for anything else."""
    low, colon, high = text.partition(":")
    try:
        if colon:
            return [float(low), float(high)]
    except ValueError:
        pass
    raise UsageError(f"--value-range {text!r}", expected="LOW:HIGH, such as 0:4095")
