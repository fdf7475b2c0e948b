"""One network trained by several processes: a leader steps, followers work out gradients for it.

The batch of a step is a function of (seed, step), so every process takes its share of it without
being sent anything. The leader alone has the optimiser, the average, the files and the terminal: it
hands out the weights before a step and gathers the gradients after it, which moves as many bytes as
an all-reduce. What befell one process, a signal or memory that gave out, is told to all in the same
step, so that all stop there. Nothing that is sent is a pickle.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from pydantic import TypeAdapter
from torch import Tensor

from synthaug.diffusion.batches import Batch, TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.description import describe_denoiser
from synthaug.errors import ResourceError

LEADER = 0
BEGIN, STEP, QUIT = range(3)
PATIENCE = timedelta(days=7)
"""The leader may do other things for hours; a process that dies is noticed by its closed socket."""


class Training(NamedTuple):
    """What a follower is sent of a training: images uint8 [N, C, H, W], labels int64 [N]."""

    denoiser: dict[str, Any]
    network: dict[str, Any]
    options: TrainingOptions
    seed: int
    images: np.ndarray
    labels: np.ndarray


class Outcome(NamedTuple):
    """What a share of a batch came to: its part of the two mean losses, and what befell.

    `signum` is the signal that asked the process to stop, or 0.
    """

    loss: float
    error: float
    out_of_memory: bool = False
    signum: int = 0


class Team:
    """The processes that were started together, as one of them sees them.

    `signum` is the signal that any of them was sent, or 0, as of the last step. Every method raises
    `ResourceError` when another process is gone.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.signum = 0

    @property
    def leads(self) -> bool:
        return self.rank == LEADER

    def join(self) -> None:
        """Meet the others at the address that the launcher put into the environment."""
        backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
        with _in_contact():
            dist.init_process_group(backend, rank=self.rank, world_size=self.size, timeout=PATIENCE)

    def leave(self) -> None:
        dist.destroy_process_group()

    def share(self, batch: Batch) -> Batch:
        """The part of a batch that this process works on; the parts of all make it up."""
        n = len(batch.x_t)
        return batch.part(slice(n * self.rank // self.size, n * (self.rank + 1) // self.size))

    def begin(
        self,
        denoiser: Denoiser,
        images: np.ndarray,
        labels: np.ndarray,
        options: TrainingOptions,
        seed: int,
    ) -> None:
        """The leader's: send the followers what is to be trained; they `receive_training`."""
        told = {
            "denoiser": describe_denoiser(denoiser),
            "network": dict(denoiser.network.config),
            "options": asdict(options),
            "seed": seed,
            "shape": images.shape,
        }
        self._order(BEGIN)
        text = torch.frombuffer(bytearray(json.dumps(told).encode()), dtype=torch.uint8)
        _send(torch.tensor([len(text)]))
        _send(text)
        _send(torch.from_numpy(np.array(images)))
        _send(torch.from_numpy(np.array(labels)))

    def receive_training(self) -> Training:
        """A follower's counterpart of `begin`."""
        length = _send(torch.zeros(1, dtype=torch.int64))
        text = _send(torch.empty(int(length), dtype=torch.uint8))
        told = json.loads(text.numpy().tobytes())
        images = _send(torch.empty(told["shape"], dtype=torch.uint8))
        labels = _send(torch.empty(told["shape"][0], dtype=torch.int64))
        options = TypeAdapter(TrainingOptions).validate_python(told["options"])
        return Training(
            told["denoiser"], told["network"], options, told["seed"], images.numpy(), labels.numpy()
        )

    def order_step(self, step: int, network: torch.nn.Module) -> None:
        """The leader's: have all work on a step, with the weights as they are now."""
        self._order(STEP, step)
        self.hand_out(network)

    def quit(self, exit_code: int) -> None:
        """The leader's: send the followers home with the exit code that all are to have."""
        self._order(QUIT, exit_code)

    def receive_order(self) -> tuple[int, int]:
        """A follower's: BEGIN, STEP and which one, or QUIT and the exit code."""
        what, number = _send(torch.zeros(2, dtype=torch.int64)).tolist()
        return what, number

    @torch.no_grad()
    def hand_out(self, network: torch.nn.Module) -> None:
        """Give every process the leader's weights."""
        parameters = list(network.parameters())
        weights = _send(torch.cat([p.reshape(-1) for p in parameters]))
        if not self.leads:
            for parameter, part in _parts(weights, parameters):
                parameter.copy_(part)

    def gather(self, network: torch.nn.Module, own: Outcome) -> tuple[float, float]:
        """Add up the gradients of all shares in the leader; the two losses of the whole batch.

        Raises `MemoryError` in every process if memory gave out in one.
        """
        flags = torch.tensor([float(own.out_of_memory), float(own.signum)])
        with _in_contact():
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        self.signum = int(flags[1])
        if flags[0]:
            raise MemoryError("in one of the processes that train together")
        losses = torch.tensor([own.loss, own.error], dtype=torch.float64)
        with _in_contact():
            dist.all_reduce(losses)
        self._add_up([p for p in network.parameters() if p.requires_grad])
        return float(losses[0]), float(losses[1])

    @torch.no_grad()
    def _add_up(self, parameters: list[torch.nn.Parameter]) -> None:
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        gradient = torch.cat([part.reshape(-1) for part in parts])
        with _in_contact():
            dist.reduce(gradient, LEADER)
        if self.leads:
            for parameter, part in _parts(gradient, parameters):
                parameter.grad = torch.empty_like(parameter).copy_(part)

    def _order(self, what: int, number: int = 0) -> None:
        _send(torch.tensor([what, number]))


def _send(tensor: Tensor) -> Tensor:
    """The leader's tensor, sent or received into this one."""
    with _in_contact():
        dist.broadcast(tensor, LEADER)
    return tensor


def _parts(
    flat: Tensor, parameters: list[torch.nn.Parameter]
) -> Iterator[tuple[torch.nn.Parameter, Tensor]]:
    """Each parameter with its part of a vector, in its shape."""
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        yield parameter, part.view(parameter.shape)


@contextmanager
def _in_contact() -> Iterator[None]:
    """Turn what torch raises when a process is gone into an error that says so."""
    try:
        yield
    except RuntimeError as error:
        raise ResourceError(
            f"lost contact with another of the processes that train together ({_brief(error)})",
            remedy="see why that one ended; `synthaug fit --resume` goes on from the last "
            "checkpoint",
        ) from error


def _brief(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
