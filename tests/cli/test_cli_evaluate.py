"""`synthaug evaluate`: numbers that can be worked out again, and a page that shows them."""

import json
import shutil
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from synthaug.evaluation.arms import TrainingSet
from synthaug.stages.evaluate import _digest

ARMS = [
    f"{data}/{loss}"
    for data in ("real", "real+oversample", "copy-control", "synthaug")
    for loss in ("ce", "la")
]


def predictions(run: Path, arm: str, seed: int) -> dict[str, np.ndarray]:
    path = run / "predictions" / arm.replace("/", "-") / f"seed-{seed}.npz"
    with np.load(path, allow_pickle=False) as loaded:
        return dict(loaded)


def stamps(run: Path) -> dict[str, int]:
    folder = run / "predictions"
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*.npz")}


def test_every_arm_is_there_in_json_and_on_disk(smoke):
    results = smoke.evaluate.json
    assert [arm["name"] for arm in results["arms"]] == ARMS
    assert results["run"] == str(smoke.path)
    assert Path(results["report"]).is_file()
    stored = smoke.read("results.json")
    assert {k: v for k, v in results.items() if k not in ("run", "report")} == stored
    assert len(stamps(smoke.path)) == 16


@pytest.mark.parametrize("arm", ["synthaug/la", "real/ce"])
def test_the_numbers_are_those_of_the_predictions(smoke, arm: str):
    results = smoke.read("results.json")
    (entry,) = (a for a in results["arms"] if a["name"] == arm)
    kept = [predictions(smoke.path, arm, seed) for seed in (0, 1)]
    pairs = [(p["y_true"], p["logits"].argmax(1)) for p in kept]
    assert len(pairs[0][0]) == 1797 - 164

    def check(told, values) -> None:
        values = np.array(values)
        half = stats.t.ppf(0.975, 1) * values.std(ddof=1) / np.sqrt(2)
        assert told["values"] == pytest.approx(values, abs=1e-5)
        assert told["mean"] == pytest.approx(values.mean(), abs=1e-5)
        assert told["low"] == pytest.approx(values.mean() - half, abs=1e-4)
        assert told["high"] == pytest.approx(values.mean() + half, abs=1e-4)

    metrics = entry["metrics"]
    check(metrics["balanced_accuracy"], [balanced_accuracy_score(*p) for p in pairs])
    check(metrics["macro_f1"], [f1_score(*p, average="macro", zero_division=0) for p in pairs])
    check(metrics["accuracy"], [np.mean(t == y) for t, y in pairs])
    recall = np.array([recall_score(*p, average=None, zero_division=0) for p in pairs])
    check(metrics["rarest_recall"], recall[:, 7:].mean(1))
    check(metrics["minority_recall"], recall[:, 3:].mean(1))
    check(metrics["medium_recall"], recall[:, :3].mean(1))
    check(metrics["few_recall"], recall[:, 3:].mean(1))
    assert metrics["many_recall"] is None
    for k in range(10):
        check(entry["recall"][k], recall[:, k])
        if all((y == k).any() for _, y in pairs):
            precision = [precision_score(*p, labels=[k], average=None)[0] for p in pairs]
            check(entry["precision"][k], precision)
        else:
            assert entry["precision"][k] is None


def test_the_difference_is_paired_and_against_the_best_arm_without_synthetic_data(smoke):
    results = smoke.read("results.json")
    by_name = {a["name"]: a["metrics"]["balanced_accuracy"] for a in results["arms"]}
    comparison = results["comparison"]
    assert comparison["primary"] == "synthaug/la"
    opponents = [name for name in by_name if not name.startswith("synthaug")]
    best = max(by_name[name]["mean"] for name in opponents)
    assert by_name[comparison["opponent"]]["mean"] == pytest.approx(best)
    told = comparison["differences"]["balanced_accuracy"]["values"]
    ours, theirs = (by_name[comparison[side]]["values"] for side in ("primary", "opponent"))
    assert told == pytest.approx(np.subtract(ours, theirs), abs=1e-5)


def test_the_verdict_tells_every_class_what_and_why(smoke):
    results = smoke.read("results.json")
    verdict, data = results["verdict"], results["dataset"]
    assert results["schema_version"] == 3
    assert [v["class_name"] for v in verdict["per_class"]] == data["class_names"]
    assert [v["n_test"] for v in verdict["per_class"]] == data["test_counts"]
    assert results["comparison"]["opponent"] == verdict["opponents"][0]
    recalls = {arm["name"]: arm["recall"] for arm in results["arms"]}
    for k, told in enumerate(verdict["per_class"]):
        ours, theirs = (recalls[arm][k]["values"] for arm in ("synthaug/la", told["opponent"]))
        assert told["recall"]["values"] == pytest.approx(np.subtract(ours, theirs), abs=1e-5)
        assert told["advice"] in ("use", "do not use", "cannot tell")
        assert (told["advice"] == "cannot tell") == (told["p"] >= 0.05)
        assert told["reason"].startswith("recall ")
    page = Page((smoke.path / "report.html").read_text(encoding="utf-8"))
    assert all(told["reason"] in page.text for told in verdict["per_class"])


def test_intervals_of_differences_are_wider_than_luck_of_the_seeds_alone(smoke):
    """With 2 seeds that agree, test images are still luck."""
    results = smoke.read("results.json")
    differences = results["comparison"]["differences"]
    assert set(differences) == set(results["metrics"])
    by_name = {a["name"]: a["metrics"] for a in results["arms"]}
    ours, theirs = (by_name[results["comparison"][side]] for side in ("primary", "opponent"))
    for metric, told in differences.items():
        assert (told is None) == (ours[metric] is None), metric
        if told is not None:
            values = np.subtract(ours[metric]["values"], theirs[metric]["values"])
            assert told["values"] == pytest.approx(values, abs=1e-5), metric
            by_seed = stats.t.ppf(0.975, 1) * values.std(ddof=1) / np.sqrt(2)
            assert min(told["mean"] + by_seed, 1) <= told["high"] + 1e-5
            assert 0 <= told["p"] <= 1


def test_further_numbers_of_an_arm(smoke):
    results = smoke.read("results.json")
    (entry,) = (a for a in results["arms"] if a["name"] == "synthaug/la")
    kept = [predictions(smoke.path, "synthaug/la", seed) for seed in (0, 1)]
    matrices = [confusion_matrix(p["y_true"], p["logits"].argmax(1)) for p in kept]
    np.testing.assert_allclose(entry["confusion"], np.mean(matrices, axis=0), atol=0.01)
    recall = np.array([np.diagonal(m) / m.sum(1) for m in matrices])
    metrics = entry["metrics"]
    assert metrics["worst_recall"]["values"] == pytest.approx(recall.min(1), abs=1e-5)
    g_mean = np.exp(np.log(np.maximum(recall, 1e-300)).mean(1))
    assert metrics["g_mean"]["values"] == pytest.approx(g_mean, abs=1e-5)
    assert entry["worst_class"] == str(recall.mean(0).argmin())
    assert all(0 <= v <= 1 for v in metrics["calibration_error"]["values"])


def test_neural_collapse_of_every_arm(smoke):
    collapse = smoke.read("results.json")["collapse"]
    assert list(collapse["arms"]) == ARMS
    assert collapse["after"] == "synthaug/la" and collapse["before"] in ARMS
    for told in collapse["arms"].values():
        assert 0 <= told["train_accuracy"] <= 1
        assert -1 <= told["minority_cosine"] <= 1
        assert 0 <= told["classifier_etf_distance"] <= 2**0.5
    # Classes are drawn alike in these arms, so that their SELI is the ETF.
    even = collapse["arms"]["real+oversample/ce"]
    assert even["classifier_seli_distance"] == pytest.approx(even["classifier_etf_distance"])
    uneven = collapse["arms"]["real/ce"]
    assert uneven["classifier_seli_distance"] != uneven["classifier_etf_distance"]
    text = (smoke.path / "report.html").read_text(encoding="utf-8")
    assert "Neural collapse" in text and collapse["sentence"] in text


def test_fidelity_of_the_classes_that_have_enough_images(cli, smoke, copied_run: Path):
    results = smoke.read("results.json")
    told = {c["class_name"]: c for c in results["fidelity"]["classes"]}
    made = dict(zip(results["dataset"]["class_names"], results["synthetic_counts"], strict=True))
    assert set(told) == {name for name, n in made.items() if n}
    for name, entry in told.items():
        assert entry["n_synthetic"] == made[name]
        if made[name] < 30:
            assert f"{made[name]} synthetic images" in entry["reason"]
            assert entry["recall"] is None
        else:
            assert entry["reason"] is None
            assert 0 <= entry["recall"]["real_low"] <= entry["recall"]["real"] <= 1
    assert any(entry["reason"] is None for entry in told.values())
    kept = copied_run / "fidelity" / "features.npz"
    before = kept.stat().st_mtime_ns
    cli("evaluate", "--run", copied_run).ok()
    assert kept.stat().st_mtime_ns == before


NETS = """
from torch import nn

def tiny(channels, n_classes, image_size):
    return nn.Sequential(
        nn.Conv2d(channels, n_classes, image_size, bias=BIAS), nn.Flatten()
    )
"""


def test_what_there_is_to_train_is_told_first(smoke):
    results = smoke.evaluate.json
    n, seeds = len(results["arms"]), len(results["protocol"]["seeds"])
    said = smoke.evaluate.err.splitlines()
    line = said.index(f"{n} arms with {seeds} seeds each: {n * seeds} classifiers")
    assert not any("training classifiers" in before for before in said[:line])


def test_a_classifier_of_ones_own_in_place_of_the_recipes(
    cli, copied_run: Path, serial: None, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "evaluate_nets.py"
    source.write_text(NETS.replace("BIAS", "True"))
    words = ("evaluate", "--run", copied_run, "--arms", "real/ce,synthaug/la")
    own = ("--classifier", "evaluate_nets:tiny", "--json")
    results = cli(*words, *own).ok().json
    assert results["protocol"]["classifier"] == "evaluate_nets:tiny, 0.00 M parameters"
    assert results["commands"][-1].endswith("--classifier evaluate_nets:tiny")
    assert results["collapse"] is None
    before = stamps(copied_run)
    cli(*words, *own).ok()
    assert stamps(copied_run) == before
    source.write_text(NETS.replace("BIAS", "False"))  # other code under the same name
    cli(*words, *own).ok()
    changed = {name for name in before if before[name] != stamps(copied_run)[name]}
    assert changed == {f"{arm}/seed-{s}.npz" for arm in ("real-ce", "synthaug-la") for s in (0, 1)}
    refused = cli(*words, "--classifier", "evaluate_nets:missing")
    assert refused.code == 2 and "missing" in refused.fault


def test_a_digest_misses_no_field_of_the_training_set():
    images = np.arange(2 * 64, dtype=np.uint8).reshape(2, 1, 8, 8)
    labels, weights = np.array([0, 1]), np.array([0.5, 0.5])
    data = TrainingSet(images, labels, weights)
    others = {
        "images": images[::-1],
        "labels": labels[::-1],
        "weights": np.array([0.4, 0.6]),
        "last_weights": weights,
        "discounted": np.array([False, True]),
        "transform": "mixup",
        "smote_features": np.array([0, 1]),
        "tau": 0.5,
    }
    assert set(others) == {f.name for f in fields(TrainingSet)}
    digests = {_digest(data), *(_digest(replace(data, **{k: v})) for k, v in others.items())}
    assert len(digests) == 1 + len(others)
    assert _digest(replace(data, images=images.copy())) == _digest(data)
    # One shape for another is not the same, though its bytes are.
    assert _digest(replace(data, images=images.reshape(2, 4, 4, 4))) not in digests


def test_every_arm_has_the_same_test_set_steps_and_seeds(smoke):
    results = smoke.read("results.json")
    assert results["protocol"]["steps"] == 6
    assert results["protocol"]["seeds"] == [0, 1]
    labels = [predictions(smoke.path, arm, seed)["y_true"] for arm in ARMS for seed in (0, 1)]
    assert all(np.array_equal(labels[0], other) for other in labels)
    assert np.bincount(labels[0]).tolist() == results["dataset"]["test_counts"]


def test_the_results_repeat_what_was_made_and_how(smoke):
    results = smoke.read("results.json")
    assert results["synthetic_counts"] == [40 - n for n in results["dataset"]["train_counts"]]
    # Classes 1 and 2 get 9 and 16 images in three steps each; 211 variations take one step each.
    assert results["generate"]["nfe"] == pytest.approx((25 * 3 + 211) / 236, abs=0.005)
    assert results["fit"]["n_img"] == 48
    assert [c.split()[1] for c in results["commands"]] == ["fit", "generate", "evaluate"]
    assert results["dataset"]["rarest"] == ["7", "8", "9"]


class Page(HTMLParser):
    """Text and tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_every_arm_and_needs_nothing_else(smoke):
    page = Page((smoke.path / "report.html").read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    for words in ("real images", "real + oversampling", "copy control", "synthaug"):
        assert words in text
    assert text.count("logit adjustment") >= 4
    assert [x for x in page.links if not x.startswith(("data:", "#"))] == []
    assert "img" in page.tags


def test_a_second_evaluation_trains_nothing_and_says_the_same(cli, smoke, copied_run: Path):
    before = stamps(copied_run)
    again = cli("evaluate", "--run", copied_run, "--json").ok().json
    assert stamps(copied_run) == before
    first = smoke.evaluate.json
    ignored = ("created", "run", "report")
    assert {k: v for k, v in again.items() if k not in ignored} == {
        k: v for k, v in first.items() if k not in ignored
    }


def test_the_tables_and_the_verdict_are_printed(cli, copied_run: Path):
    told = cli("evaluate", "--run", copied_run).ok()
    for words in ("All training regimes", "Class by class", "Verdict: ", "copy control, LA"):
        assert words in told.out
    assert f"{copied_run}/report.html" in told.out.replace("\n", "")


def test_a_damaged_prediction_is_made_again(cli, copied_run: Path, serial: None):
    before = stamps(copied_run)
    path = copied_run / "predictions" / "real-ce" / "seed-1.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    cli("evaluate", "--run", copied_run).ok()
    after = stamps(copied_run)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["real-ce/seed-1.npz"]


def test_other_images_retrain_only_the_arms_that_use_them(cli, copied_run: Path, serial: None):
    before = stamps(copied_run)
    cli("generate", "--run", copied_run, "--sampler", "ddpm").ok()
    cli("evaluate", "--run", copied_run).ok()
    after = stamps(copied_run)
    changed = {name.rsplit("-", 2)[0] for name in before if before[name] != after[name]}
    assert changed == {"synthaug"}


def test_training_in_another_process_changes_nothing(cli, smoke, copied_run: Path, serial: None):
    shutil.rmtree(copied_run / "predictions")
    cli("evaluate", "--run", copied_run, "--arms", "real,synthaug/la").ok()
    for arm in ("real/ce", "real/la", "synthaug/la"):
        for seed in (0, 1):
            here = predictions(copied_run, arm, seed)["logits"]
            there = predictions(smoke.path, arm, seed)["logits"]
            np.testing.assert_array_equal(here, there)


def test_chosen_arms_and_seeds(cli, copied_run: Path, serial: None):
    results = cli(
        "evaluate", "--run", copied_run, "--arms", "real,synthaug/la", "--seeds", "3", "--json"
    ).ok().json  # fmt: skip
    assert [a["name"] for a in results["arms"]] == ["real/ce", "real/la", "synthaug/la"]
    assert all(len(a["metrics"]["accuracy"]["values"]) == 3 for a in results["arms"])


def test_one_seed_cannot_tell(cli, copied_run: Path):
    results = cli("evaluate", "--run", copied_run, "--seeds", "1", "--json").ok().json
    assert results["verdict"]["overall"] == "cannot tell"
    assert "--seeds 5" in results["verdict"]["sentence"]
    assert all(a["metrics"]["accuracy"]["low"] is None for a in results["arms"])
    assert "Cannot tell" in cli("evaluate", "--run", copied_run, "--seeds", "1").ok().out


@pytest.mark.parametrize(
    ("arms", "missing"), [("synthaug", "only real data"), ("real", "synthetic data")]
)
def test_one_side_alone_is_no_comparison(cli, copied_run: Path, arms: str, missing: str):
    told = cli("evaluate", "--run", copied_run, "--arms", arms).ok()
    assert missing in " ".join(told.out.split())
    results = cli("evaluate", "--run", copied_run, "--arms", arms, "--json").ok().json
    assert results["comparison"] is None
    assert results["verdict"]["overall"] == "cannot tell"


def extra_folder(smoke, root: Path) -> Path:
    """Further real images: the train images of the digits, each changed a little."""
    from PIL import Image

    for path in (smoke.dataset / "train").rglob("*.png"):
        if path.parent.name != "0":
            target = root / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                levels = np.asarray(image).copy()
            levels[0, 0] = 255
            Image.fromarray(levels).save(target)
    return root


def test_an_oracle_adds_its_arm_and_the_share_of_the_gap(
    cli, smoke, copied_run: Path, tmp_path: Path, serial: None, hash_of
):
    extra = extra_folder(smoke, tmp_path / "extra")
    before = hash_of(extra)
    results = cli("evaluate", "--run", copied_run, "--oracle", extra, "--json").ok().json
    assert [a["name"] for a in results["arms"]] == [*ARMS, "oracle/ce"]
    by_name = {a["name"]: a for a in results["arms"]}
    assert by_name["oracle/ce"]["gap_closed"] is None
    means = {n: a["metrics"]["balanced_accuracy"]["mean"] for n, a in by_name.items()}
    reference = means[results["comparison"]["opponent"]]
    gap = means["oracle/ce"] - reference
    for name in ARMS:
        told = by_name[name]["gap_closed"]["balanced_accuracy"]
        if gap > 1e-3:
            assert told == pytest.approx((means[name] - reference) / gap, abs=1e-3)
        else:
            assert told is None
    assert hash_of(extra) == before
    assert "oracle" in (copied_run / "report.html").read_text().lower()


def test_a_deleted_synthetic_image_is_named(cli, copied_run: Path):
    gone = copied_run / "synthetic" / "9" / "000003.png"
    gone.unlink()
    refused = cli("evaluate", "--run", copied_run)
    assert refused.code == 3
    assert str(gone) in refused.fault and "synthaug generate" in refused.fault


def test_an_evaluation_of_real_arms_needs_no_synthetic_images(cli, copied_run: Path, serial: None):
    for name in ("synthetic", "balanced", "candidates", "predictions"):
        shutil.rmtree(copied_run / name)
    for name in ("synthaug_manifest.jsonl", "generate.json"):
        (copied_run / name).unlink()
    cli("evaluate", "--run", copied_run, "--arms", "real/ce", "--seeds", "1").ok()
    assert cli("evaluate", "--run", copied_run).code == 2


# Likelihood -------------------------------------------------------------------------------------

LITTLE = {"likelihood_images": 3, "likelihood_timesteps": 5}


def with_recipe(run: Path, **changed) -> Path:
    """The run with other numbers in the evaluation section of its recipe."""
    path = run / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["evaluation"] |= changed
    path.write_text(yaml.safe_dump(recipe))
    return run


def test_likelihood_of_train_and_test_images(cli, smoke, copied_run: Path):
    """Each number can be worked out again from the arrays that are kept."""
    run = with_recipe(copied_run, **LITTLE)
    told = cli("evaluate", "--run", run, "--likelihood", "--json").ok()
    assert "measuring likelihood: 60/60 images" in told.err
    measured = told.json["likelihood"]
    assert (run / "results.json").read_text().count('"likelihood"') == 1
    assert [c["class_name"] for c in measured["classes"]] == [str(k) for k in range(10)]
    assert {c["denoiser"] for c in measured["classes"]} == {"base"}
    entry = measured["classes"][3]
    with np.load(run / "likelihood" / "3.npz") as kept:
        train, test = kept["train"].sum(0), kept["test"].sum(0)
    assert (entry["n_train"], entry["n_test"]) == (3, 3) == (len(train), len(test))
    assert entry["train"] == pytest.approx(train.mean(), abs=1e-3)
    assert entry["gap"]["mean"] == pytest.approx(test.mean() - train.mean(), abs=1e-3)
    interval = stats.ttest_ind(test, train, equal_var=False).confidence_interval(0.95)
    assert entry["gap"]["low"] == pytest.approx(interval.low, abs=1e-3)
    assert entry["gap"]["high"] == pytest.approx(interval.high, abs=1e-3)
    gaps = [c["gap"]["mean"] for c in measured["classes"]]
    assert measured["overall"]["gap"]["mean"] == pytest.approx(np.mean(gaps), abs=1e-3)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert "Did the generator learn by heart?" in page.text
    assert "likelihood" not in smoke.evaluate.json
    assert "learn by heart" not in (smoke.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_second_likelihood_is_read_and_another_setting_is_measured(cli, copied_run: Path):
    run = with_recipe(copied_run, **LITTLE)
    first = cli("evaluate", "--run", run, "--likelihood", "--json").ok().json
    kept = {p.name: p.stat().st_mtime_ns for p in (run / "likelihood").iterdir()}
    (run / "likelihood" / "9.npz").write_bytes(b"damaged")
    told = cli("evaluate", "--run", run, "--likelihood").ok()
    for words in ("Likelihood of train and test images", "all classes", "memorises"):
        assert words in told.out
    again = {p.name: p.stat().st_mtime_ns for p in (run / "likelihood").iterdir()}
    assert [name for name in kept if kept[name] != again[name]] == ["9.npz"]
    results = json.loads((run / "results.json").read_text())
    assert results["likelihood"] == first["likelihood"]
    with_recipe(run, likelihood_timesteps=6)
    cli("evaluate", "--run", run, "--likelihood").ok()
    changed = {p.name: p.stat().st_mtime_ns for p in (run / "likelihood").iterdir()}
    assert all(changed[name] != again[name] for name in again)


@pytest.mark.slow
def test_likelihood_of_a_class_without_a_network(cli, copied_run: Path):
    """A specialist is used for its class alone; without a base the others are left out."""
    run = with_recipe(copied_run, **LITTLE)
    shutil.copytree(run / "base", run / "specialists" / "4")
    kinds = cli("evaluate", "--run", run, "--likelihood", "--json").ok().json["likelihood"]
    assert [c["denoiser"] for c in kinds["classes"]].index("specialist") == 4
    shutil.rmtree(run / "base")
    alone = cli("evaluate", "--run", run, "--likelihood", "--json").ok().json["likelihood"]
    assert [c["class_name"] for c in alone["classes"]] == ["4"]
    shutil.rmtree(run / "specialists")
    refused = cli("evaluate", "--run", run, "--likelihood")
    assert refused.code == 2 and "has no network" in refused.fault


def test_a_stop_falls_between_two_images_and_keeps_finished_classes(
    cli, copied_run: Path, monkeypatch
):
    from synthaug.errors import InterruptedRun
    from synthaug.stages.dataset import load_dataset
    from synthaug.stages.likelihood import measure_likelihood
    from synthaug.stages.progress import Silent
    from synthaug.stages.run_dir import open_run, read_recipe
    from synthaug.stages.signals import StopFlag

    run = open_run(with_recipe(copied_run, **LITTLE))
    seen = []

    def stop_at_the_eighth_image(self, saved):
        seen.append(saved)
        if len(seen) == 8:
            raise InterruptedRun("stopped", remedy=saved)

    monkeypatch.setattr(StopFlag, "check", stop_at_the_eighth_image)
    dataset, recipe = load_dataset(run), read_recipe(run)
    with pytest.raises(InterruptedRun, match="finished classes are kept"):
        measure_likelihood(run, dataset, recipe, torch.device("cpu"), Silent(), StopFlag())
    assert [p.name for p in (run / "likelihood").iterdir()] == ["0.npz"]
