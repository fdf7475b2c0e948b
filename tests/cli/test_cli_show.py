"""`synthaug show`: a picture a verb, what it says, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthaug.stages import scene as scenes
from synthaug.stages import sheets, show
from synthaug.stages.sheets import SHEETS, snr

TRAIN = [40, 31, 24, 19, 14, 11, 9, 7, 5, 4]


@pytest.fixture
def sheet(monkeypatch: pytest.MonkeyPatch) -> list:
    """Every sheet that is drawn."""
    kept: list = []
    draw = show.sheet_png

    def drawing(sheet):
        kept.append(sheet)
        return draw(sheet)

    monkeypatch.setattr(show, "sheet_png", drawing)
    return kept


def cells(sheet) -> list:
    return [cell for row in sheet.rows for cell in row.cells if cell is not None]


@pytest.mark.parametrize("what", SHEETS)
def test_a_picture_in_the_run_folder_the_same_twice(cli, copied_run: Path, what: str):
    told = cli("show", what, "--run", copied_run, "--json").ok().json
    path = copied_run / "pictures" / f"{what}.png"
    assert told["path"] == str(path) and told["what"] == what
    assert told["reading"].endswith(".") and told["reading"].count(". ") == 0
    first = path.read_bytes()
    with Image.open(path) as picture:
        assert picture.mode == "RGB" and min(picture.size) > 200
    said = cli("show", what, "--run", copied_run).ok()
    assert path.read_bytes() == first
    assert str(path) in said.out.replace("\n", "")
    assert told["reading"] in " ".join(said.out.split())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_forward(cli, copied_run: Path, sheet):
    cli("show", "forward", "--run", copied_run).ok()
    cli("show", "forward", "--run", copied_run, "--class", "9", "--n", "50").ok()
    every, nine = sheet
    assert [row.label for row in every.rows] == [
        (str(k), f"{n} train images") for k, n in enumerate(TRAIN)
    ]
    assert every.columns[0] == "x₀" and len(every.columns) == 11
    assert every.columns[1] == "t = 99\nSNR 35"
    assert every.columns[-1].startswith("t = 999\nSNR ")
    assert len(nine.rows) == 4 and nine.rows[0].label[0] == "9" and nine.rows[1].label == ()


def test_progressive_ends_in_the_images_that_generate_draws(cli, copied_run: Path, sheet):
    cli("generate", "--mode", "sample", "--run", copied_run).ok()
    cli("show", "progressive", "--run", copied_run, "--class", "9", "--n", "3").ok()
    (drawn,) = sheet
    assert drawn.columns == ("t = 999", "t = 666", "sample")
    assert len(drawn.rows) == 3
    for i, row in enumerate(drawn.rows):
        with Image.open(copied_run / "synthetic" / "9" / f"{i:06d}.png") as image:
            difference = np.asarray(image).astype(int) - row.cells[-1].image[0]
        assert np.abs(difference).max() <= 1


def test_interpolate(cli, copied_run: Path, sheet):
    told = cli("show", "interpolate", "--run", copied_run, "--n", "2", "--json").ok().json
    (drawn,) = sheet
    assert "class 9" in drawn.title, "the rarest class is the default"
    # Of strengths 0.2 to 1 the smoke run's three steps leave 0.4, 0.8 and 1.
    assert told["strengths"] == [0.4, 0.8, 1.0]
    assert [row.label[0] for row in drawn.rows] == ["t = 0", "t = 332", "t = 666", "t = 999"] * 2
    assert drawn.columns == ("real", *(f"λ = {x / 10:g}" for x in range(11)), "real")
    for row in drawn.rows:
        assert len(row.cells) == 13
    mixing = drawn.rows[0].cells
    real = [mixing[0].image.astype(float), mixing[-1].image.astype(float)]
    assert (real[0] != real[1]).any()
    for lam, cell in zip(np.arange(11) / 10, mixing[1:-1], strict=True):
        expected = (1 - lam) * real[0] + lam * real[1]
        assert np.abs(cell.image - expected).max() <= 0.5
    last = drawn.rows[3].cells[1:-1]  # nothing is left of either in pure noise
    assert all(np.abs(c.image.astype(int) - last[0].image).max() <= 2 for c in last)


def test_neighbours_catches_a_planted_copy(cli, smoke, copied_run: Path, sheet):
    """One synthetic file is replaced by a train image: it is framed, first and counted."""
    before = cli("show", "neighbours", "--run", copied_run, "--json").ok().json["copies"]
    original = next(x for x in smoke.manifest() if x["file"] == "balanced/4/real-000003.png")
    shutil.copy(copied_run / original["file"], copied_run / "synthetic" / "4" / "000005.png")
    told = cli("show", "neighbours", "--run", copied_run, "--json").ok().json["copies"]
    assert set(told) == set("123456789"), "class 0 needs no images"
    assert told["4"]["looked_at"] == 40 - TRAIN[4]
    assert told["4"]["share"] == pytest.approx(before["4"]["share"] + 1 / 26, abs=1e-4)
    (row,) = [row for row in sheet[1].rows if row.label and row.label[0] == "4"]
    synthetic, nearest = row.cells[:2]
    assert synthetic.framed and synthetic.caption == "ratio 0.00"
    assert nearest.framed and nearest.caption == "0.000"
    np.testing.assert_array_equal(synthetic.image, nearest.image)
    assert "copies: " in row.label[2] and "among real: " in row.label[3]
    for drawn in sheet:
        for cell in cells(drawn):
            if cell.caption.startswith("ratio"):
                assert cell.framed == (float(cell.caption.split()[1]) < 0.333)


def test_neighbours_of_one_class(cli, copied_run: Path, sheet):
    cli("show", "neighbours", "--run", copied_run, "--class", "9", "--n", "5").ok()
    (drawn,) = sheet
    assert [len(row.cells) for row in drawn.rows] == [12, 8]
    assert len(drawn.columns) == 12 and drawn.apart == {4, 8}
    assert sum(c.caption.startswith("ratio") for c in cells(drawn)) == 5


@pytest.mark.parametrize("what", SHEETS)
def test_only_train_images_are_shown(cli, copied_run: Path, sheet, what: str):
    """Every test image is painted in a grey that no train image has."""
    pixels = np.load(copied_run / "pixels.npy")
    splits = json.loads((copied_run / "splits.json").read_text())
    pixels[splits["test"]] = 137
    np.save(copied_run / "pixels.npy", pixels)
    cli("show", what, "--run", copied_run, "--n", "50").ok()
    (drawn,) = sheet
    assert not any((cell.image == 137).all() for cell in cells(drawn))
    if what in ("forward", "interpolate"):
        train = {pixels[i].tobytes() for i in splits["train"]}
        assert all(row.cells[0].image.tobytes() in train for row in drawn.rows)


def test_a_specialist_is_shown_where_there_is_one(cli, smoke, tmp_path: Path, sheet):
    run = tmp_path / "run"
    cli(
        "fit", "--dataset", smoke.dataset, "--recipe", "smoke", "--run", run,
        "--per-class", "--from-scratch",
    ).ok()  # fmt: skip
    cli("show", "progressive", "--run", run, "--class", "9").ok()
    cli("show", "interpolate", "--run", run, "--class", "9").ok()
    assert sheet[0].rows[0].label == ("9", "4 train images, specialist")
    refused = cli("show", "progressive", "--run", run)
    assert refused.code == 2 and "no network for class '0'" in refused.fault


def test_out(cli, copied_run: Path, tmp_path: Path):
    out = tmp_path / "here.png"
    told = cli("show", "forward", "--run", copied_run, "--out", out, "--json").ok().json
    assert told["path"] == str(out) and out.read_bytes().startswith(b"\x89PNG")
    assert not (copied_run / "pictures").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["forwards"], ["'forwards'", "did you mean 'forward'"]),
        (["forward", "--class", "10"], ["--class names class '10'", "did you mean"]),
        (["forward", "--out", "picture.jpg"], ["picture.jpg", ".png"]),
        (["forward", "--out", "absent/picture.png"], ["absent", "create it"]),
        (["neighbours", "--class", "0"], ["no synthetic images of this class", "--balance"]),
        (["forward", "--n", "0"], ["--n"]),
        ([], ["Missing argument"]),
    ],
)
def test_refusals(cli, smoke, in_tmp: Path, options: list[str], words: list[str]):
    refused = cli("show", *options, "--run", smoke.path)
    assert refused.code == 2
    text = " ".join(refused.err.split())
    assert [w for w in words if w not in text] == []
    assert not (smoke.path / "pictures").exists() and not any(in_tmp.iterdir())


def test_no_picture_goes_into_the_dataset(cli, smoke, hash_of):
    out = smoke.dataset / "train" / "0" / "picture.png"
    refused = cli("show", "forward", "--run", smoke.path, "--out", out)
    assert refused.code == 2 and "inside the dataset" in refused.fault
    assert hash_of(smoke.dataset) == smoke.hash_before


@pytest.mark.parametrize("what", SHEETS)
def test_before_fit(cli, in_tmp: Path, what: str):
    refused = cli("show", what)
    assert refused.code == 2 and "synthaug fit --dataset" in refused.fault


@pytest.mark.parametrize("what", ["progressive", "interpolate"])
def test_without_a_network(cli, copied_run: Path, what: str):
    shutil.rmtree(copied_run / "base")
    refused = cli("show", what, "--run", copied_run)
    assert refused.code == 2 and "run `synthaug fit` first" in refused.fault
    cli("show", "forward", "--run", copied_run).ok()


def test_neighbours_before_generate(cli, copied_run: Path):
    (copied_run / "synthaug_manifest.jsonl").unlink()
    refused = cli("show", "neighbours", "--run", copied_run)
    assert refused.code == 2 and "synthaug generate --balance" in refused.fault


def test_neighbours_when_nothing_was_drawn(cli, copied_run: Path):
    cli("generate", "--balance", "0", "--run", copied_run).ok()
    refused = cli("show", "neighbours", "--run", copied_run)
    assert refused.code == 2 and "no synthetic images" in refused.fault


def test_of_many_classes_ten_are_shown_from_the_largest_to_the_rarest(monkeypatch):
    class Many:
        n_classes = 41

    scene = scenes.Scene(None, Many(), None, None, None, None)
    monkeypatch.setattr(scenes.Scene, "counts", np.arange(41) * 3 + 1)
    assert len(scene.labels) == len(set(scene.labels)) == 10
    assert (scene.labels[0], scene.labels[-1]) == (40, 0)
    assert scene.labels == sorted(scene.labels, reverse=True)


def test_snr_by_hand():
    from synthaug.diffusion.schedule import linear_schedule

    schedule = linear_schedule(10)
    kept = float(np.prod(1 - np.linspace(1e-4, 0.02, 10)))
    assert snr(schedule, 9) == pytest.approx(kept / (1 - kept))
    assert [sheets._number(x) for x in (2932.4, 35.4, 0.982, 0.025, 2.4e-9)] == [
        "2932", "35", "0.98", "0.025", "2e-9"
    ]  # fmt: skip
