"""What every reader of packed files shares: how much may come out of one, and what a fault says."""

import errno
import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synthaug.errors import DataError, ResourceError, SynthaugError

MAX_TOTAL_BYTES = 64 * 2**30
"""More than this is never read into memory, whatever the machine has."""
MAX_EXPANSION = 200
"""Images in PNG or JPEG pack about 1:1, blank bitmaps or masks up to 1:1000."""
FREE_BYTES = 256 * 2**20
"""Up to here any expansion is harmless, and small sets of masks stay readable."""

_PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


@dataclass
class Allowance:
    """How much has come out of a file of ``packed`` bytes; None where that size means nothing."""

    origin: str
    packed: int | None
    taken: int = 0

    def take(self, n_bytes: int) -> None:
        """Count what is about to be read, or was.

        Raises:
            DataError: when the file expands more than any dataset would.
            ResourceError: when it holds more than the memory does.
        """
        self.taken += n_bytes
        if self.packed is not None and self.taken > max(FREE_BYTES, MAX_EXPANSION * self.packed):
            raise DataError(
                f"{self.origin} has {_size(self.packed)} but expands to {_size(self.taken)} or "
                "more, as a decompression bomb does",
                expected=f"at most {MAX_EXPANSION} times its size",
                remedy="if you trust it, unpack it and give the folder",
            )
        if self.taken > memory_limit():
            raise ResourceError(
                f"{self.origin} holds {_size(self.taken)} of images or more",
                expected=f"at most {_size(memory_limit())}, since they are held in memory",
                remedy="give a folder of image files, which is read one by one",
            )


def memory_limit() -> int:
    """The smaller of `MAX_TOTAL_BYTES` and the memory of this machine, in bytes."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        memory = 0
    return min(MAX_TOTAL_BYTES, memory) if memory > 0 else MAX_TOTAL_BYTES


@contextmanager
def reading(origin: str, kind: str) -> Iterator[None]:
    """Turn whatever a library raises over a broken file into one line.

    Args:
        origin: the file.
        kind: what it should be, with its article: "a zip archive".

    Raises:
        DataError: instead of any other exception.
        ResourceError: instead of a `MemoryError`.
    """
    try:
        yield
    except (SynthaugError, AssertionError):
        raise
    except MemoryError as exc:
        raise ResourceError(
            f"{origin} does not fit into memory", remedy="give a folder of image files"
        ) from exc
    except OSError as exc:
        # A damaged file may ask for an impossible position in itself.
        if exc.strerror and exc.errno != errno.EINVAL:
            raise DataError(
                f"{origin} cannot be read: {exc.strerror}", remedy="check the file and its rights"
            ) from exc
        raise _broken(origin, kind, exc) from exc
    except Exception as exc:  # readers raise whatever a broken file leads them to
        raise _broken(origin, kind, exc) from exc


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_odd_zip_member(origin: str, info: zipfile.ZipInfo) -> None:
    """Refuse a member that needs a password or a rare compression.

    Only of the usual one can output be asked for piece by piece, which stops a bomb.

    Raises:
        DataError: naming the member.
    """
    if info.flag_bits & _ENCRYPTED:
        raise DataError(f"{origin} is encrypted", remedy="pack it again without a password")
    if info.compress_type not in _PLAIN_METHODS:
        name, method = info.filename[:80], info.compress_type
        raise DataError(
            f"{origin} has {name!a} in a rare compression, number {method}",
            expected="zip's usual compression (deflate) or none",
            remedy="pack it again",
        )


def _broken(origin: str, kind: str, exc: Exception) -> DataError:
    reason = " ".join(str(exc).split())[:200] or type(exc).__name__
    return DataError(
        f"{origin} cannot be read as {kind}: {reason}",
        remedy="it may be cut short or damaged: copy or download it again",
    )


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.4g} GiB"
