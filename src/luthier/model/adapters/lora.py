"""LoRA through PEFT: its modules, its file format."""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from luthier.core.errors import RecipeError
from luthier.core.files import write_json
from luthier.model.adapters.adapted import Adapted
from luthier.recipe.methods import Lora


def attach(model: Any, options: Lora, *, base: str, seed: int) -> Adapted:
    """Return the model with fresh adapters, everything else frozen. At first it computes what the base does.

    The adapters are float32 whatever the base is: bfloat16 would round small steps away.

    Args:
        model: A causal language model.
        options: Rank, strength, dropout and targets.
        base: Name of the base model, written into the adapter's config.
        seed: Of the random half of each adapter; the other half is zero.

    Raises:
        RecipeError: `targets` names no layer of this model.
    """
    torch.manual_seed(seed)
    _refuse_shared(model, options)
    targets = options.targets if isinstance(options.targets, str) else list(options.targets)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=options.rank,
        lora_alpha=options.alpha if options.alpha is not None else 2 * options.rank,
        lora_dropout=options.dropout,
        target_modules=targets,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks for a name Transformers is renaming
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise RecipeError(
            f"no layer of this model is named {targets}",
            hint=f"choose among {', '.join(_linear_layers(model))}, or `all-linear`",
            place="train.technique.targets",
        ) from error

    def describe(folder: Path) -> None:
        # PEFT's own writer also asks the hub about the base's vocabulary; the config is all we need of it.
        about = config.to_dict()
        about["target_modules"] = sorted(adapted.peft_config["default"].target_modules)
        about["inference_mode"] = True
        about["base_model_name_or_path"] = base  # as the user named it; PEFT would write this machine's path
        write_json(folder / "adapter_config.json", {key: _plain(value) for key, value in about.items()})

    learning = {
        name.replace(".default.", "."): parameter
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad
    }
    return Adapted(adapted, learning, "adapter_model.safetensors", describe, torch.float32)


def load(base: Any, folder: Path) -> Any:
    """Return the base with a saved adapter on it, not trainable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # as in `attach`
        return PeftModel.from_pretrained(base, str(folder)).eval()


def _refuse_shared(model: Any, options: Lora) -> None:
    """Refuse targets whose adapter could not be merged: embeddings, and a head that shares their weights."""
    tied = model.config.get_text_config().tie_word_embeddings
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    for name, module in model.named_modules():
        wanted = options.targets != "all-linear" and name.rpartition(".")[2] in options.targets
        if wanted and (module is embeddings or (tied and module is head)):
            raise RecipeError(
                f"`{name}` holds embeddings, and an adapter on them can't be merged yet",
                hint=f"choose among {', '.join(_linear_layers(model))}, or `all-linear`",
                place="train.technique.targets",
            )


def _linear_layers(model: torch.nn.Module) -> list[str]:
    return sorted(
        {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    )


def _plain(value: Any) -> Any:
    """Return a config value as JSON can hold it: enums by value, sets sorted."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return getattr(value, "value", value)
