"""How long should OpenMP threads spin? Training images/s on a free and on a busy machine.

    python benchmarks/spin.py

Prints a Markdown table: one row for each setting, each measured in a process of its own because
OpenMP reads it only once. "Busy" is with one more process that uses a core.
"""

import os
import platform
import subprocess
import sys
import time

SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=20000": {"GOMP_SPINCOUNT": "20000"},
}


def measure() -> float:
    """Training images/s of the 16x16 preset over 30 steps, after three to warm up."""
    import numpy as np
    import torch

    from synthaug.diffusion.batches import TrainingOptions
    from synthaug.diffusion.schedule import cosine_schedule
    from synthaug.diffusion.training import make_ema, train_denoiser
    from synthaug.diffusion.unet import build_denoiser, default_network, network_ladder

    cpu = torch.device("cpu")
    denoiser = build_denoiser(
        default_network(network_ladder(16, cpu), cpu), image_size=16, channels=1, n_classes=10,
        schedule=cosine_schedule(), prediction="v", seed=0, device=cpu,
    )  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (100, 1, 16, 16), dtype=np.uint8)
    options = TrainingOptions()
    run = train_denoiser(
        denoiser, make_ema(denoiser, 0.99), images, np.arange(100) % 10,
        steps=33, seed=0, options=options,
    )  # fmt: skip
    for _ in range(3):
        next(run)
    started = time.perf_counter()
    steps = sum(1 for _ in run)
    return steps * options.batch_size / (time.perf_counter() - started)


def in_process(setting: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, __file__, "measure"],
        env={**os.environ, **setting}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def main() -> None:
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores\n")
    print("| setting | free machine, images/s | busy machine, images/s |\n| --- | ---: | ---: |")
    for name, setting in SETTINGS.items():
        free = in_process(setting)
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            busy = in_process(setting)
        finally:
            other.kill()
            other.wait()
        print(f"| {name} | {free} | {busy} |", flush=True)


if __name__ == "__main__":
    print(f"{measure():.0f}") if sys.argv[1:] == ["measure"] else main()
