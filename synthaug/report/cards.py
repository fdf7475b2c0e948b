"""The README.md of a model folder and of a folder of images, in the form that the Hub reads.

Whatever a card says of a run is escaped: a class name can neither break a table nor add HTML.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synthaug.report.words import describe_verdict

__all__ = [
    "CardClass",
    "CardFacts",
    "CardVerdict",
    "Generation",
    "ModelFacts",
    "dataset_card",
    "escape_markdown",
    "model_card",
]

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#!|~^$@]|:(?=//|\w+:))")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
FEW = 20
"""A class with fewer training images is named among the limits."""


@dataclass(frozen=True)
class CardClass:
    """A class with its `real` training images and, once there are any, `synthetic` ones."""

    name: str
    real: int
    synthetic: int | None


@dataclass(frozen=True)
class CardVerdict:
    """`overall` is "use", "do not use" or "cannot tell", `classes` (name, test images, word)."""

    overall: str
    sentence: str
    classes: tuple[tuple[str, int, str], ...]

    @property
    def words(self) -> str:
        return describe_verdict(self.overall)


@dataclass(frozen=True)
class Generation:
    """How the synthetic images were drawn; `modes` are the ways, such as "sample"."""

    sampler: str
    steps: int
    cfg_scale: float
    modes: tuple[str, ...]


@dataclass(frozen=True)
class CardFacts:
    """What both cards say of a run.

    Attributes:
        dataset: name of the dataset.
        classes: in the order of their numbers.
        image_size: pixels a side.
        channels: 1 or 3.
        version: of synthaug.
        n_test: real images that were kept from the generator.
        copies: rows of `memorisation` in results.json, one a class with synthetic images.
        n_candidates: images drawn.
        n_refused_copies: of them refused as copies; None where nothing was selected.
        verdict: of `evaluate`, None before it.
        generation: of `generate`, None before it.
    """

    dataset: str
    classes: tuple[CardClass, ...]
    image_size: int
    channels: int
    version: str
    n_test: int = 0
    copies: Sequence[dict[str, Any]] = ()
    n_candidates: int = 0
    n_refused_copies: int | None = None
    verdict: CardVerdict | None = None
    generation: Generation | None = None

    @property
    def n_train(self) -> int:
        return sum(c.real for c in self.classes)

    @property
    def n_synthetic(self) -> int:
        return sum(c.synthetic or 0 for c in self.classes)

    @property
    def colour(self) -> str:
        return "grey" if self.channels == 1 else "colour"


@dataclass(frozen=True)
class ModelFacts:
    """What a model card says of one checkpoint, beside what it needs to draw with it.

    Attributes:
        training: what the training was, in a sentence or two.
        T: diffusion steps.
        patch: pixels folded into channels.
        vector_size: planes that tell the network of augmentation.
        learned_variance: whether the network has outputs for it.
        channels: of an image.
        side: of what the network sees.
        specialist: the class whose own model it is; None for the joint one.
        label: number of that class, or of the one to draw in the example.
        from_scratch: whether a specialist was trained alone.
    """

    training: str
    T: int
    patch: int
    vector_size: int
    learned_variance: bool
    channels: int
    side: int
    specialist: str | None = None
    label: int = 0
    from_scratch: bool = False

    @property
    def steps(self) -> int:
        return min(50, self.T)

    @property
    def planes(self) -> int:
        """Channels of what the network sees, without those of `vector_size`."""
        return self.channels * self.patch**2

    @property
    def specialist_start(self) -> str:
        return "alone" if self.from_scratch else "further, after the joint model of all classes"


def model_card(facts: CardFacts, model: ModelFacts) -> str:
    """The card of a checkpoint, with the lines of Python that load it and draw with it."""
    header: dict[str, Any] = {
        "license": "other",
        "library_name": "diffusers",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["synthaug", "ddpm", "class-conditional", "data-augmentation"],
    }
    return _render("model_card.md.j2", header, facts, model=model)


def dataset_card(facts: CardFacts, *, with_real: bool, files: str | None = None) -> str:
    """The card of a folder of class folders; `files` is the pattern of its images on the Hub."""
    name = f"{'Balanced' if with_real else 'Synthetic'} images of {facts.dataset}"
    header: dict[str, Any] = {
        "license": "other",
        "pretty_name": name,
        "task_categories": ["image-classification"],
        "tags": ["synthaug", "synthetic", "imbalanced"],
    }
    if files is not None:
        header["configs"] = [
            {"config_name": "default", "data_files": [{"split": "train", "path": files}]}
        ]
    return _render(
        "dataset_card.md.j2",
        header,
        facts,
        title=name,
        with_real=with_real,
        generation=_generation(facts),
    )


def escape_markdown(value: object) -> str:
    """A value as one line of text that Markdown and HTML show as it is."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return _SPECIAL.sub(r"\\\1", line).translate(_HTML)


def _render(template: str, header: dict[str, Any], facts: CardFacts, **more: Any) -> str:
    environment = Environment(
        loader=PackageLoader("synthaug.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # What a template says is Markdown, what it is given is not.
        finalize=lambda value: value if isinstance(value, Markup) else escape_markdown(value),
    )
    environment.filters["raw"] = Markup
    front_matter = yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip()
    text = environment.get_template(template).render(
        facts=facts, front_matter=front_matter, limits=_limits(facts), **more
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _generation(facts: CardFacts) -> str:
    """How images were drawn, in a sentence."""
    drawn = facts.generation
    if drawn is None or not facts.n_synthetic:
        return "None were made: every class had as many images as it should."
    ways = {
        "sample": "from noise",
        "variation": "from single real images at partial noise",
        "interpolate": "from pairs of real images at partial noise",
    }
    modes = " and ".join(ways.get(mode, mode) for mode in drawn.modes)
    return (
        f"Drawn {modes}, with the sampler {drawn.sampler}, {drawn.steps} steps, guidance "
        f"{drawn.cfg_scale:g}. Of {facts.n_candidates} candidates {facts.n_synthetic} are here."
    )


def _limits(facts: CardFacts) -> list[str]:
    """What must not be read into the images."""
    limits = [
        "The generator knows of a class what its training images showed, and nothing else: rare "
        "forms that they lack are not in the synthetic images either.",
        f"Images are {facts.image_size}×{facts.image_size} {facts.colour}; finer detail is lost.",
        "Synthetic images are no evidence: never diagnose, measure or count by them, and never "
        "test a classifier on them.",
        "Where the training images are biased the synthetic ones are too.",
    ]
    few = [c for c in facts.classes if c.real < FEW]
    if few:
        named = ", ".join(f"{c.name} ({c.real})" for c in few[:10])
        more = f" and {len(few) - 10} more" if len(few) > 10 else ""
        limits.append(
            f"Classes with fewer than {FEW} training images are likely to look like these: "
            f"{named}{more}."
        )
    return limits
