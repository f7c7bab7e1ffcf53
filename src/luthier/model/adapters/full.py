"""Full fine-tuning: every weight learns, or those of some layers; all kept in float32 meanwhile."""

from pathlib import Path
from typing import Any

from luthier.core.errors import RecipeError
from luthier.model.adapters.adapted import Adapted
from luthier.model.adapters.layers import layer_count, layer_of, refuse_unknown
from luthier.recipe.methods import Full


def attach(model: Any, options: Full, *, base: str, seed: int) -> Adapted:  # noqa: ARG001 - as every technique
    """Return the model with every weight in float32, all or some of them learning.

    In bfloat16 small steps would be rounded away. With `freeze_layers` the first layers and the embeddings stay as
    they are, and a head that shares their weights; with `train_layers` everything but those layers does, and a head of
    scores, which is new.

    Raises:
        RecipeError: The model has no such layer.
    """
    _refuse(model, options)
    stored = model.dtype
    model.float().requires_grad_(requires_grad=True)
    embeddings = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    for name, parameter in model.named_parameters():
        layer = layer_of(name)
        if options.train_layers is not None:
            parameter.requires_grad_(requires_grad=layer in options.train_layers or name.startswith("score."))
        elif options.freeze_layers:
            first = id(parameter) in embeddings or (layer is not None and layer < options.freeze_layers)
            parameter.requires_grad_(requires_grad=not first)

    def describe(folder: Path) -> None:
        model.config.dtype = stored
        model.config.save_pretrained(str(folder))

    # A tied head is one parameter under one name, here as in the file.
    every = dict(model.named_parameters())
    learning = {name: parameter for name, parameter in every.items() if parameter.requires_grad}
    frozen = {name: parameter for name, parameter in every.items() if not parameter.requires_grad}
    return Adapted(model, learning, "model.safetensors", describe, stored, frozen=frozen)


def _refuse(model: Any, options: Full) -> None:
    refuse_unknown(model, options.train_layers or (), key="train.technique.train_layers")
    count = layer_count(model)
    if options.freeze_layers >= max(1, count):
        raise RecipeError(
            f"this model has {count} layers, so freezing {options.freeze_layers} leaves none to learn",
            hint=f"freeze at most {count - 1}",
            place="train.technique.freeze_layers",
        )
