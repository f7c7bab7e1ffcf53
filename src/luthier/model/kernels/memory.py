"""What documents of a pass see of each other and of earlier passes, where they are branches of one trie.

Documents follow one another depth first, each with the number of first tokens it shares with the one before. Some that
follow one another attend in one call, with a mask: a call for each would cost more than its arithmetic.

Shapes: B batch (always 1), G key-value heads, T tokens, D head width; Q tokens of a group, P that stand before it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

Path = list[tuple[int, int]]
"""Stretches of tokens, each by where it begins and ends, that read one after another are a document."""

TOGETHER = {"cpu": 128, "cuda": 2048}
"""Tokens of a group at most, but for one long document. A processor computes what the mask throws away; a GPU waits for
the next call."""


def first_of(path: Path, count: int) -> Path:
    """Return the way along the first `count` tokens of a path."""
    found: Path = []
    for start, end in path:
        if count <= 0:
            break
        found.append((start, min(end, start + count)))
        count -= end - start
    return found


def onward(path: Path, start: int, end: int) -> Path:
    """Return a path and a further stretch."""
    if path and path[-1][1] == start:
        return [*path[:-1], (path[-1][0], end)]
    return [*path, (start, end)]


def along(path: Path, tensor: torch.Tensor) -> torch.Tensor:
    """Return the tokens of a path, for `tensor` of shape (1, G, T, D)."""
    pieces = [tensor[:, :, start:end] for start, end in path]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


class Group(NamedTuple):
    """Documents whose tokens attend in one call."""

    start: int
    end: int
    """Where the tokens stand in the pass."""
    path: Path
    """Where what they may look at stands among the keys: what is before the first document, and they themselves."""
    sees: torch.Tensor
    """Shape (Q, P + Q): True where a token may look."""
    place: torch.Tensor
    """Shape (P + Q,): the place of each in its document."""
    alone: bool
    """Whether it is one document with nothing before it, which needs no mask."""

    def within(self, window: int) -> torch.Tensor:
        """Return where a token may look that sees itself and `window - 1` before it: shape (Q, P + Q)."""
        own = self.place[self.start - self.end :]
        return self.sees & (own[:, None] - self.place < window)


class Memory:
    """Keys and values of a document of an earlier pass, as far as the first document of the next begins like it."""

    def __init__(self) -> None:
        self.kept = 0
        """How many first tokens of the last document of a pass are kept for the next: set before each pass."""
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._bounds: Sequence[int] = ()
        self._groups: list[Group] = []
        self._last: Path = []

    def before(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of a pass with those that were kept before them."""
        if layer not in self._layers:
            return key, value
        keys, values = self._layers[layer]
        return torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)

    def groups(self, bounds: Sequence[int], shared: Sequence[int], *, kept: int, device: torch.device) -> list[Group]:
        """Return the documents of a pass in groups; all its layers have the same.

        Args:
            bounds: As `packed_attention`'s; so is the next.
            shared: The first document shares what was kept.
            kept: How many keys stand before those of the pass.
            device: Where masks are to be.
        """
        if self._bounds is not bounds:
            self._bounds = bounds
            self._groups, self._last = _grouped(bounds, shared, kept, device)
        return self._groups

    def keep(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep what the next pass begins with: the first tokens of the last document."""
        kept = first_of(self._last, self.kept)
        if kept:
            # Copies: a slice would hold the keys of the whole pass.
            self._layers[layer] = along(kept, key).clone(), along(kept, value).clone()
        else:
            self._layers.pop(layer, None)


def _grouped(bounds: Sequence[int], shared: Sequence[int], kept: int, device: torch.device) -> tuple[list[Group], Path]:
    """Return the groups of a pass, and the path of its last document."""
    path: Path = [(0, kept)]
    members: list[list[tuple[int, int, Path]]] = []
    for (start, end), common in zip(pairwise(bounds), shared, strict=True):
        before = first_of(path, common)
        path = onward(before, kept + start, kept + end)
        joins = bool(members) and end - members[-1][0][0] <= TOGETHER[device.type]
        if not joins:
            members.append([])
        members[-1].append((start, end, before))
    return [_group(documents, kept, device) for documents in members], path


def _group(documents: Sequence[tuple[int, int, Path]], kept: int, device: torch.device) -> Group:
    """Return documents that follow one another, each with the path to its first token, as a group."""
    start, end, base = documents[0][0], documents[-1][1], documents[0][2]
    first = kept + start  # among the keys: what stands from here on is the group's own
    stem = _length(base)
    sees = torch.zeros(end - start, stem + end - start, dtype=torch.bool)
    place = torch.arange(stem + end - start)
    for begin, past, before in documents:
        rows = slice(begin - start, past - start)
        own = [(max(one, first), other) for one, other in before if other > first]
        common = _length(before)
        sees[rows, : common - _length(own)] = True
        for one, other in own:
            sees[rows, stem + one - first : stem + other - first] = True
        sees[rows, stem + begin - start : stem + past - start] = torch.ones(past - begin, past - begin).tril().bool()
        place[stem + begin - start : stem + past - start] = common + torch.arange(past - begin)
    alone = len(documents) == 1 and not stem
    return Group(start, end, onward(base, first, kept + end), sees.to(device), place.to(device), alone)


def _length(path: Path) -> int:
    return sum(end - start for start, end in path)
