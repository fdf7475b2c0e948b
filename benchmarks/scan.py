"""How long does it take to read a dataset, and to read it again? Seconds of each step.

    python benchmarks/scan.py DATASET [--size 32] [--workers 1 2]

DATASET is a folder of class folders. Every row is measured in a process of its own, after its
imports. The files themselves are as warm in the page cache as the machine left them. "Again" is
what `generate` and `evaluate` do: scan the folder, compare its fingerprint with that of the run
folder and load pixels.npy. Prints a Markdown table; the load of the machine tells how far to trust
it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from synthaug.data.decode import choose_channels, choose_size, decode_images, read_headers
from synthaug.data.folder import index_folder
from synthaug.recipe import DataSection
from synthaug.stages.dataset import load_dataset, read_dataset, save_dataset
from synthaug.stages.progress import Silent
from synthaug.stages.run_dir import RunDir


class Stopwatch:
    """Seconds since the last call."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def __call__(self) -> float:
        before, self.last = self.last, time.perf_counter()
        return self.last - before


def read_once(dataset: Path, size: int, workers: int | None) -> dict[str, Any]:
    """Seconds of each step of a first reading."""
    lap = Stopwatch()
    index = index_folder(dataset)
    scan = lap()
    facts = read_headers(index)
    size = size or choose_size(facts, largest=64)
    channels = choose_channels(facts)
    headers = lap()
    decoded = decode_images(index, size=size, channels=channels, workers=workers)
    n_bytes = sum(index.sizes) / len(index.sizes)
    return {
        "n": len(decoded.kept),
        "bad": len(decoded.bad),
        "shape": f"{channels}×{size}×{size}",
        "bytes": n_bytes,
        "seconds": [scan, headers, lap()],
    }


def keep(dataset: Path, size: int, run: RunDir) -> dict[str, Any]:
    """Read the dataset as `fit` does and keep it in a run folder."""
    run.path.mkdir()
    section = DataSection(image_size=size or None)
    lap = Stopwatch()
    read = read_dataset(dataset, section, largest=64, seed=0, progress=Silent())
    reading = lap()
    save_dataset(run, read)
    return {"seconds": [reading, lap()]}


def read_again(dataset: Path, run: RunDir) -> dict[str, Any]:
    """Seconds of each step of a second reading."""
    lap = Stopwatch()
    fingerprint = index_folder(dataset).fingerprint
    scan = lap()
    loaded = load_dataset(run)
    assert fingerprint == loaded.fingerprint
    return {"seconds": [scan, lap()]}


def in_process(step: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, *map(str, arguments), "--step", step]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def print_tables(dataset: Path, size: int, workers: list[int]) -> None:
    load = os.getloadavg()[0]
    rows = {n: in_process("once", dataset, "--size", size, "--workers", n) for n in workers}
    first = next(iter(rows.values()))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        kept = in_process("keep", dataset, "--size", size, "--run", run)["seconds"]
        again = in_process("again", dataset, "--run", run)["seconds"]
        stored = (run / "pixels.npy").stat().st_size
    print("# How long does it take to read a dataset, and to read it again?\n")
    print(f"```\npython benchmarks/scan.py {' '.join(['DATASET', *sys.argv[2:]])}\n```\n")
    print(
        f"{dataset.name}: {first['n']:,} images of {first['bytes']:.0f} bytes on average, "
        f"{first['bad']} bad, read as {first['shape']}; {platform.machine()}, {os.cpu_count()} "
        f"cores, load {load:.1f} at the start, {time.strftime('%Y-%m-%d')}.\n"
    )
    print("| processes | scan, s | headers, s | decoding, s | decoded images/s |")
    print("|---:|---:|---:|---:|---:|")
    for n, row in rows.items():
        told = " | ".join(f"{seconds:.2f}" for seconds in row["seconds"])
        print(f"| {n} | {told} | {row['n'] / row['seconds'][-1]:,.0f} |")
    print(
        f"\nRead by `fit` in {kept[0]:.2f} s, with as many processes as pay off and the splits; "
        f"kept in {kept[1]:.2f} s as {stored / 1e6:.0f} MB. Read again in **{sum(again):.2f} s**: "
        f"{again[0]:.2f} s to scan and compare the fingerprint, {again[1]:.2f} s to load."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--size", type=int, default=0, help="side in pixels; default: as fit does")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--step", choices=["once", "keep", "again"], help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step is None:
        print_tables(asked.dataset, asked.size, asked.workers)
    elif asked.step == "once":
        print(json.dumps(read_once(asked.dataset, asked.size, asked.workers[0])))
    elif asked.step == "keep":
        print(json.dumps(keep(asked.dataset, asked.size, RunDir(asked.run))))
    else:
        print(json.dumps(read_again(asked.dataset, RunDir(asked.run))))


if __name__ == "__main__":
    main()
