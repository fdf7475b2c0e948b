"""Time and steps: what a limit buys and how it is shared out."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthaug.diffusion.unet import fitting_channels, norm_groups
from synthaug.errors import DataError, UsageError
from synthaug.recipe import load_recipe, parse_duration
from synthaug.stages import sizing
from synthaug.stages.planning import TimeBudget, plan_fit

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 m ", 120), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1m", "10 minutes", "1m30s", "0", "0.0h", "1e3", "١٠x"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(UsageError, match="10m"):
        parse_duration(text)


def plan(dataset, *overrides: str, **asked: bool):
    recipe = load_recipe("smoke", overrides)
    asked = {"per_class": False, "from_scratch": False} | asked
    return plan_fit(dataset, recipe, device=CPU, **asked)


def test_steps_of_the_recipe_win_over_the_time_limit(dataset_of, quick_rates):
    found = plan(dataset_of(30, 10), "diffusion.steps=17", "diffusion.time_limit=10h")
    assert found.base_steps == 17
    assert found.specialist_classes == () and found.specialist_steps == 0


def test_a_time_limit_becomes_steps_at_the_measured_speed(dataset_of, quick_rates):
    found = plan(dataset_of(30, 10), "diffusion.steps=null", "diffusion.time_limit=100s")
    assert found.base_steps == int(100 * found.network.train_rate / 8)
    assert found.fit_seconds == pytest.approx(100, rel=0.01)


def test_per_class_shares_the_steps_between_base_and_specialists(dataset_of, quick_rates):
    found = plan(
        dataset_of(40, 30, 10, 5), "diffusion.steps=100", "diffusion.specialist_share=0.4",
        per_class=True,
    )  # fmt: skip
    assert found.specialist_classes == (2, 3)
    assert found.specialist_steps == 20
    assert found.base_steps == 60


def test_from_scratch_gives_all_steps_to_the_classes_that_get_images(dataset_of, quick_rates):
    found = plan(dataset_of(40, 30, 10, 5), "diffusion.steps=99", per_class=True, from_scratch=True)
    assert found.base_steps == 0
    assert found.specialist_classes == (1, 2, 3)
    assert found.specialist_steps == 33


def test_balanced_classes_have_no_specialists(dataset_of, quick_rates):
    found = plan(dataset_of(10, 10), "diffusion.steps=10", per_class=True)
    assert found.specialist_classes == () and found.base_steps == 10
    assert any("balanced already" in n for n in found.to_json(dataset_of(10, 10), CPU)["notices"])


def test_from_scratch_with_nothing_to_make_is_refused(dataset_of):
    with pytest.raises(UsageError, match=r"the plan gives none.*balance\.strategy=200"):
        plan(dataset_of(10, 10), per_class=True, from_scratch=True)


def test_caps_of_the_recipe_bound_what_is_made(dataset_of, quick_rates):
    found = plan(dataset_of(40, 30, 10, 5), "balance.cap=0.5").balance
    assert found.n_new == (0, 10, 5, 2) and found.left_out == (0, 0, 25, 33)
    some = plan(dataset_of(40, 30, 10, 5), "balance.cap={class 2: 1}").balance
    assert some.n_new == (0, 10, 10, 35)
    assert any("caps leave out 20 of the 75" in n for n in some.notices)


def test_the_strategy_of_the_recipe_may_be_a_share_or_numbers(dataset_of, quick_rates):
    assert plan(dataset_of(40, 10), "balance.strategy=0.5").balance.target == (40, 20)
    assert plan(dataset_of(40, 10), "balance.strategy=50").balance.target == (50, 50)
    by_class = plan(dataset_of(40, 10), "balance.strategy={class 1: 13}").balance
    assert by_class.target == (40, 13)


def test_row_29_a_single_class_is_planned_without_an_evaluation(dataset_of, quick_rates):
    found = plan(dataset_of(12), per_class=True)
    assert found.balance.total_new == 0 and found.evaluate_seconds == 0
    assert found.specialist_classes == () and found.base_steps > 0
    assert any("a single class" in n for n in found.to_json(dataset_of(12), CPU)["notices"])


def test_from_scratch_alone_is_refused(dataset_of):
    with pytest.raises(UsageError, match="--per-class"):
        plan(dataset_of(30, 10), from_scratch=True)


def test_no_test_image_is_refused(dataset_of):
    with pytest.raises(DataError, match="test"):
        plan(dataset_of(30, 10, n_test=0))


@pytest.mark.parametrize(
    "override",
    [
        "sampling.steps=2000",
        "diffusion.T=10",
        "balance.strategy=most",
        "balance.strategy=1.5",
        "balance.cap={class 7: 3}",
    ],
)
def test_what_cannot_be_done_is_refused_before_training(dataset_of, quick_rates, override: str):
    changed = [override, *(["sampling.steps=11"] if "T=" in override else [])]
    with pytest.raises(UsageError):
        plan(dataset_of(30, 10), *changed)


def test_an_image_size_that_does_not_fit_is_told_the_ones_that_do(dataset_of):
    with pytest.raises(UsageError, match="image size 9") as caught:
        plan(dataset_of(30, 10, size=9))
    assert "--image-size 8 or --image-size 10" in caught.value.remedy


def test_the_plan_in_json_has_every_class(dataset_of, quick_rates):
    dataset = dataset_of(120, 30, 5)
    told = plan(dataset, per_class=True).to_json(dataset, CPU)
    assert [c["group"] for c in told["classes"]] == ["many", "medium", "few"]
    assert [c["minority"] for c in told["classes"]] == [False, True, True]
    assert [c["n_new"] for c in told["classes"]] == [0, 90, 115]
    assert told["imbalance_ratio"] == 24
    assert told["total_new"] == 205
    assert told["specialists"] == ["class 1", "class 2"]
    assert told["network"]["parameters"] > 10_000
    assert all(told["expected_seconds"][verb] >= 0 for verb in ("fit", "generate", "evaluate"))
    assert "a notice" in told["notices"]


def test_guidance_doubles_the_expected_cost_of_an_image(dataset_of, quick_rates, monkeypatch):
    # The measured speed is pinned: two measurements on a busy machine can differ twofold.
    monkeypatch.setattr(sizing, "_measure_denoiser", lambda *args: (100.0, 200.0))
    plain, guided = (plan(dataset_of(40, 20), f"sampling.cfg_scale={w}") for w in (1, 2))
    assert plain.sample_rate == 2 * guided.sample_rate
    assert guided.generate_seconds == pytest.approx(1.5 * 20 / guided.sample_rate)
    assert guided.generate_seconds == 2 * plain.generate_seconds


def test_variations_are_expected_to_take_the_steps_that_are_left(
    dataset_of, quick_rates, monkeypatch
):
    monkeypatch.setattr(sizing, "_measure_denoiser", lambda *args: (100.0, 200.0))
    told = plan(dataset_of(40, 20, 10), "sampling.strength=0.7")  # two of the three steps
    assert told.generate_seconds == pytest.approx(1.5 * (20 * 3 + 30 * 2) / 200)


@pytest.mark.parametrize(
    ("override", "drawn"),
    [("selection.over_generate=2.01", 41), ("selection.enabled=false", 20)],
)
def test_the_candidates_that_selection_draws_are_expected(
    dataset_of, quick_rates, monkeypatch, override: str, drawn: int
):
    monkeypatch.setattr(sizing, "_measure_denoiser", lambda *args: (100.0, 200.0))
    told = plan(dataset_of(40, 20), override)
    assert told.generate_seconds == pytest.approx(drawn * 3 / 200)


def test_a_strength_that_leaves_no_step_is_refused_before_training(dataset_of, quick_rates):
    plan(dataset_of(40, 20), "sampling.strength=0.1")
    with pytest.raises(UsageError, match=r"strength 0\.1 leaves none of 3"):
        plan(dataset_of(40, 19), "sampling.strength=0.1")


def test_the_recipe_may_name_the_network(dataset_of, quick_rates):
    spec = plan(dataset_of(30, 10), "diffusion.patch=2", "diffusion.dropout=0.1").network.spec
    assert (spec.channels, spec.layers, spec.patch, spec.dropout) == ((16, 32), 1, 2, 0.1)
    preset = plan(dataset_of(30, 10), "diffusion.channels=null").network.spec
    assert preset.channels == (48, 96)


@pytest.mark.parametrize(
    ("limit", "speed", "expected"), [("100s", 100, (32, 64)), ("1000s", 100, (48, 96))]
)
def test_more_time_buys_a_larger_network(dataset_of, monkeypatch, limit, speed, expected):
    """At 100 images/s of the larger one, 100 s show it too few images and 1,000 s enough."""
    monkeypatch.setattr(sizing, "measure_rate", lambda call, n, *, seconds: speed)
    found = plan(
        dataset_of(30, 10), "diffusion.channels=null", "diffusion.steps=null",
        f"diffusion.time_limit={limit}",
    )  # fmt: skip
    assert found.network.spec.channels == expected


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the budget sees."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_budget_follows_the_speed_at_its_marks_only(clock: list[float]):
    budget = TimeBudget(100)
    clock[0] = 1.0
    assert budget.horizon(10, 500) == 500
    clock[0] = 10.0  # 100 steps in a tenth of the time: 1000 will fit
    assert budget.horizon(100, 500) == 1000
    clock[0] = 20.0  # twice slower, but between two marks nothing moves
    assert budget.horizon(150, 1000) == 1000
    clock[0] = 25.0
    assert budget.horizon(175, 1000) == pytest.approx(700, abs=1)


@pytest.mark.parametrize("planned", [5, 40, 400, 5000])
@pytest.mark.parametrize("change", [0.5, 1.0, 4.0])
def test_a_first_plan_that_was_wrong_uses_the_limit_all_the_same(
    clock: list[float], planned: int, change: float
):
    """Ten steps a second, later slower or faster: it ends by itself, near 100 s."""
    budget, done = TimeBudget(100), 0
    while done < planned:
        clock[0] += 0.1 if clock[0] < 40 else 0.1 / change
        done += 1
        planned = budget.horizon(done, planned)
    assert 90 <= clock[0] <= 111


def test_a_budget_that_is_spent_ends_the_training(clock: list[float]):
    budget = TimeBudget(100)
    clock[0] = 95.0
    assert budget.horizon(50, 1000) == pytest.approx(52, abs=1)
    clock[0] = 111.0
    assert budget.horizon(53, 1000) == 53


@pytest.mark.parametrize(
    ("channels", "near"),
    [
        ("[32, 50]", "[32, 48] or [32, 64]"),
        ("[1]", "[2]"),
        ("[16, 20, 40]", "[16, 16, 40] or [16, 24, 40]"),
    ],
)
def test_row_62_channels_that_make_no_groups_are_told_the_ones_that_do(
    dataset_of, channels: str, near: str
):
    with pytest.raises(UsageError, match="cannot be normalised in groups") as caught:
        plan(dataset_of(30, 10), f"diffusion.channels={channels}")
    assert channels in caught.value.found and near in caught.value.remedy


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=4).map(tuple))
def test_row_62_what_is_proposed_works(channels: tuple[int, ...]):
    near = fitting_channels(channels)
    assert near and all(norm_groups(choice) for choice in near)
    if norm_groups(channels):
        assert near[0] == channels


def test_row_62_sizes_and_levels_that_do_not_divide(dataset_of):
    with pytest.raises(UsageError, match=r"no multiple of 4.*: 8 or 12 would be") as caught:
        plan(dataset_of(30, 10, size=10), "diffusion.channels=[16, 16, 16]")
    assert "--image-size 8 or --image-size 12" in caught.value.remedy
    with pytest.raises(UsageError, match=r"no multiple of 16.*: 16 would be"):
        plan(dataset_of(30, 10, size=9), "diffusion.channels=[16, 16, 16, 16, 16]")


@pytest.mark.parametrize("wrong", [-1, 2, 99])
def test_row_63_a_label_that_is_no_class_is_refused(dataset_of, wrong: int):
    dataset = dataset_of(30, 10)
    dataset.labels[3] = wrong
    with pytest.raises(DataError, match=rf"1 labels are no class.* {wrong} of 3\.png") as caught:
        plan(dataset)
    assert "0 to 1" in caught.value.expected


def test_row_64_a_batch_larger_than_a_class_is_stated(dataset_of, quick_rates):
    dataset = dataset_of(30, 10, 5)
    told = plan(dataset, "diffusion.batch_size=12").to_json(dataset, CPU)
    assert told["batch_size"] == 12
    assert told["drawn_with_replacement"] == ["class 1", "class 2"]
    told = plan(dataset, "diffusion.batch_size=5").to_json(dataset, CPU)
    assert told["drawn_with_replacement"] == []
