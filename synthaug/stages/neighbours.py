"""The picture that looks for copies: synthetic images beside their nearest train images."""

import numpy as np

from synthaug.errors import UsageError
from synthaug.report.sheets import Cell, Row, Sheet
from synthaug.selection.memorisation import COPY_BELOW, copy_share
from synthaug.stages.memorisation import Likeness, likeness_of
from synthaug.stages.scene import Scene, Shown
from synthaug.stages.synthetic import read_synthetic

NEIGHBOURS = 3
GROUPS = 3
"""Synthetic images side by side, each with its neighbours."""


def neighbours(scene: Scene) -> Shown:
    """Synthetic images beside the train images nearest to them, copies framed in red."""
    images, labels = read_synthetic(scene.run, scene.dataset)
    made = [k for k in scene.labels if (labels == k).any()]
    if not made:
        which = "images" if scene.label is None else "images of this class"
        raise UsageError(
            f"run {scene.run.path} has no synthetic {which}",
            remedy="run `synthaug generate --balance` with a target above its train images",
        )
    rows: list[Row] = []
    copies = {}
    for k in made:
        own = images[labels == k]
        found = likeness_of(scene.dataset, k, own, neighbours=max(NEIGHBOURS, 2))
        ratio = found.ratio
        copies[scene.dataset.class_names[k]] = {
            "looked_at": len(ratio),
            "share": _known(copy_share(ratio)),
            "share_among_real": _known(copy_share(found.null)),
        }
        # The most suspicious first: where these are no copies, none is.
        order = np.argsort(np.where(np.isnan(ratio), np.inf, ratio), kind="stable")
        chosen = order[: scene.how_many(GROUPS, 3 * GROUPS)]
        groups = []
        for i in chosen:
            copied = bool(ratio[i] < COPY_BELOW)
            group: list[Cell | None] = [Cell(own[i], f"ratio {ratio[i]:.2f}", copied)]
            for rank, (j, d) in enumerate(zip(found.index[i], found.distance[i], strict=True)):
                if rank < NEIGHBOURS:
                    group.append(_neighbour(scene, k, int(j), float(d), copied and rank == 0))
            groups.append(group)
        for at in range(0, len(groups), GROUPS):
            cells = tuple(cell for group in groups[at : at + GROUPS] for cell in group)
            label = _copies_label(scene, k, found) if at == 0 else ()
            rows.append(Row(label, cells, apart=at == 0 and bool(rows)))
    width = max(len(row.cells) for row in rows) // (NEIGHBOURS + 1)
    reading = (
        "Beside each synthetic image stand its three nearest train images with their distance; "
        "a red frame marks a likely copy, at most a third as far from the nearest as from the next."
    )
    sheet = Sheet(
        "Nearest train images",
        "The synthetic images of each class that are most like a single train image. Ratio: "
        "distance to the nearest over distance to the second; below 1/3, in red, it is a copy. A "
        "neighbour of another class has its name after the distance.",
        ("synthetic", "nearest", "2nd", "3rd") * width,
        tuple(rows),
        frozenset(range(NEIGHBOURS + 1, width * (NEIGHBOURS + 1), NEIGHBOURS + 1)),
    )
    return Shown(sheet, reading, {"copies": copies})


def _neighbour(scene: Scene, k: int, j: int, distance: float, framed: bool) -> Cell | None:
    if j < 0:
        return None
    train, labels = scene.dataset.train
    other = "" if labels[j] == k else f" · {scene.dataset.class_names[labels[j]]}"
    return Cell(train[j], f"{distance:.3f}{other}", framed)


def _copies_label(scene: Scene, k: int, found: Likeness) -> tuple[str, ...]:
    name, n_train = scene.row_label(k)
    return (
        name,
        n_train,
        f"copies: {found.copies} of {len(found.ratio)}",
        f"among real: {found.copies_among_real} of {len(found.null)}",
    )


def _known(share: float) -> float | None:
    return None if np.isnan(share) else round(share, 4)
