"""What a training leaves behind."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.schedule import make_schedule
from synthaug.diffusion.training import StepStats
from synthaug.diffusion.unet import NetworkSpec, build_denoiser
from synthaug.errors import DivergedError
from synthaug.stages import record
from synthaug.stages.record import Keeper, keep_grid, log_steps
from synthaug.stages.run_dir import RunDir

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return build_denoiser(
        NetworkSpec((16, 32), 1, 1, (False, False)), image_size=8, channels=1, n_classes=3,
        schedule=make_schedule("cosine", 100), prediction="v", seed=0, device=CPU,
    )  # fmt: skip


def test_losses_become_a_line_of_their_mean(run: RunDir):
    stats = [StepStats(i, loss, 1e-3, 8 * (i + 1), 0) for i, loss in enumerate([1.0, 3.0])]
    assert log_steps(run, "base", stats) == 2.0
    assert math.isnan(log_steps(run, "base", [StepStats(2, math.nan, 1e-3, 24, 1)]))
    log_steps(run, "specialist é", [StepStats(0, 0.5, 1e-3, 8, 0)])
    lines = [json.loads(x) for x in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [x["step"] for x in lines] == [2, 3, 1]
    assert [x["loss"] for x in lines] == [2.0, None, 0.5]
    assert lines[1]["skipped"] == 1
    assert [x["phase"] for x in lines] == ["base", "base", "specialist é"]
    assert [x["n_img"] for x in lines] == [16, 24, 8]


def test_a_loss_that_is_not_finite_does_not_spoil_the_mean(run: RunDir):
    stats = [StepStats(0, math.inf, 1e-3, 8, 1), StepStats(1, 4.0, 1e-3, 16, 1)]
    assert log_steps(run, "base", stats) == 4.0


def keep(run: RunDir, denoiser: Denoiser, step: int, complete: bool = True) -> Path:
    return Keeper(run, "f").denoiser("base", denoiser, step, complete=complete)


def test_the_two_newest_checkpoints_are_kept(run: RunDir, denoiser: Denoiser):
    for step in (4, 5):
        keep(run, denoiser, step, complete=False)
    newer = keep(run, denoiser, 70)
    kept = sorted(p.name for p in (run / "base").iterdir())
    assert kept == ["ckpt-00000005", "ckpt-00000070"]
    assert newest_checkpoint(run / "base") == newer
    loaded = load_checkpoint(newer, CPU)
    assert (loaded.meta["step"], loaded.meta["complete"]) == (70, True)
    assert loaded.meta["fingerprint"] == "f"


def test_the_older_checkpoint_stays_until_the_newer_is_written(
    run: RunDir, denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch
):
    older = keep(run, denoiser, 5)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space"):
        keep(run, denoiser, 6)
    assert newest_checkpoint(run / "base") == older
    assert load_checkpoint(older, CPU).meta["step"] == 5


def test_a_diverged_network_never_replaces_a_good_one(run: RunDir, denoiser: Denoiser):
    import copy

    older = keep(run, denoiser, 5)
    broken = copy.deepcopy(denoiser)
    with torch.no_grad():
        next(iter(broken.network.parameters())).fill_(math.nan)
    with pytest.raises(DivergedError):
        keep(run, broken, 6)
    assert list((run / "base").iterdir()) == [older]
    with pytest.raises(DivergedError, match="step 6"):
        keep_grid(run, broken, 6)
    assert not run.has("grids")


def test_a_grid_has_a_row_for_each_of_many_classes(run: RunDir):
    many = build_denoiser(
        NetworkSpec((16,), 1, 1, (False,)), image_size=8, channels=1, n_classes=40, seed=0,
        schedule=make_schedule("cosine", 10), prediction="v", device=CPU,
    )  # fmt: skip
    with Image.open(keep_grid(run, many, 1)) as image:
        assert image.height >= 40 * 8 * 2 and image.width < 5 * 9 * 2


def test_a_grid_is_a_picture_of_every_class(run: RunDir, denoiser: Denoiser):
    path = keep_grid(run, denoiser, 6)
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[0] >= 3 * 8 * 2 and pixels.shape[1] >= record.GRID_COLUMNS * 8 * 2
    assert np.ptp(pixels) > 10
    again = keep_grid(run, denoiser, 7)
    assert again != path
    assert again.read_bytes() == path.read_bytes()
