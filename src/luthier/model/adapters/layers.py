"""Which layer of a model a name belongs to, and which layers a recipe may name."""

import re
from collections.abc import Iterable

import torch

from luthier.core.errors import RecipeError

NUMBER = re.compile(r"(?:^|\.)(\d+)\.")


def layer_of(name: str) -> int | None:
    """Return the number of the layer a module or parameter is in: the first number of its name, as PEFT counts.

    None for embeddings, head and final norm. Experts within a layer have numbers too, and stand after it.
    """
    match = NUMBER.search(f"{name}.")
    return int(match[1]) if match else None


def layer_count(model: torch.nn.Module) -> int:
    """Return how many layers a model has."""
    return 1 + max(
        (number for name, _ in model.named_parameters() if (number := layer_of(name)) is not None), default=-1
    )


def refuse_unknown(model: torch.nn.Module, layers: Iterable[int], *, key: str) -> None:
    """Refuse numbers of layers that the model doesn't have.

    Raises:
        RecipeError: There is one; `key` is where it was written.
    """
    count = layer_count(model)
    unknown = sorted(number for number in layers if number >= count)
    if unknown:
        raise RecipeError(
            f"this model has no layer {unknown[0]}",
            hint=f"its {count} layers are numbered from 0 to {count - 1}",
            place=key,
        )
