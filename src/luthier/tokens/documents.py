"""Plain text in pieces: a long one is cut where its ids stay what they are whole.

A tokenizer takes memory for every character it is given at once, a hundred bytes and more, and some take time by the
square of a text's length. So a long text is cut, only at the beginning of a word, and only where the tokenizer is seen
to begin a token whether or not it reads on: the ids of what stands around a cut are compared with those of its two
halves. Byte-pair merges that cross no cut go on as in the whole text.
"""

from collections.abc import Callable, Iterator, Sequence
from re import compile as regex

Ids = Callable[[str], list[int]]

PIECE = 16_384
"""Characters of a piece, at least; a word more. Below what the fast encoder takes (`luthier.tokens.bpe.LONGEST`)."""

AROUND = 256
"""Characters on either side of a cut that are looked at."""

TRIES = 32
"""Cuts tried before a piece grows."""

PLACES = regex(r"(?<=\S\n)(?=\w)|(?<=\w)(?= \w)|(?<=[。！？，；：])(?=\w)")


class Pieces:
    """How one tokenizer's texts are cut.

    Args:
        ids: Text to ids, without a start token.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        line = ids("\n")
        self.lead = "" if ids("\na")[len(line) :] == ids("a") else "\n"
        """What is put before a piece that doesn't begin its text, for tokenizers that begin a text with a space."""
        self.opening = ids(self.lead) if self.lead else []
        """Ids of the lead, to be taken away again."""

    def led(self, ids: Sequence[int]) -> bool:
        """Return whether ids begin with those of the lead, and not with a token that reaches further."""
        return list(ids[: len(self.opening)]) == self.opening

    def of(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the pieces of a text, and at which character each begins. The ids of all are those of the text."""
        start, looked = 0, PIECE
        while len(text) - looked > AROUND:
            cut = self._cut(text, looked)
            if cut is None:
                looked += PIECE
                continue
            yield start, text[start:cut]
            start, looked = cut, cut + PIECE
        yield start, text[start:]

    def _cut(self, text: str, at: int) -> int | None:
        for tries, place in enumerate(PLACES.finditer(text, at, at + PIECE)):
            if self._safe(text, place.start()):
                return place.start()
            if tries == TRIES:
                break
        return None

    def _safe(self, text: str, at: int) -> bool:
        before, behind = text[max(0, at - AROUND) : at], text[at : at + AROUND]
        after = self._ids(self.lead + behind)
        return self.led(after) and self._ids(before + behind) == self._ids(before) + after[len(self.opening) :]
