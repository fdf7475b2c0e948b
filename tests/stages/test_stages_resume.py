"""A fit that is stopped or killed anywhere, and gone on with, ends as if nothing had been."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from synthaug.diffusion.checkpoint import WEIGHTS, newest_checkpoint
from synthaug.diffusion.durable import numbered
from synthaug.diffusion.training_state import TENSORS, load_training
from synthaug.errors import DataError, DivergedError, InterruptedRun, UsageError
from synthaug.recipe import load_recipe
from synthaug.stages import learner, record
from synthaug.stages.fit import FitRequest, fit

CLOCKS = ("created", "run", "minutes", "images_per_second")
RECIPE = (
    "diffusion.steps=30", "diffusion.batch_size=4", "diffusion.early_stop=true",
    "diffusion.check_every=4", "diffusion.checkpoint_every=5", "diffusion.dropout=0.1",
    "diffusion.ema_decay=0.9", "diffusion.warmup_steps=2", "diffusion.specialist_share=0.5",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small_pictures() -> Iterator[None]:
    """Every checkpoint has a picture, and here that would be most of the work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "GRID_COLUMNS", 1)
        patch.setattr(record, "GRID_STEPS", 2)
        yield


class Said:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.say = self.warn = self.lines.append

    def task(self, *words: Any):
        from synthaug.stages.progress import Silent

        return Silent().task(*words)

    def __contains__(self, words: str) -> bool:
        return words in " | ".join(self.lines)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noise, two of them with too few images."""
    import numpy as np
    from PIL import Image

    top = tmp_path_factory.mktemp("resume") / "images"
    for k, (name, n) in enumerate({"many": 30, "some": 12, "few": 8}.items()):
        (top / name).mkdir(parents=True)
        for i in range(n):
            levels = np.random.default_rng([k, i]).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(levels).save(top / name / f"{i:02}.png")
    return top


@pytest.fixture(scope="module")
def whole(images: Path, quick_rates: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbs. Tests must leave it alone."""
    run = tmp_path_factory.mktemp("whole") / "run"
    fit(request(images, run))
    return run


def request(images: Path, run: Path, *overrides: str, **asked: Any) -> FitRequest:
    recipe = load_recipe("smoke", [*RECIPE, *overrides])
    return FitRequest(images, recipe, run=run, **{"per_class": True, "device": "cpu"} | asked)


def resume(images: Path, run: Path, *overrides: str, said: Said | None = None, **asked: Any):
    asked = {"dataset": None, "per_class": False, "resume": True} | asked
    return fit(replace(request(images, run, *overrides), **asked), said)


class Killed(BaseException):
    """Ends a fit as SIGKILL does: nothing is saved, nothing is tidied."""


TRAIN = learner.train_denoiser


def end_after(patch: pytest.MonkeyPatch, steps: int | None, *, kill: bool = False) -> None:
    """Send a signal, or kill, once a fit has taken so many steps, over all its trainings."""
    count = [0]

    def counted(*args: Any, **kwargs: Any):
        for stats in TRAIN(*args, **kwargs):
            count[0] += 1
            if count[0] == steps:
                if kill:
                    raise Killed
                os.kill(os.getpid(), signal.SIGINT)
            yield stats

    patch.setattr(learner, "train_denoiser", counted)


@pytest.fixture
def ends_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return partial(end_after, monkeypatch)


def outcome(run: Path) -> dict[str, Any]:
    """All that a fit leaves, without clocks: hashes of networks, losses to the last bit, words."""
    told = json.loads((run / "fit.json").read_text())
    found = {
        "fit": {key: value for key, value in told.items() if key not in CLOCKS},
        "metrics": (run / "metrics.jsonl").read_text(),
        "files": sorted(
            p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()
        ),
    }  # fmt: skip
    for manifest in run.rglob("manifest.json"):
        place = manifest.relative_to(run).as_posix()
        found[place] = json.loads(manifest.read_text())["files"]
    for verdict in run.rglob("verdict.json"):
        found[verdict.relative_to(run).as_posix()] = verdict.read_text()
    return found


def without_grids(found: dict[str, Any]) -> dict[str, Any]:
    """A stop saves a checkpoint of its own, and with it a picture."""
    files = [name for name in found["files"] if not name.startswith("grids/")]
    return {**found, "files": files}


def test_row_67_a_fit_stopped_again_and_again_ends_as_one_that_was_not(
    images: Path, whole: Path, tmp_path: Path, ends_after
):
    run, codes = tmp_path / "run", []
    ends_after(1)  # before the first checkpoint that its recipe asks for
    first = request(images, run)
    for attempt in range(20):
        try:
            fit(first) if attempt == 0 else resume(images, run)
            break
        except InterruptedRun as stopped:
            codes.append(stopped.exit_code)
            assert f"synthaug fit --resume --run {run}" in str(stopped)
            ends_after(4)
    assert len(codes) > 6 and set(codes) == {130}
    assert without_grids(outcome(run)) == without_grids(outcome(whole))
    kept = [s["kept"] for s in outcome(whole)["fit"]["specialists"]]
    assert len(kept) == 2, "the specialists were not tried"


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "steps", [pytest.param(2, marks=slow), 8, 22, pytest.param(29, marks=slow)]
)
def test_row_67_a_killed_fit_ends_as_one_that_was_not(
    images: Path, whole: Path, tmp_path: Path, ends_after, steps: int
):
    """Killed before the first checkpoint, between two of them, and in either specialist."""
    run, said = tmp_path / "run", Said()
    ends_after(steps, kill=True)
    with pytest.raises(Killed):
        fit(request(images, run))
    assert not (run / "fit.json").exists()
    ends_after(None)
    resume(images, run, said=said)
    assert ("from its first step" if steps == 2 else "going on after step") in said
    assert outcome(run) == outcome(whole)


@slow
def test_the_averaged_weights_and_the_samples_are_equal_to_the_last_bit(
    images: Path, whole: Path, tmp_path: Path, ends_after
):
    """The same said of tensors and pixels, not of hashes."""
    import numpy as np

    from synthaug.diffusion.checkpoint import load_checkpoint
    from synthaug.diffusion.generation import generate_images

    run = tmp_path / "run"
    ends_after(7, kill=True)
    with pytest.raises(Killed):
        fit(request(images, run))
    ends_after(None)
    resume(images, run)
    ours, theirs = (
        load_checkpoint(newest_checkpoint(r / "base"), torch.device("cpu")).denoiser
        for r in (run, whole)
    )
    for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        assert torch.equal(a, b)
    pixels = [
        next(generate_images(d, np.array([0, 1, 2]), np.arange(3), steps=3)).images
        for d in (ours, theirs)
    ]
    np.testing.assert_array_equal(*pixels)


@pytest.fixture(scope="module")
def stopped_once(images: Path, quick_rates: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        end_after(patch, 13)
        with pytest.raises(InterruptedRun):
            fit(request(images, run))
    assert [p.name for p in numbered(run / "base")] == ["ckpt-00000013", "ckpt-00000010"]
    return run


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A copy of a run stopped after 13 steps, with two checkpoints: after 10 steps and after 13."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def test_row_68_another_number_of_threads_is_allowed_and_told(
    images: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
):
    said, threads = Said(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        resume(images, stopped, said=said)
    finally:
        torch.set_num_threads(threads)
    assert "not bit-exact" in said and f"{threads + 1} threads" in said


@pytest.mark.parametrize("change", ["recipe", "dataset", "version"])
def test_row_69_what_changed_is_refused_with_a_difference(
    images: Path, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
):
    overrides, asked, told = (), {}, ""
    if change == "recipe":
        overrides = ("diffusion.learning_rate=0.25", "diffusion.steps=40")
        told = "diffusion.learning_rate: 0.001 -> 0.25; diffusion.steps: 30 -> 40"
    elif change == "dataset":
        asked["dataset"] = shutil.copytree(images, tmp_path / "other")
        next((tmp_path / "other" / "many").iterdir()).unlink()
        told = "other files than when the run began (49 now)"
    else:
        told_record = json.loads((stopped / "session.json").read_text())
        told_record["synthaug_version"] = "0.0.9"
        (stopped / "session.json").write_text(json.dumps(told_record))
        told = "synthaug: 0.0.9 -> "
    before = {p: p.stat().st_mtime_ns for p in stopped.rglob("*") if p.is_file()}
    with pytest.raises(UsageError) as refused:
        resume(images, stopped, *overrides, **asked)
    assert told in str(refused.value) and "--force" in str(refused.value)
    after = {p: p.stat().st_mtime_ns for p in before}
    assert {p: t for p, t in after.items() if p.name != ".lock"} == {
        p: t for p, t in before.items() if p.name != ".lock"
    }
    said = Said()
    resume(images, stopped, *overrides, said=said, force=True, **asked)
    assert told in said and "going on after step 13" in said
    steps = json.loads((stopped / "fit.json").read_text())["steps"]
    assert steps == (40 if change == "recipe" else 30)


def test_row_69_a_key_that_changes_no_result_may_change(images: Path, whole: Path, stopped: Path):
    resume(images, stopped, "diffusion.checkpoint_every=90s", "diffusion.keep_checkpoints=1")
    assert outcome(stopped)["metrics"] == outcome(whole)["metrics"]


def test_row_69_the_shape_of_the_network_cannot_be_forced(images: Path, stopped: Path):
    with pytest.raises(UsageError, match=r"diffusion\.channels cannot change.*new run"):
        resume(images, stopped, "diffusion.channels=[16, 16]", force=True)


def test_row_70_a_finished_run_is_left_as_it_is(images: Path, whole: Path, hash_of):
    before, said = hash_of(whole), Said()
    told = resume(images, whole, said=said)
    assert "nothing to resume" in said
    assert told == json.loads((whole / "fit.json").read_text())
    assert hash_of(whole) == before


@pytest.mark.parametrize("fault", ["truncated", "missing", "altered"])
@pytest.mark.parametrize("name", [WEIGHTS, TENSORS, "training/state.json", "manifest.json"])
def test_rows_77_78_79_82_a_damaged_checkpoint_is_passed_over_and_named(
    images: Path, whole: Path, stopped: Path, name: str, fault: str
):
    path = stopped / "base" / "ckpt-00000013" / name
    content = bytearray(path.read_bytes())
    if fault == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif fault == "altered":
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    else:
        path.unlink()
    found = learning_state(stopped)
    assert found[0] == 10, found
    assert "ckpt-00000013" in found[1]


def learning_state(run: Path) -> tuple[int, str]:
    """(step that a resumed base goes on from, what is said about it)."""
    from synthaug.stages.checkpoints import find_training
    from synthaug.stages.fit_record import read_record
    from synthaug.stages.run_dir import RunDir

    said = Said()
    state = find_training(run / "base", read_record(RunDir(run)).configs, said, must_exist=True)
    assert state is not None
    return state.step, " | ".join(said.lines)


def test_row_82_the_older_checkpoint_leads_to_the_same_end(
    images: Path, whole: Path, stopped: Path
):
    (stopped / "base" / "ckpt-00000013" / WEIGHTS).unlink()
    said = Said()
    resume(images, stopped, said=said)
    assert "ckpt-00000013" in said and "going on after step 10" in said
    assert without_grids(outcome(stopped)) == without_grids(outcome(whole))


class Bomb:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("forged", [False, True])
def test_rows_80_81_a_planted_pickle_is_never_read(
    images: Path, stopped: Path, tmp_path: Path, forged: bool
):
    """In place of the tensors, its hash forged in the manifest, and under the names others use."""
    import pickle

    from synthaug.diffusion.durable import file_sha256

    payload = pickle.dumps(Bomb(tmp_path / "went off"))
    for folder in numbered(stopped / "base"):
        (folder / TENSORS).write_bytes(payload)
        for name in ("optimizer.bin", "custom_checkpoint_0.pkl", "training/optimiser.pt"):
            (folder / name).write_bytes(payload)
        if forged:
            manifest = json.loads((folder / "manifest.json").read_text())
            facts = {"bytes": len(payload), "sha256": file_sha256(folder / TENSORS)}
            manifest["files"][TENSORS] = facts
            (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="none of the 2 checkpoints"):
        resume(images, stopped)
    assert not (tmp_path / "went off").exists()
    pickle.loads(payload)  # noqa: S301
    assert (tmp_path / "went off").exists(), "the payload is none"


def test_row_83_without_a_valid_checkpoint_nothing_is_begun(images: Path, stopped: Path, hash_of):
    for folder in numbered(stopped / "base"):
        (folder / "manifest.json").unlink()
    before = hash_of(stopped / "base")
    with pytest.raises(DataError) as refused:
        resume(images, stopped)
    for words in ("ckpt-00000013", "ckpt-00000010", "new run"):
        assert words in str(refused.value)
    assert hash_of(stopped / "base") == before
    assert not (stopped / "fit.json").exists()


@pytest.mark.parametrize("run", ["nowhere", "empty", "other"])
def test_row_83_nothing_to_resume_is_an_error(images: Path, tmp_path: Path, run: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="nothing to resume"):
        resume(images, tmp_path / run)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("place", ["manifest.json", "training/state.json", "session.json"])
@pytest.mark.parametrize("found", [0, 99])
def test_row_84_another_format_is_refused_by_its_number(
    images: Path, stopped: Path, place: str, found: int
):
    from synthaug.diffusion.durable import file_sha256

    places = [folder / place for folder in numbered(stopped / "base")]
    for path in [stopped / place] if place == "session.json" else places:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "format": found}))
        if place == "training/state.json":
            manifest = path.parents[1] / "manifest.json"
            listed = json.loads(manifest.read_text())
            listed["files"][place] = {
                "bytes": path.stat().st_size, "sha256": file_sha256(path)
            }  # fmt: skip
            manifest.write_text(json.dumps(listed))
    with pytest.raises(DataError, match=f"format {found}"):
        resume(images, stopped)


def test_row_93_a_moved_run_goes_on(images: Path, whole: Path, stopped: Path, tmp_path: Path):
    moved = stopped.rename(tmp_path / "elsewhere")
    told = resume(images, moved)
    assert told["run"] == str(moved)
    assert without_grids(outcome(moved)) == without_grids(outcome(whole))


def test_row_93_the_dataset_may_be_gone(images: Path, whole: Path, tmp_path: Path, ends_after):
    copy, run, said = Path(shutil.copytree(images, tmp_path / "copy")), tmp_path / "run", Said()
    ends_after(13)
    with pytest.raises(InterruptedRun):
        fit(request(copy, run))
    ends_after(None)
    shutil.rmtree(copy)
    resume(copy, run, said=said)
    assert "the images it kept" in said
    assert outcome(run)["metrics"] == outcome(whole)["metrics"]


@pytest.mark.parametrize(
    "lost",
    [
        "recipe.yaml",
        "pixels.npy",
        *(pytest.param(n, marks=slow) for n in ("splits.json", "dataset.json")),
    ],
)
def test_a_fit_killed_while_it_kept_its_images_reads_them_again(
    images: Path, whole: Path, stopped: Path, lost: str
):
    """session.json comes first, so whatever comes after it can be made from it."""
    shutil.rmtree(stopped / "base")
    for name in ("metrics.jsonl", "plan.json", lost):
        (stopped / name).unlink()
    resume(images, stopped)
    assert outcome(stopped)["metrics"] == outcome(whole)["metrics"]


def test_leftovers_of_a_killed_save_are_tidied_away(images: Path, stopped: Path):
    left = [
        stopped / "base" / "ckpt-00000020.tmp-1",
        stopped / "specialists" / "few" / "unfinished" / "ckpt-00000002.tmp-1",
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "junk").write_text("half a file")
    (stopped / ".fit.json.tmp-1").write_text("{")
    resume(images, stopped)
    assert not list(stopped.rglob("*.tmp-*"))


def test_a_run_in_use_is_not_resumed(images: Path, stopped: Path):
    from synthaug.errors import RunInUseError
    from synthaug.stages.run_dir import RunDir

    with RunDir(stopped).locked(), pytest.raises(RunInUseError):
        resume(images, stopped)


def test_a_new_fit_in_a_used_folder_names_the_way_on(images: Path, stopped: Path):
    with pytest.raises(UsageError, match="--resume"):
        fit(request(images, stopped))


def test_a_time_limit_goes_on_with_the_time_that_is_left(
    images: Path, quick_rates: None, tmp_path: Path, ends_after
):
    run = tmp_path / "run"
    timed = ("diffusion.steps=null", "diffusion.time_limit=1000s")
    ends_after(6)
    with pytest.raises(InterruptedRun):
        fit(request(images, run, *timed, per_class=False))
    kept = load_training(newest_checkpoint(run / "base")).extra["budget"]
    assert 0 < kept["spent"] < 100
    state = run / "base" / "ckpt-00000006" / "training" / "state.json"
    content = json.loads(state.read_text())
    content["extra"]["budget"]["spent"] = 1099.5  # all of it, but for a moment
    state.write_text(json.dumps(content))
    manifest = state.parents[1] / "manifest.json"
    listed = json.loads(manifest.read_text())
    from synthaug.diffusion.durable import file_sha256

    facts = {"bytes": state.stat().st_size, "sha256": file_sha256(state)}
    listed["files"]["training/state.json"] = facts
    manifest.write_text(json.dumps(listed))
    ends_after(None)
    told = resume(images, run, *timed)
    assert 6 < told["steps"] < 1000


# Divergence and failing classes -------------------------------------------------------------------


@pytest.fixture
def spoils(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the losses of chosen steps of the fit infinite: `bad(number of the step)` decides."""
    from synthaug.diffusion import gradients

    losses = gradients._losses

    def arrange(bad: Callable[[int], bool]) -> None:
        calls, under_way = [0], [False]

        def trained(*args: Any, **kwargs: Any):
            under_way[0] = True  # and not the steps by which the plan measures a speed
            yield from TRAIN(*args, **kwargs)

        def sometimes(*args: Any):
            loss, error = losses(*args)
            calls[0] += under_way[0]
            return (loss * float("inf"), error) if bad(calls[0]) else (loss, error)

        monkeypatch.setattr(learner, "train_denoiser", trained)
        monkeypatch.setattr(gradients, "_losses", sometimes)

    return arrange


def test_row_56_a_training_that_diverges_goes_back_once_at_a_lower_rate(
    images: Path, quick_rates: None, tmp_path: Path, spoils
):
    """Steps 7 to 16 are bad: back to the checkpoint of step 5, and to the end from there."""
    run, said = tmp_path / "run", Said()
    spoils(lambda call: 7 <= call < 17)
    plain = ("diffusion.early_stop=null", "diffusion.steps=24")
    told = fit(request(images, run, *plain, per_class=False), said)
    assert "going back to step 5" in said
    (row,) = told["went_back"]
    assert (row["phase"], row["to_step"], row["learning_rate_factor"]) == (
        "base went back", 5, 0.5,
    )  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if r["phase"] == "base"][-1] == 24
    assert told["steps"] == 24


def test_row_56_and_when_that_does_not_help_it_ends_with_the_last_checkpoint_intact(
    images: Path, quick_rates: None, tmp_path: Path, spoils
):
    run = tmp_path / "run"
    spoils(lambda call: call >= 7)
    with pytest.raises(DivergedError, match="once more after it went back") as ended:
        fit(request(images, run, per_class=False))
    assert ended.value.exit_code == 5
    assert "lower diffusion.learning_rate" in str(ended.value)
    newest = newest_checkpoint(run / "base")
    state = load_training(newest)
    assert all(bool(torch.isfinite(t).all()) for t in state.tensors.values())
    assert f"the checkpoint of step {state.step} is intact" in str(ended.value)
    assert not (run / "fit.json").exists()


def test_row_56_without_a_checkpoint_it_goes_back_to_the_start(
    images: Path, quick_rates: None, tmp_path: Path, spoils
):
    said, every = Said(), ("diffusion.checkpoint_every=1h", "diffusion.early_stop=null")
    spoils(lambda call: 3 <= call < 13)
    told = fit(request(images, tmp_path / "run", *every, per_class=False), said)
    assert "going back to step 0" in said
    assert told["went_back"][0]["step"] == 12 - 1
    assert told["steps"] == 30


@pytest.mark.parametrize("fault", ["diverges", "memory"])
def test_row_71_a_class_that_fails_leaves_the_others(
    images: Path, whole: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch, fault: str
):
    from synthaug.errors import ResourceError, SynthaugError

    def fails(*args: Any, **kwargs: Any):
        if len(args[2]) < 8:  # only "few" has so few images to learn from
            if fault == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory")
            raise DivergedError("the loss was not finite")
        yield from TRAIN(*args, **kwargs)

    said = Said()
    with monkeypatch.context() as patch:
        patch.setattr(learner, "train_denoiser", fails)
        with pytest.raises(SynthaugError, match=r"1 of 2 specialists failed: few") as ended:
            resume(images, stopped, said=said)
    assert ended.value.exit_code == (5 if fault == "diverges" else 4)
    assert isinstance(ended.value, DivergedError if fault == "diverges" else ResourceError)
    assert "going on with the others" in said
    told = json.loads((stopped / "fit.json").read_text())
    assert told["failed"] == ["few"]
    by_name = {s["class_name"]: s for s in told["specialists"]}
    assert by_name["few"]["reason"].startswith("failed: ") and not by_name["few"]["kept"]
    undisturbed = json.loads((whole / "fit.json").read_text())["specialists"]
    assert by_name["some"] in undisturbed
    resume(images, stopped)  # tries the one that failed again
    ours, theirs = without_grids(outcome(stopped)), without_grids(outcome(whole))
    for found in (ours, theirs):  # only their order may differ
        found["metrics"] = sorted(found["metrics"].splitlines())
    assert ours == theirs


def test_row_59_out_of_memory_late_leaves_the_checkpoint_and_names_the_way_on(
    images: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
):
    from synthaug.errors import ResourceError

    def exhausted(*args: Any, **kwargs: Any):
        for n, stats in enumerate(TRAIN(*args, **kwargs)):
            yield stats
            if n == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(learner, "train_denoiser", exhausted)
        with pytest.raises(ResourceError) as ended:
            resume(images, stopped)
    assert ended.value.exit_code == 4
    for words in ("--resume", "--force", "--set diffusion.micro_batch=2`", "intact"):
        assert words in str(ended.value)
    assert load_training(newest_checkpoint(stopped / "base")).step == 15
    resume(images, stopped, "diffusion.micro_batch=2", force=True)


def test_row_72_a_clock_that_jumps_moves_nothing(
    images: Path, quick_rates: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The wall clock goes an hour back and forth; limits, checkpoints and minutes do not notice."""
    import time

    from synthaug.stages.planning import TimeBudget

    jumps, real = iter(range(10**9)), time.time
    monkeypatch.setattr(time, "time", lambda: real() + (3600 if next(jumps) % 2 else -3600))
    run = tmp_path / "run"
    told = fit(request(images, run, "diffusion.checkpoint_every=1h", per_class=False))
    assert 0 <= told["minutes"] < 10
    assert [p.name for p in (run / "grids").iterdir()] == ["step-00000030.png"]
    budget = TimeBudget(1000)
    assert all(budget.horizon(10, 500) == 500 and budget.spent < 30 for _ in range(5))


def test_row_72_no_duration_is_taken_from_the_wall_clock():
    """`time.time` is not used at all, and the date only for names and stamps."""
    import synthaug

    package = Path(synthaug.__file__).parent
    files = {p.relative_to(package).as_posix(): p for p in package.rglob("*.py")}
    sources = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    assert not [name for name, text in sources.items() if "time.time()" in text]
    dated = {name for name, text in sources.items() if "datetime.now(" in text}
    assert dated <= {"stages/run_dir.py", "stages/ablate.py", "stages/demo.py"}, dated
