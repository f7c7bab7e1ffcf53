"""Full fine-tuning: every weight learns, kept in float32 while it does."""

from pathlib import Path
from typing import Any

from luthier.model.adapters.adapted import Adapted
from luthier.recipe.methods import Full


def attach(model: Any, options: Full, *, base: str, seed: int) -> Adapted:  # noqa: ARG001 - as every technique
    """Return the model with every weight in float32 and learning: bfloat16 would round small steps away."""
    stored = model.dtype
    model.float().requires_grad_(requires_grad=True)

    def describe(folder: Path) -> None:
        model.config.dtype = stored
        model.config.save_pretrained(str(folder))

    # A tied head is one parameter under one name, here as in the file.
    return Adapted(model, dict(model.named_parameters()), "model.safetensors", describe, stored)
