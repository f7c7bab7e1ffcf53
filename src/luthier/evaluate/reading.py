"""How a model reads: its tokenizer and chat template."""

import math
from collections.abc import Mapping
from pathlib import Path

from luthier.model.companions import json_object
from luthier.model.load import load_tokenizer
from luthier.model.new_tokens import ids_of
from luthier.recipe.methods import Rows
from luthier.tokens.render import Renderer

RENAMED = 0.01
"""Share of the tokens that may have other names in another model: reserved ones often get some."""


class Reading:
    """A tokenizer with its chat template, by which models with the same tokens read the same rows.

    Args:
        home: The folder they are in.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.stops: set[int] = set()
        """Ids that end an answer of any of these models, beside the tokenizer's own."""
        self.tokenizer = load_tokenizer(home)
        self._renderers: dict[tuple[Rows, str], Renderer] = {}

    def renderer(self, rows: Rows = "conversation", learn: str = "assistant") -> Renderer:
        """Return what makes tokens of some kind of rows; made once, since it runs the template in a process."""
        if (rows, learn) not in self._renderers:
            made = Renderer(self.tokenizer, sorted(self.stops), learn=learn, rows=rows, place=str(self.home))
            self._renderers[rows, learn] = made
        return self._renderers[rows, learn]

    def fits(self, other: Path, weights: Path) -> bool:
        """Return whether a model has the same tokens, but for `RENAMED` of them.

        Args:
            other: The folder its tokenizer is in.
            weights: The folder its embeddings are in: of a token that follows them it can read nothing. Those that
                training added are no such: a base is given rows for them.
        """
        if other == self.home or not (other / "tokenizer_config.json").is_file():
            return True
        known = {number: token for token, number in load_tokenizer(other).get_vocab().items()}
        added, rows = {*ids_of(self.home)}, _rows(weights)
        for token, number in self.tokenizer.get_vocab().items():
            theirs = known.get(number)
            if theirs != token and (theirs is not None if number in added else number >= rows):
                return False
        return self.has(known)

    def has(self, known: Mapping[int, str]) -> bool:
        """Return whether tokens by their numbers are its own, but for `RENAMED` of them."""
        tokens = self.tokenizer.get_vocab()
        others = sum(1 for token, number in tokens.items() if known.get(number, token) != token)
        return others <= RENAMED * len(tokens)


def _rows(weights: Path) -> float:
    """Return how many tokens a model has embeddings for, as its config says; endless where it doesn't."""
    config = json_object(weights / "config.json")
    rows = {**config, **(config.get("text_config") or {})}.get("vocab_size")
    return rows if isinstance(rows, int) else math.inf
