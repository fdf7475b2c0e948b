"""What is remarkable about a dataset, each with what becomes of it and what to do about it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthaug.stages.reading import Reading
from synthaug.words import number_of

EXAMPLES = 5
Severity = Literal["refused", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """`count` images, groups or classes with something in common.

    `text` says what was found and what `fit` makes of it, `remedy` what the user can do; `examples`
    are at most a few paths or pairs of paths. `refused`: training does not start. `warning`: the
    result may be worse or less certain. `note`: good to know.
    """

    kind: str
    severity: Severity
    count: int
    text: str
    remedy: str = ""
    examples: tuple[str, ...] = ()


def dataset_findings(reading: Reading) -> list[Finding]:
    """Findings that do not depend on a split: files, repeated images, odd ones."""
    found = [
        _broken(reading),
        *_repeats(reading),
        _near(reading),
        *_odd(reading),
        _shapes(reading),
        _groups(reading),
        *_treated(reading),
        *_passed_over(reading),
    ]
    return [finding for finding in found if finding is not None]


def _broken(reading: Reading) -> Finding | None:
    bad = reading.decoded.bad
    if not bad:
        return None
    return Finding(
        "broken", "warning", len(bad), f"{number_of(len(bad), 'image')} cannot be read: left out",
        "open them in a viewer, export them again or remove them; --on-bad-image error stops at "
        "the first", tuple(f"{b.path}: {b.reason}" for b in bad[:EXAMPLES]),
    )  # fmt: skip


def _repeats(reading: Reading) -> Iterable[Finding]:
    """Identical pixels within a class, under several classes, and on both sides of a split."""
    positions: dict[str, list[int]] = defaultdict(list)
    for i, content in enumerate(reading.decoded.content_hashes):
        positions[content].append(i)
    groups = [group for group in positions.values() if len(group) > 1]
    labels = reading.labels
    sides = np.array([split or "train" for split in reading.declared])
    torn = [g for g in groups if len(set(labels[g].tolist())) > 1]
    leaked = [g for g in groups if len(set(sides[g].tolist())) > 1]
    plain = [g for g in groups if g not in torn and g not in leaked]
    if plain:
        extra = sum(len(group) - 1 for group in plain)
        yield Finding(
            "duplicates", "note", len(plain),
            f"{number_of(len(plain), 'group')} of identical images inside a class, {extra} more "
            "than once: they stay on one side of every split",
            "remove the copies if they are accidents: they count as images of the class",
            _chains(reading, plain),
        )  # fmt: skip
    if torn:
        yield Finding(
            "two_labels", "warning", len(torn),
            f"{number_of(len(torn), 'group')} of identical images under more than one class: one "
            "of the labels is wrong",
            "decide for one class and remove the others", _chains(reading, torn),
        )  # fmt: skip
    if leaked:
        yield Finding(
            "leak", "warning", len(leaked),
            f"{number_of(len(leaked), 'group')} of identical images on two sides of the split: "
            "they are left out of test and validation",
            "remove them from one side", _chains(reading, leaked),
        )  # fmt: skip


def _near(reading: Reading) -> Finding | None:
    hashes = reading.decoded.content_hashes
    near = [(int(i), int(j)) for i, j in reading.near if hashes[i] != hashes[j]]
    if not near:
        return None
    declared = reading.declared
    crossing = [(i, j) for i, j in near if (declared[i] or "train") != (declared[j] or "train")]
    found = f"{number_of(len(near), 'pair')} of nearly identical images"
    ignore = "--set data.near_duplicates=ignore treats them as different"
    if not crossing:
        return Finding(
            "near_duplicates", "note", len(near),
            f"{found}: a split that is cut keeps them on one side",
            f"look at them; {ignore}", _chains(reading, near),
        )  # fmt: skip
    return Finding(
        "near_duplicates", "warning", len(near),
        f"{found}, {len(crossing)} of them on two sides of the declared split, which is left as it "
        "is",
        "look at them; --set data.near_duplicates=drop leaves such test images out, =ignore "
        "treats them as different", _chains(reading, crossing + near),
    )  # fmt: skip


def _odd(reading: Reading) -> Iterable[Finding]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for odd in reading.decoded.odd:
        by_reason[odd.reason].append(odd.path)
    for reason, paths in sorted(by_reason.items()):
        yield Finding(
            "odd", "warning", len(paths), f"{number_of(len(paths), 'image')}: {reason}",
            "look at them; remove them if they are no pictures of their class",
            tuple(paths[:EXAMPLES]),
        )  # fmt: skip


def _shapes(reading: Reading) -> Finding | None:
    """How images of several shapes become squares of one size."""
    headers = reading.headers
    known = (headers.widths > 0) & (headers.heights > 0)
    widths, heights = headers.widths[known], headers.heights[known]
    size = reading.image_size
    oblong = int((widths != heights).sum())
    small = int((np.minimum(widths, heights) < size).sum())
    if not oblong and not small and len(set(widths.tolist())) == 1:
        return None
    parts = [f"every image becomes {size}x{size}: scaled by its short side"]
    if oblong:
        parts.append(f"and cut to its centre square ({number_of(oblong, 'image')} not square)")
    if small:
        parts.append(f"{number_of(small, 'image')} enlarged")
    remedy = "crop them yourself if what matters lies at the edges" if oblong else ""
    return Finding("shapes", "note", oblong or len(widths), ", ".join(parts), remedy)


def _groups(reading: Reading) -> Finding | None:
    named = Counter(group for group in reading.groups if group)
    if not named:
        return None
    alone = sum(not group for group in reading.groups)
    without = f"; {number_of(alone, 'image')} without a group" if alone else ""
    return Finding(
        "groups", "note", len(named),
        f"{number_of(len(named), 'group')} (the largest has {max(named.values())} images), each on "
        f"one side of every split{without}",
    )  # fmt: skip


def _treated(reading: Reading) -> Iterable[Finding]:
    for reason, n in sorted(reading.decoded.notices.items()):
        # Data of a 12-bit detector stored in 16 bits comes out sixteen times too dark.
        found, declare, how = reason.partition(": declare ")
        if declare:
            text = f"{number_of(n, 'image')}: {found}, so they come out dark"
            yield Finding("dark", "warning", n, text, f"declare their range: {how}")
        else:
            yield Finding("treated", "note", n, f"{number_of(n, 'image')}: {reason}")


def _passed_over(reading: Reading) -> Iterable[Finding]:
    for reason, n in sorted(reading.index.ignored.items()):
        yield Finding(
            "passed_over", "note", n, f"{number_of(n, 'entry', 'entries')} passed over: {reason}"
        )
    for notice in reading.index.notices:
        yield Finding("index", "note", 1, notice)


def _chains(reading: Reading, groups: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """The paths of the first few groups, each in one line."""
    paths = reading.paths
    lines = []
    for group in groups[:EXAMPLES]:
        names = [paths[i] for i in group[:3]]
        lines.append(" = ".join([*names, f"… ({len(group)})"] if len(group) > 3 else names))
    return tuple(dict.fromkeys(lines))
