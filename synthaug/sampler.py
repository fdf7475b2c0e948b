"""`SynthAugSampler`: the two verbs that make images as one over-sampler of imbalanced-learn."""

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_target_type
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import validate_data

from synthaug.data.frames import Frame
from synthaug.recipe import load_recipe
from synthaug.recipe.options import time_override
from synthaug.stages.arrays import arrays_as_dataset
from synthaug.stages.dataset import load_dataset
from synthaug.stages.fit import FitRequest, fit
from synthaug.stages.generate import GenerateRequest, generate
from synthaug.stages.run_dir import RunDir
from synthaug.stages.synthetic import read_manifest, read_synthetic

__all__ = ["SynthAugSampler"]

_RECORDED = (
    "seed", "mode", "strength", "lambda", "sampler", "steps", "nfe", "cfg_scale", "eta",
    "denoiser", "checkpoint", "scores",
)  # fmt: skip


class SynthAugSampler(BaseOverSampler):
    """Over-sample images with those of a DDPM that is trained on all of them.

    `fit_resample` takes X as [N, H, W], [N, H, W, C] or flattened [N, H * W * C], of any numbers,
    and gives the same rows followed by the synthetic ones, in shape, type and range alike. Images
    that selection refuses are not made up for: a class may get fewer, which is warned of.

    Only give it images that may be learned from: inside an `imblearn.pipeline.Pipeline` it sees the
    train part of each split, and is no part of predicting.

    Args:
        sampling_strategy: what imbalanced-learn's over-samplers take.
        image_shape: (H, W) or (H, W, C) of flattened images; default: grey and square.
        recipe: a shipped recipe's name, or a YAML file.
        time_limit: training time, such as "90s" or "10m"; default: the recipe's.
        steps: optimiser steps, instead of a time limit.
        device: "auto", "cpu", "cuda:0" or "mps".
        random_state: seed of the training and of every image.
        run_dir: a new folder to keep the run in, with its checkpoint and manifest; default: a
            temporary one that is removed.

    Attributes:
        sampling_strategy_: images to make of each class, by label.
        synthetic_mask_: bool [N'], which rows of the result are synthetic.
        sample_provenance_: N' dicts. Of a real row its "index" in X; of a synthetic one the seed,
            checkpoint and sampler it can be made again from, and the "indices" of the rows that it
            varies or mixes, if any.
        n_features_in_: the second dimension of X.

    Raises (from `fit_resample`):
        SynthaugError: as `synthaug.fit` and `synthaug.generate` do.
        ValueError: for labels or arrays that imbalanced-learn refuses.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseOverSampler._parameter_constraints,
        "image_shape": ["array-like", None],
        "recipe": [str, PathLike],
        "time_limit": [str, None],
        "steps": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str],
        "run_dir": [str, PathLike, None],
    }

    def __init__(
        self,
        *,
        sampling_strategy: Any = "auto",
        image_shape: tuple[int, ...] | None = None,
        recipe: str | PathLike[str] = "default",
        time_limit: str | None = None,
        steps: int | None = None,
        device: str = "auto",
        random_state: Any = None,
        run_dir: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.image_shape = image_shape
        self.recipe = recipe
        self.time_limit = time_limit
        self.steps = steps
        self.device = device
        self.random_state = random_state
        self.run_dir = run_dir

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.three_d_array = True
        return tags

    def _check_X_y(
        self, X: Any, y: Any, accept_sparse: Any = None
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        del accept_sparse
        y, binarize_y = check_target_type(y, indicate_one_vs_all=True)
        X, y = validate_data(self, X=X, y=y, reset=True, allow_nd=True)
        return X, y, binarize_y

    def _fit_resample(self, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wanted = {label: int(n) for label, n in self.sampling_strategy_.items() if n}
        classes, numbers = np.unique(y, return_inverse=True)
        frame = Frame.of(X, self.image_shape)
        made = _Made(np.empty((0, *X.shape[1:]), X.dtype), np.empty(0, np.int64), [])
        if wanted:
            n_new = [wanted.get(label, 0) for label in classes]
            made = self._make(frame, X, _folder_names(classes), numbers, n_new)
        for k, label in enumerate(classes):
            missing = wanted.get(label, 0) - int(np.sum(made.numbers == k))
            if missing:
                warnings.warn(
                    f"class {str(label)!r} got {missing} of {wanted[label]} images fewer than "
                    "asked for: the others that were drawn are copies, or not of their class",
                    UserWarning,
                    stacklevel=4,
                )
        self.synthetic_mask_ = np.repeat([False, True], [len(X), len(made.images)])
        real = [{"source": "real", "index": i} for i in range(len(X))]
        self.sample_provenance_ = [*real, *made.provenance]
        return np.concatenate([X, made.images]), np.concatenate([y, classes[made.numbers]])

    def _make(
        self, frame: Frame, X: np.ndarray, names: np.ndarray, numbers: np.ndarray, n_new: list[int]
    ) -> "_Made":
        """Train on X [N, ...] with numbers [N] of classes called `names` [K]; draw `n_new` [K]."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        counts = np.bincount(numbers)
        target = (counts + n_new).tolist()
        with self._run() as run, arrays_as_dataset(frame.pack(X), names[numbers]) as dataset:
            fit(FitRequest(dataset, self._recipe(frame, seed), run, device=self.device, test=False))
            balance = dict(zip(names.tolist(), target, strict=True))
            generate(GenerateRequest(run, balance=balance, device=self.device))
            opened = RunDir(run)
            pixels, _ = read_synthetic(opened, load_dataset(opened))
            records = [r for r in read_manifest(opened) if r["file"].startswith("synthetic/")]
        position = {name: k for k, name in enumerate(names.tolist())}
        made = np.array([position[r["class_name"]] for r in records], dtype=np.int64)
        return _Made(frame.unpack(pixels), made, [_provenance(record) for record in records])

    def _recipe(self, frame: Frame, seed: int) -> Any:
        values = {
            "data.image_size": frame.side,
            "data.channels": frame.channels,
            "data.near_duplicates": "ignore",  # there are no two sides to keep them apart on
            "seed": seed,
            **time_override(self.time_limit),
        }
        if self.steps is not None:
            values["diffusion.steps"] = int(self.steps)
        return load_recipe(str(self.recipe), values=values)

    @contextmanager
    def _run(self) -> Iterator[Path]:
        """The run folder, kept or temporary."""
        if self.run_dir is not None:
            yield Path(self.run_dir)
        else:
            with tempfile.TemporaryDirectory(prefix="synthaug-") as folder:
                yield Path(folder) / "run"


def _folder_names(classes: np.ndarray) -> np.ndarray:
    """Names [K] for the classes of a run: the labels where they can be, else their numbers."""
    names = [str(label) for label in classes]
    plain = all(re.fullmatch(r"\w[\w -]*(\.[\w -]+)*", name, re.ASCII) for name in names)
    if not plain or len({name.casefold() for name in names}) < len(names):
        names = [f"{k:05d}" for k in range(len(names))]
    return np.array(names)


@dataclass(frozen=True)
class _Made:
    """Synthetic images [M, ...] like X, the numbers [M] of their classes, and their provenance."""

    images: np.ndarray
    numbers: np.ndarray
    provenance: list[dict[str, Any]]


def _provenance(record: dict[str, Any]) -> dict[str, Any]:
    """Of a line of the manifest what holds without the run folder."""
    kept = {key: record[key] for key in _RECORDED if key in record}
    if "sources" in record:  # such as images/00012
        kept["indices"] = tuple(int(path.rpartition("/")[2]) for path in record["sources"])
    return {"source": "synthetic", **kept}
