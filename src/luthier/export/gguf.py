"""Converting a model folder to GGUF, the one-file format of llama.cpp and ollama.

Works tensor by tensor, in blocks of rows: the header with all keys and tensor places is written first (shapes
are known from the safetensors headers), then the data. Memory does not grow with the model. The layout of the
file is the `gguf` package's job; which keys and which order of rows llama.cpp expects is this file's, which tensor
gets which type is `quants`', and how it is encoded `ggml`'s.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from luthier.core.errors import ModelError
from luthier.core.files import fsync_path, space_needed
from luthier.core.progress import Progress, Silent
from luthier.core.text import did_you_mean, one_line
from luthier.export.ggml import encoded, package
from luthier.export.quants import QUANTS, Shape, file_type, kind_of, size
from luthier.export.safetensors_file import FLOATS, Matrix, Tensor, model_tensors, read_json, read_rows
from luthier.export.vocabulary import Vocabulary, read_vocabulary

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""transformers' name of the model class -> llama.cpp's name of the architecture."""

ALIGNMENT = 32
"""Every tensor begins at a multiple of this many bytes: the format's default."""

BLOCK = 1 << 21
"""Values in memory at once: 8 MB as float32."""


@dataclass(frozen=True, slots=True)
class Written:
    """One tensor of the GGUF file and where its values come from."""

    name: str
    source: Tensor | Matrix
    """A tensor of the model, or values computed here (rope factors)."""
    kind: str
    """Type in the file, as the `gguf` package names it."""
    head: int
    """Rows per attention head if rows are to be reordered for llama.cpp's rope, else 0."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape in numpy's order."""
        return self.source.shape

    @property
    def bytes(self) -> int:
        """Return the size in the file, without padding."""
        return size(self.kind, math.prod(self.shape))


def unsupported(model: Path, what: str) -> ModelError:
    """Return the error for a model that llama.cpp would compute differently."""
    return ModelError(
        f"can't convert this model to GGUF: {what}",
        hint=f"what works: {', '.join(ARCHITECTURES)} with plain attention; serve others with vLLM",
        place=str(model),
    )


def read_config(model: Path) -> Any:
    """Return the model's transformers configuration, after refusing what the converter doesn't cover.

    Raises:
        ModelError: The architecture, or a setting of it, is not covered.
    """
    raw = read_json(model / "config.json")
    names = raw.get("architectures") or [None]
    if names[0] not in ARCHITECTURES:
        raise unsupported(model, f"its architecture is {one_line(str(names[0]), 60)}")
    if raw.get("quantization_config"):
        raise unsupported(model, "its weights are already quantised")
    try:
        config = AutoConfig.from_pretrained(str(model), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise unsupported(model, f"`config.json` is damaged ({one_line(str(error), 120)})") from error
    if getattr(config, "use_sliding_window", False):
        raise unsupported(model, "it attends through a sliding window (`use_sliding_window`)")
    if config.hidden_act != "silu":
        raise unsupported(model, f"its activation is {config.hidden_act}")
    return config


def head_dim(config: Any) -> int:
    """Return the width of one attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rope_of(model: Path, config: Any) -> dict[str, Any]:
    """Return the rope parameters: `rope_parameters`, or the older `rope_theta` and `rope_scaling`.

    Raises:
        ModelError: The kind of scaling is not covered.
    """
    rope = dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})
    rope.setdefault("rope_theta", getattr(config, "rope_theta", 10000.0))
    rope["rope_type"] = rope.get("rope_type", rope.get("type", "default"))
    if rope["rope_type"] not in ("default", "linear", "llama3", "yarn"):
        raise unsupported(model, f"its rope scaling is {one_line(str(rope['rope_type']), 40)}")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise unsupported(model, "it rotates only a part of each head")
    return rope


def llama3_factors(rope: dict[str, Any], width: int) -> Matrix:
    """Return by how much each rotation is slowed in Llama 3.1's rope scaling. Shape (width / 2,).

    Fast rotations stay, slow ones are divided by `factor`, those between are blended (arXiv:2407.21783, and
    `_compute_llama3_parameters` of transformers, whose result the certificate compares with).
    """
    speeds = 1.0 / rope["rope_theta"] ** (np.arange(0, width, 2, dtype=np.float64) / width)
    length, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = length * speeds / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(1.0 / ((1.0 - blend) / factor + blend), dtype=np.float32)


def block_number(name: str) -> int:
    """Return the layer a tensor belongs to, for writing in order: the embedding first, the head last."""
    match = re.match(r"model\.layers\.(\d+)\.", name)
    if match:
        return int(match[1])
    return -1 if name.startswith("model.embed_tokens") else 1 << 30


def layout(model: Path, config: Any, quant: str) -> list[Written]:
    """Return the tensors of the GGUF file in the order they are written.

    Raises:
        ModelError: A tensor has no counterpart in llama.cpp, or one is missing.
    """
    gguf = package()
    arch = ARCHITECTURES[config.architectures[0]]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], config.num_hidden_layers)
    tensors = model_tensors(model)
    tied = bool(config.tie_word_embeddings)
    for needed in ("model.embed_tokens.weight", *(() if tied else ("lm_head.weight",))):
        if needed not in tensors:
            raise unsupported(model, f"it has no `{needed}`")
    heads = config.num_attention_heads
    shape = Shape(arch, config.num_hidden_layers, heads, config.num_key_value_heads or heads, tied)
    found = []
    for name, tensor in sorted(tensors.items(), key=lambda item: (block_number(item[0]), item[0])):
        if name.endswith("rotary_emb.inv_freq") or (tied and name == "lm_head.weight"):
            continue
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None or not 1 <= len(tensor.shape) <= 2:
            raise unsupported(model, f"llama.cpp's {arch} has no place for `{one_line(name, 100)}`")
        if tensor.dtype not in FLOATS:
            raise unsupported(model, f"`{one_line(name, 100)}` is stored as {tensor.dtype}")
        rotated = arch == "llama" and re.search(r"\.(q|k)_proj\.(weight|bias)$", name)
        head = head_dim(config) if rotated else 0
        if head and tensor.shape[0] % head:
            raise unsupported(model, f"`{one_line(name, 100)}` doesn't hold whole heads of {head} rows")
        found.append(Written(name=target, source=tensor, kind=kind_of(target, tensor.shape, quant, shape), head=head))
    rope = rope_of(model, config)
    if rope["rope_type"] == "llama3":
        factors = llama3_factors(rope, head_dim(config))
        found.append(Written(name="rope_freqs.weight", source=factors, kind="F32", head=0))
    return found


def add_architecture(writer: Any, gguf: Any, model: Path, config: Any) -> None:
    """Write the keys that say how to compute the model."""
    length = config.max_position_embeddings
    # llama.cpp's llama has no sliding window. Up to the window's length it makes no difference, so stop
    # there.
    window = getattr(config, "sliding_window", None)
    is_mistral = config.architectures[0] == "MistralForCausalLM"
    writer.add_context_length(min(length, window) if window and is_mistral else length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    rope = rope_of(model, config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType[rope["rope_type"].upper()])
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(int(rope.get("original_max_position_embeddings") or length))


def stop_ids(model: Path, config: Any) -> list[int]:
    """Return every token id that ends an answer, from the generation config, else from the config."""
    path = model / "generation_config.json"
    stops = read_json(path).get("eos_token_id") if path.is_file() else None
    if stops is None:
        stops = config.eos_token_id
    if stops is None:
        return []
    return [int(stop) for stop in (stops if isinstance(stops, list) else [stops])]


def add_vocabulary(writer: Any, model: Path, config: Any, vocabulary: Vocabulary) -> None:
    """Write the tokenizer's keys.

    Raises:
        ModelError: The model has more stop tokens than GGUF has room for.
    """
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    special = dict(vocabulary.special)
    stops = list(dict.fromkeys(stop_ids(model, config)))
    # The tokenizer's own eos comes first if it is a stop; llama.cpp ends an answer at eos, eot and eom alike.
    stops.sort(key=lambda stop: stop != special.get("eos"))
    if len(stops) > 3:
        raise unsupported(model, f"it has {len(stops)} stop tokens, GGUF has room for 3")
    if stops:
        special["eos"] = stops[0]
    adders = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "pad": writer.add_pad_token_id,
        "unk": writer.add_unk_token_id,
    }
    for name, index in special.items():
        adders[name](index)
    for adder, stop in zip((writer.add_eot_token_id, writer.add_eom_token_id), stops[1:], strict=False):
        adder(stop)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    writer.add_add_space_prefix(vocabulary.add_space_prefix)
    if vocabulary.template:
        writer.add_chat_template(vocabulary.template)


def blocks_of(tensor: Written) -> Iterator[Matrix]:
    """Yield the values of a tensor as float32, block by block, rows in llama.cpp's order."""
    if not isinstance(tensor.source, Tensor):
        yield tensor.source
        return
    height, width = tensor.shape[0], math.prod(tensor.shape[1:])
    unit = tensor.head or 1
    step = max(1, BLOCK // (max(1, width) * unit)) * unit
    with tensor.source.file.open("rb") as handle:
        for first in range(0, height, step):
            rows = read_rows(handle.fileno(), tensor.source, first, min(first + step, height))
            if tensor.head:
                # transformers rotates (i, i + half), llama.cpp's llama (2i, 2i + 1): interleave the halves.
                paired = rows.reshape(-1, 2, tensor.head // 2, *rows.shape[1:])
                rows = paired.swapaxes(1, 2).reshape(rows.shape)
            yield rows


@contextmanager
def published(out: Path) -> Iterator[Path]:
    """Give a temporary name to write to; move it to `out` in one step when the block succeeds."""
    with space_needed(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        for stale in out.parent.glob(f".{out.name}.*.tmp"):
            stale.unlink(missing_ok=True)
        temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            yield temporary
            fsync_path(temporary)
            temporary.replace(out)
            fsync_path(out.parent)
        finally:
            temporary.unlink(missing_ok=True)


def pad(handle: IO[bytes]) -> None:
    """Fill up with zeros to the next multiple of `ALIGNMENT`."""
    handle.write(bytes(-handle.tell() % ALIGNMENT))


def write_header(path: Path, model: Path, config: Any, tensors: list[Written], quant: str, name: str) -> None:
    """Write everything before the tensors' data: keys, tokenizer, and where each tensor will lie."""
    gguf = package()
    rows = next(tensor.shape[0] for tensor in tensors if tensor.name == "token_embd.weight")
    vocabulary = read_vocabulary(model, rows)
    writer = gguf.GGUFWriter(path=None, arch=ARCHITECTURES[config.architectures[0]])
    writer.add_name(name)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType[file_type(quant)])
    add_architecture(writer, gguf, model, config)
    add_vocabulary(writer, model, config, vocabulary)
    for tensor in tensors:
        kind = gguf.GGMLQuantizationType[tensor.kind]
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, raw_dtype=kind)
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def to_gguf(model: Path, out: Path, *, quant: str, name: str, progress: Progress | None = None) -> None:
    """Write a standalone model folder as one GGUF file; it appears whole or not at all.

    Args:
        model: A Hugging Face folder with safetensors weights and `tokenizer.json`.
        out: The file to write. An existing one is replaced.
        quant: A key of `QUANTS`: the type of most weight matrices.
        name: The model's name inside the file.
        progress: Where to tell how far it is, in bytes.

    Raises:
        ModelError: llama.cpp would compute or tokenize this model differently, or `quant` is unknown.
        MissingExtra: The `gguf` package is not installed, or for K types `xllamacpp`.
        Failed: The disk is full, a weight doesn't fit its type, or the `xllamacpp` installed can't encode it.
    """
    progress = progress or Silent()
    package()
    if quant not in QUANTS:
        near = did_you_mean(quant, QUANTS)
        raise ModelError(
            f"unknown quantisation `{one_line(quant, 40)}`",
            hint=f"did you mean `{near}`?" if near else f"choose one of: {', '.join(QUANTS)}",
        )
    config = read_config(model)
    tensors = layout(model, config, quant)
    progress.start(f"gguf {quant}", sum(tensor.bytes for tensor in tensors), "byte")
    written = 0
    with published(out) as temporary:
        write_header(temporary, model, config, tensors, quant, name)
        with temporary.open("ab") as handle:
            handle.seek(0, os.SEEK_END)
            for tensor in tensors:
                pad(handle)
                for values in blocks_of(tensor):
                    written += handle.write(encoded(values, tensor.kind, tensor.name))
                    progress.update(written)
            pad(handle)
    progress.end()
