"""The network that draws a class: its own specialist, or the joint base."""

from collections.abc import Sequence
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
        names = self.dataset.class_names
        known = find_denoiser(self.run, names, names.index(name))
        if known is None:
            raise UsageError(
                f"run {self.run.path} has no network for class {name!r}",
                remedy="run `synthaug fit` first; after --from-scratch, ask for images "
                "of the classes it trained only",
            )
        found, kind = known
        checkpoint = self.loaded.get(found)
        if checkpoint is None:
            checkpoint = self.loaded[found] = load_checkpoint(found, self.device)
            if not checkpoint.meta["complete"]:
                self.progress.warn(
                    f"{found} comes from a fit that was stopped: its images may be poor"
                )
        return checkpoint, kind


def find_denoiser(run: RunDir, class_names: Sequence[str], k: int) -> tuple[Path, str] | None:
    """The checkpoint for class k and what it is: its specialist if `fit` kept one, else the base.

    None where there is neither, as for classes that --from-scratch did not train.
    """
    own = newest_checkpoint(run / "specialists" / folder_names(class_names)[class_names[k]])
    found = own or newest_checkpoint(run / "base")
    return None if found is None else (found, "specialist" if own else "base")
