"""Optimizers: the update of the paper, groups by meaning, and state that comes back to the bit."""

from pathlib import Path

import pytest
import torch

from luthier.core.errors import ModelError
from luthier.core.run import Run
from luthier.model.adapters import full, ia3, lora
from luthier.model.adapters.adapted import Adapted
from luthier.model.load import load_model
from luthier.recipe.methods import Adafactor, AdamW, AdamW8bit, Full, Ia3, Lion, Lora, Sgd
from luthier.recipe.options import Method
from luthier.train import checkpoint
from luthier.train.optim import LionOptimizer, optimizer_of, set_rate, state_bytes
from luthier.train.state import State

OPTIMIZERS = {
    "adamw": AdamW(beta2=0.95, epsilon=1e-6),
    "adafactor": Adafactor(),
    "adafactor-relative": Adafactor(relative=True),
    "sgd": Sgd(),
    "sgd-nesterov": Sgd(nesterov=True),
    "sgd-plain": Sgd(momentum=0.0),
    "lion": Lion(),
    "adamw_8bit": AdamW8bit(beta2=0.95),
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
    checkpoint.save(Run(tmp_path), State(3), part, optimizer, key="k")
    again = adapters(tiny_llama, seed=9)
    fresh = optimizer_of(options, again, learning_rate=1e-2, weight_decay=0.1)
    assert checkpoint.restore(Run(tmp_path), again, fresh, key="k") == State(3)
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


def test_large_weights_have_8_bit_moments_that_come_back_to_the_bit(tiny_llama: Path, tmp_path: Path) -> None:
    def learning(seed: int) -> tuple[Adapted, torch.optim.Optimizer]:
        adapted = full.attach(load_model(tiny_llama, dtype=torch.float32), Full(), base="m", seed=seed)
        return adapted, optimizer_of(AdamW8bit(), adapted, learning_rate=1e-2, weight_decay=0.1)

    whole, optimizer = learning(0)
    moved(whole, optimizer, range(4))
    large = sum(2 * p.numel() for p in whole.trainable.values() if p.numel() >= 4096)
    kept, in_8_bits = state_bytes(optimizer)
    assert in_8_bits == large > 0
    assert kept < 4 * sum(p.numel() for p in whole.trainable.values())
    part, optimizer = learning(0)
    moved(part, optimizer, range(2))
    checkpoint.save(Run(tmp_path), State(2), part, optimizer, key="k")
    again, fresh = learning(1)
    checkpoint.restore(Run(tmp_path), again, fresh, key="k")
    moved(again, fresh, range(2, 4))
    assert all(torch.equal(again.trainable[name], whole.trainable[name]) for name in whole.trainable)


def test_8_bit_moments_make_nearly_the_steps_of_32_bits(tiny_llama: Path) -> None:
    ends = []
    for options in (AdamW(), AdamW8bit()):
        adapted = full.attach(load_model(tiny_llama, dtype=torch.float32), Full(), base="m", seed=0)
        before = {name: parameter.detach().clone() for name, parameter in adapted.trainable.items()}
        moved(adapted, optimizer_of(options, adapted, learning_rate=1e-3, weight_decay=0.0), range(8))
        ends.append(torch.cat([(p.detach() - before[n]).flatten() for n, p in adapted.trainable.items()]))
    assert torch.nn.functional.cosine_similarity(*ends, dim=0) > 0.98


def test_moments_are_not_paged_where_there_is_no_gpu(tiny_llama: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ModelError, match="no GPU"):
        optimizer_of(AdamW8bit(paged=True), adapters(tiny_llama), learning_rate=1e-2, weight_decay=0.0)
