"""Checkpoints: whole or absent, verified, readable by diffusers, and no pickle anywhere."""

import json
import os
import shutil
import stat
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from synthaug.diffusion.checkpoint import (
    WEIGHTS,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from synthaug.diffusion.durable import file_sha256
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.schedule import make_schedule
from synthaug.errors import DataError, DivergedError

CPU = torch.device("cpu")
FILES = (
    "model_index.json",
    "unet/config.json",
    WEIGHTS,
    "scheduler/scheduler_config.json",
    "denoiser.json",
)
META = {"step": 7, "complete": True}


@pytest.fixture
def saved(tmp_path, tiny):
    """A checkpoint on disk and the denoiser in it."""
    folder, denoiser = tmp_path / "run" / "ckpt-00000007", tiny(seed=1)
    return folder, denoiser, save_checkpoint(folder, denoiser, META)


def test_round_trip(saved, weights_of, same_weights):
    folder, denoiser, sha256 = saved
    loaded = load_checkpoint(folder, CPU)
    assert same_weights(weights_of(denoiser), weights_of(loaded.denoiser))
    assert loaded.sha256 == sha256 == file_sha256(folder / WEIGHTS)
    assert loaded.meta == META
    assert not loaded.denoiser.network.training
    torch.testing.assert_close(
        loaded.denoiser.schedule.betas, denoiser.schedule.betas, atol=0, rtol=0
    )

    def pixels(d):
        return next(generate_images(d, np.array([0, 1]), np.array([5, 6]), steps=3)).images

    np.testing.assert_array_equal(pixels(denoiser), pixels(loaded.denoiser))


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_everything_the_network_does_not_know_comes_back(tmp_path, tiny, prediction, schedule):
    denoiser = tiny(
        prediction=prediction, schedule=make_schedule(schedule, 60), n_classes=5, channels=3,
        patch=2,
    )  # fmt: skip
    save_checkpoint(tmp_path / "c", denoiser, {})
    back = load_checkpoint(tmp_path / "c", CPU).denoiser
    for name in ("prediction", "n_classes", "image_size", "channels", "patch"):
        assert getattr(back, name) == getattr(denoiser, name)
    assert (back.schedule.name, back.schedule.T) == (schedule, 60)
    theirs = DDPMScheduler.from_pretrained(tmp_path / "c" / "scheduler")
    torch.testing.assert_close(theirs.betas.double(), denoiser.schedule.betas, atol=1e-6, rtol=0)
    # Both libraries must read the same x_0 out of the same output.
    output, x_t = torch.full((1, 3, 8, 8), 0.3), torch.full((1, 3, 8, 8), 0.2)
    ours = replace(denoiser, network=_Says(0.3)).denoise(x_t, 30, torch.tensor([0]))
    step = theirs.step(output, 30, x_t)
    torch.testing.assert_close(ours.clamp(-1, 1), step.pred_original_sample, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("schedule", "config"),
    [
        (make_schedule([0.3, 0.01, 1 / 3, 0.1]), {"trained_betas": [0.3, 0.01, 1 / 3, 0.1]}),
        (
            make_schedule("linear", 30, beta_start=1e-3, beta_end=0.2),
            {"beta_schedule": "linear", "beta_start": 1e-3, "beta_end": 0.2},
        ),
    ],
    ids=["given", "linear"],
)
def test_any_schedule_comes_back_to_the_last_bit(tmp_path, tiny, schedule, config):
    save_checkpoint(tmp_path / "c", tiny(schedule=schedule), {})
    back = load_checkpoint(tmp_path / "c", CPU).denoiser.schedule
    assert back.name == schedule.name
    assert torch.equal(back.betas, schedule.betas)
    written = json.loads((tmp_path / "c" / "scheduler" / "scheduler_config.json").read_text())
    assert config.items() <= written.items()
    theirs = DDPMScheduler.from_pretrained(tmp_path / "c" / "scheduler")
    torch.testing.assert_close(theirs.betas.double(), schedule.betas, atol=1e-7, rtol=0)


def test_betas_are_written_only_where_the_name_does_not_give_them(saved):
    """A checkpoint of version 0.1.0 has no such key; the name alone must go on being enough."""
    assert "betas" not in json.loads((saved[0] / "denoiser.json").read_text())


@pytest.mark.parametrize(
    ("variance", "diffusers_name"),
    [("beta_tilde", "fixed_small"), ("beta", "fixed_large"), ("learned", "learned_range")],
)
def test_the_variance_comes_back_and_diffusers_reads_it(tmp_path, tiny, variance, diffusers_name):
    denoiser = tiny(variance=variance, channels=3, patch=2)
    save_checkpoint(tmp_path / "c", denoiser, {})
    back = load_checkpoint(tmp_path / "c", CPU).denoiser
    assert back.variance == variance
    theirs = DDPMScheduler.from_pretrained(tmp_path / "c" / "scheduler")
    assert theirs.config.variance_type == diffusers_name
    x, t, y = torch.ones(2, 3, 8, 8), torch.tensor([3, 4]), torch.tensor([0, 1])
    with torch.no_grad():
        output, fraction = back.predict_both(x, t, y)
        assert torch.equal(output, back.predict(x, t, y))
    assert output.shape == x.shape
    assert (fraction is None) == (variance != "learned")
    if fraction is not None:
        assert fraction.shape == x.shape
        assert float((fraction - 0.5).abs().max()) < 1  # untrained: near the middle


def test_a_checkpoint_of_version_0_1_0_still_loads(saved):
    """It names neither betas nor variance."""
    folder, denoiser, _ = saved
    described = json.loads((folder / "denoiser.json").read_text())
    del described["variance"]
    (folder / "denoiser.json").write_text(json.dumps(described))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["denoiser.json"] = {
        "bytes": (folder / "denoiser.json").stat().st_size,
        "sha256": file_sha256(folder / "denoiser.json"),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    back = load_checkpoint(folder, CPU).denoiser
    assert back.variance == "beta_tilde"
    assert torch.equal(back.schedule.betas, denoiser.schedule.betas)


class _Says(torch.nn.Module):
    """A network of one number for an answer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x, t, class_labels):
        self.sample = torch.full_like(x, self.answer)
        return self


@pytest.mark.parametrize("fault", ["truncated", "edited", "missing"])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_and_named(saved, name, fault):
    path = saved[0] / name
    content = bytearray(path.read_bytes())
    if fault == "truncated":
        path.write_bytes(content[:-1])
    elif fault == "edited":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(DataError, match="does not match its manifest") as caught:
        load_checkpoint(saved[0], CPU)
    assert str(path) in str(caught.value)


def test_who_may_read_the_folder_may_read_what_is_in_it(saved):
    """safetensors writes its file for its owner alone, and others are to draw too."""
    modes = {stat.S_IMODE(p.stat().st_mode) for p in saved[0].rglob("*") if p.is_file()}
    assert modes == {stat.S_IMODE(saved[0].stat().st_mode) & 0o666}


def test_every_file_is_in_the_manifest(saved):
    folder = saved[0]
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(listed) == on_disk - {"manifest.json"} == set(FILES)
    for name, facts in listed.items():
        assert facts["bytes"] == (folder / name).stat().st_size


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        '{"format": 1, "fi',
        '{"format": 99, "files": {}}',
        '{"format": 1}',
        '{"format": 1, "files": {}}',
        "[]",
    ],
)
def test_manifest_that_cannot_be_trusted(saved, content):
    folder = saved[0]
    if content is None:
        (folder / "manifest.json").unlink()
        assert newest_checkpoint(folder.parent) is None
    else:
        (folder / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=str(folder.name)):
        load_checkpoint(folder, CPU)


def test_newest_is_the_highest_step_with_a_manifest(saved):
    folder = saved[0]
    later = shutil.copytree(folder, folder.with_name("ckpt-00000010"))
    shutil.copytree(folder, folder.with_name("ckpt-00000099"))
    (folder.with_name("ckpt-00000099") / "manifest.json").unlink()
    assert newest_checkpoint(folder.parent) == later
    assert newest_checkpoint(folder.parent / "nowhere") is None


def test_existing_folder_is_not_overwritten(saved, tiny):
    folder = saved[0]
    before = file_sha256(folder / WEIGHTS)
    with pytest.raises(FileExistsError):
        save_checkpoint(folder, tiny(seed=2), {})
    assert file_sha256(folder / WEIGHTS) == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, tiny, value):
    denoiser = tiny()
    with torch.no_grad():
        denoiser.network.conv_out.bias[0] = value
    with pytest.raises(DivergedError, match="not finite"):
        save_checkpoint(tmp_path / "run" / "ckpt-1", denoiser, {})
    assert not list(tmp_path.iterdir())


def test_failed_save_leaves_nothing(tmp_path, tiny, monkeypatch):
    def no_space(*args):
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path / "ckpt-1", tiny(), {})
    assert not list(tmp_path.iterdir())


def test_killed_save_leaves_nothing_that_looks_like_a_checkpoint(tmp_path, tiny, monkeypatch):
    """A process killed before the rename cannot tidy up: its files stay, manifest and all."""

    class Killed(BaseException):
        pass

    def killed(*args):
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
    with pytest.raises(Killed):
        save_checkpoint(tmp_path / "ckpt-00000001", tiny(), {})
    assert len(list(tmp_path.iterdir())) == 1
    assert newest_checkpoint(tmp_path) is None


def test_leftovers_of_a_killed_save_do_not_stop_the_next(tmp_path, tiny):
    leftover = tmp_path / f"ckpt-1.tmp-{os.getpid()}"
    leftover.mkdir()
    (leftover / "junk").write_text("half a file")
    save_checkpoint(tmp_path / "ckpt-1", tiny(), {})
    assert [p.name for p in tmp_path.iterdir()] == ["ckpt-1"]
    assert not (tmp_path / "ckpt-1" / "junk").exists()


def test_diffusers_reads_the_network(saved, weights_of, same_weights):
    folder, denoiser, _ = saved
    network = UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)
    assert same_weights(weights_of(denoiser), dict(network.state_dict()))


def test_no_pickle_is_written(saved):
    suffixes = {p.suffix for p in saved[0].rglob("*") if p.is_file()}
    assert suffixes == {".json", ".safetensors"}
