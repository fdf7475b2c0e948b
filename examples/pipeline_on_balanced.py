"""Tune a scikit-learn pipeline on the balanced folder of a run, and test it on real images.

    python examples/pipeline_on_balanced.py runs/<run>

Synthetic images may be learned from but never be tested on, so each fold of the cross-validation
tests on real images only: the file names say which they are.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline


def main(run: Path) -> None:
    files = sorted((run / "balanced").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(file)).ravel() / 255 for file in files])
    names = np.array([file.parent.name for file in files])
    real = np.array([file.name.startswith("real-") for file in files])

    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    held_out = [test for _, test in folds.split(pixels[real], names[real])]
    tests = [np.flatnonzero(real)[fold] for fold in held_out]
    splits = [(np.setdiff1d(np.arange(len(files)), test), test) for test in tests]
    pipeline = make_pipeline(PCA(10), LogisticRegression(max_iter=2000))
    search = GridSearchCV(
        pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=splits, scoring="balanced_accuracy"
    ).fit(pixels, names)

    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    test = json.loads((run / "splits.json").read_text(encoding="utf-8"))["test"]
    images = np.load(run / "pixels.npy", allow_pickle=False)[test].transpose(0, 2, 3, 1)
    predicted = search.predict(images.reshape(len(test), -1) / 255)
    actual = np.array(dataset["class_names"])[np.array(dataset["labels"])[test]]
    score = balanced_accuracy_score(actual, predicted)
    print(f"best C {search.best_params_['logisticregression__C']}, balanced accuracy {score:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
