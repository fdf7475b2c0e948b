"""From the predictions of all arms to the content of results.json."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from synthaug import __version__
from synthaug.evaluation.arms import Arm
from synthaug.evaluation.classifiers import build_classifier
from synthaug.evaluation.compare import (
    Estimate,
    Verdict,
    decide,
    estimate,
    gap_closed,
    paired_difference,
)
from synthaug.evaluation.metrics import GROUPS, Scores, rarest_classes, score
from synthaug.recipe import Recipe
from synthaug.report.words import describe_arm
from synthaug.stages.balance import read_plan
from synthaug.stages.dataset import Dataset
from synthaug.stages.device import describe_device
from synthaug.stages.run_dir import RunDir, utc_now

HEADLINE = "balanced_accuracy"
METRICS = (
    HEADLINE,
    "rarest_recall",
    "minority_recall",
    "macro_f1",
    *(f"{group}_recall" for group in GROUPS),
    "accuracy",
)
PRIMARY_PREFERENCE = ("la", "ce")
FIT_FLAGS = ("per_class", "from_scratch")


@dataclass(frozen=True)
class ArmRuns:
    """Test logits float32 [N, K] of one arm, one entry a seed, and means over the seeds."""

    logits: list[np.ndarray]
    train_seconds: float
    train_accuracy: float


@dataclass(frozen=True)
class _Scored:
    """Scores of one arm by seed, and ways to lay them out as float [S]."""

    arm: Arm
    by_seed: list[Scores]

    def metric(self, name: str) -> np.ndarray:
        return np.array([s.metrics[name] for s in self.by_seed])

    def recall(self, k: int) -> np.ndarray:
        return np.array([s.recall[k] for s in self.by_seed])

    def precision(self, k: int) -> np.ndarray:
        return np.array([s.precision[k] for s in self.by_seed])


def assemble_results(
    run: RunDir,
    recipe: Recipe,
    dataset: Dataset,
    runs: dict[Arm, ArmRuns],
    seeds: Sequence[int],
    device: torch.device,
) -> dict[str, Any]:
    """The content of results.json (schema 1): facts, protocol, arms, comparison, verdict."""
    plan = read_plan(run, dataset)
    counts = np.array(plan.counts)
    rarest = rarest_classes(counts)
    y_true = dataset.test[1]
    scored = {
        arm: _Scored(
            arm,
            [
                score(
                    y_true,
                    logits.argmax(1),
                    groups=list(plan.group),
                    minority=np.array(plan.minority),
                    rarest=rarest,
                )
                for logits in r.logits
            ],
        )
        for arm, r in runs.items()
    }
    opponent = _opponent(scored)
    primary = _primary(scored)
    oracle = next((s for arm, s in scored.items() if arm.oracle), None)
    results: dict[str, Any] = {
        "schema_version": 1,
        "synthaug_version": __version__,
        "created": utc_now(),
        "dataset": {
            "name": dataset.name,
            "class_names": list(plan.class_names),
            "train_counts": counts.tolist(),
            "test_counts": dataset.counts(dataset.splits.test).tolist(),
            "groups": list(plan.group),
            "minority": list(plan.minority),
            "imbalance_ratio": plan.imbalance_ratio,
            "rarest": [plan.class_names[k] for k in np.flatnonzero(rarest)],
            "image_size": dataset.image_size,
            "channels": dataset.channels,
            "fingerprint": dataset.fingerprint,
        },
        "protocol": _protocol(recipe, dataset, seeds, device),
        "metrics": list(METRICS),
        "arms": [
            _arm_entry(s, runs[arm], opponent, oracle, dataset.n_classes)
            for arm, s in scored.items()
        ],
        "comparison": None,
        "notices": list(dataset.notices),
    }
    fitted = run.read_json("fit.json") if run.has("fit.json") else {}
    generated = run.read_json("generate.json") if run.has("generate.json") else {}
    results["commands"] = _commands(dataset, fitted, generated, seeds, oracle=oracle is not None)
    made = generated.get("counts", {})
    results["synthetic_counts"] = [made.get(name, 0) for name in plan.class_names]
    if generated:
        keys = ("n", "images_per_second", "sampler", "steps", "nfe", "cfg_scale", "eta", "rejected")
        results["generate"] = {key: generated[key] for key in keys if key in generated}
    if fitted:
        told = (
            "minutes", "n_img", "images_per_second", "parameters", "flops_per_image", "device",
            "specialists",
        )  # fmt: skip
        results["fit"] = {key: fitted[key] for key in told if key in fitted}
    if primary is None or opponent is None:
        results["verdict"] = asdict(_nothing_to_compare(primary))
        return results
    differences = {m: paired_difference(primary.metric(m), opponent.metric(m)) for m in METRICS}
    results["comparison"] = {
        "primary": primary.arm.name,
        "opponent": opponent.arm.name,
        "differences": {m: _json(e) for m, e in differences.items()},
        "recall_differences": [
            _json(paired_difference(primary.recall(k), opponent.recall(k)))
            for k in range(dataset.n_classes)
        ],
    }
    verdict = decide(
        differences[HEADLINE],
        differences["minority_recall"],
        opponent=describe_arm(_facts(opponent.arm)),
        n_seeds=len(seeds),
    )
    results["verdict"] = asdict(verdict)
    return results


def _best(scored: dict[Arm, _Scored], allowed: Callable[[Arm], bool]) -> _Scored | None:
    candidates = [s for arm, s in scored.items() if allowed(arm)]
    return max(candidates, key=lambda s: float(s.metric(HEADLINE).mean()), default=None)


def _opponent(scored: dict[Arm, _Scored]) -> _Scored | None:
    """The best arm without synthetic data; the oracle has data the user does not."""
    return _best(scored, lambda arm: not (arm.synthetic or arm.oracle))


def _primary(scored: dict[Arm, _Scored]) -> _Scored | None:
    """The synthaug arm that is compared: named beforehand, not the one that happened to win."""
    for loss in PRIMARY_PREFERENCE:
        found = scored.get(Arm("synthaug", loss))
        if found:
            return found
    return None


def _arm_entry(
    s: _Scored, runs: ArmRuns, opponent: _Scored | None, oracle: _Scored | None, n_classes: int
) -> dict[str, Any]:
    closed = None
    if oracle is not None and opponent is not None and s is not oracle:
        closed = {}
        for metric in ("rarest_recall", HEADLINE):
            ours, best, most = (float(x.metric(metric).mean()) for x in (s, opponent, oracle))
            closed[metric] = gap_closed(ours, best, most)
    return {
        "name": s.arm.name,
        **_facts(s.arm),
        "metrics": {m: _json(estimate(s.metric(m))) for m in METRICS},
        "recall": [_json(estimate(s.recall(k))) for k in range(n_classes)],
        "precision": [_json(estimate(s.precision(k))) for k in range(n_classes)],
        "train_seconds": round(runs.train_seconds, 2),
        "train_accuracy": round(runs.train_accuracy, 4),
        "gap_closed": closed,
    }


def _facts(arm: Arm) -> dict[str, Any]:
    return {
        "data": arm.data,
        "loss": arm.loss,
        "synthetic": arm.synthetic,
        "oracle": arm.oracle,
        "control": arm.control,
    }


def _protocol(
    recipe: Recipe, dataset: Dataset, seeds: Sequence[int], device: torch.device
) -> dict[str, Any]:
    section = recipe.evaluation
    network = build_classifier(dataset.channels, dataset.n_classes, dataset.image_size, seed=0)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    flip = "mirrored half of the time" if section.flip else "never mirrored"
    return {
        "steps": section.steps,
        "batch_size": section.batch_size,
        "seeds": list(seeds),
        "augmentation": f"shifted by up to {section.max_shift} pixels, {flip}",
        "classifier": f"residual network, {millions:.2f} M parameters",
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
    fitted: dict[str, Any],
    generated: dict[str, Any],
    seeds: Sequence[int],
    *,
    oracle: bool,
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
    evaluate = f"synthaug evaluate --seeds {len(seeds)}" + (" --oracle DIR" if oracle else "")
    return [" ".join(fit), " ".join(generate), evaluate]


def _nothing_to_compare(primary: _Scored | None) -> Verdict:
    missing = "synthetic data" if primary is None else "only real data"
    return Verdict("cannot tell", f"No arm with {missing} was run, so there is no comparison.")


def _json(e: Estimate | None) -> dict[str, Any] | None:
    if e is None:
        return None
    rounded = {
        k: None if v is None else round(v, 6)
        for k, v in (("mean", e.mean), ("low", e.low), ("high", e.high))
    }
    return {**rounded, "values": [round(v, 6) for v in e.values]}
