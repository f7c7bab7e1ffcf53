"""Gradient checkpointing changes memory and time, and no number."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import rows

from luthier.model.adapters import full, lora
from luthier.model.adapters.adapted import Adapted
from luthier.model.forward import precise
from luthier.model.load import load_model
from luthier.recipe.methods import Full, Lora
from luthier.recipe.methods import Sft as SftOptions
from luthier.tokens.pack import packs
from luthier.train.objectives.objective import Totals
from luthier.train.objectives.sft import Sft
from luthier.train.stage import recompute

SFT = Sft(SftOptions())

TECHNIQUES = {"lora-dropout": Lora(rank=4, dropout=0.2), "dora": Lora(rank=4, dora=True), "full": Full()}


def adapted(model: Path, options: Lora | Full) -> Adapted:
    attach: Any = full.attach if isinstance(options, Full) else lora.attach
    made: Adapted = attach(load_model(model), options, base="m", seed=0)
    with torch.no_grad():
        for name, parameter in made.trainable.items():
            if "lora_B" in name:
                parameter.add_(0.01)  # at zero, the A matrices would have no gradient to compare
    made.model.train()
    return made


def learned(made: Adapted, precision: str) -> tuple[list[float], int]:
    """Return losses, and how often the first attention was computed; leave the gradients."""
    calls = []
    layer = next(module for name, module in made.model.named_modules() if name.endswith("layers.0.self_attn"))
    layer.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(0)
    losses = []
    for pack in packs(rows(), range(8), 64):
        with precise(made.model, precision):
            loss = SFT.loss(made.model, pack, Totals(1, 1)).loss
        loss.backward()
        losses.append(loss.item())
    return losses, len(calls)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("options", TECHNIQUES.values(), ids=TECHNIQUES)
def test_losses_and_gradients_are_the_same_bits(options: Lora | Full, precision: str, tiny_llama: Path) -> None:
    kept, again = adapted(tiny_llama, options), adapted(tiny_llama, options)
    assert recompute(again.model)
    losses, once = learned(kept, precision)
    same, twice = learned(again, precision)
    assert same == losses
    assert twice == 2 * once
    for name, parameter in kept.trainable.items():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, again.trainable[name].grad), name  # type: ignore[arg-type]


def test_measuring_computes_nothing_again(tiny_llama: Path) -> None:
    made = adapted(tiny_llama, Lora())
    assert recompute(made.model)
    made.model.eval()
    with torch.no_grad():
        (pack, *_) = packs(rows(), range(8), 1000)
        assert SFT.loss(made.model, pack, Totals(1, 1)).loss.isfinite()


def test_an_architecture_that_cannot_is_told(tiny_llama: Path) -> None:
    model = load_model(tiny_llama)
    model.supports_gradient_checkpointing = False
    assert not recompute(model)
