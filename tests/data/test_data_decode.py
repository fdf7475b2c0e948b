"""Decoding: every mode, every planted defect, and never an exception for a broken file."""

import io
import logging
import shutil
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from handmade_images import encoded, png_16, png_chunk, tiff
from PIL import Image

from synthaug.data.decode import BadImage, OddImage, decode_images, read_headers
from synthaug.data.folder import index_folder
from synthaug.data.pixels import ReadOptions, content_hash, square_pixels

RNG = np.random.default_rng(3)
NOISE = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def decode_file(write_tree, unchanged):
    """Decode one file, given by name and bytes or image, beside two sound ones."""

    def run(name, content, *, size=16, channels=3, **options):
        root = write_tree("a/sound.png", "b/sound.png")
        path = root / "c" / name
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
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


def png_header(width, height):
    """A PNG that claims a size and holds almost nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", b"\x78\x9c\x03\0\0\0\0\x01")
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8000, 10_000, 14_000, 50_000])
def test_row_07_08_bombs_are_refused_by_their_header(decode_file, side):
    size = f"{side} {side}".encode()
    for name, bomb in (("x.png", png_header(side, side)), ("x.pgm", b"P5 " + size + b" 255\n\0")):
        started = time.process_time()
        reason = reason_of(decode_file(name, bomb))
        assert time.process_time() - started < 0.5
        # Beyond twice the limit Pillow itself refuses, and tells the number of pixels only.
        claim = f"{side} x {side}" if side <= 10_000 else str(side * side)
        assert reason == f"{claim} pixels, more than the limit of 50000000"


def test_row_08_the_limit_is_exact_and_can_be_moved(decode_file):
    image = encoded(Image.new("1", (300, 200)), "PNG")
    reason = reason_of(decode_file("x.png", image, max_pixels=59_999))
    assert reason == "300 x 200 pixels, more than the limit of 59999"
    assert pixels_of(decode_file("x.png", image, max_pixels=60_000)).shape == (16, 16, 3)


@pytest.mark.slow
def test_row_08_a_raised_limit_lets_a_large_image_through(decode_file):
    image = encoded(Image.new("1", (14_000, 14_000), 1), "PNG")
    result = decode_file("x.png", image, channels=1, max_pixels=200_000_000)
    assert (pixels_of(result) == 255).all()


def without_segment(jpeg, marker):
    """A JPEG without its first segment of a kind."""
    at = jpeg.index(bytes([0xFF, marker]))
    (length,) = struct.unpack(">H", jpeg[at + 2 : at + 4])
    return jpeg[:at] + jpeg[at + 2 + length :]


def test_row_09_cmyk(decode_file):
    grey = Image.new("CMYK", (16, 16), (0, 0, 0, 128))
    result = decode_file("x.jpg", encoded(grey, "JPEG", quality=100))
    assert abs(pixels_of(result).mean() - 127) < 2
    assert result.notices["CMYK converted to RGB"] == 1


def test_row_09_inks_are_inverted_in_adobe_files_only(decode_file):
    cyan = encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100)
    assert (pixels_of(decode_file("adobe.jpg", cyan)) == [0, 255, 255]).all()
    # Without Adobe's mark the same bytes mean full magenta, yellow and black.
    plain = without_segment(cyan, 0xEE)
    assert (pixels_of(decode_file("plain.jpg", plain)) == 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_row_10_16_bit_grey(decode_file, channels):
    levels = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    result = decode_file("x.png", encoded(Image.fromarray(levels), "PNG"), channels=channels)
    assert (pixels_of(result)[..., 0] == np.arange(256).reshape(16, 16)).all()
    assert result.notices["levels 0..65535 scaled to 0..255"] == 1
    assert (result.lowest_level, result.highest_level) == (0, 65535)


@pytest.mark.parametrize("channels", [1, 3])
def test_row_10_16_bit_grey_by_declared_range(decode_file, channels):
    levels = np.arange(1000, 1256, dtype=np.uint16).reshape(16, 16)
    image = encoded(Image.fromarray(levels), "PNG")
    result = decode_file("x.png", image, channels=channels, value_range=(1000, 1255))
    assert (pixels_of(result)[..., 0] == np.arange(256).reshape(16, 16)).all()
    assert result.notices["levels 1000..1255 scaled to 0..255"] == 1
    assert "levels outside the value range clipped" not in result.notices
    result = decode_file("x.png", image, channels=channels, value_range=(1100, 1200))
    assert (pixels_of(result)[..., 0].ravel()[[0, 100, 200, 255]] == [0, 0, 255, 255]).all()
    assert result.notices["levels outside the value range clipped"] == 1


def test_row_10_levels_that_stay_low_are_told(decode_file):
    levels = np.linspace(16, 3900, 256).round().astype(np.uint16).reshape(16, 16)
    image = encoded(Image.fromarray(levels), "PNG")
    result = decode_file("x.png", image)
    assert (result.lowest_level, result.highest_level) == (16, 3900)
    assert result.notices["16-bit levels reach only 3900: declare --value-range 0:4095"] == 1
    told = decode_file("x.png", image, value_range=(0, 4095))
    assert not any("reach only" in notice for notice in told.notices)
    assert pixels_of(told).max() == round(3900 / 4095 * 255)


def test_row_10_16_bit_colour_keeps_all_its_bits(decode_file):
    levels = RNG.integers(0, 4096, (16, 16, 3)).astype(np.uint16)
    result = decode_file("x.png", png_16(levels), value_range=(0, 4095))
    assert (pixels_of(result) == np.rint(levels / 4095 * 255)).all()


def test_row_11_big_endian_16_bit_tiff(decode_file):
    levels = np.linspace(0, 65535, 256).round().astype(">u2").reshape(16, 16)
    image = Image.frombytes("I;16B", (16, 16), levels.tobytes())
    result = decode_file("x.tif", encoded(image, "TIFF"))
    assert (pixels_of(result)[..., 1] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflate", [False, True])
def test_row_11_signed_levels_of_both_byte_orders(decode_file, order, deflate):
    levels = np.arange(-128, 128, dtype=np.int16).reshape(16, 16) * 8
    file = tiff(levels, order=order, deflate=deflate)
    result = decode_file("x.tif", file, value_range=(-1024, 1016))
    assert (pixels_of(result)[..., 0] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("top", [100, 255])
def test_row_10_32_bit_grey_that_fits_8_bits(decode_file, top):
    levels = np.zeros((16, 16), np.int32)
    levels[0, 0] = top
    result = decode_file("x.tif", encoded(Image.fromarray(levels), "TIFF"))
    assert pixels_of(result)[0, 0, 0] == top
    assert result.notices["integer levels taken as 0..255"] == 1


def test_row_10_32_bit_grey_needs_a_declared_range(decode_file):
    levels = np.zeros((16, 16), np.int32)
    levels[0, :2] = -1000, 3000
    image = encoded(Image.fromarray(levels), "TIFF")
    assert reason_of(decode_file("x.tif", image)) == (
        "integer levels from -1000 to 3000, expected 0..255; say with --value-range LOW:HIGH which "
        "become black and white"
    )
    pixels = pixels_of(decode_file("x.tif", image, value_range=(-1000, 3000)))
    assert pixels[0, :3, 0].tolist() == [0, 255, 64]


def test_row_10_dark_16_bit_pgm_keeps_its_scale(decode_file):
    levels = np.full((16, 16), 200, ">u2")
    result = decode_file("x.pgm", b"P5 16 16 65535\n" + levels.tobytes())
    assert (pixels_of(result) == 1).all()


def test_row_12_float_tiff(decode_file):
    share = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    result = decode_file("x.tif", encoded(Image.fromarray(share), "TIFF"))
    assert (pixels_of(result)[..., 2] == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ((0, 2), "float levels from 0 to 2, expected 0..1; say with --value-range LOW:HIGH"),
        ((-1, 0.5), "float levels from -1 to 0.5, expected 0..1; say with --value-range LOW:HIGH"),
        ((0, np.nan), "levels that are NaN or infinite"),
        ((-np.inf, 1), "levels that are NaN or infinite"),
    ],
)
def test_row_12_float_tiff_of_unknown_range(decode_file, levels, reason):
    image = np.full((16, 16), levels[0], np.float32)
    image[3, 4] = levels[1]
    file = encoded(Image.fromarray(image), "TIFF")
    assert reason_of(decode_file("x.tif", file)).startswith(reason)
    if "NaN" in reason:
        assert reason_of(decode_file("x.tif", file, value_range=(0, 1))) == reason


def test_row_12_float_tiff_with_a_declared_range(decode_file):
    levels = np.linspace(-1000, 1000, 256).reshape(16, 16).astype(np.float32)
    file = encoded(Image.fromarray(levels), "TIFF")
    result = decode_file("x.tif", file, value_range=(-1000, 1000))
    assert (pixels_of(result)[..., 0] == np.arange(256).reshape(16, 16)).all()
    assert (result.lowest_level, result.highest_level) == (-1000, 1000)


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


@pytest.mark.parametrize(
    ("name", "format"), [("x.gif", "GIF"), ("x.tif", "TIFF"), ("x.png", "PNG"), ("x.webp", "WEBP")]
)
def test_row_17_animations_and_pages(decode_file, name, format):
    first, second = Image.new("L", (16, 16), 40), Image.new("L", (16, 16), 200)
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = encoded(first, format, save_all=True, append_images=[second], **lossless)
    result = decode_file(name, data, channels=1)
    assert (pixels_of(result) == 40).all()
    assert result.notices["first frame of an animation, or first page"] == 1
    refused = decode_file(name, data, channels=1, animations="refuse")
    assert reason_of(refused) == "several frames or pages, which are to be refused"


def test_row_17_a_photograph_with_a_preview_is_no_animation(decode_file):
    photograph = encoded(
        Image.fromarray(NOISE), "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))]
    )
    with Image.open(io.BytesIO(photograph)) as image:
        expected = np.asarray(image.convert("RGB"))
    result = decode_file("x.jpg", photograph, animations="refuse")
    assert (pixels_of(result) == expected).all() and result.notices == {"enlarged": 2}


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2000), (2000, 3)])
def test_row_18_an_image_under_the_minimum_side_is_left_out(decode_file, width, height):
    result = decode_file("x.png", Image.fromarray(np.zeros((height, width), np.uint8)))
    assert reason_of(result) == (
        f"{width} x {height} pixels, the short side is under the minimum of 4"
    )


def test_row_18_the_minimum_side_can_be_moved(decode_file):
    thin = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (3, 1)))
    result = decode_file("x.png", thin, min_side=3)
    assert pixels_of(result).shape == (16, 16, 3)
    assert result.odd == (
        OddImage("c/x.png", "200 x 3 pixels: the sides differ by more than 4 to 1"),
        OddImage("c/x.png", "200 x 3 pixels: enlarged 5.3 times"),
    )
    reason = reason_of(decode_file("x.png", Image.fromarray(NOISE[:7]), min_side=8))
    assert reason == "16 x 7 pixels, the short side is under the minimum of 8"


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


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 10, 90)])
def test_row_20_blank_images_are_counted_and_named(decode_file, colour):
    result = decode_file("x.png", Image.new("RGB", (16, 16), colour))
    assert (pixels_of(result) == colour).all()
    assert result.notices["blank: a single grey level or colour"] == 1
    assert result.odd == (OddImage("c/x.png", "blank: a single grey level or colour"),)


def test_row_20_one_pixel_makes_the_difference(decode_file):
    almost = np.zeros((16, 16, 3), np.uint8)
    almost[15, 15, 2] = 1
    assert decode_file("x.png", Image.fromarray(almost)).odd == ()


def test_row_21_extension_that_lies(decode_file):
    result = decode_file("x.png", encoded(Image.fromarray(NOISE), "BMP"))
    assert (pixels_of(result) == NOISE).all()
    assert result.notices["extension does not match the content"] == 1


def test_row_22_upper_case_extension(decode_file):
    assert pixels_of(decode_file("X.PNG", Image.fromarray(NOISE))).shape == (16, 16, 3)


def test_postscript_under_another_name_is_not_run(decode_file):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert "known format" in reason_of(decode_file("x.png", script))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file nobody can read")
def test_row_24_unreadable_file(write_tree, unchanged):
    root = write_tree("a/0.png", "b/0.png")
    # Permissions stop no administrator; the first byte of a process's memory stops everybody.
    (root / "a" / "1.png").symlink_to("/proc/self/mem")
    with unchanged(root):
        index = index_folder(root, follow_links=True)
        result = decode_images(index, size=8, channels=1)
    assert result.bad == (BadImage("a/1.png", "cannot be read: Input/output error"),)
    assert result.kept.tolist() == [0, 2] and read_headers(index).widths.tolist() == [8, 0, 8]


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
    assert result.bad == (BadImage("a/1.png", "file vanished"),)
    assert read_headers(index).widths.tolist() == [8, 0, 8]


def test_row_60_memory_error_is_not_a_bad_image(write_tree, monkeypatch):
    index = index_folder(write_tree("a/0.png", "b/0.png"))

    def give_out(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", give_out)
    with pytest.raises(MemoryError):
        decode_images(index, size=8, channels=1)


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


def test_settings_of_the_process_are_restored(decode_file):
    def settings():
        level = logging.getLogger("PIL").level
        return list(warnings.filters), Image.MAX_IMAGE_PIXELS, level

    before = settings()
    decode_file("x.png", Image.fromarray(NOISE))
    reason_of(decode_file("x.png", b"broken"))
    assert settings() == before
