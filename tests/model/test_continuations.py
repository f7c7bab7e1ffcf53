"""Continuations scored together have the likelihoods of each alone, and no beginning is computed twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import save
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from luthier.model import continuations as module
from luthier.model.adapters import lora, virtual
from luthier.model.continuations import Asked, Walk, continuations, whole_because
from luthier.model.generate import attending
from luthier.model.kernels import memory
from luthier.model.load import load_model
from luthier.recipe.methods import Lora, Prompt

Pair = tuple[list[int], list[int]]
LONGEST = 120


def items() -> list[Pair]:
    """Return a preamble before items, each with several endings: of one token, equal ones, one that begins another."""
    random = np.random.default_rng(0)
    preamble = random.integers(3, 290, 40).tolist()
    pairs: list[Pair] = []
    for _ in range(5):
        context = preamble + random.integers(3, 290, int(random.integers(1, 30))).tolist()
        pairs += [(context, random.integers(3, 290, int(length)).tolist()) for length in random.integers(1, 9, 4)]
        pairs += [(context, [5]), (context, [6]), (context, [6, 7]), (context, [6, 7])]
    # One token before many, and a context that is cut.
    return [*pairs, ([3], random.integers(3, 290, 100).tolist()), (random.integers(3, 290, 200).tolist(), [4, 5])]


def alone(model: Any, pairs: list[Pair]) -> tuple[np.ndarray, list[bool]]:
    """Return what plain Transformers says, a text at a time."""
    sums, greedy = [], []
    for context, more in pairs:
        ids = torch.tensor([*context, *more])[-LONGEST - 1 :]
        with torch.no_grad():
            logits = model(ids[None, :-1], use_cache=False).logits[0, -len(more) :].float()
        target = ids[-len(more) :]
        sums.append(float(logits.log_softmax(dim=-1).gather(1, target[:, None]).sum()))
        greedy.append(bool((logits.argmax(dim=-1) == target).all()))
    return np.array(sums), greedy


def with_likely_ones(model: Any, pairs: list[Pair]) -> list[Pair]:
    """Return pairs and some more, whose continuations greedy decoding gives."""
    more = []
    for context, _ in pairs[:3]:
        with torch.no_grad():
            more.append((context, [int(model(torch.tensor([context]), use_cache=False).logits[0, -1].argmax())]))
    return pairs + more


@pytest.mark.parametrize("kind", ["llama", "gemma2", "jamba"])
def test_likelihoods_and_greedy_flags_are_those_of_each_text_alone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(str(save(kind, tmp_path)), attn_implementation="eager").eval()
    pairs = with_likely_ones(plain, items())
    wanted, greedy = alone(plain, pairs)
    assert any(greedy)
    assert not all(greedy)
    model = load_model(tmp_path)
    assert bool(whole_because(model)) == (kind == "jamba")
    # Short passes and long ones; calls of attention for a document or two, and for many as on a GPU.
    for capacity, together in ((64, 8), (4096, 128), (4096, 2048)):
        monkeypatch.setitem(memory.TOGETHER, "cpu", together)
        got = continuations(model, pairs, capacity=capacity, longest=LONGEST)
        np.testing.assert_allclose(got.log_likelihood_R, wanted, atol=1e-4, rtol=0)
        assert got.greedy_R.tolist() == greedy


def test_every_beginning_is_computed_once_however_short_the_passes(tmp_path: Path) -> None:
    model, pairs = load_model(save("llama", tmp_path)), items()
    fed: list[int] = []
    model.register_forward_pre_hook(lambda _, __, inputs: fed.append(inputs["input_ids"].numel()), with_kwargs=True)
    texts = [tuple([*context, *more][-LONGEST - 1 : -1]) for context, more in pairs]
    different = len({text[: end + 1] for text in texts for end in range(len(text))})
    assert different < sum(map(len, texts)) / 2
    for capacity in (64, 192, 4096):
        fed.clear()
        continuations(model, pairs, capacity=capacity, longest=LONGEST)
        assert all(tokens <= capacity for tokens in fed)
        assert different <= sum(fed) < different + module.MULTIPLE


def test_few_logits_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = load_model(save("llama", tmp_path)), items()
    wanted = continuations(model, pairs, capacity=4096, longest=LONGEST).log_likelihood_R
    monkeypatch.setitem(module.LOGITS, "cpu", 300 * 10)
    rows: list[int] = []
    model.register_forward_hook(lambda _, __, out: rows.append(out.logits.shape[1]))
    got = continuations(model, pairs, capacity=4096, longest=LONGEST).log_likelihood_R
    assert max(rows) == 10
    np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=0)


def test_adapters_are_part_of_the_model(tmp_path: Path) -> None:
    base, pairs = load_model(save("llama", tmp_path)), items()
    before = continuations(base, pairs, capacity=256, longest=LONGEST).log_likelihood_R
    adapted = lora.attach(base, Lora(rank=4), base=str(tmp_path), seed=0)
    for weight in adapted.trainable.values():
        torch.nn.init.normal_(weight.data, std=0.2)
    got = continuations(adapted.model, pairs, capacity=256, longest=LONGEST).log_likelihood_R
    with attending(adapted.model, "eager"):
        wanted, _ = alone(adapted.model, pairs)
    np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=0)
    assert np.abs(got - before).max() > 0.1


def test_virtual_tokens_stand_before_every_text(tmp_path: Path) -> None:
    pairs = items()[:8]
    adapted = virtual.attach(load_model(save("llama", tmp_path)), Prompt(tokens=4), base=str(tmp_path), seed=0)
    assert "virtual tokens" in whole_because(adapted.model)
    together = continuations(adapted.model, pairs, capacity=400, longest=LONGEST).log_likelihood_R
    single = [continuations(adapted.model, [pair], capacity=400, longest=LONGEST).log_likelihood_R[0] for pair in pairs]
    np.testing.assert_allclose(together, single, atol=1e-4, rtol=0)


def test_texts_beyond_the_turn_of_longrope_share_nothing_with_shorter_ones(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 8, "long_factor": [3.0] * 8}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 60, **factors}
    folder = save("phi3", tmp_path, rope_parameters=rope, original_max_position_embeddings=60)
    pairs = items()
    assert {len(context) + len(more) - 1 > 60 for context, more in pairs} == {True, False}
    wanted, _ = alone(AutoModelForCausalLM.from_pretrained(str(folder), attn_implementation="eager").eval(), pairs)
    got = continuations(load_model(folder), pairs, capacity=256, longest=LONGEST)
    np.testing.assert_allclose(got.log_likelihood_R, wanted, atol=1e-4, rtol=0)


def test_nothing_to_score_is_refused_and_no_requests_are_none(tmp_path: Path) -> None:
    model = load_model(save("llama", tmp_path))
    assert continuations(model, [], capacity=64, longest=9).log_likelihood_R.shape == (0,)
    for wrong in (([], [3]), ([3], []), ([3], [4] * 10)):
        with pytest.raises(ValueError, match="9 are read"):
            continuations(model, [wrong], capacity=64, longest=9)


small = st.lists(st.integers(0, 2), min_size=1, max_size=6)


@settings(max_examples=60)
@given(st.lists(st.tuples(small, small), min_size=1, max_size=8), st.integers(1, 9), st.integers(1, 4))
def test_the_walk_holds_each_beginning_once_and_finds_every_place(pairs: list[Pair], capacity: int, most: int) -> None:
    asked = Asked(pairs, 12)
    walk = Walk(asked)
    texts = {tuple([*context, *more][:-1]) for context, more in pairs}
    assert len(walk.ids_N) == len({text[: end + 1] for text in texts for end in range(len(text))})
    assert len(asked.target_S) == sum(len(more) for _, more in pairs)
    for place, request, target in zip(walk.place_S, asked.request_S, asked.target_S, strict=True):
        context, more = pairs[request]
        position = int(walk.position_N[place])
        whole = [*context, *more]
        assert position >= len(context) - 1
        assert whole[position + 1] == target
        assert whole[position] == walk.ids_N[place]
    passes = [*walk.passes(capacity, most)]
    assert [start for start, _ in passes] == [0, *[end for _, end in passes[:-1]]]
    assert passes[-1][1] == len(walk.ids_N)
    for start, end in passes:
        assert end - start <= capacity
        assert len({place for place in walk.place_S.tolist() if start <= place < end}) <= most
