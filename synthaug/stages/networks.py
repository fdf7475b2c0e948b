"""The network that draws a class: its own specialist, or the joint base."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from synthaug.data.names import folder_names
from synthaug.diffusion.checkpoint import Checkpoint, load_checkpoint, newest_checkpoint
from synthaug.errors import UsageError
from synthaug.stages.dataset import Dataset
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import RunDir


@dataclass
class Networks:
    """The checkpoints of a run, each read once."""

    run: RunDir
    dataset: Dataset
    device: torch.device
    progress: Progress
    loaded: dict[Path, Checkpoint] = field(default_factory=dict)

    def of_class(self, name: str) -> tuple[Checkpoint, str]:
        """The "specialist" of a class if `fit` kept one, else the "base", with that word.

        Raises `UsageError` if there is neither.
        """
        folder = folder_names(self.dataset.class_names)[name]
        own = newest_checkpoint(self.run / "specialists" / folder)
        found = own or newest_checkpoint(self.run / "base")
        if found is None:
            raise UsageError(
                f"run {self.run.path} has no network for class {name!r}",
                remedy="run `synthaug fit` first; after --from-scratch, ask for images "
                "of the classes it trained only",
            )
        checkpoint = self.loaded.get(found)
        if checkpoint is None:
            checkpoint = self.loaded[found] = load_checkpoint(found, self.device)
            if not checkpoint.meta["complete"]:
                self.progress.warn(
                    f"{found} comes from a fit that was stopped: its images may be poor"
                )
        return checkpoint, "specialist" if own else "base"
