"""Documents into packs: best fit, or like lengths together where the model pads. No document sees another.

Two texts that begin alike, the halves of a pair, may share what they have in common: it is computed once.

Shapes: D documents in a pack, T tokens in it, S supervised positions.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.tokens.render import Encoded
from luthier.tokens.store import Stored


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


def by_length(lengths: Sequence[int], capacity: int, *, multiple: int = 1) -> list[list[int]]:
    """Return batches of document indices, longest first, whose count times width is at most `capacity` tokens.

    For models that pad: documents of like lengths waste least. Ties go by index, so the result depends on the
    arguments alone.

    Args:
        lengths: Tokens of each document.
        capacity: Tokens of a batch, padding included.
        multiple: A batch is as wide as its longest document, rounded up to this; one alone may so pass the capacity.

    Raises:
        ValueError: A document is longer than the capacity.
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if lengths[index] > capacity:
            message = f"document {index} has {lengths[index]} tokens, a pack holds {capacity}"
            raise ValueError(message)
        if not batches or (len(batches[-1]) + 1) * width > capacity:
            batches.append([])
            width = _up(lengths[index], multiple)
        batches[-1].append(index)
    return batches


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


MULTIPLE = 64
"""Packs are filled up to a multiple of this many tokens. With every length a new shape, oneDNN compiles and keeps
kernels for each: 15 MB a step for a 5M-parameter model, without end (docs/log.md)."""

WIDTH = 16
"""Rows of a padded batch are a multiple of this many tokens wide, for the same reason; 64 would be mostly padding."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Whole documents one after another, as one forward pass takes them, and fewer than 64 tokens of filler.

    The filler is a document of its own at the end: nothing sees it, nothing of it is learned.
    """

    input_ids: NDArray[np.int64]
    """Shape (T,)."""
    position_ids: NDArray[np.int64]
    """Shape (T,): places in each document, from 0, or from where it goes on after what it shares."""
    bounds: NDArray[np.int32]
    """Shape (D + 1,): where documents begin, and the end of the last."""
    shared: NDArray[np.int32]
    """Shape (D,): how many first tokens of the document before also stand before this one, and are not repeated."""
    predict_at: NDArray[np.int64]
    """Shape (S,): positions whose next token is learned; of what is shared, in the document before."""
    targets: NDArray[np.int64]
    """Shape (S,): those next tokens."""
    rows: NDArray[np.int64]
    """Shape (S,): which row each supervised position belongs to, as an index into what was packed."""
    document: NDArray[np.int64]
    """Shape (S,): which document of the pack."""
    members: NDArray[np.int64]
    """Shape (D,): which row each document is, as an index into what was packed."""
    labels: NDArray[np.float64]
    """Shape (D,): the label of each; NaN where it has none."""
    tokens: int
    """T without the filler."""

    @property
    def documents(self) -> int:
        """Return D without the filler."""
        return len(self.members)

    @property
    def width(self) -> int:
        """Return how wide the documents stand side by side, for a model that pads."""
        return _up(int((np.diff(self.bounds)[: self.documents] + self.shared).max()), WIDTH)


def pack(encoded: Sequence[Encoded], members: Sequence[int], *, shared: Sequence[int] | None = None) -> Pack:
    """Return the documents `members` of `encoded` as one pack, in that order.

    Args:
        encoded: Rows, of which some are packed.
        members: Which, as indices.
        shared: How many tokens each has in common with the document before, which stand there alone; at least one
            token is its own. None for none.
    """
    documents = [encoded[i] for i in members]
    shared_D = np.zeros(len(documents), dtype=np.int64) if shared is None else np.asarray(shared, dtype=np.int64)
    lengths_D = np.array([document.length for document in documents], dtype=np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths_D - shared_D)])
    # Nothing precedes a first token: it can't be predicted.
    learned_D = [np.flatnonzero(document.learned[1:]) + 1 for document in documents]
    ids = np.concatenate([d.input_ids[common:] for d, common in zip(documents, shared_D, strict=True)]).astype(np.int64)
    document = np.repeat(np.arange(len(documents)), [len(learned) for learned in learned_D])
    before = np.concatenate(learned_D) - 1  # the place in its document, from which a token is predicted
    own = before >= shared_D[document]
    tokens = len(ids)
    filler = -tokens % MULTIPLE
    ends = [*bounds, tokens + filler] if filler else bounds
    places = [np.arange(*ends_of) for ends_of in zip(shared_D, lengths_D, strict=True)]
    return Pack(
        input_ids=np.concatenate([ids, np.zeros(filler, dtype=np.int64)]),
        position_ids=np.concatenate([*places, np.arange(filler)]),
        bounds=np.asarray(ends, dtype=np.int32),
        shared=shared_D.astype(np.int32),
        predict_at=bounds[document - ~own] + before - np.where(own, shared_D[document], 0),
        targets=np.concatenate([d.input_ids[at] for d, at in zip(documents, learned_D, strict=True)]).astype(np.int64),
        rows=np.asarray(members, dtype=np.int64)[document],
        document=document,
        members=np.asarray(members, dtype=np.int64),
        labels=np.array([document.label for document in documents]),
        tokens=tokens,
    )


def packs(encoded: Sequence[Encoded], members: Sequence[int], capacity: int, *, padded: bool = False) -> list[Pack]:
    """Return the documents `members` of `encoded` in packs of at most `capacity` tokens.

    Args:
        encoded: Rows, of which some are packed.
        members: Which, as indices.
        capacity: Tokens of a forward pass.
        padded: The model will lay the documents of a pack side by side: padding counts too.

    Raises:
        ValueError: A document is longer than the capacity.
    """
    lengths = [encoded[i].length for i in members]
    return [pack(encoded, [members[place] for place in places]) for places in _bins(lengths, capacity, padded=padded)]


def pairs(
    encoded: Sequence[Encoded], examples: Sequence[int], capacity: int, *, padded: bool = False, share: bool = True
) -> list[Pack]:
    """Return pairs of rows in packs of at most `capacity` tokens; a pair is never split.

    Pair i is the rows 2i and 2i + 1, the documents 2k and 2k + 1 of a pack. What both begin with is computed once: its
    second document holds the rest (prefix sharing, as in arXiv:2410.20305). That is the same attention, and the same
    numbers but for rounding.

    Args:
        encoded: Rows, two a pair.
        examples: Which pairs, as indices.
        capacity: Tokens of a forward pass.
        padded: As in `packs`; such models compute every row whole.
        share: Whether pairs share what they begin with.

    Raises:
        ValueError: A pair is longer than the capacity.
    """
    shared = [common(encoded[2 * i], encoded[2 * i + 1]) if share and not padded else 0 for i in examples]
    lengths = [(encoded[2 * i].length, encoded[2 * i + 1].length) for i in examples]
    if padded:
        bins = by_length([max(of) for of in lengths], capacity // 2, multiple=WIDTH)
    else:
        bins = best_fit([sum(of) - once for of, once in zip(lengths, shared, strict=True)], capacity)
    return [
        pack(
            encoded,
            [row for place in places for row in (2 * examples[place], 2 * examples[place] + 1)],
            shared=[once for place in places for once in (0, shared[place])],
        )
        for places in bins
    ]


def common(one: Encoded, other: Encoded) -> int:
    """Return how many tokens two rows begin with alike, fewer than either has: each keeps one of its own."""
    length = min(one.length, other.length) - 1
    differ = np.flatnonzero(one.input_ids[:length] != other.input_ids[:length])
    return int(differ[0]) if len(differ) else length


def _bins(lengths: Sequence[int], capacity: int, *, padded: bool) -> list[list[int]]:
    return by_length(lengths, capacity, multiple=WIDTH) if padded else best_fit(lengths, capacity)


WINDOW = 4096
"""Documents that `stream` puts into packs at a time: its packs are nearly as full as packs of all documents."""


def stream(
    encoded: Sequence[Encoded], members: Sequence[int], capacity: int, *, padded: bool = False
) -> Iterator[Pack]:
    """Yield the documents `members` of `encoded` in packs, one pack in memory at a time.

    As `packs`, whose packs they are where there are at most `WINDOW` documents; more are packed window by window.

    Raises:
        ValueError: A document is longer than the capacity.
    """
    lengths = lengths_of(encoded)
    for start in range(0, len(members), WINDOW):
        window = members[start : start + WINDOW]
        for places in _bins([int(lengths[i]) for i in window], capacity, padded=padded):
            yield pack(encoded, [window[place] for place in places])


def lengths_of(encoded: Sequence[Encoded]) -> NDArray[np.int64]:
    """Return the tokens of each row, shape (R,); stored rows tell them without being read."""
    if isinstance(encoded, Stored):
        return encoded.lengths
    return np.array([row.length for row in encoded], dtype=np.int64)
