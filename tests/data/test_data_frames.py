"""Images of any shape and range as square 8-bit ones, and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.data.frames import LARGEST_SIDE, Frame
from synthaug.errors import DataError


def packed(images: np.ndarray, image_shape=None) -> tuple[Frame, np.ndarray]:
    frame = Frame.of(images, image_shape)
    return frame, frame.pack(images)


SHAPES = [(1, 1), (7, 5), (8, 8), (5, 13), (28, 28), (2, 3, 3), (8, 8, 1)]


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.float32, np.float64]),
    flat=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_back_and_forth(shape, dtype, flat, seed):
    rng = np.random.default_rng(seed)
    images = (rng.normal(size=(6, *shape)) * 100 + 50).clip(0, 255).astype(dtype)
    rows = images.reshape(6, -1) if flat else images
    frame, square = packed(rows, shape if flat else None)
    assert square.dtype == np.uint8
    assert square.shape == (6, frame.side, frame.side, (*shape, 1)[2])
    assert frame.side >= max(8, *shape[:2]) and frame.side % 2 == 0
    back = frame.unpack(square.transpose(0, 3, 1, 2))
    assert back.shape == rows.shape and back.dtype == dtype
    step = 0 if dtype == np.uint8 else (float(images.max()) - float(images.min())) / 255
    rounding = 0.5 * (dtype in (np.int16, np.uint16))
    np.testing.assert_allclose(back, rows, atol=step / 2 * 1.001 + rounding, rtol=0)
    assert back.min() >= images.min() and back.max() <= images.max()


def test_256_levels_of_any_range_are_kept_exactly():
    levels = np.linspace(-3.0, 12.0, 256).reshape(4, 8, 8)
    frame, square = packed(levels)
    assert sorted(square.ravel().tolist()) == list(range(256))
    np.testing.assert_allclose(frame.unpack(square.transpose(0, 3, 1, 2)), levels, atol=1e-12)


def test_edges_are_continued_into_the_margin():
    images = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    _, square = packed(images)
    assert square[0, :2, :3, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (square[0, :2, 3:, 0] == [[2], [5]]).all() and (square[0, 2:, 0, 0] == 3).all()


def test_images_of_one_value():
    frame, square = packed(np.full((3, 8, 8), 7.5))
    assert (frame.unpack(square.transpose(0, 3, 1, 2)) == 7.5).all()


@pytest.mark.parametrize(
    ("shape", "image_shape", "told"),
    [
        ((4, 20), None, "20 numbers, which make no square"),
        ((4, 20), (4, 4), "20 numbers; expected 16"),
        ((4, 8, 8), (8, 9), "[8, 8]; expected [8, 9]"),
        ((4, 8, 8, 4), None, "C of 1 or 3"),
        ((4, 8, 8, 3, 2), None, "C of 1 or 3"),
        ((4, LARGEST_SIDE + 1, 8), None, f"at most {LARGEST_SIDE}"),
    ],
)
def test_other_shapes_are_refused(shape, image_shape, told):
    with pytest.raises(DataError) as refused:
        Frame.of(np.zeros(shape), image_shape)
    assert told in str(refused.value)
