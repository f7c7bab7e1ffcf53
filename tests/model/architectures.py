"""Tiny models of many architectures with random weights, sharpened so that attention is not nearly uniform."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

COMMON: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
WINDOW = {"head_dim": 16, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}

PACKED: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "gemma2": WINDOW | {"query_pre_attn_scalar": 16, "attn_logit_softcapping": 2.0},
    "gemma3_text": WINDOW | {"query_pre_attn_scalar": 16},
    "phi3": {"sliding_window": 4},
    "gpt_oss": WINDOW | EXPERTS | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    "mixtral": EXPERTS,
}
"""Architectures whose attention can be exchanged. Windows are shorter than the probe's documents."""

PADDED: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 8},
    "mamba2": {"num_heads": 8, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 16},
    "jamba": {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8},
    "qwen3_next": DELTA | EXPERTS | {"head_dim": 16, "shared_expert_intermediate_size": 32},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 32},
    "rwkv": {"attention_hidden_size": 64, "context_length": 512},
    "bloom": {"n_layer": 2, "n_head": 4},
    "stablelm": {"head_dim": 16},
    "gptj": {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8},
}
"""Recurrent and hybrid ones, one with linear biases, one that keeps our arguments to itself, one with a fixed list."""


def make(kind: str, *, dtype: torch.dtype = torch.float32, attn_implementation: str | None = None, **more: Any) -> Any:
    """Return a random model of an architecture, in evaluation mode; what is `more` goes into its config."""
    config = AutoConfig.for_model(kind, **COMMON | (PACKED | PADDED)[kind] | more)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attn_implementation).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "sinks" in name:
                weight.normal_()
            elif weight.ndim == 2 and name.endswith("proj.weight"):
                weight.mul_(4.0)
    return model


def save(kind: str, folder: Path, **more: Any) -> Path:
    """Write such a model, without a tokenizer."""
    make(kind, **more).save_pretrained(str(folder))
    return folder
