"""Tokens are drawn as Transformers' own warpers have it, and answers end at texts wherever tokens begin."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from luthier.model.load import load_tokenizer
from luthier.model.sampling import Sampling, StopStrings, kept


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_the_distribution_is_that_of_transformers(top_p: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 300, dtype=torch.float64) * 3
    scores = TemperatureLogitsWarper(0.7)(torch.zeros(6, 1), logits)
    scores = TopPLogitsWarper(top_p)(torch.zeros(6, 1), scores) if top_p < 1 else scores
    wanted = scores.softmax(dim=-1)
    shares = kept(logits / 0.7, top_p)
    assert torch.allclose(shares / shares.sum(dim=-1, keepdim=True), wanted, atol=1e-12)


def test_tokens_come_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -3.0]])
    sampling = Sampling(temperature=1.5, top_p=0.95, seed=1)
    keys = [*sampling.keys([[7]] * 4000)]
    tokens = sampling.chooser(keys, 1)(logits.expand(4000, -1), range(4000), 0)
    wanted = kept(logits.double() / 1.5, 0.95)[0]
    wanted = (wanted / wanted.sum()).numpy()
    counts = np.bincount(tokens.numpy(), minlength=4)
    assert counts[3] == 0  # outside the nucleus
    chi = ((counts[:3] - 4000 * wanted[:3]) ** 2 / (4000 * wanted[:3])).sum()
    assert chi < 13.8  # of two degrees of freedom, by chance once in a thousand


def test_an_answer_ends_at_a_text_that_several_tokens_spell(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    stop = StopStrings(tokenizer, ["\n\nQuestion:", "###"])
    ids = tokenizer.encode("The bridge is ready." * 5 + "\n\nQuestion: Is it?", add_special_tokens=False)
    ends = [count for count in range(1, len(ids) + 1) if stop(ids[:count])]
    assert "\n\nQuestion:" in tokenizer.decode(ids[: ends[0]])
    assert "\n\nQuestion:" not in tokenizer.decode(ids[: ends[0] - 1])
    assert stop.before("The bow.### Yes") == "The bow."
    assert stop.before("The bow.") == "The bow."
