"""Optimizers: the update of the paper, groups by meaning, and state that comes back to the bit."""

from pathlib import Path

import pytest
import torch

from luthier.core.run import Run
from luthier.model.adapters import ia3, lora
from luthier.model.adapters.adapted import Adapted
from luthier.model.load import load_model
from luthier.recipe.methods import Adafactor, AdamW, Ia3, Lion, Lora, Sgd
from luthier.recipe.options import Method
from luthier.train import checkpoint
from luthier.train.optim import LionOptimizer, optimizer_of, set_rate

OPTIMIZERS = {
    "adamw": AdamW(beta2=0.95, epsilon=1e-6),
    "adafactor": Adafactor(),
    "adafactor-relative": Adafactor(relative=True),
    "sgd": Sgd(),
    "sgd-nesterov": Sgd(nesterov=True),
    "sgd-plain": Sgd(momentum=0.0),
    "lion": Lion(),
}


def adapters(model: Path, *, seed: int = 0) -> Adapted:
    """Return LoRA with every kind of parameter: matrices, DoRA's vectors, and two learning rates."""
    return lora.attach(load_model(model), Lora(rank=2, dora=True, lr_ratio=4.0), base="m", seed=seed)


def moved(adapted: Adapted, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        for parameter in adapted.trainable.values():
            parameter.grad = torch.randn_like(parameter)
        set_rate(optimizer, 1e-2 / (1 + step))
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_saved_state_goes_on_to_the_same_bits(options: Method, tiny_llama: Path, tmp_path: Path) -> None:
    whole = adapters(tiny_llama)
    moved(whole, optimizer_of(options, whole, learning_rate=1e-2, weight_decay=0.1), range(6))
    part = adapters(tiny_llama)
    optimizer = optimizer_of(options, part, learning_rate=1e-2, weight_decay=0.1)
    moved(part, optimizer, range(3))
    checkpoint.save(Run(tmp_path), 3, part, optimizer, key="k")
    again = adapters(tiny_llama, seed=9)
    fresh = optimizer_of(options, again, learning_rate=1e-2, weight_decay=0.1)
    assert checkpoint.restore(Run(tmp_path), again, fresh, key="k") == 3
    moved(again, fresh, range(3, 6))
    assert all(torch.equal(again.trainable[name], whole.trainable[name]) for name in whole.trainable)


def test_lion_makes_the_update_of_the_paper_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    optimizer = LionOptimizer([{"params": [weight], "weight_decay": 0.1}], lr=0.01, betas=(0.9, 0.99))
    # Algorithm 2 of arXiv:2302.06675 in float64, one number after the other.
    wanted, mean = [1.0, -2.0, 0.5, 3.0], [0.0] * 4
    for gradients in ([0.3, -0.1, 0.0, 2.0], [-0.01, 0.5, 0.2, -30.0], [1.0, 1.0, -1.0, 0.1]):
        weight.grad = torch.tensor(gradients).view(2, 2)
        optimizer.step()
        for i, gradient in enumerate(gradients):
            blend = 0.9 * mean[i] + 0.1 * gradient
            sign = (blend > 0) - (blend < 0)
            wanted[i] -= 0.01 * (sign + 0.1 * wanted[i])
            mean[i] = 0.99 * mean[i] + 0.01 * gradient
    assert weight.detach().flatten().tolist() == pytest.approx(wanted, rel=1e-6)


def test_b_matrices_learn_at_their_ratio_of_the_rate(tiny_llama: Path) -> None:
    adapted = adapters(tiny_llama)
    optimizer = optimizer_of(AdamW(), adapted, learning_rate=1.0, weight_decay=0.1)
    set_rate(optimizer, 1e-3)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)] for name, p in adapted.trainable.items() if ".lora_B." in name} == {4e-3}
    assert {rates[id(p)] for name, p in adapted.trainable.items() if ".lora_B." not in name} == {1e-3}


def test_matrices_are_decayed_and_vectors_are_not(tiny_llama: Path) -> None:
    for adapted in (adapters(tiny_llama), ia3.attach(load_model(tiny_llama), Ia3(), base="m", seed=0)):
        optimizer = optimizer_of(AdamW(), adapted, learning_rate=1.0, weight_decay=0.1)
        decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in adapted.trainable.items():
            assert decays[id(parameter)] == (0.1 if ".lora_A." in name or ".lora_B." in name else 0.0)


def test_adafactor_keeps_rows_and_columns_only(tiny_llama: Path) -> None:
    adapted = adapters(tiny_llama)
    optimizer = optimizer_of(Adafactor(), adapted, learning_rate=1e-2, weight_decay=0.0)
    moved(adapted, optimizer, range(1))
    for parameter in adapted.trainable.values():
        kept = sum(value.numel() for value in optimizer.state[parameter].values())
        assert kept == 1 + (sum(parameter.shape) if parameter.ndim == 2 else parameter.numel())


def test_absolute_adafactor_moves_a_weight_of_zero_by_the_rate() -> None:
    # U = G / sqrt(R C / mean R): one for a gradient of ones. Algorithm 4 of arXiv:1804.04235, first step.
    for options, step in ((Adafactor(), 1e-2), (Adafactor(relative=True), 1e-5)):
        weight = torch.nn.Parameter(torch.zeros(3, 5))
        adapted = Adapted(None, {"w": weight}, "f", lambda _: None, torch.float32)
        optimizer = optimizer_of(options, adapted, learning_rate=1e-2, weight_decay=0.0)
        weight.grad = torch.ones(3, 5)
        optimizer.step()
        assert torch.allclose(weight, torch.full((3, 5), -step), rtol=1e-4, atol=0)
