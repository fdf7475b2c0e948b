"""What can go wrong through no fault of the code, each with the exit code of the command line.

| code | meaning | class |
|---|---|---|
| 2 | the command asked for something that does not exist | `UsageError` |
| 3 | the data cannot be used | `DataError` |
| 4 | memory, disk or device gave out | `ResourceError` |
| 5 | training diverged | `DivergedError` |
| 6 | another process owns the run folder | `RunInUseError` |
| 130 | stopped by SIGINT, Ctrl-C | `InterruptedRun` |
| 143 | stopped by SIGTERM | `InterruptedRun` |
"""

import signal


class SynthaugError(Exception):
    """A fault the user can mend, in one line: what was found, what was expected, what to do."""

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        sentences = [found, f"expected {expected}" if expected else "", remedy]
        super().__init__("; ".join(" ".join(s.split()) for s in sentences if s))

    def to_json(self) -> dict[str, object]:
        """What `--json` prints in place of a result."""
        told = {"found": self.found, "expected": self.expected, "remedy": self.remedy}
        return {"error": {**told, "exit_code": self.exit_code}}


class UsageError(SynthaugError):
    """Raised for an option, recipe key, run folder or device that does not exist."""

    exit_code = 2


class DataError(SynthaugError):
    """Raised when the images or their folders cannot be used as they are."""

    exit_code = 3


class ResourceError(SynthaugError):
    """Raised when memory, disk space or the device gave out."""

    exit_code = 4


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, of Python, numpy or torch on any device, says that memory gave out."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    told = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(said in told for said in words)
    )


class DivergedError(SynthaugError):
    """Raised when the training loss or the weights stopped being finite."""

    exit_code = 5


class RunInUseError(SynthaugError):
    """Raised when another process holds the lock of the run folder."""

    exit_code = 6


class InterruptedRun(SynthaugError):
    """Raised after a stop signal, once everything worth keeping is on disk.

    The exit code is 128 + the signal's number, as shells have it.
    """

    def __init__(
        self, found: str, *, expected: str = "", remedy: str = "", signum: int = signal.SIGINT
    ) -> None:
        super().__init__(found, expected=expected, remedy=remedy)
        self.exit_code = 128 + signum
