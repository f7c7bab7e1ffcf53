"""(IA)3 through PEFT: vectors that scale what flows through a model."""

from typing import Any

from peft import IA3Config
from peft.utils import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
)

from luthier.core.errors import RecipeError
from luthier.model.adapters.adapted import Adapted
from luthier.model.adapters.lora import refuse_shared
from luthier.model.adapters.peft_model import linear_layers, task_type, wrap
from luthier.recipe.methods import Ia3


def attach(model: Any, options: Ia3, *, base: str, seed: int) -> Adapted:  # noqa: ARG001 - nothing here is random
    """Return the model with vectors of ones on keys, values and inner activations; everything else is frozen.

    A layer computes l * (W x), or W (l * x) where inputs are scaled (Liu et al., arXiv:2205.05638, section 3.3).
    The vectors are float32, and weight decay spares them: towards zero they would switch the model off.

    Args:
        model: A causal language model, or one with a head of scores, which then learns whole.
        options: Which layers get a vector.
        base: Name of the base model, written into the adapter's config.
        seed: Not used.

    Raises:
        RecipeError: Nobody knows which layers are meant, or this model lacks them.
    """
    targets, feedforward = _chosen(model, options)
    refuse_shared(model, targets)
    config = IA3Config(task_type=task_type(model), target_modules=targets, feedforward_modules=feedforward)
    adapted = wrap(model, config, base=base, place="train.technique")
    _refuse_transposed(adapted.model)
    return Adapted(
        adapted.model,
        adapted.trainable,
        adapted.weight_file,
        adapted.describe,
        adapted.stored_dtype,
        vectors=frozenset(adapted.trainable),
    )


def _refuse_transposed(model: Any) -> None:
    """Refuse layers that store their matrix transposed, as GPT-2's do: (IA)3 on them can't be merged yet."""
    for name, module in model.named_modules():
        if hasattr(module, "ia3_l") and getattr(module, "fan_in_fan_out", False):
            raise RecipeError(
                f"`{name.removeprefix('base_model.model.')}` stores its matrix transposed, where (IA)3 can't be merged",
                hint="take LoRA: `--set train.technique=lora`",
                place="train.technique",
            )


def _chosen(model: Any, options: Ia3) -> tuple[list[str], list[str]]:
    """Return the layers with a vector, and those of them whose input is scaled."""
    if options.outputs or options.inputs:
        inputs = list(options.inputs or ())
        return [*(options.outputs or ()), *inputs], inputs
    kind = model.config.get_text_config().model_type
    known = TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind)
    if known is None:
        raise RecipeError(
            f"nobody wrote down which layers of a `{kind}` model hold keys, values and inner activations",
            hint=f"name them in `outputs` and `inputs`: {', '.join(linear_layers(model))}",
            place="train.technique",
        )
    inner = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(kind, [])
    return list(known), [name for name in inner if name in known]
