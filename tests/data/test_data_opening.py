"""Whatever the user gives finds its reader, and is told when there is none."""

import os
import shutil
import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthaug.data import opening
from synthaug.data.opening import OpenOptions, open_index
from synthaug.data.source import Arrays, Blobs, Files
from synthaug.errors import DataError, UsageError

FILES = ("a/p0.png", "a/p1.png", "b/p0.png")


@pytest.fixture
def every_kind(write_tree, tmp_path, png):
    """The same three images in every form, by the end of its name."""
    root = write_tree(*FILES)
    contents = [(root / file).read_bytes() for file in FILES]
    rows = "\n".join(f"{file},{file[0]},{file[2:4]}" for file in FILES)
    (tmp_path / "set.csv").write_text(f"path,label,who\n{rows}\n")
    (tmp_path / "set.TSV").write_text(f"path,label,who\n{rows}\n".replace(",", "\t"))
    table = pa.table({"image": contents, "label": ["a", "a", "b"], "who": ["p0", "p1", "p0"]})
    for name in ("set.parquet", "shards/train.parquet", "deep/data/0.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / name)
    np.savez(
        tmp_path / "set.npz",
        images=np.zeros((3, 8, 8), np.uint8),
        labels=np.array(["a", "a", "b"]),
        who=np.array(["p0", "p1", "p0"]),
    )
    for kind, end in (("zip", ".zip"), ("tar", ".tar"), ("gztar", ".tar.gz"), ("xztar", ".tar.xz")):
        shutil.make_archive(str(tmp_path / "set"), kind, root)
        assert (tmp_path / f"set{end}").exists()
    shutil.copy(tmp_path / "set.tar.gz", tmp_path / "set.TGZ")
    shutil.make_archive(str(tmp_path / "set"), "bztar", root)
    return tmp_path


KINDS = {
    "images": (Files, r"p\d"),
    "set.csv": (Files, "who"),
    "set.TSV": (Files, "who"),
    "set.npz": (Arrays, "who"),
    "set.parquet": (Blobs, "who"),
    "shards": (Blobs, "who"),
    "deep": (Blobs, "who"),
    **{
        f"set{end}": (Blobs, r"p\d")
        for end in (".zip", ".tar", ".tar.gz", ".TGZ", ".tar.bz2", ".tar.xz")
    },
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_dataset_is_opened(every_kind, unchanged, name):
    source, groups = KINDS[name]
    options = OpenOptions(
        groups=groups,
        images_root=every_kind / "images" if name.lower().endswith((".csv", ".tsv")) else None,
    )
    with unchanged(every_kind):
        index = open_index(str(every_kind / name), options)
    assert isinstance(index.source, source)
    assert index.class_names == ("a", "b") and index.labels.tolist() == [0, 0, 1]
    assert index.groups == ("p0", "p1", "p0")
    assert index.origin == str(every_kind / name)
    assert open_index(str(every_kind / name), options).fingerprint == index.fingerprint


def test_row_53_options_reach_the_table(every_kind):
    root = every_kind / "images"
    options = OpenOptions(image_column="path", label_column="who", images_root=root)
    assert open_index(str(every_kind / "set.csv"), options).class_names == ("p0", "p1")


def test_row_48_the_flag_reaches_folders_tables_and_parquet(every_kind, write_tree):
    away = write_tree("a/9.png", "b/9.png", root="away")
    images = every_kind / "images"
    (images / "a" / "out.png").symlink_to(away / "a" / "9.png")
    (images / "set.csv").write_text("path,label\na/out.png,a\n")
    (every_kind / "shards" / "test.parquet").symlink_to(every_kind / "set.parquet")
    follow = OpenOptions(follow_links=True)
    assert (
        len(open_index(str(images)).paths) == 3 and len(open_index(str(images), follow).paths) == 4
    )
    for name in ("images/set.csv", "shards"):
        with pytest.raises(DataError, match="give --follow-links"):
            open_index(str(every_kind / name))
        assert open_index(str(every_kind / name), follow).paths


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("images", "image_column"),
        ("images", "label_column"),
        ("images", "images_root"),
        ("shards", "images_root"),
        ("set.parquet", "images_root"),
        ("set.npz", "label_column"),
        ("set.zip", "image_column"),
        ("set.zip", "images_root"),
        ("hf://owner/name", "images_root"),
    ],
)
def test_options_of_no_use_are_refused(every_kind, name, option):
    dataset = name if name.startswith("hf:") else str(every_kind / name)
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} was given for an? "):
        open_index(dataset, OpenOptions(**{option: "x"}))


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*args, **options):
        pytest.fail("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["owner/name", "ylecun/mnist"])
def test_row_54_the_network_is_only_used_when_asked_for(name):
    with pytest.raises(DataError, match=f"'{name}' does not exist.*write hf://{name} if"):
        open_index(name)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["", "nowhere", "a/b/c", "/no/such.zip", "x\0y", "x" * 5000])
def test_what_does_not_exist(name):
    with pytest.raises(DataError, match="does not exist; expected a folder") as caught:
        open_index(name)
    assert "if it is a dataset on the Hugging Face Hub" not in str(caught.value)


def test_a_local_folder_of_the_form_of_a_hub_id_is_read(write_tree, monkeypatch, tmp_path):
    write_tree("name/a/0.png", "name/b/0.png", root="owner")
    monkeypatch.chdir(tmp_path)
    assert len(open_index("owner/name").paths) == 2


def test_a_hub_id_goes_to_the_hub(monkeypatch):
    monkeypatch.setattr(opening, "index_hub", lambda *arguments: arguments)
    options = OpenOptions(image_column="i", label_column="l", groups="g")
    dataset, wanted = open_index("hf://owner/name:small", options)
    assert dataset == "hf://owner/name:small"
    assert (wanted.image, wanted.label, wanted.group) == ("i", "l", "g")


@pytest.mark.parametrize(
    "name", ["images.rar", "images.7z", "photo.png", "data", "set.npy", "a.gz"]
)
def test_files_of_unknown_kinds(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"of unknown kind.*\.csv, \.tsv, \.npz, \.parquet, \.zip"):
        open_index(str(tmp_path / name))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "set.zip")
    with pytest.raises(DataError, match="neither a folder nor a file"):
        open_index(str(tmp_path / "set.zip"))


@pytest.mark.parametrize("end", [".csv", ".npz", ".zip", ".tar.gz", ".parquet"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, end):
    """As permission denied is to a user; it is not to root."""
    file = tmp_path / f"set{end}"
    file.write_bytes(b"x")
    real = open

    def refuse(path, *arguments, **options):
        if str(path) == str(file):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(DataError, match=r"set\..* cannot be read: Permission denied"):
        open_index(str(file))
