"""QLoRA: LoRA through PEFT on a base that was loaded in 4 or 8 bits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.core.errors import RecipeError
from luthier.model.adapters import lora
from luthier.model.adapters.adapted import Adapted
from luthier.model.quantised import Quantised, quantised_layers
from luthier.recipe.methods import Qlora


def attach(model: Any, options: Qlora, *, base: str, seed: int) -> Adapted:
    """Return the model with fresh float32 adapters, as `lora.attach` does; with them goes how the base was kept.

    Args:
        model: A model that `luthier.model.load` quantised as the options ask.
        options: Those of LoRA.
        base: Name of the base model, written into the adapter's config.
        seed: Of the random half of each adapter.

    Raises:
        RecipeError: As `lora.attach`.
    """
    kind, layers = Quantised.asked(options), quantised_layers(model)
    for layer in layers:
        if any(f".{layer}".endswith(f".{name}") for name in options.modules_to_save):
            raise RecipeError(
                f"`{layer}` is kept in fewer bits, and can't learn whole",
                hint="leave it out, or take LoRA: `--set train.technique.kind=lora`",
                place="train.technique.modules_to_save",
            )
    assert kind is not None
    assert layers, "the base was not loaded in fewer bits"
    adapted = lora.attach(model, options, base=base, seed=seed)

    def describe(folder: Path) -> None:
        adapted.describe(folder)
        kind.write(folder, layers)

    return replace(adapted, describe=describe)
