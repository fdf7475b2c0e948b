"""Work on many images in several processes: in order, little at a time, and stopped at once.

Threads were measured too: below about 50 kB an image they fight for the interpreter lock and two
are slower than one.
"""

import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

from synthaug.errors import ResourceError

Task = TypeVar("Task")
Result = TypeVar("Result")

_MOST = 8
# About what starting the processes costs, twice over.
_SECONDS_THAT_PAY = 2.0
_SECONDS_BETWEEN_LOOKS = 0.5


def n_workers(seconds: float) -> int:
    """How many processes to use for work that takes one of them about this long."""
    if seconds < _SECONDS_THAT_PAY:
        return 1
    import loky

    return int(min(_MOST, loky.cpu_count()))


def map_in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Generator[Result, None, None]:
    """Yield the result of every task in order, each worked on in one of several processes.

    With one worker all is done in this process. Otherwise ``work`` must be a function of a module,
    and tasks and results cross over as copies, a few at a time. When the caller stops asking,
    unfinished work ends with the processes.

    Raises:
        ResourceError: when a process dies.
    """
    if workers == 1:
        yield from map(work, tasks)
        return
    from loky import ProcessPoolExecutor
    from loky.process_executor import TerminatedWorkerError

    left = iter(tasks)
    pool = ProcessPoolExecutor(
        workers,
        initializer=end_with_parent,
        initargs=(os.getpid(),),
        env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    try:
        with hidden_from_signals():
            first = itertools.islice(left, 2 * workers)
            pending: deque[Future[Result]] = deque(pool.submit(work, task) for task in first)
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, task) for task in itertools.islice(left, 1))
    except TerminatedWorkerError as error:
        raise ResourceError(
            "a process that decoded images was killed, most likely for lack of memory",
            remedy="close other programs or lower the limit of pixels an image may have",
        ) from error
    finally:
        pool.shutdown(kill_workers=True)


@contextmanager
def hidden_from_signals() -> Iterator[None]:
    """Processes started in here never see SIGINT and SIGTERM: their parent ends them.

    It sees the signals itself when the context ends. A terminal and many schedulers tell the whole
    process group. A worker that died of it while it started would leave the parent waiting for it
    for ever, and one that died later would look like one that was killed for lack of memory.
    """
    resource_tracker.ensure_running()  # starting it later would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int) -> None:
    """Have this process end within a second of its parent, however that one ended.

    A parent that is killed cannot end its workers, and a worker in a long task does not look.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
