"""What can be known of a model without loading it: where it lies, its shape, its size.

No torch here: `luthier plan` reads this.
"""

import json
from pathlib import Path
from typing import Any

from luthier.bundled import model_path
from luthier.core.errors import MissingExtra, ModelError
from luthier.core.files import digest, known_sha256
from luthier.recipe.facts import ModelFacts

BUNDLED = "bundled"
"""The name of the model in the package."""

WEIGHT_BYTES = {"F32": 4, "BF16": 2, "F16": 2}


def resolve(name: str) -> Path:
    """Return the folder of a model named by the user: `bundled`, a local folder, or a hub name.

    Raises:
        ModelError: The folder is missing or holds no model, or the hub can't be reached.
    """
    if name == BUNDLED:
        return model_path()
    if is_local(name):
        try:
            return _checked_folder(Path(name).expanduser(), name)
        except (OSError, RuntimeError, ValueError) as error:
            hint = "name a local folder, a hub name like `owner/model`, or `bundled`"
            raise ModelError(f"this is no folder's name ({error})", hint=hint, place=name[:80]) from error
    return _from_hub(name)


def is_local(name: str) -> bool:
    """Return whether a model's name means a folder on this machine, or the bundled model, rather than the hub."""
    if name == BUNDLED or name.startswith((".", "/", "~")) or name.count("/") != 1:
        return True
    return Path(name).exists()


def _checked_folder(path: Path, name: str) -> Path:
    """Return the folder if it holds a model luthier can load; say what is missing otherwise."""
    if not path.is_dir():
        problem = "this is a file, not a model folder" if path.exists() else "there is no such model folder"
        raise ModelError(
            problem,
            hint="name a folder with config.json and *.safetensors, a hub name like `owner/model`, or `bundled`",
            place=name,
        )
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise ModelError(
                "this folder holds an adapter, not a model",
                hint="merge it first: `luthier merge RUN`, then name the merged folder",
                place=name,
            )
        raise ModelError(
            "this folder holds no model (no config.json)",
            hint="name the folder that holds config.json, the tokenizer and *.safetensors",
            place=name,
        )
    if not weight_files(path):
        pickled = [file.name for file in path.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        why = f"only pickled weights ({pickled[0]}), which can run code" if pickled else "no *.safetensors"
        raise ModelError(
            f"this folder holds {why}",
            hint="convert the weights to safetensors, or download that variant of the model",
            place=name,
        )
    if not (path / "tokenizer.json").is_file() and not (path / "vocab.json").is_file():
        raise ModelError(
            "this folder holds no tokenizer (no tokenizer.json)",
            hint="copy tokenizer.json and tokenizer_config.json of the model into it",
            place=name,
        )
    return path


def _from_hub(name: str) -> Path:
    """Return the folder of a hub model in the local cache, downloaded first when it is not there."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("huggingface_hub", extra="train") from error
    wanted = ["*.json", "*.safetensors", "*.jinja", "*.model", "merges.txt", "LICENSE*", "README.md"]
    try:
        path = Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise ModelError(
            "there is no local folder of this name, and the hub can't be reached or has no such model",
            hint="check the name and the network, name a local folder, or use `bundled`",
            place=name,
        ) from error
    return _checked_folder(path, name)


def tokenizer_file(name: str) -> Path | None:
    """Return a model's `tokenizer.json` where it lies on this machine; None elsewhere. Nothing is downloaded."""
    try:
        if is_local(name):
            folder = model_path() if name == BUNDLED else Path(name).expanduser()
            file = folder / "tokenizer.json"
            return file if file.is_file() else None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, "tokenizer.json")
    except (ImportError, OSError, RuntimeError, ValueError):  # no folder's name, or no hub's
        return None
    return Path(cached) if isinstance(cached, str) else None


def weight_files(path: Path) -> list[Path]:
    """Return the weight files of a model folder in order of name."""
    return sorted(file for file in path.glob("*.safetensors") if not file.name.startswith("adapter_"))


def facts(name: str) -> ModelFacts:
    """Return what can be known of a model without loading it.

    Raises:
        ModelError: The folder holds no model, or one whose files can't be read.
    """
    path = resolve(name)
    config = read_config(path, name)
    sizes: dict[str, int] = {}
    for file in weight_files(path):
        for dtype, count in _tensors(file):
            sizes[dtype] = sizes.get(dtype, 0) + count
    dtype = max(sizes, key=lambda kind: sizes[kind], default="F32")
    if dtype not in WEIGHT_BYTES:
        raise ModelError(
            f"most weights are of type {dtype}, which luthier can't train yet",
            hint="use the 16-bit variant of the model",
            place=name,
        )
    return ModelFacts(
        name=name,
        path=str(path),
        architecture=(config.get("architectures") or [config.get("model_type", "unknown")])[0],
        parameters=sum(sizes.values()),
        weight_bytes=sum(count * WEIGHT_BYTES.get(kind, 4) for kind, count in sizes.items()),
        dtype=dtype,
        hidden_size=_whole(config, name, "hidden_size", "n_embd", "d_model"),
        layers=_whole(config, name, "num_hidden_layers", "n_layer"),
        intermediate_size=_whole(config, name, "intermediate_size", "n_inner", "hidden_size", "n_embd"),
        vocabulary=_whole(config, name, "vocab_size"),
        context=_context(config),
        fingerprint=fingerprint(path),
    )


def _context(config: dict[str, Any]) -> int:
    """Return the longest sequence a model was made for; 0 where there is no end, as in recurrent models."""
    shape = config.get("text_config") or config
    found = [shape.get(key) for key in ("max_position_embeddings", "n_positions", "max_sequence_length")]
    return next((value for value in found if isinstance(value, int) and value > 0), 0)


def read_config(path: Path, name: str) -> dict[str, Any]:
    """Return a model's config.json.

    Raises:
        ModelError: It is not JSON, or its type name could be more than a name.
    """
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            f"config.json is not JSON ({error})", hint="copy the model's files again", place=name
        ) from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or not kind.replace("_", "").replace("-", "").isalnum():
        raise ModelError("config.json names no `model_type`", hint="copy the model's files again", place=name)
    if "auto_map" in config:
        raise ModelError(
            "this model wants to run its own code, which luthier never does",
            hint="use a model whose architecture Transformers knows",
            place=name,
        )
    found: dict[str, Any] = config
    return found


def _whole(config: dict[str, Any], name: str, *keys: str) -> int:
    """Return the first of `keys` that a config, or its text part, gives as a number above 0.

    Raises:
        ModelError: None does.
    """
    shape = config.get("text_config") or config
    for key in keys:
        value = shape.get(key)
        if isinstance(value, int) and value > 0:
            return value
    raise ModelError(f"config.json gives no `{keys[0]}`", hint="copy the model's files again", place=name)


def fingerprint(path: Path) -> str:
    """Return a hash over every file a model consists of. It changes when any byte of them does."""
    return _hash(path, (".json", ".jinja", ".safetensors", ".txt", ".model"))


def tokenizer_fingerprint(path: Path) -> str:
    """Return a hash over every file that can change a token: all of a model but its weights."""
    return digest(
        [_hash(path, kinds := (".json", ".jinja", ".txt", ".model")), _hash(path / "additional_chat_templates", kinds)]
    )


def _hash(path: Path, kinds: tuple[str, ...]) -> str:
    parts = []
    for file in sorted(path.iterdir()) if path.is_dir() else ():
        if file.is_file() and file.suffix in kinds:
            parts.append((file.name, known_sha256(file)))
    return digest(parts)


def _tensors(file: Path) -> list[tuple[str, int]]:
    """Return type and number of elements of each tensor, from the header of a safetensors file."""
    place = str(file)
    again = "copy the file again: it is damaged or not finished"
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(size - 8, 100_000_000):
            raise ModelError("this is no whole safetensors file", hint=again, place=place)
        try:
            header = json.loads(handle.read(length))
            entries = [entry for key, entry in header.items() if key != "__metadata__"]
            end = 8 + length + max((entry["data_offsets"][1] for entry in entries), default=0)
            found = [(str(entry["dtype"]), _product(entry["shape"])) for entry in entries]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ModelError("the header of this safetensors file can't be read", hint=again, place=place) from error
    if end != size:
        raise ModelError(f"this file should have {end:,} bytes and has {size:,}", hint=again, place=place)
    return found


def _product(shape: list[int]) -> int:
    result = 1
    for extent in shape:
        result *= int(extent)
    return result
