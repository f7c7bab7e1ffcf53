"""A pair that shares its prompt gives the log-probabilities and gradients of each of its texts alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import PACKED, save
from transformers import AutoModelForCausalLM

from luthier.core.example import Source
from luthier.model.forward import batching, precise, supervised_nll, unshared
from luthier.model.load import load_model
from luthier.tokens.pack import Pack, pairs
from luthier.tokens.render import Encoded

# Prompts longer and shorter than the windows (4), endings that begin alike, an ending that is the other's beginning.
SIZES = ((30, 0, 7, 12), (2, 3, 5, 1), (9, 0, 1, 20), (17, 6, 0, 4), (25, 2, 9, 9))


def texts() -> list[Encoded]:
    """Return pairs of a prompt, what both answers begin with, and what each goes on with."""
    random = np.random.default_rng(0)
    rows = []
    for prompt, alike, better, worse in SIZES:
        begin = random.integers(3, 250, prompt + alike)
        for place, rest in enumerate((better, worse)):
            ids = np.concatenate([begin, [250 + place] * bool(rest), random.integers(3, 250, max(0, rest - 1))])
            rows.append(Encoded(ids.astype(np.int32), np.arange(len(ids)) >= prompt, Source("here", prompt)))
    return rows


def gradients(model: Any) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for _, p in sorted(model.named_parameters()) if p.grad is not None])
    model.zero_grad()
    return found


def weighted(model: Any, packs: list[Pack]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed loss of each row, and gradients of a sum in which each row has another weight."""
    nll = torch.zeros(2 * len(SIZES))
    for pack in packs:
        nll = nll.index_add(0, torch.from_numpy(pack.rows), supervised_nll(model, pack).float())
    (nll * torch.linspace(-1, 1, len(nll))).sum().backward()
    return nll.detach(), gradients(model)


def alone(model: Any, rows: list[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same of plain Transformers, a text at a time."""
    losses = []
    for row in rows:
        ids = torch.from_numpy(row.input_ids.astype(np.int64))
        logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
        nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        losses.append(nll[torch.from_numpy(row.learned[1:])].sum())
    nll = torch.stack(losses)
    (nll * torch.linspace(-1, 1, len(nll))).sum().backward()
    return nll.detach(), gradients(model)


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("kind", [*PACKED, "jamba"])
def test_a_shared_prompt_changes_neither_losses_nor_gradients(kind: str, tmp_path: Path) -> None:
    rows, examples = texts(), range(len(SIZES))
    model = load_model(save(kind, tmp_path)).train()
    padded = batching(model).way == "padded"
    sharing = pairs(rows, examples, 64)
    assert sum(pack.tokens for pack in sharing) == sum(row.length for row in rows) - 30 - 5 - 9 - 22 - 27
    got = weighted(model, sharing)
    apart = weighted(model, pairs(rows, examples, 128, padded=padded, share=False))
    single = alone(AutoModelForCausalLM.from_pretrained(str(tmp_path), attn_implementation="eager").train(), rows)
    for wanted in (apart, single):
        for one, other in zip(got, wanted, strict=True):
            assert off(one, other) < 1e-6


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_low_precision_rounds_no_more_with_a_shared_prompt(kind: str, tmp_path: Path) -> None:
    rows, examples = texts(), range(len(SIZES))
    model = load_model(save(kind, tmp_path)).train()
    exact = weighted(model, pairs(rows, examples, 128, share=False))
    with precise(model, "bf16"):
        sharing, apart = (weighted(model, pairs(rows, examples, 128, share=share)) for share in (True, False))
    for one, other, wanted in zip(sharing, apart, exact, strict=True):
        assert off(one, wanted) < max(1.3 * off(other, wanted), 2e-2)


def test_pairs_of_which_only_one_is_beyond_the_turn_of_longrope_are_computed_apart(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 8, "long_factor": [3.0] * 8}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 40, **factors}
    folder = save("phi3", tmp_path, rope_parameters=rope, original_max_position_embeddings=40)
    model = load_model(folder).train()
    assert batching(model).turn == 40
    rows, examples = texts(), range(len(SIZES))
    assert [row.length > 40 for row in rows[:2]] == [False, True]
    got = weighted(model, pairs(rows, examples, 256))
    single = alone(AutoModelForCausalLM.from_pretrained(str(folder), attn_implementation="eager").train(), rows)
    for one, other in zip(got, single, strict=True):
        assert off(one, other) < 1e-6


def test_what_is_shared_can_be_written_out() -> None:
    rows = texts()
    (sharing,) = pairs(rows, [1, 4, 0], 256)
    (apart,) = pairs(rows, [1, 4, 0], 256, share=False)
    whole = unshared(sharing)
    order = [int(member) for member in sharing.members]
    assert whole.input_ids.tolist() == [int(i) for row in order for i in rows[row].input_ids]
    assert whole.targets.tolist() == sharing.targets.tolist()
    assert whole.input_ids[whole.predict_at + 1].tolist() == whole.targets.tolist()
    assert unshared(apart) is apart


def test_pairs_for_a_model_that_pads_share_nothing() -> None:
    packs = pairs(texts(), range(len(SIZES)), 128, padded=True)
    assert not any(pack.shared.any() for pack in packs)
    assert all(pack.documents * pack.width <= 128 for pack in packs)
