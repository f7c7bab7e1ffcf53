"""A head's scores are Transformers' own, whatever shares the pass."""

import json
from pathlib import Path
from typing import Any

import architectures
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from luthier.core.errors import ModelError
from luthier.core.example import Source
from luthier.model.forward import batching
from luthier.model.heads import Head, padding, scores
from luthier.model.load import load_scorer, load_tokenizer
from luthier.tokens.pack import packs, pairs
from luthier.tokens.render import Encoded

THREE = Head(("angry", "calm", "merry"), pad=0, seed=5)


def rows(lengths: list[int], *, prompt: int = 0) -> list[Encoded]:
    """Return random texts; the second of each two begins with `prompt` tokens of the first."""
    generator = np.random.default_rng(0)
    made: list[Encoded] = []
    for place, length in enumerate(lengths):
        ids = generator.integers(3, 299, size=length).astype(np.int32)
        if place % 2:
            ids[:prompt] = made[-1].input_ids[:prompt]
        learned = np.arange(length) == length - 1
        made.append(Encoded(ids, learned, Source("texts", place + 1)))
    return made


def theirs(folder: Path, head: Head, texts: list[Encoded], weight: torch.Tensor) -> torch.Tensor:
    """Return what Transformers computes, a row at a time, with the head's weights."""
    config = AutoConfig.from_pretrained(folder, num_labels=head.scores, pad_token_id=head.pad)
    model = AutoModelForSequenceClassification.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    with torch.no_grad():
        model.score.weight.copy_(weight)
        found = [model(input_ids=torch.from_numpy(text.input_ids).long()[None]).logits[0] for text in texts]
    return torch.stack(found)


def ours(model: Any, made: list[Any], count: int) -> torch.Tensor:
    found = torch.full((count, model.config.num_labels), torch.nan)
    with torch.no_grad():
        for pack in made:
            found[torch.from_numpy(pack.members)] = scores(model, pack)
    return found


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "mixtral", "bloom", "gptj", "stablelm"])
def test_scores_of_packed_and_padded_models_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    folder = architectures.save(kind, tmp_path / kind)
    texts = rows([9, 30, 17, 2, 64, 33, 12, 5])
    model = load_scorer(folder, head=THREE)
    padded = batching(model).way == "padded"
    assert padded == (kind in architectures.PADDED)
    expected = theirs(folder, THREE, texts, model.score.weight)
    found = ours(model, packs(texts, range(8), 128, padded=padded), 8)
    assert (found - expected).abs().max() <= 1e-5
    assert expected.std() > 1e-2


@pytest.mark.parametrize("kind", ["llama", "bloom"])
def test_a_pair_that_shares_its_prompt_scores_as_two_texts(kind: str, tmp_path: Path) -> None:
    folder = architectures.save(kind, tmp_path / kind)
    texts = rows([20, 33, 40, 18], prompt=15)
    one = Head((), pad=0, seed=1)
    model = load_scorer(folder, head=one)
    padded = batching(model).way == "padded"
    made = pairs(texts, range(2), 256, padded=padded)
    assert bool(made[0].shared.any()) != padded
    found = ours(model, made, 4)
    assert found.shape == (4, 1)
    assert (found - theirs(folder, one, texts, model.score.weight)).abs().max() <= 1e-5


def test_a_new_head_is_a_function_of_its_seed(tiny_llama: Path) -> None:
    torch.manual_seed(1)
    one = load_scorer(tiny_llama, head=THREE).score.weight
    torch.manual_seed(2)
    assert torch.equal(load_scorer(tiny_llama, head=THREE).score.weight, one)
    another = Head(THREE.classes, pad=0, seed=6)
    assert not torch.equal(load_scorer(tiny_llama, head=another).score.weight, one)
    assert one.std().item() == pytest.approx(0.02, rel=0.3)


def test_a_model_that_has_a_head_keeps_it_and_its_classes(tiny_llama: Path, tmp_path: Path) -> None:
    model = load_scorer(tiny_llama, head=THREE)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["id2label"] == {"0": "angry", "1": "calm", "2": "merry"}
    again = load_scorer(tmp_path, head=Head(THREE.classes, pad=0, seed=99))
    assert torch.equal(again.score.weight, model.score.weight)
    assert torch.equal(load_scorer(tmp_path).score.weight, model.score.weight)
    for head in (Head(("calm", "angry", "merry"), pad=0, seed=0), Head((), pad=0, seed=0)):
        with pytest.raises(ModelError, match="head of its own, for `angry`, `calm`, `merry`"):
            load_scorer(tmp_path, head=head)


def test_a_model_without_a_head_is_no_scorer(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="no head"):
        load_scorer(tiny_llama)


def test_an_architecture_that_has_no_such_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_scorer(architectures.save("mamba", tmp_path / "mamba"), head=THREE)


def test_padding_is_a_token_that_no_text_ends_in(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    assert padding(tokenizer, [2, 7]) == tokenizer.pad_token_id == 0
    assert padding(tokenizer, [0, 7]) == tokenizer.eos_token_id
    assert padding(tokenizer, [0, 2]) == 1


def test_others_who_fill_rows_up_read_the_same_scores(tiny_llama: Path, tmp_path: Path) -> None:
    texts = rows([9, 30, 17, 5])
    model = load_scorer(tiny_llama, head=Head(("no", "yes"), pad=1, seed=3))
    model.save_pretrained(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = torch.full((4, 30), 1)
    for row, text in zip(batch, texts, strict=True):
        row[: text.length] = torch.from_numpy(text.input_ids)
    with torch.no_grad():
        expected = plain(input_ids=batch, attention_mask=(batch != 1).long()).logits
    assert (ours(model, packs(texts, range(4), 128), 4) - expected).abs().max() <= 1e-5
