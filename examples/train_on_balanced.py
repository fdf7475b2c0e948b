"""Train your own model on the balanced folder of a run, read as any image folder is.

    python examples/train_on_balanced.py runs/<run>

Prints how many images each class has, how many of them are synthetic, and the recall of each class
on the run's own test images, for a plain scikit-learn classifier.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from datasets import load_dataset
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score


def main(run: Path) -> None:
    balanced = load_dataset("imagefolder", data_dir=str(run / "balanced"), split="train")
    names = balanced.features["label"].names
    images = np.stack([np.asarray(image) for image in balanced["image"]])
    labels = np.array(balanced["label"])

    records = map(json.loads, (run / "synthaug_manifest.jsonl").open(encoding="utf-8"))
    synthetic = Counter(
        r["class_name"]
        for r in records
        if r["source"] == "synthetic" and r["file"].startswith("balanced/")
    )
    model = LogisticRegression(max_iter=2000).fit(images.reshape(len(images), -1) / 255, labels)

    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    test = json.loads((run / "splits.json").read_text(encoding="utf-8"))["test"]
    pixels = np.load(run / "pixels.npy", allow_pickle=False)[test].transpose(0, 2, 3, 1)
    predicted = model.predict(pixels.reshape(len(pixels), -1) / 255)
    recalls = recall_score(np.array(dataset["labels"])[test], predicted, average=None)
    for name, n, recall in zip(names, np.bincount(labels), recalls, strict=True):
        print(f"{name}: {n} images, {synthetic[name]} synthetic, test recall {recall:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
