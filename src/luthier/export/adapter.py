"""Reading an adapter in PEFT's format, and finding the base tensor that each part of it belongs to.

PEFT writes `adapter_config.json` and `adapter_model.safetensors` with keys such as
`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. The trained weight is `W + scale * B @ A`
with `scale = alpha / r`, or `alpha / sqrt(r)` for rsLoRA (arXiv:2312.03732). DoRA (arXiv:2402.09353) then gives each
of its rows the length in `lora_magnitude_vector`; (IA)3 (arXiv:2205.05638) multiplies rows or columns of W. What we
can't merge exactly is refused with its name: a part of the adapter left out in silence would be a model nobody trained.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from luthier.core.errors import ModelError
from luthier.core.text import one_line
from luthier.export.safetensors_file import FLOATS, Tensor, read_header, read_json, whole
from luthier.model.heads import NAME

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT's wrapper puts before the model's own names."""

HEAD = f"{NAME}.weight"
"""The head of scores, which is stored whole."""

UNDERSTOOD = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout"),
    *("fan_in_fan_out", "bias", "use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform"),
    *("layers_pattern", "rank_pattern", "alpha_pattern", "megatron_core", "loftq_config", "eva_config"),
    *("qalora_group_size", "runtime_config", "ensure_weight_tying", "use_dora"),
    "trainable_token_indices",
}
"""Keys of `adapter_config.json` that either don't change what the adapter computes or are handled here."""

UNDERSTOOD_IA3 = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "target_modules", "exclude_modules", "feedforward_modules", "fan_in_fan_out"),
    *("modules_to_save", "init_ia3_weights"),
}
"""The same for (IA)3."""

PLAIN_STARTS = (True, False, "gaussian", "eva")
"""Ways to initialise LoRA that leave the base weights alone. PiSSA, OLoRA, CorDA and LoftQ change them."""

VIRTUAL = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")
"""Kinds that learn what stands before a text, and change no weight."""

TOKENS = ".token_adapter.trainable_tokens_delta"
"""What PEFT puts behind the name of a module of which the rows of single tokens learned."""

SERVE_HINT = "load this adapter with PEFT and use `merge_and_unload`; luthier can't merge this kind yet"


@dataclass(frozen=True, slots=True)
class Update:
    """What the adapter adds to one tensor: `scale * up @ down`, transposed where the base stores (in, out).

    `down` is PEFT's lora_A, shape (r, in); `up` its lora_B, shape (out, r); `lengths` DoRA's of the rows, shape (out,).
    """

    target: Tensor
    down: Tensor
    up: Tensor
    scale: float
    transposed: bool
    lengths: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Scaling:
    """What (IA)3 multiplies one tensor by: a factor for each of its rows, or for each of its columns."""

    target: Tensor
    factors: Tensor
    by_row: bool


@dataclass(frozen=True, slots=True)
class Replacement:
    """A tensor that learned whole, in the place of the base's: of a saved module, or a bias."""

    target: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Rows of single tokens that learned, in the place of the base's or after its last. `values` is (tokens, width)."""

    target: Tensor
    ids: tuple[int, ...]
    values: Tensor

    @property
    def height(self) -> int:
        """Return how many rows the tensor has with them."""
        return max(self.target.shape[0], *(token + 1 for token in self.ids))


Change = Update | Scaling | Replacement | TokenRows


def refused(folder: Path, what: str) -> ModelError:
    """Return the error for an adapter that asks for something merging can't do."""
    return ModelError(f"can't merge this adapter: {what}", hint=SERVE_HINT, place=str(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """Return the adapter's configuration, after refusing every kind that can't be merged exactly.

    Raises:
        ModelError: The configuration can't be read, or asks for something else than LoRA, DoRA or (IA)3.
    """
    config = read_json(folder / CONFIG_NAME)
    kind = config.get("peft_type")
    if kind in VIRTUAL:
        raise ModelError(
            "virtual tokens are inputs, not weights: there is nothing in them to fold into the base",
            hint="serve the base with this folder through PEFT: `PeftModel.from_pretrained(base, folder)`",
            place=str(folder),
        )
    if kind not in ("LORA", "IA3"):
        raise refused(folder, f"its `peft_type` is {one_line(str(kind), 40)}, not LORA or IA3")
    if kind == "IA3" and _saved(config):
        raise refused(folder, f"it has whole modules (`modules_to_save: {config['modules_to_save']}`)")
    if config.get("init_lora_weights", True) not in PLAIN_STARTS:
        start = one_line(str(config["init_lora_weights"]), 40)
        raise refused(folder, f"`init_lora_weights: {start}` changes the base weights")
    for key, value in config.items():
        if key not in (UNDERSTOOD if kind == "LORA" else UNDERSTOOD_IA3) and value:
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


def head_of(folder: Path) -> Tensor | None:
    """Return the head of scores that learned beside the adapter, None where there is none."""
    return next((tensor for name, tensor in _tensors(folder) if name == HEAD), None)


def stored(folder: Path) -> list[tuple[str, Tensor]]:
    """Return the adapter's tensors, but for a head of scores, with their names as the model has them.

    Raises:
        ModelError: There is no weight file.
    """
    return [(name, tensor) for name, tensor in _tensors(folder) if name != HEAD]


def _tensors(folder: Path) -> list[tuple[str, Tensor]]:
    """Return all tensors of the adapter with their names as the model has them.

    Raises:
        ModelError: There is no weight file.
    """
    if not (folder / WEIGHTS_NAME).is_file():
        raise ModelError(
            f"the adapter has no `{WEIGHTS_NAME}`",
            hint="save it with `save_pretrained`; luthier does not open pickled weights (`.bin`)",
            place=str(folder),
        )
    return [(tensor.name.removeprefix(PREFIX), tensor) for tensor in read_header(folder / WEIGHTS_NAME)[0]]


def _saved(config: dict[str, Any]) -> list[str]:
    """Return the modules that were saved whole, but for a head of scores: PEFT always names two, a model has one."""
    heads = ("classifier", NAME) if config.get("task_type") == "SEQ_CLS" else ()
    return [module for module in config.get("modules_to_save") or () if module not in heads]


def _whole(name: str, config: dict[str, Any]) -> bool:
    """Return whether a tensor of the adapter learned whole: of a saved module, or a bias."""
    if ".lora_" in name or name.endswith(TOKENS):
        return False
    saved = _saved(config)
    # By PEFT's rule the end of a module's name counts, also where it begins within a word.
    return any(f"{module}." in name for module in saved) or (
        config.get("bias", "none") != "none" and name.endswith(".bias")
    )


def parts(folder: Path, config: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Return a LoRA adapter's tensors: module name -> `{"A": …, "B": …}`, with DoRA also `"lengths"`.

    Raises:
        ModelError: A key is not a part of LoRA, or one of a module's parts is missing.
    """
    found: dict[str, dict[str, Tensor]] = {}
    dora = bool(config.get("use_dora"))
    for name, tensor in stored(folder):
        if _whole(name, config) or name.endswith(TOKENS):
            continue
        label = one_line(tensor.name, 120)
        match = re.fullmatch(r"(.+)\.lora_([AB])\.weight", name)
        lengths = re.fullmatch(r"(.+)\.lora_magnitude_vector", name) if dora else None
        module, part, dimensions = (
            (match[1], match[2], 2) if match else (lengths[1], "lengths", 1) if lengths else ("", "", 0)
        )
        if not module:
            raise refused(folder, f"`{label}` is not a LoRA matrix of a linear layer")
        if tensor.dtype not in FLOATS or len(tensor.shape) != dimensions:
            raise refused(folder, f"`{label}` is {tensor.dtype} of shape {list(tensor.shape)}")
        found.setdefault(module, {})[part] = tensor
    for module, all_parts in found.items():
        if not {"A", "B"} <= all_parts.keys():
            raise refused(folder, f"`{one_line(module, 120)}` has only one of lora_A and lora_B")
        if dora and "lengths" not in all_parts:
            raise refused(folder, f"it sets `use_dora`, and `{one_line(module, 120)}` has no lora_magnitude_vector")
    if not found:
        raise refused(folder, "it holds no LoRA matrices")
    return found


def changes_of(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, tied: bool) -> dict[str, Change]:
    """Return what the adapter does to each tensor of the base model: tensor name -> change.

    Args:
        folder: The adapter.
        config: Its configuration, from `read_config`.
        tensors: The base model's tensors by name.
        tied: Whether the base model uses its input embedding as the head.

    Raises:
        ModelError: A key of the adapter finds no tensor, or one that it doesn't fit.
    """
    find = partial(_target, folder, tensors, tied=tied)
    if config["peft_type"] == "IA3":
        return scalings(folder, config, tensors, find)
    rows = token_rows(folder, config, tensors, tied=tied)
    found = {**replacements(folder, config, tensors, tied=tied), **updates(folder, config, find)}
    twice = sorted({*rows} & {*found})
    if twice:
        raise refused(folder, f"it changes `{one_line(twice[0], 120)}` in two ways")
    return {**found, **rows}


def _target(folder: Path, tensors: dict[str, Tensor], module: str, *, tied: bool) -> Tensor:
    """Return the weight of a module, after refusing those that can't be changed alone."""
    name, label = f"{module}.weight", one_line(module, 120)
    if tied and module.split(".")[-1] == "lm_head":
        raise refused(folder, f"`{label}` is tied to the input embedding, and merging would change both")
    if name not in tensors:
        raise refused(folder, f"`{label}` is in the adapter, and the base model has no `{name}`")
    if tensors[name].dtype not in FLOATS:
        stored_as = tensors[name].dtype
        raise refused(folder, f"the base stores `{name}` as {stored_as}; merge into the 16-bit base model")
    return tensors[name]


def replacements(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, tied: bool) -> dict[str, Change]:
    """Return what stands in the place of tensors of the base."""
    found: dict[str, Change] = {}
    for name, values in stored(folder):
        if not _whole(name, config):
            continue
        # PEFT keeps the bias of a layer with an adapter under the name it has beside it.
        target, label = tensors.get(name.replace(".base_layer.", ".")), one_line(values.name, 120)
        if target is None or target.shape != values.shape or {target.dtype, values.dtype} - FLOATS.keys():
            raise refused(folder, f"`{label}` learned whole, and the base has nothing of its shape in that place")
        if tied and target.name.rpartition(".")[0].split(".")[-1] in ("lm_head", "embed_tokens"):
            raise refused(folder, f"`{label}` is shared by embeddings and head, and merging would change both")
        found[target.name] = Replacement(target, values)
    if config.get("bias", "none") != "none" and not any(name.endswith(".bias") for name in found):
        raise refused(folder, f"it sets `bias: {one_line(str(config['bias']), 40)}` and holds none")
    for module in _saved(config):
        if not any(f"{module}." in name for name in found):
            raise refused(folder, f"`modules_to_save` names `{one_line(str(module), 80)}`, and there is no such tensor")
    return found


def token_rows(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, tied: bool) -> dict[str, TokenRows]:
    """Return the rows of single tokens that learned (PEFT's `trainable_token_indices`), in embeddings and head."""
    asked = config.get("trainable_token_indices")
    found: dict[str, TokenRows] = {}
    for name, values in stored(folder):
        if not name.endswith(TOKENS):
            continue
        module, label = name.removesuffix(TOKENS), one_line(values.name, 120)
        named = asked if isinstance(asked, dict) else {module: asked}
        ids = next((ids for key, ids in named.items() if f".{module}".endswith(f".{key}")), None)
        if not isinstance(ids, list) or not ids or not all(map(whole, ids)) or len({*ids}) < len(ids):
            raise refused(folder, f"`{label}` holds rows of tokens, and `trainable_token_indices` doesn't say of which")
        # A head that shares its weights with the embeddings may be stored beside them all the same.
        for target in [tensors.get(f"{module}.weight"), tensors.get("lm_head.weight") if tied else None]:
            if target is None:
                continue
            rows = TokenRows(target, tuple(ids), values)
            gap = {*range(target.shape[0], rows.height)} - {*ids}
            fits = values.shape == (len(ids), *target.shape[1:]) and not {target.dtype, values.dtype} - FLOATS.keys()
            if gap or not fits:
                raise refused(folder, f"`{label}` doesn't fit `{target.name}` of shape {list(target.shape)}")
            found[target.name] = rows
        if f"{module}.weight" not in found:
            raise refused(folder, f"`{label}` is in the adapter, and the base model has no `{module}.weight`")
    grown = {rows.target.name for rows in found.values() if rows.height > rows.target.shape[0]}
    short = {name for name in tensors if name.endswith(("embed_tokens.weight", "lm_head.weight"))} - grown
    if grown and short:
        raise refused(folder, f"it has rows for new tokens in `{min(grown)}`, and none in `{min(short)}`")
    if asked and not found:
        raise refused(folder, "it sets `trainable_token_indices` and holds no rows of tokens")
    return found


def updates(folder: Path, config: dict[str, Any], find: Callable[[str], Tensor]) -> dict[str, Change]:
    """Return what LoRA or DoRA adds to each tensor; `find` returns a module's weight."""
    found: dict[str, Change] = {}
    transposed, dora = bool(config.get("fan_in_fan_out")), bool(config.get("use_dora"))
    if transposed and dora:
        raise refused(folder, "it sets `use_dora` on matrices that are stored transposed")
    for module, own in parts(folder, config).items():
        target, down, up, label = find(module), own["A"], own["B"], one_line(module, 120)
        shape = (up.shape[0], down.shape[1])
        fits = target.shape == (shape[::-1] if transposed else shape) and up.shape[1] == down.shape[0]
        lengths = own.get("lengths")
        if not fits or (lengths is not None and lengths.shape != shape[:1]):
            shown = f"`{target.name}` of shape {list(target.shape)}"
            raise refused(folder, f"`{label}` doesn't fit {shown}: another base model?")
        scale = scale_of(folder, config, module, down.shape[0])
        found[target.name] = Update(target, down, up, scale, transposed, lengths)
    return found


def scalings(
    folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], find: Callable[[str], Tensor]
) -> dict[str, Change]:
    """Return what (IA)3 multiplies each tensor by; a bias goes with the outputs that are scaled."""
    if config.get("fan_in_fan_out"):
        raise refused(folder, "it is (IA)3 on matrices that are stored transposed (`fan_in_fan_out`)")
    found: dict[str, Change] = {}
    for name, factors in stored(folder):
        module, _, part = name.rpartition(".")
        label = one_line(factors.name, 120)
        if part != "ia3_l" or factors.dtype not in FLOATS or len(factors.shape) != 2 or 1 not in factors.shape:
            raise refused(folder, f"`{label}` is not a vector of (IA)3")
        target, by_row = find(module), not _feedforward(folder, config, module)
        count = target.shape[0] if by_row else target.shape[-1]
        if len(target.shape) != 2 or factors.shape != ((count, 1) if by_row else (1, count)):
            raise refused(folder, f"`{label}` doesn't fit `{target.name}` of shape {list(target.shape)}")
        found[target.name] = Scaling(target, factors, by_row)
        bias = tensors.get(f"{module}.bias")
        if bias is not None and by_row:
            found[bias.name] = Scaling(bias, factors, by_row)
    if not found:
        raise refused(folder, "it holds no vectors of (IA)3")
    return found


def _feedforward(folder: Path, config: dict[str, Any], module: str) -> bool:
    """Return whether a module's input is scaled, by PEFT's rule: a list of names, or a regular expression."""
    named = config.get("feedforward_modules") or []
    if isinstance(named, str):
        try:
            return re.fullmatch(named, module) is not None
        except re.error as error:
            raise refused(folder, f"`{one_line(named, 40)}` is not a regular expression") from error
    return any(module == name or module.endswith(f".{name}") for name in named)
