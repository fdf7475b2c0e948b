"""Stop signals: what is finished is kept, the exit code says so, and the next call goes on."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synthaug.cli.terminal import Terminal
from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint
from synthaug.stages import candidates, learner, signals
from synthaug.stages import evaluate as evaluate_stage
from synthaug.stages.bench import Bench
from synthaug.stages.device import resolve_device


def test_row_73_ctrl_c_in_a_long_fit_leaves_a_network_that_can_be_used(
    cli, start, digits: Path, in_tmp: Path
):
    process = start(
        "fit", "--dataset", digits, "--recipe", "smoke", "--time-limit", "10m", "--run", "run"
    )
    process.wait_for(lambda: Path("run/metrics.jsonl").is_file())
    code, err = process.ctrl_c(within=30)
    assert code == 130, err
    assert "Traceback" not in err
    assert sum(line.startswith("error:") for line in err.splitlines()) == 1
    folder = newest_checkpoint(Path("run/base"))
    assert str(folder) in err.replace("\n", "")
    meta = load_checkpoint(folder, resolve_device("cpu")).meta
    assert meta["complete"] is False and meta["step"] >= 10
    told = cli("generate", "--balance", "30", "--run", "run").ok()
    assert "a fit that was stopped" in " ".join(told.err.split())


def stop_after(monkeypatch: pytest.MonkeyPatch, module, name: str, calls: int) -> None:
    """Send SIGINT to this process once a function has yielded or returned often enough."""
    function, count = getattr(module, name), [0]

    def wrapped(*args, **kwargs):
        for item in function(*args, **kwargs):
            count[0] += 1
            if count[0] == calls:
                os.kill(os.getpid(), signal.SIGINT)
            yield item

    monkeypatch.setattr(module, name, wrapped)


FIT = ("fit", "--dataset", "{digits}", "--recipe", "smoke", "--run", "new")
GENERATE = ("generate", "--balance", "--run", "{run}")
EVALUATE = ("evaluate", "--run", "{run}", "--arms", "real,synthaug")
ABLATE = (
    "ablate", "--recipe", "beta-ablation", "--dataset", "{digits}", "--out", "new",
    "--set", "diffusion.steps=2", "--set", "sampling.steps=2",
    "--set", "diffusion.channels=[16,32]", "--set", "diffusion.batch_size=8",
)  # fmt: skip
IN_A_LOOP = {
    "scanning": ("reading images", ("inspect", "--dataset", "{digits}"), "nothing was written"),
    "reading": ("reading images", FIT, "nothing was written"),
    "training": ("training the DDPM", FIT, "saved in new/base/ckpt-"),
    "specialising": ("specialist for", (*FIT, "--per-class"), "saved in new"),
    "learning to select": ("learning to select", GENERATE, "run `synthaug generate` again"),
    "sampling": ("sampling", GENERATE, "run `synthaug generate` again"),
    "writing": ("writing", GENERATE, "run `synthaug generate` again"),
    "tuning": (
        "tuning", ("evaluate", "--run", "{run}", "--arms", "synthaug-tuned,real-tuned"),
        "run `synthaug evaluate` again",
    ),
    "judging": ("training classifiers", EVALUATE, "run `synthaug evaluate` again"),
    "likelihood": ("measuring likelihood", (*EVALUATE, "--likelihood"), "finished classes are"),
    "ablation": ("measuring the bound", ABLATE, "kept"),
}  # fmt: skip
UNPOLLED = {
    "near duplicates": (
        "reading.near_duplicates", ("inspect", "--dataset", "{digits}"), "nothing was written"
    ),
    "studying the real images": ("selecting.study", GENERATE, "run `synthaug generate` again"),
    "page": ("page.write_report", EVALUATE, "run `synthaug evaluate` again"),
    "show": ("show.sheet_png", ("show", "forward", "--run", "{run}"), "no picture was written"),
}  # fmt: skip


def stopped_words(arguments: tuple[str, ...], digits: Path, run: Path) -> list[str]:
    return [word.format(digits=digits, run=run) for word in arguments]


def again_from(stage: str, run: Path) -> None:
    """Remove what is kept of a stage, so that it is entered again."""
    if stage in ("sampling", "learning to select", "studying the real images"):
        shutil.rmtree(run / "candidates")
    if stage == "learning to select":
        (run / "selector.npz").unlink()
    if stage == "judging":
        shutil.rmtree(run / "predictions")


@pytest.mark.parametrize("stage", IN_A_LOOP)
def test_row_74_a_stop_in_every_loop(
    stage, cli, digits: Path, copied_run: Path, in_tmp: Path, serial: None, monkeypatch
):
    """A signal that falls in the middle of a loop: one line, its exit code, and no partial file."""
    description, arguments, kept = IN_A_LOOP[stage]
    told_at = []

    class Planted:
        def __init__(self, task) -> None:
            self.task, self.resize, self.skip = task, task.resize, task.skip

        def advance(self, n: int = 1, note: str = "") -> None:
            self.task.advance(n, note)
            if not told_at:
                told_at.append(time.process_time())
                os.kill(os.getpid(), signal.SIGTERM)

    real_task = Terminal.task

    @contextmanager
    def task(self, words: str, total: int, unit: str) -> Iterator[object]:
        with real_task(self, words, total, unit) as real:
            yield Planted(real) if words.startswith(description) else real

    again_from(stage, copied_run)
    monkeypatch.setattr(learner, "LOG_EVERY", 1)
    monkeypatch.setattr(Terminal, "task", task)
    stopped = cli(*stopped_words(arguments, digits, copied_run))
    assert told_at, "the loop was never entered"
    assert time.process_time() - told_at[0] < 5  # of this process: others may be at work
    assert stopped.code == 143
    assert stopped.fault.startswith("stopped by SIGTERM; ") and kept in stopped.fault
    assert [p for p in in_tmp.rglob("*") if ".tmp-" in p.name] == []
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("place", UNPOLLED)
def test_row_74_a_stop_where_nothing_polls(
    place, cli, digits: Path, copied_run: Path, in_tmp: Path, serial: None, monkeypatch
):
    function, arguments, kept = UNPOLLED[place]
    told_at = []

    def long_work(*args, **kwargs) -> None:
        told_at.append(time.process_time())
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        pytest.fail("it was not interrupted")

    again_from(place, copied_run)
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(f"synthaug.stages.{function}", long_work)
    stopped = cli(*stopped_words(arguments, digits, copied_run))
    assert told_at and time.process_time() - told_at[0] < 5
    assert stopped.code == 143
    assert stopped.fault.startswith("stopped by SIGTERM; ") and kept in stopped.fault


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc")


def catches(pid: int, signum: int) -> bool:
    """Whether a process has a handler for a signal, as Linux tells it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signum - 1) & 1)


@needs_proc
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_row_74_a_stop_while_the_command_is_still_loading(start, in_tmp: Path, signum, code):
    process = start("fit", "--dataset", "nowhere")
    process.wait_for(lambda: catches(process.started.pid, signal.SIGTERM))
    found, err = process.told(signum, within=30)
    assert found == code
    assert err == f"error: stopped by {signum.name}; nothing was under way\n"


def test_a_stopped_fit_keeps_the_steps_so_far(cli, digits: Path, in_tmp: Path, monkeypatch):
    stop_after(monkeypatch, learner, "train_denoiser", 4)
    stopped = cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", "run", "--json")
    assert stopped.code == 130
    assert stopped.json["error"]["exit_code"] == 130
    assert "after 4 steps is saved in run/base/ckpt-00000004" in stopped.fault
    assert not Path("run/fit.json").exists()


def test_a_fit_stopped_at_its_last_step_is_complete(cli, digits: Path, in_tmp: Path, monkeypatch):
    stop_after(monkeypatch, learner, "train_denoiser", 6)
    cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", "run").ok()
    folder = newest_checkpoint(Path("run/base"))
    assert load_checkpoint(folder, resolve_device("cpu")).meta["complete"] is True


def test_a_stopped_specialist_leaves_the_base(cli, digits: Path, in_tmp: Path, monkeypatch):
    stop_after(monkeypatch, learner, "train_denoiser", 2)  # the base takes one
    stopped = cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", "run", "--per-class")
    assert stopped.code == 130 and "saved in run" in stopped.fault
    cli("generate", "--balance", "30", "--run", "run").ok()


def test_row_95_a_stopped_generate_goes_on(cli, copied_run: Path, monkeypatch):
    finished = {p: p.read_bytes() for p in copied_run.glob("[bs]*/*/*.png")}
    assert len(finished) > 400
    for top in ("candidates", "synthetic", "balanced"):
        shutil.rmtree(copied_run / top)
    (copied_run / "synthaug_manifest.jsonl").unlink()
    with monkeypatch.context() as patch:
        stop_after(patch, candidates, "generate_images", 3)
        stopped = cli("generate", "--balance", "--run", copied_run)
    assert stopped.code == 130
    assert "run `synthaug generate` again" in stopped.fault
    assert not (copied_run / "balanced").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in (copied_run / "candidates").iterdir()}
    assert set(kept) == {"1.npz", "2.npz", ".3.part.npz"}
    del kept[".3.part.npz"]
    cli("generate", "--balance", "--run", copied_run).ok()
    for name, stamp in kept.items():
        assert (copied_run / "candidates" / name).stat().st_mtime_ns == stamp
    assert {p: p.read_bytes() for p in copied_run.glob("[bs]*/*/*.png")} == finished
    assert not list((copied_run / "candidates").glob(".*"))


def test_a_stopped_evaluate_goes_on(cli, copied_run: Path, serial: None, monkeypatch):
    shutil.rmtree(copied_run / "predictions")
    for name in ("results.json", "report.html"):
        (copied_run / name).unlink()

    def stopping(bench, jobs, stop):
        for n, (arm, seed) in enumerate(jobs):
            if n == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield (arm, seed), bench.train(arm, seed, stop)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_stage, "train_all", stopping)
        stopped = cli("evaluate", "--run", copied_run, "--arms", "real,synthaug")
    assert stopped.code == 130
    assert "run `synthaug evaluate` again" in stopped.fault
    assert not (copied_run / "results.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in (copied_run / "predictions").rglob("*.npz")}
    assert len(kept) == 3
    cli("evaluate", "--run", copied_run, "--arms", "real,synthaug").ok()
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert (copied_run / "results.json").exists()


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(("signum", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_row_74_a_stop_while_the_workers_start_ends_an_evaluate(
    start, copied_run: Path, signum, expected
):
    """The terminal tells the whole process group, so workers that are only just starting too."""
    shutil.rmtree(copied_run / "predictions")
    process = start("evaluate", "--run", copied_run, "--arms", "real")
    me = process.started.pid

    def workers() -> int:
        found = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
                command = (path.parent / "cmdline").read_bytes()
            except OSError:
                continue
            found += int(fields[1]) == me and b"popen_loky" in command
        return found

    process.wait_for(lambda: workers() > 0)
    code, err = process.told(signum, within=30)
    assert code == expected, err
    assert "lack of memory" not in err


class Died(BaseException):
    """In the place of SIGKILL: nothing gets a chance to save."""


def test_a_killed_evaluate_trains_nothing_twice(cli, copied_run: Path, serial: None, monkeypatch):
    """Arms, seeds and the classifier for features alike; what was written before is whole."""
    for name in ("predictions", "fidelity"):
        shutil.rmtree(copied_run / name)
    trained, die_at = [], [2]
    train = Bench.train

    def counted(bench: Bench, arm, seed: int, stop=None):
        if len(trained) == die_at[0]:
            raise Died
        trained.append((arm, seed, bench.described is not None))
        return train(bench, arm, seed, stop)

    monkeypatch.setattr(Bench, "train", counted)
    evaluate = ("evaluate", "--run", copied_run, "--arms", "real,synthaug", "--seeds", "1")
    with pytest.raises(Died):
        cli(*evaluate)
    assert [p.name for p in (copied_run / "predictions").rglob("*.*")] == ["seed-0.npz"] * 2
    die_at[0] = 10_000
    cli(*evaluate).ok()
    n = len(trained)
    assert n == len(set(trained)) == 5
    cli(*evaluate).ok()
    assert len(trained) == n


@pytest.mark.slow
def test_ctrl_c_in_an_evaluate_keeps_what_is_finished(cli, start, copied_run: Path, serial: None):
    shutil.rmtree(copied_run / "predictions")
    process = start("evaluate", "--run", copied_run, "--seeds", "40")
    process.wait_for(lambda: any((copied_run / "predictions").rglob("*.npz")))
    code, err = process.ctrl_c(within=30)
    assert code == 130, err
    assert "Traceback" not in err
    kept = {p: p.stat().st_mtime_ns for p in (copied_run / "predictions").rglob("seed-?.npz")}
    cli("evaluate", "--run", copied_run).ok()
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


@pytest.mark.slow
def test_ctrl_c_in_a_generate_keeps_what_is_finished(cli, start, copied_run: Path):
    shutil.rmtree(copied_run / "candidates")
    process = start("generate", "--balance", "9000", "--run", copied_run)
    process.wait_for(lambda: any((copied_run / "candidates").glob("*.npz")))
    code, err = process.ctrl_c(within=30)
    assert code == 130, err
    assert "Traceback" not in err
    assert len(list((copied_run / "balanced" / "9").iterdir())) == 40
    cli("generate", "--balance", "auto", "--run", copied_run).ok()
