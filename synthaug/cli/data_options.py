"""Options about reading a dataset, which `inspect` and `fit` share."""

from typing import Annotated

import typer

_DATASET = typer.Option(
    "--dataset",
    help="Folder of class folders or of train/ and test/ with them; .csv, .npz, .parquet, "
    ".zip or .tar.gz; or hf://owner/name.",
)
DatasetOption = Annotated[str, _DATASET]
MaybeDatasetOption = Annotated[str | None, _DATASET]
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
