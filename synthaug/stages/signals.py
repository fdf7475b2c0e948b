"""Ctrl-C and SIGTERM as a flag that loops poll, so that a stop falls between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from synthaug.errors import InterruptedRun


class StopFlag:
    """`signum` is the signal that asked to stop, or 0."""

    def __init__(self) -> None:
        self.signum = 0

    @property
    def requested(self) -> bool:
        return self.signum != 0

    def error(self, saved: str) -> InterruptedRun:
        """The error to raise once everything is saved; its exit code is 128 + the signal."""
        error = InterruptedRun(f"stopped by {signal.Signals(self.signum).name}", remedy=saved)
        error.exit_code = 128 + self.signum
        return error

    def check(self, saved: str) -> None:
        """Raise `InterruptedRun` if a stop was asked for."""
        if self.requested:
            raise self.error(saved)


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Catch SIGINT and SIGTERM while the context lasts; a second signal stops at once."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def on_signal(signum: int, frame: FrameType | None) -> None:
        del frame
        if flag.requested:
            raise KeyboardInterrupt
        flag.signum = signum

    caught = (signal.SIGINT, signal.SIGTERM)
    previous = {s: signal.signal(s, on_signal) for s in caught}
    try:
        yield flag
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)
