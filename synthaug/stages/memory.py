"""How many images one training step holds in memory at once: found before training, and once.

A step of B images that do not fit together is taken in micro-batches whose gradients add up, see
`diffusion.training`: what is learned stays the same, only its speed changes.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthaug.diffusion.batches import TrainingOptions
from synthaug.diffusion.denoiser import Denoiser
from synthaug.diffusion.gradients import probe_gradients
from synthaug.errors import ResourceError, is_out_of_memory
from synthaug.stages.disk import in_words

PROBED_IMAGES = 2
"""On a CPU the need of a step is worked out from a step of so many images."""
BACKWARD_FACTOR = 1.5
"""What a step takes at its worst over what it keeps for the way back; a slow test measures it."""
BYTES_A_WEIGHT = 16
"""Its gradient, its average and the two moments of Adam, float32."""
LEFT_FREE = 0.1
"""Share of the free memory that is left to everything else."""


def choose_micro_batch(
    denoiser: Denoiser, images: np.ndarray, labels: np.ndarray, options: TrainingOptions
) -> int:
    """Images that a training step may hold at once: the whole batch, halved until it fits.

    Tried on a GPU, which says when there is too little memory; worked out on a CPU, where whoever
    takes too much is killed instead. Raises `ResourceError` if one image is too many.
    """
    size = options.batch_size
    if denoiser.device.type == "cpu":
        return _worked_out(denoiser, images, labels, options, size)
    while not _fits(denoiser, images, labels, options, size):
        if size == 1:
            raise _too_large(f"a training step of one image does not fit on {denoiser.device}")
        size = halved(size)
    return size


def halved(size: int) -> int:
    """Half of it, rounded up, so that two parts make up the whole."""
    return (size + 1) // 2


def _worked_out(
    denoiser: Denoiser, images: np.ndarray, labels: np.ndarray, options: TrainingOptions, size: int
) -> int:
    free = available_memory()
    if free is None:
        return size
    fixed, each = step_bytes(denoiser, images, labels, options)
    room = ((1 - LEFT_FREE) * free - fixed) / each
    if room < 1:
        raise _too_large(
            f"a training step of one image takes {in_words(fixed + each)} of memory, and "
            f"{in_words(free)} are free"
        )
    while size > room:
        size = halved(size)
    return size


def _fits(
    denoiser: Denoiser, images: np.ndarray, labels: np.ndarray, options: TrainingOptions, size: int
) -> bool:
    """Whether gradients of `size` images fit beside what the optimiser will hold."""
    held: Tensor | None = None
    try:
        held = torch.empty(
            BYTES_A_WEIGHT * denoiser.n_parameters, dtype=torch.uint8, device=denoiser.device
        )
        probe_gradients(denoiser, images, labels, options, size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fits = False  # decided outside: while the error is handled, it keeps its tensors alive
    else:
        fits = True
    del held
    denoiser.network.zero_grad(set_to_none=True)
    if denoiser.device.type == "cuda":
        torch.cuda.empty_cache()
    return fits


def step_bytes(
    denoiser: Denoiser, images: np.ndarray, labels: np.ndarray, options: TrainingOptions
) -> tuple[int, int]:
    """(bytes of a step whatever its size, bytes of each image in it), from a small step taken."""
    weights = {p.untyped_storage().data_ptr() for p in denoiser.network.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    n = min(PROBED_IMAGES, options.batch_size)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        probe_gradients(denoiser, images, labels, options, n)
    denoiser.network.zero_grad(set_to_none=True)
    each = int(BACKWARD_FACTOR * sum(saved.values()) / n)
    return BYTES_A_WEIGHT * denoiser.n_parameters, each


def available_memory() -> int | None:
    """Bytes this process may still take: of the machine and of its control groups, or None.

    None where the system does not tell, as on macOS.
    """
    found = [n for n in (_machine(Path("/proc/meminfo")), _groups(Path("/sys/fs/cgroup"))) if n]
    return min(found, default=None)


def _machine(meminfo: Path) -> int | None:
    try:
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _groups(root: Path, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The least that is left of the limits of this process's control groups, v1 and v2."""
    try:
        rows = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    left = []
    for _, controllers, name in rows:
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        limit, usage = names if controllers else ("memory.max", "memory.current")
        # In a container the files of its own group lie at the top, whatever it is called outside.
        place = top / name.strip("/")
        for folder in {top, *_below(top, place)}:
            most, taken = _number(folder / limit), _number(folder / usage)
            if most is not None and taken is not None:
                left.append(max(most - taken + _reclaimable(folder), 0))
    return min(left, default=None)


def _below(top: Path, place: Path) -> list[Path]:
    return [p for p in (place, *place.parents) if top in p.parents]


def _reclaimable(folder: Path) -> int:
    """Bytes of files that the group holds only to read them faster; the system takes them back."""
    try:
        rows = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max" where there is no limit
        return None


def _too_large(found: str) -> ResourceError:
    return ResourceError(
        found, remedy="take a smaller network or image, with diffusion.channels or --image-size"
    )
