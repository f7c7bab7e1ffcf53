"""Reading a LoRA adapter in PEFT's format, and finding the base tensor that each pair belongs to.

PEFT writes `adapter_config.json` and `adapter_model.safetensors` with keys such as
`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. The trained weight is `W + scale * B @ A`
with `scale = alpha / r`, or `alpha / sqrt(r)` for rsLoRA (arXiv:2312.03732). What we can't merge exactly is
refused with its name: a part of the adapter left out in silence would be a model nobody trained.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core.errors import ModelError
from luthier.core.text import one_line
from luthier.export.safetensors_file import FLOATS, Tensor, read_header, read_json

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT's wrapper puts before the model's own names."""

UNDERSTOOD = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout"),
    *("fan_in_fan_out", "bias", "use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform"),
    *("layers_pattern", "rank_pattern", "alpha_pattern", "megatron_core", "loftq_config", "eva_config"),
    *("qalora_group_size", "runtime_config", "ensure_weight_tying"),
}
"""Keys of `adapter_config.json` that either don't change what the adapter computes or are handled here."""

PLAIN_STARTS = (True, False, "gaussian", "eva")
"""Ways to initialise LoRA that leave the base weights alone. PiSSA, OLoRA, CorDA and LoftQ change them."""

SERVE_HINT = "load this adapter with PEFT and use `merge_and_unload`; luthier can't merge this kind yet"


@dataclass(frozen=True, slots=True)
class Update:
    """What the adapter adds to one tensor: `scale * up @ down`, transposed where the base stores (in, out).

    `down` is PEFT's lora_A, shape (r, in); `up` its lora_B, shape (out, r).
    """

    target: Tensor
    down: Tensor
    up: Tensor
    scale: float
    transposed: bool


def refused(folder: Path, what: str) -> ModelError:
    """Return the error for an adapter that asks for something merging can't do."""
    return ModelError(f"can't merge this adapter: {what}", hint=SERVE_HINT, place=str(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """Return the adapter's configuration, after refusing every kind that plain LoRA arithmetic can't express.

    Raises:
        ModelError: The configuration can't be read, or asks for something else than plain LoRA.
    """
    config = read_json(folder / CONFIG_NAME)
    if config.get("peft_type") != "LORA":
        raise refused(folder, f"its `peft_type` is {one_line(str(config.get('peft_type')), 40)}, not LORA")
    if config.get("bias", "none") != "none":
        raise refused(folder, f"it has trained biases (`bias: {one_line(str(config['bias']), 40)}`)")
    if config.get("modules_to_save"):
        raise refused(folder, f"it has whole modules (`modules_to_save: {config['modules_to_save']}`)")
    if config.get("init_lora_weights", True) not in PLAIN_STARTS:
        start = one_line(str(config["init_lora_weights"]), 40)
        raise refused(folder, f"`init_lora_weights: {start}` changes the base weights")
    for key, value in config.items():
        if key not in UNDERSTOOD and value:
            raise refused(folder, f"it sets `{one_line(key, 40)}`")
    return config


def matching(folder: Path, patterns: Any, module: str) -> Any:
    """Return the value whose pattern matches the end of a module's name, by PEFT's rule, or None."""
    if not isinstance(patterns, dict):
        raise refused(folder, "`rank_pattern` and `alpha_pattern` must map names to numbers")
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise refused(folder, f"`{one_line(pattern, 40)}` is not a regular expression") from error
    return None


def positive(folder: Path, key: str, value: Any) -> float:
    """Return a number of the configuration that must be above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise refused(folder, f"`{key}` is {one_line(str(value), 40)}, not a number above 0")
    return float(value)


def scale_of(folder: Path, config: dict[str, Any], module: str, rank: int) -> float:
    """Return the factor on B·A of one module, after checking its rank against the configuration."""
    asked = matching(folder, config.get("rank_pattern") or {}, module) or config.get("r", 8)
    if positive(folder, "r", asked) != rank:
        raise refused(folder, f"`{module}` has rank {rank}, the configuration says {asked}")
    alpha = matching(folder, config.get("alpha_pattern") or {}, module) or config.get("lora_alpha", 8)
    divisor = math.sqrt(rank) if config.get("use_rslora") else rank
    return positive(folder, "lora_alpha", alpha) / divisor


def pairs(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return the adapter's tensors: module name -> `{"A": …, "B": …}`.

    Raises:
        ModelError: A key is not a LoRA matrix, or one of a pair is missing.
    """
    if not (folder / WEIGHTS_NAME).is_file():
        raise ModelError(
            f"the adapter has no `{WEIGHTS_NAME}`",
            hint="save it with `save_pretrained`; luthier does not open pickled weights (`.bin`)",
            place=str(folder),
        )
    found: dict[str, dict[str, Tensor]] = {}
    for tensor in read_header(folder / WEIGHTS_NAME)[0]:
        match = re.fullmatch(r"(.+)\.lora_([AB])\.weight", tensor.name.removeprefix(PREFIX))
        label = one_line(tensor.name, 120)
        if match is None:
            raise refused(folder, f"`{label}` is not a LoRA matrix of a linear layer")
        if tensor.dtype not in FLOATS or len(tensor.shape) != 2:
            raise refused(folder, f"`{label}` is {tensor.dtype} of shape {list(tensor.shape)}")
        found.setdefault(match[1], {})[match[2]] = tensor
    for module, both in found.items():
        if len(both) != 2:
            raise refused(folder, f"`{one_line(module, 120)}` has only one of lora_A and lora_B")
    if not found:
        raise refused(folder, "it holds no LoRA matrices")
    return found


def updates(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, tied: bool) -> dict[str, Update]:
    """Return what the adapter adds to each tensor of the base model: tensor name -> update.

    Args:
        folder: The adapter.
        config: Its configuration, from `read_config`.
        tensors: The base model's tensors by name.
        tied: Whether the base model uses its input embedding as the head.

    Raises:
        ModelError: A key of the adapter finds no tensor, or one that it doesn't fit.
    """
    found = {}
    for module, both in pairs(folder).items():
        name, label = f"{module}.weight", one_line(module, 120)
        if tied and module.split(".")[-1] == "lm_head":
            raise refused(folder, f"`{label}` is tied to the input embedding, and merging would change both")
        if name not in tensors:
            raise refused(folder, f"`{label}` is in the adapter, and the base model has no `{name}`")
        target, down, up = tensors[name], both["A"], both["B"]
        if target.dtype not in FLOATS:
            raise refused(folder, f"the base stores `{name}` as {target.dtype}; merge into the 16-bit base model")
        transposed = bool(config.get("fan_in_fan_out"))
        shape = (up.shape[0], down.shape[1])
        if target.shape != (shape[::-1] if transposed else shape) or up.shape[1] != down.shape[0]:
            raise refused(folder, f"`{label}` doesn't fit `{name}` of shape {list(target.shape)}: another base model?")
        scale = scale_of(folder, config, module, down.shape[0])
        found[name] = Update(target=target, down=down, up=up, scale=scale, transposed=transposed)
    return found
