"""Which of a run's checkpoints can be gone on from: the newest that is whole and its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synthaug.diffusion.checkpoint import load_checkpoint
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.durable import numbered, verify
from synthaug.diffusion.training_state import STATE, TrainingState, load_training
from synthaug.errors import DataError
from synthaug.stages.progress import Progress

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Finished:
    """A denoiser that was trained to its end."""

    denoiser: Denoiser
    meta: dict[str, Any]

    def into(self, fresh: Denoiser) -> Denoiser:
        """`fresh` with the weights, laid out in memory as those of one just trained are."""
        fresh.network.load_state_dict(self.denoiser.network.state_dict())
        fresh.network.eval()
        return fresh


def find_finished(parent: Path, configs: Sequence[str]) -> Finished | None:
    """The newest checkpoint under `parent` if it is valid, of this run and complete."""
    for folder in numbered(parent)[:1]:
        if _fault(folder, configs) is None and not (folder / STATE).is_file():
            loaded = load_checkpoint(folder, CPU)
            if loaded.meta["complete"]:
                return Finished(loaded.denoiser, loaded.meta)
    return None


def find_training(
    parent: Path, configs: Sequence[str], progress: Progress, *, must_exist: bool
) -> TrainingState | None:
    """The newest valid training state under `parent`, and a warning about those passed over.

    None if there is no checkpoint at all. Raises `DataError` if there are but none is valid and
    `must_exist`: to begin anew without a word would hide that something was lost.
    """
    passed_over: list[str] = []
    for folder in numbered(parent):
        fault = _fault(folder, configs)
        if fault is None:
            try:
                state = load_training(folder)
            except DataError as error:
                fault = error.found
        if fault is None:
            for told in passed_over:
                progress.warn(f"checkpoint passed over: {told}")
            return state
        passed_over.append(f"{folder.name} ({fault})")
    if passed_over and must_exist:
        raise DataError(
            f"none of the {len(passed_over)} checkpoints in {parent} is valid: "
            + "; ".join(passed_over),
            remedy="restore one from a copy, or start a new run with another --run",
        )
    for told in passed_over:
        progress.warn(f"checkpoint passed over: {told}; this training begins anew")
    return None


def _fault(folder: Path, configs: Sequence[str]) -> str | None:
    """Why a checkpoint is none of this run's, or None."""
    try:
        manifest = verify(folder)
    except DataError as error:
        return error.found
    if manifest["config"] not in configs:
        return "it was made with another dataset, recipe or version"
    return None
