"""The cards of a run, written again by every verb from what is in the run folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from synthaug import __version__
from synthaug.data.names import folder_names
from synthaug.data.swap import BALANCED, CARD
from synthaug.diffusion.checkpoint import newest_checkpoint
from synthaug.report.cards import (
    CardClass,
    CardFacts,
    CardVerdict,
    Generation,
    ModelFacts,
    dataset_card,
    model_card,
)
from synthaug.selection.choose import COPY
from synthaug.stages.dataset import Dataset
from synthaug.stages.memorisation import memorisation_json
from synthaug.stages.run_dir import RunDir
from synthaug.stages.synthetic import MANIFEST, read_synthetic


def write_cards(run: RunDir, dataset: Dataset, results: dict[str, Any] | None = None) -> None:
    """Write README.md into every model folder and into `balanced/`, as far as they exist.

    `results` are those that `evaluate` has just found; without them there is no verdict yet.
    """
    facts = card_facts(run, dataset, results)
    for folder, specialist in model_folders(run, dataset).items():
        model = _model_facts(run, folder, specialist, dataset)
        run.write_text(
            f"{folder.relative_to(run.path).as_posix()}/{CARD}", model_card(facts, model)
        )
    if (run / BALANCED).is_dir() and not (run / BALANCED / CARD).is_dir():  # a class of that name
        run.write_text(f"{BALANCED}/{CARD}", dataset_card(facts, with_real=True))


def model_folders(run: RunDir, dataset: Dataset) -> dict[Path, str | None]:
    """The newest checkpoint of every model of a run, with its class if it is a specialist."""
    places: dict[str, str | None] = {"base": None}
    for name, folder in folder_names(dataset.class_names).items():
        places[f"specialists/{folder}"] = name
    found = {newest_checkpoint(run / place): name for place, name in places.items()}
    return {folder: name for folder, name in found.items() if folder is not None}


def card_facts(run: RunDir, dataset: Dataset, results: dict[str, Any] | None) -> CardFacts:
    """What the cards of a run say, of the files that are there."""
    counts = dataset.counts(dataset.splits.train)
    made: dict[str, Any] = run.read_json("generate.json") if run.has("generate.json") else {}
    numbers = made.get("counts")
    copies: dict[str, Any] | None = None
    if results is not None:
        copies = results.get("memorisation")
    elif run.has(MANIFEST):
        copies = memorisation_json(dataset, read_synthetic(run, dataset))
    generation = None
    if made:
        modes = sorted({how["mode"] for how in made["modes"].values()})
        generation = Generation(made["sampler"], made["steps"], made["cfg_scale"], tuple(modes))
    return CardFacts(
        dataset=dataset.name,
        classes=tuple(
            CardClass(name, int(n), None if numbers is None else int(numbers.get(name, 0)))
            for name, n in zip(dataset.class_names, counts, strict=True)
        ),
        image_size=dataset.image_size,
        channels=dataset.channels,
        version=__version__,
        n_test=len(dataset.splits.test),
        copies=(copies or {}).get("classes", ()),
        n_candidates=sum(made.get("candidates", {}).values()),
        n_refused_copies=made["rejected"].get(COPY, 0) if "selector" in made else None,
        verdict=_verdict(results),
        generation=generation,
    )


def current_results(run: RunDir) -> dict[str, Any] | None:
    """results.json if it is about the images that are there now, else None."""
    if not (run.has("results.json") and run.has("generate.json")):
        return None
    results: dict[str, Any] = run.read_json("results.json")
    # Times of one form, which sort as text.
    made_before = run.read_json("generate.json")["created"] <= results["created"]
    return results if made_before else None


def _verdict(results: dict[str, Any] | None) -> CardVerdict | None:
    if results is None:
        return None
    verdict = results["verdict"]
    classes = ((c["class_name"], c["n_test"], c["advice"]) for c in verdict.get("per_class") or ())
    return CardVerdict(verdict["overall"], verdict["sentence"], tuple(classes))


def _model_facts(run: RunDir, folder: Path, specialist: str | None, dataset: Dataset) -> ModelFacts:
    described = json.loads((folder / "denoiser.json").read_text(encoding="utf-8"))
    fitted: dict[str, Any] = run.read_json("fit.json") if run.has("fit.json") else {}
    rarest = int(np.argmin(dataset.counts(dataset.splits.train)))
    training = f"{described['meta']['step']} optimiser steps"
    if fitted:
        training += f", {fitted['parameters']:,} parameters, on {fitted['device']}"
    return ModelFacts(
        training=(
            f"{training}; prediction {described['prediction']}, {described['schedule']} noise "
            f"schedule of {described['T']} steps."
        ),
        T=described["T"],
        patch=described["patch"],
        vector_size=described.get("vector_size", 0),
        learned_variance=described.get("variance") == "learned",
        channels=described["channels"],
        side=described["image_size"] // described["patch"],
        specialist=specialist,
        label=rarest if specialist is None else dataset.class_names.index(specialist),
        from_scratch=bool(fitted.get("from_scratch")),
    )
