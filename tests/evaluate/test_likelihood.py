"""Likelihood per row is what plain Transformers gives each row alone."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from transformers import AutoModelForCausalLM

from luthier.core.example import Source
from luthier.evaluate.likelihood import likelihood, row_nll
from luthier.evaluate.windows import windows
from luthier.model.adapters import lora
from luthier.model.load import load_model
from luthier.recipe.evaluate import Window
from luthier.tokens import pack as packing
from luthier.tokens.render import Encoded
from luthier.tokens.store import Shard, Stored, shard_name


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Any:
    return load_model(tiny_llama)


def plain(path: Path, encoded: list[Encoded]) -> list[float]:
    """Return summed loss per row from a padded batch in plain Transformers."""
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa").eval()
    longest = max(row.length for row in encoded)
    ids = torch.zeros(len(encoded), longest, dtype=torch.long)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for place, row in enumerate(encoded):
        ids[place, : row.length] = torch.from_numpy(row.input_ids.astype(np.int64))
        mask[place, : row.length] = 1
        labels[place, : row.length][torch.from_numpy(row.learned)] = ids[place, : row.length][
            torch.from_numpy(row.learned)
        ]
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=-100)
    return loss.sum(1).tolist()


def row(ids: list[int], learned: list[bool]) -> Encoded:
    return Encoded(np.array(ids, dtype=np.int32), np.array(learned), Source("made", 1))


@pytest.mark.parametrize("capacity", [64, 2048])
def test_each_row_weighs_what_plain_transformers_says(
    model: Any, tiny_llama: Path, encoded: list[Encoded], capacity: int
) -> None:
    capacity = max(capacity, max(one.length for one in encoded))
    measured = row_nll(model, encoded, capacity=capacity)
    assert measured.nll_R == pytest.approx(plain(tiny_llama, encoded), rel=1e-5)
    assert measured.tokens_R.tolist() == [int(one.learned[1:].sum()) for one in encoded]
    assert measured.nll_R.dtype == np.float64
    assert measured.tokens_R.dtype == np.int64


def test_rows_without_a_learned_token_count_nothing(model: Any) -> None:
    rows = [row([5, 6], [True, False]), row([5, 6, 7], [False, True, True]), row([5], [True])]
    measured = row_nll(model, rows, capacity=3)
    assert measured.tokens_R.tolist() == [0, 2, 0]
    assert measured.nll_R[[0, 2]].tolist() == [0.0, 0.0]
    assert measured.nll_R[1] > 0
    assert row_nll(model, [], capacity=3).nll_R.shape == (0,)


def test_a_row_longer_than_a_pack_is_an_error(model: Any) -> None:
    with pytest.raises(ValueError, match="4 tokens, a pack holds 3"):
        row_nll(model, [row([5, 6, 7, 8], [False, True, True, True])], capacity=3)


def test_with_the_adapter_off_it_is_the_base_exactly(
    model: Any, tiny_llama: Path, random_adapter: Path, encoded: list[Encoded]
) -> None:
    base = row_nll(model, encoded, capacity=512).nll_R
    tuned = lora.load(load_model(tiny_llama), random_adapter)
    with tuned.disable_adapter():
        off = row_nll(tuned, encoded, capacity=512).nll_R
    on = row_nll(tuned, encoded, capacity=512).nll_R
    assert np.array_equal(off, base)
    assert (on != base).all()


def test_bf16_is_near(model: Any, encoded: list[Encoded]) -> None:
    exact = row_nll(model, encoded, capacity=512, precision="fp32").nll_R
    rounded = row_nll(model, encoded, capacity=512, precision="bf16").nll_R
    assert rounded == pytest.approx(exact, rel=2e-2)
    assert not np.array_equal(rounded, exact)


def test_a_training_goes_on_after_a_measurement(tiny_llama: Path, encoded: list[Encoded]) -> None:
    from luthier.model.forward import supervised_nll
    from luthier.tokens.pack import packs

    model = load_model(tiny_llama).train()
    row_nll(model, encoded, capacity=512)
    assert model.training
    loss = supervised_nll(model, packs(encoded, [0, 1], 512)[0]).sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_progress_counts_rows(model: Any, encoded: list[Encoded]) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.told: list[tuple[Any, ...]] = []

        def start(self, stage: str, total: int, unit: str) -> None:
            self.told.append((stage, total, unit))

        def update(self, done: int, note: str = "") -> None:
            self.told.append((done,))

        def end(self, note: str = "") -> None:
            self.told.append(("end",))

    watcher = Watcher()
    row_nll(model, encoded, capacity=512, stage="measure base", progress=watcher)
    assert watcher.told[0] == ("measure base", 24, "row")
    assert watcher.told[-2:] == [(24,), ("end",)]


def test_memory_does_not_grow_with_the_rows(model: Any) -> None:
    random = np.random.default_rng(0)

    def peak(count: int) -> int:
        rows = [row(random.integers(3, 250, 200).tolist(), [False] * 100 + [True] * 100) for _ in range(count)]
        tracemalloc.start()
        row_nll(model, rows, capacity=1024)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    assert peak(400) < peak(20) + 300_000  # 400 rows are 80,000 tokens, 2 MB as packs


def test_stored_rows_and_windows_measure_the_same(
    model: Any, encoded: list[Encoded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlearned = row([5, 6], [True, False])
    Shard(rows=[*encoded[:9], unlearned]).write(tmp_path / shard_name(0), "key")
    Shard(rows=encoded[9:]).write(tmp_path / shard_name(1), "key")
    wanted = row_nll(model, [*encoded[:9], unlearned, *encoded[9:]], capacity=512)
    stored = row_nll(model, Stored(tmp_path, 2), capacity=512)
    assert np.array_equal(stored.nll_R, wanted.nll_R)
    assert np.array_equal(stored.tokens_R, wanted.tokens_R)
    monkeypatch.setattr(packing, "WINDOW", 5)
    windows = row_nll(model, Stored(tmp_path, 2), capacity=512)
    assert windows.nll_R == pytest.approx(wanted.nll_R, rel=1e-5)


def test_all_tokens_and_learned_ones_come_from_the_same_passes(
    model: Any, tiny_llama: Path, encoded: list[Encoded]
) -> None:
    found = likelihood(model, encoded, np.zeros(len(encoded), dtype=np.int64), capacity=512)
    assert found.every is not None
    whole = [row(one.input_ids.tolist(), [True] * one.length) for one in encoded]
    assert found.learned.nll_R == pytest.approx(plain(tiny_llama, encoded), rel=1e-5)
    assert found.every.nll_R == pytest.approx(plain(tiny_llama, whole), rel=1e-5)
    assert found.every.tokens_R.tolist() == [one.length - 1 for one in encoded]


def strided(path: Path, text: Encoded, window: int, stride: int) -> tuple[float, float]:
    """Return the loss of all and of learned tokens as Transformers' documentation of perplexity has it."""
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa").eval()
    ids = torch.from_numpy(text.input_ids.astype(np.int64))[None]
    every = learned = 0.0
    reached = 0
    for begin in range(0, text.length, stride):
        end = min(begin + window, text.length)
        with torch.no_grad():
            logits = model(input_ids=ids[:, begin:end], use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, ids[0, begin + 1 : end], reduction="none")
        counted = torch.arange(begin + 1, end) >= reached
        every += float(loss[counted].sum())
        learned += float(loss[counted & torch.from_numpy(text.learned[begin + 1 : end])].sum())
        reached = end
        if end == text.length:
            break
    return every, learned


@pytest.mark.parametrize(("tokens", "stride"), [(64, 32), (100, 99), (50, 7), (400, 200)])
def test_a_window_slides_as_the_documentation_of_transformers_has_it(
    model: Any, tiny_llama: Path, tokens: int, stride: int
) -> None:
    random = np.random.default_rng(tokens)
    text = row(random.integers(3, 250, 301).tolist(), (random.random(301) < 0.4).tolist())
    parts = [*windows(text, Window(tokens=tokens, stride=stride))]
    fresh = np.array([first for _, first in parts])
    found = likelihood(model, [part for part, _ in parts], fresh, capacity=512)
    assert found.every is not None
    wanted = strided(tiny_llama, text, tokens, stride)
    assert (found.every.nll_R.sum(), found.learned.nll_R.sum()) == pytest.approx(wanted, rel=1e-5)
    assert found.every.tokens_R.sum() == 300


@given(some.integers(1, 90), some.integers(2, 40), some.data())
def test_each_token_is_measured_in_one_window_and_something_precedes_it(length: int, tokens: int, data: Any) -> None:
    stride = data.draw(some.integers(1, tokens - 1))
    text = row([*range(length)], [True] * length)
    parts = [*windows(text, Window(tokens=tokens, stride=stride))]
    counted = [part.input_ids[max(1, fresh) :].tolist() for part, fresh in parts]
    assert [token for part in counted for token in part] == [*range(1, length)]
    assert [part.input_ids[1:][part.learned[1:]].tolist() for part, _ in parts] == counted
    assert max(part.length for part, _ in parts) <= tokens
