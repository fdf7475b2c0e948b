"""`synthaug generate --mode`: where images start, and what is written down about it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthaug.diffusion.checkpoint import load_checkpoint, newest_checkpoint
from synthaug.diffusion.generation import generate_images
from synthaug.diffusion.partial import PartialStart
from synthaug.stages.device import resolve_device

MODES = ("sample", "variation", "interpolate")


def synthetic_lines(manifest_of: Callable[[Path], list[Any]], run: Path) -> list[dict[str, Any]]:
    return [x for x in manifest_of(run) if x["file"].startswith("synthetic/")]


def edit_plan(run: Path, number: int, **changes: object) -> None:
    plan = json.loads((run / "plan.json").read_text())
    plan["classes"][number].update(changes)
    (run / "plan.json").write_text(json.dumps(plan))


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_for_all_is_recorded_and_every_image_can_be_made_again(
    cli, smoke, copied_run: Path, manifest_of, mode: str
):
    told = cli(
        "generate", "--balance", "8=8,9=7", "--mode", mode, "--strength", "0.7",
        "--run", copied_run, "--json",
    ).ok().json  # fmt: skip
    nfe = 3 if mode == "sample" else 2  # of 999, 666 and 332 the last two are below 0.7
    assert (told["nfe"], told["strength"]) == (nfe, 0.7)
    assert {n: (m["mode"], m["nfe"]) for n, m in told["modes"].items()} == {
        "8": (mode, nfe), "9": (mode, nfe)
    }  # fmt: skip
    lines = synthetic_lines(manifest_of, copied_run)
    assert len(lines) == 6
    checkpoint = load_checkpoint(newest_checkpoint(copied_run / "base"), resolve_device("cpu"))
    pairs = {"sample": 0, "variation": 1, "interpolate": 2}[mode]
    for line in lines:
        assert (line["mode"], line["nfe"], line.get("strength")) == (
            mode, nfe, 0.7 if pairs else None
        )  # fmt: skip
        sources = line.get("sources", [])
        assert len(set(sources)) == len(sources) == pairs
        assert all(s.startswith(f"train/{line['class_name']}/") for s in sources)
        assert ("lambda" in line) == (pairs == 2)
        start = None
        if pairs:
            read = [np.array(Image.open(smoke.dataset / s))[None, None] for s in sources]
            lam = np.array([line["lambda"]]) if pairs == 2 else None
            start = PartialStart(read[0], 0.7, read[1] if pairs == 2 else None, lam)
        (batch,) = generate_images(
            checkpoint.denoiser, np.array([int(line["class_name"])]), np.array([line["seed"]]),
            sampler=line["sampler"], steps=line["steps"], start=start,
        )  # fmt: skip
        with Image.open(copied_run / line["file"]) as image:
            difference = np.asarray(image).astype(int) - batch.images[0, 0]
        assert np.abs(difference).max() <= 1


def test_a_strength_of_its_own_draws_anew_and_the_same_one_does_not(cli, copied_run: Path):
    file = copied_run / "candidates" / "9.npz"
    stamps = []
    for strength in ("0.7", "0.7", "1"):
        cli("generate", "--strength", strength, "--run", copied_run).ok()
        stamps.append(file.stat().st_mtime_ns)
    assert stamps[0] == stamps[1] != stamps[2]


def test_modes_of_some_classes_are_kept_in_the_plan(cli, copied_run: Path, manifest_of):
    cli("generate", "--mode", "9=sample,0=interpolate", "--run", copied_run).ok()
    plan = json.loads((copied_run / "plan.json").read_text())
    modes = [c["mode"] for c in plan["classes"]]
    assert modes == ["interpolate", "sample", "sample", *["variation"] * 6, "sample"]
    assert "as asked" in plan["classes"][9]["mode_reason"]
    # Neither a bare generate nor another balance forgets them.
    for again in ([], ["--balance", "41"]):
        cli("generate", *again, "--run", copied_run).ok()
        lines = synthetic_lines(manifest_of, copied_run)
        assert {x["mode"] for x in lines if x["class_name"] == "9"} == {"sample"}
    (line,) = [x for x in lines if x["class_name"] == "0"]
    assert line["mode"] == "interpolate" and len(line["sources"]) == 2


def test_the_plan_s_mode_may_be_edited(cli, copied_run: Path, manifest_of):
    edit_plan(copied_run, 9, mode="interpolate")
    told = cli("generate", "--run", copied_run).ok()
    lines = synthetic_lines(manifest_of, copied_run)
    assert {x["mode"] for x in lines if x["class_name"] == "9"} == {"interpolate"}
    text = " ".join(told.out.split())
    assert "interpolate, from pairs of real images at noise strength 0.6: 9" in text
    assert "variation, from single real images at noise strength 0.6: 3, 4, 5, 6, 7, 8" in text


def test_a_wrong_mode_in_the_plan(cli, copied_run: Path):
    edit_plan(copied_run, 9, mode="variaton")
    refused = cli("generate", "--run", copied_run)
    assert refused.code == 3
    for words in ("plan.json", "'9'", "'variaton'", "sample, variation, interpolate"):
        assert words in refused.fault


def test_a_plan_without_modes_still_works(cli, copied_run: Path, smoke):
    plan = json.loads((copied_run / "plan.json").read_text())
    for entry in plan["classes"]:
        del entry["mode"], entry["mode_reason"]
    (copied_run / "plan.json").write_text(json.dumps(plan))
    told = cli("generate", "--run", copied_run, "--json").ok().json
    assert told["modes"] == smoke.generate.json["modes"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mode", "variaton"], ["'variaton'", "did you mean 'variation'"]),
        (["--mode", "9=mix"], ["'mix' of class '9'", "sample, variation, interpolate"]),
        (["--mode", "10=sample"], ["--mode names class '10'", "one of 0, 1"]),
        (["--strength", "0"], ["strength 0", "more than 0"]),
        (["--strength", "1.5"], ["strength 1.5", "at most 1"]),
        (["--strength", "nan"], ["strength nan"]),
        (["--strength", "0.2"], ["0.2 leaves none of 3", "0.33", "--steps"]),
        (["--mode", "interpolate", "--strength", "0.2"], ["leaves none"]),
    ],
)
def test_refusals_leave_the_run_as_it_was(
    cli, copied_run: Path, hash_of, options: list[str], words: list[str]
):
    before = hash_of(copied_run)
    refused = cli("generate", "--run", copied_run, *options)
    assert refused.code == 2
    assert [w for w in words if w not in refused.fault] == []
    assert hash_of(copied_run) == before


def test_strength_does_not_matter_where_all_is_drawn_from_noise(cli, copied_run: Path):
    cli("generate", "--mode", "sample", "--strength", "0.2", "--run", copied_run).ok()


def test_a_class_of_one_image_is_varied_where_pairs_were_asked_for(
    cli, copied_run: Path, manifest_of
):
    """`fit` wants two; here all but one of class 9 are taken out of the run afterwards."""
    labels = json.loads((copied_run / "dataset.json").read_text())["labels"]
    splits = json.loads((copied_run / "splits.json").read_text())
    nines = [i for i in splits["train"] if labels[i] == 9]
    splits["train"] = [i for i in splits["train"] if i not in nines[1:]]
    (copied_run / "splits.json").write_text(json.dumps(splits))
    edit_plan(copied_run, 9, train_images=1, n_new=39)
    told = cli("generate", "--mode", "9=interpolate", "--run", copied_run).ok()
    assert "since 1 train image makes no pair" in " ".join(told.err.split())
    lines = [x for x in synthetic_lines(manifest_of, copied_run) if x["class_name"] == "9"]
    assert len(lines) == 39
    assert {(x["mode"], len(x["sources"]), "lambda" in x) for x in lines} == {
        ("variation", 1, False)
    }
    assert len({x["sources"][0] for x in lines}) == 1


def test_a_specialist_draws_its_variations(cli, smoke, tmp_path: Path, manifest_of):
    run = tmp_path / "run"
    cli(
        "fit", "--dataset", smoke.dataset, "--recipe", "smoke", "--run", run,
        "--per-class", "--from-scratch",
    ).ok()  # fmt: skip
    cli("generate", "--run", run, "--mode", "variation").ok()
    lines = synthetic_lines(manifest_of, run)
    assert {(x["denoiser"], x["mode"]) for x in lines} == {("specialist", "variation")}
    assert len({x["checkpoint"] for x in lines}) == 9
