"""A training under way on disk: all that its next step depends on, so that it can be taken later.

    <checkpoint>/training/tensors.safetensors   weights, averaged weights, moments, best weights
    <checkpoint>/training/state.json            counters, and what the caller keeps with them

What a step draws is a function of (seed, step), so no state of a random generator is needed. The
tensors keep their bits, and JSON keeps those of a float: a resumed training takes the same steps.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.durable import verify, write_json, write_whole
from synthaug.diffusion.stopping import HeldOutWatch
from synthaug.diffusion.training import LoopState
from synthaug.errors import DataError, DivergedError

FORMAT = 1
TENSORS, STATE = "training/tensors.safetensors", "training/state.json"
COUNTERS = ("step", "skipped", "bad_in_a_row", "learning_rate_factor")


@dataclass(frozen=True)
class TrainingState:
    """A copy of a training: `tensors` by name, on the CPU; `numbers` and `extra` as JSON."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]
    extra: dict[str, Any]

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.numbers["step"])


def capture(
    denoiser: Denoiser,
    ema: EMAModel,
    loop: LoopState,
    watch: HeldOutWatch | None,
    extra: dict[str, Any],
) -> TrainingState:
    """Copy a training between two steps; `extra` is what else the caller wants back, as JSON.

    Raises `DivergedError` if a weight is not finite: such a state is not worth going back to.
    """
    tensors = {name: _copy(tensor) for name, tensor in _live(denoiser, ema, loop)}
    numbers = {name: getattr(loop, name) for name in COUNTERS}
    numbers["ema_step"] = ema.optimization_step
    if watch is not None and watch.losses:
        names = (name for name, _ in denoiser.network.named_parameters())
        best = zip(names, watch.best_weights, strict=True)
        tensors |= {f"best.{name}": _copy(weight) for name, weight in best}
        numbers["held_out"] = {
            "losses": watch.losses, "best_loss": watch.best_loss, "best_step": watch.best_step
        }  # fmt: skip
    spoilt = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if spoilt:
        raise DivergedError(
            f"{len(spoilt)} tensors of the training are not finite after {loop.step} steps, the "
            f"first is {spoilt[0]}; they were not saved",
            remedy="lower diffusion.learning_rate",
        )
    return TrainingState(tensors, numbers, extra)


def restore(
    state: TrainingState,
    denoiser: Denoiser,
    ema: EMAModel,
    loop: LoopState,
    watch: HeldOutWatch | None,
) -> None:
    """Put a state back into a training that was built like the one it was captured from.

    Raises `DataError` if it was not: another network, or other weights are trained.
    """
    parameters = dict(denoiser.network.named_parameters())
    trained = [name for name, p in parameters.items() if p.requires_grad]
    _make_moments(state, {name: parameters[name] for name in trained}, loop)
    live = dict(_live(denoiser, ema, loop))
    saved = {name for name in state.tensors if not name.startswith("best.")}
    odd = [n for n in sorted(saved ^ live.keys()) if n] or [
        n for n, tensor in live.items() if tensor.shape != state.tensors[n].shape
    ]
    if odd:
        raise DataError(
            f"the checkpoint is of another network: {len(odd)} tensors differ, the first is "
            f"{odd[0]}",
            remedy="start a new run",
        )
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(state.tensors[name])
    for name in COUNTERS:
        setattr(loop, name, state.numbers[name])
    ema.optimization_step = state.numbers["ema_step"]
    held_out = state.numbers.get("held_out")
    if watch is not None:
        told = held_out or {"losses": [], "best_loss": float("inf"), "best_step": 0}
        watch.losses = [(int(step), float(loss)) for step, loss in told["losses"]]
        watch.best_loss, watch.best_step = told["best_loss"], told["best_step"]
        watch.best_weights = [
            torch.empty_like(p).copy_(state.tensors[f"best.{name}"]).detach()
            for name, p in parameters.items()
            if held_out
        ]


def save_training(folder: Path, state: TrainingState, *, config: str = "") -> None:
    """Write a state alone to the new `folder`, whole or not at all, as `save_checkpoint` does."""
    write_whole(folder, lambda tmp: write_training_state(tmp, state), config=config)


def write_training_state(folder: Path, state: TrainingState) -> None:
    """Write the two files of a state below `folder`, which is not durable before its manifest."""
    (folder / "training").mkdir(parents=True)
    save_file(state.tensors, folder / TENSORS)
    content = {"format": FORMAT, "numbers": state.numbers, "extra": state.extra}
    write_json(folder / STATE, content)


def load_training(folder: Path) -> TrainingState:
    """Read a state after verifying every file of its checkpoint.

    Raises `DataError` for a checkpoint that is damaged, holds no state, or is of another format.
    Nothing that can run code is read, whatever lies in the folder.
    """
    verify(folder, (TENSORS, STATE))
    try:
        content = json.loads((folder / STATE).read_text(encoding="utf-8"))
        found = content["format"]
        if found != FORMAT:
            raise DataError(
                f"{folder / STATE} has format {found}",
                expected=f"format {FORMAT}",
                remedy="use the synthaug version that wrote it",
            )
        tensors = load_file(folder / TENSORS)
        return TrainingState(tensors, content["numbers"], content["extra"])
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(
            f"the training state in {folder} cannot be read ({type(error).__name__})",
            remedy="remove that checkpoint; an older one may serve",
        ) from error


def _live(denoiser: Denoiser, ema: EMAModel, loop: LoopState) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that training changes, by a name that tells its part."""
    network = denoiser.network
    for name, tensor in network.state_dict(keep_vars=True).items():
        yield f"network.{name}", tensor
    named = list(network.named_parameters())
    for (name, _), average in zip(named, ema.shadow_params, strict=True):
        yield f"ema.{name}", average
    for name, parameter in named:
        for key, moment in loop.optimiser.state.get(parameter, {}).items():
            yield f"optimiser.{name}.{key}", moment


def _make_moments(
    state: TrainingState, trained: dict[str, torch.nn.Parameter], loop: LoopState
) -> None:
    """Give the optimiser the tensors it makes at its first step, laid out as it lays them out."""
    loop.optimiser.state.clear()
    for name, parameter in trained.items():
        prefix = f"optimiser.{name}."
        for key, saved in state.tensors.items():
            if key.startswith(prefix) and "." not in key.removeprefix(prefix):
                like = parameter if saved.shape == parameter.shape else saved
                empty = torch.empty_like(like, requires_grad=False)
                loop.optimiser.state[parameter][key.removeprefix(prefix)] = empty


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
