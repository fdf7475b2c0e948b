"""An npz of arrays: what is read, what is refused, and what is never loaded."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from synthaug.data import packed
from synthaug.data.npz import index_npz
from synthaug.errors import DataError, ResourceError, UsageError

GREY = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4)
LABELS = np.array([2, 0, 2, 1, 0, 2])


@pytest.fixture
def npz(tmp_path):
    """Write arrays to a file of that name and return its path."""

    def write(name="set.npz", *, compressed=True, **arrays):
        (np.savez_compressed if compressed else np.savez)(tmp_path / name, **arrays)
        return tmp_path / name

    return write


def fault_of(file, **options):
    with pytest.raises(DataError) as caught:
        index_npz(file, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_images_and_labels(npz, unchanged, compressed):
    file = npz(images=GREY, labels=LABELS, compressed=compressed)
    with unchanged(file.parent):
        index = index_npz(file)
    assert index.paths == tuple(f"images/{i}" for i in range(6))
    assert index.class_names == ("0", "1", "2")
    assert index.labels.tolist() == LABELS.tolist() and index.labels.dtype == "int64"
    assert index.declared_split == index.groups == ("",) * 6
    assert index.sizes == (20,) * 6 and len(index.container) == 64
    assert index.ignored == {} and index.notices == ()
    for i in range(6):
        np.testing.assert_array_equal(index.source.read(i), GREY[i])


def test_splits_keep_images_labels_and_rows_together(npz):
    file = npz(
        images=GREY,
        labels=LABELS,
        val_images=GREY[:2] + 100,
        val_labels=LABELS[:2],
        test_images=GREY[:1] + 200,
        test_labels=LABELS[:1],
    )
    index = index_npz(file)
    assert index.paths[-3:] == ("test_images/0", "val_images/0", "val_images/1")
    assert index.declared_split == ("train",) * 6 + ("test", "val", "val")
    assert index.labels.tolist() == [*LABELS, LABELS[0], *LABELS[:2]]
    np.testing.assert_array_equal(index.source.read(6), GREY[0] + 200)
    np.testing.assert_array_equal(index.source.read(8), GREY[1] + 100)
    fewer = index.without_classes(["2"])
    assert [int(fewer.source.read(i).min()) for i in range(len(fewer.paths))] == [20, 60, 80, 120]


def test_the_layout_of_medmnist(npz):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 12), ("val", 3), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 3).astype(np.uint8)[:, None]
    index = index_npz(npz(**arrays))
    assert index.class_names == ("0", "1", "2")
    assert [index.declared_split.count(s) for s in ("train", "val", "test")] == [12, 3, 4]
    assert index.paths[4] == "train_images/00" and index.source.read(4).shape == (28, 28, 3)


def test_numbered_classes_sort_as_numbers(npz):
    file = npz(images=np.zeros((12, 2, 2)), labels=np.arange(12))
    assert index_npz(file).class_names == tuple(f"{i:02d}" for i in range(12))


def test_class_names_stand_for_positions(npz):
    names = np.array(["dog", "cat", "ant", "owl"])
    index = index_npz(npz(images=GREY, labels=LABELS, class_names=names))
    assert index.class_names == ("ant", "cat", "dog")
    assert [index.class_names[k] for k in index.labels] == [str(names[k]) for k in LABELS]
    assert index.ignored == {"class without images": 1}


@pytest.mark.parametrize("kind", ["U", "S"])
def test_labels_may_be_text(npz, kind):
    labels = np.array(["b", "a", "b", "a", "c", "c"]).astype(kind)
    index = index_npz(npz(images=GREY, labels=labels))
    assert [index.class_names[k] for k in index.labels] == ["b", "a", "b", "a", "c", "c"]


@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", ">u2", "u8", "f2", "f4", "<f8"])
def test_pixels_of_any_number_type(npz, dtype):
    index = index_npz(npz(images=GREY.astype(dtype), labels=LABELS))
    assert index.source.read(3).dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", ">i4", "u8"])
def test_labels_of_any_integer_type(npz, dtype):
    index = index_npz(npz(images=GREY, labels=(LABELS > 0).astype(dtype)))
    assert index.labels.tolist() == (LABELS > 0).tolist() and index.class_names == ("0", "1")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_and_fortran_order(npz, channels):
    images = np.asfortranarray(np.random.default_rng(0).random((6, 5, 4, channels)))
    index = index_npz(npz(images=images, labels=LABELS))
    np.testing.assert_array_equal(index.source.read(5), images[5])


def test_row_38_groups(npz):
    patients = np.array(["a", "a", "b", "", "b", "c"])
    index = index_npz(npz(images=GREY, labels=LABELS, groups=patients))
    assert index.groups == tuple(patients.tolist())
    file = npz(images=GREY, labels=LABELS, patient=np.arange(6))
    assert index_npz(file, groups="patient").groups == tuple("012345")
    assert index_npz(file).ignored == {"array of another name": 1}
    with pytest.raises(UsageError, match=r"no array 'person'.*patient"):
        index_npz(file, groups="person")


def test_row_38_splits_without_groups_are_told(npz):
    file = npz(
        images=GREY,
        labels=LABELS,
        groups=np.arange(6),
        test_images=GREY[:3],
        test_labels=np.arange(3),
    )
    index = index_npz(file)
    assert index.groups == tuple("012345") + ("",) * 3
    assert index.notices == ("test_images have no groups",)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "has no array images, only no arrays"),
        ({"x": GREY, "y": LABELS}, "has no array images, only x, y"),
        ({"images": GREY}, "has no array labels, only images"),
        ({"images": GREY, "labels": LABELS, "val_images": GREY}, "has no array val_labels"),
        ({"test_images": GREY, "test_labels": LABELS}, "has no array images"),
        (
            {"images": GREY, "labels": LABELS, "train_images": GREY, "train_labels": LABELS},
            "both images and train_images",
        ),
        ({"images": GREY, "labels": LABELS[:5]}, "labels of shape [5]; expected shape [6]"),
        ({"images": GREY[0], "labels": LABELS}, "images of shape [5, 4]; expected [N, H, W]"),
        ({"images": GREY[:, :0], "labels": LABELS}, "images of no pixels"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, "holds no labelled images"),
        ({"images": GREY.astype("c8"), "labels": LABELS}, "images of type complex64"),
        ({"images": GREY.astype("U"), "labels": LABELS}, "images of type <U"),
        ({"images": GREY, "labels": LABELS / 2}, "labels of type float64; expected integers"),
        ({"images": GREY, "labels": LABELS - 1}, "has the label -1 in row 1 of labels"),
        (
            {"images": GREY, "labels": np.eye(6, 3, dtype=int)},
            "labels of shape [6, 3], several labels for each image",
        ),
        ({"images": np.zeros((6, 8, 8, 8)), "labels": LABELS}, "3-D volumes cannot be used"),
        ({"images": np.zeros((6, 8, 8, 8, 1)), "labels": LABELS}, "3-D volumes cannot be used"),
        ({"images": np.zeros((6, 3, 8, 8)), "labels": LABELS}, "images.transpose(0, 2, 3, 1)"),
        ({"images": np.zeros((6, 8, 8, 2)), "labels": LABELS}, "C one of 1, 3, 4"),
        (
            {"images": GREY, "labels": LABELS, "class_names": np.array(["a", "b"])},
            "has the label 2, which class_names lacks",
        ),
        (
            {"images": GREY, "labels": np.array(list("abcabc")), "class_names": np.array(["a"])},
            "has the label 'b', which class_names lacks",
        ),
        (
            {"images": GREY, "labels": LABELS, "class_names": np.array(["a", "b", "a"])},
            "class_names with 'a' twice",
        ),
        (
            {"images": GREY, "labels": LABELS, "class_names": np.arange(3)},
            "class_names of numbers",
        ),
        (
            {
                "images": GREY,
                "labels": LABELS,
                "val_images": GREY,
                "val_labels": np.array(list("abcabc")),
            },
            "numbers in one split and text in another",
        ),
    ],
)
def test_arrays_that_cannot_be_used(npz, arrays, said):
    assert said in fault_of(npz(**arrays))


def test_row_32_a_class_without_train_images(npz):
    file = npz(images=GREY, labels=LABELS, test_images=GREY[:2], test_labels=np.array([1, 7]))
    assert "class '7' has images in the test split" in fault_of(file)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../x", "leads out of the dataset"),
        ("/etc", "is an absolute path"),
        ("C:\\x", "is an absolute path"),
        ("a\0b", "has a NUL character"),
        ("", "is empty"),
        ("\ud800", "is not valid UTF-8"),
    ],
)
def test_row_45_class_names_that_lead_elsewhere_are_refused(npz, name, said):
    names = np.array([name, "b", "c"])
    assert said in fault_of(npz(images=GREY, labels=LABELS, class_names=names))


@pytest.mark.parametrize("array", ["images", "labels", "class_names", "groups"])
def test_row_52_python_objects_are_never_unpickled(npz, array, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    objects = np.array([Payload() for _ in range(6)], dtype=object)
    arrays = {"images": GREY, "labels": LABELS, array: objects}
    fault = fault_of(npz(**arrays))
    assert f"has Python objects in {array}" in fault and "tolist()" in fault
    assert not (tmp_path / "executed").exists()


def write_npz(file, members):
    """A zip of (header, data) as its npy members."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (array, shape, data) in members.items():
            header = io.BytesIO()
            described = np.lib.format.header_data_from_array_1_0(array) | {"shape": shape}
            described |= {} if len(array) else {"descr": "|S0"}
            np.lib.format.write_array_header_1_0(header, described)
            archive.writestr(f"{name}.npy", header.getvalue() + data)


@pytest.mark.parametrize("shape", [(10**12, 8, 8), (7, 5, 4), (5, 5, 4), (-6, 5, 4), (2**62,) * 3])
def test_row_51_a_header_that_lies_is_found_before_anything_is_allocated(tmp_path, shape):
    labels = (LABELS, (6,), LABELS.tobytes())
    write_npz(tmp_path / "x.npz", {"images": (GREY, shape, GREY.tobytes()), "labels": labels})
    tracemalloc.start()
    fault = fault_of(tmp_path / "x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "images of shape" in fault and "does not fit its" in fault and peak < 5_000_000


def test_row_51_entries_of_no_width_are_refused(tmp_path):
    names = (np.array([]), (10**12,), b"")
    members = {
        "images": (GREY, (6, 5, 4), GREY.tobytes()),
        "labels": (LABELS, (6,), LABELS.tobytes()),
        "class_names": names,
    }
    write_npz(tmp_path / "x.npz", members)
    assert "has class_names of shape [1000000000000] and type |S0" in fault_of(tmp_path / "x.npz")


def test_row_51_a_bomb_is_refused_before_it_is_loaded(npz, monkeypatch):
    monkeypatch.setattr(packed, "FREE_BYTES", 1_000_000)
    file = npz(images=np.zeros((50, 200, 200), np.uint8), labels=np.zeros(50, np.uint8))
    tracemalloc.start()
    fault = fault_of(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "decompression bomb" in fault and "at most 200 times" in fault and peak < 1_000_000


def test_row_51_blank_masks_are_no_bomb(npz):
    file = npz(images=np.zeros((50, 200, 200), np.uint8), labels=np.zeros(50, np.uint8))
    assert file.stat().st_size * packed.MAX_EXPANSION < 50 * 200 * 200
    assert len(index_npz(file).paths) == 50


def test_row_51_more_than_the_memory_is_refused(npz, monkeypatch):
    monkeypatch.setattr(packed, "MAX_TOTAL_BYTES", 100)
    with pytest.raises(ResourceError, match=r"holds 368 bytes .* or more; expected at most 100 by"):
        index_npz(npz(images=GREY[:, :, :1].repeat(8, 2), labels=LABELS.astype("u1")))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_row_51_rare_compressions_cannot_be_bounded(npz, tmp_path, method):
    plain = npz(images=GREY, labels=LABELS)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(tmp_path / "x.npz", "w", method) as rare:
        for name in source.namelist():
            rare.writestr(name, source.read(name))
    assert f"in a rare compression, number {method}" in fault_of(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"not a zip at all", b"\x93NUMPY\x01\0"],
    ids=["empty", "PK", "text", "npy"],
)
def test_files_that_are_no_npz(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    assert "cannot be read as an npz" in fault_of(tmp_path / "x.npz")


def test_a_truncated_npz(npz):
    file = npz(images=GREY, labels=LABELS)
    content = file.read_bytes()
    for cut in range(0, len(content), 37):
        file.write_bytes(content[:cut])
        assert "cannot be read as an npz" in fault_of(file)


def test_a_flipped_bit_is_found(npz):
    file = npz(images=GREY, labels=LABELS, compressed=False)
    content = bytearray(file.read_bytes())
    content[content.index(GREY.tobytes()) + 7] ^= 1
    file.write_bytes(content)
    assert "Bad CRC" in fault_of(file)


def test_members_that_are_no_arrays_are_left_alone(npz):
    file = npz(images=GREY, labels=LABELS)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("README.txt", "hello")
        archive.writestr("deep/images.npy", "not looked at")
    assert len(index_npz(file).paths) == 6


def test_the_fingerprint_follows_the_content(npz):
    first = index_npz(npz(images=GREY, labels=LABELS)).fingerprint
    assert index_npz(npz("b.npz", images=GREY, labels=LABELS)).fingerprint == first
    assert index_npz(npz(images=GREY + 1, labels=LABELS)).fingerprint != first
