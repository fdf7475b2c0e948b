"""What a killed process left is put right by the next verb, and nothing else is touched."""

import os
from pathlib import Path

import pytest

from synthaug.data import swap
from synthaug.errors import RunInUseError
from synthaug.stages.leftovers import tidy
from synthaug.stages.run_dir import RunDir

LEFT = (
    ".plan.json.tmp-4711", ".selector.npz.tmp-4711.npz", "tuning/a/.fold-0.npz.tmp-1.npz",
    "candidates/.1.npz.tmp-22.npz", "base/ckpt-00000004.tmp-33/unet/config.json",
    "specialists/1/ckpt-00000004.tmp-33/denoiser.json", "pictures/.forward.png.tmp-5",
)  # fmt: skip
KEPT = (
    "plan.json", "base/ckpt-00000003/denoiser.json", "candidates/.1.part.npz", "candidates/1.npz",
    "notes.tmp", "a.tmp-b", "balanced/1/.x.png.tmp-3", "folds/0/.plan.json.tmp-4711",
)  # fmt: skip


def write(run: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")


def files_of(run: Path) -> set[str]:
    return {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}


def test_only_what_was_never_finished_is_removed(tmp_path: Path):
    write(tmp_path, LEFT + KEPT)
    tidy(tmp_path)
    assert files_of(tmp_path) == set(KEPT)
    assert not list(tmp_path.rglob("ckpt-*.tmp-*"))


def test_the_owner_of_the_lock_tidies_up_and_nobody_else(tmp_path: Path):
    run = RunDir(tmp_path)
    with run.locked():
        write(tmp_path, LEFT)
        with pytest.raises(RunInUseError), run.locked():
            pass
        assert set(LEFT) < files_of(tmp_path)
    with run.locked():
        assert not set(LEFT) & files_of(tmp_path)


def test_row_95_a_swap_that_was_decided_is_finished_by_the_next_verb(tmp_path: Path):
    write(tmp_path, ("synthetic/old.png", "balanced/old.png", swap.MANIFEST, swap.RECEIPT))
    ready = f"{swap.WRITING}/"
    write(tmp_path, tuple(ready + n for n in ("synthetic/new.png", "balanced/new.png")))
    write(tmp_path, (ready + swap.MANIFEST, ready + swap.RECEIPT))
    os.replace(tmp_path / swap.WRITING, tmp_path / ".synthaug-ready")
    os.remove(tmp_path / swap.RECEIPT)  # it was killed right after the first of the old ones left
    with RunDir(tmp_path).locked():
        found = files_of(tmp_path) - {".lock"}
    assert found == {"synthetic/new.png", "balanced/new.png", swap.MANIFEST, swap.RECEIPT}
