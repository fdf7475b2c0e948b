"""Nothing that learns or is kept sees a test image."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthaug.diffusion.partial import PartialStart
from synthaug.evaluation.arms import DATA_SIDES
from synthaug.recipe import load_recipe
from synthaug.stages import fit_session, learner, sizing
from synthaug.stages.bench import Bench
from synthaug.stages.dataset import load_dataset
from synthaug.stages.evaluate import EvaluateRequest, evaluate
from synthaug.stages.features import Selector
from synthaug.stages.fit import FitRequest, fit
from synthaug.stages.generate import GenerateRequest, generate
from synthaug.stages.run_dir import RunDir

CONSTANT = 137


class Spy:
    """Passes calls on and keeps the uint8 image arrays that went by."""

    def __init__(self) -> None:
        self.seen: dict[str, list[np.ndarray]] = {}

    def note(self, where: str, *values: object) -> None:
        kept = [v for v in values if isinstance(v, np.ndarray) and v.ndim == 4]
        self.seen.setdefault(where, []).extend(kept)

    def around(self, where: str, function):
        def wrapped(*args, **kwargs):
            self.note(where, *args, *kwargs.values())
            return function(*args, **kwargs)

        return wrapped


def has_constant(images: np.ndarray) -> bool:
    return bool((images == CONSTANT).reshape(len(images), -1).all(1).any())


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    from synthaug.diffusion import stopping

    spy = Spy()
    for module in (learner, sizing):
        wrapped = spy.around("denoiser", module.train_denoiser)
        monkeypatch.setattr(module, "train_denoiser", wrapped)
    judged = spy.around("judged", fit_session.judge_specialist)
    monkeypatch.setattr(fit_session, "judge_specialist", judged)
    watched = spy.around("watched", stopping.denoising_losses)
    monkeypatch.setattr(stopping, "denoising_losses", watched)
    encode = PartialStart.encode

    def encoded(start, *args):
        spy.note("source", start.first, start.second)
        return encode(start, *args)

    monkeypatch.setattr(PartialStart, "encode", encoded)
    monkeypatch.setattr(Selector, "look", spy.around("selector", Selector.look))
    for name, side in list(DATA_SIDES.items()):

        def noted(material, side=side):
            made = side(material)
            spy.note("classifier", made.images)
            return made

        monkeypatch.setitem(DATA_SIDES, name, noted)
    return spy


@pytest.mark.parametrize("declared", [True, False], ids=["test folder", "cut test split"])
def test_a_test_image_reaches_nothing_that_learns(
    write_images, tmp_path: Path, spy: Spy, serial: None, quick_rates: None, declared: bool
):
    if declared:
        root = write_images(train__a=14, train__b=9, train__c=8, test__a=4, test__b=4, test__c=4)
        place = root / "test" / "a"
    else:
        root = write_images(a=14, b=12, c=11)
        place = root / "a"
    grey = np.full((8, 8), CONSTANT, np.uint8)
    Image.fromarray(grey).save(place / "planted.png")
    run = tmp_path / "run"
    for seed in range(40):  # of the cut; in a test folder it is on the test side at once
        recipe = load_recipe(
            "smoke", [f"seed={seed}", "balance.minority_below=1", "diffusion.steps=8"]
        )
        dataset = as_fit_reads_it(root, recipe)
        if has_constant(dataset.test[0]):
            break
    assert has_constant(dataset.test[0])
    assert not has_constant(dataset.train[0])

    result = fit(FitRequest(root, recipe, run=run, per_class=True, device="cpu"))
    assert [s["class_name"] for s in result["specialists"]]
    for mode in ("variation", "interpolate"):  # for class a too, which has the most images
        generate(GenerateRequest(run=run, balance="60", mode=mode, device="cpu"))
    generate(GenerateRequest(run=run, balance="auto", device="cpu"))
    extra = write_images("extra", a=3)
    arms = ",".join(sorted(DATA_SIDES))
    evaluate(EvaluateRequest(run=run, arms=arms, seeds=1, oracle=extra, device="cpu"))

    assert set(spy.seen) == {
        "denoiser", "judged", "watched", "source", "classifier", "selector"
    }  # fmt: skip
    for where, arrays in spy.seen.items():
        assert arrays, where
        assert not any(has_constant(images) for images in arrays), where
    written = sorted(p for top in ("balanced", "synthetic") for p in (run / top).rglob("*.png"))
    assert written
    for path in written:
        with Image.open(path) as image:
            assert not (np.asarray(image) == CONSTANT).all(), path
    sources = {
        source
        for line in (run / "synthaug_manifest.jsonl").read_text().splitlines()
        for source in json.loads(line).get("sources", ())
    }
    assert sources <= {dataset.paths[i] for i in dataset.splits.train}
    assert sources
    assert "planted" not in (run / "synthaug_manifest.jsonl").read_text()


def as_fit_reads_it(root: Path, recipe):
    from synthaug.stages.dataset import read_dataset
    from synthaug.stages.progress import Silent

    return read_dataset(root, recipe.data, largest=32, seed=recipe.seed, progress=Silent())


def test_the_spy_sees_a_train_image(
    write_images, tmp_path: Path, spy: Spy, serial: None, quick_rates: None
):
    root = write_images(train__a=6, train__b=5, test__a=2, test__b=2)
    Image.fromarray(np.full((8, 8), CONSTANT, np.uint8)).save(root / "train" / "a" / "planted.png")
    run = tmp_path / "run"
    fit(FitRequest(root, load_recipe("smoke"), run=run, device="cpu"))
    generate(GenerateRequest(run=run, balance="60", mode="variation", device="cpu"))
    evaluate(EvaluateRequest(run=run, arms="real", seeds=1, device="cpu"))
    for where in ("denoiser", "source", "classifier", "selector"):
        assert any(has_constant(images) for images in spy.seen[where])


def test_declared_test_images_have_no_part_in_the_plan(write_images, tmp_path: Path, quick_rates):
    """Size, colour, counts and modes stay when the test images differ in all of them."""
    plans = []
    for name in ("plain", "odd"):
        root = write_images(name, train__a=14, train__b=9, train__c=5, test__a=2, test__b=2)
        if name == "odd":
            for i in range(60):
                levels = np.random.default_rng(i).integers(0, 256, (96, 64, 3), dtype=np.uint8)
                Image.fromarray(levels).save(root / "test" / "b" / f"odd-{i}.png")
        run = tmp_path / f"run-{name}"
        fit(FitRequest(root, load_recipe("smoke", ["diffusion.steps=2"]), run=run, device="cpu"))
        described = json.loads((run / "dataset.json").read_text())
        sides = described["image_size"], described["channels"]
        plans.append((sides, json.loads((run / "plan.json").read_text())))
    assert plans[0] == plans[1]


def test_row_35_a_leak_edited_into_the_splits_is_refused(copied_run: Path, cli):
    path = copied_run / "splits.json"
    splits = json.loads(path.read_text())
    moved = splits["train"][0]
    path.write_text(json.dumps({**splits, "test": sorted([*splits["test"], moved])}))
    names = json.loads((copied_run / "dataset.json").read_text())["paths"]
    for verb in ("generate", "evaluate"):
        refused = cli(verb, "--run", copied_run)
        assert refused.code == 3
        assert names[moved] in refused.fault and "splits.json" in refused.fault


def test_row_103_synthetic_images_never_validate_and_never_test(
    copied_run: Path, serial: None, monkeypatch: pytest.MonkeyPatch
):
    """Whatever lies in synthetic/ and balanced/: what is judged on comes from pixels.npy alone."""
    grey = np.full((8, 8), CONSTANT, np.uint8)
    planted = sorted((copied_run / "synthetic").rglob("*.png"))[:3]
    for path in planted:
        Image.fromarray(grey).save(path)
    judged, learned = [], []
    train = Bench.train

    def noted(bench: Bench, arm, seed: int, stop=None):
        judged.append(bench.test[0])
        learned.append(DATA_SIDES[arm.data](bench.material).images)
        return train(bench, arm, seed, stop)

    monkeypatch.setattr(Bench, "train", noted)
    evaluate(EvaluateRequest(run=copied_run, arms="real,synthaug", seeds=1, device="cpu"))
    dataset = load_dataset(RunDir(copied_run))
    assert len(judged) >= 2 and any(has_constant(images) for images in learned)
    assert all(np.array_equal(images, dataset.test[0]) for images in judged)
    assert not has_constant(dataset.pixels)
    assert all((Path(dataset.root) / path).is_file() for path in dataset.paths)
