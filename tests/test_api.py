"""The verbs from Python: what they return, raise and tell, on a small run of real digits."""

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import synthaug
from synthaug.api import Event
from synthaug.cli import evaluate as evaluate_command
from synthaug.cli import fit as fit_command
from synthaug.cli import generate as generate_command
from synthaug.cli import push as push_command
from synthaug.errors import DataError, SynthaugError, UsageError

COUNTS = {"0": 24, "1": 12, "2": 6}


def digit_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Real 8x8 digits, uint8 [N, 8, 8], and their labels, 0 to 2."""
    digits = load_digits()
    kept = [np.flatnonzero(digits.target == int(k))[:n] for k, n in COUNTS.items()]
    positions = np.concatenate(kept)
    return (digits.images[positions] * 255 / 16).astype(np.uint8), digits.target[positions]


@dataclasses.dataclass(frozen=True)
class Made:
    fitted: synthaug.FitResult
    generated: synthaug.GenerateResult
    evaluated: synthaug.EvaluateResult
    events: list[Event]


@pytest.fixture(scope="module")
def made(quick_rates: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All three verbs on arrays, with the smoke recipe."""
    run, events = tmp_path_factory.mktemp("api") / "run", []
    fitted = synthaug.fit(
        digit_arrays(), recipe="smoke", run=run, seed=3, set={"diffusion.batch_size": 4},
        progress=events.append,
    )  # fmt: skip
    generated = synthaug.generate(run, balance={"2": 9}, mode={"2": "sample"}, steps=2)
    evaluated = synthaug.evaluate(run, arms=["real/ce", "synthaug/ce"], seeds=1)
    return Made(fitted, generated, evaluated, events)


def test_arrays_from_fit_to_verdict(made: Made):
    fitted, generated, evaluated = made.fitted, made.generated, made.evaluated
    assert fitted.run is not None and fitted.run == generated.run == evaluated.run
    assert fitted.train_counts == {"0": 19, "1": 10, "2": 5}  # a fifth of each tests
    assert fitted.n_new == {"0": 0, "1": 9, "2": 14}
    assert fitted.model is not None and (fitted.model / "unet" / "config.json").is_file()
    assert fitted.specialists == ()
    assert fitted.results == json.loads((fitted.run / "fit.json").read_text())
    assert fitted.results["seed"] == 3 and fitted.results["n_img"] == 6 * 4

    assert generated.counts == {"0": 0, "1": 0, "2": 4}
    assert len(list((generated.synthetic / "2").iterdir())) == 4
    assert len(list((generated.balanced / "2").iterdir())) == 9
    assert generated.results["steps"] == 2
    manifest = [json.loads(line) for line in generated.manifest.read_text().splitlines()]
    assert {m["mode"] for m in manifest if m["source"] == "synthetic"} == {"sample"}

    assert evaluated.report.is_file()
    for card in (fitted.model / "README.md", generated.balanced / "README.md"):
        assert evaluated.sentence.partition(",")[0] in card.read_text().replace("\\", "")
    assert evaluated.verdict in ("use", "do not use", "cannot tell")
    assert evaluated.sentence.endswith(".")
    assert set(evaluated.class_verdicts) == set(COUNTS)
    written = json.loads((fitted.run / "results.json").read_text())
    assert {key: evaluated.results[key] for key in written} == written
    assert [arm["name"] for arm in evaluated.results["arms"]] == ["real/ce", "synthaug/ce"]


def test_the_images_are_those_of_the_arrays(made: Made):
    assert made.fitted.run is not None
    images, _ = digit_arrays()
    kept = np.load(made.fitted.run / "pixels.npy")
    assert kept.dtype == np.uint8 and kept.shape == (len(images), 1, 8, 8)
    np.testing.assert_array_equal(
        np.unique(kept.reshape(-1, 64), axis=0), np.unique(images.reshape(-1, 64), axis=0)
    )


def test_progress_is_told_as_events(made: Made):
    steps = [e for e in made.events if e.kind == "step" and e.text == "training the DDPM"]
    assert steps and steps[-1].done == steps[-1].total == 6 * 4 and steps[-1].unit == "images"
    assert steps[-1].note.startswith("loss ")
    assert any(e.kind == "say" and "picture" in e.text for e in made.events)


def test_quiet_by_default(capfd: pytest.CaptureFixture[str], quick_rates: None):
    synthaug.fit(digit_arrays(), recipe="smoke", dry_run=True)
    assert capfd.readouterr() == ("", "")


def test_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_rates: None):
    monkeypatch.chdir(tmp_path)
    planned = synthaug.fit(digit_arrays(), recipe="smoke", dry_run=True)
    assert planned.run is None and planned.model is None
    assert planned.n_new == {"0": 0, "1": 9, "2": 14}
    assert planned.results["plan"]["n_train"] == 34
    assert not list(tmp_path.iterdir())


def test_a_folder_is_read_as_by_the_command(digits: Path, smoke: Any, quick_rates: None):
    planned = synthaug.fit(digits, recipe="smoke", dry_run=True)
    assert planned.train_counts == {c: 40 - smoke.read("generate.json")["counts"][c]
                                    for c in planned.train_counts}  # fmt: skip


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (np.zeros((4, 8, 8)), [0, 0, 1, 1], "float64 [4, 8, 8]"),
        (np.zeros((4, 64), np.uint8), [0, 0, 1, 1], "uint8 [4, 64]"),
        (np.zeros((4, 8, 8), np.uint8), [0, 0, 1], "int64 [3] for 4 images"),
        (np.zeros((4, 8, 8), np.uint8), [0.0, 0.0, 1.0, 1.0], "float64 [4]"),
        (np.zeros((4, 8, 8), np.uint8), np.array([0, None, 1, 1]), "object [4]"),
        (np.zeros((4, 8, 8, 7), np.uint8), [0, 0, 1, 1], "[4, 8, 8, 7]"),
    ],
)
def test_arrays_of_another_kind_are_refused(images: Any, labels: Any, told: str):
    with pytest.raises(DataError) as refused:
        synthaug.fit((images, labels), recipe="smoke", dry_run=True)
    assert told in str(refused.value)


def test_labels_may_be_text(quick_rates: None):
    images, labels = digit_arrays()
    names = np.array(["zero", "one", "two"], dtype=object)[labels]
    planned = synthaug.fit((images, names), recipe="smoke", dry_run=True)
    assert planned.train_counts == {"zero": 19, "one": 10, "two": 5}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda run: synthaug.fit("nowhere-at-all"),
        lambda run: synthaug.fit(digit_arrays(), recipe="smok"),
        lambda run: synthaug.fit(digit_arrays(), recipe="smoke", set={"diffusion.step": 3}),
        lambda run: synthaug.fit(digit_arrays(), recipe="smoke", value_range="dark"),
        lambda run: synthaug.generate(run, balance={"seven": 9}),
        lambda run: synthaug.generate(run, mode={"seven": "sample"}),
        lambda run: synthaug.generate(run, mode={"2": "samples"}),
        lambda run: synthaug.generate(run, cap={"2": -1}),
        lambda run: synthaug.evaluate(run, arms=["reel"]),
        lambda run: synthaug.evaluate(run.parent),
    ],
)
def test_faults_are_synthaug_errors_in_one_line(made: Made, wrong: Callable[[Path], object]):
    assert made.fitted.run is not None
    with pytest.raises(SynthaugError) as raised:
        wrong(made.fitted.run)
    assert isinstance(raised.value, UsageError | DataError)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("verb", "command"),
    [
        (synthaug.fit, fit_command.fit),
        (synthaug.generate, generate_command.generate),
        (synthaug.evaluate, evaluate_command.evaluate),
        (synthaug.push, push_command.push),
    ],
)
def test_the_options_are_those_of_the_command_line(verb: Any, command: Any):
    of_terminal = {"as_json", "debug"}
    theirs = {name.rstrip("_") for name in inspect.signature(command).parameters} - of_terminal
    assert set(inspect.signature(verb).parameters) - {"progress"} == theirs
    assert all(f"    {name}: " in inspect.getdoc(verb) for name in {*theirs, "progress"})


def test_the_lazy_names_are_the_public_ones():
    assert set(synthaug.__all__) <= set(dir(synthaug))
    for name in synthaug.__all__:
        assert getattr(synthaug, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        synthaug.fitt  # noqa: B018
    assert typing.get_type_hints(synthaug.fit)["return"] is synthaug.FitResult
