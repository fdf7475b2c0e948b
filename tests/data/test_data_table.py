"""CSV and TSV tables of image paths: what is read, and which rows are refused by number."""

import os
import random

import pytest

from synthaug.data.decode import decode_images
from synthaug.data.table import index_table
from synthaug.errors import DataError, UsageError

HEADER = "path,label"


@pytest.fixture
def table(write_tree):
    """Write a CSV beside three images; its rows are lines of text or bytes."""
    root = write_tree("1.png", "2.png", "deep/3.png")

    def write(*lines, name="table.csv"):
        file = root / name
        text = b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines)
        file.write_bytes(text + b"\n")
        return file

    return write


def fault_of(file, **options):
    with pytest.raises(DataError) as caught:
        index_table(file, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_paths_labels_splits_and_groups(table, unchanged):
    file = table(
        "path,label,split,group",
        "2.png,dog,train,p1",
        "1.png,cat,Training,p2",
        "deep/3.png,dog,validation,",
    )
    with unchanged(file.parent):
        index = index_table(file)
    assert index.paths == ("1.png", "2.png", "deep/3.png")
    assert index.class_names == ("cat", "dog")
    assert index.labels.tolist() == [0, 1, 1] and index.labels.dtype == "int64"
    assert index.declared_split == ("train", "train", "val")
    assert index.groups == ("p2", "p1", "")
    assert index.sizes == tuple((file.parent / path).stat().st_size for path in index.paths)
    assert index.ignored == {} and len(index.container) == 64
    assert len(decode_images(index, size=8, channels=1).kept) == 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header",
    [("path", "label"), ("FileName", "Class"), (" file ", "TARGET"), ("image", "Category")],
)
def test_delimiters_and_names_of_columns(table, delimiter, header):
    lines = [header, ("1.png", "a, b"), ("2.png", "c")]
    quoted = (delimiter.join(f'"{cell}"' for cell in line) for line in lines[1:])
    index = index_table(table(delimiter.join(header), *quoted))
    assert index.class_names == ("a, b", "c")


def test_a_tsv_with_other_columns_in_another_order(table):
    file = table("\tage\tlabel\tpath", "0\t7\tcat\t1.png", "1\t8\tdog\t2.png", name="t.tsv")
    assert index_table(file).class_names == ("cat", "dog")


def test_the_order_of_preference_among_names_of_columns(table):
    file = table("class,image,label,path", "x,no.png,cat,1.png", "y,no.png,dog,2.png")
    assert index_table(file).class_names == ("cat", "dog")
    index = index_table(file, image_column="PATH", label_column=" class ")
    assert index.class_names == ("x", "y")


def test_row_53_byte_order_mark_and_non_ascii(table):
    index = index_table(table(b"\xef\xbb\xbfpath,label", "1.png,Größe", "2.png,目"))
    assert index.class_names == ("Größe", "目")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{HEADER}\n1.png,Größe\n".encode("latin-1"), "line 2 has the byte 0xf6"),
        (f"{HEADER}\n1.png,cat\n".encode("utf-16"), "looks like UTF-16"),
    ],
)
def test_row_53_other_encodings_are_named(table, content, said):
    fault = fault_of(table(content))
    assert said in fault and 'save it as "CSV UTF-8"' in fault


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("name,label", "row 1 of .* names no column for the paths, only 'name', 'label'"),
        ("path,name", "row 1 of .* names no column for the labels.*--label-column"),
        ("path,label,Label", "has 2 columns 'label'"),
        ("1.png,cat", "names no column for the paths"),
    ],
)
def test_row_53_missing_and_doubled_columns(table, header, said):
    with pytest.raises(DataError, match=said):
        index_table(table(header, "1.png,cat"))


def test_a_header_below_blank_lines_is_counted_as_the_spreadsheet_does(table):
    fault = fault_of(table("", ";", "name;label", "1.png;cat"))
    assert "row 3 of" in fault


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (",cat", "the path is empty"),
        (".,cat", "the path is empty"),
        ("1.png,", "the label is empty"),
        ("1.png,  ", "the label is empty"),
        ("4.png,cat", "no such file: 4.png"),
        ("deep,cat", "not a file: deep"),
        ("2.png,cat", "repeats the path 2.png of row 2"),
        ("./deep/../2.png,cat", "repeats the path 2.png of row 2"),
        ("../other/1.png,cat", 'leads out of the dataset ("..")'),
        ("deep/../../1.png,cat", 'leads out of the dataset ("..")'),
        ("/etc/hosts,cat", "is an absolute path"),
        ("C:\\images\\1.png,cat", "is an absolute path"),
        ("1.png,cat,rest", "has 3 cells where the header has 2"),
        ("1\0.png,cat", "has a NUL character"),
        (f"{'x' * 300}.png,cat", "File name too long"),
    ],
)
def test_row_53_rows_are_refused_by_the_number_a_spreadsheet_shows(table, row, said):
    fault = fault_of(table(HEADER, "2.png,dog", row))
    assert "has 1 of 2 rows" in fault and said in fault.partition("row 3: ")[2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../x", 'leads out of the dataset ("..")'),
        ("a/../b", 'leads out of the dataset ("..")'),
        ("a\\..\\b", 'leads out of the dataset ("..")'),
        ("/etc", "is an absolute path"),
        ("\\\\server\\x", "is an absolute path"),
        ("d:/x", "is an absolute path"),
        ("a\0b", "has a NUL character"),
    ],
)
def test_row_45_class_names_that_lead_elsewhere_are_refused(table, name, said):
    fault = fault_of(table(HEADER, f"2.png,{name}", "1.png,cat"))
    assert "row 2: has the class" in fault and said in fault


@pytest.mark.parametrize("name", ["N/A", "..x", "a..b", "c:d", "<script>", "[/red]", "con", "."])
def test_row_45_odd_but_harmless_class_names_are_kept(table, name):
    assert name in index_table(table(HEADER, f"1.png,{name}", "2.png,cat")).class_names


def test_row_53_many_faults_are_counted_and_the_first_ones_told(table):
    bad = [f"{i}.jpg,cat" for i in range(20)]
    fault = fault_of(table(HEADER, "1.png,cat", *bad, "2.png,"))
    assert "has 21 of 22 rows that cannot be used" in fault
    assert "row 3: no such file: 0.jpg; row 4:" in fault and "row 5:" in fault
    assert "row 6" not in fault and "and 18 more" in fault


def test_row_53_repeats_name_the_first_row_of_the_path(table):
    fault = fault_of(table(HEADER, "1.png,cat", "1.png,dog", "./1.png,cat"))
    assert fault.count("repeats the path 1.png of row 2") == 2


def test_row_numbers_count_blank_rows_and_quoted_line_breaks_as_one(table):
    index = index_table(table(HEADER, "", '1.png,"two\nlines"', ",", "2.png,cat", " , "))
    assert index.class_names == ("cat", "two\nlines")
    fault = fault_of(table(HEADER, "", '1.png,"two\nlines"', ",", "9.png,cat"))
    assert "row 5: no such file" in fault


@pytest.mark.parametrize(("split", "said"), [("fold1", "unknown split 'fold1'"), ("", "is empty")])
def test_splits_must_be_known_words_in_every_row(table, split, said):
    fault = fault_of(table("path,label,split", "1.png,cat,train", f"2.png,cat,{split}"))
    assert "row 3" in fault and said in fault and "one of train" in fault


def test_an_empty_split_column_declares_nothing(table):
    index = index_table(table("path,label,split", "1.png,cat,", "2.png,dog,"))
    assert index.declared_split == ("", "")


def test_row_32_a_class_without_train_images(table):
    fault = fault_of(table("path,label,split", "1.png,cat,train", "2.png,dog,test"))
    assert "class 'dog' has images in the test split" in fault


def test_row_41_twins(table):
    assert "differ only in case" in fault_of(table(HEADER, "1.png,Cat", "2.png,cat"))


def test_row_38_groups_may_have_another_name(table):
    file = table("path,label,Patient ID", "1.png,cat,17", "2.png,dog,18")
    assert index_table(file).groups == ("", "")
    assert index_table(file, groups="patient id").groups == ("17", "18")
    with pytest.raises(UsageError, match=r"no column 'patient'.*'Patient ID'"):
        index_table(file, groups="patient")


def test_columns_that_were_asked_for_must_exist(table):
    file = table(HEADER, "1.png,cat")
    with pytest.raises(UsageError, match="no column 'pixels' for the images"):
        index_table(file, image_column="pixels")
    with pytest.raises(UsageError, match="no column 'kind' for the labels"):
        index_table(file, label_column="kind")


def test_another_root_of_the_images(table, tmp_path):
    file = table(HEADER, "1.png,cat", "deep\\3.png,dog")
    elsewhere = file.rename(tmp_path / "table.csv")
    assert "row 2: no such file: 1.png; row 3: no such file: deep/3.png" in fault_of(elsewhere)
    index = index_table(elsewhere, images_root=tmp_path / "images")
    assert index.paths == ("1.png", "deep/3.png")
    assert len(decode_images(index, size=8, channels=1).kept) == 2
    with pytest.raises(UsageError, match="images root"):
        index_table(elsewhere, images_root=tmp_path / "nowhere")


def test_row_48_links_that_lead_out_need_a_flag(table, write_tree):
    file = table(HEADER, "1.png,cat", "in.png,cat", "out.png,dog", "folder/5.png,dog")
    elsewhere = write_tree("4.png", "5.png", root="elsewhere")
    (file.parent / "in.png").symlink_to("deep/3.png")
    (file.parent / "out.png").symlink_to(elsewhere / "4.png")
    (file.parent / "folder").symlink_to(elsewhere)
    fault = fault_of(file)
    assert "has 2 of 4 rows" in fault and "row 4: a link that leads out" in fault
    assert "--follow-links" in fault
    assert len(index_table(file, follow_links=True).paths) == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_are_not_opened(table):
    file = table(HEADER, "pipe.png,cat")
    os.mkfifo(file.parent / "pipe.png")
    assert "row 2: not a file: pipe.png" in fault_of(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n,,\n", "is empty"),
        (b"path,label\n", "holds no labelled images"),
        (b'path,label\n"1.png"x,cat\n', "cannot be read as a CSV"),
        (b'path,label\n"1.png,cat\n', "cannot be read as a CSV"),
    ],
)
def test_tables_that_are_empty_or_broken(table, content, said):
    file = table()
    file.write_bytes(content)
    assert said in fault_of(file)


def test_the_fingerprint_follows_the_labels(table):
    lines = [HEADER, "1.png,cat", "2.png,dog"]
    first = index_table(table(*lines)).fingerprint
    assert index_table(table(*lines)).fingerprint == first
    assert index_table(table(HEADER, "1.png,dog", "2.png,cat")).fingerprint != first


def test_the_order_of_the_rows_does_not_matter(write_tree):
    names = [f"{i}.png" for i in range(12)]
    root = write_tree(*names)
    rows = [f"{name},{'ab'[i % 2]},g{i}" for i, name in enumerate(names)]
    seen = set()
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        (root / "t.csv").write_text("\n".join(["path,label,group", *rows]))
        index = index_table(root / "t.csv")
        seen.add((index.paths, tuple(index.labels), index.groups, index.source.paths))
    assert len(seen) == 1
