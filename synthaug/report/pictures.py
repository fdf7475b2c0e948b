"""Image arrays as contact sheets, and sheets as PNG data that a page carries within itself."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Between images both the black ground of a digit and the white one of a scan must stay visible.
_PAD_GREY = 128


@dataclass(frozen=True)
class Picture:
    """Real training images of one class beside synthetic ones.

    Both arrays are uint8 [N, C, H, W] with C = 1 or 3; either may hold no image (N = 0).
    """

    title: str
    caption: str
    real: NDArray[np.uint8]
    synthetic: NDArray[np.uint8]


def tile(images: NDArray[np.uint8], columns: int, pad: int = 1) -> NDArray[np.uint8]:
    """Lay images out row by row with grey lines of `pad` pixels between and around them.

    Args:
        images: uint8 [N, C, H, W], N >= 1, C = 1 or 3; the last row is filled up with grey.
        columns: images in a full row; fewer images than that make a narrower sheet.
        pad: width of the lines in pixels.

    Returns:
        uint8 [rows * (H + pad) + pad, columns * (W + pad) + pad, 3].

    Raises:
        ValueError: if the images are not such an array, or columns < 1, or pad < 0.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}; expected uint8 [N, 1 or 3, H, W]"
        )
    if len(images) == 0 or columns < 1 or pad < 0:
        raise ValueError(f"cannot tile {len(images)} images in {columns} columns, pad {pad}")
    n, _, height, width = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    shape = (rows * (height + pad) + pad, columns * (width + pad) + pad, 3)
    sheet = np.full(shape, _PAD_GREY, dtype=np.uint8)
    for i, image in enumerate(images):
        top = pad + (i // columns) * (height + pad)
        left = pad + (i % columns) * (width + pad)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def png_data_uri(grid: NDArray[np.uint8], scale: int = 1) -> str:
    """Encode an image as a `data:image/png` address, each pixel enlarged to scale × scale.

    Args:
        grid: uint8 [H, W] or [H, W, 3].
        scale: whole factor >= 1; pixels stay sharp squares.

    Raises:
        ValueError: if the array is not an image of that kind, or scale < 1.
    """
    is_image = grid.ndim == 2 or (grid.ndim == 3 and grid.shape[2] == 3)
    if grid.dtype != np.uint8 or not is_image or grid.size == 0 or scale < 1:
        raise ValueError(
            f"{grid.dtype} {list(grid.shape)} at scale {scale}; "
            "expected uint8 [H, W] or [H, W, 3] and a scale of at least 1"
        )
    enlarged = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(enlarged).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
