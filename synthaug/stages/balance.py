"""The plan in the run folder: read with its edits, changed by what `generate` is told."""

from dataclasses import replace

from synthaug.balance.caps import Caps, class_caps, parse_caps
from synthaug.balance.modes import Modes, parse_modes
from synthaug.balance.plan import BalancePlan, plan_balance
from synthaug.balance.plan_file import parse_plan
from synthaug.balance.strategy import Strategy, parse_strategy
from synthaug.errors import DataError
from synthaug.stages.dataset import Dataset
from synthaug.stages.run_dir import RunDir, read_recipe


def read_plan(run: RunDir, dataset: Dataset) -> BalancePlan:
    """The plan in the run folder, its classes in the order of the dataset.

    Raises `DataError` with the file's name if there is none or it was edited wrongly.
    """
    path = run / "plan.json"
    counts = dataset.counts(dataset.splits.train).tolist()
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark at the beginning
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror})", remedy="run `synthaug fit` first"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text", remedy="save it as UTF-8") from error
    try:
        known = dict(zip(dataset.class_names, counts, strict=True))
        plan = BalancePlan.from_json(parse_plan(text), known)
    except DataError as error:
        raise DataError(
            f"{path}: {error.found}", expected=error.expected, remedy=error.remedy
        ) from error
    return replace(plan, minority_below=read_recipe(run).balance.minority_below)


def revised_plan(
    run: RunDir,
    dataset: Dataset,
    *,
    balance: Strategy | None,
    cap: Caps | str,
    mode: Modes | None,
) -> BalancePlan:
    """The plan in the run folder with what `--balance`, `--cap` and `--mode` change in it.

    A new strategy leaves the caps and modes of the file as they are, so that an edit is never lost
    to an option that does not speak of it. Raises as `read_plan`, `UsageError` for an option that
    names what there is not, and `DataError` for targets that cannot be.
    """
    plan = read_plan(run, dataset)
    names = plan.class_names
    caps: Caps = parse_caps(cap, names) if isinstance(cap, str) else {} if cap is None else cap
    if balance is None:
        plan = plan.with_caps(caps) if cap is not None else plan
    else:
        strategy = parse_strategy(balance, names) if isinstance(balance, str) else balance
        if len(names) == 1 and isinstance(strategy, str):
            raise DataError(
                f"the dataset has a single class, {names[0]!r}: {strategy!r} has nothing to "
                "balance it against",
                expected="a number of images, or class=number",
                remedy=f"say how many it should have: --balance {2 * plan.counts[0]}",
            )
        by_class = dict(zip(names, class_caps(caps, names, others=plan.cap), strict=True))
        balanced = plan_balance(
            names, plan.counts, strategy, minority_below=plan.minority_below, caps=by_class
        )
        plan = replace(balanced, mode=plan.mode)
    if mode is not None:
        plan = plan.with_modes(parse_modes(mode, names))
    return plan


def refuse_single_class(dataset: Dataset) -> None:
    """Raise `DataError` where there is no second class for a classifier to tell the first from."""
    if dataset.n_classes < 2:
        raise DataError(
            f"the dataset has a single class, {dataset.class_names[0]!r}: a classifier has nothing "
            "to tell it from, so there is nothing to compare",
            expected="at least 2 classes",
            remedy="add a folder of another class and run `synthaug fit` on all of them",
        )


def refuse_without_test(dataset: Dataset) -> None:
    """Raise `DataError` where every image was learned from, as `SynthAugSampler` does."""
    if not len(dataset.splits.test):
        raise DataError(
            "the model was fitted on all images, so there is none to test on",
            remedy="run `synthaug fit` on the images, which keeps some for testing",
        )
