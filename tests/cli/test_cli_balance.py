"""The plan between the verbs: strategies, caps and edits, as a person would give them."""

import json
from pathlib import Path

import pytest

TRAIN = [40, 31, 24, 19, 14, 11, 9, 7, 5, 4]
RUN = Path("runs/run")  # where a verb looks that is given no run


def n_new(run: Path) -> list[int]:
    """New images of each class as they lie there; the plan and generate.json must say the same."""
    told = json.loads((run / "generate.json").read_text())
    plan = json.loads((run / "plan.json").read_text())
    found = [len(list((run / "synthetic" / c["name"]).glob("*"))) for c in plan["classes"]]
    assert found == [c["n_new"] for c in plan["classes"]] == list(told["counts"].values())
    assert plan["total_new"] == told["n"] == sum(found)
    return found


def edit(run: Path, k: int = 9, **changes: object) -> None:
    plan = json.loads((run / "plan.json").read_text())
    plan["classes"][k].update(changes)
    (run / "plan.json").write_text(json.dumps(plan, indent=2))


def entry(run: Path, k: int = 9) -> dict:
    return json.loads((run / "plan.json").read_text())["classes"][k]


def words_of(text: str) -> str:
    """Text as one line: the terminal breaks it where its width ends."""
    return " ".join(text.split())


def fit(cli, folder: Path, *more: object):
    return cli("fit", "--dataset", folder, "--recipe", "smoke", "--run", RUN, *more)


@pytest.fixture
def two_classes(cli, in_tmp: Path, write_folder) -> Path:
    """A run of two classes whose names hold the signs of an option: 20 and 8 train images."""
    fit(cli, write_folder({"a": 25, "a=b, c": 10})).ok()
    return RUN


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("all", [40 - n for n in TRAIN]), ("not-minority", [*(40 - n for n in TRAIN[:9]), 0])],
)
def test_the_words_of_imbalanced_learn(cli, copied_run: Path, strategy: str, expected):
    cli("generate", "--balance", strategy, "--run", copied_run).ok()
    assert n_new(copied_run) == expected


def test_a_share_of_two_classes(cli, two_classes: Path):
    told = cli("generate", "--balance", "0.75", "--json").ok().json
    assert n_new(two_classes) == [0, 7] and told["strategy"] == 0.75
    refused = cli("generate", "--balance", "0.3")
    assert refused.code == 3
    assert "'a=b, c' has 8 train images and 'a' 20, which is 0.4 already" in refused.fault


def test_a_share_of_ten_classes_is_refused(cli, copied_run: Path, hash_of):
    before = hash_of(copied_run)
    refused = cli("generate", "--balance", "0.5", "--run", copied_run)
    assert refused.code == 2
    assert "the dataset has 10 classes; expected exactly two classes" in refused.fault
    assert hash_of(copied_run) == before


def test_a_cap_bounds_every_class_and_is_kept(cli, copied_run: Path):
    told = cli("generate", "--cap", "2", "--run", copied_run, "--json").ok()
    capped = [min(40 - n, 2 * n) for n in TRAIN]
    assert n_new(copied_run) == capped
    assert told.json["strategy"] == {str(k): n + capped[k] for k, n in enumerate(TRAIN) if n < 40}
    assert f"caps leave out {236 - sum(capped)} of the 236 images" in words_of(told.err)
    assert entry(copied_run)["reason"].endswith(
        "8 new make 12, by the cap of 2 for each real one (the strategy asks for 40)"
    )
    plan = json.loads((copied_run / "plan.json").read_text())
    assert plan["left_out_by_caps"] == 236 - sum(capped)
    # Neither a bare generate nor another strategy forgets it.
    cli("generate", "--run", copied_run).ok()
    assert n_new(copied_run) == capped
    cli("generate", "--balance", "20", "--run", copied_run).ok()
    assert n_new(copied_run) == [min(max(20 - n, 0), 2 * n) for n in TRAIN]
    cli("generate", "--balance", "auto", "--cap", "none", "--run", copied_run).ok()
    assert n_new(copied_run) == [40 - n for n in TRAIN]


def test_caps_of_some_classes(cli, copied_run: Path):
    cli("generate", "--cap", "9=0.5,8=0", "--run", copied_run).ok()
    assert n_new(copied_run) == [*(40 - n for n in TRAIN[:8]), 0, 2]
    cli("generate", "--cap", "8=none", "--run", copied_run).ok()
    assert n_new(copied_run) == [*(40 - n for n in TRAIN[:9]), 2]


def test_options_name_classes_with_their_own_signs(cli, two_classes: Path):
    cli(
        "generate", "--balance", "a=b, c=20,a=22", "--cap", "a=1,a=b, c=0.5",
        "--mode", "a=b, c=sample,a=variation",
    ).ok()  # fmt: skip
    assert n_new(two_classes) == [2, 4]
    assert [entry(two_classes, k)["cap"] for k in (0, 1)] == [1, 0.5]
    assert [entry(two_classes, k)["mode"] for k in (0, 1)] == ["variation", "sample"]


def test_caps_of_the_recipe_are_in_the_plan(cli, in_tmp: Path, write_folder):
    folder = write_folder({"3": 25, "a": 5})
    told = fit(cli, folder, "--set", "balance.cap={a: 1.5}").ok()
    assert "caps leave out 10 of the 16 images" in words_of(told.err)
    assert "by the cap of 1.5 for each real one" in words_of(told.out)
    assert "6 images to synthesise, 10 left out by caps." in words_of(told.out)
    cli("generate").ok()
    assert n_new(RUN) == [0, 6]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [("{b: 1}", "'b'"), ("-1", "balance.cap"), ("{0: x}", "balance.cap"), ("9=3", "balance.cap")],
)
def test_wrong_caps_of_the_recipe(cli, digits: Path, in_tmp: Path, wrong: str, word: str):
    refused = fit(cli, digits, "--set", f"balance.cap={wrong}")
    assert refused.code == 2 and word in refused.fault
    assert not RUN.exists()


@pytest.mark.parametrize(
    ("cap", "words"),
    [
        ("ten", ["'ten'", "10", "none"]),
        ("-1", ["'-1'", "0 or more"]),
        ("9=x", ["'x' of class '9'"]),
        ("10=3", ["--cap names class '10'", "one of 0, 1"]),
        ("9=3,9=4", ["'9' twice"]),
    ],
)
def test_a_wrong_cap_leaves_the_run_as_it_was(cli, copied_run: Path, hash_of, cap: str, words):
    before = hash_of(copied_run)
    refused = cli("generate", "--cap", cap, "--run", copied_run)
    assert refused.code == 2
    assert [w for w in words if w not in refused.fault] == []
    assert hash_of(copied_run) == before


def test_an_edited_target_alone_is_followed_and_told(cli, copied_run: Path):
    edit(copied_run, target=6)
    told = cli("generate", "--run", copied_run, "--json").ok()
    assert n_new(copied_run) == [*(40 - n for n in TRAIN[:9]), 2]
    assert "the plan was edited: class '9' has target 6, where the strategy 'auto' asks for 40" in (
        words_of(told.err)
    )
    assert "2 new make 6, as edited" in entry(copied_run)["reason"]
    # What it takes to do this again is told by the targets, not by the strategy that they replaced.
    assert told.json["strategy"]["9"] == 6
    edit(copied_run, target=7)
    cli("generate", "--balance", "--run", copied_run).ok()
    assert n_new(copied_run)[9] == 3


def test_what_is_not_for_editing_is_worked_out_again(cli, copied_run: Path):
    plan = json.loads((copied_run / "plan.json").read_text())
    path = copied_run / "plan.json"
    path.write_text(json.dumps({**plan, "minority_below": 1, "total_new": 3, "imbalance_ratio": 9}))
    edit(copied_run, 0, minority=True, reason="because", group="few")
    cli("generate", "--run", copied_run).ok()
    assert json.loads(path.read_text()) == plan


def test_a_cap_that_is_lifted_is_not_held_against_the_old_strategy(cli, copied_run: Path):
    """The old one without its cap would ask for more images than any plan may."""
    cli("generate", "--balance", "9=2000000", "--cap", "9=1", "--run", copied_run).ok()
    cli("generate", "--balance", "9=6", "--cap", "none", "--run", copied_run).ok()
    assert n_new(copied_run) == [0] * 9 + [2]


def test_caps_and_modes_of_the_file_stay_with_a_new_strategy(cli, copied_run: Path):
    edit(copied_run, cap=1, target=8, mode="sample")
    cli("generate", "--balance", "30", "--run", copied_run).ok()
    assert n_new(copied_run) == [*(max(30 - n, 0) for n in TRAIN[:9]), 4]
    assert (entry(copied_run)["cap"], entry(copied_run)["mode"]) == (1, "sample")


def test_a_plan_in_another_order_is_the_same_plan(cli, copied_run: Path, hash_of):
    before = hash_of(copied_run / "synthetic")
    plan = json.loads((copied_run / "plan.json").read_text())
    plan["classes"].reverse()
    # With a byte order mark, as some editors write it.
    (copied_run / "plan.json").write_text("\ufeff" + json.dumps(plan))
    cli("generate", "--run", copied_run).ok()
    assert hash_of(copied_run / "synthetic") == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_new": 3}, ["n_new 3", "target 40", "edit target instead: 7 gives 3"]),
        ({"train_images": 5}, ["train_images 5", "the dataset's 4"]),
        ({"target": 3}, ["4 train images, target 3 is lower"]),
        ({"cap": 2}, ["target 40", "cap of 2", "at most 12"]),
        ({"mode": "mix"}, ["mode 'mix'", "sample, variation, interpolate"]),
        ({"tagret": 9}, ["'tagret'", "did you mean 'target'"]),
        ({"name": "ten"}, ["'ten'", "does not have", "0, 1, 2"]),
    ],
    ids=str,
)
def test_a_wrong_edit_is_told_before_anything_is_done(
    cli, copied_run: Path, hash_of, changes, words
):
    edit(copied_run, **changes)
    before = hash_of(copied_run)
    for verb in ("generate", "evaluate"):
        refused = cli(verb, "--run", copied_run)
        assert refused.code == 3
        assert [w for w in (str(copied_run / "plan.json"), *words) if w not in refused.fault] == []
    assert hash_of(copied_run) == before


def test_a_class_that_is_gone_from_the_plan(cli, copied_run: Path):
    plan = json.loads((copied_run / "plan.json").read_text())
    del plan["classes"][3]
    (copied_run / "plan.json").write_text(json.dumps(plan))
    refused = cli("generate", "--run", copied_run)
    assert refused.code == 3
    assert "class '3' is missing from the plan, which has 9 classes" in refused.fault


def test_row_53_a_plan_that_is_no_json_is_told_by_line_and_column(cli, copied_run: Path):
    path = copied_run / "plan.json"
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"target"' in line)
    lines[at] = lines[at].replace(",", "")
    path.write_text("\n".join(lines))
    refused = cli("generate", "--run", copied_run)
    assert refused.code == 3
    assert f"{path}: line {at + 2}, column 7" in refused.fault
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in cli("generate", "--run", copied_run).fault
    path.unlink()
    assert "plan.json cannot be read" in cli("generate", "--run", copied_run).fault


def test_row_29_a_single_class_can_be_learned_drawn_and_shown_but_not_judged(
    cli, in_tmp: Path, write_folder
):
    folder = write_folder({"only": 10})
    told = fit(cli, folder).ok()
    said, shown = words_of(told.err), words_of(told.out)
    assert "the dataset has a single class, 'only': there is nothing to balance it against" in said
    assert "next: synthaug generate --balance N --run" in said and "where N is how many" in said
    assert "test images in 1 class, used" in shown and "the only class" in shown
    assert "generate 0 s" in shown and "evaluate" not in shown.split("expected time:")[1]

    for word in ("auto", "minority", "all"):
        refused = cli("generate", "--balance", word)
        assert refused.code == 3
        assert f"single class, 'only': '{word}' has nothing to balance it" in refused.fault
        assert "--balance 16" in refused.fault
    assert cli("generate", "--balance", "0.5").code == 2

    told = cli("generate", "--balance").ok()
    assert "nothing was drawn" in told.out and n_new(RUN) == [0]
    for strategy in ("12", "only=12"):
        told = cli("generate", "--balance", strategy).ok()
        assert n_new(RUN) == [4]
        assert len(list((RUN / "balanced" / "only").iterdir())) == 12
        assert "synthaug evaluate" not in told.err

    refused = cli("evaluate")
    assert refused.code == 3
    assert "single class, 'only': a classifier has nothing to tell it from" in refused.fault
    assert "expected at least 2 classes; add a folder" in refused.fault
    for what in ("forward", "progressive", "interpolate", "neighbours"):
        assert Path(cli("show", what, "--json").ok().json["path"]).is_file()


def test_row_29_a_single_class_has_no_specialist(cli, in_tmp: Path, write_folder):
    folder = write_folder({"only": 10})
    told = fit(cli, folder, "--per-class", "--json").ok().json
    assert told["specialists"] == []
    refused = cli("fit", "--dataset", folder, "--recipe", "smoke", "--per-class", "--from-scratch")
    assert refused.code == 2 and "--from-scratch" in refused.fault


def test_row_33_balanced_already_is_nothing_to_do_and_no_fault(cli, in_tmp: Path, write_folder):
    told = fit(cli, write_folder({"a": 6, "b": 6})).ok()
    assert "the classes are balanced already, with 5 images each" in words_of(told.err)
    for strategy in ([], ["auto"], ["1.0"]):
        told = cli("generate", "--balance", *strategy).ok()
        assert "nothing was drawn" in told.out
        assert n_new(RUN) == [0, 0]


def test_row_34_an_extreme_ratio_is_met_with_the_advice_of_a_cap(cli, in_tmp: Path, write_folder):
    told = fit(cli, write_folder({"head": 50, "tail": 3})).ok()
    advice = "class 'tail' would get 38 synthetic images for 2 real ones; `generate --cap 10` keeps"
    assert advice in words_of(told.err)
    assert advice in words_of(cli("generate").ok().err)
    assert n_new(RUN) == [0, 38]
    capped = cli("generate", "--cap", "10").ok()
    assert advice not in words_of(capped.err)
    assert "caps leave out 18 of the 38 images" in words_of(capped.err)
    assert n_new(RUN) == [0, 20]


def test_row_99_no_images_asked_for_is_no_fault(cli, copied_run: Path):
    for options in (["--balance", "0"], ["--balance", "auto", "--cap", "0"]):
        told = cli("generate", *options, "--run", copied_run).ok()
        assert "nothing was drawn" in words_of(told.out)
        assert n_new(copied_run) == [0] * 10


@pytest.mark.parametrize("strategy", ["200000", "9=3000000", "9" * 30])
def test_row_99_a_huge_count_is_refused_with_the_number(
    cli, copied_run: Path, hash_of, strategy: str
):
    before = hash_of(copied_run)
    refused = cli("generate", "--balance", strategy, "--run", copied_run)
    told = {
        "200000": "1,999,836 new images in all, 199,996 of them of class '9'",
        "9=3000000": "2,999,996 new images in all",
        "9" * 30: "has 30 digits",
    }
    assert told[strategy] in refused.fault
    assert refused.code == (2 if strategy == "9" * 30 else 3)
    assert hash_of(copied_run) == before


def test_row_99_a_huge_edit_and_a_huge_recipe_are_refused(cli, copied_run: Path, digits: Path):
    edit(copied_run, target=5_000_000)
    refused = cli("generate", "--run", copied_run)
    assert refused.code == 3 and "5,000,196 new images in all" in refused.fault
    refused = cli(
        "fit", "--dataset", digits, "--recipe", "smoke", "--dry-run",
        "--set", "balance.strategy=1000000",
    )  # fmt: skip
    assert refused.code == 3 and "9,999,836 new images in all" in refused.fault


def test_the_help_says_what_stays(cli):
    told = words_of(cli("generate", "--help").ok().out.replace("│", " "))
    assert "Its caps and modes always stay" in told and "--cap" in told
