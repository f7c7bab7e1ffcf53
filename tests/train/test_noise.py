"""NEFTune: noise of the paper's size, for every document by its own length, and only in training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import rows

from luthier.model.adapters import lora
from luthier.model.forward import Batching, plain, set_batching, supervised_logits
from luthier.model.heads import Head, scores
from luthier.model.load import load_model, load_scorer
from luthier.recipe.methods import Lora
from luthier.tokens.pack import pack
from luthier.train.noise import document_lengths, noisy

ALPHA = 5.0


def embeddings(model: Any, way: str) -> torch.Tensor:
    """Return the embeddings of a pass over three rows."""
    found: list[Any] = []
    hook = plain(model).get_input_embeddings().register_forward_hook(lambda _module, _args, out: found.append(out))
    set_batching(model, Batching(way, "test"))  # type: ignore[arg-type]
    with torch.no_grad():
        supervised_logits(model, pack(rows(), [0, 1, 2]))
    hook.remove()
    embedded: torch.Tensor = found[0]
    return embedded


@pytest.mark.parametrize("way", ["packed", "padded"])
@pytest.mark.parametrize("adapted", [False, True])
def test_every_document_gets_noise_by_its_own_length(way: str, adapted: bool, tiny_llama: Path) -> None:
    model = load_model(tiny_llama)
    if way == "padded":
        model.set_attn_implementation("sdpa")  # packed attention knows no padding
    if adapted:
        model = lora.attach(model, Lora(rank=2), base="b", seed=0).model
    clean = embeddings(model.train(), way)
    with noisy(model, ALPHA):
        torch.manual_seed(1)
        noise = embeddings(model, way) - clean
        torch.manual_seed(1)
        assert torch.equal(embeddings(model, way) - clean, noise)
        assert torch.equal(embeddings(model.eval(), way), clean)
    assert torch.equal(embeddings(model.train(), way), clean)
    sizes = [row.length for row in rows()[:3]]
    parts = noise[0].split([*sizes, noise.shape[1] - sum(sizes)])[:3] if way == "packed" else [*noise]
    for part, size in zip(parts, sizes, strict=True):
        limit = ALPHA / (size * 64) ** 0.5  # algorithm 1 of arXiv:2310.05914; the model is 64 wide
        own = part[:size].abs()
        assert 0.97 * limit < own.max() <= limit * (1 + 1e-4)
        assert own.mean() == pytest.approx(limit / 2, rel=0.1)


def test_no_strength_leaves_the_model_alone(tiny_llama: Path) -> None:
    model = load_model(tiny_llama).train()
    clean = embeddings(model, "packed")
    with noisy(model, 0.0):
        assert torch.equal(embeddings(model, "packed"), clean)


def test_what_a_pair_shares_counts_to_the_length_of_both() -> None:
    inputs = {"input_ids": torch.zeros(1, 9), "bounds": [0, 4, 6, 9], "shared": [0, 3, 0]}
    assert document_lengths(inputs).tolist() == [[4, 4, 4, 4, 5, 5, 3, 3, 3]]


@pytest.mark.parametrize("way", ["packed", "padded"])
@pytest.mark.parametrize("adapted", [False, True])
def test_a_model_with_a_head_hears_the_noise_too(way: str, adapted: bool, tiny_llama: Path) -> None:
    model = load_scorer(tiny_llama, head=Head((), 0, 0))
    if way == "padded":
        model.set_attn_implementation("sdpa")
    if adapted:
        model = lora.attach(model, Lora(rank=2), base="b", seed=0).model
    set_batching(model, Batching(way, "test"))  # type: ignore[arg-type]
    packed = pack(rows(), [0, 1, 2])
    clean = scores(model.train(), packed)
    with noisy(model, ALPHA):
        assert not torch.allclose(scores(model, packed), clean, atol=1e-4)
        assert torch.equal(scores(model.eval(), packed), clean)
