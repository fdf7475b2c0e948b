import base64
import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from PIL import Image

from synthaug.report.figures import counts_plot, dot_plot, loss_curve
from synthaug.report.pictures import png_data_uri, tile


def words(svg):
    return ["".join(t.itertext()) for t in ET.fromstring(svg).iter("text")]


def draw_all(results):
    return [
        dot_plot(results, "balanced_accuracy"),
        dot_plot(results, "rarest_recall"),
        counts_plot(results),
        loss_curve(([0, 1, 2, 3], [1.0, 0.5, 0.2, 0.1]), ([1, 3], [0.6, 0.3])),
        dot_plot(results, "balanced_accuracy", narrow=True),
        counts_plot(results, narrow=True),
    ]


def test_drawings_are_well_formed_and_name_what_they_show(results):
    dots, _, counts, curve, narrow, _ = draw_all(results)
    assert "synthaug, logit adjustment" in words(dots)
    assert "balanced accuracy" in words(dots)
    assert {"digit 0", "digit 9"} <= set(words(counts))
    assert "synthaug, LA" in words(narrow)
    for drawn in (dots, narrow):
        assert "synthaug, logit adjustment 0.969" in ET.fromstring(drawn).attrib["aria-label"]
    assert (
        "held-out images from 0.6 to 0.3, 0.3 at best" in ET.fromstring(curve).attrib["aria-label"]
    )


def test_drawings_are_deterministic_and_leave_matplotlib_as_it_was(results):
    before = dict(matplotlib.rcParams)
    assert draw_all(results) == draw_all(results)
    assert dict(matplotlib.rcParams) == before


def test_ids_are_unique_over_drawings_and_references_resolve(results):
    drawings = draw_all(results)
    ids = [i for svg in drawings for i in re.findall(r'\bid="([^"]*)"', svg)]
    assert ids and len(ids) == len(set(ids))
    for svg in drawings:
        own = set(re.findall(r'\bid="([^"]*)"', svg))
        assert set(re.findall(r'(?:url\(|href=")#([^")]*)', svg)) <= own


def test_colours_and_typeface_come_from_the_page(results):
    for svg in draw_all(results):
        assert "currentColor" in svg and "var(--accent)" in svg
        assert not re.search(r"(?:fill|stroke): #", svg)
        assert "font-family" not in svg and "http" not in svg


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "[/red]", "$x_{1", "a&b\nc", "#010102", 'id="x"', "漢字", '"'],
)
def test_any_class_name_is_drawn_as_it_is(make_results, name):
    svg = counts_plot(make_results(2, names=["plain", name]))
    assert " ".join(name.split()) in words(svg)
    assert "<script" not in svg


@pytest.mark.parametrize("n_classes", [2, 10, 40, 100])
def test_counts_plot_names_classes_as_long_as_they_fit(make_results, n_classes):
    named = sum(w.startswith("digit ") for w in words(counts_plot(make_results(n_classes))))
    assert named == (n_classes if n_classes <= 40 else 0)


def test_dot_plot_without_interval_oracle_opponent_or_value(make_results):
    results = make_results(seeds=1, oracle=False)
    results["comparison"] = None
    results["arms"][0]["metrics"]["balanced_accuracy"] = None
    assert "real images, cross-entropy" in words(dot_plot(results, "balanced_accuracy"))


def test_loss_curve_leaves_out_what_is_not_finite():
    gaps = loss_curve(([0, 1, 2, 3], [1.0, float("nan"), 0.5, float("inf")]))
    assert gaps == loss_curve(([0, 2], [1.0, 0.5]))
    assert gaps == loss_curve(([0, 2], [1.0, 0.5]), ([1], [float("nan")]))
    with pytest.raises(ValueError, match="finite"):
        loss_curve(([0], [float("nan")]))
    with pytest.raises(ValueError, match="must both be"):
        loss_curve(([0, 1], [1.0]))


def test_a_long_curve_stays_small():
    n = 100_000
    assert len(loss_curve((range(n), np.linspace(1, 0.01, n)))) < 40_000


def test_tile_places_images_row_by_row():
    images = np.stack([np.full((1, 2, 3), v, np.uint8) for v in (10, 20, 30)])
    sheet = tile(images, columns=2, pad=1)
    assert sheet.shape == (7, 9, 3) and sheet.dtype == np.uint8
    assert (sheet[1:3, 1:4] == 10).all() and (sheet[1:3, 5:8] == 20).all()
    assert (sheet[4:6, 1:4] == 30).all() and (sheet[4:6, 5:8] == 128).all()
    assert tile(images, columns=8, pad=0).shape == (2, 9, 3)


def test_tile_keeps_colour():
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    assert (tile(image, 1, pad=0) == image[0].transpose(1, 2, 0)).all()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 1, 2, 2), np.float32),
        np.zeros((1, 2, 2), np.uint8),
        np.zeros((1, 4, 2, 2), np.uint8),
        np.zeros((0, 1, 2, 2), np.uint8),
    ],
)
def test_tile_refuses_other_arrays(images):
    with pytest.raises(ValueError, match=r"images"):
        tile(images, 2)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)])
def test_png_enlarges_each_pixel_to_a_square(shape):
    grid = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    head, _, data = png_data_uri(grid, scale=4).partition(",")
    assert head == "data:image/png;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert decoded.shape == (8, 12, *shape[2:])
    assert (decoded[::4, ::4] == grid).all() and (decoded[3::4, 3::4] == grid).all()


def test_png_refuses_other_arrays():
    for bad in (
        np.zeros((2, 2), np.float64),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((0, 2), "u1"),
    ):
        with pytest.raises(ValueError, match="expected uint8"):
            png_data_uri(bad)
    with pytest.raises(ValueError, match="scale"):
        png_data_uri(np.zeros((2, 2), np.uint8), scale=0)
