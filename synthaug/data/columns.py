"""Which columns of a table hold the images, the labels and the groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthaug.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label")


@dataclass(frozen=True)
class Wanted:
    """Columns the user named; None for the usual ones, and for no groups."""

    image: str | None = None
    label: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Chosen:
    """Names of the columns to read, and the class names if labels are positions in them."""

    image: str
    label: str
    group: str | None
    class_names: tuple[str, ...] | None

    @property
    def names(self) -> tuple[str, str, str | None]:
        """Image, label, group."""
        return self.image, self.label, self.group


def choose_columns(
    origin: str, schema: "pa.Schema", features: Mapping[str, Any], wanted: Wanted
) -> Chosen:
    """Choose the columns that the user named, or the only ones that can be meant.

    Images are an ``Image`` feature, a struct with ``bytes``, or binary; labels a ``ClassLabel``,
    integers or text.

    Args:
        origin: the dataset, for messages.
        schema: names and types of its columns.
        features: what `datasets` says of them, if anything.
        wanted: what the user asked for.

    Raises:
        UsageError: when a column that was asked for does not exist.
        DataError: when there is no such column, several may be meant, or its type is another.
    """
    table = _Schema(origin, schema, features)
    image = table.image(wanted.image)
    label = table.label(wanted.label, besides=image)
    group = None if wanted.group is None else table.existing(wanted.group, "--groups")
    return Chosen(image, label, group, table.class_names(label))


@dataclass(frozen=True)
class _Schema:
    origin: str
    schema: "pa.Schema"
    features: Mapping[str, Any]

    def image(self, wanted: str | None) -> str:
        encoded = [f.name for f in self.schema if _holds_images(f.type)]
        if wanted is not None:
            if self.existing(wanted, "--image-column") not in encoded:
                raise self._fault(f"has no encoded images in {wanted!r}", "--image-column")
            return wanted
        declared = [name for name in encoded if _is_feature(self.features.get(name), "Image")]
        candidates = declared or encoded
        usual = [name for name in candidates if name.lower() in IMAGE_COLUMNS]
        if len(candidates) != 1 and len(usual) != 1:
            what = "several columns" if candidates else "no column"
            raise self._fault(f"has {what} of encoded images", "--image-column")
        return self.existing((usual if len(usual) == 1 else candidates)[0], "--image-column")

    def label(self, wanted: str | None, *, besides: str) -> str:
        names = [name for name in self.schema.names if name != besides]
        usual = [name for word in LABEL_COLUMNS for name in names if name.lower() == word]
        declared = [n for n in names if _is_feature(self.features.get(n), "ClassLabel")]
        if wanted is None and not usual and len(declared) != 1:
            raise self._fault(
                f"has no column called {' or '.join(LABEL_COLUMNS)}", "--label-column"
            )
        name = self.existing(wanted or (usual or declared)[0], "--label-column")
        kind = self.schema.field(name).type
        if not _holds_labels(kind):
            several = ", several for each image" if "list" in str(kind) else ""
            raise DataError(
                f"{self.origin} has labels of type {kind} in {name!r}{several}",
                expected="a class label, integers or text",
                remedy="name another column with --label-column",
            )
        return name

    def class_names(self, label: str) -> tuple[str, ...] | None:
        """The names that labels stand for by their position, if they do."""
        import pyarrow as pa

        feature: Any = self.features.get(label)
        numbered = pa.types.is_integer(self.schema.field(label).type)
        return tuple(feature.names) if numbered and _is_feature(feature, "ClassLabel") else None

    def existing(self, name: str, option: str) -> str:
        """The name, if there is exactly one such column."""
        found = self.schema.names.count(name)
        if found > 1:
            raise DataError(f"{self.origin} has {found} columns {name!r}")
        if not found:
            raise UsageError(
                f"{self.origin} has no column {name!r} for {option}",
                expected=f"one of {_listed(self.schema)}",
            )
        return name

    def _fault(self, found: str, option: str) -> DataError:
        return DataError(
            f"{self.origin} {found}; its columns are {_listed(self.schema) or 'none'}",
            remedy=f"name the column with {option}",
        )


def _holds_images(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        if at < 0:
            return False
        kind = kind.field(at).type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _holds_labels(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _is_feature(feature: Any, name: str) -> bool:
    # By name, since importing `datasets` takes longer than reading many a table.
    return type(feature).__name__ == name


def _listed(schema: "pa.Schema") -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)[:400]
