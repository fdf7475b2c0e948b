"""Synthetic images that come back as if they were real ones, recognised by their pixels."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from synthaug.data.swap import MANIFEST

RUNS = Path("runs")


def find_manifests(origin: str, runs: Path = RUNS) -> list[Path]:
    """Manifests that may describe a dataset: in it, beside it, and of the runs under ``runs``."""
    root = Path(origin)
    beside = [root / MANIFEST, root.parent / MANIFEST]
    of_runs = [*runs.glob(f"*/{MANIFEST}"), *runs.glob(f"*/run/{MANIFEST}")]
    return [path for path in dict.fromkeys([*beside, *of_runs]) if path.is_file()]


def synthetic_images(
    content_hashes: Sequence[str], manifests: Iterable[Path]
) -> list[tuple[int, Path]]:
    """Positions of the images that a manifest lists as synthetic, each with that manifest.

    Only equal pixels are recognised: an image that was scaled or stored with losses since is not.
    A manifest that cannot be read is passed over: it proves nothing.
    """
    made: dict[str, Path] = {}
    for manifest in manifests:
        try:
            for line in manifest.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                if record["source"] == "synthetic":
                    made.setdefault(str(record["content"]), manifest)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [(i, made[content]) for i, content in enumerate(content_hashes) if content in made]
