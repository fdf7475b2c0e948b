"""A first signal asks to stop, a second one insists, and nothing is left behind."""

import os
import signal
import threading
import time

import pytest

from synthaug.errors import InterruptedRun
from synthaug.stages import signals
from synthaug.stages.signals import KEPT, stop_flag


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


def test_row_73_a_second_signal_stops_at_once():
    with stop_flag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGINT


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_row_73_a_second_signal_leaves_with_the_code_of_the_first(
    signum: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0)
    with pytest.raises(InterruptedRun, match="the rest is safe") as caught:
        with stop_flag("the rest is safe"):
            os.kill(os.getpid(), signum)
            os.kill(os.getpid(), signum)
            pytest.fail("it went on")
    assert caught.value.exit_code == code


def test_one_request_told_twice_is_one():
    """As `timeout` does it: the process, and then its whole group."""
    with stop_flag() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_row_74_what_does_not_poll_is_interrupted_where_it_stands():
    began = time.monotonic()
    with pytest.raises(InterruptedRun, match="stopped by SIGTERM; nothing was begun") as caught:
        with stop_flag("nothing was begun", grace=0.05):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)
    assert time.monotonic() - began < 5
    assert caught.value.exit_code == 143


def test_an_interruption_that_was_swallowed_is_repeated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signals, "AGAIN_SECONDS", 0.05)
    swallowed = []
    with pytest.raises(InterruptedRun), stop_flag(grace=0.05):
        os.kill(os.getpid(), signal.SIGINT)
        while len(swallowed) < 2:
            try:
                time.sleep(20)
            except BaseException as error:
                swallowed.append(error)
        time.sleep(20)


def test_whoever_asked_may_take_the_time_to_save():
    with stop_flag(grace=0.05) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        time.sleep(0.2)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_save_is_not_interrupted_and_what_follows_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signals, "AGAIN_SECONDS", 0.05)
    saved = []
    with pytest.raises(InterruptedRun), stop_flag(grace=0.05) as stop:
        with stop.saving():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
            saved.append("all")
        time.sleep(20)
    assert saved == ["all"]


def test_inside_a_stop_flag_there_is_the_same_one_in_other_words():
    with stop_flag("all is kept") as outer:
        with stop_flag("some is kept", grace=1) as inner:
            assert inner is outer and (inner.kept, inner.grace) == ("some is kept", 1)
            with stop_flag():
                assert inner.kept == "some is kept"
        assert (outer.kept, outer.grace) == ("all is kept", signals.GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(InterruptedRun, match="all is kept"), stop_flag() as inner:
            inner.check()
    with stop_flag() as fresh:
        assert not fresh.requested and fresh.kept == KEPT


def test_work_is_counted_before_a_stop_falls():
    told = []
    with stop_flag() as stop:
        advance = stop.after(told.append)
        advance(3)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(InterruptedRun):
            advance(4)
    assert told == [3, 4]


@pytest.mark.parametrize("error", [None, KeyError])
def test_the_handlers_are_restored(error: type[Exception] | None):
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
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
