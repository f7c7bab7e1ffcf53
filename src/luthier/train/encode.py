"""Prepared rows to what the loop trains on, with an account of every row that can't be learned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from luthier.core.example import Example, Source
from luthier.core.progress import Progress
from luthier.tokens.render import Encoded, Refused, Renderer


@dataclass(frozen=True, slots=True)
class Encoding:
    """Rows ready to train on, and those that are not, each with its reason."""

    rows: tuple[Encoded, ...]
    left_out: tuple[tuple[Source, str], ...]
    without_stop: int
    """Rows whose last learned token is not a stop token: they would teach the model never to end."""

    @property
    def learned_tokens(self) -> int:
        """Return how many tokens of one pass are learned."""
        return sum(int(row.learned[1:].sum()) for row in self.rows)

    @property
    def tokens(self) -> int:
        """Return how many tokens one pass has."""
        return sum(row.length for row in self.rows)


def read_examples(path: Path) -> Iterator[Example]:
    """Yield the examples of a prepared file, one line at a time."""
    with path.open("rb") as handle:
        for line in handle:
            yield Example.from_dict(orjson.loads(line))


def encode(examples: Sequence[Example], renderer: Renderer, *, max_length: int, progress: Progress) -> Encoding:
    """Return every example as ids and learned flags, or the reason why it can't be.

    A row is left out when the template can't render it faithfully, when it is longer than `max_length` tokens
    (cutting would cut the answer), or when nothing in it is learned. Left out, never changed.
    """
    rows: list[Encoded] = []
    left_out: list[tuple[Source, str]] = []
    without_stop = 0
    progress.start("tokens", len(examples), "row")
    for done, example in enumerate(examples, start=1):
        encoded = renderer.encode(example)
        reason = _reason(encoded, max_length)
        if reason is not None:
            left_out.append((example.source, reason))
        elif isinstance(encoded, Encoded):
            rows.append(encoded)
            without_stop += not renderer.learns_to_stop(encoded)
        if done % 200 == 0 or done == len(examples):
            progress.update(done)
    progress.end()
    return Encoding(tuple(rows), tuple(left_out), without_stop)


def _reason(encoded: Encoded | Refused, max_length: int) -> str | None:
    if isinstance(encoded, Refused):
        return encoded.reason
    if encoded.length > max_length:
        return f"longer than {max_length} tokens"
    if not encoded.learned[1:].any():
        return "no token is learned"
    return None
