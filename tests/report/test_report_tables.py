import re

import pytest

from synthaug.report.class_tables import classes_table, reasons_table
from synthaug.report.facts import key_numbers, limits
from synthaug.report.further_tables import collapse_table, fidelity_table, likelihood_table
from synthaug.report.making_tables import memorisation_table, selection_table, specialists_table
from synthaug.report.render import render_report
from synthaug.report.results import estimate, metric_of
from synthaug.report.tables import (
    arms_table,
    differences_table,
    further_table,
)
from synthaug.report.tuning_tables import tuning_tables
from synthaug.report.words import (
    brief_arm,
    describe_arm,
    describe_metric,
    reading,
    score,
    share,
    signed,
)


def headings(table):
    return [column.heading for column in table.columns]


def per_class(results, use):
    """A verdict per class as results.json has it."""
    return [
        {
            "class_name": name,
            "advice": "use" if k in use else "cannot tell",
            "reason": f"because of {k}",
            "detectable": 0.05 if k in use else None,
        }
        for k, name in enumerate(results["dataset"]["class_names"])
    ]


def texts(row):
    return [cell.text for cell in row.cells]


def column(table, heading):
    i = headings(table).index(heading)
    return [row.cells[i] for row in table.rows]


def row_of(table, first):
    return next(row for row in table.rows if row.cells[0].text == first)


def test_score_is_mean_and_half_width_of_the_interval():
    raw = {"mean": 0.9686, "low": 0.9666, "high": 0.9706, "values": [0.9686]}
    assert score(estimate(raw)) == "0.969 ± 0.002"


def test_score_without_interval_is_the_mean_and_undefined_is_not_zero():
    raw = {"mean": 0.5, "low": None, "high": None, "values": [0.5]}
    assert score(estimate(raw)) == "0.500"
    assert score(estimate(None)) == "n/a"
    assert score(estimate({"mean": float("nan"), "low": 0.0, "high": 1.0, "values": []})) == "n/a"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0001, 0.2, "better"),
        (-0.2, -0.0001, "worse"),
        (-0.1, 0.1, "no evidence"),
        (0.0, 0.1, "no evidence"),
        (0.0, 0.0, "no evidence"),
        (None, None, "one seed: no interval"),
    ],
)
def test_reading_follows_whether_the_interval_excludes_zero(low, high, expected):
    raw = {"mean": 0.0, "low": low, "high": high, "values": [0.0]}
    assert reading(estimate(raw)) == expected


def test_a_difference_that_rounds_to_zero_keeps_its_sign():
    assert [signed(x) for x in (0.0, 0.0003, -0.0003, 0.009, -0.04)] == [
        "0.000",
        "+0.000",
        "−0.000",
        "+0.009",
        "−0.040",
    ]


def test_shares_are_percentages():
    assert [share(x) for x in (0.45, -0.4, 1.2, None)] == ["45 %", "−40 %", "120 %", "n/a"]


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (
            {"name": "a", "data": "real+oversample", "loss": "la"},
            "real + oversampling, logit adjustment",
        ),
        (
            {"name": "a", "data": "copy-control", "loss": "ce"},
            "copy control: real images duplicated, cross-entropy",
        ),
        ({"name": "a", "data": "synthaug", "loss": "la"}, "synthaug, logit adjustment"),
        (
            {"name": "a", "data": "oracle", "loss": "ce"},
            "oracle: extra real images, cross-entropy",
        ),
        ({"name": "a", "data": "mixup", "loss": "focal"}, "real + mixup, focal loss"),
        ({"name": "only/name"}, "only/name"),
    ],
)
def test_arms_are_described_in_words(arm, words):
    assert describe_arm(arm) == words


def test_metrics_count_the_rarest_and_fall_back_to_their_name(results):
    assert describe_metric("rarest_recall", results) == "recall of the 3 rarest"
    results["dataset"]["rarest"] = ["digit 9"]
    assert describe_metric("rarest_recall", results) == "recall of the rarest class"
    assert describe_metric("g_mean", results) == "G-mean"
    assert describe_metric("top_two", results) == "top two"


def test_arms_table_rows_roles_and_columns(results):
    table = arms_table(results)
    assert headings(table) == [
        "training regime",
        "balanced accuracy",
        "recall of the 3 rarest",
        "recall of minority classes",
        "macro F1",
        "recall of classes with > 100 images",
        "recall of classes with 20–100 images",
        "gap closed in recall of the 3 rarest",
        "gap closed in balanced accuracy",
    ]
    assert [row.role for row in table.rows] == [
        *("", "", "", "opponent", "control", "", "primary", "oracle")
    ]
    assert texts(row_of(table, "synthaug, logit adjustment")) == [
        "synthaug, logit adjustment",
        "0.969 ± 0.002",
        "0.919 ± 0.011",
        "0.949 ± 0.002",
        "0.966 ± 0.002",
        "0.985 ± 0.002",
        "0.939 ± 0.002",
        "45 %",
        "22 %",
    ]
    assert "5 paired seeds" in table.caption and "oracle" in table.caption


def test_arms_table_marks_the_best_but_never_the_oracle(results):
    table = arms_table(results)
    best = [row.cells[0].text for row in table.rows if row.cells[1].strong]
    assert best == ["synthaug, logit adjustment"]
    assert not any(cell.strong for cell in table.rows[-1].cells)


def test_arms_table_marks_ties_at_the_shown_digits_and_nothing_when_all_are_alike(results):
    by_name = {arm["name"]: arm for arm in results["arms"]}
    by_name["real/ce"]["metrics"]["macro_f1"] = {
        **by_name["synthaug/la"]["metrics"]["macro_f1"],
        "mean": 0.96641,
    }
    by_name["synthaug/la"]["metrics"]["macro_f1"]["mean"] = 0.96639
    table = arms_table(results)
    assert sum(cell.strong for cell in column(table, "macro F1")) == 2
    assert not any(c.strong for c in column(table, "recall of classes with > 100 images"))


def test_arms_table_shows_an_undefined_metric_of_one_arm_as_not_available(results):
    results["arms"][0]["metrics"]["medium_recall"] = None
    cells = column(arms_table(results), "recall of classes with 20–100 images")
    assert cells[0].text == "n/a" and cells[1].text == "0.928 ± 0.002"


def test_every_number_in_the_arms_table_is_in_the_results(results):
    known = set()
    for arm in results["arms"]:
        for metric in arm["metrics"]:
            value = metric_of(arm, metric)
            if value is not None:
                known |= {f"{value.mean:.3f}", f"{(value.high - value.low) / 2:.3f}"}
        known |= {f"{gap:.0%}"[:-1].replace("-", "−") for gap in (arm["gap_closed"] or {}).values()}
    for row in arms_table(results).rows:
        for cell in row.cells[1:]:
            assert set(re.findall(r"−?[\d.]+", cell.text)) <= known, cell


def test_differences_table(results):
    table = differences_table(results)
    assert headings(table) == ["metric", "synthaug", "opponent", "difference", "reading"]
    rows = {row.cells[0].text: texts(row)[1:] for row in table.rows}
    assert rows["balanced accuracy"] == [
        "0.969 ± 0.002",
        "0.960 ± 0.002",
        "+0.009 [+0.003, +0.015]",
        "better",
    ]
    assert rows["recall of minority classes"][2:] == ["+0.009 [−0.003, +0.021]", "no evidence"]
    assert rows["recall of classes with > 100 images"][3] == "worse"
    assert "recall of classes with < 20 images" not in rows
    assert "“real + oversampling, logit adjustment”" in table.caption


def test_one_seed_has_no_interval_and_no_reading(make_results):
    results = make_results(seeds=1)
    row = row_of(differences_table(results), "balanced accuracy")
    assert texts(row)[1:] == ["0.969", "0.960", "+0.009", "one seed: no interval"]
    assert not row.cells[-1].strong
    assert "95 % interval" not in headings(classes_table(results))
    assert "±" not in str(arms_table(results))
    assert "One seed" in arms_table(results).caption


def test_no_oracle_no_gap_column(make_results):
    table = arms_table(make_results(oracle=False))
    assert not any(heading.startswith("gap") for heading in headings(table))
    assert "racle" not in table.caption


def test_classes_table_starts_with_the_rarest(results):
    table = classes_table(results)
    assert texts(table.rows[0]) == [
        "digit 9",
        "20",
        "1,980",
        "990",
        "0.956",
        "0.965",
        "+0.023",
        "[+0.020, +0.026]",
        "better",
    ]
    assert texts(table.rows[-1])[:4] == ["digit 0", "2,000", "0", "900"]
    assert texts(table.rows[-1])[-1] == "worse"


def test_classes_table_gives_no_reading_on_one_test_image(results):
    results["dataset"]["test_counts"][9] = 1
    assert classes_table(results).rows[0].cells[-1].text == "too few test images"


def test_classes_table_shows_verdicts_when_there_are_any(results):
    results["verdict"]["per_class"] = per_class(results, use=[9])
    table = classes_table(results)
    assert "reading" not in headings(table)
    verdicts = column(table, "verdict")
    assert [cell.text for cell in verdicts] == ["use"] + ["cannot tell"] * 9
    assert [cell.strong for cell in verdicts] == [True] + [False] * 9
    least = column(reasons_table(results), "smallest difference it would find")
    assert [cell.text for cell in least] == ["0.050"] + ["n/a"] * 9
    assert "corrected for the number of classes" in table.caption


def test_row_101_a_class_without_test_images_is_not_available_and_never_zero(results):
    """As `evaluate` writes it: nothing was measured of the class, and its verdict says so."""
    results["verdict"]["per_class"] = per_class(results, use=[])
    results["verdict"]["per_class"][9]["reason"] = "there is no test image of this class"
    results["dataset"]["test_counts"][9] = 0
    for arm in results["arms"]:
        arm["recall"][9] = arm["precision"][9] = None
    results["comparison"]["recall_differences"][9] = None
    row = texts(classes_table(results).rows[0])
    assert row == ["digit 9", "20", "1,980", "0", *["n/a"] * 4, "cannot tell"]
    why = texts(reasons_table(results).rows[0])
    assert why[2:] == ["there is no test image of this class", "n/a", "n/a", "n/a"]
    assert "nothing here is said about it" in " ".join(limits(results))


def test_row_104_an_interval_that_holds_zero_is_no_evidence(results):
    for name, gain in results["comparison"]["differences"].items():
        if gain is not None:
            gain |= {"mean": 0.012, "low": -0.001, "high": 0.025}
            assert "no evidence" in texts(
                row_of(differences_table(results), describe_metric(name, results))
            )
    for gain in results["comparison"]["recall_differences"]:
        gain |= {"mean": 0.2, "low": -0.001, "high": 0.401}
    assert {cell.text for cell in column(classes_table(results), "reading")} == {"no evidence"}
    detail = key_numbers(results)[0].detail
    assert detail == "[−0.001, +0.025], no evidence"


def test_reasons_of_the_verdicts_the_rarest_first(results):
    assert not reasons_table(results).rows
    results["verdict"]["per_class"] = per_class(results, use=[9])
    rows = [texts(row) for row in reasons_table(results).rows]
    assert rows[0] == ["digit 9", "use", "because of 9", "n/a", "n/a", "0.050"]
    assert rows[-1] == ["digit 0", "cannot tell", "because of 0", "0.960", "0.969", "n/a"]


def test_collapse_table_has_the_arms_that_were_measured(results):
    assert not collapse_table(results).rows
    keys = ("train_accuracy", "nc1", "minority_cosine", "classifier_etf_distance")
    numbers = dict(zip(keys, (0.998, 0.034, -0.12, 0.271), strict=True))
    arms = {"synthaug/la": {**numbers, "nc3": None}, "real/ce": numbers}
    results["collapse"] = {"sentence": None, "arms": arms}
    table = collapse_table(results)
    assert [row.cells[0].text for row in table.rows] == [
        "real images, cross-entropy",
        "synthaug, logit adjustment",
    ]
    told = dict(zip(headings(table), texts(table.rows[1]), strict=True))
    assert told["NC1"] == "0.03" and told["minority cosine"] == "−0.12" and told["NC3"] == "n/a"
    assert table.rows[1].role == "primary"


def test_fidelity_is_shown_beside_real_images_or_with_the_reason_why_not(results):
    assert not fidelity_table(results).rows
    beside = {"synthetic": 0.6, "real": 0.8, "real_low": 0.7, "real_high": 0.85}
    scores = ("precision", "recall", "density", "coverage", "frechet", "kernel")
    found = dict.fromkeys(scores, beside) | {"frechet": {**beside, "synthetic": 0.9}}
    found["precision"] = {**beside, "synthetic": 0.75}
    counts = {"n_real": 100, "n_synthetic": 1980}
    classes = [
        {"class_name": "digit 8", **counts, **dict.fromkeys(scores), "reason": "too few"},
        {"class_name": "digit 9", **counts, **found, "reason": None},
    ]
    results["fidelity"] = {"features": "real/ce, seed 0", "classes": classes}
    rows = [texts(row) for row in fidelity_table(results).rows]
    assert rows[0][:3] == ["digit 9", "100 / 1,980", "0.75 (0.70–0.85)"]
    assert rows[0][-1] == "recall, coverage, Fréchet distance"
    assert rows[1] == ["digit 8", "100 / 1,980", *["n/a"] * 4, "too few"]


def test_the_least_calibration_error_is_the_best(results):
    assert not further_table(results).rows
    for error, arm in enumerate(results["arms"], 3):
        mean = 0.01 * error
        arm["worst_class"] = None
        arm["metrics"]["calibration_error"] = {"mean": mean, "low": 0, "high": 1, "values": [mean]}
    table = further_table(results)
    assert [cell.strong for cell in column(table, "calibration error")] == [True] + [False] * 7
    assert [cell.text for cell in column(table, "training accuracy")] == ["0.990"] * 8
    assert column(table, "G-mean")[0].text == column(table, "worst class")[0].text == "n/a"


def test_numbers_in_sentences_get_minus_signs_and_names_keep_their_hyphens():
    from synthaug.report.words import with_minus_signs

    text = "recall -0.196 [-0.268, +0.124] of “-1” against “real-only”, 3-fold"
    expected = "recall −0.196 [−0.268, +0.124] of “-1” against “real-only”, 3-fold"
    assert with_minus_signs(text) == expected


def test_every_arm_has_words_of_its_own():
    from synthaug.evaluation.arms import DATA_SIDES, LOSS_SIDES

    arms = [{"data": data, "loss": loss} for data in DATA_SIDES for loss in LOSS_SIDES]
    for describe in (describe_arm, brief_arm):
        words = [describe(arm) for arm in arms]
        assert len(set(words)) == len(arms)
        assert not any(loss == word.split(", ")[-1] for word in words for loss in ("ce", "cb"))
    assert max(len(brief_arm(arm)) for arm in arms) <= 27


def test_a_gap_that_is_wider_than_the_oracle_is_far_gets_no_number(results):
    results["arms"][0]["gap_closed"] = {"rarest_recall": -32.3, "balanced_accuracy": -1.0}
    table = arms_table(results)
    shown = [c.heading.startswith("gap closed") for c in table.columns]
    cells = [cell.text for cell, gap in zip(table.rows[0].cells, shown, strict=True) if gap]
    assert cells == ["< −100 %", "−100 %"]


@pytest.mark.parametrize("n_classes", [2, 100])
def test_one_row_per_class_and_as_many_cells_as_columns(make_results, n_classes):
    results = make_results(n_classes)
    tables = [classes_table(results), arms_table(results), differences_table(results)]
    assert len(tables[0].rows) == n_classes
    for table in tables:
        assert all(len(row.cells) == len(table.columns) for row in table.rows)


def test_results_without_a_comparison_still_make_tables(results):
    results["comparison"] = None
    assert differences_table(results).rows == ()
    assert len(classes_table(results).rows) == 10
    assert {row.role for row in arms_table(results).rows} == {"", "control", "oracle"}


def test_specialists_table(results):
    assert [texts(row) for row in specialists_table(results).rows] == [
        ["digit 9", "yes", "0.0412", "0.0398", "lower held-out loss"],
        ["digit 8", "no", "0.0400", "0.0401", "no gain"],
    ]
    del results["fit"]
    assert specialists_table(results).rows == ()


def test_likely_copies_stand_beside_those_among_real_images(results):
    rows = memorisation_table(results).rows
    assert [texts(row) for row in rows] == [
        ["digit 9", "12 of 500 (2 %)", "1 of 20 (5 %)", "21", "no more than real"],
        ["digit 8", "61 of 500 (12 %)", "0 of 33 (0 %)", "0", "more than among real"],
    ]
    assert [row.cells[-1].strong for row in rows] == [False, True]
    results["memorisation"]["classes"][0] |= {"n_real": 0, "p": None}
    assert texts(memorisation_table(results).rows[0])[2::2] == ["n/a", "n/a"]
    results["memorisation"] = None
    assert memorisation_table(results).rows == ()


def test_selection_table_counts_the_refusals_of_each_class(results):
    results["generate"]["modes"] = {"digit 9": {"mode": "variation", "nfe": 12, "reason": "rare"}}
    results["generate"]["shortfall"] = {"digit 9": 3}
    table = selection_table(results)
    assert headings(table)[-1] == "copy of a train image"
    assert [texts(row) for row in table.rows] == [
        ["digit 9", "variation", "3,000", "1,980", "3", "21"],
        ["digit 8", "n/a", "2,900", "1,967", "0", "0"],
    ]
    del results["generate"]
    assert selection_table(results).rows == ()


def likelihood_entry(name, gap, n=25):
    return {
        "class_name": name, "denoiser": "base", "n_train": n, "n_test": n, "train": 3.1,
        "test": 3.1 + gap["mean"], "gap": gap,
    }  # fmt: skip


def test_likelihood_table_reads_the_gap(results):
    assert not likelihood_table(results).rows
    results["likelihood"] = {
        "classes": [
            likelihood_entry("rare", {"mean": 0.4, "low": 0.2, "high": 0.6}),
            likelihood_entry("common", {"mean": 0.01, "low": -0.1, "high": 0.12}),
            likelihood_entry("odd", {"mean": -0.3, "low": -0.4, "high": -0.2}),
            likelihood_entry("single", {"mean": 0.3, "low": None, "high": None}, n=1),
            {**likelihood_entry("none", {"mean": 0}), "test": None, "n_test": 0, "gap": None},
        ],
        "overall": likelihood_entry("", {"mean": 0.05, "low": 0.01, "high": 0.09}),
    }
    rows = [[cell.text for cell in row.cells] for row in likelihood_table(results).rows]
    assert rows[0] == [
        "rare", "25 / 25", "3.100", "3.500", "+0.400 [+0.200, +0.600]", "train fits better"
    ]  # fmt: skip
    assert [row[-1] for row in rows[1:]] == [
        "no evidence", "test fits better", "too few images", "n/a", "train fits better"
    ]  # fmt: skip
    assert rows[4][3:] == ["n/a", "n/a", "n/a"]
    assert rows[5][0] == "all classes"
    assert "memorises" in likelihood_table(results).caption


def tuning_trial(words, accuracy, behind=None, *, seeds=3, chosen=False):
    return {
        "share": 0.5, "tau": 1.0, "power": 1.0, "amount": "all", "words": words, "seeds": seeds,
        "balanced_accuracy": accuracy, "rare_recall": None, "behind": behind,
        "standard_error": None if behind is None else 0.004, "chosen": chosen,
    }  # fmt: skip


def tuning_part(*trials, best):
    """What results.json says of a tuned side, in one fold of a dataset."""
    side = {
        "chosen": {"share": 0.5, "tau": 1.0, "power": 1.0, "amount": "all"}, "words": "w",
        "reason": "r", "best": best, "seconds": 1.0, "trials": list(trials),
    }  # fmt: skip
    return {
        "folds": 4, "trials_per_side": 3, "trainings_per_side": 44, "n_validated": 2478,
        "classes_not_validated": [], "n_synthetic": 4, "n_synthetic_by_fold": [2, 3],
        "sides": {"synthaug-tuned": side}, "sentence": "s",
    }  # fmt: skip


def test_tuning_tables_put_the_last_round_first_and_tell_what_became_of_each(results):
    assert tuning_tables(results) == []
    first = tuning_trial("half", 0.96, 0.003, chosen=True)
    early, best = tuning_trial("none", 0.99, seeds=1), tuning_trial("all <of> it", 0.963, 0.0)
    results["tuning"] = [tuning_part(first, early, best, best="all <of> it")]
    (table,) = tuning_tables(results)
    assert table.title == "Tried for “synthaug, tuned”"
    assert [texts(row) for row in table.rows] == [
        ["all <of> it", "3", "0.963", "n/a", "0.000", "0.004", "best"],
        ["half", "3", "0.960", "n/a", "0.003", "0.004", "chosen"],
        ["none", "1", "0.990", "n/a", "n/a", "n/a", "dropped out"],
    ]
    assert [cell.strong for cell in column(table, "outcome")] == [False, True, False]
    assert "2,478 train images" in table.caption and "44 trainings" in table.caption
    assert "flatter synthetic images" in table.caption
    results["tuning"] = [tuning_part({**best, "share": 0.0}, best="all <of> it")]
    assert "flatter" not in tuning_tables(results)[0].caption
    results["tuning"] = [tuning_part(first, early, best, best="all <of> it")]
    results["tuning"] *= 2
    assert [t.title[-6:] for t in tuning_tables(results)] == ["fold 1", "fold 2"]
    page = render_report(results)
    assert "all &lt;of&gt; it" in page and "all <of> it" not in page
