"""Every file of a run folder: who writes it, in which format, and what it is for.

The reference (`docs/reference/run-folder.md`) is made from this list, and a test holds a finished
run against it, so a file that is written but not listed fails there.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class RunFile:
    """Files of a run folder: `pattern` is their path below it.

    `*` stands for a part of one name and `**` for any number of names; a fold of `fit --folds` is a
    run of its own under `folds/`.
    """

    pattern: str
    writer: str
    format: str
    what: str

    def matches(self, path: str) -> bool:
        """Whether a path with forward slashes, relative to the run folder, is such a file."""
        parts = re.split(r"(\*\*|\*)", self.pattern)
        stars = {"**": ".+", "*": "[^/]+"}
        return re.fullmatch("".join(stars.get(p, re.escape(p)) for p in parts), path) is not None


RUN_FILES = (
    RunFile("session.json", "fit", "JSON", "what the fit began with, for `fit --resume`"),
    RunFile("recipe.yaml", "fit", "YAML", "the recipe with every key resolved"),
    RunFile("dataset.json", "fit", "JSON", "classes, image size, fingerprint, sources, notices"),
    RunFile("pixels.npy", "fit", "NumPy, uint8 [N, C, H, W]", "all images as networks see them"),
    RunFile("splits.json", "fit", "JSON", "the side of every image: train, val or test"),
    RunFile(
        "plan.json", "fit, generate", "JSON",
        "images to make of each class and how; `target`, `cap` and `mode` may be edited",
    ),
    RunFile("metrics.jsonl", "fit", "JSON lines", "losses: phase, step, images seen, rate"),
    RunFile(
        "trackers/**", "fit", "the tracker's own",
        "metrics.jsonl for whom `tracking.log_with` names, as in `tensorboard --logdir`",
    ),
    RunFile("grids/step-*.png", "fit", "PNG", "images of every class while training, same seeds"),
    RunFile(
        "base/ckpt-*/**", "fit", "diffusers folder, safetensors and JSON",
        "the joint model; `manifest.json`, written last, has size and sha256 of every file but "
        "`README.md`, its card; `training/` is what a fit under way goes on from",
    ),
    RunFile(
        "specialists/*/ckpt-*/**", "fit --per-class", "the same",
        "the model of one class, if it was kept",
    ),
    RunFile(
        "specialists/*/unfinished/ckpt-*/**", "fit --per-class", "safetensors and JSON",
        "a specialist under way: weights, averages, optimiser and where it stands",
    ),
    RunFile(
        "specialists/*/verdict.json", "fit --per-class", "JSON",
        "what became of a specialist; it is not trained again",
    ),
    RunFile("measured.json", "ablate", "JSON", "what a variant came to; not measured again"),
    RunFile("fit.json", "fit", "JSON", "what was trained, how long, which specialists were kept"),
    RunFile("selector.npz", "generate", "NumPy", "the classifier whose features select"),
    RunFile("candidates/*.npz", "generate", "NumPy", "all images drawn of a class, and seeds"),
    RunFile(
        "selection.parquet", "generate", "Parquet, a row a candidate",
        "kept or the reason why not, every score and the limit it was held against",
    ),
    RunFile("synthetic/*/*.png", "generate", "PNG", "the images kept, a folder a class"),
    RunFile(
        "balanced/*/*.png", "generate", "PNG, all of one size",
        "real train images (`real-`) and synthetic ones (`synthetic-`): the folder to train on",
    ),
    RunFile(
        "balanced/README.md", "generate, evaluate", "Markdown, the Hub's front matter",
        "the dataset card: counts, limits, copies beside their null, the verdict once there is one",
    ),
    RunFile(
        "synthaug_manifest.jsonl", "generate", "JSON lines, one a file",
        "provenance: checkpoint, class, seed, sampler, mode, sources, or the original's path",
    ),
    RunFile("generate.json", "generate", "JSON", "counts, refusals, sampler, speed"),
    RunFile("predictions/*/seed-*.npz", "evaluate", "NumPy", "test logits [N, K] of arm and seed"),
    RunFile("tuning/**", "evaluate --arms all", "NumPy, JSON", "trials of tuned arms, the choice"),
    RunFile("fidelity/features.npz", "evaluate", "NumPy", "features that samples are compared in"),
    RunFile(
        "likelihood/*.npz", "evaluate --likelihood", "NumPy",
        "terms of the bound of each image of a class",
    ),
    RunFile("results.json", "evaluate", "JSON", "every number of the report, and the verdict"),
    RunFile("report.html", "evaluate", "one HTML file", "the page to read; opens offline"),
    RunFile("pictures/*.png", "show", "PNG", "labelled pictures of what was learned"),
    RunFile("folds/*/**", "fit", "run folders", "with `--folds`, a complete run for each fold"),
    RunFile(".lock", "every verb", "empty", "held while a process works in the folder"),
)  # fmt: skip


def find(path: str) -> RunFile | None:
    """The entry of a file, by its path below the run folder; None if there is none."""
    return next((entry for entry in RUN_FILES if entry.matches(path)), None)
