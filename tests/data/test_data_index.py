"""The folder scan: layouts, labels, what is passed over, and what is refused."""

import os
import unicodedata

import pytest

from synthaug.data.folder import index_folder, load_extra_folder
from synthaug.errors import DataError, UsageError


def labels_by_path(index):
    return {p: index.class_names[k] for p, k in zip(index.paths, index.labels, strict=True)}


def test_plain_layout_is_sorted_and_labelled(write_tree, unchanged):
    root = write_tree("dog/b.png", "cat/2.png", "cat/10.png", "dog/a.png")
    with unchanged(root):
        index = index_folder(root)
    assert index.class_names == ("cat", "dog")
    assert index.paths == ("cat/10.png", "cat/2.png", "dog/a.png", "dog/b.png")
    assert index.labels.tolist() == [0, 0, 1, 1] and index.labels.dtype == "int64"
    assert index.declared_split == ("",) * 4
    assert index.ignored == {}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Validation"])
def test_split_layout_with_val_aliases(write_tree, val):
    root = write_tree(
        *(f"{s}/{c}/{i}.png" for s in ("train", "test", val) for c in "ab" for i in (0, 1))
    )
    index = index_folder(root)
    assert index.class_names == ("a", "b")
    assert sorted(set(index.declared_split)) == ["test", "train", "val"]
    assert index.declared_split.count("train") == 4


def test_training_and_testing_are_splits_too(write_tree):
    root = write_tree("Training/a/0.png", "Training/b/0.png", "Testing/a/1.png")
    assert index_folder(root).declared_split == ("test", "train", "train")


def test_train_alone_is_a_split(write_tree):
    index = index_folder(write_tree("train/a/0.png", "train/b/0.png"))
    assert index.class_names == ("a", "b") and set(index.declared_split) == {"train"}


def test_unlabelled_test_images_are_passed_over_and_counted(write_tree):
    index = index_folder(write_tree("train/a/0.png", "train/b/0.png", "test/0.png"))
    assert set(index.declared_split) == {"train"}
    assert index.ignored == {"image outside any class folder": 1}


@pytest.mark.parametrize("name", ["test", "val", "train", "validation"])
def test_row_26_a_class_may_have_the_name_of_a_split(write_tree, name):
    index = index_folder(write_tree(f"{name}/0.png", "cat/0.png", "dog/0.png"))
    assert index.class_names == tuple(sorted([name, "cat", "dog"]))
    assert set(index.declared_split) == {""}


def test_row_26_classes_called_train_and_test(write_tree):
    index = index_folder(write_tree("train/0.png", "test/0.png"))
    assert index.class_names == ("test", "train")


@pytest.mark.parametrize(
    "files",
    [
        ("train/a/0.png", "train/b/0.png", "extra/0.png"),
        ("test/cat/0.png", "cat/1.png", "dog/0.png"),
        ("val/a/0.png", "test/a/0.png"),
        ("train/a/0.png", "Training/a/0.png"),
    ],
    ids=["train beside a class", "test repeats a class", "no train", "two trains"],
)
def test_row_26_ambiguity_is_refused_with_a_remedy(write_tree, files):
    with pytest.raises(DataError) as caught:
        index_folder(write_tree(*files))
    assert caught.value.remedy and "\n" not in str(caught.value)


def test_row_27_file_names_with_split_words_are_kept(write_tree):
    index = index_folder(
        write_tree("a/test.png", "a/x_train.png", "a/plain.png", "b/val-1.png", "b/2.png")
    )
    assert len(index.paths) == 5


def test_row_28_unequal_depth_keeps_the_top_folder_as_label(write_tree):
    index = index_folder(write_tree("a/0.png", "a/deep/er/1.png", "b/2020/0.png"))
    assert labels_by_path(index) == {"a/0.png": "a", "a/deep/er/1.png": "a", "b/2020/0.png": "b"}


def test_row_29_a_single_class_may_be_indexed(write_tree):
    assert index_folder(write_tree("only/0.png")).class_names == ("only",)


def test_a_wrapping_folder_is_pointed_out(write_tree):
    with pytest.raises(DataError, match=r"give .*unpacked if the class folders lie in there"):
        index_folder(write_tree("unpacked/a/0.png", "unpacked/b/0.png"))


def test_row_31_class_without_images_is_counted(write_tree):
    root = write_tree("a/0.png", "b/0.png")
    (root / "empty").mkdir()
    index = index_folder(root)
    assert index.class_names == ("a", "b")
    assert index.ignored == {"class folder without images": 1}


@pytest.mark.parametrize("split", ["test", "val"])
def test_row_32_class_missing_from_train(write_tree, split):
    root = write_tree("train/a/0.png", "train/b/0.png", f"{split}/c/0.png")
    with pytest.raises(DataError, match=f"class 'c' has images in the {split} split"):
        index_folder(root)


@pytest.mark.parametrize("name", ["Größe", "目 eye", "with space", "gl[0]ob", "<script>", "a=b,c"])
def test_row_40_42_43_44_odd_names_work(write_tree, name):
    index = index_folder(write_tree(f"{name}/0.png", "other/é ü.png"))
    assert name in index.class_names


def test_row_42_glob_characters_in_the_root(write_tree):
    assert len(index_folder(write_tree("a/0.png", "b/0.png", root="gl[0]ob *")).paths) == 2


@pytest.mark.parametrize(
    "twins", [("Cat", "cat"), ("\u00e9t\u00e9", unicodedata.normalize("NFD", "\u00e9t\u00e9"))]
)
def test_row_41_twins_are_refused(write_tree, twins):
    root = write_tree(*(f"{name}/0.png" for name in twins))
    if len(list(root.iterdir())) < 2:
        pytest.skip("this filesystem cannot hold both names")
    with pytest.raises(DataError, match="differ only in case or in Unicode form"):
        index_folder(root)


def test_row_22_upper_case_extensions_and_every_format(write_tree):
    extensions = "PNG JPG jpeg Bmp gif tif TIFF webp pgm ppm".split()
    root = write_tree(*(f"a/{i}.{e}" for i, e in enumerate(extensions)), "b/0.png")
    assert len(index_folder(root).paths) == len(extensions) + 1


def test_row_23_47_what_is_passed_over_is_counted(write_tree):
    root = write_tree(
        "a/0.png", "b/0.png", "a/.hidden.png", ".git/x.png", "__MACOSX/a/0.png", "b/__x__/0.png"
    )
    (root / "a" / "Thumbs.db").write_bytes(b"x")
    (root / "notes.txt").write_text("x")
    (root / "b" / "scan.DCM").write_bytes(b"x")
    index = index_folder(root)
    assert index.paths == ("a/0.png", "b/0.png")
    assert index.ignored == {
        "hidden": 2,
        "system folder": 2,
        "not an image": 2,
        "unsupported format .dcm": 1,
    }


def test_loose_images_beside_class_folders_are_counted(write_tree):
    index = index_folder(write_tree("a/0.png", "b/0.png", "loose.png"))
    assert index.ignored == {"image outside any class folder": 1}


def test_loose_images_alone_are_refused(write_tree):
    with pytest.raises(DataError, match="holds 2 images but no class folders"):
        index_folder(write_tree("0.png", "1.png"))


def test_missing_file_and_empty_roots(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        index_folder(tmp_path / "nowhere")
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"data\.zip is not a folder.*unpack it"):
        index_folder(tmp_path / "data.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it is empty"):
        index_folder(tmp_path / "empty")
    (tmp_path / "empty" / "a").mkdir()
    (tmp_path / "empty" / "a" / "x.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 x unsupported format \.heic"):
        index_folder(tmp_path / "empty")


def test_row_48_links_inside_are_followed_and_broken_ones_counted(write_tree):
    root = write_tree("a/0.png", "b/0.png", "b/more/1.png")
    (root / "a" / "file.png").symlink_to(root / "b" / "0.png")
    (root / "a" / "relative.png").symlink_to("../b/0.png")
    (root / "a" / "gone.png").symlink_to(root / "gone.png")
    (root / "b" / "again").symlink_to(root / "b" / "more")
    index = index_folder(root)
    assert index.paths == (
        "a/0.png",
        "a/file.png",
        "a/relative.png",
        "b/0.png",
        "b/more/1.png",
    )
    assert index.ignored == {"broken link": 1, "link to a folder already read": 1}


@pytest.fixture
def linked(write_tree):
    """A folder with links to a file, a folder and a class that lie elsewhere."""
    root = write_tree("a/0.png", "b/0.png")
    elsewhere = write_tree("more/1.png", "2.png", "class/1.png", root="images elsewhere")
    (root / "a" / "file.png").symlink_to(elsewhere / "2.png")
    (root / "a" / "folder").symlink_to(elsewhere / "more")
    (root / "c").symlink_to(elsewhere / "class")
    return root


def test_row_48_links_that_lead_out_need_a_flag(linked):
    index = index_folder(linked)
    assert index.paths == ("a/0.png", "b/0.png")
    assert index.ignored == {"link that leads out of the folder": 3}
    index = index_folder(linked, follow_links=True)
    assert index.paths == ("a/0.png", "a/file.png", "a/folder/1.png", "b/0.png", "c/1.png")
    assert index.ignored == {}


def test_row_48_the_root_itself_may_be_a_link(linked, tmp_path):
    (tmp_path / "link").symlink_to(linked)
    assert index_folder(tmp_path / "link").paths == ("a/0.png", "b/0.png")


@pytest.mark.parametrize("loose", [(), ("loose.png",)])
def test_row_48_the_flag_is_named_when_links_are_all_there_is(write_tree, loose):
    elsewhere = write_tree("a/0.png", "b/0.png", root="elsewhere")
    root = write_tree(*loose)
    for name in "ab":
        (root / name).symlink_to(elsewhere / name)
    with pytest.raises(DataError, match="give --follow-links"):
        index_folder(root)
    with pytest.raises(DataError, match="give --follow-links"):
        load_extra_folder(root, ["a", "b"])
    assert len(index_folder(root, follow_links=True).paths) == 2
    assert len(load_extra_folder(root, ["a", "b"], follow_links=True).paths) == 2


@pytest.mark.parametrize("follow_links", [False, True])
def test_row_49_link_loops_end(write_tree, follow_links):
    root = write_tree("a/0.png", "b/0.png", "b/in/0.png")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "sibling").symlink_to(root / "b")
    (root / "b" / "in" / "back").symlink_to(root / "b")
    (root / "loop").symlink_to(root.parent)
    (root / "b" / "me.png").symlink_to(root / "b" / "me.png")
    index = index_folder(root, follow_links=follow_links)
    assert index.paths == ("a/0.png", "b/0.png", "b/in/0.png")
    loops = index.ignored["link to a folder already read"]
    out = index.ignored.get("link that leads out of the folder", 0)
    assert (loops, out) == ((5, 0) if follow_links else (4, 1))
    assert index.ignored["broken link"] == 1


def test_row_49_a_loop_outside_ends_too(write_tree):
    root = write_tree("a/0.png", "b/0.png")
    outside = write_tree("1.png", root="outside")
    (outside / "again").symlink_to(outside)
    (root / "a" / "out").symlink_to(outside)
    index = index_folder(root, follow_links=True)
    assert index.paths == ("a/0.png", "a/out/1.png", "b/0.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_are_not_opened(write_tree):
    root = write_tree("a/0.png", "b/0.png")
    os.mkfifo(root / "a" / "pipe.png")
    assert index_folder(root).ignored == {"not a regular file": 1}


def test_names_that_are_not_utf8(write_tree):
    root = write_tree("a/0.png", "b/0.png")
    try:
        with open(os.path.join(os.fsencode(root), b"a", b"\xff.png"), "wb"):
            pass
    except OSError:
        pytest.skip("this filesystem holds UTF-8 names only")
    assert index_folder(root).ignored == {"file name is not valid UTF-8": 1}
    os.mkdir(os.path.join(os.fsencode(root), b"\xff"))
    with pytest.raises(DataError, match="not valid UTF-8"):
        index_folder(root)


def test_fingerprint_follows_names_sizes_and_nothing_else(write_tree, tmp_path):
    root = write_tree("a/0.png", "b/0.png")
    first = index_folder(root).fingerprint
    root.rename(tmp_path / "moved")
    root = tmp_path / "moved"
    assert index_folder(root).fingerprint == first
    with open(root / "a/0.png", "ab") as file:
        file.write(b"!")
    second = index_folder(root).fingerprint
    assert second != first
    (root / "a/0.png").rename(root / "a/1.png")
    assert index_folder(root).fingerprint not in {first, second}


GROUPED = ("a/p1_0.png", "a/p1_1.png", "a/p2_0.png", "b/other.png", "b/p2_1.png")


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"p(\d)_", ("1", "1", "2", "", "2")),
        (r"p\d", ("p1", "p1", "p2", "", "p2")),
        (r"(?:p)(\d)_(\d)", ("1", "1", "2", "", "2")),
        (r"p2|(other)", ("", "", "", "other", "")),
    ],
)
def test_row_38_groups_are_found_in_the_paths(write_tree, pattern, groups):
    index = index_folder(write_tree(*GROUPED), groups=pattern)
    assert index.groups == groups
    assert index.notices == (
        f"{groups.count('')} of 5 images have no group: {pattern!r} finds none in their path",
    )


def test_row_38_every_image_in_a_group_needs_no_notice(write_tree):
    index = index_folder(write_tree(*GROUPED), groups="^[ab]")
    assert index.groups == ("a", "a", "a", "b", "b") and index.notices == ()


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "patient", "x*", "a{99999999999999999999}"])
def test_row_38_a_pattern_that_is_broken_or_finds_nothing(write_tree, pattern):
    with pytest.raises(UsageError, match="group pattern") as caught:
        index_folder(write_tree(*GROUPED), groups=pattern)
    assert caught.value.expected and "\n" not in str(caught.value)


def test_leaving_a_class_out_keeps_groups_and_notices(write_tree):
    index = index_folder(write_tree(*GROUPED), groups=r"p\d").without_classes(["a"])
    assert index.groups == ("", "p2") and len(index.notices) == 1


def test_extra_folder_keeps_the_given_class_order(write_tree):
    extra = load_extra_folder(write_tree("dog/0.png", "ant/0.png"), ["dog", "cat", "ant"])
    assert extra.class_names == ("dog", "cat", "ant")
    assert extra.labels.tolist() == [2, 0]


def test_extra_folder_with_an_unknown_class(write_tree):
    with pytest.raises(DataError, match="class folder 'owl'"):
        load_extra_folder(write_tree("dog/0.png", "owl/0.png"), ["cat", "dog"])


def test_extra_folder_that_is_empty_or_missing(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_extra_folder(tmp_path / "x", ["a", "b"])
    with pytest.raises(DataError, match="holds no images"):
        load_extra_folder(tmp_path, ["a", "b"])
