"""Dividing images between sides in whole components: what belongs together stays together."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from synthaug.data.duplicates import components, links

# Sets the order in which folds are dealt apart from the orders of the cuts.
_DEAL = (0, 2)


@dataclass(frozen=True)
class Component:
    """Images that must not be divided.

    Attributes:
        positions: of the images, ascending.
        images: how many there are, by class.
        distinct: how many different contents there are, by class.
        torn: whether one content occurs under two classes.
    """

    positions: tuple[int, ...]
    images: dict[int, int]
    distinct: dict[int, int]
    torn: bool


def component_numbers(
    content_hashes: Sequence[str], together: Sequence[int] | np.ndarray | None
) -> np.ndarray:
    """Number the components int64 [M]: of equal content, or with the same number in `together`."""
    m = len(content_hashes)
    joined = links(content_hashes)
    if together is not None:
        assert len(together) == m
        joined = np.concatenate([joined, links(np.asarray(together).tolist())])
    return components(m, joined)


def components_of(
    labels: np.ndarray, content_hashes: Sequence[str], numbers: np.ndarray, among: np.ndarray
) -> list[Component]:
    """The components of some images.

    Args:
        labels: int64 [M].
        content_hashes: M hashes.
        numbers: int64 [M], from `component_numbers`.
        among: positions of the images that count.

    Returns:
        Components in the order of their least content hash, so that names of files do not matter.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for position in sorted(among.tolist()):
        members[int(numbers[position])].append(position)
    found: list[tuple[str, Component]] = []
    for positions in members.values():
        contents = {(int(labels[i]), content_hashes[i]) for i in positions}
        component = Component(
            tuple(positions),
            _counted(int(labels[i]) for i in positions),
            _counted(label for label, _ in contents),
            torn=len({content for _, content in contents}) < len(contents),
        )
        found.append((min(content for _, content in contents), component))
    return [component for _, component in sorted(found, key=lambda pair: pair[0])]


def _counted(labels: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(labels).items()))


def total_images(parts: Iterable[Component]) -> Counter[int]:
    """Images by class."""
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part.images)
    return total


def total_distinct(parts: Iterable[Component]) -> Counter[int]:
    """Different contents by class: equal contents are always of one component."""
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part.distinct)
    return total


def quota(fraction: float, images: int) -> int:
    """How many of a class's images a cut should take."""
    return max(1, round(fraction * images))


def cut(
    parts: Sequence[Component],
    fraction: float,
    *,
    seed: int,
    stream: Sequence[int] = (),
    min_class: int = 1,
    min_distinct: int = 3,
) -> list[Component]:
    """Choose the components that leave, about `fraction` of each class.

    The rarest class chooses first, in an order that depends on `seed` and on its own components
    alone; what a component brings along of other classes counts for them. No class gets more than
    its quota, unless that leaves it with nothing. Then the component leaves that exceeds quotas
    least, provided that it is not more than half of the different images of its class and that no
    other class gets more than twice its quota.

    Args:
        parts: components, in an order that does not depend on the seed.
        fraction: between 0 and 1.
        seed: of the order.
        stream: further numbers of the seed, that tell this cut from others.
        min_class: of a class with fewer images none leave, nor what would take one along.
        min_distinct: the same for different images. Two of three or more stay in any case.

    Returns:
        The components that leave. Torn ones stay: what a copy under another class is worth in a
        test nobody can say.
    """
    images, distinct = total_images(parts), total_distinct(parts)
    quotas = {
        k: quota(fraction, n) if n >= min_class and distinct[k] >= min_distinct else 0
        for k, n in images.items()
    }
    stay = {k: min(2, d - 1) for k, d in distinct.items()}
    of_class: dict[int, list[int]] = defaultdict(list)
    for i, part in enumerate(parts):
        for k in part.images if not part.torn else ():
            of_class[k].append(i)
    taken: Counter[int] = Counter()
    gone: Counter[int] = Counter()
    chosen: dict[int, Component] = {}

    def fits(part: Component, allowed: Callable[[int], float]) -> bool:
        return all(taken[k] + n <= allowed(k) for k, n in part.images.items()) and all(
            distinct[k] - gone[k] - d >= stay[k] for k, d in part.distinct.items()
        )

    def take(i: int) -> None:
        chosen[i] = parts[i]
        taken.update(parts[i].images)
        gone.update(parts[i].distinct)

    def excess(i: int) -> float:
        return max((taken[k] + n) / quotas[k] for k, n in parts[i].images.items())

    for own in sorted(images, key=lambda k: (images[k], k)):
        if not quotas[own]:
            continue
        draws = np.random.default_rng([seed, own, *stream])
        shuffled = [of_class[own][j] for j in draws.permutation(len(of_class[own]))]
        for i in shuffled:
            if i not in chosen and fits(parts[i], lambda k: quotas[k]):
                take(i)
        if not taken[own]:
            bearable = [
                i
                for i in shuffled
                if 2 * parts[i].distinct[own] <= distinct[own]
                and fits(parts[i], lambda k: math.inf if k == own else 2 * quotas[k])  # noqa: B023
            ]
            if bearable:
                take(min(bearable, key=excess))
    return list(chosen.values())


def deal(parts: Sequence[Component], folds: int, *, seed: int) -> list[list[Component]]:
    """Deal the components out, so that every fold gets its share of each class.

    The largest come first, measured by their share of their classes, and each goes where its
    classes have fewest images yet. So single images come last and even out what they can: the
    folds of a class that consists of single images differ by at most one.

    Args:
        parts: components, in an order that does not depend on the seed.
        folds: at least 2.
        seed: of the order among equals.

    Returns:
        One list of components for each fold; together, every component once.
    """
    images = total_images(parts)
    order = np.random.default_rng([seed, *_DEAL]).permutation(len(parts)).tolist()
    # Class by class among equals, so that what is left over of one fills up the next.
    order.sort(
        key=lambda i: (-sum(n / images[k] for k, n in parts[i].images.items()), *parts[i].images)
    )
    dealt: list[list[Component]] = [[] for _ in range(folds)]
    in_fold: list[Counter[int]] = [Counter() for _ in range(folds)]
    totals = [0] * folds
    for i in order:
        own = parts[i].images
        # What this component adds to the sum over folds and classes of squared shares.
        weights = {k: n / images[k] ** 2 for k, n in own.items()}
        f = min(
            range(folds),
            key=lambda f: (sum(w * in_fold[f][k] for k, w in weights.items()), totals[f]),
        )
        dealt[f].append(parts[i])
        in_fold[f].update(own)
        totals[f] += sum(own.values())
    return dealt
