"""Noise on the embeddings while a model trains (NEFTune).

Shapes: T tokens of a pack, D rows of width W of a padded batch, H width of the model.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from luthier.model.forward import plain
from luthier.model.heads import NAME


@contextmanager
def noisy(model: Any, alpha: float) -> Iterator[None]:
    """Add noise to a model's embeddings in training mode as long as this is open; measuring stays as it is.

    Every number of a document's embeddings gets a uniform one from -1 to 1 times alpha / sqrt(L * H), L the tokens of
    that document (Jain et al., arXiv:2310.05914, algorithm 1), however documents share a pass. The numbers come from
    torch's generator, which the loop seeds anew for every step, so a resumed run draws the same.

    Args:
        model: The model in training, adapters and all.
        alpha: Strength of the noise; 0 adds none.
    """
    if alpha == 0:
        yield
        return
    lengths: list[torch.Tensor] = []

    def look(_module: Any, _args: Any, inputs: dict[str, Any]) -> None:
        lengths[:] = [document_lengths(inputs)]

    def add(module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor | None:
        if not module.training:
            return None
        strength = alpha / (lengths[0].to(output.device) * output.shape[-1]).clamp(min=1).sqrt()
        noise = torch.empty(output.shape, dtype=torch.float32, device=output.device).uniform_(-1, 1)
        return output + (noise * strength[..., None]).to(output.dtype)

    # PEFT calls the model inside it without its hooks, so the outer one is looked at; a head's states come from within.
    inner = plain(model)
    entered = getattr(inner, inner.base_model_prefix) if hasattr(inner, NAME) else model
    hooks = [
        entered.register_forward_pre_hook(look, with_kwargs=True),
        inner.get_input_embeddings().register_forward_hook(add),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def document_lengths(inputs: dict[str, Any]) -> torch.Tensor:
    """Return for every token of a pass how many its document has: float32, shape (1, T) or (D, W)."""
    ids = inputs["input_ids"]
    if "bounds" in inputs:
        own_D = torch.tensor(inputs["bounds"]).diff()
        return (own_D + torch.tensor(inputs.get("shared", 0))).repeat_interleave(own_D)[None].float()
    mask_DW = inputs.get("attention_mask")
    lengths_DW = torch.full(ids.shape, ids.shape[1]) if mask_DW is None else mask_DW.sum(1, keepdim=True).expand_as(ids)
    return lengths_DW.float()
