"""synthaug: class-conditional DDPMs for imbalanced image folders, judged by a fair comparison.

    fitted = synthaug.fit("imgs", time_limit="10m")
    made = synthaug.generate(fitted.run, balance="auto")
    print(synthaug.evaluate(made.run).verdict)

Importing this loads nothing heavy: the verbs come with their libraries when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from synthaug.errors import SynthaugError

if TYPE_CHECKING:
    from synthaug.api import (
        EvaluateResult,
        FitResult,
        GenerateResult,
        PushResult,
        evaluate,
        fit,
        generate,
        push,
    )
    from synthaug.sampler import SynthAugSampler

__version__ = "0.1.0"

_LAZY = {
    "synthaug.api": (
        "EvaluateResult", "FitResult", "GenerateResult", "PushResult",
        "evaluate", "fit", "generate", "push",
    ),
    "synthaug.sampler": ("SynthAugSampler",),
}  # fmt: skip
_HOME = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "EvaluateResult",
    "FitResult",
    "GenerateResult",
    "PushResult",
    "SynthAugSampler",
    "SynthaugError",
    "__version__",
    "evaluate",
    "fit",
    "generate",
    "push",
]


def __getattr__(name: str) -> Any:
    """The public names of other modules, imported when they are first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
