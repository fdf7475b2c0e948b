"""Folder names: the class name where possible, always safe, never two alike."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.data.names import folder_names


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "with space",
        "gl[0]ob",
        "目",
        "latest",
        "contest",
        "devil",
        "a=b,c",
        "evaluate",
        "v.2",
    ],
)
def test_identity_wherever_possible(name):
    assert folder_names([name]) == {name: name}


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("test", "test~"),
        ("train", "train~"),
        ("crash test 2", "crash test~ 2"),
        ("val_1", "val~_1"),
        ("test-eval", "test~-eval~"),
        ("2dev", "2dev~"),
        ("training.validation", "training~.validation~"),
    ],
)
def test_row_26_split_words_get_a_tilde(name, folder):
    assert folder_names([name]) == {name: folder}


@pytest.mark.parametrize(
    "name", ["../x", "/etc", "a/b", "a\\b", "..", ".", "", ".hidden", "__pycache__", "\0", "\ud800"]
)
def test_row_45_names_that_lead_elsewhere(name):
    folder = folder_names([name])[name]
    assert re.fullmatch(r"[^/\\\0.][^/\\\0]*~[0-9a-f]{8}", folder)
    assert not folder.startswith("__")


@pytest.mark.parametrize(
    "name", ["CON", "nul.txt", "com1", "LPT9 .x", "dot.", "space ", "<script>", "a:b", "x" * 256]
)
def test_row_46_names_other_systems_refuse(name):
    folder = folder_names([name])[name]
    assert folder != name and len(folder.encode()) <= 255
    assert not re.match(r"(con|nul|com1|lpt9) *(\.|$)", folder, re.IGNORECASE)


def test_long_names_stay_apart_and_whole():
    names = ["é" * 200 + end for end in "ab"]
    folders = folder_names(names)
    assert len(set(folders.values())) == 2
    assert all(len(folder.encode()) <= 255 for folder in folders.values())


def test_rewritten_names_give_way_to_real_ones():
    assert folder_names(["test", "test~"])["test~"] == "test~"
    assert folder_names(["test", "test~"])["test"] not in {"test", "test~"}
    assert list(folder_names(["test", "test~"])) == ["test", "test~"]


@settings(deadline=None)
@given(st.lists(st.text(max_size=60) | st.sampled_from(["Cat", "cat", "test", "eval", "ß", "ss"])))
def test_always_unique_and_safe(names):
    folders = folder_names(names)
    assert list(folders) == list(dict.fromkeys(names))
    keys = {unicodedata.normalize("NFC", folder).casefold() for folder in folders.values()}
    assert len(keys) == len(folders)
    for folder in folders.values():
        assert folder and 0 < len(folder.encode()) <= 255
        assert not folder.startswith((".", "__")) and not folder.endswith((".", " "))
        assert not set(folder) & set('<>:"/\\|?*\0\n')
        words = re.split(r"[-._ 0-9]", folder)
        assert not {"train", "test", "val", "valid", "eval", "dev"} & set(words)


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), unique=True))
def test_the_name_of_a_class_depends_on_no_other_unless_they_collide(names):
    together = folder_names(names)
    alone = {name: folder_names([name])[name] for name in names}
    if len({unicodedata.normalize("NFC", f).casefold() for f in alone.values()}) == len(names):
        assert together == alone
