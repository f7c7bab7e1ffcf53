"""Kahneman-Tversky optimization: single answers, each called good or bad.

Shapes: D documents of a pack, R rows.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.model.forward import batching
from luthier.recipe.methods import Kto as Options
from luthier.tokens.pack import Pack, lengths_of, packs
from luthier.tokens.render import Encoded
from luthier.train.objectives.likelihood import log_p
from luthier.train.objectives.objective import Share, Totals
from luthier.train.objectives.singles import Singles


class Kto(Singles):
    """Mean over rows of weight * (1 - sigmoid(+-(b r - b z))), + for good answers, - for bad ones.

    arXiv:2402.01306, section 4.1: r = log p(y|x) / p0(y|x), p0 before training, b `beta`; z = max(0, mean of r over
    answers that belong to other prompts), over the whole optimizer step and without gradient. Each prompt is matched
    with the answer of one other row, always the same, so that p0 of it is computed once.

    `apo_zero_unpaired` (arXiv:2408.06266) is the same with z = 0.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.mismatched = Mismatched(())
        self.before: Mapping[str, NDArray[np.float32]] = {}

    def referred(self, rows: Sequence[Encoded]) -> Mapping[str, Sequence[Encoded]]:
        """Return every answer, and every prompt with an answer that belongs to another."""
        answers: dict[str, Sequence[Encoded]] = {"answers": rows}
        return answers | ({"mismatched": Mismatched(rows)} if self.options.loss == "kto" else {})

    def bind(self, rows: Sequence[Encoded], logp: Mapping[str, NDArray[np.float32]]) -> Self:
        """Return the objective with log p0 of every row."""
        bound = type(self)(self.options)
        bound.mismatched, bound.before = Mismatched(rows), logp
        return bound

    def totals(self, packs: Sequence[Pack]) -> Totals:
        """Return the rows, learned tokens and good answers of a step."""
        return Totals(
            items=sum(pack.documents for pack in packs),
            supervised=sum(len(pack.targets) for pack in packs),
            chosen=sum(int(pack.labels.sum()) for pack in packs),
        )

    def look(self, model: Any, pack: Pack) -> torch.Tensor:
        """Return the sum of r over the prompts of a pack with answers that belong to others."""
        total = torch.zeros((), dtype=torch.float64)
        if self.options.loss == "kto":
            padded = batching(model).way == "padded"
            room = max(pack.tokens, self.mismatched.longest)
            for one in packs(self.mismatched, pack.members.tolist(), room, padded=padded):
                moved_D = log_p(model, one).cpu() - torch.from_numpy(self.before["mismatched"][one.members])
                total += moved_D.double().sum()
        return total

    def doubts(self, rows: Sequence[Encoded]) -> Iterator[str]:
        """Tell where answers are so alike that one which belongs elsewhere is nearly the row's own."""
        if self.options.loss != "kto":
            return
        answers: dict[float, Counter[bytes]] = {1.0: Counter(), 0.0: Counter()}
        for row in rows:
            answers[row.label][blake2b(row.input_ids[row.learned].tobytes(), digest_size=16).digest()] += 1
        for label, name in ((1.0, "good"), (0.0, "bad")):
            total, most = answers[label].total(), max(answers[label].values(), default=0)
            if most > max(1, COMMON * total):
                yield (
                    f"{most} of {total} {name} answers are the same, so an answer that belongs elsewhere is often the "
                    "row's own and the loss hardly moves; `loss: apo_zero_unpaired` of `kto` doesn't mind"
                )

    def loss(self, model: Any, pack: Pack, totals: Totals) -> Share:
        """Return the pack's part of the mean over the step's rows."""
        options = self.options
        logp_D = log_p(model, pack)
        reward_D = options.beta * (logp_D - torch.from_numpy(self.before["answers"][pack.members]).to(logp_D))
        moved = max(0.0, totals.seen / totals.items)
        good_D = torch.from_numpy(pack.labels == 1).to(logp_D)
        weight_D = good_D * options.desirable_weight + (1 - good_D) * options.undesirable_weight
        value_D = torch.sigmoid((2 * good_D - 1) * (reward_D - options.beta * moved))
        loss = (weight_D * (1 - value_D)).sum() / totals.items
        return Share(loss, self._told(reward_D.detach(), logp_D.detach(), good_D, totals, moved))

    def _told(
        self, reward_D: torch.Tensor, logp_D: torch.Tensor, good_D: torch.Tensor, totals: Totals, moved: float
    ) -> Mapping[str, torch.Tensor]:
        """Return shares of the means over the good and over the bad answers of the step, where there are any."""
        figures = {"kl": moved * torch.ones_like(reward_D).sum() / totals.items}
        for name, chosen_D, count in (
            ("chosen", good_D, totals.chosen),
            ("rejected", 1 - good_D, totals.items - totals.chosen),
        ):
            if count:
                figures[f"rewards_{name}"] = (reward_D * chosen_D).sum() / count
                figures[f"logps_{name}"] = (logp_D * chosen_D).sum() / count
        if "rewards_chosen" in figures and "rewards_rejected" in figures:
            figures["margin"] = figures["rewards_chosen"] - figures["rewards_rejected"]
        return figures


COMMON = 0.5
"""Share of equal answers above which a row is as likely as not to be matched with its own answer."""


class Mismatched(Sequence[Encoded]):
    """Each row's prompt with the answer of another row, always the same one: a function of the rows alone.

    The other is 0.618 of all rows away, so neighbours, which often share a prompt, don't meet. A text longer than every
    row is cut at its end.
    """

    def __init__(self, rows: Sequence[Encoded]) -> None:
        self.rows = rows
        self.longest = int(lengths_of(rows).max()) if len(rows) else 0
        self.away = max(1, round(0.618 * len(rows)))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Encoded: ...
    @overload
    def __getitem__(self, place: slice) -> list[Encoded]: ...
    def __getitem__(self, place: int | slice) -> Encoded | list[Encoded]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        asked, other = self.rows[place], self.rows[(place + self.away) % len(self)]
        prompt, answer = int(asked.learned.argmax()), int(other.learned.argmax())
        ids = np.concatenate([asked.input_ids[:prompt], other.input_ids[answer:]])[: self.longest]
        learned = np.concatenate([np.zeros(prompt, np.bool_), other.learned[answer:]])[: self.longest]
        return Encoded(ids, learned, asked.source)
