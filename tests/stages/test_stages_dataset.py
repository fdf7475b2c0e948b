"""A folder read once, kept in the run, and the same when read back."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from synthaug.errors import DataError
from synthaug.recipe import DataSection
from synthaug.stages.dataset import load_dataset, read_dataset, read_extra, save_dataset
from synthaug.stages.progress import Silent
from synthaug.stages.run_dir import RunDir


def read(root: Path, **section: object):
    return read_dataset(root, DataSection(**section), largest=32, seed=0, progress=Silent())


def test_a_saved_dataset_comes_back(write_images, tmp_path: Path):
    dataset = read(write_images(cat=9, dog=6))
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    save_dataset(run, dataset)
    back = load_dataset(run)
    for field in fields(dataset):
        if field.name not in ("splits", "pixels", "labels", "together"):
            assert getattr(back, field.name) == getattr(dataset, field.name), field.name
    np.testing.assert_array_equal(back.pixels, dataset.pixels)
    np.testing.assert_array_equal(back.labels, dataset.labels)
    np.testing.assert_array_equal(back.together, dataset.together)
    for side in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(back.splits, side), getattr(dataset.splits, side))
    assert back.pixels.dtype == np.uint8 and back.labels.dtype == np.int64
    np.testing.assert_array_equal(back.test[0], dataset.test[0])


def test_later_verbs_need_no_original(write_images, tmp_path: Path):
    import shutil

    root = write_images(cat=9, dog=6)
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    save_dataset(run, read(root))
    shutil.rmtree(root)
    assert len(load_dataset(run).pixels) == 15


@pytest.mark.parametrize("name", ["dataset.json", "splits.json", "pixels.npy"])
@pytest.mark.parametrize("damage", ["absent", "truncated"])
def test_a_damaged_run_is_named(write_images, tmp_path: Path, name: str, damage: str):
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    save_dataset(run, read(write_images(cat=9, dog=6)))
    content = (run / name).read_bytes()
    (run / name).unlink()
    if damage == "truncated":
        (run / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError) as caught:
        load_dataset(run)
    assert str(run / name) in str(caught.value)
    assert caught.value.remedy


def test_declared_splits_are_kept(write_images):
    dataset = read(write_images(train__a=4, train__b=3, val__a=2, test__a=2, test__b=5))
    assert dataset.counts(dataset.splits.train).tolist() == [4, 3]
    assert dataset.counts(dataset.splits.val).tolist() == [2, 0]
    assert dataset.counts(dataset.splits.test).tolist() == [2, 5]
    assert {dataset.paths[i].split("/")[0] for i in dataset.splits.test} == {"test"}


def test_a_test_split_is_cut_where_there_is_none(write_images):
    dataset = read(write_images(a=20, b=10), test_fraction=0.3)
    assert dataset.counts(dataset.splits.test).tolist() == [6, 3]
    sides = [set(getattr(dataset.splits, s).tolist()) for s in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 30


def test_size_and_channels_of_the_recipe_win(write_images):
    dataset = read(write_images(a=5, b=5), image_size=16, channels=3)
    assert dataset.pixels.shape == (10, 3, 16, 16)
    assert (dataset.image_size, dataset.channels, dataset.n_classes) == (16, 3, 2)


def test_broken_images_are_counted_named_and_all_of_them_recorded(write_images, tmp_path: Path):
    root = write_images(a=9, b=5)
    broken = [root / "a" / f"broken-{i}.png" for i in range(7)]
    for path in broken:
        path.write_bytes(b"no image")
    dataset = read(root)
    (notice,) = (n for n in dataset.notices if "broken" in n)
    assert notice.startswith("7 broken images skipped: a/broken-0.png (")
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    save_dataset(run, dataset)
    written = json.dumps(run.read_json("dataset.json"))
    assert [p.name for p in broken if p.name not in written] == []


def test_a_folder_of_only_broken_images_is_named(write_images):
    root = write_images(a=0, b=0)
    for name in "ab":
        (root / name / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the 2 image"):
        read(root)


def test_extra_images_may_not_be_test_images(write_images):
    import shutil

    dataset = read(write_images(train__a=4, train__b=3, test__a=2, test__b=2))
    extra = write_images("extra", b=3)
    images, labels = read_extra(extra, dataset, DataSection(), Silent())
    assert images.shape == (3, 1, 8, 8) and labels.tolist() == [1, 1, 1]
    shutil.copy(Path(dataset.root) / "test/b/000.png", extra / "b/copy.png")
    with pytest.raises(DataError) as caught:
        read_extra(extra, dataset, DataSection(), Silent())
    assert "b/copy.png" in str(caught.value) and str(extra) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("labels", 99, "1 labels are no class, the first is 99 of cat/"),
        ("labels", -1, "the first is -1 of"),
        ("paths", None, "15 images and 14 paths"),
    ],
)
def test_row_63_a_label_edited_into_the_run_is_refused(
    write_images, tmp_path: Path, key: str, value: int | None, words: str
):
    run = RunDir(tmp_path / "run")
    save_dataset(run, read(write_images(cat=9, dog=6)))
    described = run.read_json("dataset.json")
    described[key] = described[key][1:] if value is None else [value, *described[key][1:]]
    run.write_json("dataset.json", described)
    with pytest.raises(DataError, match=r"dataset\.json") as caught:
        load_dataset(run)
    assert words in caught.value.found and "synthaug fit" in caught.value.remedy
