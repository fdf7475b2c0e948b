"""8-bit images of every mode, format and orientation, against Pillow and against themselves."""

import io

import numpy as np
import pytest
from handmade_images import encoded, png_16, tiff
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from synthaug.data.image_file import pillow_rules
from synthaug.data.pixels import ReadOptions, UnreadableImage, content_hash, read_pixels, upright

RNG = np.random.default_rng(5)
EXTENSIONS = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "PPM": ".ppm",
}
LOSSLESS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("1", "L", "P"),
    "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"),
    "WEBP": ("L", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB"),
}
OPTIONS = {"WEBP": {"lossless": True, "exact": True}, "JPEG": {"quality": 95}}


def native(file, format="PNG", channels=3, **options):
    options = ReadOptions(**{"min_side": 1, **options})
    with pillow_rules(options.max_pixels):
        return read_pixels(file, extension=EXTENSIONS[format], channels=channels, options=options)


def picture(mode, width, height, seed):
    """An image of random pixels in any mode."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, 256, (height, width, len(Image.new(mode, (1, 1)).getbands())))
    if mode == "1":
        return Image.fromarray(samples[..., 0] > 127)
    image = Image.frombytes(mode, (width, height), samples.astype(np.uint8).tobytes())
    if mode in {"P", "PA"}:
        image.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
    return image


def on_background(image, channels, background):
    """What an image looks like, by Pillow's own conversions."""
    grey = image.mode in {"1", "L", "LA"}
    opaque = "L" if grey else "RGB"
    base = Image.new(opaque, image.size, (background,) * len(opaque))
    if image.mode in {"LA", "PA", "RGBA"}:
        layers = image.convert("LA" if grey else "RGBA")
        base.paste(layers.convert(opaque), mask=layers.getchannel("A"))
    else:
        base.paste(image.convert(opaque))
    pixels = np.asarray(base.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(image.height, image.width, channels)


sizes, seeds = st.integers(1, 33), st.integers(0, 99)
kinds = st.sampled_from([(f, mode) for f, modes in LOSSLESS.items() for mode in modes])


@settings(derandomize=True, max_examples=200, deadline=None)
@given(kind=kinds, width=sizes, height=sizes, seed=seeds, channels=st.sampled_from([1, 3]))
def test_lossless_formats_come_back_exactly(kind, width, height, seed, channels):
    format, mode = kind
    image = picture(mode, width, height, seed)
    file = encoded(image, format, **OPTIONS.get(format, {}))
    result = native(file, format, channels, background=30)
    assert result.pixels.dtype == np.uint8
    assert result.pixels.shape == (height, width, channels)
    assert (result.pixels == on_background(image, channels, 30)).all()
    assert result.levels is None and not any("extension" in note for note in result.notes)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    width=st.integers(8, 40),
    height=st.integers(8, 40),
    seed=seeds,
)
def test_jpegs_come_back_nearly(mode, width, height, seed):
    coarse = picture(mode, 2, 2, seed)
    image = coarse.resize((width, height), Image.Resampling.BILINEAR)
    file = encoded(image, "JPEG", quality=100, **({} if mode == "L" else {"subsampling": 0}))
    result = native(file, "JPEG")
    difference = np.abs(result.pixels.astype(int) - on_background(image, 3, 0))
    assert result.pixels.shape == (height, width, 3) and difference.mean() < 3


@settings(derandomize=True, max_examples=80, deadline=None)
@given(kind=kinds, seed=seeds, backgrounds=st.tuples(*[st.integers(0, 255)] * 2))
def test_same_bytes_same_pixels_and_no_background_where_all_is_opaque(kind, seed, backgrounds):
    format, mode = kind
    image = picture(mode, 9, 7, seed)
    if "A" in image.getbands() and mode != "LAB":
        image.putalpha(255)
    file = encoded(image, format, **OPTIONS.get(format, {}))
    first, second = (native(file, format, background=b) for b in backgrounds)
    assert (first.pixels == second.pixels).all() and first.notes == second.notes
    assert content_hash(first.pixels) == content_hash(second.pixels)
    assert not any("transparent" in note for note in first.notes)


ORIENTED = {
    "PNG": lambda image, exif: (encoded(image, "PNG", exif=exif), "PNG"),
    "WebP": lambda image, exif: (
        encoded(image.convert("RGB"), "WEBP", exif=exif, **OPTIONS["WEBP"]),
        "WEBP",
    ),
    "JPEG": lambda image, exif: (encoded(image, "JPEG", exif=exif), "JPEG"),
    "MPO": lambda image, exif: (
        encoded(image, "MPO", save_all=True, append_images=[image], exif=exif),
        "JPEG",
    ),
    "TIFF": lambda image, exif: (encoded(image, "TIFF", exif=exif), "TIFF"),
    "LZW": lambda image, exif: (
        encoded(image, "TIFF", exif=exif, compression="tiff_lzw"),
        "TIFF",
    ),
}


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientation_commutes_with_reading(kind, mode, orientation):
    image = picture(mode, 12, 7, orientation)
    file, format = ORIENTED[kind](image, exif_of(orientation))
    plain, format = ORIENTED[kind](image, exif_of(1))
    result, unturned = native(file, format), native(plain, format)
    assert (result.pixels == upright(unturned.pixels, orientation)).all()
    assert ("EXIF-rotated" in result.notes) == (orientation > 1)
    assert result.pixels.shape == ((7, 12, 3) if orientation < 5 else (12, 7, 3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_does(orientation):
    image = picture("RGB", 12, 7, 0)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    turned = upright(np.asarray(image), orientation)
    assert (turned == expected).all() and turned.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i2", ">i4", "<f4", ">f4"])
@pytest.mark.parametrize("deflate", [False, True])
def test_deep_tiffs_are_turned_too(dtype, orientation, deflate):
    levels = RNG.integers(0, 100, (5, 8)).astype(dtype[1:])
    options = {"order": dtype[0], "deflate": deflate}
    result = native(
        tiff(levels, **options, orientation=orientation), "TIFF", 1, value_range=(0, 99)
    )
    plain = native(tiff(levels, **options), "TIFF", 1, value_range=(0, 99))
    assert (result.pixels == upright(plain.pixels, orientation)).all()
    assert ("EXIF-rotated" in result.notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colours_are_turned_too(orientation, channels):
    levels = RNG.integers(0, 65536, (5, 8, channels)).astype(np.uint16)
    expected = upright(native(png_16(levels)).pixels, orientation)
    file = tiff(levels, orientation=orientation)
    assert (native(file, "TIFF").pixels == expected).all()


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_orientations_that_do_not_exist_are_ignored(orientation):
    image = picture("RGB", 6, 4, 0)
    result = native(encoded(image, "PNG", exif=exif_of(orientation)))
    assert (result.pixels == np.asarray(image)).all() and "EXIF-rotated" not in result.notes
    result = native(tiff(np.asarray(image), orientation=orientation), "TIFF")
    assert (result.pixels == np.asarray(image)).all() and "EXIF-rotated" not in result.notes


def test_orientation_in_xmp():
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    image = picture("RGB", 6, 4, 0)
    plain = native(encoded(image, "JPEG"), "JPEG").pixels
    result = native(encoded(image, "JPEG", xmp=packet), "JPEG")
    assert (result.pixels == upright(plain, 6)).all()


@pytest.mark.parametrize(
    ("mode", "transparency"),
    [("P", 3), ("P", bytes([255, 128, 0, 64])), ("L", 77), ("1", 255), ("RGB", (1, 2, 3))],
)
def test_transparency_outside_an_alpha_channel(mode, transparency):
    image = picture(mode, 8, 8, 3)
    if mode == "P":
        image = image.point(lambda level: level % 8)
        image.putpalette(RNG.integers(0, 256, 24, dtype=np.uint8).tobytes())
    else:
        image.putpixel((2, 2), transparency)
    file = encoded(image, "PNG", transparency=transparency)
    with Image.open(io.BytesIO(file)) as reopened:
        layers = reopened.convert("RGBA")
    assert layers.getchannel("A").getextrema()[0] < 255
    result = native(file, background=60)
    assert (result.pixels == on_background(layers, 3, 60)).all()
    assert "transparent: composited on grey level 60" in result.notes


def test_premultiplied_opacity():
    straight = picture("RGBA", 8, 8, 1)
    file = tiff(np.asarray(straight.convert("RGBa")))
    # Say that the fourth channel is premultiplied, where the helper says that it is not.
    file = file.replace(
        b"\x52\x01\x03\x00\x01\x00\x00\x00\x02", b"\x52\x01\x03\x00\x01\x00\x00\x00\x01"
    )
    expected = on_background(straight, 3, 255).astype(int)
    assert np.abs(native(file, "TIFF").pixels - expected).max() <= 2


def test_the_fourth_byte_of_a_bmp_is_no_opacity():
    image = picture("RGBA", 8, 8, 1)
    result = native(encoded(image, "BMP"), "BMP")
    assert (result.pixels == np.asarray(image)[..., :3]).all()


def test_lab_colours_are_what_they_are_called():
    # Lightness 0..255, then a and b as signed bytes: white, black and the red of sRGB.
    lab = np.array([[[255, 0, 0], [0, 0, 0], [138, 81, 70]]], np.uint8)
    file = encoded(Image.frombytes("LAB", (3, 1), lab.tobytes()), "TIFF")
    expected = [[255, 255, 255], [0, 0, 0], [255, 0, 0]]
    assert np.abs(native(file, "TIFF").pixels[0].astype(int) - expected).max() <= 6


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "WEBP"])
def test_the_first_frame_is_read_as_if_it_were_alone(format):
    frames = [picture("RGB", 9, 7, seed).convert("P").convert("RGB") for seed in (1, 2, 3)]
    options = OPTIONS.get(format, {})
    several = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    alone = encoded(frames[0], format, **options)
    result = native(several, format)
    assert (result.pixels == native(alone, format).pixels).all()
    assert result.notes == ("first frame of an animation, or first page",)
    with pytest.raises(UnreadableImage, match="several frames or pages"):
        native(several, format, animations="refuse")
    assert native(alone, format, animations="refuse").notes == ()


def test_broken_metadata_costs_no_image():
    image = picture("RGB", 8, 8, 0)
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + b"\xff" * 99):
        result = native(encoded(image, "JPEG", exif=exif), "JPEG")
        assert result.pixels.shape == (8, 8, 3)


def test_unknown_extension_is_no_contradiction():
    file = encoded(picture("L", 8, 8, 0), "PNG")
    for extension, noted in ((".png", False), ("", False), (".dat", False), (".JPG", True)):
        result = read_pixels(file, extension=extension, channels=1, options=ReadOptions())
        assert ("extension does not match the content" in result.notes) == noted
