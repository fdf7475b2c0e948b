"""What a training leaves behind: metrics.jsonl, checkpoints, pictures."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthaug import __version__
from synthaug.diffusion.checkpoint import save_checkpoint
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import image_seeds
from synthaug.diffusion.training import StepStats
from synthaug.errors import DivergedError
from synthaug.report.pictures import tile
from synthaug.stages.run_dir import RunDir

GRID_COLUMNS = 10
GRID_CLASSES = 12
GRID_STEPS = 20


def log_steps(run: RunDir, phase: str, stats: list[StepStats]) -> float:
    """Append the mean loss of some steps to metrics.jsonl and return it (NaN if none is finite)."""
    finite = [s.loss for s in stats if np.isfinite(s.loss)]
    loss = float(np.mean(finite)) if finite else float("nan")
    last = stats[-1]
    line = {
        "phase": phase,
        "step": last.step + 1,
        "n_img": last.n_img,
        "loss": round(loss, 6) if finite else None,
        "learning_rate": last.learning_rate,
        "skipped": last.skipped,
    }
    _append(run, line)
    return loss


def log_held_out(run: RunDir, step: int, loss: float) -> None:
    """Append a held-out denoising loss of the base to metrics.jsonl."""
    _append(run, {"phase": "base held out", "step": step, "loss": round(loss, 6)})


def _append(run: RunDir, line: dict[str, Any]) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line, ensure_ascii=False) + "\n")


def keep_checkpoint(
    run: RunDir, where: str, denoiser: Denoiser, step: int, *, fingerprint: str, complete: bool
) -> Path:
    """Write `<where>/ckpt-<step>`, and only then remove the older checkpoints beside it."""
    folder = run / where / f"ckpt-{step:08d}"
    meta = {
        "step": step,
        "complete": complete,
        "synthaug_version": __version__,
        "fingerprint": fingerprint,
    }
    save_checkpoint(folder, denoiser, meta)
    for older in folder.parent.glob("ckpt-*"):
        if older.name < folder.name:
            shutil.rmtree(older, ignore_errors=True)
    return folder


def keep_grid(run: RunDir, denoiser: Denoiser, step: int) -> Path:
    """A picture of some images of every class, the same seeds every time.

    Raises `DivergedError` if any of them is not finite.
    """
    classes = np.arange(min(denoiser.n_classes, GRID_CLASSES))
    labels = np.repeat(classes, GRID_COLUMNS)
    seeds = np.concatenate([image_seeds(0, int(k), 0, GRID_COLUMNS) for k in classes])
    steps = min(GRID_STEPS, denoiser.schedule.T)
    batches = list(generate_images(denoiser, labels, seeds, steps=steps))
    if not all(b.finite.all() for b in batches):
        raise DivergedError(f"the network makes images that are not finite at step {step}")
    picture = tile(np.concatenate([b.images for b in batches]), columns=GRID_COLUMNS)
    path = run / "grids" / f"step-{step:08d}.png"
    path.parent.mkdir(exist_ok=True)
    enlarged = (picture.shape[1] * 2, picture.shape[0] * 2)
    Image.fromarray(picture).resize(enlarged, Image.Resampling.NEAREST).save(path)
    return path
