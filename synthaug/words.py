"""Words that messages of every part are made with."""


def number_of(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 image" or "2,300 images"; `many` where it is not `one` + s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
