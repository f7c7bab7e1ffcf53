"""LoRA that starts at a part of the weight itself: PiSSA and OLoRA.

Both let A and B start at factors of the weight, and keep the rest of it as the base. That rest would be rounded to the
base's type, and be needed again wherever the adapter goes. Here the base stays: beside the adapter that learns stands a
frozen one, -s B0 A0, which takes the start away again. So W x + s (B A - B0 A0) x is trained, with the gradients of
W - s B0 A0 + s B A, and the finished file is plain LoRA of twice the rank: [B, -B0] and [A; A0].
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from peft import LoraConfig

from luthier.model.adapters.adapted import Adapted
from luthier.model.adapters.peft_model import describe
from luthier.model.quantised import weight_of

Factors = Callable[[torch.Tensor, int, float], tuple[torch.Tensor, torch.Tensor]]
"""Takes a weight (out, in), the rank r and the scale s, and returns A0 of shape (r, in) and B0 of shape (out, r)."""

START = "start"
"""PEFT's name for the frozen adapter."""


def principal(weight: torch.Tensor, rank: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factors of PiSSA: s B0 A0 = U S V^T of the largest singular values, by 16 power iterations.

    Source: Meng et al., arXiv:2404.02948, equations 2 to 4, and the fast singular value decomposition of section 4.
    """
    # More vectors than are wanted, so that the last of those comes out as well as the first (arXiv:0909.4061).
    left, values, right = torch.svd_lowrank(weight, q=min(2 * rank + 8, *weight.shape), niter=16)
    root = (values[:rank] / scale).sqrt()
    return root[:, None] * right.T[:rank], left[:, :rank] * root


def orthonormal(weight: torch.Tensor, rank: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG001
    """Return the factors of OLoRA: the first columns of Q and rows of R of W = Q R (arXiv:2406.01775, algorithm 1)."""
    q, r = torch.linalg.qr(weight)
    return r[:rank], q[:, :rank]


STARTS: dict[str, Factors] = {"pissa": principal, "olora": orthonormal}


def started(adapted: Adapted, config: LoraConfig, factors: Factors, *, base: str) -> Adapted:
    """Return an adapted model whose adapters start at factors of their weights, which frozen ones take away again.

    Args:
        adapted: A model with fresh LoRA adapters.
        config: Theirs.
        factors: What to start at.
        base: Name of the base model.
    """
    model = adapted.model
    still = deepcopy(config)
    still.lora_dropout, still.bias, still.modules_to_save = 0.0, "none", None
    still.trainable_token_indices = None
    # Not `add_adapter`, which would keep modules that learn whole a second time.
    model.peft_config[START] = still
    model.base_model.inject_adapter(model.base_model.model, START)
    frozen: dict[str, torch.nn.Parameter] = {}
    with torch.no_grad():
        for name, module in model.named_modules():
            if START not in getattr(module, "lora_A", {}):
                continue
            layer: Any = module
            layer.set_adapter(["default", START])
            weight = weight_of(layer.get_base_layer())
            weight = weight.T if layer.fan_in_fan_out else weight
            first, second = factors(weight, layer.r["default"], layer.scaling["default"])
            for part, value, sign in (("lora_A", first, 1), ("lora_B", second, -1)):
                getattr(layer, part)["default"].weight.copy_(value)
                parameter = getattr(layer, part)[START].weight
                parameter.data = sign * value.to(parameter.device, torch.float32).contiguous()
                frozen[f"{name}.{part}.{START}.weight"] = parameter
    for parameter in frozen.values():
        parameter.requires_grad = False
    for parameter in adapted.trainable.values():
        parameter.requires_grad = True  # PEFT freezes all but adapters whenever it adds one
    told = partial(describe, model, doubled(config), base)
    return replace(adapted, describe=told, finish=side_by_side, frozen=frozen)


def side_by_side(learned: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return learned adapters and frozen ones as one of twice the rank, under the learned ones' names."""
    found = {}
    for name, value in learned.items():
        frozen = learned.get(f"{name.removesuffix('.weight')}.{START}.weight")
        if frozen is not None:
            found[name] = torch.cat([value, frozen.to(value.device)], dim=0 if ".lora_A." in name else 1)
        elif f".{START}." not in name:
            found[name] = value
    return found


def doubled(config: LoraConfig) -> LoraConfig:
    """Return the config of adapters of twice the rank at the same scale."""
    more = math.sqrt(2) if config.use_rslora else 2
    changed = deepcopy(config)
    changed.r, changed.lora_alpha = 2 * config.r, more * config.lora_alpha
    changed.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    # A layer of another rank has its own scale, alpha / rank: doubling both keeps it.
    changed.alpha_pattern = {name: more * alpha for name, alpha in config.alpha_pattern.items()}
    return changed
