"""What headers say, and the size and channels that follow from them."""

import tracemalloc

import numpy as np
import pytest
from handmade_images import encoded, png_16
from PIL import Image

from synthaug.data import decode
from synthaug.data.decode import choose_channels, choose_size, read_headers
from synthaug.data.folder import index_folder
from synthaug.data.index import ImageIndex
from synthaug.data.source import Arrays, Blobs
from synthaug.errors import DataError


def index_of(source, n):
    return ImageIndex(
        origin="images",
        paths=tuple(f"{i:04d}" for i in range(n)),
        labels=np.zeros(n, np.int64),
        class_names=("a",),
        declared_split=("",) * n,
        ignored={},
        source=source,
    )


def array_facts(*arrays):
    facts = read_headers(index_of(Arrays(arrays, np.arange(sum(map(len, arrays)))), len(arrays)))
    return list(zip(facts.widths.tolist(), facts.heights.tolist(), facts.modes, strict=True))


@pytest.mark.parametrize(
    ("dtype", "mode"),
    [("?", "1"), ("u1", "L"), (">u2", "I;16"), ("u4", "I"), ("i1", "I"), ("i8", "I"), ("f2", "F")],
)
def test_arrays_have_the_mode_of_their_number_type(dtype, mode):
    shapes = [(1, 5, 7), (1, 5, 7, 1), (1, 5, 7, 3), (1, 5, 7, 4)]
    modes = [mode, mode, "RGB", "RGBA"]
    facts = array_facts(*(np.zeros(shape, dtype) for shape in shapes))
    assert facts == [(7, 5, mode) for mode in modes]


def test_arrays_that_are_no_images_have_no_header():
    wrong = (
        np.zeros((1, 5)),
        np.zeros((1, 5, 7, 2)),
        np.zeros((1, 5, 7), "c8"),
        np.full((1, 5, 7), ""),
    )
    assert array_facts(*wrong) == [(0, 0, "")] * 4


def test_headers_of_arrays_copy_no_pixels():
    images = np.zeros((500, 64, 64, 3), np.uint8)
    index = index_of(Arrays((images,), np.arange(500)), 500)
    tracemalloc.start()
    facts = read_headers(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(facts.modes) == {"RGB"} and peak < images.nbytes / 20


def test_files_in_memory():
    deep = png_16(np.zeros((5, 7, 2), np.uint16))
    jpeg = encoded(Image.new("CMYK", (20, 10)), "JPEG")
    facts = read_headers(index_of(Blobs((deep, jpeg, b"broken", b"")), 4))
    assert facts.widths.tolist() == [7, 20, 0, 0] and facts.heights.tolist() == [5, 10, 0, 0]
    # Pillow calls deep grey with opacity colour, which would cost a dataset its single channel.
    assert facts.modes == ("LA", "CMYK", "", "")


def test_a_header_is_read_whatever_size_it_claims():
    facts = read_headers(index_of(Blobs((b"P5 20000 20000 255\n\0",)), 1))
    assert facts.widths.tolist() == [20_000]


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
