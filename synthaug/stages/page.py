"""report.html: the results with pictures of what was made and the training curve."""

from pathlib import Path
from typing import Any

import numpy as np

from synthaug.report.pictures import Picture
from synthaug.report.render import Curve, write_report
from synthaug.stages.dataset import Dataset
from synthaug.stages.run_dir import RunDir
from synthaug.stages.synthetic import MANIFEST, read_synthetic

PICTURED_CLASSES = 20
PICTURED_IMAGES = 12


def write_page(run: RunDir, dataset: Dataset, results: dict[str, Any], *, pictures: RunDir) -> Path:
    """Write report.html from the results, the synthetic images and the training curve.

    `pictures` is the run that the images and the curve are taken from: of folds, one.
    """
    curves = []
    train = (results["learning"] or {"train": {"n_img": ()}})["train"]
    if len(train["n_img"]) > 1:
        curves.append(Curve("Denoising loss of the joint model", train["n_img"], train["loss"]))
    path = run / "report.html"
    write_report(path, results, pictures=_pictures(pictures, dataset), curves=curves)
    return path


def _pictures(run: RunDir, dataset: Dataset) -> list[Picture]:
    """Real beside synthetic, the classes with the fewest train images first."""
    if not run.has(MANIFEST):
        return []
    images, labels = read_synthetic(run, dataset)
    real, real_labels = dataset.train
    counts = dataset.counts(dataset.splits.train)
    pictures = []
    for k in np.argsort(counts, kind="stable")[:PICTURED_CLASSES]:
        made = images[labels == k]
        if len(made):
            caption = f"{counts[k]} real train images, {len(made)} synthetic ones"
            own = real[real_labels == k][:PICTURED_IMAGES]
            pictures.append(Picture(dataset.class_names[k], caption, own, made[:PICTURED_IMAGES]))
    return pictures
