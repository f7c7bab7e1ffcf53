"""Which type each tensor of a GGUF file gets, by llama.cpp's mixing rules.

A mix such as `q4_k_m` stores most matrices in one type and those that lose most by it in a finer one. The rules are
those of `llama_tensor_get_type_impl` and `tensor_type_fallback` in llama.cpp's src/llama-quant.cpp, for models without
experts and without an importance matrix, so that a file is what `llama-quantize` would have made.
"""

import re
from dataclasses import dataclass

QUANTS = {
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "q8_0": "Q8_0",
    "q6_k": "Q6_K",
    "q5_k_m": "Q5_K",
    "q5_k_s": "Q5_K",
    "q4_k_m": "Q4_K",
    "q4_k_s": "Q4_K",
    "q4_0": "Q4_0",
    "q3_k_m": "Q3_K",
    "q2_k": "Q2_K",
}
"""What `quant` may be -> the type of most matrices, as the `gguf` package names it."""

BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q5_1": (32, 24),
    "Q5_0": (32, 22),
    "Q4_0": (32, 18),
    "Q6_K": (256, 210),
    "Q5_K": (256, 176),
    "Q4_K": (256, 144),
    "Q3_K": (256, 110),
    "Q2_K": (256, 84),
}
"""Type -> values of a block, bytes of a block. A row is whole blocks."""

FALLBACKS = {"Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0", "Q3_K": "Q4_0", "Q2_K": "Q4_0"}
"""Type of blocks of 256 -> the one of blocks of 32 for rows it doesn't fit."""

SHARED = 4
"""From so many query heads to a key head on, the values are few enough to be worth a finer type."""

HUGE = 80
"""Layers of the models that llama.cpp knows as 70B."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rules ask about a model."""

    arch: str
    """As llama.cpp names it."""
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    """Whether the embedding is the head too."""

    @property
    def is_70b(self) -> bool:
        """Return whether llama.cpp takes it for one of 70 billion weights, whose values all heads share."""
        return self.layers == HUGE and (self.arch == "qwen2" or (self.arch == "llama" and self.heads != self.kv_heads))


def file_type(quant: str) -> str:
    """Return the `gguf` package's name of a file of this kind."""
    return "ALL_F32" if quant == "f32" else f"MOSTLY_{quant.upper()}"


def size(kind: str, values: int) -> int:
    """Return the bytes of whole blocks."""
    block, width = BLOCKS[kind]
    return values // block * width


def kind_of(name: str, shape: tuple[int, ...], quant: str, model: Shape) -> str:
    """Return the type a tensor gets.

    Args:
        name: In llama.cpp's spelling, as `blk.0.attn_v.weight`.
        shape: In numpy's order.
        quant: A key of `QUANTS`.
        model: What it belongs to.
    """
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return "F32"
    kind = QUANTS[quant]
    return fitting(kind if BLOCKS[kind][0] == 1 else mixed(name, shape[-1], quant, model), shape[-1])


def fitting(kind: str, width: int) -> str:
    """Return the type, or the one that rows of this width get because they are no whole blocks of it."""
    if width % BLOCKS[kind][0] == 0:
        return kind
    other = FALLBACKS.get(kind, "F16")
    return other if width % BLOCKS[other][0] == 0 else "F16"


def mixed(name: str, width: int, quant: str, model: Shape) -> str:
    """Return the type that the mix has for a matrix, whether or not its rows are whole blocks."""
    kind = QUANTS[quant]
    if name == "output.weight" or (model.tied and name == "token_embd.weight"):
        return "Q8_0" if kind == "Q8_0" or width % BLOCKS[kind][0] else "Q6_K"
    place = re.fullmatch(r"blk\.(\d+)\.(attn_v|attn_output|ffn_down)\.weight", name)
    if place is None:
        return kind
    layer, part = int(place[1]), place[2]
    if part == "attn_output":
        return {"q3_k_m": "Q4_K", "q2_k": "Q3_K"}.get(quant, kind)
    if part == "ffn_down":
        return _down(layer, quant, model)
    found = _values(layer, quant, model)
    return "Q5_K" if model.is_70b and found in ("Q3_K", "Q4_K") else found


def _values(layer: int, quant: str, model: Shape) -> str:
    if quant in ("q4_k_m", "q5_k_m") and favoured(layer, model.layers):
        return "Q6_K"
    if quant == "q4_k_s" and layer < 4:
        return "Q5_K"
    if quant == "q3_k_m":
        return "Q5_K" if layer < 2 else "Q4_K"
    if quant == "q2_k":
        return "Q4_K" if model.heads // model.kv_heads >= SHARED else "Q3_K"
    return QUANTS[quant]


def _down(layer: int, quant: str, model: Shape) -> str:
    if quant in ("q4_k_m", "q5_k_m") and favoured(layer, model.layers):
        return "Q6_K"
    if quant == "q4_k_s" and layer < model.layers // 8:
        return "Q5_K"
    if quant == "q3_k_m":
        return "Q5_K" if layer < model.layers // 16 else "Q4_K"
    return "Q3_K" if quant == "q2_k" else QUANTS[quant]


def favoured(layer: int, layers: int) -> bool:
    """Return whether a layer is one that gets more bits: the first and last eighth, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
