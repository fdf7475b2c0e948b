"""Where a run may live and what becomes of it when disk, memory or ownership give out."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom synthaug.stages.run_dir import RunDir\n"
    "with RunDir(Path(sys.argv[1])).locked():\n    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)
VERBS = ("fit", "generate", "evaluate", "show")


def fit(cli, dataset: Path, *more: object):
    return cli("fit", "--dataset", dataset, "--recipe", "smoke", *more)


def fill(disk: Path, leave: int) -> Path:
    """Take all but `leave` bytes of a disk."""
    file = disk / "filler"
    file.write_bytes(bytes(max(shutil.disk_usage(disk).free - leave, 0)))
    return file


@pytest.fixture
def no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up after the plan was made: whatever it said, it said enough."""
    from synthaug.stages import disk

    monkeypatch.setattr(disk, "free_bytes", lambda place: 10**18)


def tree(run: Path, *names: str) -> dict[str, bytes]:
    files = [p for name in names for p in (run / name).rglob("*") if p.is_file()]
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in files}


def test_row_85_a_disk_that_fills_up_during_a_checkpoint_leaves_the_old_one(disk_of):
    import torch

    from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
    from synthaug.diffusion.schedule import cosine_schedule
    from synthaug.diffusion.unet import NetworkSpec, build_denoiser
    from synthaug.errors import ResourceError

    disk, cpu = disk_of(4), torch.device("cpu")
    denoiser = build_denoiser(
        NetworkSpec((16, 32), 1, 1, (False, False)), image_size=8, channels=1, n_classes=2,
        schedule=cosine_schedule(10), prediction="v", seed=0, device=cpu,
    )  # fmt: skip
    old = save_checkpoint(disk / "base" / "ckpt-00000001", denoiser, {})
    for leave in (0, 10_000, 4 * denoiser.n_parameters):  # in a folder, the weights, a JSON file
        filler = fill(disk, leave)
        with pytest.raises((OSError, ResourceError), match=r"No space left"):
            save_checkpoint(disk / "base" / "ckpt-00000002", denoiser, {})
        assert [p.name for p in (disk / "base").iterdir()] == ["ckpt-00000001"]
        kept = newest_checkpoint(disk / "base")
        assert kept is not None and load_checkpoint(kept, cpu).sha256 == old
        filler.unlink()
    save_checkpoint(disk / "base" / "ckpt-00000002", denoiser, {})


def test_row_85_a_fit_whose_disk_fills_up_says_so(disk_of, digits: Path, cli, no_forecast: None):
    disk = disk_of(8)
    fill(disk, leave=520_000)  # the images and their list fit, the network does not
    refused = fit(cli, digits, "--run", disk / "run", "--set", "diffusion.steps=2")
    assert refused.code == 4, refused.err
    assert str(disk / "run" / "base") in refused.fault and "No space left" in refused.fault
    assert not [p for p in (disk / "run").rglob("*") if "tmp" in p.name]


def test_row_86_a_disk_that_fills_up_during_generate_leaves_the_old_result(
    disk_of, smoke, cli, no_forecast: None
):
    disk = disk_of(24)
    run = Path(shutil.copytree(smoke.path, disk / "run"))
    before = tree(run, "balanced", "synthetic", "synthaug_manifest.jsonl")
    assert len(before) > 500
    filler = fill(disk, leave=700_000)
    refused = cli("generate", "--run", run, "--balance", "60")
    assert refused.code == 4, refused.err
    assert "No space left" in refused.fault
    assert tree(run, "balanced", "synthetic", "synthaug_manifest.jsonl") == before
    assert not [p for p in run.rglob("*") if ".tmp" in p.name or "writing" in p.name]
    drawn = {p: p.stat().st_mtime_ns for p in (run / "candidates").glob("*.npz")}
    filler.unlink()
    made = cli("generate", "--run", run, "--balance", "60", "--json").ok().json
    assert made["counts"]["9"] == 56
    assert {p: p.stat().st_mtime_ns for p in drawn} == drawn, "drawn twice"


def test_row_86_a_disk_without_room_for_results(disk_of, smoke, cli, no_forecast: None):
    disk = disk_of(24)
    run = Path(shutil.copytree(smoke.path, disk / "run"))
    before = {name: (run / name).read_bytes() for name in ("results.json", "report.html")}
    filler = fill(disk, leave=0)
    refused = cli("evaluate", "--run", run)
    assert refused.code == 4 and "No space left" in refused.fault
    assert {name: (run / name).read_bytes() for name in before} == before
    filler.unlink()
    cli("evaluate", "--run", run).ok()


def test_row_87_a_fit_without_room_trains_nothing(disk_of, digits: Path, cli):
    disk = disk_of(1)
    refused = fit(cli, digits, "--run", disk / "run")
    assert refused.code == 4
    assert "fit may take" in refused.fault and "are free" in refused.fault
    assert "disk at most: fit " in refused.out, "the plan is shown first"
    assert list(disk.iterdir()) == []


def test_row_87_room_for_fit_alone_is_told(disk_of, digits: Path, cli):
    disk = disk_of(18)
    planned = fit(cli, digits, "--run", disk / "run", "--dry-run").ok()
    assert "fit, generate and evaluate together may take" in " ".join(planned.err.split())
    assert list(disk.iterdir()) == []


def test_row_99_a_huge_count_is_refused_by_disk(disk_of, smoke, cli, hash_of):
    disk = disk_of(24)
    run = Path(shutil.copytree(smoke.path, disk / "run"))
    before = hash_of(run)
    refused = cli("generate", "--run", run, "--balance", "90000")
    assert refused.code == 4
    assert "generate may take" in refused.fault and "GB" in refused.fault
    assert hash_of(run) == before, "the plan was changed though nothing was made"


def test_row_88_a_read_only_disk_is_told_before_any_work(
    disk_of, make_read_only, smoke, digits: Path, cli, monkeypatch: pytest.MonkeyPatch
):
    from synthaug.stages import fit as stage

    disk = disk_of(24)
    shutil.copytree(smoke.path, disk / "run")
    make_read_only(disk)
    monkeypatch.setattr(stage, "read_dataset", lambda *a, **k: pytest.fail("the images were read"))
    for verb in ("generate", "evaluate"):
        refused = cli(verb, "--run", disk / "run")
        assert refused.code == 4 and str(disk / "run") in refused.fault
    refused = fit(cli, digits, "--run", disk / "new")
    assert refused.code == 4 and str(disk) in refused.fault and "read-only" in refused.fault
    refused = cli("demo", "--out", disk / "demo")
    assert refused.code == 4 and str(disk) in refused.fault
    refused = cli("ablate", "--out", disk / "ablation")
    assert refused.code == 4 and str(disk) in refused.fault
    monkeypatch.chdir(disk)  # where runs/ would be made
    refused = fit(cli, digits)
    assert refused.code == 4 and "cannot write to runs/" in refused.fault


@pytest.mark.parametrize("place", ["images", "images/run", "images/0/deep/run", "."])
def test_row_89_a_run_folder_and_a_dataset_in_one_another(
    cli, in_tmp: Path, write_folder, hash_of, place: str
):
    folder = write_folder({"0": 4, "1": 4})
    before = hash_of(folder)
    refused = fit(cli, folder, "--run", in_tmp / place)
    assert refused.code == 2
    assert str(folder) in refused.fault and str(in_tmp / place) in refused.fault
    assert "inside the" in refused.fault and "--run" in refused.fault
    assert hash_of(folder) == before


def test_row_90_the_second_process_on_a_run_ends_at_once(
    cli, copied_run: Path, digits: Path, hash_of
):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(copied_run)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        before = hash_of(copied_run)
        words = {verb: [verb, "--run", copied_run] for verb in ("generate", "evaluate")}
        words["show"] = ["show", "forward", "--run", copied_run]
        words["fit"] = ["fit", "--dataset", digits, "--recipe", "smoke", "--run", copied_run]
        for verb in VERBS:
            refused = cli(*words[verb])
            assert refused.code == 6, verb
            assert str(copied_run) in refused.fault and "--run" in refused.fault
        assert hash_of(copied_run) == before
    finally:
        holder.communicate("")
    cli("show", "forward", "--run", copied_run).ok()


def test_row_91_the_lock_of_a_dead_process_is_taken_over(cli, copied_run: Path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(copied_run)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert (copied_run / ".lock").exists()
    cli("show", "forward", "--run", copied_run).ok()


def test_row_93_a_moved_run_goes_on_without_its_dataset(
    cli, smoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another place, another working folder, and the images it was fitted on gone."""
    first = Path(shutil.copytree(smoke.path, tmp_path / "first"))
    drawn = tree(first, "candidates", "predictions")
    (tmp_path / "elsewhere").mkdir()
    moved = first.rename(tmp_path / "elsewhere" / "moved")
    described = (moved / "dataset.json").read_text(encoding="utf-8")
    gone = described.replace(str(smoke.dataset), "/nowhere")
    assert gone != described
    (moved / "dataset.json").write_text(gone, encoding="utf-8")
    monkeypatch.chdir(moved.parent)
    made = cli("generate", "--run", "moved", "--json").ok().json
    assert Path(made["balanced"]) == Path("moved/balanced") and Path(made["manifest"]).is_file()
    results = cli("evaluate", "--run", "moved", "--json").ok().json
    assert results["verdict"] == smoke.evaluate.json["verdict"]
    assert tree(moved, "candidates", "predictions") == drawn, "made again though nothing changed"
    assert not first.exists()


def test_row_58_a_fit_says_and_takes_the_parts_that_fit(
    cli, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from synthaug.diffusion.batches import Batch
    from synthaug.stages import sizing

    asked: list[int] = []
    parts = Batch.parts

    def counted(batch: Batch, size: int):
        asked.append(size)
        return parts(batch, size)

    monkeypatch.setattr(Batch, "parts", counted)
    monkeypatch.setattr(sizing, "choose_micro_batch", lambda *args: 3)
    run = tmp_path / "run"
    told = fit(cli, digits, "--run", run, "--set", "diffusion.steps=2").ok()
    assert "memory: 3 of the 8 images of a step at once" in told.out
    assert set(asked) == {3}
    asked.clear()
    plan = fit(cli, digits, "--dry-run", "--set", "diffusion.micro_batch=5", "--json").ok().json
    assert plan["plan"]["micro_batch"] == 5 and set(asked) == {5}, "chosen by hand, not asked"
