"""What an objective makes of rows that are not learned from: its own loss and figures, as over one large step."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from luthier.model.forward import batching, precise
from luthier.model.generate import without_dropout
from luthier.tokens.pack import WINDOW, Pack
from luthier.tokens.render import Encoded
from luthier.train.objectives.objective import Looks, Objective, Totals
from luthier.train.work import HeldOut


def measure(model: Any, objective: Objective, rows: Sequence[Encoded], *, capacity: int, precision: str) -> HeldOut:
    """Return the loss of all rows together; a window of packs is in memory at a time.

    May be called in the middle of a training: dropout is off while it measures, and the model's mode is afterwards
    what it was.
    """
    padded = batching(model).way == "padded"
    examples = len(rows) // objective.texts

    def packs() -> Iterator[list[Pack]]:
        for start in range(0, examples, WINDOW):
            members = range(start, min(start + WINDOW, examples))
            yield objective.collate(rows, members, capacity, padded=padded)

    totals = Totals(0, 0)
    for window in packs():
        more = objective.totals(window)
        totals = Totals(totals.items + more.items, totals.supervised + more.supervised, totals.chosen + more.chosen)
    loss, figures = 0.0, dict[str, float]()
    with torch.no_grad(), without_dropout(model), precise(model, precision):
        if isinstance(objective, Looks):
            seen = sum(objective.look(model, pack).item() for window in packs() for pack in window)
            totals = totals._replace(seen=seen)
        for window in packs():
            for pack in window:
                share = objective.loss(model, pack, totals)
                loss += share.loss.item()
                for name, figure in share.figures.items():
                    figures[name] = figures.get(name, 0.0) + figure.item()
    return HeldOut(loss, totals.supervised, figures)
