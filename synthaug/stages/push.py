"""`push`: what a run made goes to the Hugging Face Hub, privately and without the real images.

Medical and personal images may not leave the place where they are, so only what was synthesised
does, unless the user says otherwise. The token is that of huggingface_hub's own login.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthaug.data.hub import quietly
from synthaug.data.swap import CARD
from synthaug.errors import ResourceError, SynthaugError, UsageError
from synthaug.recipe import Recipe
from synthaug.report.cards import dataset_card
from synthaug.stages.cards import card_facts, current_results, model_folders
from synthaug.stages.dataset import Dataset, load_dataset
from synthaug.stages.folds import is_folded, refuse_folds
from synthaug.stages.progress import Progress, Silent
from synthaug.stages.run_dir import RunDir, open_run, read_recipe
from synthaug.stages.synthetic import MANIFEST, read_manifest

IMAGES = "train"
"""The folder of the images in a dataset repository; what it held before is replaced."""
MODEL_FILES = ("model_index.json", "denoiser.json", CARD, "unet/*", "scheduler/*")
"""Of a checkpoint what draws images; what training needs to go on stays."""
NAMES_REAL_FILES = ("sources", "original")
"""Keys of the manifest that name files of the dataset, which may name patients."""

Files = dict[str, Path | bytes]


@dataclass(frozen=True)
class PushRequest:
    """What the user asked of `push`; `model` and `data` are repositories, OWNER/NAME."""

    run: Path | None = None
    model: str | None = None
    data: str | None = None
    public: bool = False
    include_real: bool = False


def push(request: PushRequest, progress: Progress | None = None) -> dict[str, Any]:
    """Push models and images of a run; return the address of each. The run is only read.

    Each repository gets all of it in one commit, or none. Raises `UsageError` for what there is
    not to be pushed, and for a repository that is public where that was not asked for;
    `ResourceError` where the Hub cannot be reached or refuses.
    """
    progress = progress or Silent()
    _check(request)
    run = open_run(request.run)
    refuse_folds(run, read_recipe(run), "a push")
    with run.locked():
        dataset = load_dataset(run)
        parts: list[tuple[str, str, Files]] = []
        if request.model is not None:
            parts.append(("model", request.model, model_files(run, dataset)))
        if request.data is not None:
            files = data_files(run, dataset, include_real=request.include_real)
            parts.append(("dataset", request.data, files))
        urls: dict[str, str] = {}
        for kind, repository, files in parts:
            progress.say(f"pushing {len(files)} files to the {kind} {repository} on the Hub")
            urls[kind] = _send(run, kind, repository, files, request)
    return {
        "run": str(run.path),
        "model": urls.get("model"),
        "data": urls.get("dataset"),
        "private": not request.public,
        "include_real": request.include_real,
    }


def model_files(run: RunDir, dataset: Dataset) -> Files:
    """Of every model what diffusers loads, the joint one at the top. Raises `UsageError` for none.

    Without a joint model its place is empty, and specialists stay in folders of their own.
    """
    files: Files = {}
    for folder, specialist in model_folders(run, dataset).items():
        place = "" if specialist is None else f"specialists/{folder.parent.name}/"
        for pattern in MODEL_FILES:
            for path in sorted(folder.glob(pattern)):
                files[place + path.relative_to(folder).as_posix()] = path
    if not files:
        raise UsageError(f"run {run.path} has no model", remedy="run `synthaug fit` first")
    return files


def data_files(run: RunDir, dataset: Dataset, *, include_real: bool) -> Files:
    """Synthetic images, or the balanced set with the real ones, with card and manifest.

    Raises `UsageError` before `generate`, and where every class had its images already.
    """
    files: Files = {}
    lines = []
    top = "balanced/" if include_real else "synthetic/"
    for record in read_manifest(run):
        if not record["file"].startswith(top):
            continue
        place = f"{IMAGES}/{record['file'].removeprefix(top)}"
        files[place] = run / record["file"]
        kept = {k: v for k, v in record.items() if include_real or k not in NAMES_REAL_FILES}
        lines.append(json.dumps({**kept, "file": place}, ensure_ascii=False))
    if not files:
        raise UsageError(
            f"run {run.path} has no synthetic images: every class had its target already",
            remedy="run `synthaug generate --balance N` with a larger number",
        )
    facts = card_facts(run, dataset, current_results(run))
    card = dataset_card(facts, with_real=include_real, files=f"{IMAGES}/**")
    return {**files, CARD: card.encode(), MANIFEST: "".join(f"{x}\n" for x in lines).encode()}


def check_wish(repository: str | None, recipe: Callable[[], Recipe]) -> None:
    """Raise `UsageError` for a later push that cannot be, before any work is done.

    `recipe` is that of the run, and asked for only where there is a wish.
    """
    if repository is None:
        return
    _check_name(repository)
    if is_folded(recipe()):
        raise UsageError(
            "--push-to-hub with folds: each of them has models and images of its own",
            remedy="leave it out, and push one of them afterwards with `synthaug push --run "
            "RUN/folds/0`",
        )


def _check_name(repository: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise UsageError(f"{repository!r} is no repository of the Hub", expected="OWNER/NAME")


def _check(request: PushRequest) -> None:
    if request.model is None and request.data is None:
        raise UsageError(
            "nothing to push", expected="--model OWNER/NAME, --data OWNER/NAME or both"
        )
    for repository in filter(None, (request.model, request.data)):
        _check_name(repository)
    if request.include_real and request.data is None:
        raise UsageError("--include-real without --data", remedy="add --data OWNER/NAME")


def _send(run: RunDir, kind: str, repository: str, files: Files, request: PushRequest) -> str:
    """Put the files into a repository in one commit, and return its address."""
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        with quietly():
            url = api.create_repo(
                repository, repo_type=kind, private=not request.public, exist_ok=True
            )
            # One that exists keeps its visibility, whatever was asked for.
            if not request.public and not api.repo_info(repository, repo_type=kind).private:
                raise UsageError(
                    f"the {kind} {repository} exists on the Hub and is public",
                    expected="a private one, or a new name",
                    remedy="make it private, or say --public if everybody may see this",
                )
            there = api.list_repo_files(repository, repo_type=kind)
            api.create_commit(
                repository,
                list(_operations(files, there)),
                commit_message="Pushed by synthaug",
                repo_type=kind,
            )
    except SynthaugError:
        raise
    except Exception as error:  # whatever the library, the network and the server lead to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ResourceError(
            f"the {kind} {repository} was not pushed: {reason}",
            remedy=f"everything is kept in {run.path}; log in with `hf auth login` if that is "
            f"what is missing, then repeat `{_command(run, request)}`",
        ) from error
    return str(url)


def _operations(files: Files, there: list[str]) -> Iterator[Any]:
    """Add the files, and delete images of an earlier push that are no longer among them."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    for place, content in files.items():
        source = content if isinstance(content, bytes) else str(content)
        yield CommitOperationAdd(path_in_repo=place, path_or_fileobj=source)
    for place in there:
        if place.startswith(f"{IMAGES}/") and place not in files:
            yield CommitOperationDelete(path_in_repo=place)


def _command(run: RunDir, request: PushRequest) -> str:
    words = ["synthaug", "push", "--run", str(run.path)]
    words += ["--model", request.model] if request.model else []
    words += ["--data", request.data] if request.data else []
    words += ["--public"] if request.public else []
    words += ["--include-real"] if request.include_real else []
    return shlex.join(words)
