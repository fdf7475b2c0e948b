"""Which images belong together, such as those of one patient, told by their paths."""

import re
from dataclasses import replace

from synthaug.data.index import ImageIndex
from synthaug.errors import UsageError


def group_by_pattern(index: ImageIndex, pattern: str | None) -> ImageIndex:
    """The index with the group that ``pattern`` finds in each path; as it is without a pattern.

    The regular expression is searched in the path. The group is what its first pair of parentheses
    holds, or all that it matches if it has none: ``patient(\\d+)`` finds "17" in
    ``benign/patient17_left.png``. Paths without a match belong to no group; a notice counts them.

    Raises:
        UsageError: when the expression is not valid or matches no path.
    """
    if pattern is None:
        return index
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as exc:
        raise UsageError(
            f"the group pattern {pattern!r} is not a regular expression: {exc}",
            expected=r"one such as patient(\d+)",
        ) from exc
    found = [expression.search(path) for path in index.paths]
    groups = tuple((match[min(1, expression.groups)] or "") if match else "" for match in found)
    alone = groups.count("")
    if alone == len(groups):
        raise UsageError(
            f"the group pattern {pattern!r} finds no group in any path of {index.origin}",
            expected=f"a regular expression for paths such as {index.paths[0]}",
        )
    if not alone:
        return replace(index, groups=groups)
    notice = f"{alone} of {len(groups)} images have no group: {pattern!r} finds none in their path"
    return replace(index, groups=groups, notices=(*index.notices, notice))
