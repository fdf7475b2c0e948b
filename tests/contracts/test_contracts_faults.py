"""Every fault of training, disk, sampling and output that is promised to be met has a test.

The rows are those of the project's list of faults, and a test says in its name which it is about:
`test_row_85_...`. `docs/reliability.md` tells what is promised.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
NAMED = re.compile(r"^\s*def test_rows?_((?:\d+_)+)", re.MULTILINE)
ROWS = {
    55: "a loss that is not finite, once",
    56: "a loss that is not finite, again and again",
    57: "weights that are not finite, at a save",
    58: "out of memory at the start",
    59: "out of memory late",
    60: "too little host memory",
    61: "out of memory on one rank only",
    62: "a resolution or channels that do not divide",
    63: "a label out of range",
    64: "a batch larger than a class",
    65: "a worker process that dies",
    66: "a device that is absent",
    67: "an exact resume",
    68: "a resume with other threads",
    69: "a resume with another recipe or dataset",
    70: "a resume of a finished run",
    71: "one class that fails of many",
    72: "a clock that jumps",
    73: "SIGINT once and twice",
    74: "SIGTERM in every phase",
    75: "SIGTERM on one rank",
    76: "SIGKILL at any byte of a save",
    77: "a truncated network",
    78: "an optimiser file truncated or missing",
    79: "a random state truncated or missing",
    80: "a pickle for an optimiser",
    81: "a pickle for a checkpoint",
    82: "an incomplete newest checkpoint",
    83: "no valid checkpoint",
    84: "a checkpoint of another version",
    85: "a full disk during a checkpoint",
    86: "a full disk during images or JSON",
    87: "too little disk, foreseen",
    88: "a read-only run folder",
    89: "a run folder in the dataset",
    90: "two processes on one run",
    91: "a lock whose owner died",
    92: "rotation of checkpoints",
    93: "a run that was moved",
    94: "samples that are not finite or saturated",
    95: "an interrupted generate",
    96: "the same seed and batch size",
    97: "another batch size",
    98: "memorised images",
    99: "no images asked for, or too many",
    100: "the balanced folder read back",
    101: "a class without test images",
    102: "measures of too few images",
    103: "synthetic images in the test set",
    104: "synthetic images that do not help",
    105: "a tracker or the Hub down",
    106: "a report without a network",
    107: "a closed stdout, or no terminal",
    108: "JSON on stdout",
}


def rows_with_tests(folder: Path) -> dict[int, list[str]]:
    """The test files of each row that is named in one below a folder."""
    found: dict[int, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for match in NAMED.finditer(path.read_text(encoding="utf-8")):
            for row in re.findall(r"\d+", match.group(1)):
                found.setdefault(int(row), []).append(path.name)
    return found


def test_every_row_has_a_test():
    untested = ROWS.keys() - rows_with_tests(TESTS).keys()
    assert {n: ROWS[n] for n in sorted(untested)} == {}


def test_the_rows_are_all_there():
    assert sorted(ROWS) == list(range(55, 109))


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("def test_row_85_a_disk():\n    pass", {85}),
        ("class A:\n    def test_row_77_78_two(self): ...", {77, 78}),
        ("def test_rows_80_81_both(): ...", {80, 81}),
        ("def test_rows_55(): ...\n# test_row_56_x\ndef row_57_(): ...", set()),
    ],
)
def test_names_are_read_as_they_are_meant(tmp_path: Path, source: str, rows: set[int]):
    (tmp_path / "test_x.py").write_text(source)
    assert set(rows_with_tests(tmp_path)) == rows
