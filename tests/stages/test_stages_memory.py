"""How many images of a training step are in memory at once: told by a GPU, worked out on a CPU."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.schedule import cosine_schedule
from synthaug.diffusion.unet import NetworkSpec, build_denoiser
from synthaug.errors import ResourceError
from synthaug.stages import memory

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 0, 0, 1, 1, 1])


@pytest.fixture
def denoiser() -> Denoiser:
    return build_denoiser(
        NetworkSpec((16, 32), 1, 1, (False, False)), image_size=8, channels=1, n_classes=2,
        schedule=cosine_schedule(10), prediction="v", seed=0, device=CPU,
    )  # fmt: skip


def chosen(denoiser: Denoiser, batch_size: int, **options: object) -> int:
    return memory.choose_micro_batch(
        denoiser, IMAGES, LABELS, TrainingOptions(batch_size=batch_size, **options)
    )


@pytest.mark.parametrize(
    ("at_once", "batch_size", "expected"), [(1000, 64, 64), (16, 64, 16), (20, 50, 13), (1, 64, 1)]
)
def test_row_58_the_batch_is_halved_until_the_memory_is_enough(
    denoiser: Denoiser, at_once: int, batch_size: int, expected: int, monkeypatch
):
    options = TrainingOptions(batch_size=batch_size)
    fixed, each = memory.step_bytes(denoiser, IMAGES, LABELS, options)
    free = (fixed + (at_once + 0.5) * each) / (1 - memory.LEFT_FREE)
    monkeypatch.setattr(memory, "available_memory", lambda: int(free))
    assert chosen(denoiser, batch_size) == expected


def test_row_58_a_network_that_never_fits_is_refused(denoiser: Denoiser, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    with pytest.raises(ResourceError, match=r"one image takes .* of memory, and 1.0 MB are free"):
        chosen(denoiser, 64)
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    assert chosen(denoiser, 64) == 64, "where the system tells nothing, nothing is refused"


def test_row_58_the_need_grows_with_the_image_and_leaves_no_gradient(denoiser: Denoiser):
    options = TrainingOptions(batch_size=8)
    fixed, each = memory.step_bytes(denoiser, IMAGES, LABELS, options)
    assert fixed == 16 * denoiser.n_parameters
    # One feature map of the first level alone is 16 x 8 x 8 floats.
    assert each > 10 * 16 * 8 * 8 * 4
    assert all(p.grad is None for p in denoiser.network.parameters())
    wide = build_denoiser(
        NetworkSpec((16, 32), 1, 1, (False, False)), image_size=16, channels=1, n_classes=2,
        schedule=cosine_schedule(10), prediction="v", seed=0, device=CPU,
    )  # fmt: skip
    four_times = np.zeros((6, 1, 16, 16), np.uint8)
    larger = memory.step_bytes(wide, four_times, LABELS, options)[1]
    assert 3.5 < larger / each < 4.1
    with_other = memory.step_bytes(
        denoiser, IMAGES, LABELS, TrainingOptions(batch_size=8, transfer="cbdm")
    )[1]
    assert 1.8 < with_other / each < 2.2, "CBDM holds two evaluations of an image"


MEASURE = """
    import numpy as np, torch
    from synthaug.diffusion.batches import TrainingOptions
    from synthaug.diffusion.schedule import cosine_schedule
    from synthaug.diffusion.training import probe_gradients
    from synthaug.diffusion.unet import NetworkSpec, build_denoiser
    from synthaug.stages.memory import step_bytes

    torch.set_num_threads(1)
    denoiser = build_denoiser(
        NetworkSpec({channels}, 1, 1, (False,) * len({channels})), image_size=32, channels=3,
        n_classes=4, schedule=cosine_schedule(10), prediction="v", seed=0,
        device=torch.device("cpu"),
    )
    data = np.zeros((4, 3, 32, 32), np.uint8), np.arange(4), TrainingOptions(batch_size=48)
    told = step_bytes(denoiser, *data)[1]

    def held(what):
        rows = dict(row.split(":") for row in open("/proc/self/status").read().splitlines())
        return int(rows[what].split()[0]) * 1024

    before = held("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
    probe_gradients(denoiser, *data, 48)
    print(told, (held("VmHWM") - before) / 48)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="not a Linux")
@pytest.mark.parametrize("channels", [(32, 64), (64, 128, 128)])
def test_row_58_the_need_told_is_not_below_the_one_measured(channels: tuple[int, ...]):
    code = textwrap.dedent(MEASURE.replace("{channels}", str(channels)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, measured = map(float, done.stdout.split())
    assert measured < told < 2 * measured


class OnGpu:
    """A stand-in for a GPU that holds so many images: what it does not know is the CPU's."""

    def __init__(self, denoiser: Denoiser, holds: int, monkeypatch, error: Exception) -> None:
        self.tried: list[int] = []
        monkeypatch.setattr(Denoiser, "device", property(lambda _: torch.device("meta")))

        def probe(of: object, images: object, labels: object, options: object, n: int) -> None:
            self.tried.append(n)
            if n > holds:
                raise error

        monkeypatch.setattr(memory, "probe_gradients", probe)


OUT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
]


@pytest.mark.parametrize("error", OUT, ids=["cuda", "mps"])
def test_row_58_on_a_gpu_sizes_are_tried_once_each(denoiser: Denoiser, monkeypatch, error):
    gpu = OnGpu(denoiser, 20, monkeypatch, error)
    assert chosen(denoiser, 64) == 16
    assert gpu.tried == [64, 32, 16]


def test_row_58_a_gpu_too_small_for_one_image(denoiser: Denoiser, monkeypatch):
    OnGpu(denoiser, 0, monkeypatch, OUT[0])
    with pytest.raises(ResourceError, match="one image does not fit on meta"):
        chosen(denoiser, 5)


def test_row_58_another_error_on_a_gpu_is_not_hidden(denoiser: Denoiser, monkeypatch):
    OnGpu(denoiser, 0, monkeypatch, RuntimeError("device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        chosen(denoiser, 4)


@pytest.mark.gpu
def test_row_58_a_step_that_does_not_fit_on_cuda_is_taken_in_parts(denoiser: Denoiser):
    denoiser.network.to("cuda:0")
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        size = chosen(denoiser, 2**20)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 1 <= size < 2**20


def test_the_memory_of_the_machine(tmp_path: Path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  2000 kB\nMemAvailable:   1000 kB\n")
    assert memory._machine(meminfo) == 1_024_000
    assert memory._machine(tmp_path / "absent") is None
    meminfo.write_text("nothing\n")
    assert memory._machine(meminfo) is None


def test_the_limits_of_control_groups_of_both_versions(tmp_path: Path):
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    inner = root / "job" / "step"
    inner.mkdir(parents=True)
    own.write_text("0::/job/step\n")
    assert memory._groups(root, own) is None
    for folder, limit, used in ((root / "job", "1000", 300), (inner, "max", 100)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    (root / "job" / "memory.stat").write_text("anon 100\ninactive_file 50\n")
    assert memory._groups(root, own) == 750, "of the group above, files it may drop counted free"
    first = root / "memory" / "job"
    first.mkdir(parents=True)
    own.write_text("4:memory:/job\n3:cpu:/other\n0::/\n")
    (first / "memory.limit_in_bytes").write_text("500")
    (first / "memory.usage_in_bytes").write_text("450")
    assert memory._groups(root, own) == 50
    assert memory._groups(root, tmp_path / "absent") is None


def test_there_is_memory_here():
    free = memory.available_memory()
    assert free is None or 10**7 < free < 10**14
