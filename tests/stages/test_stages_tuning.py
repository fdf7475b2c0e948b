"""Tuning: what is held out, what synthetic images may be learned from, what is chosen and kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthaug.data.longtail import long_tail_counts
from synthaug.data.splits import Splits
from synthaug.errors import DataError, InterruptedRun
from synthaug.evaluation.arms import TUNED_ARMS, Arm, Material, parse_arms
from synthaug.evaluation.options import ClassifierOptions
from synthaug.evaluation.tuning import Trial
from synthaug.stages import tuning, tuning_bench
from synthaug.stages.bench import Bench
from synthaug.stages.dataset import Dataset
from synthaug.stages.progress import Silent
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag
from synthaug.stages.tuning import CHOICE, tune
from synthaug.stages.tuning_bench import TuningBench
from synthaug.stages.tuning_folds import FOLDS, find_originals, of_folds, validation_folds

NET = """
from torch import nn

def small(channels, n_classes, image_size):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * image_size**2, 32), nn.ReLU(), nn.Linear(32, n_classes)
    )
"""
OVERSAMPLE, FULL = Trial(0, 0, 1), Trial(1, 0, 1)
FEW = {"synthaug-tuned": (OVERSAMPLE, FULL), "real-tuned": (OVERSAMPLE, Trial(0, 1, 0))}


class Counted:
    """In place of `train_all`: trains in this process and keeps the jobs, stopping after some."""

    def __init__(self):
        self.jobs, self.stop_after = [], None

    def __call__(self, bench, jobs, stop):
        for job in jobs:
            if len(self.jobs) == self.stop_after:
                raise InterruptedRun("stopped")
            self.jobs.append(job)
            yield job, bench.train(*job, stop)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Two trials a side, one seed, a network of a moment; the trainings that were done."""
    (tmp_path / "tuning_nets.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    counted = Counted()
    monkeypatch.setattr(tuning_bench, "train_all", counted)
    monkeypatch.setattr(tuning, "TRIALS", FEW)
    monkeypatch.setattr(tuning, "ROUNDS", ((2, 1),))
    monkeypatch.setattr(tuning, "read_sources", no_sources)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield counted
    torch.set_num_threads(threads)


def no_sources(run, dataset):
    """Images drawn from noise, as many as `digits_bench` has."""
    return [()] * run.n_synthetic


def digits_bench(kind, *, n_max=60, ratio=20, steps=120, seed=7):
    """A long tail of real digits, with planted images that would balance it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * 255 / 16).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    train, further, test = [], [], []
    for k, n in enumerate(long_tail_counts(n_max, 10, ratio)):
        own = rng.permutation(np.flatnonzero(labels == k)).tolist()
        train, further, test = train + own[:n], further + own[n:n_max], test + own[n_max:]
    real = images[train], labels[train]
    made_labels = labels[further]
    if kind == "real":
        made = images[further]
    elif kind == "noise":
        made = rng.integers(0, 256, (len(further), 1, 8, 8), dtype=np.uint8)
    else:
        source = [rng.choice(np.flatnonzero(real[1] == k)) for k in made_labels]
        noisy = real[0][source] + rng.normal(0, 10, (len(source), 1, 8, 8))
        made = noisy.clip(0, 255).round().astype(np.uint8)
    every = [*train, *test]
    dataset = Dataset(
        root="somewhere", name="digits", fingerprint="f" * 64,
        class_names=tuple("0123456789"), pixels=images[every], labels=labels[every],
        paths=tuple(f"{i}.png" for i in every),
        content_hashes=tuple(f"{i:064x}" for i in every),
        splits=Splits(np.arange(len(train)), np.arange(0), np.arange(len(train), len(every)), ()),
        notices=(),
    )  # fmt: skip
    options = ClassifierOptions(
        steps=steps, learning_rate=3e-3, classifier="tuning_nets:small", max_shift=0
    )
    material = Material(real, 10, synthetic=(made, made_labels), seed=seed)
    return Bench(material, dataset.test, options, "cpu"), dataset


class Rounds(Silent):
    """Notes what is told of each task."""

    def __init__(self):
        self.told = []

    def task(self, description, total, unit):
        self.told.append(description)
        return super().task(description, total, unit)


def tuned(bench, dataset, path, progress=None):
    run = RunDir(path)
    run.n_synthetic = len(bench.material.synthetic[1])
    return tune(run, bench, dataset, progress or Silent(), StopFlag()), run


# Folds --------------------------------------------------------------------------------------------


def test_folds_hold_every_class_out_evenly(dataset_of):
    dataset = dataset_of(40, 9, 4, 2)
    fold = validation_folds(dataset, seed=0)
    labels = dataset.train[1]
    table = np.array([np.bincount(fold[labels == k], minlength=FOLDS) for k in range(4)])
    assert table.sum(1).tolist() == [40, 9, 4, 2]
    assert (table.max(1) - table.min(1) <= 1).all()
    np.testing.assert_array_equal(fold, validation_folds(dataset, seed=0))
    assert (fold != validation_folds(dataset, seed=1)).any()


def test_what_belongs_together_is_held_out_together(dataset_of):
    dataset = dataset_of(24, 12, 6)
    together = np.arange(len(dataset.labels))
    together[:24] = np.arange(24) // 5  # patients of five images
    together[36:42] = 100  # class 2 is one patient's
    fold = validation_folds(replace(dataset, together=together), seed=0)
    assert all(len(set(fold[:24][together[:24] == p])) == 1 for p in range(5))
    assert set(fold[:36]) == set(range(FOLDS))
    assert (fold[36:] == -1).all()  # held out, nothing would be left to learn it from


def test_equal_images_and_images_of_two_classes(dataset_of):
    dataset = dataset_of(12, 12)
    hashes = list(dataset.content_hashes)
    hashes[1] = hashes[0]
    hashes[14] = hashes[2]
    fold = validation_folds(replace(dataset, content_hashes=tuple(hashes)), seed=0)
    assert fold[0] == fold[1] >= 0
    assert fold[2] == fold[14] == -1


def test_nothing_to_validate_on_is_told(dataset_of, trained, tmp_path):
    dataset = dataset_of(4, 4)
    together = np.arange(len(dataset.labels)) // 4
    material = Material(dataset.train, 2, synthetic=dataset.train)
    bench = Bench(material, dataset.test, ClassifierOptions(), "cpu")
    with pytest.raises(DataError, match="no train image can be held out to tune on"):
        tuned(bench, replace(dataset, together=together), tmp_path)
    assert not trained.jobs


# What synthetic images have seen ------------------------------------------------------------------


def test_an_image_belongs_to_the_folds_of_its_original_and_of_its_sources():
    fold = np.array([0, 1, 2, -1, 3])
    belongs = of_folds(fold, np.array([0, 3, 1, -1, -1]), [(), (), (2,), (0, 4), ()])
    assert [np.flatnonzero(of).tolist() for of in belongs.T] == [[0], [], [1, 2], [0, 3], []]


def test_an_original_is_nearer_than_all_that_is_learned_from():
    """Flat images on a line of grey levels, three of class 0 in two folds, and twins in one."""

    def flat(*levels):
        return np.broadcast_to(np.array(levels)[:, None, None, None], (len(levels), 1, 8, 8))

    levels, labels = (0, 100, 102, 200), np.array([0, 0, 0, 1])
    fold = np.array([0, 1, 1, 2])
    made = (90, 10, 49, 51, 150, 210, 198)
    synthetic = flat(*made).astype(np.uint8), np.array([0, 0, 0, 0, 0, 0, 0])
    material = Material((flat(*levels).astype(np.uint8), labels), 2, synthetic=synthetic)
    # 102 is a twin of 100, which does not keep an image at 90 from being a copy; 210 is as far
    # from both as the image at 0 that is learned from.
    assert find_originals(material, fold).tolist() == [1, 0, 0, 1, 2, -1, 2]
    # In folds of their own the twins are learned from in turn: nothing is gained by a copy.
    assert find_originals(material, np.arange(4)).tolist() == [-1, 0, 0, -1, -1, -1, -1]
    # What is never held out has no copies to look for.
    assert (find_originals(material, np.full(4, -1)) == -1).all()


def test_copies_are_never_learned_from_when_their_original_validates():
    bench, dataset = digits_bench("copies")
    material = bench.material
    fold = validation_folds(dataset, seed=0)
    kept = ~of_folds(fold, find_originals(material, fold), [()] * len(material.synthetic[1]))
    made, made_labels = material.synthetic
    images, labels = material.real
    for f in range(FOLDS):
        held_out = images[fold == f].astype(float), labels[fold == f]
        for image, k in zip(made[kept[f]], made_labels[kept[f]], strict=True):
            apart = held_out[0][held_out[1] == k] - image
            # Noise of 10 grey levels; two digits of a class are further apart.
            assert len(apart) == 0 or np.sqrt((apart**2).mean((1, 2, 3))).min() > 12
    assert (~kept).sum() == len(made)  # each of one fold


def test_of_honest_images_most_may_be_learned_from():
    bench, dataset = digits_bench("real")
    fold = validation_folds(dataset, seed=0)
    left_out = find_originals(bench.material, fold) >= 0
    assert 0.3 < left_out.mean() < 0.7  # from the one of four folds


def test_a_fold_trains_without_its_images_and_what_has_seen_them(trained, monkeypatch):
    bench, dataset = digits_bench("real", steps=1)
    fold = validation_folds(dataset, seed=0)
    kept = np.random.default_rng(0).random((FOLDS, len(bench.material.synthetic[1]))) < 0.5
    seen = {}

    def train(self, arm, seed, stop=None):
        seen.update(bench=self, arm=arm)
        return {"logits": np.zeros((len(self.test[1]), 10)), "seconds": np.array(1.0)}

    monkeypatch.setattr(Bench, "train", train)
    workbench = TuningBench(bench.material, fold, kept, bench.options, "cpu")
    workbench.train((Trial(0.5, 1, 0), 2), 7)
    material = seen["bench"].material
    images, labels = bench.material.real
    np.testing.assert_array_equal(material.real[0], images[fold != 2])
    np.testing.assert_array_equal(seen["bench"].test[1], labels[fold == 2])
    np.testing.assert_array_equal(material.synthetic[0], bench.material.synthetic[0][kept[2]])
    assert material.tuned == {"synthaug-tuned": Trial(0.5, 1, 0)}


# The choice, on real digits -----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "helps"), [("real", True), ("noise", False)])
def test_planted_images_are_chosen_if_they_help(trained, tmp_path, kind, helps):
    choices, run = tuned(*digits_bench(kind), tmp_path / "run")
    assert choices["synthaug-tuned"].chosen == (FULL if helps else OVERSAMPLE)
    said = run.read_json(CHOICE)["sentence"]
    assert ("For synthaug it chose no synthetic images" in said) == (not helps)


def test_copies_would_be_chosen_if_they_were_learned_from(trained, tmp_path, monkeypatch):
    """What the folds of synthetic images prevent: copies of validation images look like a gain."""
    bench, dataset = digits_bench("copies")
    honest, _ = tuned(bench, dataset, tmp_path / "honest")
    assert honest["synthaug-tuned"].chosen == OVERSAMPLE
    none = np.zeros((FOLDS, len(bench.material.synthetic[1])), dtype=bool)
    monkeypatch.setattr(tuning, "of_folds", lambda fold, originals, sources: none)
    flattered, _ = tuned(bench, dataset, tmp_path / "flattered")
    assert flattered["synthaug-tuned"].chosen == FULL

    def gain(choices):
        of = {s.trial: s.balanced_accuracy for s in choices["synthaug-tuned"].table}
        return of[FULL] - of[OVERSAMPLE]

    assert gain(flattered) > 0.05
    assert gain(honest) < 0.03


# Budgets, files -----------------------------------------------------------------------------------


def test_both_sides_get_equal_budgets(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "TRIALS", {k: (*v, Trial(0, 0.5, 1)) for k, v in FEW.items()})
    monkeypatch.setattr(tuning, "ROUNDS", ((3, 1), (2, 3)))
    rounds = Rounds()
    _, run = tuned(*digits_bench("real", steps=5), tmp_path, rounds)
    assert rounds.told == ["tuning, round 1 of 2", "tuning, round 2 of 2"]
    section = run.read_json(CHOICE)
    assert section["trials_per_side"] == 3
    assert section["trainings_per_side"] == (3 + 2 * 2) * FOLDS
    for side in section["sides"].values():
        assert sorted(t["seeds"] for t in side["trials"]) == [1, 3, 3]
        assert sum(t["chosen"] for t in side["trials"]) == 1
        assert side["seconds"] > 0
    # What both sides try is trained once.
    assert len(set(trained.jobs)) == len(trained.jobs) < 2 * section["trainings_per_side"]
    assert len(trained.jobs) <= tuning.most_trainings() <= 2 * section["trainings_per_side"]


def test_a_stopped_tuning_goes_on_and_comes_to_the_same(trained, tmp_path):
    bench, dataset = digits_bench("real", steps=5)
    whole, run = tuned(bench, dataset, tmp_path / "whole")
    n = len(trained.jobs)
    assert n == 3 * FOLDS
    trained.jobs.clear()
    trained.stop_after = 5
    with pytest.raises(InterruptedRun):
        tuned(bench, dataset, tmp_path / "stopped")
    trained.stop_after = None
    again, other = tuned(bench, dataset, tmp_path / "stopped")
    assert len(trained.jobs) == len(set(trained.jobs)) == n
    assert again == whole
    first, second = run.read_json(CHOICE), other.read_json(CHOICE)
    for section in (first, second):
        for side in section["sides"].values():
            assert side.pop("seconds") > 0
    assert first == second
    # All of it is kept by now.
    trained.jobs.clear()
    tuned(bench, dataset, tmp_path / "stopped")
    assert not trained.jobs


def test_only_what_changed_is_trained_again(trained, tmp_path):
    bench, dataset = digits_bench("real", steps=5)
    _, run = tuned(bench, dataset, tmp_path)
    (run / f"tuning/{FULL.name}/fold-1-seed-0.npz").write_bytes(b"PK damaged")
    trained.jobs.clear()
    tuned(bench, dataset, tmp_path)
    assert trained.jobs == [((FULL, 1), 0)]
    trained.jobs.clear()
    images, labels = bench.material.synthetic
    other = replace(bench.material, synthetic=(255 - images, labels))
    tuned(replace(bench, material=other), dataset, tmp_path)
    assert {trial for (trial, _), _ in trained.jobs} == {FULL}
    trained.jobs.clear()
    tuned(replace(bench, options=replace(bench.options, steps=6)), dataset, tmp_path)
    assert len(trained.jobs) == 3 * FOLDS


def test_no_test_image_takes_part(trained, tmp_path, monkeypatch):
    """Other test images change nothing, and none of them goes into a training or a validation."""
    bench, dataset = digits_bench("real", steps=5)
    grey = np.full_like(bench.test[0], 137)
    pixels = dataset.pixels.copy()
    pixels[dataset.splits.test] = 137
    seen = []
    train = Bench.train

    def noted(self, arm, seed, stop=None):
        seen.extend([self.material.real[0], self.material.synthetic[0], self.test[0]])
        return train(self, arm, seed, stop)

    monkeypatch.setattr(Bench, "train", noted)
    spied = replace(bench, test=(grey, bench.test[1])), replace(dataset, pixels=pixels)
    choices, _ = tuned(*spied, tmp_path / "spied")
    assert seen and not any((x == 137).all((1, 2, 3)).any() for x in seen)
    assert choices == tuned(bench, dataset, tmp_path / "plain")[0]


# As arms ------------------------------------------------------------------------------------------


def test_without_tuned_arms_nothing_is_tuned(trained, tmp_path):
    bench, dataset = digits_bench("real")
    run, arms = RunDir(tmp_path / "run"), parse_arms("default", oracle=False)
    assert tuning.with_tuned(run, bench, dataset, arms, Silent(), StopFlag()) is bench
    assert tuning.read_tuning([run], arms) == {} and not trained.jobs


def test_evaluate_runs_both_tuned_arms_and_tells_the_choice(
    trained, serial, quick_rates, write_images, tmp_path, monkeypatch
):
    from synthaug.recipe import load_recipe
    from synthaug.stages.evaluate import EvaluateRequest, evaluate
    from synthaug.stages.fit import FitRequest, fit
    from synthaug.stages.generate import GenerateRequest, generate
    from synthaug.stages.tuning_folds import read_sources

    monkeypatch.setattr(tuning, "read_sources", read_sources)
    root = write_images(train__a=9, train__b=6, train__c=5, test__a=3, test__b=3, test__c=3)
    run = RunDir(tmp_path / "run")
    fit(FitRequest(root, load_recipe("smoke", []), run=run.path, device="cpu"))
    generate(GenerateRequest(run=run.path, balance="9", mode="variation", device="cpu"))
    request = EvaluateRequest(run=run.path, arms="real/ce,real-tuned", seeds=2, device="cpu")
    results = evaluate(request)
    names = [arm["name"] for arm in results["arms"]]
    assert names == ["real/ce", *(arm.name for arm in TUNED_ARMS)]
    (section,) = results["tuning"]
    assert section == run.read_json(CHOICE)
    assert set(section["sides"]) == {"real-tuned", "synthaug-tuned"}
    # Every synthetic image varies a train image, whose fold it is left out of.
    assert sum(section["n_synthetic_by_fold"]) <= (FOLDS - 1) * section["n_synthetic"]
    assert (run / "predictions/synthaug-tuned-la/seed-1.npz").is_file()
    page = (run / "report.html").read_text(encoding="utf-8")
    for trial in (trial for own in FEW.values() for trial in own):
        assert f'<th scope="row">{trial.words}</th>' in page


def test_an_arm_is_trained_with_the_strength_that_was_chosen(trained):
    bench, _ = digits_bench("real", steps=20)
    results = []
    for tau in (0.0, 1.0, 2.0):
        chosen = {"real-tuned": Trial(0, tau, 0)}
        one = replace(bench, material=replace(bench.material, tuned=chosen))
        results.append(one.train(Arm("real-tuned", "la"), 0)["logits"])
    np.testing.assert_array_equal(results[0], bench.train(Arm("real", "ce"), 0)["logits"])
    np.testing.assert_array_equal(results[1], bench.train(Arm("real", "la"), 0)["logits"])
    assert not np.allclose(results[1], results[2])
