"""Damaged containers of every kind: a `SynthaugError` or a valid index, and nothing else.

The same seed is used every time; how far it gets depends on the machine.
"""

import gzip
import io
import random
import tarfile
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthaug.data.decode import decode_images, read_headers
from synthaug.data.index import ImageIndex
from synthaug.data.opening import open_index
from synthaug.data.source import Arrays
from synthaug.errors import SynthaugError

SECONDS = 1.5
AT_LEAST = 20
"""Cases on the slowest of machines."""

WORDS = (
    b"\0", b"\xff", b"../", b"/", b"\\", b",", b"\n", b'"', b"-1", b"9" * 20, b"\xff" * 8,
    b"\0" * 8, b"train", b"test", b"path", b"label", b"|O", b"<U0", b"(", b"PK\1\2", b"PK\5\6",
)  # fmt: skip


def mutate(rng, content):
    """Flip, overwrite, remove, repeat or insert something, a few times."""
    raw = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(raw) + 1)
        size = rng.choice((1, 2, 4, 8, 64, 512))
        match rng.randrange(7):
            case 0:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case 1 if at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            case 2:
                del raw[at : at + size]
            case 3:
                raw[at:at] = raw[at : at + size]
            case 4:
                word = rng.choice(WORDS)
                raw[at : at + len(word) * rng.randrange(2)] = word
            case 5:
                raw[at : at + size] = rng.randbytes(size)
            case 6 if rng.random() < 0.2:
                del raw[at:]
    return bytes(raw)


def members(png):
    return [
        (f"{s}/{c}/{i}.png", png(f"{s}{c}{i}"))
        for s in ("train", "test")
        for c in "ab"
        for i in "01"
    ]


def valid_csv(png):
    rows = [
        f"{i}.png,{'cat' if i % 2 else 'dog'},{'train' if i < 6 else 'test'},p{i // 2}"
        for i in range(8)
    ]
    return "\n".join(["path,label,split,group", *rows]).encode()


def valid_zip(png):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(png):
            archive.writestr(name, content)
    return file.getvalue()


def valid_tar(png):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members(png):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(content), {"comment": "é" * 3}
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def valid_npz(png):
    file = io.BytesIO()
    images = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8)
    names = np.array(["cat", "dog"])
    labels = np.arange(6) % 2
    np.savez(file, images=images, labels=labels, class_names=names, groups=labels.astype("S"))
    return file.getvalue()


def valid_parquet(png):
    file = io.BytesIO()
    images = [{"bytes": png(f"{i}"), "path": None} for i in range(8)]
    pq.write_table(pa.table({"image": images, "label": list("abababab")}), file)
    return file.getvalue()


def mutate_zip_members(rng, content):
    """Damage under a valid checksum: what an attacker writes, not what a disk loses."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w") as target:
        names = source.namelist()
        damaged = rng.choice(names)
        for name in names:
            raw = source.read(name)
            target.writestr(name, mutate_start(rng, raw) if name == damaged else raw)
    return file.getvalue()


def mutate_start(rng, content):
    return mutate(rng, content[:130]) + content[130:]


def mutate_tar_gz(rng, content):
    choice = rng.random()
    damaged = mutate_tar_header(rng, content) if choice < 0.5 else mutate(rng, content)
    packed = gzip.compress(damaged, 1, mtime=0)
    return packed if choice < 0.8 else mutate(rng, packed)


def mutate_tar_header(rng, content):
    """Damage one field of a header and make its checksum right again."""
    raw = bytearray(content)
    headers = [at for at in range(0, len(raw), 512) if raw[at + 257 : at + 262] == b"ustar"]
    start = rng.choice(headers)
    field, size = rng.choice(((0, 100), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)))
    value = rng.choice((rng.choice(WORDS), rng.randbytes(3), b"123456", b"LKxgS012357"[:1]))
    at = start + field + rng.randrange(size)
    raw[at : at + len(value)] = value[: start + field + size - at].ljust(len(value), b"0")
    raw[start + 148 : start + 156] = b" " * 8
    raw[start + 148 : start + 156] = b"%06o\0 " % sum(raw[start : start + 512])
    return bytes(raw)


def mutate_npz(rng, content):
    return mutate_zip_members(rng, content) if rng.random() < 0.7 else mutate(rng, content)


KINDS = {
    "csv": (valid_csv, mutate),
    "npz": (valid_npz, mutate_npz),
    "zip": (valid_zip, mutate),
    "tar.gz": (valid_tar, mutate_tar_gz),
    "parquet": (valid_parquet, mutate),
}


def check(file, dataset):
    """Open a file; the number of its images, or 0 when it was refused in one line."""
    file.write_bytes(dataset)
    try:
        index = open_index(str(file))
    except SynthaugError as error:
        text = str(error)
        assert "\n" not in text and len(text) < 4000 and error.exit_code in {2, 3, 4}
        return 0
    finally:
        assert file.read_bytes() == dataset
    check_index(index)
    return len(index.paths)


def check_index(index: ImageIndex):
    n, k = len(index.paths), len(index.class_names)
    assert n > 0 and len(set(index.paths)) == n and list(index.paths) == sorted(index.paths)
    assert list(index.class_names) == sorted(set(index.class_names))
    assert index.labels.dtype == "int64" and index.labels.shape == (n,)
    assert set(index.labels.tolist()) == set(range(k))
    assert set(index.declared_split) <= {"", "train", "val", "test"}
    assert len(index.groups) == len(index.sizes) == n and len(index.container) == 64
    assert len(index.fingerprint) == 64
    if isinstance(index.source, Arrays):
        assert all(index.source.read(i).ndim in {2, 3} for i in range(n))
    decoded = decode_images(index, size=8, channels=3)
    assert len(decoded.kept) + len(decoded.bad) == n
    assert read_headers(index).widths.shape == (n,)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_containers_never_crash(kind, write_tree, png):
    root = write_tree(*(f"{i}.png" for i in range(8)))
    others = {path: path.read_bytes() for path in root.iterdir()}
    valid, damage = KINDS[kind]
    file, rng = root / f"set.{kind}", random.Random(20)
    original = valid(png)
    assert check(file, gzip.compress(original) if kind == "tar.gz" else original) >= 6
    refused = opened = 0
    deadline = time.monotonic() + SECONDS
    while (tried := refused + opened) < AT_LEAST or time.monotonic() < deadline:
        dataset = damage(rng, original) if tried % 10 else rng.randbytes(rng.randrange(3000))
        found = check(file, dataset)
        refused, opened = refused + (found == 0), opened + (found > 0)
    assert refused and (opened or tried < 100)
    assert {path: path.read_bytes() for path in root.iterdir() if path != file} == others
