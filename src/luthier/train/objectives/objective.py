"""What every objective is: rows to packs, and a pack to its share of the step's loss.

An optimizer step is cut into packs by memory, not by meaning. So an objective is told the totals of the whole step,
and the shares its `loss` returns add up to the same number however the step was cut, on however many machines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.tokens.pack import Pack
from luthier.tokens.render import Encoded


class Totals(NamedTuple):
    """Counts over all packs of one optimizer step."""

    items: int
    """Examples: of pairs, not their halves."""
    supervised: int
    """Learned tokens."""
    chosen: int = 0
    """How much of it people liked: of pairs, learned tokens of the better endings; of judged rows, the good ones."""
    seen: float = 0.0
    """What `look` saw in all packs."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one pack adds to a step."""

    loss: torch.Tensor
    """Scalar, float32, with its graph. The shares of a step add up to its loss."""
    figures: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What else is worth telling (margins, accuracies), as shares too: scalars without a graph."""


class Objective(Protocol):
    """What is learned. Made from its options: `locate(options)(options)`."""

    texts: int
    """Rows of the token store an example takes: 1, or 2 for pairs (the better one first)."""

    def collate(
        self, rows: Sequence[Encoded], members: Sequence[int], capacity: int, *, padded: bool = False
    ) -> list[Pack]:
        """Return the examples `members` of one optimizer step as packs of at most `capacity` tokens.

        Args:
            rows: Rows of the token store; example i is `rows[i * texts : (i + 1) * texts]`.
            members: Which examples.
            capacity: Tokens of a forward pass.
            padded: As in `tokens.pack.packs`.
        """

    def totals(self, packs: Sequence[Pack]) -> Totals:
        """Return what the losses of these packs are shares of."""

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return what a pack adds to the loss of its step."""


@runtime_checkable
class Refers(Objective, Protocol):
    """An objective whose loss compares with the model before training (`train.reference`)."""

    def referred(self, rows: Sequence[Encoded]) -> Mapping[str, Sequence[Encoded]]:
        """Return the texts whose log-probabilities it needs, by name; of as many examples as `rows` has."""

    def bind(self, rows: Sequence[Encoded], logp: Mapping[str, NDArray[np.float32]]) -> "Objective":
        """Return the objective for these rows, with what `referred` asked for: shape (R,) each, in nats."""


@runtime_checkable
class Looks(Protocol):
    """An objective whose loss needs to know something of all packs of a step before it can be taken of one."""

    def look(self, model: Any, pack: Pack) -> torch.Tensor:
        """Return what a pack adds to `Totals.seen`: a scalar, computed without gradient."""

    def doubts(self, rows: Sequence[Encoded]) -> Iterator[str]:
        """Tell what about these rows makes that number worth little, in words."""


@runtime_checkable
class Studies(Protocol):
    """An objective that needs to know something of all training rows before the first step."""

    def studied(self, labels: Sequence[float]) -> "Objective":
        """Return the objective that knows the labels of all training rows."""
