"""What headers say, and the size and channels that follow from them."""

import numpy as np
import pytest
from PIL import Image

from synthaug.data import decode
from synthaug.data.decode import choose_channels, choose_size, read_headers
from synthaug.data.folder import index_folder
from synthaug.errors import DataError


@pytest.mark.parametrize(
    ("sides", "largest", "size"),
    [
        ([28, 28, 28], 64, 16),
        ([300, 32, 33], 64, 32),
        ([500, 500], 64, 64),
        ([500, 500], 32, 32),
        ([500], 50, 32),
        ([3, 3], 64, 8),
        ([8], 64, 8),
        ([64, 0, 0, 0], 64, 64),
    ],
)
def test_choose_size(sides, largest, size):
    widths = np.array(sides)
    facts = decode.HeaderFacts(widths, np.where(widths > 0, widths + 5, 0), ("L",) * len(sides))
    assert choose_size(facts, largest=largest) == size


def test_choose_channels(write_tree):
    root = write_tree("a/0.png", "b/0.png")
    Image.new("I;16", (8, 8)).save(root / "a/1.png")
    Image.new("LA", (8, 8)).save(root / "a/2.png")
    Image.new("1", (8, 8)).save(root / "a/3.png")
    (root / "a/4.png").write_bytes(b"broken")
    facts = read_headers(index_folder(root))
    assert facts.modes == ("L", "I;16", "LA", "1", "", "L")
    assert choose_channels(facts) == 1
    Image.new("P", (8, 8)).save(root / "a/5.png")
    assert choose_channels(read_headers(index_folder(root))) == 3


def test_nothing_readable(write_tree):
    root = write_tree("a/0.png", "b/0.png")
    for path in root.rglob("*.png"):
        path.write_bytes(b"broken")
    facts = read_headers(index_folder(root))
    for choose in (lambda: choose_size(facts, largest=64), lambda: choose_channels(facts)):
        with pytest.raises(DataError, match="none of the 2 image files can be read"):
            choose()
