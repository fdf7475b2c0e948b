"""The run folder: whole files or the old ones, one owner, never the user's data."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from synthaug.errors import DataError, ResourceError, RunInUseError, UsageError
from synthaug.recipe import Recipe
from synthaug.stages.run_dir import RunDir, new_run, open_run, read_recipe

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom synthaug.stages.run_dir import RunDir\n"
    "with RunDir(Path(sys.argv[1])).locked():\n    print('held', flush=True)\n    time.sleep(60)\n"
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_a_text_is_written_and_replaced_whole(run: RunDir):
    run.write_text("deep/er/a.txt", "one")
    assert run.write_text("deep/er/a.txt", "grün").read_text(encoding="utf-8") == "grün"
    assert names(run.path) == ["deep", "deep/er", "deep/er/a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(
    run: RunDir, step: str, monkeypatch: pytest.MonkeyPatch
):
    run.write_json("a.json", {"n": 1})
    run.write_arrays("a.npz", x=np.arange(3))

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        run.write_json("a.json", {"n": 2})
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        run.write_arrays("a.npz", x=np.arange(4))
    assert run.read_json("a.json") == {"n": 1}
    assert len(run.read_arrays("a.npz")["x"]) == 3
    assert names(run.path) == ["a.json", "a.npz"]


def test_what_json_cannot_hold_leaves_the_old_file(run: RunDir):
    run.write_json("a.json", [1])
    with pytest.raises(ValueError, match="JSON"):
        run.write_json("a.json", [float("nan")])
    assert run.read_json("a.json") == [1]


@pytest.mark.parametrize("content", [None, "", "{", "\udcff"])
def test_json_that_is_missing_or_broken_is_named(run: RunDir, content: str | None):
    if content is not None:
        (run / "a.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        run.read_json("a.json")
    assert str(run / "a.json") in str(caught.value)
    assert caught.value.remedy


def test_arrays_come_back_as_they_went(run: RunDir):
    arrays = {"x": np.arange(6).reshape(2, 3), "key": np.array("k"), "none": np.array([], "<U1")}
    run.write_arrays("sub/a.npz", **arrays)
    back = run.read_arrays("sub/a.npz")
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_missing_arrays_are_none(run: RunDir):
    assert run.read_arrays("absent.npz") is None


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_arrays_are_none(run: RunDir, keep: float):
    path = run.write_arrays("a.npz", x=np.arange(1000), key=np.array("k"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert run.read_arrays("a.npz") is None


def test_arrays_with_a_flipped_bit_are_none(run: RunDir):
    path = run.write_arrays("a.npz", x=np.zeros(4000, np.uint8))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    assert run.read_arrays("a.npz") is None


class _Planted:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_an_array_is_never_run(run: RunDir):
    np.savez(run / "a.npz", x=np.array([_Planted(run / "ran")], dtype=object))
    assert run.read_arrays("a.npz") is None
    assert not run.has("ran")


def test_objects_are_not_written_as_a_pickle(run: RunDir):
    with pytest.raises(ValueError, match="pickle"):
        run.write_arrays("a.npz", x=np.array([{}], dtype=object))
    assert names(run.path) == []


def test_the_lock_of_another_process_is_respected_and_its_death_frees_it(run: RunDir):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunInUseError) as caught, run.locked():
            pytest.fail("locked twice")
        assert caught.value.exit_code == 6
        assert str(run.path) in str(caught.value)
        assert caught.value.remedy
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with run.locked():
        pass


def test_the_lock_is_free_after_an_error(run: RunDir):
    with pytest.raises(KeyError), run.locked():
        raise KeyError
    with run.locked():
        assert multiprocessing.active_children() == []


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path):
    absent = tmp_path / "absent" / "run"
    (tmp_path / "absent").write_text("a file")
    with pytest.raises(ResourceError) as caught, RunDir(absent).locked():
        pytest.fail("locked")
    assert str(absent) in str(caught.value)


def test_a_new_run_is_named_after_time_and_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    now = datetime(2026, 3, 4, 5, 6, 7)
    first = new_run(None, tmp_path / "my images!", now=now)
    assert first.path == Path("runs/20260304-050607-my-images")
    assert first.path.is_dir()
    again = new_run(None, tmp_path / "my images!", now=now)
    assert again.path != first.path
    assert re.fullmatch(r"20260304-050607-my-images-\d+", again.path.name)


@pytest.mark.parametrize("inside", [".", "run", "train/deep"])
def test_a_run_inside_the_dataset_is_refused(tmp_path: Path, inside: str):
    dataset = tmp_path / "images"
    dataset.mkdir()
    with pytest.raises(UsageError, match="inside the dataset"):
        new_run(dataset / inside, dataset)
    assert names(dataset) == []


def test_a_run_inside_the_dataset_is_seen_through_a_link(tmp_path: Path):
    dataset, link = tmp_path / "images", tmp_path / "link"
    dataset.mkdir()
    link.symlink_to(dataset)
    with pytest.raises(UsageError, match="inside the dataset"):
        new_run(link / "run", dataset)


def test_a_run_beside_the_dataset_may_share_its_beginning(tmp_path: Path):
    (tmp_path / "images").mkdir()
    assert new_run(tmp_path / "images-run", tmp_path / "images").path.is_dir()


def test_a_folder_with_content_is_never_taken_over(tmp_path: Path):
    run, file = tmp_path / "run", tmp_path / "file"
    run.mkdir()
    assert new_run(run, tmp_path / "images").path == run
    (run / "mine.txt").touch()
    file.touch()
    for taken in (run, file):
        with pytest.raises(UsageError, match="not empty") as caught:
            new_run(taken, tmp_path / "images")
        assert str(taken) in str(caught.value)
        assert "--run" in caught.value.remedy


def test_the_newest_run_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(["c", "a", "b"]):
        run = RunDir(Path("runs") / name)
        os.utime(run.write_text("recipe.yaml", "seed: 1"), ns=(0, 10**18 - age * 10**9))
    Path("runs/zz-no-run").mkdir()
    assert open_run(None).path == Path("runs/c")


def test_runs_of_the_same_moment_are_told_apart_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "c", "b"):
        os.utime(RunDir(Path("runs") / name).write_text("recipe.yaml", "seed: 1"), ns=(0, 5))
    assert open_run(None).path == Path("runs/c")


def test_no_run_is_a_usage_error_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for asked in (None, Path("nothing")):
        with pytest.raises(UsageError, match="synthaug fit"):
            open_run(asked)


def test_the_recipe_of_a_run_comes_back(run: RunDir):
    recipe = Recipe(name="mine", seed=3)
    run.write_text("recipe.yaml", recipe.to_yaml())
    assert read_recipe(run) == recipe
