"""What the techniques that PEFT carries out have in common: its modules, its names, its file format."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model

from luthier.core.errors import RecipeError
from luthier.core.files import write_json
from luthier.model.adapters.adapted import Adapted


def wrap(model: Any, config: PeftConfig, *, base: str, place: str) -> Adapted:
    """Return the model with PEFT's modules in it, everything else frozen.

    What learns is float32 whatever the base is: bfloat16 would round small steps away.

    Args:
        model: A causal language model.
        config: What to add, and where.
        base: Name of the base model, written into the adapter's config.
        place: Key of the recipe that names the layers.

    Raises:
        RecipeError: The config names no layer of this model.
    """
    known = linear_layers(model)  # before PEFT puts its own in
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks for a name Transformers is renaming
            # GPT-2 stores its matrices transposed; PEFT sees it, and says so.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
            adapted = get_peft_model(model, config)
    except ValueError as error:
        told = str(error).strip().splitlines()[0]
        named = "not found" in told or "No modules" in told or "Target modules" in told
        raise RecipeError(
            f"no layer of this model is named {_listed(config.target_modules)}" if named else told,
            hint=f"choose among {', '.join(known)}, or `all-linear`",
            place=place,
        ) from error
    learning = {
        stored_name(name): parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad
    }
    for parameter in learning.values():
        parameter.data = parameter.data.float()
    describing = partial(describe, adapted, config, base)
    return Adapted(adapted, learning, "adapter_model.safetensors", describing, torch.float32)


def stored_name(name: str) -> str:
    """Return the name PEFT gives a parameter in its file: without the adapter's own, `default`."""
    # The length vector of DoRA is a parameter in a module here, and a plain tensor in the file. A module that is kept
    # whole stands beside its original here, and in its place in the file.
    for mine, theirs in (
        ("lora_magnitude_vector.default.weight", "lora_magnitude_vector"),
        (".modules_to_save.default", ""),
        (".default", ""),
    ):
        name = name.replace(mine, theirs)
    return name


def task_type(model: Any) -> str:
    """Return PEFT's word for what a model is made for; with `SEQ_CLS` it lets the head learn whole beside the adapter.

    A model with a head of scores (`*ForSequenceClassification`) has a module `score`.
    """
    return "SEQ_CLS" if hasattr(model, "score") else "CAUSAL_LM"


def linear_layers(model: torch.nn.Module) -> list[str]:
    """Return the last parts of the names of a model's linear layers, for a hint."""
    return sorted(
        {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    )


def describe(adapted: Any, config: PeftConfig, base: str, folder: Path) -> None:
    """Write a config as PEFT keeps it, with the layers it was applied to."""
    # PEFT's own writer also asks the hub about the base's vocabulary; the config is all we need of it.
    about = config.to_dict()
    if not config.is_prompt_learning:
        about["target_modules"] = _plain(adapted.peft_config["default"].target_modules)
    about["inference_mode"] = True
    about["base_model_name_or_path"] = base  # as the user named it; PEFT would write this machine's path
    write_json(folder / "adapter_config.json", {key: _plain(value) for key, value in about.items()})


def _listed(targets: Any) -> Any:
    return sorted(targets) if isinstance(targets, set) else targets


def _plain(value: Any) -> Any:
    """Return a config value as JSON can hold it: enums by value, sets sorted."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return getattr(value, "value", value)
