"""Zip and tar archives: read as folders are, and refused before they can do harm."""

import gzip
import io
import os
import shutil
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from synthaug.data import packed
from synthaug.data.archive import index_archive
from synthaug.data.decode import decode_images
from synthaug.data.folder import index_folder
from synthaug.errors import DataError, ResourceError, UsageError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


@pytest.fixture
def pack(tmp_path):
    """Pack (name, content) pairs, or a folder, into one archive."""

    def write(members, suffix=".zip", name="set"):
        file = tmp_path / f"{name}{suffix}"
        if suffix == ".zip":
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for path, content in members:
                    archive.writestr(path, content)
            return file
        with tarfile.open(file, MODES[suffix]) as archive:
            for path, content in members:
                info = tarfile.TarInfo(path.rstrip("/"))
                info.size = len(content)
                info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
                archive.addfile(info, io.BytesIO(content))
        return file

    return write


@pytest.fixture
def images(png):
    """Pairs of a path and an image, as `pack` takes them."""
    return lambda *paths: [(path, png(path)) for path in paths]


def fault_of(file, **options):
    with pytest.raises(DataError) as caught:
        index_archive(file, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_reads_as_its_folder_does(write_tree, tmp_path, unchanged, suffix):
    root = write_tree(
        *(f"{s}/{c}/{i}.png" for s in ("train", "test") for c in ("a", "b ü") for i in range(3)),
        "train/a/deep/er/4.PNG",
        "test/loose.png",
        "loose.png",
        "train/a/.hidden.png",
        ".git/x.png",
        ".git/y.png",
        "train/a/__pycache__/0.png",
        "__MACOSX/a/0.png",
        "__MACOSX/b/0.png",
    )
    (root / "train" / "a" / "Thumbs.db").write_bytes(b"x")
    (root / "train" / "a" / "scan.DCM").write_bytes(b"x")
    (root / "empty").mkdir()
    kind = {".zip": "zip", ".tar": "tar", ".tar.gz": "gztar", ".tgz": "gztar"}.get(suffix)
    kind = kind or {".tar.bz2": "bztar", ".tar.xz": "xztar"}[suffix]
    file = shutil.make_archive(str(tmp_path / "packed"), kind, root)
    file = shutil.move(file, tmp_path / f"set{suffix}")
    outside = sorted(os.listdir(tmp_path))
    with unchanged(tmp_path):
        index = index_archive(file)
    assert sorted(os.listdir(tmp_path)) == outside
    expected = index_folder(root)
    for name in ("paths", "class_names", "declared_split", "ignored", "sizes", "groups"):
        assert getattr(index, name) == getattr(expected, name), name
    np.testing.assert_array_equal(index.labels, expected.labels)
    pixels, from_folder = (decode_images(i, size=8, channels=1) for i in (index, expected))
    assert pixels.content_hashes == from_folder.content_hashes and not pixels.bad
    assert pixels.notices == from_folder.notices


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("prefix", ["", "./", "set/", "./set/"])
def test_one_wrapping_folder_is_left_out(pack, images, suffix, prefix):
    members = images(*(f"{prefix}{p}" for p in ("a/0.png", "a/1.png", "b/0.png")))
    members += [("README.md", b"x"), ("__MACOSX/set/x", b"x"), (f"{prefix}a/", b"")]
    index = index_archive(pack(members, suffix))
    assert index.paths == ("a/0.png", "a/1.png", "b/0.png")
    assert index.ignored == {"not an image": 1, "system folder": 1}


def test_split_folders_are_no_wrapping_folder(pack, images):
    index = index_archive(pack(images("train/a/0.png", "train/b/0.png")))
    assert index.class_names == ("a", "b") and set(index.declared_split) == {"train"}
    index = index_archive(pack(images("set/train/a/0.png", "set/train/b/0.png")))
    assert index.paths[0] == "train/a/0.png" and set(index.declared_split) == {"train"}


def test_a_class_alone_is_no_wrapping_folder(pack, images):
    assert index_archive(pack(images("only/0.png", "only/in/1.png"))).class_names == ("only",)
    assert index_archive(pack(images("set/only/0.png"))).class_names == ("only",)


def test_a_wrapping_folder_with_images_of_its_own_is_pointed_out(pack, images):
    fault = fault_of(pack(images("set/cover.png", "set/a/0.png", "set/b/0.png")))
    assert "has a single folder, 'set', with 2 folders in it" in fault
    assert fault.endswith("give set itself if the class folders lie in there")


def test_row_38_groups_are_found_in_the_paths(pack, images):
    file = pack(images("x/a/p1_0.png", "x/a/p2_0.png", "x/b/p2_1.png"))
    assert index_archive(file, groups=r"p(\d)").groups == ("1", "2", "2")
    with pytest.raises(UsageError, match="finds no group"):
        index_archive(file, groups="x/a")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_without_class_folders(pack, images, suffix):
    assert "holds 2 images but no class folders" in fault_of(pack(images("0.png", "1.png"), suffix))
    assert "holds no images" in fault_of(pack([("a/x.txt", b"x")], suffix))


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../a/1.png", "leads out of the dataset"),
        ("a/../../1.png", "leads out of the dataset"),
        ("/a/1.png", "is an absolute path"),
        ("C:/a/1.png", "is an absolute path"),
        ("../notes.txt", "leads out of the dataset"),
    ],
)
def test_row_50_members_that_lead_out_are_refused(pack, images, tmp_path, suffix, name, said):
    file = pack([*images("a/0.png", "b/0.png"), (name, b"x")], suffix)
    before = sorted(tmp_path.parent.rglob("*"))
    assert said in fault_of(file)
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["..\\a\\1.png", "a\\..\\..\\1.png", "\\\\server\\1.png"])
def test_row_50_backslashes_lead_out_too(pack, images, name):
    fault = fault_of(pack([*images("a/0.png"), (name, b"x")]))
    assert "leads out" in fault or "absolute" in fault


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"],
)
def test_row_50_links_and_devices_in_a_tar_are_refused(tmp_path, images, kind):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in images("a/0.png", "b/0.png"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo("a/1.png")
        info.type, info.linkname = kind, "/etc/hosts"
        archive.addfile(info)
    assert "'a/1.png', which is a link, a device or a sparse" in fault_of(tmp_path / "x.tar")


def test_row_50_links_in_a_zip_are_refused(pack, images):
    link = zipfile.ZipInfo("a/1.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    assert "which is a link" in fault_of(pack([*images("a/0.png"), (link, b"/etc/hosts")]))


def test_row_51_sparse_files_are_refused(tmp_path):
    record = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1"}
    info = tarfile.TarInfo("a/0.png")
    info.pax_headers = record | {"GNU.sparse.size": str(2**40), "GNU.sparse.numblocks": "1"}
    info.size = 1
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"x"))
    assert "sparse" in fault_of(tmp_path / "x.tar")


def test_encrypted_zips_are_refused(pack, images):
    content = bytearray(pack(images("a/0.png", "b/0.png")).read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    file = pack([])
    file.write_bytes(content)
    assert "is encrypted; pack it again without a password" in fault_of(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_row_51_rare_compressions_cannot_be_bounded(tmp_path, images, method):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        for name, content in images("a/0.png", "b/0.png"):
            archive.writestr(name, content)
    assert "in a rare compression" in fault_of(tmp_path / "x.zip")


def test_two_files_of_one_name_are_refused(pack, images):
    members = images("a/0.png", "b/0.png", "b/0.png")
    assert "has two files b/0.png" in fault_of(pack(members, ".tar"))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_row_51_a_bomb_is_stopped_early(pack, monkeypatch, suffix):
    monkeypatch.setattr(packed, "FREE_BYTES", 1_000_000)
    file = pack([(f"a/{i}.png", bytes(4_000_000)) for i in range(6)], suffix)
    tracemalloc.start()
    fault = fault_of(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "expands to" in fault and "decompression bomb" in fault
    assert peak < 12_000_000, "more was unpacked than it took to see the bomb"


def test_row_51_a_bomb_of_files_that_nobody_wants_is_stopped_too(pack, monkeypatch):
    monkeypatch.setattr(packed, "FREE_BYTES", 1_000_000)
    fault = fault_of(pack([("a/notes.txt", bytes(30_000_000))], ".tgz"))
    assert "decompression bomb" in fault


def test_row_51_small_blank_images_are_no_bomb(pack):
    file = pack([(f"{c}/{i}.png", bytes(100_000)) for c in "ab" for i in range(9)], ".tgz")
    assert file.stat().st_size * packed.MAX_EXPANSION < 1_800_000
    index = index_archive(file)
    assert len(decode_images(index, size=8, channels=1).bad) == 18


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_row_51_more_than_the_memory_is_refused(pack, images, monkeypatch, suffix):
    monkeypatch.setattr(packed, "MAX_TOTAL_BYTES", 1000)
    file = pack(images(*(f"a/{i}.png" for i in range(20))), suffix)
    with pytest.raises(ResourceError, match="expected at most 1000 bytes, since they are held"):
        index_archive(file)


def test_row_51_a_zip_that_understates_its_size_is_not_believed(pack, monkeypatch):
    """Reading such a member without a limit would unpack all of it."""
    file = pack([("a/0.png", bytes(50_000_000))])
    content = bytearray(file.read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + at
        assert content[start : start + 4] == struct.pack("<I", 50_000_000)
        content[start : start + 4] = struct.pack("<I", 1000)
    file.write_bytes(content)
    tracemalloc.start()
    fault = fault_of(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "cannot be read as a zip archive: Bad CRC" in fault and peak < 1_000_000


def test_row_51_a_zip_that_overstates_its_size_is_not_believed(pack, images):
    file = pack(images("a/0.png"))
    content = bytearray(file.read_bytes())
    size = struct.pack("<I", len(images("a/0.png")[0][1]))
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + at
        assert content[start : start + 4] == size
        content[start : start + 4] = struct.pack("<I", 200_000_000)
    file.write_bytes(content)
    assert "gives 'a/0.png' 200000000 bytes but holds" in fault_of(file)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", bytes(5000)])
def test_files_that_are_no_archives(tmp_path, suffix, content):
    file = tmp_path / f"x{suffix}"
    file.write_bytes(content)
    fault = fault_of(file)
    assert "cannot be read as a" in fault or "holds no images (it is empty)" in fault


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_archives_never_lose_images_silently(pack, images, suffix):
    paths = [f"{c}/{i}.png" for c in "ab" for i in range(20)]
    file = pack(images(*paths), suffix)
    content = file.read_bytes()
    step = 512 if suffix == ".tar" else max(1, len(content) // 40)
    end = len(content) if suffix != ".tar" else 40 * 1024
    for cut in range(step, end, step):
        file.write_bytes(content[:cut])
        assert "cannot be read as a" in fault_of(file), cut
        assert "damaged" in fault_of(file)


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_its_end(pack, images):
    file = pack(images("a/0.png", "b/0.png", "c/0.png"), ".tar")
    content = bytearray(file.read_bytes())
    content[1024 + 150] ^= 1  # the checksum of the second header
    file.write_bytes(content)
    assert "a damaged or missing header" in fault_of(file)


def test_a_second_archive_behind_the_first_is_not_lost(pack, images):
    first = pack(images("a/0.png", "b/0.png"), ".tar", "first").read_bytes()
    second = pack(images("c/0.png", "d/0.png"), ".tar", "second")
    second.write_bytes(first + second.read_bytes())
    assert "more data follows the end of the archive" in fault_of(second)


def test_the_checksum_at_the_end_of_a_gzip_is_looked_at(pack, images):
    file = pack(images("a/0.png", "b/0.png"), ".tgz")
    content = bytearray(file.read_bytes())
    content[-6] ^= 1
    file.write_bytes(content)
    assert "CRC check failed" in fault_of(file)


def test_a_tar_is_read_by_what_it_is_packed_with(pack, images):
    plain = pack(images("a/0.png", "b/0.png"), ".tar")
    renamed = plain.with_suffix(".tgz")
    renamed.write_bytes(plain.read_bytes())
    assert len(index_archive(renamed).paths) == 2
    plain.write_bytes(gzip.compress(plain.read_bytes()))
    assert len(index_archive(plain).paths) == 2


def test_row_40_zip_names_that_do_not_say_they_are_utf8(pack, images):
    content = pack(images("Größe/0.png", "b/0.png")).read_bytes()
    unflagged = bytearray(content)
    for signature, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        start = 0
        while (start := unflagged.find(signature, start)) >= 0:
            unflagged[start + at] &= ~0x08
            start += 1
    file = pack([])
    file.write_bytes(unflagged)
    assert index_archive(file).class_names == ("Größe", "b")


def test_zip_names_with_backslashes(pack, images):
    assert index_archive(pack(images("set\\a\\0.png", "set\\b\\0.png"))).class_names == ("a", "b")


def test_row_40_tar_names_that_are_not_utf8(tmp_path, images):
    file, gnu = tmp_path / "x.tar", tarfile.GNU_FORMAT
    with tarfile.open(file, "w", format=gnu, encoding="latin-1") as archive:
        for name, content in images("a/0.png", "b/0.png", "a/ö.png"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    index = index_archive(file)
    assert index.ignored == {"file name is not valid UTF-8": 1}


def test_the_fingerprint_follows_the_content(pack, images):
    first = index_archive(pack(images("a/0.png", "b/0.png"))).fingerprint
    swapped = images("a/0.png", "b/0.png")
    swapped = [(swapped[0][0], swapped[1][1]), (swapped[1][0], swapped[0][1])]
    assert index_archive(pack(swapped)).fingerprint != first
