"""Denoisers on disk: a diffusers folder with safetensors, written whole or not at all.

    <folder>/model_index.json
    <folder>/unet/{config.json,diffusion_pytorch_model.safetensors}
    <folder>/scheduler/scheduler_config.json
    <folder>/denoiser.json     what UNet2DModel does not record: classes, patch, image size
    <folder>/training/         while the training is under way: what it goes on from
    <folder>/manifest.json     sha256 and size of every other file, written last

A folder without a manifest that verifies is not a checkpoint. Nothing here reads a pickle.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, UNet2DModel

from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.description import describe_denoiser, own_betas, rebuild_denoiser
from synthaug.diffusion.durable import MANIFEST, numbered, verify, write_json, write_whole
from synthaug.diffusion.schedule import NoiseSchedule, linear_schedule
from synthaug.diffusion.training_state import TrainingState, write_training_state
from synthaug.errors import DivergedError

FORMAT = 1
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
VARIANCE_NAMES = {"beta_tilde": "fixed_small", "beta": "fixed_large", "learned": "learned_range"}
DIFFUSERS_NAMES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


@dataclass(frozen=True)
class Checkpoint:
    """A denoiser as read back, `sha256` of its weights, and the `meta` it was saved with."""

    denoiser: Denoiser
    sha256: str
    meta: dict[str, Any]


def save_checkpoint(
    folder: Path,
    denoiser: Denoiser,
    meta: dict[str, Any],
    *,
    training: TrainingState | None = None,
    config: str = "",
) -> str:
    """Write `denoiser` to the new `folder` and return the sha256 of its weights.

    With `training`, also what the training it comes from goes on from. `config` is a hash of what
    the run depends on. A crash leaves either a whole checkpoint or a `.tmp-` folder that no reader
    takes for one.
    Raises `DivergedError` for weights that are not finite and `FileExistsError` if `folder` exists.
    """
    if not all(bool(torch.isfinite(p).all()) for p in denoiser.network.parameters()):
        raise DivergedError("the network's weights are not finite; they were not saved")

    def fill(tmp: Path) -> None:
        denoiser.network.save_pretrained(tmp / "unet")
        _forget_origin(tmp / "unet" / "config.json")
        scheduler_for(denoiser).save_pretrained(tmp / "scheduler")
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": diffusers.__version__,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        }
        write_json(tmp / "model_index.json", index)
        described = {"format": FORMAT, **describe_denoiser(denoiser), "meta": meta}
        write_json(tmp / "denoiser.json", described)
        if training is not None:
            write_training_state(tmp, training)

    return str(write_whole(folder, fill, config=config)[WEIGHTS]["sha256"])


def _forget_origin(config: Path) -> None:
    """Take out where diffusers last saw the network: it would differ between equal runs."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    write_json(config, content)


def load_checkpoint(folder: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint after verifying every file against its manifest.

    Raises `DataError` naming the first file that is missing or differs.
    """
    manifest = verify(folder, (WEIGHTS, "denoiser.json"))
    described = json.loads((folder / "denoiser.json").read_text())
    network = UNet2DModel.from_pretrained(
        folder / "unet", use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    )
    denoiser = rebuild_denoiser(network, described, device)
    denoiser.network.eval()
    return Checkpoint(denoiser, manifest["files"][WEIGHTS]["sha256"], described["meta"])


def newest_checkpoint(parent: Path) -> Path | None:
    """The checkpoint folder with the highest step under `parent`, or None."""
    return next((p for p in numbered(parent) if (p / MANIFEST).is_file()), None)


def scheduler_for(denoiser: Denoiser) -> DDPMScheduler:
    """diffusers' scheduler with the same betas, prediction and variance, to load the folder by."""
    return DDPMScheduler(
        num_train_timesteps=denoiser.schedule.T,
        **_diffusers_betas(denoiser.schedule),
        prediction_type=DIFFUSERS_NAMES[denoiser.prediction],
        variance_type=VARIANCE_NAMES[denoiser.variance],
        clip_sample=True,
    )


def _diffusers_betas(schedule: NoiseSchedule) -> dict[str, Any]:
    """What makes diffusers' DDPMScheduler build the same betas, by name where it has one."""
    betas = schedule.betas
    if schedule.name == "cosine" and not own_betas(schedule):
        return {"beta_schedule": "squaredcos_cap_v2"}
    start, end = float(betas[0]), float(betas[-1])
    if torch.equal(betas, linear_schedule(schedule.T, start, end).betas):
        return {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return {"trained_betas": betas.tolist()}
