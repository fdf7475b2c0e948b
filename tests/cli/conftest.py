"""Folders as people have them, and commands in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SYNTHAUG = Path(sys.executable).parent / "synthaug"


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder: runs/ is taken relative to where one stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(path: Path, seed: int, size: tuple[int, int] = (8, 8), colour: bool = False) -> Path:
    """Write an image of noise, smooth enough to survive JPEG."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (2, 2, 3) if colour else (2, 2), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize(size).save(path)
    return path


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of grey class folders: {class: number of images}; return it."""

    def write(classes: dict[str, int], root: str = "images") -> Path:
        for k, (name, n) in enumerate(classes.items()):
            (tmp_path / root / name).mkdir(parents=True)
            for i in range(n):
                noise(tmp_path / root / name / f"{i:02d}.png", seed=1000 * k + i)
        return tmp_path / root

    return write


@pytest.fixture
def mixed_folder(tmp_path: Path) -> Path:
    """Colour, several sizes, PNG and JPEG, a class with a space in its name, one of 3 images."""
    root = tmp_path / "my images"
    sizes = [(8, 8), (20, 12), (11, 31), (40, 40)]
    for k, (name, n) in enumerate({"big dog": 14, "cat": 9, "owl": 3}.items()):
        for i in range(n):
            suffix = ("png", "jpg", "jpeg")[i % 3]
            path = root / name / f"{i:02d}.{suffix}"
            noise(path, seed=1000 * k + i, size=sizes[i % 4], colour=i % 5 != 4)
    return root


class Process:
    """`synthaug` as a user starts it, in a process group of its own like a shell's job."""

    def __init__(self, *arguments: object) -> None:
        self.started = subprocess.Popen(
            [sys.executable, "-m", "synthaug", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def wait_for(self, happened: Callable[[], bool], seconds: float = 300) -> None:
        until = time.monotonic() + seconds
        while not happened():
            if self.started.poll() is not None or time.monotonic() > until:
                self.kill()
                pytest.fail(f"it never happened: {self.started.communicate()}")
            time.sleep(0.02)

    def ctrl_c(self, within: float) -> tuple[int, str]:
        """SIGINT to the whole group, as the terminal sends it: exit code and stderr."""
        return self.told(signal.SIGINT, within)

    def told(self, signum: int, within: float) -> tuple[int, str]:
        """A signal to the whole group: exit code and stderr."""
        os.killpg(self.started.pid, signum)
        try:
            _, err = self.started.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"still running {within} s after {signal.Signals(signum).name}")
        return self.started.returncode, err

    def kill(self) -> None:
        try:
            os.killpg(self.started.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.fixture
def start() -> Callable[..., Process]:
    """Start `synthaug` in the background; whatever is left of it is killed at the end."""
    processes: list[Process] = []

    def begin(*arguments: object) -> Process:
        processes.append(Process(*arguments))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.started.communicate()


@pytest.fixture(scope="session")
def synthaug() -> Path:
    """The installed command."""
    return SYNTHAUG
