"""Selection within `generate`: no copy is kept, every candidate is accounted for."""

import hashlib
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from synthaug.diffusion.generation import SampleBatch
from synthaug.diffusion.noise import image_seeds
from synthaug.errors import DataError, DivergedError, InterruptedRun, UsageError
from synthaug.evaluation.classifiers import build_classifier, build_selector
from synthaug.recipe import SelectionSection, load_recipe
from synthaug.selection.choose import COPY, FULL, Thresholds
from synthaug.stages import candidates as candidates_stage
from synthaug.stages.dataset import load_dataset
from synthaug.stages.fit import FitRequest, fit
from synthaug.stages.generate import GenerateRequest, generate
from synthaug.stages.run_dir import RunDir
from synthaug.stages.selecting import FLAT, SATURATED, Chooser
from synthaug.stages.synthetic import read_synthetic, read_unfiltered

Make = Callable[[int, int], np.ndarray | None]
PLANTED = 20
"""Of exact and of moved copies each."""
FIVE, SIX = 5, 6
STEPS = 200


@pytest.fixture(scope="module")
def fitted(digits: Path, quick_rates: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "fitted"
    fit(FitRequest(digits, load_recipe("smoke"), run=run, device="cpu"))
    return run


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> RunDir:
    """A fitted run whose recipe selects by the defaults."""
    copied = Path(shutil.copytree(fitted, tmp_path / "run"))
    recipe(copied)
    return RunDir(copied)


def recipe(run: Path, **values: object) -> None:
    defaults = SelectionSection(steps=STEPS).model_dump() | values
    overrides = {f"selection.{name}": value for name, value in defaults.items()}
    overrides["evaluation.batch_size"] = 64
    (run / "recipe.yaml").write_text(load_recipe("smoke", values=overrides).to_yaml())


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Callable[[Make], list[int]]:
    """Let image i of class k be `make(k, i)`, None for one that is not finite."""
    which = {int(s): (k, i) for k in range(10) for i, s in enumerate(image_seeds(0, k, 0, 150))}

    def use(make: Make) -> list[int]:
        asked: list[int] = []

        def stub(
            denoiser: Any, labels: np.ndarray, seeds: np.ndarray, **_: Any
        ) -> Iterator[SampleBatch]:
            asked.append(len(seeds))
            made = [make(*which[int(seed)]) for seed in seeds]
            finite = np.array([image is not None for image in made])
            black = np.zeros((1, 8, 8), np.uint8)
            images = np.stack([black if image is None else image for image in made])
            yield SampleBatch(images, labels, seeds, finite, 3)

        monkeypatch.setattr(candidates_stage, "generate_images", stub)
        return asked

    return use


def moved(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((0, 0), (0, 1), (1, 0)))[:, 1:, :-1]


@pytest.fixture
def planted(run: RunDir) -> Make:
    """Exact copies, then moved ones, then good images."""
    dataset = load_dataset(run)
    train, labels = dataset.train
    test, truth = dataset.test  # real digits, here in the place of very good synthetic ones

    def make(k: int, i: int) -> np.ndarray:
        own = train[labels == k]
        if i < PLANTED:
            return own[i % len(own)]
        if i < 2 * PLANTED:
            return moved(own[i % len(own)])
        return test[truth == k][i - 2 * PLANTED]

    return make


def ask(run: RunDir, strategy: str = "5=56", **options: Any) -> dict[str, Any]:
    return generate(GenerateRequest(run=run.path, balance=strategy, device="cpu", **options))


def rows_of(run: RunDir) -> list[dict[str, Any]]:
    return pq.read_table(run / "selection.parquet").to_pylist()


def files_of(run: RunDir) -> dict[str, str]:
    names = [p for top in ("synthetic", "balanced") for p in (run / top).rglob("*.png")]
    names += [run / "synthaug_manifest.jsonl"]
    return {
        p.relative_to(run.path).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(names)
    }


def test_no_planted_copy_reaches_the_balanced_set(run: RunDir, draws, planted: Make):
    draws(planted)
    told = ask(run)
    assert told == run.read_json("generate.json")
    wanted = 56 - 11
    copies = {planted(FIVE, i).tobytes() for i in range(2 * PLANTED)}
    images, labels = read_synthetic(run, load_dataset(run))
    assert (labels == FIVE).all()
    assert not copies & {image.tobytes() for image in images}
    for top in ("synthetic", "balanced"):
        for path in (run / top / "5").glob("synthetic-*" if top == "balanced" else "*"):
            assert np.asarray(Image.open(path))[None].tobytes() not in copies
    rows = rows_of(run)
    assert [row["reason"] for row in rows[: 2 * PLANTED]] == [COPY] * 2 * PLANTED
    assert [row["seed"] for row in rows] == image_seeds(0, FIVE, 0, len(rows)).tolist()
    assert len(images) > wanted / 3
    assert told["counts"]["5"] + told["shortfall"].get("5", 0) == wanted


def test_the_table_and_the_summary_agree(run: RunDir, draws, planted: Make):
    draws(lambda k, i: None if i % 9 == 8 else planted(k, i))
    told = ask(run, "5=40,6=30")
    rows = rows_of(run)
    for name in ("5", "6"):
        reasons = Counter(row["reason"] for row in rows if row["class"] == name)
        assert reasons.pop("") == told["counts"][name]
        reasons.pop(FULL, 0)
        assert reasons == told["rejected_by_class"][name]
        assert told["candidates"][name] == sum(row["class"] == name for row in rows)
    assert told["rejected"] == Counter(row["reason"] for row in rows if row["reason"]) - Counter(
        {FULL: len(rows)}
    )
    assert told["rejected"]["not finite"] > 0
    train = {load_dataset(run).paths[i] for i in load_dataset(run).splits.train}
    for row in rows:
        assert row["kept"] == (row["reason"] == "")
        if row["reason"] == "not finite":
            assert np.isnan(row["entropy"]) and row["nearest_train"] == ""
        else:
            assert row["nearest_train"] in train and 0 <= row["entropy"] <= 1
    lines = [json.loads(x) for x in (run / "synthaug_manifest.jsonl").read_text().splitlines()]
    by_seed = {row["seed"]: row for row in rows}
    made = [x for x in lines if x["source"] == "synthetic"]
    assert made
    for line in made:
        row = by_seed[line["seed"]]
        assert row["kept"] and row["class"] == line["class_name"]
        assert line["scores"]["entropy"] == pytest.approx(row["entropy"], abs=1e-6)


def test_a_shortfall_is_told_and_never_filled(run: RunDir, draws, planted: Make, cli):
    asked = draws(lambda k, i: planted(k, i % PLANTED))
    told = ask(run, "5=31", mode="variation")
    assert (sum(asked), asked[0]) == (60, 30)
    assert (told["counts"]["5"], told["shortfall"], told["n"]) == (0, {"5": 20}, 0)
    assert told["rejected"] == {COPY: 60}
    assert not (run / "synthetic" / "5").exists()
    short, copies = told["notices"]
    assert "class '5' got 0 of 20 images: of 60 candidates 60 were rejected (60 copy" in short
    assert "raise --strength, now 0.6, or add real images" in copies
    printed = cli("generate", "--run", run.path).ok()
    assert "got 0 of 20 images" in " ".join(printed.err.split())
    assert "Rejected: copy: copy of a train image." in " ".join(printed.out.split())


def test_without_selection_all_but_broken_images_are_kept(run: RunDir, draws, planted: Make):
    recipe(run.path, enabled=False)
    asked = draws(lambda k, i: None if i == 3 else planted(k, i))
    told = ask(run)
    assert asked == [45, 1]
    images, _ = read_synthetic(run, load_dataset(run))
    expected = np.stack([planted(FIVE, i) for i in range(46) if i != 3])
    np.testing.assert_array_equal(images, expected)
    assert told["rejected"] == {"not finite": 1}
    assert "selector" not in told
    assert not run.has("selection.parquet") and not run.has("selector.npz")
    assert "scores" not in (run / "synthaug_manifest.jsonl").read_text()


def test_a_table_of_an_earlier_selection_does_not_stay(run: RunDir, draws, planted: Make):
    draws(planted)
    ask(run, "5=15")
    assert run.has("selection.parquet")
    recipe(run.path, enabled=False)
    ask(run, "5=15")
    assert not run.has("selection.parquet")


def test_unfiltered_images_are_the_first_that_were_drawn(run: RunDir, draws, planted: Make):
    dataset = load_dataset(run)
    with pytest.raises(UsageError, match="no synthetic images"):
        read_unfiltered(run, dataset)
    flat = np.full((1, 8, 8), 80, np.uint8)
    draws(lambda k, i: None if i == 0 else flat if i == 1 else planted(k, i))
    told = ask(run, "5=21,6=12")
    assert told["rejected"][FLAT] == 2
    images, labels = read_unfiltered(run, dataset)
    n = [21 - 11, 12 - 9]
    np.testing.assert_array_equal(labels, np.repeat([FIVE, SIX], n))
    expected = [planted(k, i) for k, m in zip((FIVE, SIX), n, strict=True) for i in range(2, m + 2)]
    np.testing.assert_array_equal(images, np.stack(expected))
    (run / "candidates" / "6.npz").unlink()
    with pytest.raises(DataError, match="candidates of class '6'"):
        read_unfiltered(run, dataset)


def test_a_stop_between_classes_costs_the_second_one_only(
    run: RunDir, draws, planted: Make, monkeypatch: pytest.MonkeyPatch
):
    draws(planted)
    ask(run, "5=25,6=24")
    whole = files_of(run), rows_of(run)
    for name in ("5", "6"):
        (run / "candidates" / f"{name}.npz").unlink()
    (run / "selector.npz").unlink()
    choose = Chooser.choose

    def stopped(chooser: Chooser, k: int, *rest: Any) -> Any:
        if k == SIX:
            raise KeyboardInterrupt
        return choose(chooser, k, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Chooser, "choose", stopped)
        with pytest.raises(KeyboardInterrupt):
            ask(run, "5=25,6=24")
    stamps = [(run / f).stat().st_mtime_ns for f in ("candidates/5.npz", "selector.npz")]
    asked = draws(planted)
    ask(run, "5=25,6=24")
    assert sum(asked) == np.load(run / "candidates" / "6.npz")["seeds"].size
    assert (files_of(run), rows_of(run)) == whole
    after = [(run / f).stat().st_mtime_ns for f in ("candidates/5.npz", "selector.npz")]
    assert after == stamps


class Died(BaseException):
    """In the place of SIGKILL: nothing gets a chance to save."""


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_row_95_a_class_goes_on_where_it_was_interrupted(
    run: RunDir, end: str, monkeypatch: pytest.MonkeyPatch
):
    values = {"sampling.batch_size": 4, "selection.steps": 6}
    quick = load_recipe(str(run / "recipe.yaml"), values=values)
    (run / "recipe.yaml").write_text(quick.to_yaml())
    undisturbed = RunDir(Path(shutil.copytree(run.path, run.path.with_name("undisturbed"))))
    seeds: list[int] = []
    fail_at = [10_000]
    real = candidates_stage.generate_images

    def counted(*args: Any, **options: Any) -> Iterator[SampleBatch]:
        for batch in real(*args, **options):
            seeds.extend(batch.seeds.tolist())
            if len(seeds) >= fail_at[0]:
                fail_at[0] = 10_000
                if end == "killed":
                    raise Died
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(candidates_stage, "generate_images", counted)
    monkeypatch.setattr(candidates_stage, "SAVE_SECONDS", -1.0)
    ask(undisturbed)
    once, fail_at[0] = len(seeds), 30
    seeds.clear()
    with pytest.raises(InterruptedRun if end == "stopped" else Died):
        ask(run)
    assert [p.name for p in (run / "candidates").iterdir()] == [".5.part.npz"]
    ask(run)
    # What a stop saved is not drawn again; of a process that was killed, the batch under way is.
    assert len(seeds) == once + (4 if end == "killed" else 0)
    assert len(set(seeds)) == once
    assert files_of(run) == files_of(undisturbed) and rows_of(run) == rows_of(undisturbed)
    assert sorted(p.name for p in (run / "candidates").iterdir()) == ["5.npz"]


def test_the_beginning_of_another_request_is_not_taken_up_and_does_not_stay(
    run: RunDir, draws, planted: Make, monkeypatch: pytest.MonkeyPatch
):
    recipe(run.path, enabled=False)
    asked = draws(planted)

    def stop(*_: Any) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(candidates_stage, "SAVE_SECONDS", -1.0)
        patch.setattr(candidates_stage.Candidates, "_broken", stop)
        with pytest.raises(Died):
            ask(run, "5=20")
    assert asked == [9] and [p.name for p in (run / "candidates").iterdir()] == [".5.part.npz"]
    ask(run, "6=20")
    assert [p.name for p in (run / "candidates").iterdir()] == ["6.npz"]
    ask(run, "5=20")
    assert asked == [9, 11, 9]


def test_row_94_saturated_images_are_refused_and_counted(run: RunDir, draws, planted: Make):
    extreme = np.where(np.indices((8, 8)).sum(0)[None] % 2, 255, 0).astype(np.uint8)
    draws(lambda k, i: extreme if i % 3 == 2 else planted(k, i))
    told = ask(run)
    n = told["candidates"]["5"]
    assert told["rejected_by_class"]["5"][SATURATED] == n // 3
    assert told["rejected"][SATURATED] == n // 3
    rows = rows_of(run)
    assert [i for i, row in enumerate(rows) if row["reason"] == SATURATED] == [*range(2, n, 3)]
    kept, _ = read_synthetic(run, load_dataset(run))
    assert not any((image == extreme).all() for image in kept)


def test_row_94_black_and_white_is_normal_where_real_images_are(run: RunDir, draws, planted: Make):
    dataset = load_dataset(run)
    pixels = np.where(dataset.pixels > 127, 255, 0).astype(np.uint8)
    np.save(run / "pixels.npy", pixels)
    draws(lambda k, i: np.where(planted(k, i) > 127, 255, 0).astype(np.uint8))
    recipe(run.path, enabled=False)
    assert ask(run)["rejected"] == {}


def test_row_94_half_of_a_class_may_be_unusable_and_no_more(run: RunDir, draws, planted: Make):
    recipe(run.path, enabled=False)
    draws(lambda k, i: None if i % 2 else planted(k, i))
    assert ask(run, "5=27,6=9")["rejected"] == {"not finite": 15}
    asked = draws(lambda k, i: None if i % 2 or i == 0 else planted(k, i))
    with pytest.raises(DivergedError, match=r"'5' are unusable \(\{'not finite': 9\}") as caught:
        ask(run, "5=28")
    assert caught.value.exit_code == 5
    assert "at most 50%" in str(caught.value) and "learning_rate" in str(caught.value)
    assert asked == [17], "a broken network is not asked twice"
    assert run.read_json("generate.json")["counts"]["5"] == 27 - 11, "the last good set stays"


def test_row_94_a_broken_network_is_an_error(run: RunDir, monkeypatch: pytest.MonkeyPatch, cli):
    real = candidates_stage.generate_images

    def broken(denoiser: Any, *args: Any, **options: Any) -> Iterator[SampleBatch]:
        with torch.no_grad():
            for parameter in denoiser.network.parameters():
                parameter.mul_(1e3)
        return real(denoiser, *args, **options)

    recipe(run.path, enabled=False)
    monkeypatch.setattr(candidates_stage, "generate_images", broken)
    refused = cli("generate", "--balance", "1=60", "--run", run.path)
    assert refused.code == 5
    assert "of class '1' are unusable" in refused.fault and "fit again" in refused.fault
    assert not run.has("generate.json") and not run.has("balanced")


@pytest.mark.parametrize("change", [{"entropy_above": 0.8}, {"steps": 9}, {"enabled": False}])
def test_another_recipe_is_not_served_from_the_cache(
    run: RunDir, draws, planted: Make, change: dict[str, Any]
):
    asked = draws(planted)
    ask(run, "5=15")
    first = len(asked)
    ask(run, "5=15")
    assert len(asked) == first
    recipe(run.path, **change)
    ask(run, "5=15")
    assert len(asked) > first


def test_nothing_to_draw_teaches_nothing(run: RunDir, draws, planted: Make):
    asked = draws(planted)
    told = ask(run, "0")
    assert (told["n"], told["candidates"], asked) == (0, {}, [])
    assert not run.has("selector.npz") and not run.has("selection.parquet")


def test_thresholds_of_the_recipe_are_those_of_selection():
    section = SelectionSection().model_dump()
    assert {name: section[name] for name in asdict(Thresholds())} == asdict(Thresholds())


def test_a_redraw_limit_below_the_first_draw_is_refused():
    with pytest.raises(UsageError, match=r"draw_at_most 1 is below over_generate 1\.5"):
        load_recipe("smoke", ["selection.draw_at_most=1"])


def test_a_selector_that_knows_too_little_is_told(run: RunDir, draws, planted: Make):
    recipe(run.path, steps=2)
    draws(planted)
    told = ask(run, "5=15")
    assert told["selector"]["train_accuracy"] < 0.8
    assert "raise selection.steps, now 2" in told["notices"][0]


def test_the_selector_is_no_judge(run: RunDir, draws, planted: Make):
    draws(planted)
    facts = ask(run, "5=15")["selector"]
    judge = build_classifier(1, 10, 8, seed=0)
    assert facts["architecture"] != type(judge).__name__
    assert facts["seed"] not in range(load_recipe("smoke").evaluation.seeds)
    assert facts["train_images"] == 164 and facts["steps"] == STEPS
    assert facts["train_accuracy"] > 0.95
    parameters = sum(p.numel() for p in build_selector(1, 10, 8, seed=0).parameters())
    assert facts["parameters"] == parameters
