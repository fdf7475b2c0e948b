"""Several processes on one fit, as torchrun starts them: one leads, the others follow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from synthaug.diffusion.following import follow
from synthaug.diffusion.team import Team
from synthaug.errors import ResourceError, SynthaugError, UsageError
from synthaug.stages.device import n_processes, resolve_device
from synthaug.stages.signals import stop_flag


@contextmanager
def started_team(device: str) -> Iterator[Team | None]:
    """The team that this process leads while the context lasts; None if it was started alone.

    A follower never gets into the context: it works for the leader and then leaves with the same
    exit code by `SystemExit`. Raises `UsageError` where the launcher told too little, and for one
    GPU that all would have to share.
    """
    n = n_processes()
    if n == 1:
        yield None
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UsageError(
            f"WORLD_SIZE says {n} processes; not set: {', '.join(missing)}",
            expected="all that torchrun sets",
            remedy="start it with torchrun, or unset WORLD_SIZE for a process alone",
        )
    if device.startswith("cuda:"):
        raise UsageError(
            f"--device {device} for {n} processes",
            remedy="leave it out: each process takes a GPU of its own",
        )
    team = Team(int(os.environ["RANK"]), n, resolve_device(device, alone=False))
    team.join()
    try:
        if not team.leads:
            with stop_flag() as stop:
                raise SystemExit(follow(team, lambda: stop.signum if stop.requested else 0))
        code = 1
        try:
            yield team
            code = 0
        except SynthaugError as error:
            code = error.exit_code
            raise
        finally:
            with suppress(ResourceError):  # whoever is gone needs no exit code
                team.quit(code)
    finally:
        team.leave()
