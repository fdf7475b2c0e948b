"""`show`: a picture of what a run learned, as one PNG file."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthaug.balance.assignments import class_position
from synthaug.errors import UsageError
from synthaug.report.sheets import sheet_png
from synthaug.stages.dataset import Dataset, load_dataset
from synthaug.stages.device import resolve_device
from synthaug.stages.disk import require_writable
from synthaug.stages.folds import refuse_folds
from synthaug.stages.networks import Networks
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.run_dir import open_run, read_recipe
from synthaug.stages.scene import Scene
from synthaug.stages.sheets import SHEETS
from synthaug.stages.signals import READING_GRACE_SECONDS, stop_flag


@dataclass(frozen=True)
class ShowRequest:
    """What the user asked of `show`: one of `SHEETS`, of which class, and how many images."""

    what: str
    run: Path | None = None
    class_name: str | None = None
    n: int | None = None
    out: Path | None = None
    device: str = "auto"


def show(request: ShowRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Draw the picture and return where it is and how to read it.

    Raises `UsageError` for a picture or class that does not exist, before `fit`, and, for
    `neighbours`, before `generate`.
    """
    if request.what not in SHEETS:
        near = difflib.get_close_matches(request.what, SHEETS, n=1)
        raise UsageError(
            f"there is no picture {request.what!r}",
            expected=f"one of {', '.join(SHEETS)}",
            remedy=f"did you mean {near[0]!r}?" if near else "",
        )
    device = resolve_device(request.device)
    run = open_run(request.run)
    no_picture = "no picture was written; run the same command again"
    with run.locked(), stop_flag(no_picture, grace=READING_GRACE_SECONDS):
        refuse_folds(run, read_recipe(run), "a picture")
        dataset = load_dataset(run)
        label = None
        if request.class_name is not None:
            label = class_position(request.class_name, dataset.class_names, "--class")
        path = _checked(request.out, dataset) or run / "pictures" / f"{request.what}.png"
        require_writable(path.parent)
        networks = Networks(run, dataset, device, progress or Silent())
        scene = Scene(run, dataset, read_recipe(run), networks, label, request.n)
        shown = SHEETS[request.what](scene)
        _write(path, sheet_png(shown.sheet))
    return {
        "run": str(run.path),
        "what": request.what,
        "path": str(path),
        "reading": shown.reading,
        **shown.facts,
    }


def _checked(out: Path | None, dataset: Dataset) -> Path | None:
    """Refuse a place where no picture should go: no PNG, no such folder, inside the dataset."""
    if out is None:
        return None
    if out.suffix.lower() != ".png" or out.is_dir():
        raise UsageError(f"--out {out}", expected="a file name that ends in .png")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}", remedy="create it first")
    if Path(dataset.root) in out.resolve().parents:
        raise UsageError(
            f"--out {out} lies inside the dataset {dataset.root}",
            remedy="choose a place outside it: a dataset is never written to",
        )
    return out


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    tmp = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        tmp.write_bytes(content)
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)
