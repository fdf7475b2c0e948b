"""Small image trees and a hash over a whole tree."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def tree_hash(root: Path) -> str:
    """Hash of every path, link and content below a folder."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*"), key=lambda path: path.as_posix()):
        digest.update(path.relative_to(root).as_posix().encode())
        if path.is_file() and not path.is_symlink():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def png_of(name: str) -> bytes:
    """A grey 8x8 PNG that depends on a name."""
    levels = np.random.default_rng(list(name.encode())).integers(0, 256, (8, 8), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def png() -> Callable[[str], bytes]:
    """Encode a small image, another one for every name."""
    return png_of


@pytest.fixture
def write_tree(tmp_path: Path) -> Callable[..., Path]:
    """Write a grey 8x8 PNG, different every time, at each relative path; return the root."""

    def write(*files: str, root: str = "images") -> Path:
        top = tmp_path / root
        top.mkdir(exist_ok=True)
        for file in files:
            path = top / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png_of(f"{root}/{file}"))
        return top

    return write


@pytest.fixture
def unchanged() -> Callable[[Path], AbstractContextManager[None]]:
    """A context that fails when the folder is different at its end."""

    @contextmanager
    def watch(root: Path) -> Iterator[None]:
        before = tree_hash(root)
        yield
        assert tree_hash(root) == before, f"{root} was changed"

    return watch
