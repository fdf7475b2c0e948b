"""The wanted members of a zip or tar archive in memory, and none of what could do harm."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthaug.data.packed import Allowance, refuse_odd_zip_member
from synthaug.errors import DataError

Keep = Callable[[str, bool], str]
"""From the name of a member, and whether it is a folder, to its key in the result; "" to skip."""

_UTF8_FLAG = 0x800
_COMPRESSIONS: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.open(file, "rb"),
    b"BZh": lambda file: bz2.open(file, "rb"),
    b"\xfd7zXZ\0": lambda file: lzma.open(file, "rb"),
}
_CHUNK = 1 << 16


def read_zip(file: Path, keep: Keep) -> dict[str, bytes]:
    """Read members of a zip, after all of them were looked at.

    Raises:
        DataError: when a member is a link, a device, encrypted or in a rare compression, has
            another size than stated, or when the archive would expand like a bomb.
        ResourceError: when the members do not fit into memory.
        Exception: whatever `zipfile` makes of a damaged archive.
    """
    origin = str(file)
    allowance = Allowance(origin, file.stat().st_size)
    with zipfile.ZipFile(file) as archive:
        wanted = {}
        for info in archive.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise _not_a_file(origin, info.filename)
            refuse_odd_zip_member(origin, info)
            if key := keep(_zip_name(info), info.is_dir()):
                allowance.take(info.file_size)
                wanted[key] = info
        return {key: _read_zip_member(origin, archive, info) for key, info in wanted.items()}


def read_tar(file: Path, keep: Keep) -> dict[str, bytes]:
    """Read members of a tar, packed or not, in one pass that counts every byte.

    Raises:
        DataError: when a member is a link or a device, when the archive expands like a bomb, or
            when something follows its end: a second archive would be lost without a word.
        ResourceError: when the members do not fit into memory.
        Exception: whatever `tarfile` and the decompressors make of a damaged archive.
    """
    origin = str(file)
    allowance = Allowance(origin, file.stat().st_size)
    contents = {}
    with (
        _decompressed(file) as stream,
        tarfile.open(
            fileobj=io.BufferedReader(_Metered(stream, allowance), _CHUNK),
            mode="r|",
            bufsize=_CHUNK,
            tarinfo=_StrictHeader,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive,
    ):
        for member in archive:
            # A sparse file is nearly all holes, which cost nothing to pack at any size.
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise _not_a_file(origin, member.name)
            if (key := keep(member.name, member.isdir())) and (
                opened := archive.extractfile(member)
            ):
                contents[key] = opened.read()
        assert archive.fileobj is not None
        while rest := archive.fileobj.read(_CHUNK):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("more data follows the end of the archive")
    return contents


class _StrictHeader(tarfile.TarInfo):
    """A header that must be whole; `tarfile` takes a damaged one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_StrictHeader":
        is_end_mark = buf and not buf.strip(b"\0")
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as exc:
            if is_end_mark:
                raise
            raise tarfile.ReadError(f"a damaged or missing header ({exc})") from exc


class _Metered(io.RawIOBase):
    """A stream that counts what is read from it."""

    def __init__(self, stream: io.BufferedIOBase, allowance: Allowance) -> None:
        self._stream = stream
        self._allowance = allowance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer))
        self._allowance.take(len(chunk))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _decompressed(file: Path) -> io.BufferedIOBase:
    with open(file, "rb") as raw:
        start = raw.read(6)
    for magic, opened in _COMPRESSIONS.items():
        if start.startswith(magic):
            return opened(file)
    return open(file, "rb")


def _read_zip_member(origin: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as stream:
        # Without a number, the whole member is unpacked before its size is looked at.
        content = stream.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise DataError(
            f"{origin} gives {info.filename[:80]!a} {info.file_size} bytes but holds "
            f"{len(content)}",
            remedy="it may be damaged: copy or download it again",
        )
    return content


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name of a member with slashes, as its maker meant it.

    Some programs write UTF-8 without saying so, and some write backslashes.
    """
    name = info.orig_filename  # the other one ends at a NUL
    if not info.flag_bits & _UTF8_FLAG:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name.replace("\\", "/")


def _not_a_file(origin: str, name: str) -> DataError:
    return DataError(
        f"{origin} has {name[:80]!a}, which is a link, a device or a sparse file",
        expected="files and folders alone",
        remedy="pack the files themselves, as tar --dereference --hard-dereference does",
    )
