"""The table, the sentence and the figure of an ablation."""

import pytest
from PIL import Image

from synthaug.report.ablation import ablation_sentence, ablation_table
from synthaug.report.ablation_figure import write_ablation_figure


def number(mean, half=0.01):
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": [mean]}


@pytest.fixture
def ablation():
    measured = {"small": (4.2, 0.7), "<b>large & wide</b>": (3.1, 0.8), "cosine": (3.3, 0.9)}
    variants = [
        {
            "name": name, "bound": number(bits), "accuracy": number(accuracy), "prior": 0.01,
            "terminal_snr": 4e-5, "log10_snr": [4.0, 0.0, -46.0],
        }
        for name, (bits, accuracy) in measured.items()
    ]  # fmt: skip
    variants[2]["not_worse"] = ["<b>large & wide</b>"]
    return {
        "question": "Large or small beta?", "variants": variants, "real_accuracy": number(0.97),
        "n_synthetic": 1000, "seeds": 3,
    }  # fmt: skip


def test_the_best_of_each_measure_is_marked_and_the_real_images_do_not_compete(ablation):
    table = ablation_table(ablation)
    assert table.title == "Large or small beta?"
    strong = [[cell.strong for cell in row.cells] for row in table.rows]
    assert [row[3] for row in strong] == [False, True, False, False]
    assert [row[4] for row in strong] == [False, False, True, False]
    assert [cell.text for cell in table.rows[3].cells][-1] == "0.970 ± 0.010"
    assert table.rows[3].role == "oracle"
    assert "1000 synthetic images only, mean over 3 seeds" in table.caption


def test_the_sentence_names_what_cannot_be_told_apart(ablation):
    assert ablation_sentence(ablation) == (
        "Best bound: <b>large & wide</b> (3.100 bits/dim). Best samples: cosine (0.900); "
        "not told apart from it: <b>large & wide</b>."
    )
    for variant in ablation["variants"]:
        variant["accuracy"] = None
    assert ablation_sentence(ablation) == "Nothing could be measured."


@pytest.mark.parametrize("n", [1, 3, 9])
def test_the_figure_is_the_same_bytes_for_the_same_numbers(ablation, tmp_path, n):
    ablation["variants"] = (ablation["variants"] * 3)[:n]
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        write_ablation_figure(file, ablation)
    assert files[0].read_bytes() == files[1].read_bytes()
    with Image.open(files[0]) as picture:
        assert len(picture.getcolors(1 << 20)) > 10
