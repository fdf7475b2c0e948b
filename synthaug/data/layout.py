"""Which of the two folder layouts a dataset has, and which class names can live side by side."""

import unicodedata
from collections.abc import Iterable, Mapping

from synthaug.errors import DataError

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
LAYOUTS = "one subfolder per class, or train/ and test/ each with one subfolder per class"


def is_split_layout(origin: str, classes_in: Mapping[str, set[str]]) -> bool:
    """Decide between the two layouts.

    Raises:
        DataError: when the folder can be read either way.
    """
    splits = {name: SPLIT_WORDS[name.lower()] for name in classes_in if name.lower() in SPLIT_WORDS}
    others = sorted(set(classes_in) - set(splits))
    nested = [name for name in splits if classes_in[name]]
    if others:
        # A class may well be called "test"; only inner class folders make it look like a split.
        for name in nested:
            if splits[name] == "train" or classes_in[name] & set(others):
                raise DataError(
                    f"{origin} has {name}/ with class folders in it beside {others[0]}/, so {name} "
                    "can be a split or a class",
                    expected=LAYOUTS,
                    remedy=f"move {others[0]}/ elsewhere, or rename {name}/ if it is a class",
                )
        return False
    if len(set(splits.values())) < len(splits) and nested:
        raise DataError(
            f"{origin} has {', '.join(sorted(splits))}, two of which name the same split",
            remedy="merge or rename them",
        )
    if any(splits[name] == "train" for name in nested):
        return True
    if nested and len(nested) == len(splits) and "train" not in splits.values():
        raise DataError(
            f"{origin} has {', '.join(sorted(splits))} with class folders in them but no train/",
            expected=LAYOUTS,
            remedy="add train/, or rename the folders if they are classes",
        )
    return False


def refuse_twins(origin: str, class_names: Iterable[str]) -> None:
    """Refuse names that differ only in case or in Unicode form: they collide on other systems."""
    seen: dict[str, str] = {}
    for name in class_names:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if key in seen:
            raise DataError(
                f"{origin} has the classes {seen[key]!r} and {name!r} ({seen[key]!a} and "
                f"{name!a}), which differ only in case or in Unicode form",
                remedy="merge or rename one of them",
            )
        seen[key] = name
