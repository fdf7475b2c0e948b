"""Several processes that train one network: this one leads, another one follows."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import pytest
import torch

from synthaug.diffusion import gradients
from synthaug.diffusion.augment import VECTOR_SIZE
from synthaug.diffusion.batches import Batch, TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.following import follow
from synthaug.diffusion.schedule import linear_schedule
from synthaug.diffusion.team import Team
from synthaug.diffusion.training import make_ema, train_denoiser
from synthaug.diffusion.unet import NetworkSpec, build_denoiser
from synthaug.errors import ResourceError

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(12) % 3
OPTIONS = TrainingOptions(batch_size=7, micro_batch=2, warmup_steps=1, augment=("shift",))
STEPS = 5
PATIENCE = 60.0

Follower = tuple[Team, BaseProcess]


def follower(fault: str) -> None:
    """A follower with a fault planted where it says: what, and in which call of `_gradients`."""
    what, _, at = fault.partition(":")
    of_a_batch = gradients._gradients
    calls = signum = 0

    def planted(*arguments: Any) -> Any:
        nonlocal calls, signum
        calls += 1
        if calls == int(at or 0):
            if what == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if what == "signal":
                signum = signal.SIGTERM
            if what == "die":
                os._exit(9)
        return of_a_batch(*arguments)

    gradients._gradients = planted
    team = Team(1, 2, CPU)
    team.join()
    code = follow(team, lambda: signum)
    team.leave()
    os._exit(code)


@pytest.fixture
def team_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Follower]]:
    """A function that starts a follower with a planted fault and returns this process's team."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    at = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    for name, value in at.items():
        monkeypatch.setenv(name, value)
    team = Team(0, 2, CPU)
    started: list[BaseProcess] = []

    def start(fault: str) -> Follower:
        # Forked: importing torch once more would take most of the test.
        process = multiprocessing.get_context("fork").Process(target=follower, args=(fault,))
        process.start()
        started.append(process)
        team.join()
        return team, process

    yield start
    for process in started:
        process.kill()
        process.join()
    team.leave()


def exit_code(process: BaseProcess) -> int | None:
    process.join(PATIENCE)
    return process.exitcode


def fresh() -> Denoiser:
    return build_denoiser(
        NetworkSpec((16, 32), 1, 1, (False, True)), image_size=8, channels=1, n_classes=3,
        schedule=linear_schedule(20, 1e-3, 0.2), prediction="eps", seed=0, device=CPU,
        vector_size=VECTOR_SIZE, variance="learned",
    )  # fmt: skip


def trained(team: Team | None, options: TrainingOptions = OPTIONS) -> tuple[list[float], Denoiser]:
    denoiser = fresh()
    run = train_denoiser(
        denoiser, make_ema(denoiser, 0.9), IMAGES, LABELS, steps=STEPS, seed=3, options=options,
        team=team,
    )  # fmt: skip
    return [stats.loss for stats in run], denoiser


def test_row_109_two_processes_take_the_steps_of_one(team_of_two):
    team, other = team_of_two("none")
    together, shared = trained(team)
    team.quit(0)
    assert exit_code(other) == 0
    alone, own = trained(None)
    assert together == pytest.approx(alone, rel=1e-5)
    for left, right in zip(shared.network.parameters(), own.network.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)
    # The comparison has teeth: other weights than these come from another seed of the noise.
    assert trained(None, replace(OPTIONS, batch_size=6))[0] != pytest.approx(alone, rel=1e-5)


def test_the_shares_of_a_team_make_up_the_batch():
    batch = Batch(*(torch.arange(7) for _ in range(6)), None)
    for size in (1, 2, 3, 7, 9):
        shares = [Team(rank, size, CPU).share(batch) for rank in range(size)]
        assert torch.cat([share.t for share in shares]).tolist() == list(range(7))
        assert all(share.other is None for share in shares)
        assert max(len(s.t) for s in shares) - min(len(s.t) for s in shares) <= 1


def test_row_61_memory_that_gives_out_in_one_process_is_told_to_all(team_of_two):
    team, other = team_of_two("memory:3")
    with pytest.raises(MemoryError, match="one of the processes"):
        trained(team)
    team.quit(ResourceError.exit_code)
    assert exit_code(other) == 4


def test_row_61_the_leader_too_tells_the_others_before_it_fails(team_of_two, monkeypatch):
    def give_out(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    team, other = team_of_two("none")
    monkeypatch.setattr(gradients, "_gradients", give_out)
    with pytest.raises(MemoryError, match="one of the processes"):
        trained(team)
    team.quit(ResourceError.exit_code)
    assert exit_code(other) == 4


def test_row_75_a_signal_to_one_process_is_heard_by_all_in_the_same_step(team_of_two):
    team, other = team_of_two("signal:3")
    denoiser, heard = fresh(), []
    for _ in train_denoiser(
        denoiser, make_ema(denoiser, 0.9), IMAGES, LABELS, steps=STEPS, seed=3,
        options=replace(OPTIONS, micro_batch=None), team=team,
    ):  # fmt: skip
        heard.append(team.signum)
    team.quit(143)
    assert exit_code(other) == 143
    # It falls into the third step, and is told with the gradient of the fourth at the latest.
    assert heard[:2] == [0, 0] and heard[-1] == 15


def test_row_110_a_process_that_dies_does_not_leave_the_others_waiting(team_of_two):
    team, other = team_of_two("die:3")
    started = time.monotonic()
    with pytest.raises(ResourceError, match=r"lost contact.*resume"):
        trained(team)
    assert time.monotonic() - started < PATIENCE
    assert exit_code(other) == 9
