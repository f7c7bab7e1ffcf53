"""LoRA and what grew out of it, through PEFT: its modules, its file format."""

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel

from luthier.core.errors import RecipeError
from luthier.model.adapters.adapted import Adapted
from luthier.model.adapters.layers import layer_of, refuse_unknown
from luthier.model.adapters.peft_model import linear_layers, stored_name, task_type, wrap
from luthier.model.adapters.start import STARTS, started
from luthier.model.adapters.virtual import fronted
from luthier.model.new_tokens import new_ids
from luthier.model.quantised import weight_of
from luthier.recipe.methods import Lora

KEY = "train.technique"


STATE_SPACE = ("out_proj", "conv1d")
"""Layers of Mamba whose weights a fused kernel reads past the adapter, so that PEFT refuses them."""


def attach(model: Any, options: Lora, *, base: str, seed: int) -> Adapted:
    """Return the model with fresh adapters, everything else frozen. At first it computes what the base does.

    A layer computes W x + s B A x, with s = alpha / rank (Hu et al., arXiv:2106.09685, section 4.1), or
    alpha / sqrt(rank) with `rslora` (Kalajdzievski, arXiv:2312.03732, theorem 3.2); with `dora` the rows of W + s B A
    are given learned lengths m (Liu et al., arXiv:2402.09353, equation 5). B starts at zero, and m at the lengths of W.

    The adapters are float32 whatever the base is: bfloat16 would round small steps away.

    Args:
        model: A causal language model, or one with a head of scores, which then learns whole.
        options: Rank, strength, dropout, targets and kind.
        base: Name of the base model, written into the adapter's config.
        seed: Of the random half of each adapter; the other half is zero.

    Raises:
        RecipeError: The recipe names a layer that this model doesn't have, or one that could not be merged.
    """
    torch.manual_seed(seed)
    targets = _targets(model, options)
    refuse_shared(model, targets)
    whole, tokens = _whole(model, options.modules_to_save), _token_rows(model)
    for name in tokens:
        if name in whole or (targets != "all-linear" and _ends(name, tuple(targets))):
            raise RecipeError(
                f"`{name}` is to learn in two ways: as rows of new tokens, and by `train.technique`",
                hint="leave it out of `targets` and `modules_to_save`, or `train.new_tokens` out",
                place="train.new_tokens",
            )
    for key in ("rank_pattern", "alpha_pattern"):
        _refuse_idle(model, list(getattr(options, key)), key)
    config = LoraConfig(
        task_type=task_type(model),
        r=options.rank,
        lora_alpha=_alpha(options),
        lora_dropout=options.dropout,
        target_modules=targets,
        exclude_modules=list(STATE_SPACE) if targets == "all-linear" and _is_state_space(model) else None,
        rank_pattern=dict(options.rank_pattern),
        alpha_pattern=dict(options.alpha_pattern),
        use_rslora=options.rslora,
        use_dora=options.dora,
        init_lora_weights="gaussian" if options.init == "gaussian" else True,
        bias=options.bias,
        modules_to_save=whole or None,
        trainable_token_indices=tokens or None,
    )
    adapted = wrap(model, config, base=base, place=f"{KEY}.targets")
    if options.bias != "none" and not any(name.endswith(".bias") for name in adapted.trainable):
        raise RecipeError("none of these layers has a bias", hint="leave `bias` out", place=f"{KEY}.bias")
    if options.init in STARTS:
        adapted = started(adapted, config, STARTS[options.init], base=base)
    if options.dora:
        _measure_lengths(adapted.model)
    if options.lr_ratio != 1.0:
        adapted.ratios.update(
            dict.fromkeys((name for name in adapted.trainable if ".lora_B." in name), options.lr_ratio)
        )
    return adapted


def _is_state_space(model: Any) -> bool:
    return hasattr(model.config, "state_size") or hasattr(model.config, "mamba_d_state")


def load(base: Any, folder: Path) -> Any:
    """Return the base with a saved adapter on it, not trainable; of any kind that PEFT knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # as in `wrap`
        return fronted(PeftModel.from_pretrained(base, str(folder))).eval()


def _alpha(options: Lora) -> float:
    if options.alpha is not None:
        return options.alpha
    return 16 if options.rslora else 2 * options.rank


def _targets(model: Any, options: Lora) -> str | list[str]:
    """Return the layers as PEFT takes them: by their last names, or, where only some are meant, by their whole ones."""
    named = options.targets if isinstance(options.targets, str) else list(options.targets)
    if options.targets_pattern is None and options.layers is None:
        return named
    refuse_unknown(model, options.layers or (), key=f"{KEY}.layers")
    head = model.get_output_embeddings()
    linear = {name: module for name, module in model.named_modules() if _is_linear(module) and name != "score"}
    if options.targets_pattern is not None:
        pattern = _compiled(options.targets_pattern, f"{KEY}.targets_pattern")
        chosen = [name for name in linear if pattern.fullmatch(name)]
    else:
        wanted = options.targets
        chosen = [
            name
            for name, module in linear.items()
            if (module is not head if isinstance(wanted, str) else _ends(name, wanted))
        ]
    if options.layers is not None:
        chosen = [name for name in chosen if layer_of(name) in options.layers]
    if not chosen:
        raise RecipeError(
            "no linear layer of this model fits `targets`, `targets_pattern` and `layers`",
            hint=f"a whole name is such as `{next(iter(linear), '')}`",
            place=KEY,
        )
    return sorted(chosen)


def _is_linear(module: torch.nn.Module) -> bool:
    """Return whether a module is a linear layer: torch's, or the transposed one of GPT-2."""
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def _ends(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _compiled(pattern: str, place: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RecipeError(
            f"`{pattern}` is no regular expression ({error})", hint="a name with dots can stand as it is", place=place
        ) from error


def _refuse_idle(model: Any, patterns: list[str], key: str) -> None:
    """Refuse a pattern that fits no layer: a typo in it would be silent otherwise."""
    names = [name for name, module in model.named_modules() if _is_linear(module)]
    for pattern in patterns:
        found = _compiled(rf"(.*\.)?({pattern})$", f"{KEY}.{key}")
        if not any(found.match(name) for name in names):
            raise RecipeError(
                f"no linear layer's name ends in `{pattern}`",
                hint=f"choose among {', '.join(linear_layers(model))}",
                place=f"{KEY}.{key}",
            )


def _whole(model: Any, names: tuple[str, ...]) -> list[str]:
    """Return the whole names of modules that learn whole. PEFT takes ends of names, and `norm` would be many more.

    Raises:
        RecipeError: One is not there, or shares its weights with another.
    """
    shared = model.config.get_text_config().tie_word_embeddings
    tied = (model.get_output_embeddings(), model.get_input_embeddings()) if shared else ()
    modules = dict(model.named_modules())
    chosen: list[str] = []
    for wanted in names:
        found = [name for name in modules if _ends(name, (wanted,))]
        if not found:
            raise RecipeError(
                f"no module of this model is named `{wanted}`",
                hint=f"a whole name is such as `{next(reversed(modules))}`; its end is enough",
                place=f"{KEY}.modules_to_save",
            )
        if any(modules[name] is other for name in found for other in tied):
            raise RecipeError(
                f"`{wanted}` shares its weights: embeddings and head are one, and could not both be it afterwards",
                hint="leave it out of `modules_to_save`",
                place=f"{KEY}.modules_to_save",
            )
        chosen += found
    return chosen


def _token_rows(model: Any) -> dict[str, list[int]]:
    """Return the modules with a row for every token, and which rows learn: those of new tokens. No module if none is.

    Raises:
        RecipeError: The head also adds a bias, which PEFT would leave out.
    """
    ids, head = [*new_ids(model)], model.get_output_embeddings()
    if not ids:
        return {}
    if getattr(head, "bias", None) is not None:
        raise RecipeError(
            "the head of this model has a bias, and rows of it can't learn beside adapters",
            hint="leave `new_tokens` out, or take `--set train.technique=full`",
            place="train.new_tokens",
        )
    learning = [model.get_input_embeddings()]
    if head.weight is not learning[0].weight:  # PEFT lets a head that shares its weights follow
        learning.append(head)
    return {name: ids for name, module in model.named_modules() if any(module is one for one in learning)}


def _measure_lengths(model: torch.nn.Module) -> None:
    """Set DoRA's lengths to those of the base's rows, in float32.

    PEFT measures them in the type of the base. In bfloat16 they would be off by up to 0.4 %, and the model would not
    start as the base.

    Raises:
        RecipeError: A layer stores its matrix transposed, where DoRA could not be merged.
    """
    with torch.no_grad():
        for name, module in model.named_modules():
            vectors = getattr(module, "lora_magnitude_vector", None)
            if not isinstance(vectors, torch.nn.ModuleDict) or "default" not in vectors:
                continue
            if getattr(module, "fan_in_fan_out", False):
                raise RecipeError(
                    f"`dora` can't be used on `{stored_name(name)}`, which stores its matrix transposed",
                    hint="take plain LoRA: `--set train.technique.dora=false`",
                    place=f"{KEY}.dora",
                )
            layer: Any = module
            lengths: Any = vectors["default"]
            lengths.weight.copy_(torch.linalg.norm(weight_of(layer.get_base_layer()), dim=1))


def refuse_shared(model: Any, targets: str | list[str]) -> None:
    """Refuse targets whose adapter could not be merged: embeddings, and a head that shares their weights."""
    tied = model.config.get_text_config().tie_word_embeddings
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    for name, module in model.named_modules():
        wanted = targets != "all-linear" and _ends(name, tuple(targets))
        if wanted and (module is embeddings or (tied and module is head)):
            raise RecipeError(
                f"`{name}` holds embeddings, and an adapter on them can't be merged yet",
                hint=f"choose among {', '.join(linear_layers(model))}, or `all-linear`",
                place=f"{KEY}.targets",
            )
