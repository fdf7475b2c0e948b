"""Decoding: every mode, every planted defect, and never an exception for a broken file."""

import io
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from synthaug.data import decode
from synthaug.data.decode import choose_channels, choose_size, decode_images, read_headers
from synthaug.data.folder import index_folder
from synthaug.data.pixels import ReadOptions, content_hash, square_pixels
from synthaug.errors import DataError

RNG = np.random.default_rng(3)
NOISE = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.fixture
def decode_file(write_tree, unchanged):
    """Decode one file, given by name and bytes or image, beside two sound ones."""

    def run(name, content, *, size=16, channels=3, **options):
        root = write_tree("a/sound.png", "b/sound.png")
        path = root / "c" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encoded(content, "PNG"))
        with unchanged(root):
            result = decode_images(
                index_folder(root), size=size, channels=channels, options=ReadOptions(**options)
            )
        assert result.kept.tolist()[:2] == [0, 1]
        return result

    return run


def pixels_of(result):
    """[H, W, C] of the file under test."""
    assert result.bad == () and result.kept.tolist() == [0, 1, 2]
    return result.pixels[2].transpose(1, 2, 0)


def reason_of(result):
    (bad,) = result.bad
    assert bad.path.startswith("c/") and result.kept.tolist() == [0, 1]
    assert len(result.pixels) == len(result.content_hashes) == 2
    assert "\n" not in bad.reason
    return bad.reason


def flipped_png():
    data = bytearray(encoded(Image.fromarray(NOISE), "PNG", compress_level=0))
    data[len(data) // 2] ^= 0x10
    return bytes(data)


def test_row_01_zero_byte_file(decode_file):
    assert reason_of(decode_file("x.png", b"")) == "empty file"


def test_row_02_text_as_jpg(decode_file):
    assert "not an image" in reason_of(decode_file("x.jpg", b"once upon a time\n" * 9))


@pytest.mark.parametrize("cut", [2, 100, 300])
def test_row_03_04_truncated_jpeg(decode_file, cut):
    data = encoded(Image.fromarray(NOISE), "JPEG")
    assert "truncated" in reason_of(decode_file("x.jpg", data[:-cut])).lower()


@pytest.mark.parametrize("cut", [20, 400])
def test_row_05_truncated_png(decode_file, cut):
    reason_of(decode_file("x.png", encoded(Image.fromarray(NOISE), "PNG")[:-cut]))


def test_row_06_bit_flipped_png(decode_file):
    reason_of(decode_file("x.png", flipped_png()))


def test_row_06_flip_in_a_checksum_that_loading_does_not_see(decode_file):
    info = encoded(Image.fromarray(NOISE), "PNG", dpi=(72, 72))
    at = info.index(b"pHYs") + 6
    data = info[:at] + bytes([info[at] ^ 1]) + info[at + 1 :]
    reason_of(decode_file("x.png", data))


def test_row_07_08_too_many_pixels(decode_file):
    image = encoded(Image.new("1", (3000, 2000)), "PNG")
    reason = reason_of(decode_file("x.png", image, max_pixels=5_999_999))
    assert reason == "3000 x 2000 pixels, more than the limit of 5999999"


def test_row_07_bomb_header_without_any_warning(decode_file):
    header = b"P5 14000 14000 255\n" + b"\0" * 100
    assert "196000000 pixels" in reason_of(decode_file("x.pgm", header))


def test_row_08_what_pillow_only_warns_about(decode_file):
    header = b"P5 10000 10000 255\n" + b"\0" * 100
    assert "10000 x 10000 pixels" in reason_of(decode_file("x.pgm", header))


def test_row_09_cmyk(decode_file):
    grey = Image.new("CMYK", (16, 16), (0, 0, 0, 128))
    result = decode_file("x.jpg", encoded(grey, "JPEG", quality=100))
    assert abs(pixels_of(result).mean() - 127) < 2
    assert result.notices["CMYK converted to RGB"] == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_row_10_16_bit_grey(decode_file, channels):
    levels = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    result = decode_file("x.png", encoded(Image.fromarray(levels), "PNG"), channels=channels)
    assert (pixels_of(result)[..., 0] == np.arange(256).reshape(16, 16)).all()
    assert result.notices["16-bit scaled"] == 1


def test_row_11_big_endian_16_bit_tiff(decode_file):
    levels = np.linspace(0, 65535, 256).round().astype(">u2").reshape(16, 16)
    image = Image.frombytes("I;16B", (16, 16), levels.tobytes())
    result = decode_file("x.tif", encoded(image, "TIFF"))
    assert (pixels_of(result)[..., 1] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize(("top", "expected"), [(255, 255), (65535, 255), (100, 100), (70000, 255)])
def test_row_10_32_bit_grey(decode_file, top, expected):
    levels = np.zeros((16, 16), np.int32)
    levels[0, 0] = top
    result = decode_file("x.tif", encoded(Image.fromarray(levels), "TIFF"))
    assert pixels_of(result)[0, 0, 0] == expected


def test_row_10_dark_16_bit_pgm_keeps_its_scale(decode_file):
    levels = np.full((16, 16), 200, ">u2")
    result = decode_file("x.pgm", b"P5 16 16 65535\n" + levels.tobytes())
    assert (pixels_of(result) == 1).all()


def test_row_12_float_tiff(decode_file):
    share = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    result = decode_file("x.tif", encoded(Image.fromarray(share), "TIFF"))
    assert (pixels_of(result)[..., 2] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("factor", [2, -1, np.nan])
def test_row_12_float_tiff_of_unknown_range(decode_file, factor):
    share = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16) * np.float32(factor)
    result = decode_file("x.tif", encoded(Image.fromarray(share), "TIFF"))
    assert reason_of(result) == "float image without a declared value range"


def test_row_13_palette_with_transparency(decode_file):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 8, 16))
    result = decode_file("x.png", encoded(image, "PNG", transparency=0))
    pixels = pixels_of(result)
    assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[0, 15].tolist() == [0, 0, 255]
    assert result.notices["transparent: composited on white"] == 1


def test_row_13_palette_with_an_alpha_table(decode_file):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    result = decode_file("x.png", encoded(image, "PNG", transparency=bytes([0, 0])))
    assert (pixels_of(result) == 255).all()


def test_row_14_hidden_colours_of_rgba(decode_file):
    hidden = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    result = decode_file("x.png", hidden, background=0)
    assert (pixels_of(result) == 0).all()
    assert result.notices["transparent: composited on black"] == 1


def test_row_14_half_transparent(decode_file):
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    assert set(pixels_of(decode_file("x.png", half)).ravel().tolist()) == {127}


def test_row_14_opaque_rgba_is_kept_without_a_notice(decode_file):
    opaque = Image.fromarray(np.dstack([NOISE, np.full((16, 16), 255, np.uint8)]))
    result = decode_file("x.png", opaque)
    assert (pixels_of(result) == NOISE).all()
    assert not any("transparent" in notice for notice in result.notices)


def test_row_15_la_and_one_bit(decode_file):
    la = Image.new("LA", (16, 16), (10, 0))
    assert (pixels_of(decode_file("x.png", la, channels=1)) == 255).all()
    bits = Image.new("1", (16, 16), 1)
    assert (pixels_of(decode_file("x.png", bits, channels=1)) == 255).all()


def test_row_16_exif_orientation_6(decode_file):
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # bright on top as stored, on the right upright
    exif = Image.Exif()
    exif[0x0112] = 6
    result = decode_file("x.jpg", encoded(image, "JPEG", exif=exif, quality=100))
    pixels = pixels_of(result)[..., 0]
    assert pixels[:, 10:].min() > 240 and pixels[:, :6].max() < 15
    assert result.notices["EXIF-rotated"] == 1


def test_row_16_exif_rotation_comes_before_cropping(decode_file):
    stored = np.zeros((8, 32, 3), np.uint8)
    stored[:, 12:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 8
    data = encoded(Image.fromarray(stored), "PNG", exif=exif)
    assert (pixels_of(decode_file("x.png", data, size=8)) == 255).all()


def test_row_16_unreadable_exif_is_no_reason_to_drop(decode_file):
    data = encoded(Image.fromarray(NOISE), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels_of(decode_file("x.jpg", data)).shape == (16, 16, 3)


def test_row_17_animated_gif_and_multi_page_tiff(decode_file):
    first, second = Image.new("L", (16, 16), 40), Image.new("L", (16, 16), 200)
    for name, format in (("x.gif", "GIF"), ("x.tif", "TIFF")):
        data = encoded(first, format, save_all=True, append_images=[second])
        result = decode_file(name, data, channels=1)
        assert (result.pixels[2] == 40).all()
        assert result.notices["first frame of an animation"] >= 1


@pytest.mark.parametrize("shape", [(1, 1), (2000, 3)])
def test_row_18_tiny_and_thin_images(decode_file, shape):
    result = decode_file("x.png", Image.fromarray(np.zeros(shape, np.uint8)))
    assert pixels_of(result).shape == (16, 16, 3)
    assert result.notices["enlarged"] == 3


def test_row_19_centre_square_and_scaling(decode_file):
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 16:32] = np.arange(16)
    result = decode_file("x.png", Image.fromarray(wide), channels=1)
    assert (pixels_of(result)[..., 0] == np.arange(16)).all()
    assert result.notices["cropped to square"] == 1


def test_shrinking_averages_instead_of_dropping_pixels():
    fine = np.tile(np.uint8([[0, 255], [255, 0]]), (32, 32))[..., None]
    small, _ = square_pixels(fine, 8)
    assert abs(small.astype(int) - 127).max() <= 2


def test_size_that_fits_is_left_alone(decode_file):
    assert (pixels_of(decode_file("x.png", Image.fromarray(NOISE))) == NOISE).all()


def test_row_20_blank_images_are_counted(decode_file):
    result = decode_file("x.png", Image.new("L", (16, 16)))
    assert result.notices["blank: a single grey level or colour"] == 1


def test_row_21_extension_that_lies(decode_file):
    result = decode_file("x.png", encoded(Image.fromarray(NOISE), "BMP"))
    assert (pixels_of(result) == NOISE).all()
    assert result.notices["extension does not match the content"] == 1


def test_row_22_upper_case_extension(decode_file):
    assert pixels_of(decode_file("X.PNG", Image.fromarray(NOISE))).shape == (16, 16, 3)


def test_postscript_under_another_name_is_not_run(decode_file):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert "known format" in reason_of(decode_file("x.png", script))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_row_24_forbidden_file(write_tree):
    root = write_tree("a/0.png", "b/0.png")
    (root / "a/0.png").chmod(0)
    result = decode_images(index_folder(root), size=8, channels=1)
    (root / "a/0.png").chmod(0o644)
    assert "Permission denied" in result.bad[0].reason


def test_row_24_read_error_is_a_bad_image(write_tree, monkeypatch):
    index = index_folder(write_tree("a/0.png", "b/0.png"))

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    result = decode_images(index, size=8, channels=1)
    assert [bad.reason for bad in result.bad] == ["cannot be read: Permission denied"] * 2
    assert result.pixels.shape == (0, 1, 8, 8)


def test_row_25_vanished_file(write_tree):
    root = write_tree("a/0.png", "a/1.png", "b/0.png")
    index = index_folder(root)
    (root / "a/1.png").unlink()
    result = decode_images(index, size=8, channels=1)
    assert result.kept.tolist() == [0, 2]
    assert result.bad == (decode.BadImage("a/1.png", "file vanished"),)
    assert read_headers(index).widths.tolist() == [8, 0, 8]


def test_row_60_memory_error_is_not_a_bad_image(write_tree, monkeypatch):
    index = index_folder(write_tree("a/0.png", "b/0.png"))

    def give_out(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", give_out)
    with pytest.raises(MemoryError):
        decode_images(index, size=8, channels=1)


@pytest.mark.parametrize("threads_from", [0, 1 << 30])
def test_many_images_stay_in_order_and_progress_adds_up(write_tree, monkeypatch, threads_from):
    monkeypatch.setattr(decode, "_THREADS_PAY_FROM", threads_from)
    root = write_tree(*(f"{'ab'[i % 2]}/{i:03d}.png" for i in range(150)))
    index = index_folder(root)
    steps = []
    result = decode_images(index, size=8, channels=1, advance=steps.append)
    assert sum(steps) == 150 and result.kept.tolist() == list(range(150))
    for position in (0, 70, 149):
        with Image.open(root / index.paths[position]) as image:
            assert (result.pixels[position, 0] == np.asarray(image)).all()


def test_content_hashes_see_pixels_not_files(write_tree):
    root = write_tree("a/0.png", "a/1.png", "b/0.png")
    with Image.open(root / "a/0.png") as image:
        image.save(root / "b/copy.bmp")
        image.convert("RGB").save(root / "b/copy.png", compress_level=1)
        image.resize((16, 16), Image.Resampling.NEAREST).save(root / "b/large.png")
    result = decode_images(index_folder(root), size=8, channels=3)
    by_path = dict(zip(index_folder(root).paths, result.content_hashes, strict=True))
    assert by_path["a/0.png"] == by_path["b/copy.bmp"] == by_path["b/copy.png"]
    assert len(set(by_path.values())) == 4
    assert by_path["a/1.png"] == content_hash(result.pixels[1].transpose(1, 2, 0))


def test_warning_filters_and_pillow_limits_are_restored(decode_file):
    before = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    decode_file("x.png", Image.fromarray(NOISE))
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before


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
