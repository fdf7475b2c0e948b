"""The arrays of an npz, each loaded only after its header was found to be honest."""

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthaug.data.packed import Allowance, refuse_odd_zip_member
from synthaug.errors import DataError

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class ArrayHeader:
    """What an array says of itself."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


class NpzArrays:
    """The arrays of an open npz by name.

    The file is never unpickled. All arrays whose headers are read count against one allowance.
    """

    def __init__(self, file: Path, archive: zipfile.ZipFile) -> None:
        self._origin = str(file)
        self._archive = archive
        self._allowance = Allowance(self._origin, file.stat().st_size)
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        self._headers: dict[str, ArrayHeader] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all arrays, sorted."""
        return tuple(sorted(self._members))

    def header(self, name: str) -> ArrayHeader:
        """The shape and type of an array, which fit the size that the archive gives for it.

        Raises:
            DataError: when they do not, or when the array holds Python objects.
            ResourceError: when the arrays looked at so far do not fit into memory.
        """
        if name in self._headers:
            return self._headers[name]
        member = self._members[name]
        refuse_odd_zip_member(self._origin, member)
        with self._archive.open(member) as stream, _quiet_numpy():
            version = np.lib.format.read_magic(stream)
            if version not in _HEADER_READERS:
                raise DataError(f"{self._origin} has {name} in format {version}")
            shape, _, dtype = _HEADER_READERS[version](stream)
            start = stream.tell()
        if dtype.hasobject:
            raise DataError(
                f"{self._origin} has Python objects in {name}, which could run code when loaded",
                expected="numbers, or text of fixed length",
                remedy=f"save np.array({name}.tolist()) instead",
            )
        sensible = dtype.itemsize > 0 and min(shape, default=0) >= 0
        if not sensible or start + math.prod(shape) * dtype.itemsize != member.file_size:
            raise DataError(
                f"{self._origin} has {name} of shape {list(shape)} and type {dtype}, which does "
                f"not fit its {member.file_size} bytes",
                remedy="it may be damaged: copy or download it again",
            )
        self._allowance.take(member.file_size)
        self._headers[name] = ArrayHeader(name, shape, dtype)
        return self._headers[name]

    def load(self, header: ArrayHeader) -> np.ndarray:
        """The array that a header from here describes."""
        with self._archive.open(self._members[header.name]) as stream, _quiet_numpy():
            array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array


@contextmanager
def _quiet_numpy() -> Iterator[None]:
    """Silence what numpy says of old headers: they are read all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
