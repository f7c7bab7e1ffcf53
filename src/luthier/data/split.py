"""Which rows are held back. A row's place is decided by its prompt alone, so it never moves when others come.

The prompt's key (see `keys.prompt_key`) is a number in [0, 2^64): below the share of `valid` it is valid, in
the stretch above that test, else train. Rows with the same prompt share a key and so a split.
"""

from collections.abc import Sequence
from typing import Literal

from luthier.recipe.data import Split

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")

WHOLE = 1 << 64


def assign(keys: Sequence[int], split: Split, classes: Sequence[str] = ()) -> list[Part]:
    """Return the split of each row.

    Args:
        keys: The key of each row's prompt.
        split: The shares.
        classes: The class of each row, where rows have one: train gets every class.

    With few rows chance may leave a split empty. Then one prompt moves there: to `valid` and `test` the one
    with the smallest key, if the split it leaves keeps another one; to `train` the one with the largest, always.
    """
    moved: dict[int, Part] = {}
    wanted: list[Part] = ["train"]
    wanted += ["valid"] if split.valid > 0 else []
    wanted += ["test"] if split.test > 0 else []
    for part in wanted:
        if not any(moved.get(key, place(key, split)) == part for key in keys):
            mover = _mover(keys, split, moved, to=part)
            if mover is not None:
                moved[mover] = part
    moved |= dict.fromkeys(_of_classes_held_back(keys, classes, split, moved), "train")
    return [moved.get(key) or place(key, split) for key in keys]


def _of_classes_held_back(
    keys: Sequence[int], classes: Sequence[str], split: Split, moved: dict[int, Part]
) -> list[int]:
    """Return, for every class of which train has no row, its prompt with the largest key."""
    largest: dict[str, int] = {}
    learned = set()
    for key, name in zip(keys, classes, strict=False):
        largest[name] = max(key, largest.get(name, 0))
        if moved.get(key, place(key, split)) == "train":
            learned.add(name)
    return [key for name, key in largest.items() if name not in learned]


def place(key: int, split: Split) -> Part:
    """Return the split of a prompt by its key."""
    if key < split.valid * WHOLE:
        return "valid"
    if key < (split.valid + split.test) * WHOLE:
        return "test"
    return "train"


def _mover(keys: Sequence[int], split: Split, moved: dict[int, Part], *, to: Part) -> int | None:
    """Return the prompt to move, from the split with the most prompts, or None when none can be spared."""
    prompts: dict[Part, set[int]] = {part: set() for part in PARTS}
    for key in keys:
        prompts[moved.get(key, place(key, split))].add(key)
    richest = max(prompts.values(), key=len)
    if to == "train":
        return max(richest, default=None)
    return min(richest) if len(richest) > 1 else None
