"""A first signal asks to stop, a second one insists, and nothing is left behind."""

import os
import signal
import threading

import pytest

from synthaug.errors import InterruptedRun
from synthaug.stages.signals import stop_flag


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_sets_the_flag(signum: signal.Signals, code: int):
    with stop_flag() as stop:
        assert not stop.requested
        stop.check("nothing")
        os.kill(os.getpid(), signum)
        assert stop.requested
        with pytest.raises(InterruptedRun, match=f"{signum.name}; all is saved") as caught:
            stop.check("all is saved")
        assert caught.value.exit_code == code


def test_a_second_signal_stops_at_once():
    with stop_flag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGINT


@pytest.mark.parametrize("error", [None, KeyError])
def test_the_handlers_are_restored(error: type[Exception] | None):
    caught = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(s) for s in caught]
    try:
        with stop_flag():
            assert [signal.getsignal(s) for s in caught] != before
            if error:
                raise error
    except KeyError:
        pass
    assert [signal.getsignal(s) for s in caught] == before


def test_another_thread_gets_a_flag_and_leaves_the_handlers():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with stop_flag() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
