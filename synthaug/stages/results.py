"""From the predictions of all arms to the content of results.json."""

import hashlib
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from synthaug import __version__
from synthaug.evaluation.arms import Arm
from synthaug.evaluation.classifiers import BUILT_IN, build_classifier
from synthaug.evaluation.metrics import rarest_classes
from synthaug.recipe import Recipe
from synthaug.report.schema import SCHEMA_VERSION
from synthaug.report.schema.making import FitFacts, GenerateFacts
from synthaug.stages.arm_scores import METRICS, ArmRuns, arm_entry, gaps_closed, score_arm
from synthaug.stages.balance import read_plan
from synthaug.stages.collapse import collapse_json
from synthaug.stages.dataset import Dataset
from synthaug.stages.device import describe_device
from synthaug.stages.run_dir import RunDir, utc_now
from synthaug.stages.verdict import compare, find_opponent

FIT_FLAGS = ("per_class", "from_scratch")
LIBRARIES = ("torch", "diffusers", "scikit-learn", "scipy", "numpy")


def assemble_results(
    run: RunDir,
    recipe: Recipe,
    dataset: Dataset,
    runs: Mapping[Arm, ArmRuns],
    seeds: Sequence[int],
    device: torch.device,
    options: Mapping[str, str | None],
) -> dict[str, Any]:
    """The content of results.json (schema 3): facts, protocol, arms, comparison, verdict, collapse.

    `options` are what the user gave to `evaluate` beside the seeds, None where nothing.
    """
    plan = read_plan(run, dataset)
    counts = np.array(plan.counts)
    y_true = dataset.test[1]
    scored = {arm: score_arm(arm, r, y_true, plan) for arm, r in runs.items()}
    comparison, verdict = compare(y_true, scored, plan)
    opponent = find_opponent(scored)
    oracle = next((s for arm, s in scored.items() if arm.oracle), None)
    told = comparison or {}
    fitted = run.read_json("fit.json") if run.has("fit.json") else {}
    generated = run.read_json("generate.json") if run.has("generate.json") else {}
    made = generated.get("counts", {})
    results: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "synthaug_version": __version__,
        "created": utc_now(),
        "versions": {
            "Python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "dataset": {
            "name": dataset.name,
            "class_names": list(plan.class_names),
            "train_counts": counts.tolist(),
            "test_counts": dataset.counts(dataset.splits.test).tolist(),
            "groups": list(plan.group),
            "minority": list(plan.minority),
            "imbalance_ratio": plan.imbalance_ratio,
            "rarest": [plan.class_names[k] for k in np.flatnonzero(rarest_classes(counts))],
            "image_size": dataset.image_size,
            "channels": dataset.channels,
            "fingerprint": dataset.fingerprint,
            "splits": {side: _side(dataset, side) for side in ("train", "val", "test")},
        },
        "protocol": _protocol(recipe, dataset, seeds, device),
        "metrics": list(METRICS),
        "arms": [
            arm_entry(s, runs[arm], plan.class_names, gaps_closed(s, opponent, oracle))
            for arm, s in scored.items()
        ],
        "comparison": comparison,
        "verdict": verdict,
        "collapse": collapse_json(
            {arm.name: r for arm, r in runs.items()},
            np.array(plan.minority),
            before=told.get("opponent"),
            after=told.get("primary"),
        ),
        "notices": list(dataset.notices),
        "commands": _commands(dataset, fitted, generated, seeds, options),
        "synthetic_counts": [made.get(name, 0) for name in plan.class_names],
    }
    for name, found, part in (("generate", generated, GenerateFacts), ("fit", fitted, FitFacts)):
        if found:
            results[name] = {key: found[key] for key in part.model_fields if key in found}
    return results


def _side(dataset: Dataset, side: str) -> dict[str, Any]:
    """How many images a side of the split has, and a digest of which."""
    positions = getattr(dataset.splits, side)
    hashes = sorted(dataset.content_hashes[i] for i in positions)
    digest = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return {"n": len(positions), "sha256": digest}


def _protocol(
    recipe: Recipe, dataset: Dataset, seeds: Sequence[int], device: torch.device
) -> dict[str, Any]:
    section = recipe.evaluation
    name = section.classifier
    network = build_classifier(
        dataset.channels, dataset.n_classes, dataset.image_size, seed=0, name=name
    )
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    kind = "residual network" if name == BUILT_IN else name
    flip = "mirrored half of the time" if section.flip else "never mirrored"
    return {
        "steps": section.steps,
        "batch_size": section.batch_size,
        "seeds": list(seeds),
        "augmentation": f"shifted by up to {section.max_shift} pixels, {flip}",
        "classifier": f"{kind}, {millions:.2f} M parameters",
        "optimiser": f"AdamW, learning rate {section.learning_rate:g}, cosine",
        "logit_adjustment_tau": section.tau,
        "synthetic_share": section.synthetic_share,
        "n_test": len(dataset.splits.test),
        "device": describe_device(device),
        "torch": torch.__version__,
        "recipe": recipe.name,
    }


def _commands(
    dataset: Dataset,
    fitted: Mapping[str, Any],
    generated: Mapping[str, Any],
    seeds: Sequence[int],
    options: Mapping[str, str | None],
) -> list[str]:
    """What to type to repeat the run; the recipe is the one in the run folder."""
    fit = ["synthaug fit", f"--dataset {shlex.quote(dataset.name)}", "--recipe recipe.yaml"]
    fit += [f"--{flag.replace('_', '-')}" for flag in FIT_FLAGS if fitted.get(flag)]
    strategy = generated.get("strategy", "")
    if isinstance(strategy, dict):
        strategy = ",".join(f"{name}={n}" for name, n in strategy.items())
    generate = ["synthaug generate", "--balance", shlex.quote(str(strategy))]
    for name in ("sampler", "steps", "cfg_scale"):
        if name in generated:
            generate.append(f"--{name.replace('_', '-')} {generated[name]}")
    evaluate = [f"synthaug evaluate --seeds {len(seeds)}"]
    evaluate += [f"--{name} {shlex.quote(value)}" for name, value in options.items() if value]
    return [" ".join(fit), " ".join(generate), " ".join(evaluate)]
