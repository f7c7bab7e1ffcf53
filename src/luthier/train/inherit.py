"""Beginning with the weights of an earlier training, adapter or whole model."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from luthier.core.errors import RecipeError
from luthier.model import quantised
from luthier.model.adapters.adapted import Adapted
from luthier.recipe.schema import Recipe
from luthier.train import checkpoint
from luthier.train.objectives.objective import Objective, Refers

PLACE = "train.continue_from"

FREE = {"base_model_name_or_path", "inference_mode", "lora_dropout", "revision", "peft_version"}
"""Values of an adapter's config that don't change what its weights mean."""


def refuse(objective: Objective) -> None:
    """Refuse an objective that compares with the model before training: that would be the base here.

    Raises:
        RecipeError: It does.
    """
    if isinstance(objective, Refers):
        raise RecipeError(
            "this objective compares with the model before training, so it must begin with a whole model",
            hint="`luthier merge RUN`, then a new recipe with `model: RUN/merged`",
            place=PLACE,
        )


def inherit(adapted: Adapted, recipe: Recipe, file: Path) -> None:
    """Put the weights of an earlier training into a model that is about to be trained.

    Args:
        adapted: The model, with its technique.
        recipe: What is asked.
        file: Weights, as `parent_weights` found them.

    Raises:
        RecipeError: They are damaged, or of another technique, shape or base.
    """
    if checkpoint.NAME.fullmatch(file.parent.name) and (damage := checkpoint.fault(file.parent)):
        raise RecipeError(f"this checkpoint is damaged ({damage})", hint="name another", place=str(file.parent))
    start = getattr(recipe.train.technique, "init", "default")
    if start in ("pissa", "olora"):
        raise _other(f"`init: {start}` begins at a part of the base", file)
    if adapted.finish and not checkpoint.NAME.fullmatch(file.parent.name):
        kind = recipe.train.technique.kind
        raise RecipeError(
            f"a finished `{kind}` holds what its virtual tokens came to, not what learned them",
            hint="name a checkpoint of that run: `RUN/checkpoints/step-…`",
            place=PLACE,
        )
    if file.name != adapted.weight_file:
        raise _other(f"`{file.name}` is not what `{recipe.train.technique.kind}` learns, `{adapted.weight_file}`", file)
    _same_config(adapted, recipe, file)
    ours = {**adapted.trainable, **adapted.frozen}
    with safe_open(file, framework="pt") as there:
        shapes = {name: tuple(there.get_slice(name).get_shape()) for name in there.keys()}  # noqa: SIM118 - no mapping
    for name in sorted({*adapted.trainable, *shapes}):
        if name not in shapes or name not in ours or shapes[name] != tuple(ours[name].shape):
            wanted = tuple(ours[name].shape) if name in ours else "nothing"
            raise _other(f"`{name}` is {shapes.get(name, 'missing')} there and {wanted} here", file)
    weights = load_file(file)
    with torch.no_grad():
        for name, parameter in ours.items():
            if name in weights:
                parameter.copy_(weights[name])


def _same_config(adapted: Adapted, recipe: Recipe, file: Path) -> None:
    """Refuse an adapter of another base, of one in other bits, or of another meaning: alpha scales its weights."""
    if file.name != "adapter_model.safetensors":
        return
    with tempfile.TemporaryDirectory() as folder:
        adapted.describe(Path(folder))
        here, there = _described(Path(folder)), _described(file.parent)
    if there.get("base_model_name_or_path") != recipe.model:
        raise _other(
            f"it was trained on `{there.get('base_model_name_or_path')}`, this recipe names `{recipe.model}`", file
        )
    for key in sorted({*here, *there} - FREE):
        if here.get(key) != there.get(key):
            raise _other(f"`{key}` is {json.dumps(there.get(key))} there and {json.dumps(here.get(key))} here", file)


def _described(folder: Path) -> dict[str, Any]:
    """Return what stands beside an adapter: its config, and how its base was kept."""
    return _read(folder / "adapter_config.json") | _read(folder / quantised.FILE)


def _read(config: Path) -> dict[str, Any]:
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return found if isinstance(found, dict) else {}


def _other(problem: str, file: Path) -> RecipeError:
    return RecipeError(
        f"the weights in {file} are not of this training: {problem}",
        hint="use the model and the technique of that training; its recipe.yaml has them",
        place=PLACE,
    )
