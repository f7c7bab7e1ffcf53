"""Packing changes nothing: loss and gradients equal a padded batch and single rows in plain Transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.core.example import Source
from luthier.model.kernels import attention
from luthier.model.load import load_model
from luthier.model.probe import leak
from luthier.recipe.methods import Sft as Options
from luthier.tokens.pack import pack, packs
from luthier.tokens.render import Encoded
from luthier.train.objectives.objective import Totals
from luthier.train.objectives.sft import Sft

SFT = Sft(Options())

LIMIT = 1e-6
"""Relative, in float32: what the order of sums may change."""

LENGTHS = (37, 5, 64, 12, 21, 50, 3, 30)


def documents() -> list[Encoded]:
    random = np.random.default_rng(0)
    rows = []
    for length in LENGTHS:
        learned = random.random(length) < 0.4
        learned[-1] = True
        rows.append(Encoded(random.integers(3, 250, length).astype(np.int32), learned, Source("here", length)))
    return rows


def labels(row: Encoded) -> torch.Tensor:
    ids = torch.from_numpy(row.input_ids.astype(np.int64))
    return torch.where(torch.from_numpy(row.learned), ids, -100)


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for _, p in sorted(model.named_parameters()) if p.grad is not None])


def packed(path: Path, rows: Sequence[Encoded], capacity: int) -> tuple[float, torch.Tensor]:
    model = load_model(path)
    total = sum(int(row.learned[1:].sum()) for row in rows)
    loss = 0.0
    for one in packs(rows, range(len(rows)), capacity):
        part = SFT.loss(model, one, Totals(len(rows), total)).loss
        part.backward()
        loss += part.item()
    return loss, gradients(model)


def padded(path: Path, rows: Sequence[Encoded]) -> tuple[float, torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa")
    longest = max(row.length for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    wanted = torch.full_like(ids, -100)
    for place, row in enumerate(rows):
        ids[place, : row.length] = torch.from_numpy(row.input_ids.astype(np.int64))
        mask[place, : row.length] = 1
        wanted[place, : row.length] = labels(row)
    loss = model(input_ids=ids, attention_mask=mask, labels=wanted).loss
    loss.backward()
    return loss.item(), gradients(model)


def one_by_one(path: Path, rows: Sequence[Encoded]) -> tuple[float, torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager")
    total = sum(int(row.learned[1:].sum()) for row in rows)
    loss = 0.0
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
        part = model(input_ids=ids, labels=labels(row)[None]).loss * int(row.learned[1:].sum()) / total
        part.backward()
        loss += part.item()
    return loss, gradients(model)


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_qwen2"])
@pytest.mark.parametrize("capacity", [64, 100, 1000])
@pytest.mark.parametrize("reference", [padded, one_by_one])
def test_packed_loss_and_gradients_equal_plain_transformers(
    kind: str, capacity: int, reference: Any, request: pytest.FixtureRequest
) -> None:
    path, rows = request.getfixturevalue(kind), documents()
    loss, gradient = packed(path, rows, capacity)
    wanted_loss, wanted_gradient = reference(path, rows)
    assert loss == pytest.approx(wanted_loss, rel=LIMIT)
    assert float((gradient - wanted_gradient).norm() / wanted_gradient.norm()) < LIMIT


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_qwen2"])
def test_no_document_of_a_pack_sees_another(kind: str, request: pytest.FixtureRequest) -> None:
    assert leak(load_model(request.getfixturevalue(kind)), vocabulary=250) == 0.0


class WithCache(torch.nn.Module):
    """The trap: the same model called as Transformers calls it by default, with a cache."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.inner = AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa")

    def forward(self, *, bounds: list[int], use_cache: bool, **inputs: Any) -> Any:
        return self.inner(use_cache=True, **inputs)


def test_the_probe_finds_the_leak_that_a_cache_opens(tiny_llama: Path) -> None:
    assert leak(WithCache(tiny_llama), vocabulary=250) > 0.01


def test_masked_tokens_get_no_gradient_through_the_head(tiny_llama: Path) -> None:
    model = load_model(tiny_llama)
    row = documents()[0]
    only = Encoded(row.input_ids, np.arange(row.length) == 9, row.source)
    SFT.loss(model, pack([only], [0]), Totals(1, 1)).loss.backward()
    touched = model.lm_head.weight.grad.abs().sum(dim=1)
    probabilities = touched / touched.sum()
    assert int(probabilities.argmax()) == int(row.input_ids[9])


@pytest.mark.parametrize("window", [4, 16])
def test_a_sliding_window_looks_back_so_far_and_no_further(window: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, 20, 8) for heads in (4, 2, 2))
    got, _ = attention.packed_attention(
        torch.nn.Module(), query, key, value, None, bounds=[0, 8, 20], sliding_window=window
    )
    repeated = [tensor.repeat_interleave(2, dim=1) for tensor in (key, value)]
    places = torch.arange(20)
    same = (places[:, None] < 8) == (places[None, :] < 8)
    near = (places[:, None] - places[None, :] >= 0) & (places[:, None] - places[None, :] < window)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *repeated, attn_mask=same & near)
    assert torch.allclose(got, wanted.transpose(1, 2), atol=1e-6)
