"""Denoisers on disk: a diffusers folder with safetensors, written whole or not at all.

    <folder>/model_index.json
    <folder>/unet/{config.json,diffusion_pytorch_model.safetensors}
    <folder>/scheduler/scheduler_config.json
    <folder>/denoiser.json     what UNet2DModel does not record: classes, patch, image size
    <folder>/manifest.json     sha256 and size of every other file, written last

A folder without a manifest that verifies is not a checkpoint. Nothing here reads a pickle.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError

from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.schedule import SCHEDULES, NoiseSchedule, linear_schedule, make_schedule
from synthaug.errors import DataError, DivergedError, ResourceError

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


def save_checkpoint(folder: Path, denoiser: Denoiser, meta: dict[str, Any]) -> str:
    """Write `denoiser` to the new `folder` and return the sha256 of its weights.

    Files are synced before the folder gets its name, so a crash leaves either a whole checkpoint
    or a `.tmp-` folder that no reader takes for one.
    Raises `DivergedError` for weights that are not finite and `FileExistsError` if `folder` exists.
    """
    if not all(bool(torch.isfinite(p).all()) for p in denoiser.network.parameters()):
        raise DivergedError("the network's weights are not finite; they were not saved")
    if folder.exists():
        raise FileExistsError(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    tmp = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(tmp, ignore_errors=True)
    try:
        denoiser.network.save_pretrained(tmp / "unet")
        scheduler_for(denoiser).save_pretrained(tmp / "scheduler")
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": diffusers.__version__,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        }
        _write_json(tmp / "model_index.json", index)
        described = {
            "format": FORMAT,
            "prediction": denoiser.prediction,
            "variance": denoiser.variance,
            "schedule": denoiser.schedule.name,
            "T": denoiser.schedule.T,
            **_betas(denoiser.schedule),
            "n_classes": denoiser.n_classes,
            "image_size": denoiser.image_size,
            "channels": denoiser.channels,
            "patch": denoiser.patch,
            "vector_size": denoiser.vector_size,
            "meta": meta,
        }
        _write_json(tmp / "denoiser.json", described)
        files = sorted(p for p in tmp.rglob("*") if p.is_file())
        listed = {
            p.relative_to(tmp).as_posix(): {"bytes": p.stat().st_size, "sha256": file_sha256(p)}
            for p in files
        }
        _write_json(tmp / "manifest.json", {"format": FORMAT, "files": listed})
        for path in [*files, tmp / "manifest.json", tmp / "unet", tmp / "scheduler", tmp]:
            _sync(path)
        os.replace(tmp, folder)
        _sync(folder.parent)
    except BaseException as error:
        shutil.rmtree(tmp, ignore_errors=True)
        if isinstance(error, SafetensorError):  # it has no word of its own for a full disk
            raise ResourceError(
                f"cannot write {folder} ({error})", remedy="free some space, then go on"
            ) from error
        raise
    return str(listed[WEIGHTS]["sha256"])


def load_checkpoint(folder: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint after verifying every file against its manifest.

    Raises `DataError` naming the first file that is missing or differs.
    """
    manifest = _read_manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != expected["sha256"]:
            raise DataError(
                f"checkpoint file {path} is missing or does not match its manifest",
                remedy="restore it from a copy or run `synthaug fit` again",
            )
    described = json.loads((folder / "denoiser.json").read_text())
    network = UNet2DModel.from_pretrained(
        folder / "unet", use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    )
    denoiser = Denoiser(
        network=network.to(device=device, memory_format=torch.channels_last).eval(),
        schedule=_schedule(described),
        prediction=described["prediction"],
        n_classes=described["n_classes"],
        image_size=described["image_size"],
        channels=described["channels"],
        patch=described["patch"],
        vector_size=described.get("vector_size", 0),
        variance=described.get("variance", "beta_tilde"),  # version 0.1.0 had no other
    )
    return Checkpoint(denoiser, manifest["files"][WEIGHTS]["sha256"], described["meta"])


def newest_checkpoint(parent: Path) -> Path | None:
    """The checkpoint folder with the highest step under `parent`, or None."""
    # A killed save leaves its folder under the temporary name, perhaps with a manifest in it.
    named = [p for p in parent.glob("ckpt-*") if p.name.removeprefix("ckpt-").isdigit()]
    found = [p for p in named if (p / "manifest.json").is_file()]
    return max(found, key=lambda p: p.name, default=None)


def scheduler_for(denoiser: Denoiser) -> DDPMScheduler:
    """diffusers' scheduler with the same betas, prediction and variance, to load the folder by."""
    return DDPMScheduler(
        num_train_timesteps=denoiser.schedule.T,
        **_diffusers_betas(denoiser.schedule),
        prediction_type=DIFFUSERS_NAMES[denoiser.prediction],
        variance_type=VARIANCE_NAMES[denoiser.variance],
        clip_sample=True,
    )


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _schedule(described: dict[str, Any]) -> NoiseSchedule:
    if "betas" in described:  # JSON keeps a float64 to its last bit
        betas = torch.tensor(described["betas"], dtype=torch.float64)
        return NoiseSchedule(described["schedule"], betas)
    return make_schedule(described["schedule"], described["T"])


def _betas(schedule: NoiseSchedule) -> dict[str, list[float]]:
    """The betas themselves, unless name and T alone give them."""
    known = SCHEDULES.get(schedule.name)
    if known is not None and torch.equal(known(schedule.T).betas, schedule.betas):
        return {}
    return {"betas": schedule.betas.tolist()}


def _diffusers_betas(schedule: NoiseSchedule) -> dict[str, Any]:
    """What makes diffusers' DDPMScheduler build the same betas, by name where it has one."""
    betas = schedule.betas
    if schedule.name == "cosine" and not _betas(schedule):
        return {"beta_schedule": "squaredcos_cap_v2"}
    start, end = float(betas[0]), float(betas[-1])
    if torch.equal(betas, linear_schedule(schedule.T, start, end).betas):
        return {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return {"trained_betas": betas.tolist()}


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: Any = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} is not a complete checkpoint ({type(error).__name__})",
            remedy="run `synthaug fit` again",
        ) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{folder / 'manifest.json'} has format {found}",
            expected=f"format {FORMAT}",
            remedy="use the synthaug version that wrote it",
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not {WEIGHTS, "denoiser.json"} <= files.keys():
        raise DataError(
            f"{folder / 'manifest.json'} does not list the files of a checkpoint",
            remedy="run `synthaug fit` again",
        )
    return {"format": found, "files": files}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
