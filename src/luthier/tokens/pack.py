"""Documents into packs: best fit, in a pack no document sees another.

Shapes: D documents in a pack, T tokens in it, S supervised positions.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.tokens.render import Encoded


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return bins of document indices, none fuller than `capacity` tokens, by best-fit decreasing.

    Longest first, each into the fullest bin that still has room (Johnson 1973: at most 11/9 of the optimum).
    Ties go by index, so the result depends on the arguments alone.

    Raises:
        ValueError: A document is longer than the capacity.
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, bin), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > capacity:
            message = f"document {index} has {length} tokens, a pack holds {capacity}"
            raise ValueError(message)
        place = bisect_left(room, (length, -1))
        if place == len(room):
            left, target = capacity, len(bins)
            bins.append([])
        else:
            left, target = room.pop(place)
        bins[target].append(index)
        insort(room, (left - length, target))
    return bins


MULTIPLE = 64
"""Packs are filled up to a multiple of this many tokens. With every length a new shape, oneDNN compiles and keeps
kernels for each: 15 MB a step for a 5M-parameter model, without end (docs/log.md)."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Whole documents one after another, as one forward pass takes them, and fewer than 64 tokens of filler.

    The filler is a document of its own at the end: nothing sees it, nothing of it is learned.
    """

    input_ids: NDArray[np.int64]
    """Shape (T,)."""
    position_ids: NDArray[np.int64]
    """Shape (T,): restarts at 0 with each document."""
    bounds: NDArray[np.int32]
    """Shape (D + 1,): where documents begin, and the end of the last."""
    predict_at: NDArray[np.int64]
    """Shape (S,): positions whose next token is learned."""
    targets: NDArray[np.int64]
    """Shape (S,): those next tokens."""
    rows: NDArray[np.int64]
    """Shape (S,): which example each supervised position belongs to, as an index into what was packed."""
    tokens: int
    """T without the filler."""

    @property
    def documents(self) -> int:
        """Return D without the filler."""
        return int(np.searchsorted(self.bounds, self.tokens))


def pack(encoded: Sequence[Encoded], members: Sequence[int]) -> Pack:
    """Return the documents `members` of `encoded` as one pack, in that order."""
    documents = [encoded[i] for i in members]
    lengths = np.array([document.length for document in documents], dtype=np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    learned = np.concatenate([document.learned for document in documents])
    learned[bounds[:-1]] = False  # nothing precedes a first token: it can't be predicted
    ids = np.concatenate([document.input_ids for document in documents]).astype(np.int64)
    targets = np.flatnonzero(learned)
    tokens = len(ids)
    filler = -tokens % MULTIPLE
    parts = [*lengths, filler] if filler else [*lengths]
    return Pack(
        input_ids=np.concatenate([ids, np.zeros(filler, dtype=np.int64)]),
        position_ids=np.concatenate([np.arange(length) for length in parts]),
        bounds=np.concatenate([[0], np.cumsum(parts)]).astype(np.int32),
        predict_at=targets - 1,
        targets=ids[targets],
        rows=np.repeat(np.asarray(members, dtype=np.int64), lengths)[targets],
        tokens=tokens,
    )


def packs(encoded: Sequence[Encoded], members: Sequence[int], capacity: int) -> list[Pack]:
    """Return the documents `members` of `encoded` in packs of at most `capacity` tokens."""
    bins = best_fit([encoded[i].length for i in members], capacity)
    return [pack(encoded, [members[place] for place in places]) for places in bins]
