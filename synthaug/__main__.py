"""The `synthaug` command, also as `python -m synthaug`.

Importing what a verb needs takes seconds. A stop signal in that time, before there is anything to
save, ends the process without a traceback; a verb at work has handlers of its own.
"""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Entry point."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _leave)
    from synthaug.cli.main import main as run

    run()


def _leave(signum: int, frame: FrameType | None) -> None:
    # No exception: raised while a module is imported, it may be taken for a fault of that module.
    del frame
    line = f"error: stopped by {signal.Signals(signum).name}; nothing was under way\n"
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line.encode())
    os._exit(128 + signum)


if __name__ == "__main__":
    main()
