"""The written folders: what a reader gets back, and what is never lost."""

import contextlib
import json
import os

import datasets
import numpy as np
import pytest
from PIL import Image

from synthaug.data import swap, writer
from synthaug.data.decode import decode_images
from synthaug.data.folder import index_folder
from synthaug.data.writer import Provenance, write_balanced, write_jsonl, write_png
from synthaug.errors import DataError, ResourceError

NAMES = [
    "test",
    "with space",
    "gl[0]ob",
    "[/red]",
    "<script>",
    "目 Größe",
    "eval 3",
    "CON",
    "../up",
]
ORIGIN = Provenance(
    "synthetic",
    checkpoint="c0ffee",
    denoiser="base",
    seed=7,
    sampler="ddim",
    steps=50,
    nfe=100,
    cfg_scale=1.5,
)


def made_up(names, channels=3, size=8, real=2):
    """Two real images of every class, synthetic ones for all but the first."""
    rng = np.random.default_rng(0)
    real_labels = np.repeat(np.arange(len(names)), real)
    synthetic_labels = np.repeat(np.arange(1, len(names)), 3)
    rng.shuffle(synthetic_labels)
    draw = lambda n: rng.integers(0, 256, (n, channels, size, size), dtype=np.uint8)  # noqa: E731
    return {
        "class_names": names,
        "real_pixels": draw(len(real_labels)),
        "real_labels": real_labels,
        "real_paths": [f"{k}/{i}.jpg" for i, k in enumerate(real_labels)],
        "synthetic_pixels": draw(len(synthetic_labels)),
        "synthetic_labels": synthetic_labels,
        "provenance": [ORIGIN] * len(synthetic_labels),
    }


def manifest_of(run_dir):
    with open(run_dir / writer.MANIFEST, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def files_of(run_dir):
    return {p.relative_to(run_dir).as_posix() for p in run_dir.rglob("*") if p.is_file()}


@pytest.mark.parametrize("channels", [1, 3])
def test_row_100_read_back_by_imagefolder(tmp_path, channels):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    data = made_up(NAMES, channels)
    balanced = write_balanced(run_dir, **data)
    folders = writer.folder_names(NAMES)
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(balanced), cache_dir=str(tmp_path / "cache")
    )
    assert list(loaded) == ["train"]
    label = loaded["train"].features["label"]
    assert isinstance(label, datasets.ClassLabel) and label.names == sorted(folders.values())
    got = {k: set() for k in range(len(NAMES))}
    of_folder = {folder: k for k, folder in enumerate(folders.values())}
    for row in loaded["train"]:
        pixels = np.asarray(row["image"]).reshape(8, 8, channels).transpose(2, 0, 1)
        got[of_folder[label.int2str(row["label"])]].add(pixels.tobytes())
    for k in range(len(NAMES)):
        real = data["real_pixels"][data["real_labels"] == k]
        synthetic = data["synthetic_pixels"][data["synthetic_labels"] == k]
        assert got[k] == {image.tobytes() for image in (*real, *synthetic)}
        assert len(got[k]) == (2 if k == 0 else 5)


def test_row_100_read_back_by_our_own_index(tmp_path):
    write_balanced(tmp_path, **made_up(NAMES))
    index = index_folder(tmp_path / "balanced")
    assert len(index.class_names) == len(NAMES) and index.ignored == {}
    assert np.bincount(index.labels).sum() == 2 + 5 * (len(NAMES) - 1)


def test_manifest_lists_every_file_once_with_its_origin(tmp_path):
    data = made_up(["ant", "bee"])
    steps = []
    assert write_balanced(tmp_path, **data, advance=steps.append) == tmp_path / "balanced"
    entries = manifest_of(tmp_path)
    by_file = {entry["file"]: entry for entry in entries}
    assert len(by_file) == len(entries) == sum(steps) == 4 + 2 * 3
    assert files_of(tmp_path) == {*by_file, writer.MANIFEST}
    real = by_file["balanced/bee/real-000001.png"]
    content = real.pop("content")
    assert real == {
        "source": "real",
        "file": "balanced/bee/real-000001.png",
        "class_name": "bee",
        "original": "1/3.jpg",
    }
    index = index_folder(tmp_path / "balanced")
    decoded = decode_images(index, size=8, channels=3)
    assert decoded.content_hashes[index.paths.index("bee/real-000001.png")] == content
    synthetic = by_file["synthetic/bee/000002.png"]
    assert synthetic["seed"] == 7 and synthetic["nfe"] == 100 and synthetic["denoiser"] == "base"
    twin = by_file["balanced/bee/synthetic-000002.png"]
    assert {**twin, "file": ""} == {**synthetic, "file": ""}


def test_real_and_synthetic_files_look_alike(tmp_path):
    write_balanced(tmp_path, **made_up(["ant", "bee"], channels=1))
    looks = set()
    for path in (tmp_path / "balanced" / "bee").iterdir():
        with Image.open(path) as image:
            looks.add((image.size, image.mode, image.format, tuple(image.info)))
    assert len(looks) == 1


def test_nothing_synthetic_is_fine(tmp_path):
    data = made_up(["ant", "bee"])
    data["synthetic_pixels"] = data["synthetic_pixels"][:0]
    data["synthetic_labels"], data["provenance"] = data["synthetic_labels"][:0], []
    write_balanced(tmp_path, **data)
    assert len(manifest_of(tmp_path)) == 4 and (tmp_path / "synthetic").is_dir()


def test_an_earlier_result_is_replaced_and_nothing_else(tmp_path):
    (tmp_path / "recipe.yaml").write_text("mine")
    write_balanced(tmp_path, **made_up(["ant", "bee"], real=9))
    (tmp_path / "balanced" / "ant" / ".DS_Store").write_bytes(b"x")
    write_balanced(tmp_path, **made_up(["ant", "cow"]))
    listed = {entry["file"] for entry in manifest_of(tmp_path)}
    assert files_of(tmp_path) == {*listed, writer.MANIFEST, "recipe.yaml"}
    assert not any("bee" in file for file in listed)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "balanced",
        "recipe.yaml",
        "synthaug_manifest.jsonl",
        "synthetic",
    ]


@pytest.mark.parametrize("foreign", ["balanced/ant/mine.png", "synthetic/notes.txt", "link"])
def test_foreign_files_are_never_replaced(tmp_path, foreign):
    write_balanced(tmp_path, **made_up(["ant", "bee"]))
    if foreign == "link":
        (tmp_path / "outside").mkdir()
        (tmp_path / "balanced" / "ant" / "link").symlink_to(tmp_path / "outside")
    else:
        (tmp_path / foreign).write_bytes(b"mine")
    before = files_of(tmp_path)
    with pytest.raises(DataError, match="was not written by this run"):
        write_balanced(tmp_path, **made_up(["ant", "cow"]))
    assert files_of(tmp_path) == before


def test_folders_without_a_manifest_are_foreign(tmp_path):
    (tmp_path / "synthetic" / "ant").mkdir(parents=True)
    (tmp_path / "synthetic" / "ant" / "000000.png").write_bytes(b"mine")
    with pytest.raises(DataError, match="was not written by this run"):
        write_balanced(tmp_path, **made_up(["ant", "bee"]))


def test_unreadable_manifest_is_refused(tmp_path):
    write_balanced(tmp_path, **made_up(["ant", "bee"]))
    (tmp_path / writer.MANIFEST).write_text('{"file": "x"}\n{"fi')
    with pytest.raises(DataError, match="cannot be read"):
        write_balanced(tmp_path, **made_up(["ant", "bee"]))


def test_row_86_full_disk_keeps_the_earlier_result(tmp_path, monkeypatch):
    write_balanced(tmp_path, **made_up(["ant", "bee"]))
    before = files_of(tmp_path)
    calls = iter(range(100))
    replace = os.replace

    def full(*args):
        if next(calls) == 5:
            raise OSError(28, "No space left on device")
        replace(*args)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResourceError, match="No space left on device"):
        write_balanced(tmp_path, **made_up(["ant", "cow"]))
    assert files_of(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_death_at_any_step_of_the_swap_leaves_one_whole_result(tmp_path, monkeypatch):
    """Stop at every rename of the swap in turn; the next call finds the old or the new result."""

    class Died(BaseException):
        pass

    replace = os.replace
    told = {swap.RECEIPT: b"old", swap.TABLE: b"old"}
    for step in range(12):
        run_dir = tmp_path / str(step)
        run_dir.mkdir()
        write_balanced(run_dir, **made_up(["ant", "bee"]), beside=told)
        old = files_of(run_dir)
        count = iter(range(100))

        def dying(source, target, run_dir=run_dir, count=count, step=step):
            in_swap = run_dir in (source.parent, target.parent)
            if in_swap and next(count) == step:
                raise Died
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying)
            with contextlib.suppress(Died):
                write_balanced(run_dir, **made_up(["ant", "cow"]), beside={swap.RECEIPT: b"new"})
        complete = (run_dir / swap.RECEIPT).exists()
        swap.finish(run_dir)
        left = files_of(run_dir)
        listed = {entry["file"] for entry in manifest_of(run_dir)}
        # The new result has no table, and the old one's does not stay.
        beside = {swap.RECEIPT, swap.TABLE} if step == 0 else {swap.RECEIPT}
        assert left == {*listed, writer.MANIFEST, *beside}
        assert (run_dir / swap.RECEIPT).read_bytes() == (b"old" if step == 0 else b"new")
        assert (left == old) == (step == 0)
        assert complete == (step in (0, 1, 11))
        write_balanced(run_dir, **made_up(["ant", "dog"]))
        assert any("dog" in file for file in files_of(run_dir))
        assert not (run_dir / swap.RECEIPT).exists()


def test_interruption_leaves_no_staging_folder(tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_balanced(tmp_path, **made_up(["ant", "bee"]), advance=stop)
    assert list(tmp_path.iterdir()) == []


def test_row_85_abandoned_staging_folder_is_cleared(tmp_path):
    (tmp_path / swap.WRITING / "synthetic").mkdir(parents=True)
    write_balanced(tmp_path, **made_up(["ant", "bee"]))
    assert not (tmp_path / swap.WRITING).exists()


def test_missing_run_folder_is_one_line(tmp_path):
    with pytest.raises(ResourceError, match="cannot write"):
        write_balanced(tmp_path / "gone", **made_up(["ant", "bee"]))


@pytest.mark.parametrize("channels", [1, 3])
def test_png_is_exact_and_leaves_no_temporary_file(tmp_path, channels):
    image = np.random.default_rng(1).integers(0, 256, (channels, 5, 9), dtype=np.uint8)
    write_png(tmp_path / "x.png", image)
    with Image.open(tmp_path / "x.png") as read:
        assert (np.asarray(read).reshape(5, 9, channels) == image.transpose(1, 2, 0)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_jsonl_is_utf8_and_whole_or_absent(tmp_path):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"name": "目"}, {"name": "\n"}])
    assert path.read_text("utf-8") == '{"name": "目"}\n{"name": "\\n"}\n'
    with pytest.raises(ValueError):
        write_jsonl(path, [{"x": float("nan")}])
    assert path.read_text("utf-8").startswith('{"name"')
