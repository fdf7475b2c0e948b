"""Number types to 8 bits: exact levels from arrays and from deep files, or a named refusal."""

import numpy as np
import pytest
from handmade_images import encoded, png, png_16, png_chunk, tiff
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthaug.data.decode import decode_images
from synthaug.data.index import ImageIndex
from synthaug.data.levels import Levels, array_levels, composite, to_8_bit
from synthaug.data.pixels import ReadOptions, UnreadableImage, read_array, read_pixels
from synthaug.data.source import Arrays
from synthaug.errors import UsageError

RNG = np.random.default_rng(11)
ALL_16_BITS = np.arange(65536, dtype=np.uint16).reshape(256, 256)
# Exact: 65535 = 257 * 255 is odd, so no level lies halfway between two.
ALL_IN_8_BITS = (ALL_16_BITS.astype(int) * 2 + 257) // 514
UNDECLARED = "say with --value-range LOW:HIGH which become black and white"


def native(file, channels=1, **options):
    options = ReadOptions(**{"min_side": 1, **options})
    return read_pixels(file, extension="", channels=channels, options=options)


def grey(file, **options):
    return native(file, **options).pixels[..., 0]


def colour(file, **options):
    return native(file, channels=3, **options).pixels


def reason_of(call, *arguments, **options):
    with pytest.raises(UnreadableImage) as caught:
        call(*arguments, **options)
    return str(caught.value)


# Arrays


def test_bools_and_bytes_need_no_scale():
    bools = np.array([[True, False]])
    assert to_8_bit(Levels(bools), (5, 6)).pixels.tolist() == [[255, 0]]
    eight = np.array([[3, 250]], np.uint8)
    scaled = to_8_bit(Levels(eight), (5, 6))
    assert scaled.pixels is eight and scaled.seen is None and scaled.notes == ()


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bits_are_scaled_by_their_full_range(dtype):
    scaled = to_8_bit(Levels(ALL_16_BITS.astype(dtype)), None)
    assert scaled.pixels.dtype == np.uint8 and (scaled.pixels == ALL_IN_8_BITS).all()
    assert scaled.seen == (0, 65535) and scaled.full_scale


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["i2", ">i4", "i8", "u2", "u4", "u8", "f2", "f4", ">f8"]),
    seed=st.integers(0, 1000),
    low=st.integers(-50, 400),
    width=st.integers(1, 900),
)
def test_a_declared_range_is_linear_between_its_ends(dtype, seed, low, width):
    values = np.random.default_rng(seed).integers(0, 1000, (4, 5)).astype(dtype)
    scaled = to_8_bit(Levels(values), (low, low + width))
    exact = np.clip((values.astype(np.float64) - low) * 255 / width, 0, 255)
    assert scaled.pixels.dtype == np.uint8
    assert (np.abs(scaled.pixels - exact) <= 0.5 + 1e-9).all()
    outside = bool((values.astype(float) < low).any() or (values.astype(float) > low + width).any())
    assert ("levels outside the value range clipped" in scaled.notes) == outside
    assert not scaled.full_scale


def test_a_large_image_is_scaled_in_strips_without_a_seam():
    values = np.arange(1_500_000, dtype=np.int32).reshape(3, 500_000)
    pixels = to_8_bit(Levels(values), (0, 1_499_999)).pixels.ravel()
    assert (np.diff(pixels.astype(int)) >= 0).all()
    assert (np.bincount(pixels, minlength=256)[1:-1] // 10 == 588).all()


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u4", "u8"])
def test_integers_that_fit_8_bits_are_kept(dtype):
    values = np.array([[0, 1, 127]], dtype)
    scaled = to_8_bit(Levels(values), None)
    assert scaled.pixels.tolist() == [[0, 1, 127]] and scaled.seen == (0, 127)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_from_0_to_1_need_no_range(dtype):
    values = (np.arange(256) / 255).astype(dtype).reshape(16, 16)
    assert (to_8_bit(Levels(values), None).pixels.ravel() == np.arange(256)).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.int16([-1, 7]), f"integer levels from -1 to 7, expected 0..255; {UNDECLARED}"),
        (np.uint32([0, 256]), f"integer levels from 0 to 256, expected 0..255; {UNDECLARED}"),
        (np.float64([0, 1.25]), f"float levels from 0 to 1.25, expected 0..1; {UNDECLARED}"),
        (np.float32([0, np.nan]), "levels that are NaN or infinite"),
        (np.float32([0, -np.inf]), "levels that are NaN or infinite"),
        (np.complex64([0, 1]), "an array of complex64; expected numbers"),
        (np.array([None, 1], object), "an array of object; expected numbers"),
        (np.array(["a", "b"]), "an array of str32; expected numbers"),
        (np.array([0, 1], "M8[s]"), "an array of datetime64[s]; expected numbers"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(values, reason):
    assert reason_of(to_8_bit, Levels(values[None]), None) == reason


@pytest.mark.parametrize("value_range", [(0, 1), (-5, 5)])
def test_not_a_number_is_refused_with_a_range_too(value_range):
    values = np.float32([[0, np.nan, 1]])
    assert "NaN" in reason_of(to_8_bit, Levels(values), value_range)


def test_shapes_of_arrays():
    for shape, inner in (((5, 4), (5, 4)), ((5, 4, 1), (5, 4)), ((5, 4, 3), (5, 4, 3))):
        levels = array_levels(np.zeros(shape))
        assert levels.values.shape == inner and levels.alpha is None
    levels = array_levels(np.full((5, 4, 4), 65535, np.uint16))
    assert levels.values.shape == (5, 4, 3) and (levels.alpha == 255).all()
    for shape in ((5,), (5, 4, 2), (5, 4, 5), (2, 5, 4, 3), ()):
        assert str(shape) in reason_of(array_levels, np.zeros(shape))


@pytest.mark.parametrize(
    ("dtype", "full"), [("u1", 255), ("u2", 65535), ("f4", 1), ("i8", 255), ("?", 1)]
)
def test_arrays_and_files_obey_one_rule(dtype, full):
    share = RNG.integers(0, 2, (8, 8, 4)) * 255
    array = (share / 255 * full).astype(dtype)
    options = ReadOptions(background=90)
    result = read_array(array, channels=3, options=options)
    file = encoded(Image.fromarray(share.astype(np.uint8)), "PNG")
    assert (result.pixels == colour(file, background=90)).all()
    assert "transparent: composited on grey level 90" in result.notes


def test_arrays_too_large_too_small_or_transparent_beyond_reason():
    def read(array, **options):
        return read_array(array, channels=1, options=ReadOptions(**options))

    assert reason_of(read, np.zeros((3, 9))) == (
        "9 x 3 pixels, the short side is under the minimum of 4"
    )
    assert "9 x 0" in reason_of(read, np.zeros((0, 9)))
    assert "more than the limit of 80" in reason_of(read, np.zeros((9, 9)), max_pixels=80)
    alpha = np.full((9, 9, 4), 2.0)
    reason = reason_of(read, alpha, value_range=(0, 4))
    assert reason.startswith("float levels from 2 to 2, expected 0..1")


def test_colour_becomes_grey_and_grey_becomes_colour_as_in_pillow():
    rgb = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    result = read_array(rgb, channels=1, options=ReadOptions()).pixels[..., 0]
    assert (result == np.asarray(Image.fromarray(rgb).convert("L"))).all()
    result = read_array(rgb[..., 0], channels=3, options=ReadOptions()).pixels
    assert (result == rgb[..., :1]).all() and result.shape == (8, 8, 3)


def test_composite_is_pillows():
    pixels = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    alpha = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    base = Image.new("RGB", (64, 64), (77, 77, 77))
    base.paste(Image.fromarray(pixels), mask=Image.fromarray(alpha))
    assert (composite(pixels, alpha, 77) == np.asarray(base)).all()


# Deep files, whose levels Pillow shortens, swaps or forgets to invert


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    "dtype", ["<u4", *(o + k for o in "<>" for k in ("u2", "i2", "i4", "f4", "i1"))]
)
def test_every_kind_of_tiff_is_read_exactly(dtype, deflate):
    order, kind = dtype[0], dtype[1:]
    low, high = {"u": (0, 120), "i": (-120, 120), "f": (-1.5, 1.5)}[kind[0]]
    values = np.linspace(low, high, 256).reshape(16, 16).astype(kind)
    if kind in {"u2", "u4"}:
        values = values * values.dtype.type(np.iinfo(kind).max // 128)
    low, high = float(values.min()), float(values.max())
    result = native(tiff(values, order=order, deflate=deflate), value_range=(low, high))
    expected = np.rint((values.astype(float) - low) / (high - low) * 255)
    assert (result.pixels[..., 0] == expected).all()
    assert result.levels == (low, high)


@pytest.mark.parametrize(
    ("levels", "order"),
    [
        (np.zeros((8, 8), np.float64), "<"),
        (np.zeros((8, 8), np.float16), "<"),
        (np.zeros((8, 8), np.uint64), "<"),
        (np.zeros((8, 8), np.uint32), ">"),
        (np.zeros((8, 8, 3), np.float32), "<"),
        (np.zeros((8, 8, 2), np.uint16), "<"),
    ],
)
def test_tiffs_that_are_not_read_are_refused_by_kind(levels, order):
    reason = reason_of(native, tiff(levels, order=order))
    assert (
        reason.startswith("a damaged TIFF, or one of a kind that is not read") and "save" in reason
    )


def test_12_bits_are_scaled_by_their_own_full_range():
    packed = np.frombuffer(bytes.fromhex("000fff800123"), np.uint8)[None]
    result = native(tiff(packed, bits=12))
    expected = [round(v / 4095 * 255) for v in (0x000, 0xFFF, 0x800, 0x123)]
    assert result.pixels.ravel().tolist() == expected and not result.full_scale


@pytest.mark.parametrize("deflate", [False, True])
def test_white_is_zero(deflate):
    deep = ALL_16_BITS[::16, ::16].copy()
    result = native(tiff(deep, photometric=0, deflate=deflate))
    assert (result.pixels[..., 0] == 255 - ALL_IN_8_BITS[::16, ::16]).all()
    assert "inverted: the file calls its lowest level white" in result.notes
    share = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    inverted = grey(tiff(share, photometric=0, deflate=deflate))
    assert (inverted.ravel() == np.arange(255, -1, -1)).all()
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (grey(tiff(eight, photometric=0, deflate=deflate)) == 255 - eight).all()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_tiffs_keep_their_lower_bits(order, deflate, channels):
    values = RNG.integers(0, 65536, (8, 9, channels)).astype(np.uint16)
    values[..., 3:] = 65535
    result = native(tiff(values, order=order, deflate=deflate), 3, value_range=(20_000, 20_510))
    expected = np.rint(np.clip((values[..., :3].astype(float) - 20_000) / 510, 0, 1) * 255)
    assert (result.pixels == expected).all()
    assert result.levels == (values[..., :3].min(), values[..., :3].max())


@pytest.mark.parametrize("deflate", [False, True])
def test_16_bit_colours_in_separate_planes_are_refused(deflate):
    values = RNG.integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    reason = reason_of(native, tiff(values, planes=True, deflate=deflate))
    assert "separate planes" in reason and "interleaved" in reason
    eight = (values >> 8).astype(np.uint8)
    assert (colour(tiff(eight, planes=True, deflate=deflate)) == eight).all()


def test_16_bit_cmyk_is_read_by_its_upper_bits_or_refused():
    inks = np.zeros((4, 4, 4), np.uint16)
    inks[..., 0] = 65535
    file = tiff(inks, photometric=5)
    result = native(file, 3)
    assert (result.pixels == [0, 255, 255]).all()
    assert "16-bit CMYK read by its upper 8 bits" in result.notes
    assert "no value range applies" in reason_of(native, file, value_range=(0, 4095))


def test_16_bit_pngs():
    assert (grey(png_16(ALL_16_BITS)) == ALL_IN_8_BITS).all()
    colours = np.stack([ALL_16_BITS, ALL_16_BITS[::-1], ALL_16_BITS.T], axis=2)
    expected = np.stack([ALL_IN_8_BITS, ALL_IN_8_BITS[::-1], ALL_IN_8_BITS.T], axis=2)
    result = native(png_16(colours), 3)
    assert (result.pixels == expected).all()
    assert result.levels == (0, 65535) and result.full_scale


def test_16_bit_pngs_with_opacity():
    values = RNG.integers(0, 65536, (8, 8, 4)).astype(np.uint16)
    values[..., 3] = np.where(values[..., 3] > 30_000, 65535, 0)
    clear = values[..., 3] == 0
    eight = (values.astype(int) * 2 + 257) // 514
    with_colour = np.where(clear[..., None], 7, eight[..., :3])
    assert (colour(png_16(values), background=7) == with_colour).all()
    result = native(png_16(values[..., 2:]), background=7)
    assert (result.pixels[..., 0] == np.where(clear, 7, eight[..., 2])).all()
    assert "transparent: composited on grey level 7" in result.notes


def test_16_bit_pngs_with_one_transparent_level():
    values = np.array([[0x1234, 0x1235], [0x1134, 0xFFFF]], np.uint16)
    file = png_16(values, png_chunk(b"tRNS", b"\x12\x34"))
    assert grey(file, background=200).ravel().tolist() == [200, 18, 17, 255]
    colours = np.stack([values, values, values * 0], axis=2)
    file = png_16(colours, png_chunk(b"tRNS", b"\x12\x34\x12\x34\0\0"))
    assert colour(file, background=200)[..., 2].ravel().tolist() == [200, 0, 0, 0]
    assert colour(file, background=200)[..., 1].ravel().tolist() == [200, 18, 17, 255]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_transparent_level_of_few_bits(bits):
    top = (1 << bits) - 1
    file = png([bytes([0b0001_1011])], 8 // bits, bits, 0, png_chunk(b"tRNS", b"\0\1"))
    stored = [(0b0001_1011 >> (8 - bits * (i + 1))) & top for i in range(8 // bits)]
    expected = [99 if level == 1 else level * 255 // top for level in stored]
    assert grey(file, background=99).ravel().tolist() == expected


@pytest.mark.parametrize("white", [256, 1000, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P5", b"P2", b"P6", b"P3"])
def test_pnm_of_more_than_8_bits_is_scaled_by_its_own_maximum(kind, white):
    channels = 1 if kind in {b"P5", b"P2"} else 3
    values = RNG.integers(0, white + 1, (5, 7, channels))
    values.flat[:2] = 0, white
    header = kind + f" 7 5 {white}\n".encode()
    plain = kind in {b"P2", b"P3"}
    body = " ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes()
    result = native(header + body, channels)
    exact = values * 255 / white
    assert (np.abs(result.pixels - exact) <= 0.5 + 1e-9).all()
    if kind == b"P3":
        assert "no value range applies" in reason_of(native, header + body, value_range=(0, white))
        return
    assert result.levels == (0, white)
    half = native(header + body, channels, value_range=(0, white / 2)).pixels
    assert (np.abs(half - np.clip(exact * 2, 0, 255)) <= 0.5 + 1e-9).all()


@pytest.mark.parametrize("white", [1, 7, 100, 255])
def test_pnm_of_8_bits(white):
    body = bytes(range(white + 1))
    file = f"P5 {white + 1} 1 {white}\n".encode() + body
    assert grey(file, value_range=(0, 9)).ravel().tolist() == [
        round(v / white * 255) for v in range(white + 1)
    ]


def test_pfm_is_read_from_the_bottom_up():
    share = np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2)
    for order, scale in (("<", b"-1.0"), (">", b"1.0")):
        file = b"Pf\n2 3\n" + scale + b"\n" + share[::-1].astype(order + "f4").tobytes()
        assert grey(file).ravel().tolist() == [0, 51, 102, 153, 204, 255]


def test_i16_of_either_order_written_by_pillow():
    for mode, order in (("I;16", "<u2"), ("I;16B", ">u2")):
        image = Image.frombytes(mode, (256, 256), ALL_16_BITS.astype(order).tobytes())
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate"):
            file = encoded(image, "TIFF", compression=compression)
            assert (grey(file) == ALL_IN_8_BITS).all()


# The dataset as a whole


def array_index(*arrays):
    n = sum(map(len, arrays))
    return ImageIndex(
        origin="images.npz",
        paths=tuple(f"{i:03d}" for i in range(n)),
        labels=np.zeros(n, np.int64),
        class_names=("a",),
        declared_split=("",) * n,
        ignored={},
        source=Arrays(arrays, np.arange(n)),
    )


@pytest.mark.parametrize(
    ("top", "told"),
    [(3000, "0:4095"), (4095, "0:4095"), (255, "0:255"), (32767, "0:32767"), (32768, None)],
)
def test_levels_far_below_full_scale_are_told(top, told):
    images = np.full((3, 8, 8), 5, np.uint16)
    images[1, 0, 0], images[2, 0, 0] = top, 2
    result = decode_images(array_index(images), size=8, channels=1)
    assert (result.lowest_level, result.highest_level) == (2, top)
    notice = f"16-bit levels reach only {top}: declare --value-range {told}"
    assert result.notices.get(notice) == (None if told is None else 3)
    assert any("reach only" in text for text in result.notices) == (told is not None)


def test_images_of_8_bits_have_no_levels_to_tell():
    result = decode_images(array_index(np.zeros((2, 8, 8), np.uint8)), size=8, channels=1)
    assert result.lowest_level is None and result.highest_level is None
    black = decode_images(array_index(np.zeros((2, 8, 8), np.uint16)), size=8, channels=1)
    assert not any("reach only" in text for text in black.notices)


def test_one_rule_for_all_images_never_one_for_each():
    dim, bright = np.full((1, 8, 8), 100, np.int32), np.full((1, 8, 8), 1000, np.int32)
    result = decode_images(array_index(dim, bright), size=8, channels=1)
    assert [image.path for image in result.bad] == ["001"]
    declared = ReadOptions(value_range=(0, 1000))
    result = decode_images(array_index(dim, bright), size=8, channels=1, options=declared)
    assert result.pixels[:, 0, 0, 0].tolist() == [26, 255]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_range": (1, 1)}, "value range is 1:1"),
        ({"value_range": (2, 1)}, "LOW below HIGH"),
        ({"value_range": (0, np.inf)}, "finite"),
        ({"value_range": (np.nan, 1)}, "finite"),
        ({"value_range": (-1.7e308, 1.7e308)}, "finite"),
        ({"background": 256}, "0 to 255"),
        ({"max_pixels": 0}, "limit of pixels is 0"),
        ({"min_side": 0}, "minimum side is 0"),
        ({"animations": "every_frame"}, "first_frame or refuse"),
    ],
)
def test_options_that_cannot_be_used(options, message):
    with pytest.raises(UsageError, match=message):
        ReadOptions(**options)
