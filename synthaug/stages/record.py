"""What a training leaves behind: metrics.jsonl, checkpoints, pictures."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthaug import __version__
from synthaug.diffusion.checkpoint import save_checkpoint
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.durable import rotate, sync
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.noise import image_seeds
from synthaug.diffusion.training import StepStats
from synthaug.diffusion.training_state import TrainingState, save_training
from synthaug.errors import DivergedError
from synthaug.report.pictures import tile
from synthaug.stages.run_dir import RunDir

METRICS = "metrics.jsonl"
KEEP = 2
"""Checkpoints of a training: where the newest is damaged, the one before it serves."""
GRID_COLUMNS = 10
GRID_CLASSES = 100
GRID_IMAGES = 120
"""Of all classes together, where that leaves each of them two."""
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


def log_rollback(run: RunDir, phase: str, step: int, to_step: int, factor: float) -> None:
    """Append that a training diverged and went back to an earlier step, at `factor` of its rate."""
    line = {"phase": f"{phase} went back", "step": step, "to_step": to_step}
    _append(run, {**line, "learning_rate_factor": factor})


def incidents(run: RunDir) -> dict[str, Any]:
    """From metrics.jsonl: steps that were skipped, and where a training diverged and went back."""
    path = run / METRICS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    skipped = {row["phase"]: row["skipped"] for row in rows if "skipped" in row}
    went_back = [row for row in rows if "to_step" in row]
    return {"skipped_steps": sum(skipped.values()), "went_back": went_back}


def _append(run: RunDir, line: dict[str, Any]) -> None:
    with (run / METRICS).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line, ensure_ascii=False) + "\n")
    for hear in run.listeners:
        hear(line)


@dataclass(frozen=True)
class Keeper:
    """How a run keeps its checkpoints: `config` is the hash of what it depends on."""

    run: RunDir
    fingerprint: str
    config: str = ""
    keep: int = KEEP

    def denoiser(
        self,
        where: str,
        denoiser: Denoiser,
        step: int,
        *,
        training: TrainingState | None = None,
        complete: bool = True,
        facts: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write `<where>/ckpt-<step>`, and only then remove the oldest checkpoints beside it."""
        folder = self._free(where, step)
        meta = {
            "step": step,
            "complete": complete,
            "synthaug_version": __version__,
            "fingerprint": self.fingerprint,
            **(facts or {}),
        }
        save_checkpoint(folder, denoiser, meta, training=training, config=self.config)
        rotate(folder.parent, self.keep)
        return folder

    def training(self, where: str, training: TrainingState) -> Path:
        """The same for a training alone, whose denoiser nobody is to use yet."""
        folder = self._free(where, training.step)
        save_training(folder, training, config=self.config)
        rotate(folder.parent, self.keep)
        return folder

    def _free(self, where: str, step: int) -> Path:
        folder = self.run / where / f"ckpt-{step:08d}"
        # Only a checkpoint that a resumed run passed over can stand where it now writes.
        shutil.rmtree(folder, ignore_errors=True)
        return folder


def metrics_size(run: RunDir) -> int:
    """Bytes of metrics.jsonl, once they are on the disk."""
    path = run / METRICS
    if not path.is_file():
        return 0
    sync(path)
    return path.stat().st_size


def cut_metrics(run: RunDir, phase: str, size: int = 0) -> None:
    """Drop the lines of a phase that were written after metrics.jsonl had `size` bytes.

    Lines of other phases stay, but for one that a killed process left half written.
    """
    path = run / METRICS
    if not path.is_file() or path.stat().st_size <= size:
        return
    content, own = path.read_bytes(), (phase, f"{phase} held out", f"{phase} went back")
    later = content[size:].splitlines(keepends=True)
    kept = [x for x in later if x.endswith(b"\n") and json.loads(x)["phase"] not in own]
    run.write_text(METRICS, (content[:size] + b"".join(kept)).decode())


def keep_grid(run: RunDir, denoiser: Denoiser, step: int) -> Path:
    """A picture with a row of images for each class, up to `GRID_CLASSES`, always the same seeds.

    Raises `DivergedError` if any of them is not finite.
    """
    classes = np.arange(min(denoiser.n_classes, GRID_CLASSES))
    columns = min(GRID_COLUMNS, max(GRID_IMAGES // len(classes), 2))
    labels = np.repeat(classes, columns)
    seeds = np.concatenate([image_seeds(0, int(k), 0, columns) for k in classes])
    steps = min(GRID_STEPS, denoiser.schedule.T)
    batches = list(generate_images(denoiser, labels, seeds, steps=steps))
    if not all(b.finite.all() for b in batches):
        raise DivergedError(f"the network makes images that are not finite at step {step}")
    picture = tile(np.concatenate([b.images for b in batches]), columns=columns)
    path = run / "grids" / f"step-{step:08d}.png"
    path.parent.mkdir(exist_ok=True)
    enlarged = (picture.shape[1] * 2, picture.shape[0] * 2)
    Image.fromarray(picture).resize(enlarged, Image.Resampling.NEAREST).save(path)
    return path
