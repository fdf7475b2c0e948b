"""`fit`, `generate` and `evaluate` from Python: the verbs of the command line, by the same names.

Quiet unless `progress` is given. What the user can mend is raised as a `SynthaugError`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from synthaug.balance.caps import Caps
from synthaug.balance.modes import Modes
from synthaug.balance.strategy import Strategy
from synthaug.diffusion.checkpoint import newest_checkpoint
from synthaug.recipe.options import checkpoint_override, data_overrides, time_override
from synthaug.stages import evaluate as evaluate_stage
from synthaug.stages import fit as fit_stage
from synthaug.stages import generate as generate_stage
from synthaug.stages import push as push_stage
from synthaug.stages.arrays import arrays_as_dataset
from synthaug.stages.progress import Event, Told
from synthaug.stages.push import check_wish
from synthaug.stages.resume import asked_recipe
from synthaug.stages.run_dir import open_run, read_recipe

__all__ = [
    "EvaluateResult",
    "Event",
    "FitResult",
    "GenerateResult",
    "PushResult",
    "evaluate",
    "fit",
    "generate",
    "push",
]

AnyPath = str | PathLike[str]
Tell = Callable[[Event], None]


@dataclass(frozen=True)
class FitResult:
    """What `fit` did.

    Attributes:
        run: the run folder; None after a dry run, which writes nothing.
        model: the checkpoint of the joint model, a diffusers folder; None if there is none: after a
            dry run, with `from_scratch`, and for folds, which have one each.
        train_counts: train images of each class; nothing if the run was finished before.
        n_new: images that the plan asks for, of each class; likewise.
        specialists: classes whose own model is used instead of the joint one.
        results: what fit.json says; after a dry run, the plan.
    """

    run: Path | None
    model: Path | None
    train_counts: dict[str, int]
    n_new: dict[str, int]
    specialists: tuple[str, ...]
    results: dict[str, Any]


@dataclass(frozen=True)
class GenerateResult:
    """What `generate` made. `counts` are synthetic images of each class, `results` generate.json.

    With folds the three paths hold a `*` for the number of the fold.
    """

    run: Path
    balanced: Path
    synthetic: Path
    manifest: Path
    counts: dict[str, int]
    results: dict[str, Any]


@dataclass(frozen=True)
class EvaluateResult:
    """What `evaluate` found.

    Attributes:
        run: the run folder.
        report: the page.
        verdict: "use", "do not use" or "cannot tell".
        sentence: why, with the numbers.
        class_verdicts: the same words for each class.
        results: what results.json says.
    """

    run: Path
    report: Path
    verdict: str
    sentence: str
    class_verdicts: dict[str, str]
    results: dict[str, Any]


@dataclass(frozen=True)
class PushResult:
    """Where what was pushed is: addresses, None for what was not asked for."""

    run: Path
    model: str | None
    data: str | None
    private: bool


def fit(
    dataset: AnyPath | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    per_class: bool = False,
    from_scratch: bool = False,
    recipe: AnyPath | None = None,
    set: Mapping[str, Any] | None = None,
    groups: str | None = None,
    value_range: str | tuple[float, float] | None = None,
    folds: int | None = None,
    follow_links: bool = False,
    on_bad_image: str | None = None,
    image_size: int | None = None,
    time_limit: str | None = None,
    run: AnyPath | None = None,
    resume: bool = False,
    force: bool = False,
    checkpoint_every: str | None = None,
    device: str = "auto",
    seed: int | None = None,
    push_to_hub: str | None = None,
    dry_run: bool = False,
    progress: Tell | None = None,
) -> FitResult:
    """Train a class-conditional DDPM on images.

    Args:
        dataset: whatever `synthaug fit --dataset` takes, or (images, labels): uint8 [N, H, W] or
            [N, H, W, C], and [N] integers from 0 or text. A test split is cut from arrays. None
            only with `resume`.
        per_class: continue the model for each minority class.
        from_scratch: with `per_class`, train each class alone.
        recipe: a shipped recipe's name, or a YAML file; default: "default", or the run's own.
        set: recipe keys and their values, as in ``{"diffusion.batch_size": 32}``.
        groups: what stays on one side of a split, such as a patient: a column of a table, or a
            pattern searched in paths.
        value_range: (low, high), the levels of deep images that become black and white.
        folds: k-fold, every image is tested once.
        follow_links: also links that lead out of the folder.
        on_bad_image: "skip" or "error".
        image_size: pixels a side.
        time_limit: training time, such as "90s", "10m" or "1.5h".
        run: the new run folder; default: runs/<time>-<name>.
        resume: go on with the fit in `run`, or with the newest run, that was stopped or killed.
        force: with `resume`, also with another recipe or version than it began with.
        checkpoint_every: time such as "90s" or "5m", or a number of steps, between checkpoints.
        device: "auto", "cpu", "cuda:0" or "mps".
        seed: of the run.
        push_to_hub: "OWNER/NAME": when done, push the model to the Hugging Face Hub, privately.
        dry_run: plan only.
        progress: called with every `Event`.

    Raises:
        SynthaugError: `UsageError` for options, `DataError` for images, `ResourceError` for memory
            or disk, `DivergedError`, `RunInUseError`, or `InterruptedRun` after Ctrl-C.
    """
    values = {
        **(set or {}),
        **data_overrides(
            image_size=image_size, groups=groups, value_range=value_range, folds=folds,
            follow_links=follow_links, on_bad_image=on_bad_image, seed=seed,
        ),
        **time_override(time_limit),
        **checkpoint_override(checkpoint_every),
    }  # fmt: skip
    wanted, place = asked_recipe(None if recipe is None else str(recipe), (), values,
                                 run=_path(run), resume=resume)  # fmt: skip
    check_wish(push_to_hub, lambda: wanted)
    planned: dict[str, Any] = {}
    with _opened(dataset) as source:
        request = fit_stage.FitRequest(
            dataset=source,
            recipe=wanted,
            run=place,
            per_class=per_class,
            from_scratch=from_scratch,
            device=device,
            dry_run=dry_run,
            resume=resume,
            force=force,
        )
        told = fit_stage.fit(request, _listener(progress), planned.update)
    made = None if dry_run else Path(told["run"])
    if made is not None and push_to_hub is not None:
        push(made, model=push_to_hub, progress=progress)
    return FitResult(
        run=made,
        model=None if made is None else newest_checkpoint(made / "base"),
        train_counts={c["name"]: c["train"] for c in planned.get("classes", ())},
        n_new={c["name"]: c["n_new"] for c in planned.get("classes", ())},
        specialists=tuple(s["class_name"] for s in told.get("specialists", ()) if s["kept"]),
        results=told,
    )


def generate(
    run: AnyPath | None = None,
    *,
    balance: Strategy | None = None,
    cap: Caps | str = None,
    sampler: str | None = None,
    steps: int | None = None,
    cfg_scale: float | None = None,
    mode: Modes | None = None,
    strength: float | None = None,
    push_to_hub: str | None = None,
    device: str = "auto",
    progress: Tell | None = None,
) -> GenerateResult:
    """Draw the images that the rare classes lack and write the balanced folder.

    Args:
        run: the run folder; default: the newest under runs/.
        balance: "auto", "minority", "not minority", "not majority", "all", a final count, a share
            of the larger of two classes, or {class: final count}; default: plan.json as it is.
        cap: at most so many synthetic images for each real one: a number, {class: number}, or
            "none"; default: as plan.json has it.
        sampler: "ddpm", "ddim", "dpmpp_2m" or "heun".
        steps: sampling steps.
        cfg_scale: guidance, 1 is off.
        mode: "sample", "variation" or "interpolate", or {class: mode}; default: the plan.
        strength: noise put on real images to vary or mix them, above 0; 1 is all.
        push_to_hub: "OWNER/NAME": when done, push the synthetic images, privately.
        device: "auto", "cpu", "cuda:0" or "mps".
        progress: called with every `Event`.

    Raises:
        SynthaugError: as `fit` does; `UsageError` before `fit`.
    """
    check_wish(push_to_hub, lambda: read_recipe(open_run(_path(run))))
    request = generate_stage.GenerateRequest(
        run=_path(run),
        balance=balance,
        cap=cap,
        sampler=sampler,
        steps=steps,
        cfg_scale=cfg_scale,
        mode=mode,
        strength=strength,
        device=device,
    )
    told = generate_stage.generate(request, _listener(progress))
    if push_to_hub is not None:
        push(told["run"], data=push_to_hub, progress=progress)
    paths = {name: Path(told[name]) for name in ("run", "balanced", "synthetic", "manifest")}
    return GenerateResult(**paths, counts=dict(told["counts"]), results=told)


def evaluate(
    run: AnyPath | None = None,
    *,
    arms: str | Sequence[str] | None = None,
    seeds: int | None = None,
    classifier: str | None = None,
    oracle: AnyPath | None = None,
    likelihood: bool = False,
    device: str = "auto",
    progress: Tell | None = None,
) -> EvaluateResult:
    """Train classifiers with and without the synthetic images and compare them fairly.

    Args:
        run: the run folder; default: the newest under runs/.
        arms: "default", "all", or names such as ["real", "synthaug/la"].
        seeds: paired seeds of every arm.
        classifier: "package:function", "timm:MODEL" or "small-resnet".
        oracle: folder of further real images, for the oracle arm only.
        likelihood: also measure bits/dim of train and test images.
        device: "auto", "cpu", "cuda:0" or "mps".
        progress: called with every `Event`.

    Raises:
        SynthaugError: as `fit` does; `UsageError` before `generate`.
    """
    request = evaluate_stage.EvaluateRequest(
        run=_path(run),
        arms=arms if arms is None or isinstance(arms, str) else ",".join(arms),
        seeds=seeds,
        classifier=classifier,
        oracle=_path(oracle),
        likelihood=likelihood,
        device=device,
    )
    told = evaluate_stage.evaluate(request, _listener(progress))
    verdict = told["verdict"]
    return EvaluateResult(
        run=Path(told["run"]),
        report=Path(told["report"]),
        verdict=verdict["overall"],
        sentence=verdict["sentence"],
        class_verdicts={c["class_name"]: c["advice"] for c in verdict.get("per_class", ())},
        results=told,
    )


def push(
    run: AnyPath | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    public: bool = False,
    include_real: bool = False,
    progress: Tell | None = None,
) -> PushResult:
    """Put models and synthetic images on the Hugging Face Hub, with the login of `hf auth`.

    Args:
        run: the run folder; default: the newest under runs/.
        model: "OWNER/NAME" of the repository for the models.
        data: "OWNER/NAME" of the dataset for the synthetic images.
        public: for everybody to see; private otherwise.
        include_real: push the balanced folder, real train images and their file names with it.
        progress: called with every `Event`.

    Raises:
        SynthaugError: `UsageError` for what there is not to be pushed, or a repository that is
            public already; `ResourceError` where the Hub cannot be reached or refuses. The run
            stays as it is.
    """
    request = push_stage.PushRequest(
        _path(run), model, data, public=public, include_real=include_real
    )
    told = push_stage.push(request, _listener(progress))
    return PushResult(Path(told["run"]), told["model"], told["data"], told["private"])


@contextmanager
def _opened(
    dataset: AnyPath | tuple[ArrayLike, ArrayLike] | None,
) -> Iterator[str | Path | None]:
    """What the stage reads: the path as it was given, or a file of the arrays for the time."""
    if isinstance(dataset, tuple):
        with arrays_as_dataset(*dataset) as path:
            yield path
    else:
        yield dataset if isinstance(dataset, str | None) else Path(dataset)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _listener(progress: Tell | None) -> Told | None:
    return None if progress is None else Told(progress)
