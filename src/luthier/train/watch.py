"""What can go wrong from outside or inside while training: signals, a loss that is no number, leaking packs."""

import signal
from collections.abc import Sequence
from types import FrameType
from typing import Any

import numpy as np
import torch

from luthier.core.example import Source
from luthier.model.forward import supervised_logits
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
    low, high = 0, min(vocabulary, 1000)
    ids = np.linspace(low, high - 1, 24).astype(np.int32)
    with torch.inference_mode():
        first = _second_document(model, [ids[:12], ids[12:]])
        other = _second_document(model, [ids[:12][::-1].copy(), ids[12:]])
    return float((first - other).abs().max())


def _second_document(model: Any, documents: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    nowhere = Source("probe", 0)
    encoded = [Encoded(ids, np.ones(len(ids), dtype=np.bool_), nowhere) for ids in documents]
    joined = pack(encoded, range(len(encoded)))
    return supervised_logits(model, joined)[torch.from_numpy(joined.rows == 1)].float()
