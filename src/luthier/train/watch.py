"""What can go wrong from outside or inside while training: signals, a loss that is no number, leaking packs."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.core.example import Source
from luthier.model.forward import supervised_logits
from luthier.model.generate import attending
from luthier.tokens.pack import pack
from luthier.tokens.render import Encoded


class StopRequest:
    """Listens for Ctrl-C and SIGTERM while it is open. The first asks, the second ends the process at once."""

    def __init__(self) -> None:
        self.signal: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


def leak(model: Any, *, vocabulary: int) -> float:
    """Return how much one document of a pack changes the logits of the next: 0.0 when they are isolated.

    Two short documents are packed; the first is exchanged; the largest change of the second's logits is returned.
    Run before every training, on the model itself: an architecture that leaks is found before it learns wrongly.
    """
    first, second = _probe(vocabulary)
    one = _last_document(model, [first, second])
    other = _last_document(model, [first[::-1].copy(), second])
    return float((one - other).abs().max())


def heeds(model: Any, *, vocabulary: int) -> bool:
    """Return whether the model's attention is ours at all: two documents told as one must give other logits.

    Some architectures compute attention by themselves whatever is registered; where documents end never reaches them.
    """
    first, second = _probe(vocabulary)
    nowhere = Source("probe", 0)
    apart = pack([Encoded(ids, np.ones(len(ids), dtype=np.bool_), nowhere) for ids in (first, second)], [0, 1])
    joined = replace(apart, bounds=np.delete(apart.bounds, 1))
    with torch.no_grad():
        return not torch.equal(supervised_logits(model, apart), supervised_logits(model, joined))


def distortion(model: Any, *, vocabulary: int) -> float:
    """Return how far packed logits are from the architecture's own attention, as a share of the largest logit.

    Finds layers whose attention is more than softmax over queries and keys (sinks, capped scores, linear biases),
    which packing would leave out in silence.

    Raises:
        ModelError: The architecture's attention is more than softmax.
        TypeError: The architecture has no attention that can be exchanged.
    """
    first, second = _probe(vocabulary)
    ours = _last_document(model, [first, second])
    ids = torch.from_numpy(second.astype(np.int64))[None].to(next(model.parameters()).device)
    with torch.no_grad(), attending(model, "eager"):
        theirs = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _probe(vocabulary: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return two documents of twelve tokens, spread over the beginning of the vocabulary."""
    ids = np.linspace(0, min(vocabulary, 1000) - 1, 24).astype(np.int32)
    return ids[:12], ids[12:]


def _last_document(model: Any, documents: Sequence[NDArray[np.int32]]) -> torch.Tensor:
    nowhere = Source("probe", 0)
    encoded = [Encoded(ids, np.ones(len(ids), dtype=np.bool_), nowhere) for ids in documents]
    joined = pack(encoded, range(len(encoded)))
    with torch.no_grad():
        logits = supervised_logits(model, joined)
    return logits[torch.from_numpy(joined.rows == len(encoded) - 1)].float()
