"""Parquet files and datasets of the Hub: columns, labels, splits and every way to fail."""

import logging
import os
import subprocess
import sys
import textwrap
import warnings

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from huggingface_hub.utils import are_progress_bars_disabled

from synthaug.data import packed
from synthaug.data.columns import Wanted
from synthaug.data.decode import decode_images
from synthaug.data.hub import index_hub
from synthaug.data.parquet import index_parquet, parquet_files
from synthaug.errors import DataError, ResourceError, UsageError


@pytest.fixture
def cells(png):
    """N images as `datasets` keeps them."""
    return lambda n, start=0: [
        {"bytes": png(f"{i}"), "path": f"{i}.png"} for i in range(start, start + n)
    ]


@pytest.fixture
def write(tmp_path):
    """Write columns to a parquet file without what `datasets` adds."""

    def to_file(name="set.parquet", **columns):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        return path

    return to_file


def index(file, *, image=None, label=None, group=None):
    return index_parquet(str(file), [file], Wanted(image, label, group))


def fault_of(file, **wanted):
    with pytest.raises(DataError) as caught:
        index(file, **wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_parquet_file_as_datasets_writes_it(tmp_path, cells, png, unchanged, monkeypatch):
    features = Features(image=Image(), label=ClassLabel(names=["dog", "cat", "ant"]))
    dataset = Dataset.from_dict({"image": cells(12), "label": [0, 1] * 6}, features=features)
    dataset.to_parquet(tmp_path / "set.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with unchanged(tmp_path):
        found = index(tmp_path / "set.parquet")
    assert found.paths == tuple(f"rows/{i:02d}.png" for i in range(12))
    assert found.class_names == ("cat", "dog")
    assert found.labels.tolist() == [1, 0] * 6 and found.labels.dtype == "int64"
    assert found.declared_split == found.groups == ("",) * 12
    assert [found.source.read(i) for i in (0, 11)] == [png("0"), png("11")]
    assert found.sizes[3] == len(png("3")) and len(found.container) == 64
    decoded = decode_images(found, size=8, channels=1)
    assert len(decoded.kept) == 12 and decoded.notices == {}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("name", ["image", "IMG", "photo"])
def test_plain_columns_of_bytes(write, png, kind, name):
    images = pa.array([png("0"), png("1")], kind)
    found = index(write(**{name: images, "label": ["b", "a"], "id": [7, 8]}))
    assert found.class_names == ("a", "b") and found.labels.tolist() == [1, 0]
    assert found.source.read(1) == png("1")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array([1, 0, 11], pa.int8()), ("00", "01", "11")),
        (pa.array([1, 0, 2], pa.uint64()), ("0", "1", "2")),
        (pa.array([True, False, True]), ("0", "1")),
        (pa.array(["x", "y", "x"], pa.large_string()), ("x", "y")),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ("x", "y")),
    ],
)
def test_labels_of_every_kind(write, cells, labels, names):
    assert index(write(image=cells(3), label=labels)).class_names == names


@pytest.mark.parametrize("name", ["label", "labels", "class", "Target", "fine_label"])
def test_names_of_label_columns(write, cells, name):
    assert index(write(image=cells(2), **{name: ["a", "b"]})).class_names == ("a", "b")


def test_a_class_label_of_any_name_is_found(tmp_path, cells):
    features = Features(
        image=Image(), kind=ClassLabel(names=["x", "y"]), note=Value("string"), n=Value("int64")
    )
    columns = {"image": cells(2), "kind": [1, 0], "note": ["p", "q"], "n": [5, 6]}
    Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "set.parquet")
    assert index(tmp_path / "set.parquet").class_names == ("x", "y")


def test_the_fine_labels_of_two_are_read(write, cells):
    file = write(img=cells(2), coarse_label=["c", "d"], fine_label=["a", "b"])
    assert index(file).class_names == ("a", "b")
    assert index(file, label="coarse_label").class_names == ("c", "d")


def test_columns_may_be_named(write, cells):
    file = write(left=cells(2), right=cells(2, 2), sex=["f", "m"], site=[3, 3])
    found = index(file, image="right", label="sex", group="site")
    assert found.class_names == ("f", "m") and found.groups == ("3", "3")
    assert found.source.read(0) == cells(1, 2)[0]["bytes"]


@pytest.mark.parametrize(
    ("columns", "wanted", "said"),
    [
        ({"x": "images", "y": "images", "label": "text"}, {}, "several columns of encoded images"),
        (
            {"file": "text", "label": "text"},
            {},
            "no column of encoded images; its columns are file",
        ),
        ({"image": "images", "kind": "text"}, {}, "no column called label or labels or class"),
        ({"image": "images", "label": "floats"}, {}, "labels of type double in 'label'"),
        ({"image": "images", "label": "lists"}, {}, "several for each image"),
        ({"image": "images", "label": "images"}, {}, "labels of type struct"),
        ({"image": "text", "label": "text"}, {"image": "label"}, "no encoded images in 'label'"),
    ],
)
def test_columns_that_do_not_fit(write, cells, columns, wanted, said):
    kinds = {
        "images": cells(2),
        "text": ["a", "b"],
        "floats": [0.5, 1.0],
        "lists": [[0, 1], [1]],
    }
    file = write(**{name: kinds[kind] for name, kind in columns.items()})
    fault = fault_of(file, **wanted)
    assert said in fault and ("--image-column" in fault or "--label-column" in fault)


@pytest.mark.parametrize("what", ["image", "label", "group"])
def test_columns_that_were_asked_for_must_exist(write, cells, what):
    file = write(image=cells(2), label=["a", "b"])
    with pytest.raises(UsageError, match=r"no column 'none'.*image \(struct.*label \(string\)"):
        index(file, **{what: "none"})


def test_two_columns_of_one_name(tmp_path, png):
    columns = [pa.array([png("0")]), pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.table(columns, ["image", "label", "label"]), tmp_path / "x.parquet")
    assert "has 2 columns 'label'" in fault_of(tmp_path / "x.parquet")


def test_rows_without_image_or_label_are_counted(write, cells, png):
    images = [*cells(2), None, {"bytes": None, "path": None}, *cells(1, 4)]
    found = index(write(image=images, label=["a", "b", "a", "a", None]))
    assert found.paths == ("rows/0.png", "rows/1.png")
    assert found.ignored == {"row without a label": 1, "row without an image": 2}


def test_the_label_minus_one_of_the_hub_is_no_label(tmp_path, cells):
    features = Features(image=Image(), label=ClassLabel(names=["a", "b"]))
    dataset = Dataset.from_dict({"image": cells(3), "label": [0, -1, 1]}, features=features)
    dataset.to_parquet(tmp_path / "set.parquet")
    found = index(tmp_path / "set.parquet")
    assert found.labels.tolist() == [0, 1] and found.ignored == {"row without a label": 1}


def test_negative_numbers_are_no_labels(write, cells):
    assert "has the label -1 in row 1" in fault_of(write(image=cells(2), label=[0, -1]))


def test_images_that_are_only_paths_are_refused(write):
    images = [{"bytes": None, "path": "/etc/hosts"}, {"bytes": b"x", "path": None}]
    fault = fault_of(write(image=images, label=["a", "b"]))
    assert "holds the path '/etc/hosts' instead of an image" in fault


@pytest.mark.parametrize("name", ["../x", "/x", "a\0b", " "])
def test_row_45_class_names_that_lead_elsewhere_are_refused(write, cells, name):
    assert "has the class" in fault_of(write(image=cells(2), label=["b", name]))


def test_a_broken_image_is_left_to_the_decoder(write, png):
    images = [png("0"), b"", b"\x89PNG but no more", png("1")]
    found = index(write(image=images, label=list("abab")))
    assert [bad.path for bad in decode_images(found, size=8, channels=1).bad] == [
        "rows/1",
        "rows/2.png",
    ]


def test_row_51_a_parquet_bomb_is_stopped(write, monkeypatch):
    monkeypatch.setattr(packed, "FREE_BYTES", 1_000_000)
    file = write(image=[b"\x89PNG" + bytes(100_000)] * 500, label=["a", "b"] * 250)
    assert file.stat().st_size * packed.MAX_EXPANSION < 50_000_000
    assert "decompression bomb" in fault_of(file)


def test_shards_of_splits(write, cells, tmp_path):
    for split, shard, start in (
        ("train", 0, 0),
        ("train", 1, 4),
        ("validation", 0, 8),
        ("test", 0, 12),
    ):
        name = f"data/{split}-{shard:05d}-of-00002.parquet"
        write(name, image=cells(4, start), label=["a", "b"] * 2)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / ".gitattributes").write_text("x")
    files = parquet_files(tmp_path)
    assert len(files) == 4
    found = index_parquet(str(tmp_path), files, Wanted())
    assert [found.declared_split.count(s) for s in ("train", "val", "test")] == [8, 4, 4]
    assert found.paths[4] == "train/0.png" and found.paths[-1] == "val/3.png"
    by_path = {path: found.source.read(i) for i, path in enumerate(found.paths)}
    assert by_path["train/5.png"] == cells(1, 5)[0]["bytes"]
    assert by_path["val/0.png"] == cells(1, 8)[0]["bytes"]


def test_the_name_of_a_single_file_declares_nothing(write, cells):
    assert index(write("test.parquet", image=cells(2), label=["a", "b"])).declared_split == ("", "")


def test_shards_may_number_their_classes_differently(tmp_path, cells):
    for name, names in (("train-0", ["a", "b"]), ("train-1", ["b", "a"])):
        features = Features(image=Image(), label=ClassLabel(names=names))
        dataset = Dataset.from_dict({"image": cells(2), "label": [0, 1]}, features=features)
        dataset.to_parquet(tmp_path / f"{name}.parquet")
    found = index_parquet("set", parquet_files(tmp_path), Wanted())
    assert [found.class_names[k] for k in found.labels] == ["a", "b", "b", "a"]


def test_shards_without_splits_and_with_some(write, cells, tmp_path):
    for name in ("0000.parquet", "0001.parquet"):
        write(name, image=cells(2), label=["a", "b"])
    found = index_parquet("set", parquet_files(tmp_path), Wanted())
    assert found.declared_split == ("",) * 4 and found.paths[-1] == "rows/3.png"
    write("test.parquet", image=cells(2), label=["a", "b"])
    with pytest.raises(DataError, match=r"0000\.parquet beside files that name a split"):
        index_parquet("set", parquet_files(tmp_path), Wanted())


def test_shards_with_labels_of_two_kinds(write, cells, tmp_path):
    write("train.parquet", image=cells(2), label=["a", "b"])
    write("test.parquet", image=cells(2), label=[0, 1])
    with pytest.raises(DataError, match="numbers in one part and text in another"):
        index_parquet("set", parquet_files(tmp_path), Wanted())


def test_folders_of_images_are_no_folders_of_parquet(write, write_tree, tmp_path):
    assert parquet_files(write_tree("data/0.png")) == []
    write("images/x.parquet", image=[b"x"], label=["a"])
    assert parquet_files(tmp_path / "images") == []
    write("other/x.parquet", image=[b"x"], label=["a"])
    (tmp_path / "other" / "data").write_text("a file of that name")
    assert len(parquet_files(tmp_path / "other")) == 1
    (tmp_path / "other" / "0.JPG").write_bytes(b"x")
    assert parquet_files(tmp_path / "other") == []


def test_row_48_parquet_files_that_are_links_need_a_flag(write, cells, tmp_path):
    write("blobs/1", image=cells(2), label=["a", "b"])
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "train.parquet").symlink_to(tmp_path / "blobs" / "1")
    with pytest.raises(DataError, match="leads out of the folder; give --follow-links"):
        parquet_files(tmp_path / "snapshot")
    assert len(parquet_files(tmp_path / "snapshot", follow_links=True)) == 1


def test_a_truncated_parquet(write, cells):
    file = write(image=cells(8), label=list("abababab"))
    content = file.read_bytes()
    for cut in range(0, len(content), 101):
        file.write_bytes(content[:cut])
        assert "cannot be read as parquet" in fault_of(file)


def test_an_empty_table(write):
    file = write(image=pa.array([], pa.binary()), label=pa.array([], pa.string()))
    assert "holds no labelled images" in fault_of(file)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Make the Hub answer with a dataset or an exception; a list of what it was asked for."""
    asked = []
    monkeypatch.chdir(tmp_path)

    def answer(outcome):
        def load_dataset(name, configuration):
            asked.append((name, configuration))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return answer


def in_memory(images, labels, names=("dog", "cat"), **columns):
    features = Features(
        image=Image(),
        label=ClassLabel(names=list(names)),
        **{name: Value("string") for name in columns},
    )
    return Dataset.from_dict({"image": images, "label": labels, **columns}, features=features)


def test_a_dataset_of_the_hub(hub, cells, png):
    train = in_memory(cells(12), [0, 1] * 6, patient=[f"p{i // 2}" for i in range(12)])
    test = in_memory(cells(3, 12), [1, -1, 0], patient=["x", "y", "z"])
    extra = in_memory(cells(5), [0] * 5, patient=["x"] * 5)
    asked = hub(DatasetDict(train=train, test=test, extra=extra))
    found = index_hub("hf://owner/name:small", Wanted(group="patient"))
    assert asked == [("owner/name", "small")] and found.origin == "hf://owner/name:small"
    assert found.class_names == ("cat", "dog")
    assert found.paths[:2] == ("test/0.png", "test/2.png")
    assert found.declared_split.count("train") == 12
    assert found.groups[:3] == ("x", "z", "p0")
    assert found.ignored == {"image of the split 'extra'": 5, "row without a label": 1}
    assert found.source.read(2) == png("0") and len(found.container) == 64
    assert len(decode_images(found, size=8, channels=1).kept) == 14


def test_a_dataset_that_was_filtered_is_read_in_its_order(hub, cells, png):
    dataset = in_memory(cells(4), [0, 1, 0, 1]).select([3, 0])
    asked = hub(DatasetDict(whole=dataset))
    found = index_hub("hf://owner/name", Wanted())
    assert asked == [("owner/name", None)]
    assert [found.source.read(i) for i in (0, 1)] == [png("3"), png("0")]
    assert found.declared_split == ("", "")


def test_the_fingerprint_follows_content_and_labels(hub, cells):
    seen = set()
    for images, labels in (
        (cells(2), [0, 1]),
        (cells(2), [1, 0]),
        (cells(2, 1), [0, 1]),
        (cells(2), [0, 1]),
    ):
        hub(DatasetDict(train=in_memory(images, labels)))
        seen.add(index_hub("hf://owner/name", Wanted()).fingerprint)
    assert len(seen) == 3


def test_files_are_only_read_from_the_cache_of_the_library(hub, write_tree, tmp_path, monkeypatch):
    """`datasets` keeps folders of images as paths into its cache."""
    cache = write_tree("train/a/0.png", "train/b/0.png", root="cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(cache), cache_dir=str(cache))
    path = loaded["train"].with_format("arrow")[0]["image"].to_pylist()[0]
    assert path["bytes"] is None
    hub(loaded)
    found = index_hub("hf://owner/name", Wanted())
    assert found.source.read(0) == (cache / "train/a/0.png").read_bytes()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"holds the path .* instead of an image"):
        index_hub("hf://owner/name", Wanted())


def test_splits_of_other_names_alone_are_refused(hub, cells):
    dataset = in_memory(cells(2), [0, 1])
    hub(DatasetDict(spring=dataset, autumn=dataset))
    with pytest.raises(DataError, match="only the splits autumn, spring"):
        index_hub("hf://owner/name", Wanted())


@pytest.mark.parametrize("name", ["hf://", "hf://name", "hf://a/b/c", "hf://a/b:", "hf://a/ b"])
def test_ids_of_another_form(hub, name):
    asked = hub(DatasetDict())
    with pytest.raises(UsageError, match="expected hf://owner/name or"):
        index_hub(name, Wanted())
    assert asked == []


def test_a_local_folder_of_that_name_is_not_taken_for_the_hub(hub, tmp_path):
    asked = hub(DatasetDict())
    (tmp_path / "owner" / "name").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"give \./owner/name"):
        index_hub("hf://owner/name", Wanted())
    assert asked == []


def chained(outer, inner):
    outer.__cause__ = inner
    return outer


GENERATION = datasets.exceptions.DatasetGenerationError


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (
            datasets.exceptions.DatasetNotFoundError("Dataset 'x' doesn't exist"),
            DataError,
            "does not exist on the Hub, or is private; check the name, or run `hf auth login`",
        ),
        (
            datasets.exceptions.DatasetNotFoundError("Dataset 'x' is a gated dataset\non the Hub"),
            DataError,
            "is gated; ask for access at https://huggingface.co/datasets/owner/name",
        ),
        (ConnectionError("Couldn't reach"), ResourceError, "the Hub cannot be reached"),
        (chained(GENERATION("An error"), TimeoutError()), ResourceError, "cannot be reached"),
        (chained(GENERATION("An error"), OSError(28, "full")), ResourceError, "cache is full"),
        (chained(GENERATION("An error"), MemoryError()), ResourceError, "fit into memory"),
        (chained(GENERATION("An error"), KeyError("col")), DataError, "cannot be loaded: 'col'"),
        (RuntimeError("Dataset scripts\nare gone"), DataError, "loaded: Dataset scripts are gone"),
    ],
)
def test_row_54_what_the_hub_answers_is_told_in_one_line(hub, raised, kind, said):
    hub(raised)
    with pytest.raises(kind) as caught:
        index_hub("hf://owner/name", Wanted())
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_several_configurations_are_named(hub, tmp_path, cells, monkeypatch):
    """The library itself is asked, about a local folder with two configurations."""
    for name in ("small", "large"):
        table = pa.table({"image": cells(2), "label": ["a", "b"]})
        (tmp_path / "repo").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "repo" / f"{name}.parquet")
    configs = "".join(
        f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in ("small", "large")
    )
    (tmp_path / "repo" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    load = datasets.load_dataset
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hub(DatasetDict())
    monkeypatch.setattr(
        datasets, "load_dataset", lambda _, name: load(str(tmp_path / "repo"), name)
    )
    for dataset in ("hf://owner/name", "hf://owner/name:medium"):
        with pytest.raises(DataError, match=r"hf://owner/name:configuration .*'small', 'large'"):
            index_hub(dataset, Wanted())
    assert len(index_hub("hf://owner/name:large", Wanted()).paths) == 2


SESSION = """
    import socket, sys, time
    from synthaug.data.opening import open_index
    from synthaug.errors import ResourceError
    slow = {{"torch", "datasets", "pyarrow", "pandas", "sklearn", "scipy.stats"}}
    print("imported at first:", sorted(slow & set(sys.modules)))
    print("read:", open_index({file!r}).class_names)

    def blocked(*args, **options):
        raise OSError("the network is blocked")

    socket.getaddrinfo = socket.create_connection = blocked
    time.sleep = lambda seconds: None  # between the attempts of the library
    try:
        open_index("hf://owner/name")
    except ResourceError as error:
        print(error)
    print("torch:", "torch" in sys.modules)
"""


def test_row_54_without_network_there_is_one_line_and_no_noise(tmp_path, cells):
    """In a process of its own, which also shows what is imported when."""
    file = tmp_path / "set.parquet"
    in_memory(cells(2), [0, 1]).to_parquet(file)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(SESSION).format(file=str(file))],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")},
    )
    assert done.stderr == ""
    first, read, error, torch = done.stdout.splitlines()
    assert (first, torch) == ("imported at first: []", "torch: False")
    assert read == "read: ('cat', 'dog')"
    assert error.startswith("hf://owner/name is not in the cache and the Hub cannot be reached")


def test_row_54_when_the_user_chose_to_be_offline(monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(ResourceError, match="check the network and HF_HUB_OFFLINE"):
        index_hub("hf://owner/name", Wanted())
    assert capfd.readouterr() == ("", "")


def test_what_the_user_had_set_for_the_library_is_put_back(hub, cells, monkeypatch):
    def state():
        level = logging.getLogger("datasets").level
        return level, datasets.are_progress_bars_disabled(), are_progress_bars_disabled()

    before, during = state(), []

    def load_dataset(name, configuration):
        during.append(state())
        warnings.warn("noise", stacklevel=1)
        return DatasetDict(train=in_memory(cells(2), [0, 1]))

    hub(None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    index_hub("hf://owner/name", Wanted())
    assert during == [(logging.CRITICAL + 1, True, True)] and state() == before


def test_images_are_read_as_they_are_stored(hub, png):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    hub(DatasetDict(train=in_memory([pixels, pixels // 2], [0, 1])))
    decoded = decode_images(index_hub("hf://owner/name", Wanted()), size=8, channels=3)
    np.testing.assert_array_equal(decoded.pixels[0], pixels.transpose(2, 0, 1))
