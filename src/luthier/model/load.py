"""Loading with Transformers: quietly, from safetensors only, never running code that came with a model."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from luthier.core.errors import ModelError
from luthier.model.facts import read_config
from luthier.model.kernels import attention
from luthier.model.probe import settle

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def device() -> torch.device:
    """Return the first CUDA device, or the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(path: Path) -> Any:
    """Return the fast tokenizer of a model folder, its chat template with it.

    Raises:
        ModelError: Its files can't be read.
    """
    if "auto_map" in _json_object(path / "tokenizer_config.json"):
        raise ModelError(
            "this tokenizer wants to run its own code, which luthier never does",
            hint="use a model whose tokenizer Transformers knows",
            place=str(path),
        )
    try:
        return AutoTokenizer.from_pretrained(str(path), local_files_only=True, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the tokenizer can't be loaded ({_first_line(error)})",
            hint="copy the model's tokenizer files again",
            place=str(path),
        ) from error


def stop_ids(path: Path) -> list[int]:
    """Return the ids that end a generation, from generation_config.json and config.json."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        value = _json_object(path / name).get("eos_token_id")
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(token, int) for token in ids):
            raise ModelError(
                f"`eos_token_id` should be a token's number, got {value!r}",
                hint="copy the file of the model again",
                place=str(path / name),
            )
        found += ids
    return sorted({*found})


def _json_object(file: Path) -> dict[str, Any]:
    """Return what a JSON file of a model holds; nothing when it is not there.

    Raises:
        ModelError: It is not one JSON object.
    """
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        value = error
    if not isinstance(value, dict):
        raise ModelError("this is not one JSON object", hint="copy the file of the model again", place=str(file))
    return value


def stored_as(precision: str) -> torch.dtype | None:
    """Return the type weights are held in for a precision: float32 for `fp32`, as they are stored for `bf16`."""
    return torch.float32 if precision == "fp32" else None


def load_model(path: Path, *, dtype: torch.dtype | None = None) -> Any:
    """Return a causal language model for forward passes over packs, on the best device, in evaluation mode.

    It was probed: `luthier.model.forward.batching` tells whether its rows are packed or padded, and why.

    Args:
        path: A model folder.
        dtype: Type of the weights; None keeps the type they are stored in.

    Raises:
        ModelError: The folder's weights can't be loaded, are not all there or give NaN, or rows of this architecture
            can't share a forward pass at all.
    """
    read_config(path, str(path))
    model, about = _read(path, dtype, attention.NAME)
    if about["missing_keys"] or about["mismatched_keys"]:
        missing = sorted(str(key) for key in [*about["missing_keys"], *about["mismatched_keys"]])
        raise ModelError(
            f"the weights lack {len(missing)} tensors, `{missing[0]}` first",
            hint="copy the model's files again: random numbers would stand in for them",
            place=str(path),
        )
    model = model.to(device()).eval()
    settle(model, place=str(path))
    return model


def _read(path: Path, dtype: torch.dtype | None, implementation: str | None) -> tuple[Any, dict[str, Any]]:
    """Return a model as Transformers reads it, and what it says of missing weights.

    An architecture that knows a fixed list of attentions (GPT-J) is read with its own.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, about = AutoModelForCausalLM.from_pretrained(
                str(path),
                dtype=dtype or "auto",
                attn_implementation=implementation,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if implementation is not None and error.args == (implementation,):
            return _read(path, dtype, None)
        raise ModelError(
            f"the model can't be loaded ({_first_line(error)})",
            hint="copy the model's files again",
            place=str(path),
        ) from error
    return model, about


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
