"""What a follower of a team does: gradients of its share of every batch, until it is sent home."""

from collections.abc import Callable

from diffusers import UNet2DModel

from synthaug.diffusion.batches import BatchDraws
from synthaug.diffusion.description import rebuild_denoiser
from synthaug.diffusion.gradients import objective_of, step_gradients
from synthaug.diffusion.team import BEGIN, QUIT, Team, Training


def follow(team: Team, signum: Callable[[], int]) -> int:
    """Work for the leader; returns the exit code that it wants the process to have.

    `signum` gives the signal that asked this process to stop, or 0. The leader is told and decides,
    so that all stop after the same step. Raises `ResourceError` when the leader is gone.
    """
    worker: _Worker | None = None
    while True:
        what, number = team.receive_order()
        if what == QUIT:
            return number
        if what == BEGIN:
            worker = _Worker(team, team.receive_training())
        elif worker is not None:
            worker.step(number, signum())


class _Worker:
    """One training as a follower has it: no optimiser, and weights that are sent at every step."""

    def __init__(self, team: Team, sent: Training) -> None:
        network = UNet2DModel.from_config(sent.network)
        self._team, self._options = team, sent.options
        self._denoiser = rebuild_denoiser(network, sent.denoiser, team.device)
        self._denoiser.network.train()
        self._draws = BatchDraws(self._denoiser, sent.images, sent.labels, sent.options, sent.seed)
        self._objective = objective_of(self._denoiser, sent.options)

    def step(self, step: int, signum: int) -> None:
        network = self._denoiser.network
        self._team.hand_out(network)
        network.zero_grad(set_to_none=True)
        try:
            step_gradients(
                self._denoiser, self._objective, self._draws, step, self._options, self._team,
                signum,
            )  # fmt: skip
        except MemoryError:
            pass  # here or in another process: the leader knows, and says what is to become of it
