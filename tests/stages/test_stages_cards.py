"""The cards of a real run: always there, current, and their lines of Python do what they say."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import pixel_unshuffle

from synthaug.diffusion.augment import VECTOR_SIZE
from synthaug.diffusion.checkpoint import newest_checkpoint, save_checkpoint
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import ImageNoise
from synthaug.diffusion.schedule import make_schedule
from synthaug.diffusion.unet import NetworkSpec, build_denoiser
from synthaug.report.cards import CardClass, CardFacts, ModelFacts, model_card
from synthaug.stages.cards import card_facts, write_cards
from synthaug.stages.dataset import load_dataset
from synthaug.stages.run_dir import RunDir


def python_of(card: str) -> str:
    """All Python of a card, in the order in which a reader types it."""
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 2
    # What loads the model are five statements.
    assert len([line for line in blocks[0].splitlines() if re.match(r"\w", line)]) == 5
    return "\n".join(blocks)


def checkpoint_of(run: Path) -> Path:
    found = newest_checkpoint(run / "base")
    assert found is not None
    return found


def test_every_verb_left_its_cards(smoke: Any):
    model = (checkpoint_of(smoke.path) / "README.md").read_text(encoding="utf-8")
    data = (smoke.path / "balanced" / "README.md").read_text(encoding="utf-8")
    counts = smoke.read("generate.json")["counts"]
    for number, planned in enumerate(smoke.read("plan.json")["classes"]):
        name, real = planned["name"], planned["train_images"]
        assert f"| {number} | {name} | {real} | {counts[name]} |" in model
        assert f"| {name} | {real} | {counts[name]} |" in data
    results = smoke.read("results.json")
    for card in (model, data):
        assert results["verdict"]["sentence"].partition(",")[0] in card.replace("\\", "")
        for c in results["memorisation"]["classes"]:
            row = (c["n_synthetic"], c["copies"], c["n_real"], c["copies_among_real"])
            assert f"| {c['class_name']} | {' | '.join(map(str, row))} |" in card


def test_the_lines_in_the_card_draw(smoke: Any, monkeypatch: pytest.MonkeyPatch):
    folder = checkpoint_of(smoke.path)
    monkeypatch.chdir(folder)
    torch.manual_seed(0)
    made: dict[str, Any] = {}
    exec(python_of((folder / "README.md").read_text(encoding="utf-8")), made)
    assert made["images"].dtype == torch.uint8 and made["images"].shape == (8, 1, 8, 8)
    assert len(torch.unique(made["images"])) > 2


@pytest.mark.parametrize(
    ("patch", "augment", "variance", "channels"),
    [(1, False, "beta_tilde", 3), (2, True, "learned", 1)],
)
def test_the_lines_draw_what_synthaug_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    patch: int, augment: bool, variance: str, channels: int,
):  # fmt: skip
    denoiser = build_denoiser(
        NetworkSpec((16, 32), 1, patch, (False, False), 0.0), image_size=8, channels=channels,
        n_classes=3, schedule=make_schedule("cosine", 40), prediction="v", variance=variance,
        seed=1, device=torch.device("cpu"), vector_size=VECTOR_SIZE if augment else 0,
    )  # fmt: skip
    with torch.no_grad():  # a fresh network predicts zeros, whatever it is asked
        for p in denoiser.network.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 0.02)
    denoiser.network.eval()
    save_checkpoint(tmp_path / "ckpt", denoiser, {"step": 0})
    facts = ModelFacts(
        "untrained", 40, patch, VECTOR_SIZE if augment else 0, variance == "learned", channels,
        8 // patch, label=2,
    )  # fmt: skip
    card = model_card(CardFacts("noise", (CardClass("a", 2, None),) * 3, 8, channels, "0"), facts)
    (ours,) = generate_images(denoiser, np.full(8, 2), np.arange(8), sampler="ddim", steps=40)
    noise = pixel_unshuffle(
        ImageNoise(np.arange(8), denoiser.image_shape, torch.device("cpu"))(), patch
    )
    monkeypatch.chdir(tmp_path / "ckpt")
    made: dict[str, Any] = {}
    with monkeypatch.context() as patch_noise:
        patch_noise.setattr(torch, "randn", lambda *shape: noise.reshape(shape))
        exec(python_of(card), made)
    assert made["images"].shape == (8, channels, 8, 8)
    difference = made["images"].numpy().astype(int) - ours.images
    assert np.abs(difference).max() <= 1 and ours.images.std() > 10


def test_a_card_without_a_verdict_after_generate(copied_run: Path, cli: Any):
    cli("generate", "--balance", "45", "--run", copied_run).ok()
    data = (copied_run / "balanced" / "README.md").read_text(encoding="utf-8")
    model = (checkpoint_of(copied_run) / "README.md").read_text(encoding="utf-8")
    # The verdict was on other images: it is not repeated for these.
    for card in (data, model):
        assert "nobody has run `synthaug evaluate` on these images yet" in card
    assert "likely copies" in data
    assert not list((copied_run / "base").glob("*/.README*"))


def test_a_stranger_in_the_balanced_folder_is_still_refused(copied_run: Path, cli: Any):
    (copied_run / "balanced" / "3" / "README.md").write_text("mine")
    fault = cli("generate", "--balance", "45", "--run", copied_run).fault
    assert "was not written by this run" in fault


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_row_100_the_card_is_read_with_the_folder(smoke: Any, tmp_path: Path):
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(smoke.path / "balanced"), cache_dir=str(tmp_path))
    assert set(loaded) == {"train"} and len(loaded["train"]) == 400
    assert loaded["train"].features["label"].names == [str(k) for k in range(10)]


def test_facts_of_a_fit_alone(copied_run: Path):
    for name in ("generate.json", "synthaug_manifest.jsonl"):
        (copied_run / name).unlink()
    run = RunDir(copied_run)
    dataset = load_dataset(run)
    facts = card_facts(run, dataset, None)
    assert facts.verdict is None and facts.generation is None and not facts.copies
    assert [c.synthetic for c in facts.classes] == [None] * 10
    assert facts.n_test == len(json.loads((copied_run / "splits.json").read_text())["test"])
    write_cards(run, dataset)
    card = (checkpoint_of(copied_run) / "README.md").read_text(encoding="utf-8")
    assert "| none yet |" in card and "there are no synthetic images yet" in card
