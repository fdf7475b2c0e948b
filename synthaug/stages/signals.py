"""Ctrl-C and SIGTERM as a flag that loops poll, so that a stop falls between two steps.

Polling is what lets a loop save its state first. What polls too seldom, such as one long call of a
library, is interrupted where it stands after `GRACE_SECONDS`; a second signal interrupts at once.
That is safe anywhere, since every file of a run is written whole under another name first.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from synthaug.errors import InterruptedRun

GRACE_SECONDS = 2.5
"""With the time to leave it is below the 5 s that a stop may take."""
READING_GRACE_SECONDS = 0.3
"""The same where nothing is written, so that nothing is worth waiting for."""
AGAIN_SECONDS = 2.0
"""An interruption that a library swallowed is repeated after so long."""
ECHO_SECONDS = 0.3
"""`timeout` and some schedulers tell the process and then its group: that is one request."""
KEPT = "what is finished is kept; run the same command again to go on"
NOTHING_WRITTEN = "nothing was written; run the same command again"


class _StopNow(KeyboardInterrupt):
    """Leaves whatever is running. Not an `Exception`, which libraries catch and forget."""


class StopFlag:
    """`signum` is the signal that asked to stop, or 0; `kept` what a stop leaves, in words."""

    def __init__(self) -> None:
        self.signum = 0
        self.kept = KEPT
        self.grace = GRACE_SECONDS
        self.saves = 0
        """Saves under way, each in a `saving` of its own."""

    @property
    def requested(self) -> bool:
        """Whether to stop. Whoever asked is not interrupted any more, but for a second signal."""
        if self.signum and threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, 0)
        return self.signum != 0

    def error(self, saved: str | None = None) -> InterruptedRun:
        """The error to raise once everything is saved; its exit code is 128 + the signal."""
        name = signal.Signals(self.signum).name
        return InterruptedRun(f"stopped by {name}", remedy=saved or self.kept, signum=self.signum)

    def check(self, saved: str | None = None) -> None:
        """Raise `InterruptedRun` if a stop was asked for; `saved` instead of what is `kept`."""
        if self.requested:
            raise self.error(saved)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """What happens in here is only interrupted by a second signal, however long it takes."""
        self.saves += 1
        try:
            yield
        finally:
            self.saves -= 1

    def after(self, advance: Callable[[int], None]) -> Callable[[int], None]:
        """`advance`, followed by a check."""

        def advance_and_check(n: int) -> None:
            advance(n)
            self.check()

        return advance_and_check


_active: StopFlag | None = None


@contextmanager
def stop_flag(kept: str | None = None, *, grace: float | None = None) -> Iterator[StopFlag]:
    """Catch SIGINT and SIGTERM while the context lasts; inside another one, it is the same flag.

    `kept` says what a stop in here leaves and which command goes on, `grace` after how many seconds
    code that does not poll is interrupted. Raises `InterruptedRun` for such an interruption. In
    another thread than the main one, which gets no signals, the flag is never set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield StopFlag()
        return
    flag = _active or StopFlag()
    before = flag.kept, flag.grace
    flag.kept, flag.grace = kept or flag.kept, flag.grace if grace is None else grace
    try:
        if _active is None:
            with _handled(flag):
                yield flag
        else:
            yield flag
    except _StopNow:
        raise flag.error() from None
    finally:
        flag.kept, flag.grace = before


@contextmanager
def _handled(flag: StopFlag) -> Iterator[None]:
    """Signals set the flag, and interrupt where they are repeated or nobody polls."""
    global _active
    asked = 0.0

    def on_signal(signum: int, frame: FrameType | None) -> None:
        del frame
        nonlocal asked
        now = time.monotonic()
        if not flag.signum:
            flag.signum, asked = signum, now
            signal.setitimer(signal.ITIMER_REAL, flag.grace, AGAIN_SECONDS)
        elif signum != flag.signum or now - asked > ECHO_SECONDS:
            raise _StopNow

    def on_alarm(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        if not flag.saves:
            raise _StopNow

    handlers = {signal.SIGINT: on_signal, signal.SIGTERM: on_signal, signal.SIGALRM: on_alarm}
    previous = {s: signal.signal(s, handler) for s, handler in handlers.items()}
    _active = flag
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _active = None
        for s, handler in previous.items():
            signal.signal(s, handler)
