"""How the next token is chosen: the most likely one, or one drawn; and the texts at which an answer ends.

Shapes: B prompts, N tokens of the longest answer, V vocabulary.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Choose = Callable[[torch.Tensor, Sequence[int], int], torch.Tensor]
"""Takes the logits of prompts that go on together, shape (B, V), which of the batch these are, and how many tokens
their answers have; returns the next token of each, shape (B,)."""


def greedy(logits_BV: torch.Tensor, _rows: Sequence[int], _position: int) -> torch.Tensor:
    """Return the most likely tokens."""
    return logits_BV.argmax(dim=-1)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Tokens are drawn by their probability."""

    temperature: float = 1.0
    """Logits are divided by it. Above 0: the limit is greedy."""
    top_p: float = 1.0
    """Only the fewest tokens that together have this much of the probability (Holtzman et al., arXiv:1904.09751)."""
    seed: int = 0

    def keys(self, prompts: Iterable[Sequence[int]]) -> Iterator[list[int]]:
        """Yield what the random numbers of each prompt come from: the seed, its tokens, and its how manyth it is.

        So an answer depends on no other prompt, and the same prompt given n times gets n answers.
        """
        seen: Counter[bytes] = Counter()
        for prompt in prompts:
            own = hashlib.blake2b(np.asarray(prompt, dtype="<i8").tobytes(), digest_size=8).digest()
            yield [self.seed, int.from_bytes(own, "little"), seen[own]]
            seen[own] += 1

    def chooser(self, keys: Sequence[list[int]], longest: int) -> Choose:
        """Return how the answers of a batch are chosen, by the keys of its prompts and the longest answer N."""
        generators = (np.random.Generator(np.random.Philox(np.random.SeedSequence(key))) for key in keys)
        drawn_BN = np.stack([generator.random(longest) for generator in generators])

        def choose(logits_BV: torch.Tensor, rows: Sequence[int], position: int) -> torch.Tensor:
            shares_BV = kept(logits_BV.double() / self.temperature, self.top_p)
            # In the vocabulary's order: sorted, a tie that rounding breaks would move every token behind it.
            reached_BV = shares_BV.cumsum(dim=-1)
            drawn_B = torch.from_numpy(drawn_BN[rows, position]).to(reached_BV.device)
            return torch.searchsorted(reached_BV, (drawn_B * reached_BV[:, -1])[:, None], right=True)[:, 0]

        return choose


def kept(logits_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Return the probabilities of tokens, 0 for those outside the nucleus; they add up to at least `top_p`."""
    shares_BV = logits_BV.softmax(dim=-1)
    if top_p >= 1:
        return shares_BV
    sorted_BV, order_BV = shares_BV.sort(dim=-1, descending=True, stable=True)
    out_BV = sorted_BV.cumsum(dim=-1) - sorted_BV >= top_p
    return shares_BV.masked_fill(out_BV.scatter(-1, order_BV, out_BV), 0.0)


class StopStrings:
    """Texts at which an answer ends, wherever tokens begin.

    Args:
        tokenizer: Makes text of tokens.
        strings: The texts; none is empty.
    """

    def __init__(self, tokenizer: Any, strings: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        self.strings = tuple(strings)
        # A token has at least a byte of what it ends; the first ones of a tail may read otherwise than in the text.
        self.tail = max((len(string.encode()) for string in strings), default=0) + 8

    def __call__(self, answer: Sequence[int]) -> bool:
        """Return whether one of the texts stands in the end of an answer."""
        text = self.tokenizer.decode(answer[-self.tail :], skip_special_tokens=True)
        return any(string in text for string in self.strings)

    def before(self, text: str) -> str:
        """Return a text up to the first of the texts."""
        return text[: min((place for string in self.strings if (place := text.find(string)) >= 0), default=None)]
