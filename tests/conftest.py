"""One small run made through the real commands, shared by every test that only reads it."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# `datasets` would tell its makers whenever it reads an image folder.
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout; anything beside it is a failure."""
        return json.loads(self.out)

    @property
    def fault(self) -> str:
        """The text of the one error line."""
        lines = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.out + self.err
        return lines[0].removeprefix("error:").strip()

    def ok(self) -> "Outcome":
        assert self.code == 0, self.err
        return self


def tree_hash(root: Path) -> str:
    """Hash of every path and content below a folder."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class SmokeRun:
    """A finished run of the smoke recipe, made with --json. Tests must leave its files alone."""

    dataset: Path
    hash_before: str
    path: Path
    fit: Outcome
    generate: Outcome
    evaluate: Outcome

    def manifest(self) -> list[dict[str, Any]]:
        return read_manifest(self.path)

    def read(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))


def read_manifest(run: Path) -> list[dict[str, Any]]:
    text = (run / "synthaug_manifest.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


_outside: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def _no_way_out() -> Iterator[None]:
    """Names are not looked up and connections not made, but to this machine itself."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo
    here = {"localhost", "127.0.0.1", "::1", "", None}

    def refuse(host: object) -> None:
        if host not in here:
            _outside.append(f"network: {host!r}")
            raise OSError(_outside[-1])

    def connect_here(self: socket.socket, address: Any) -> None:
        refuse(address[0] if isinstance(address, tuple) else None)  # a path is on this machine
        connect(self, address)

    def look_up_here(host: Any, *args: Any, **options: Any) -> Any:
        refuse(host.decode() if isinstance(host, bytes) else host)
        return look_up(host, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        patch.setattr(socket, "getaddrinfo", look_up_here)
        yield


@pytest.fixture(autouse=True)
def outside_calls() -> Iterator[list[str]]:
    """What tried to use the network so far; a test that leaves anything in it has failed."""
    yield _outside
    tried, _outside[:] = list(_outside), []
    assert not tried, tried


@pytest.fixture(scope="session")
def quick_rates() -> Iterator[None]:
    """Speeds are measured for moments instead of seconds; what is measured stays the same."""
    from synthaug.stages import sizing

    measure = sizing.measure_rate

    def briefly(call: Any, n_images: int, *, seconds: float) -> float:
        return measure(call, n_images, seconds=min(seconds, 0.02))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing, "measure_rate", briefly)
        yield


@pytest.fixture(scope="session")
def cli(quick_rates: None) -> Callable[..., Outcome]:
    """Call `synthaug` in this process, its two streams apart."""
    from typer.testing import CliRunner

    from synthaug.cli.main import app, give_balance_a_value

    def call(*arguments: object) -> Outcome:
        words = give_balance_a_value([str(a) for a in arguments])
        result = CliRunner().invoke(app, words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Classifiers are trained in this process: starting others takes longer than training them.

    With one thread, as each of those others has: sums over two threads round differently.
    """
    import torch

    from synthaug.stages import evaluate, tuning_bench

    def one_by_one(bench: Any, jobs: Any, stop: Any) -> Iterator[tuple[Any, Any]]:
        for arm, seed in jobs:
            yield (arm, seed), bench.train(arm, seed, stop)

    monkeypatch.setattr(evaluate, "train_all", one_by_one)
    monkeypatch.setattr(tuning_bench, "train_all", one_by_one)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real 8x8 digits, 40 down to 4 train images a class. Read only."""
    from synthaug.data.longtail import write_digits_long_tail

    root = tmp_path_factory.mktemp("images") / "digits"
    return write_digits_long_tail(root, n_max=40, imbalance_ratio=10)


@pytest.fixture(scope="session")
def smoke(
    cli: Callable[..., Outcome], digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> SmokeRun:
    """fit, generate and evaluate on the digits, once."""
    before = tree_hash(digits)
    run = tmp_path_factory.mktemp("runs") / "smoke"
    return SmokeRun(
        dataset=digits,
        hash_before=before,
        path=run,
        fit=cli("fit", "--dataset", digits, "--recipe", "smoke", "--run", run, "--json").ok(),
        generate=cli("generate", "--balance", "--run", run, "--json").ok(),
        evaluate=cli("evaluate", "--run", run, "--json").ok(),
    )


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a disk of so many MB that is nobody else's; skipped where that is not allowed."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
        try:
            done = subprocess.run(words, capture_output=True, check=False).returncode == 0
        except OSError:
            done = False
        if not done:
            pytest.skip("mounting a disk takes a Linux and its root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="session")
def make_read_only() -> Callable[[Path], None]:
    """Make a mounted disk read-only, which even root has to respect."""

    def remount(disk: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    return remount


@pytest.fixture
def copied_run(smoke: SmokeRun, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(smoke.path, tmp_path / "run"))


@pytest.fixture(scope="session")
def hash_of() -> Callable[[Path], str]:
    return tree_hash


@pytest.fixture(scope="session")
def manifest_of() -> Callable[[Path], list[dict[str, Any]]]:
    return read_manifest
