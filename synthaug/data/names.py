"""Folder names for classes that every filesystem holds and every image-folder reader keeps."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

_MAX_BYTES = 255
_KEPT_BYTES = 200
_ILLEGAL = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
# What the imagefolder reader of `datasets` takes for a split, and what it takes for a word's edge.
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9])"
    r"(training|train|validation|valid|val|dev|testing|test|evaluation|eval)"
    r"(?![^-._ 0-9])"
)


def folder_names(class_names: Iterable[str]) -> dict[str, str]:
    """Return a unique, safe folder name for every class, the class name itself wherever possible.

    A split word inside a name gets a tilde ("test" -> "test~"), since readers would otherwise take
    the folder for a split. A name that some filesystem refuses, that is hidden, or that leads
    elsewhere is rewritten and ends in eight hex digits of its SHA-256.
    """
    names = list(dict.fromkeys(class_names))
    folders: dict[str, str] = {}
    taken: set[str] = set()
    # Names that can stay as they are go first, so that a rewritten one never displaces them.
    for name in sorted(names, key=lambda name: (_safe(name) != name, names.index(name))):
        folder = _safe(name)
        if _collision_key(folder) in taken:
            folder = _rewritten(name)
        taken.add(_collision_key(folder))
        folders[name] = folder
    return {name: folders[name] for name in names}


def _safe(name: str) -> str:
    portable = (
        name
        and not _ILLEGAL.search(name)
        and not _RESERVED.match(name)
        and not name.startswith((".", "__"))
        and not name.endswith((".", " "))
        and len(_SPLIT_WORD.sub(r"\1~", name).encode()) <= _MAX_BYTES
    )
    return _SPLIT_WORD.sub(r"\1~", name) if portable else _rewritten(name)


def _rewritten(name: str) -> str:
    digits = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    stem = re.sub(r"^[._]+", "_", _ILLEGAL.sub("_", name))
    stem = stem.encode()[:_KEPT_BYTES].decode(errors="ignore").rstrip(". ")
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    return _SPLIT_WORD.sub(r"\1~", f"{stem or 'class'}~{digits}")


def _collision_key(folder: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", folder).casefold())
