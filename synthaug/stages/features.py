"""The classifier by whose features synthetic images are selected: trained here, kept in the run.

It learns from the real train images alone, and it is never the one that judges: other layers, and a
seed that no judge has. A judge would flatter what was chosen by its own eyes.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from synthaug.evaluation.arms import DATA_SIDES, Material
from synthaug.evaluation.classifiers import build_selector
from synthaug.evaluation.heads import penultimate
from synthaug.evaluation.training import predict_logits, train_classifier
from synthaug.recipe import Recipe
from synthaug.stages.dataset import Dataset
from synthaug.stages.planning import classifier_options
from synthaug.stages.progress import Progress
from synthaug.stages.run_dir import RunDir
from synthaug.stages.signals import StopFlag

FILE = "selector.npz"
SIDE, LOSS = "real+oversample", "la"
FIRST_SEED = 1_000_000
"""Added to the recipe's seed. The classifiers of an evaluation count theirs from 0."""


@dataclass(frozen=True)
class Selector:
    """A trained classifier of K classes; `facts` say what it is, ready for JSON."""

    network: nn.Module
    log_prior: np.ndarray
    device: torch.device
    facts: dict[str, Any]

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What it sees in uint8 images [N, C, H, W]: features float32 [N, D] and probabilities.

        The probabilities float64 [N, K] are those it was trained to give: logit adjustment adds the
        log prior before the softmax, and as the classes were drawn alike, with it the probabilities
        are those of equally frequent classes. Without it they would favour rare ones.
        """
        features = penultimate(self.network, images)
        assert features is not None  # the network ends in a linear layer
        logits = predict_logits(self.network, images, device=self.device).astype(np.float64)
        logits += self.log_prior
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return features, weights / weights.sum(axis=1, keepdims=True)


def selector_key(dataset: Dataset, recipe: Recipe) -> str:
    """What a selector depends on, but for the machine: its train images and the recipe."""
    digest = hashlib.sha256()
    images, labels = dataset.train
    for array in (images, labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    options = replace(classifier_options(recipe), steps=recipe.selection.steps)
    return f"{digest.hexdigest()} {dataset.n_classes} {recipe.seed} {LOSS} {options}"


def selector_of(
    run: RunDir,
    dataset: Dataset,
    recipe: Recipe,
    device: torch.device,
    progress: Progress,
    stop: StopFlag,
) -> Selector:
    """The selector of a run: read from the run folder, or trained and kept there."""
    images, labels = dataset.train
    seed = FIRST_SEED + recipe.seed
    network = build_selector(dataset.channels, dataset.n_classes, dataset.image_size, seed=seed)
    counts = np.maximum(dataset.counts(dataset.splits.train), 1)
    options = replace(classifier_options(recipe), steps=recipe.selection.steps)
    log_prior = options.tau * np.log(counts / counts.sum())
    key = selector_key(dataset, recipe)
    kept = run.read_arrays(FILE)
    if kept is not None and str(kept["key"]) == key:
        state = {name: torch.from_numpy(kept[f"w {name}"]) for name in network.state_dict()}
        network.load_state_dict(state)
        # The layout of `train_classifier`: another one rounds differently.
        network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        return Selector(network, log_prior, device, json.loads(str(kept["facts"])))
    with progress.task("learning to select", options.steps, "steps") as task:

        def on_step(step: int, loss: float) -> None:
            del step
            task.advance(1, f"loss {loss:.3f}")
            stop.check()

        train_classifier(
            network,
            DATA_SIDES[SIDE](Material(dataset.train, dataset.n_classes)),
            loss=LOSS,
            counts=counts,
            options=options,
            seed=seed,
            device=device,
            on_step=on_step,
        )
    selector = Selector(network, log_prior, device, {})
    right = selector.look(images)[1].argmax(axis=1) == labels
    facts = {
        "architecture": type(network).__name__,
        "parameters": sum(p.numel() for p in network.parameters()),
        "seed": seed,
        "steps": options.steps,
        "loss": f"{LOSS}, classes drawn alike",
        "train_images": len(labels),
        "train_accuracy": round(float(right.mean()), 4),
    }
    weights = {f"w {name}": value.cpu().numpy() for name, value in network.state_dict().items()}
    run.write_arrays(FILE, key=np.array(key), facts=np.array(json.dumps(facts)), **weights)
    return replace(selector, facts=facts)
