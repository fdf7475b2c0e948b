"""Options about reading a dataset, which `inspect` and `fit` share."""

import shlex
from typing import Annotated

import typer

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
