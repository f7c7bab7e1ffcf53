"""Loading with Transformers: quietly, from safetensors only, never running code that came with a model."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from luthier.core.errors import ModelError
from luthier.model.companions import json_object
from luthier.model.facts import read_config
from luthier.model.heads import NAME, SUFFIX, Head, States
from luthier.model.kernels import attention
from luthier.model.new_tokens import grow
from luthier.model.probe import settle
from luthier.model.quantised import Quantised, quantising, settle_layers

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
    if "auto_map" in json_object(path / "tokenizer_config.json"):
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
        value = json_object(path / name).get("eos_token_id")
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(token, int) for token in ids):
            raise ModelError(
                f"`eos_token_id` should be a token's number, got {value!r}",
                hint="copy the file of the model again",
                place=str(path / name),
            )
        found += ids
    return sorted({*found})


def stored_as(precision: str) -> torch.dtype | None:
    """Return the type weights are held in for a precision: float32 for `fp32`, as they are stored for `bf16`."""
    return torch.float32 if precision == "fp32" else None


def load_model(
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    quantised: Quantised | None = None,
    new_ids: Sequence[int] = (),
    on: torch.device | None = None,
) -> Any:
    """Return a causal language model for forward passes over packs, on the best device, in evaluation mode.

    It was probed: `luthier.model.forward.batching` tells whether its rows are packed or padded, and why.

    Args:
        path: A model folder.
        dtype: Type of the weights; None keeps the type they are stored in.
        quantised: How to keep the linear layers in fewer bits, from weights that are stored whole.
        new_ids: Tokens it is to have rows for besides (`luthier.model.new_tokens`).
        on: Where to; None for the best device.

    Raises:
        ModelError: The folder's weights can't be loaded, are not all there or give NaN, or rows of this architecture
            can't share a forward pass at all.
    """
    read_config(path, str(path))
    model, about = _read(AutoModelForCausalLM, path, dtype, attention.NAME, quantised=quantised)
    _whole(about, path)
    grow(model, new_ids, place=str(path))
    model = _placed(model, quantised, on).eval()
    settle(model, place=str(path))
    return model


def _placed(model: Any, quantised: Quantised | None, on: torch.device | None) -> Any:
    """Return a freshly read model on its device; a quantised one is there already."""
    if quantised is None:
        return model.to(on or device())
    settle_layers(model)
    return model


def load_scorer(
    path: Path,
    *,
    head: Head | None = None,
    dtype: torch.dtype | None = None,
    quantised: Quantised | None = None,
    on: torch.device | None = None,
) -> Any:
    """Return a model with a head that scores texts (`luthier.model.heads`), ready for packs as `load_model`'s are.

    Args:
        path: A folder with a causal model, which gets a new head, or with a model that has one already.
        head: What the head is to give; None for what the folder's own gives.
        dtype: Type of the weights; None keeps the type they are stored in. The head is float32.
        quantised: How to keep the linear layers in fewer bits, but for the head.
        on: Where to; None for the best device.

    Raises:
        ModelError: As `load_model`; or the architecture has no such head, or the folder's own gives other scores.
    """
    kinds = read_config(path, str(path)).get("architectures") or [""]
    own = str(kinds[0]).endswith(SUFFIX)
    if not own and head is None:
        raise ModelError("this model has no head that scores texts", hint="name one that has", place=str(path))
    config = AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    if head is not None:
        if own:
            head.accept(config, str(path))
        head.put_into(config)
    model, about = _read(AutoModelForSequenceClassification, path, dtype, attention.NAME, config, quantised)
    if not isinstance(getattr(model, NAME, None), torch.nn.Linear):
        raise ModelError(
            f"Transformers gives {type(model).__name__} another head than a linear one over the last token",
            hint="use a model such as Llama, Mistral, Qwen or Gemma",
            place=str(path),
        )
    if head is not None and not own:
        about["missing_keys"] = {key for key in about["missing_keys"] if not key.startswith(f"{NAME}.")}
        head.draw(model)
    _whole(about, path)
    model.config.architectures = [type(model).__name__]
    getattr(model, NAME).float()
    model = _placed(model, quantised, on).eval()
    settle(States(model), place=str(path))
    return model


def _whole(about: dict[str, Any], path: Path) -> None:
    """Refuse a model some of whose weights are not in its files."""
    missing = sorted(str(key) for key in [*about["missing_keys"], *about["mismatched_keys"]])
    if missing:
        raise ModelError(
            f"the weights lack {len(missing)} tensors, `{missing[0]}` first",
            hint="copy the model's files again: random numbers would stand in for them",
            place=str(path),
        )


def _read(
    kind: Any,
    path: Path,
    dtype: torch.dtype | None,
    implementation: str | None,
    config: Any = None,
    quantised: Quantised | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Return a model as one of Transformers' classes reads it, and what it says of missing weights.

    An architecture that knows a fixed list of attentions (GPT-J) is read with its own.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, about = kind.from_pretrained(
                str(path),
                config=config,
                dtype=dtype or "auto",
                attn_implementation=implementation,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **quantising(quantised, device()),
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if implementation is not None and error.args == (implementation,):
            return _read(kind, path, dtype, None, config, quantised)
        raise ModelError(
            f"the model can't be loaded ({_first_line(error)})",
            hint="copy the model's files again",
            place=str(path),
        ) from error
    return model, about


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
