"""How likely two models find the same rows, by tokens, bytes, conversations and preferences.

A conversation is one observation, also where the template rewrites history and it becomes several texts: those share
most of their words.

Shapes: R texts, C conversations.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import DataError, ModelError
from luthier.core.report import Number
from luthier.evaluate.account import Metric
from luthier.evaluate.contrast import LEVEL, contrast
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.measure import Likely, Measured, by_conversation
from luthier.evaluate.metrics.metric import Metric as Rated
from luthier.evaluate.preferences import Preferred, of_judged, of_pairs, prompts_of
from luthier.evaluate.stats import MARGIN, Paired, detectable, paired, perplexity, ratios, verdict
from luthier.evaluate.subject import Absent
from luthier.recipe.methods import Rows

LIKELIHOOD = Rated("nll", "nats", lambda _expected, _answers: np.zeros((0, 2)), percent=False, better=-1)
"""The loss as something to be tested: of it the figures are there."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How likely two models find the same rows, by what both can be counted in."""

    per_token: Paired | None
    """Where both read the same tokens."""
    per_byte: Paired | None
    """Where they don't, in nats per byte of what is learned."""
    why: str = ""
    """Why it is not per token."""

    @property
    def paired(self) -> Paired | None:
        """Return what there is."""
        return self.per_token or self.per_byte

    def unless_chance(self, p: float | None) -> "Loss":
        """Return the same without its verdict, where a difference may be chance by its p among all that are tested."""
        if p is not None and p < LEVEL:
            return self
        return Loss(_doubted(self.per_token), _doubted(self.per_byte), self.why)


def _doubted(paired: Paired | None) -> Paired | None:
    if paired is None or paired.verdict not in ("better", "worse"):
        return paired
    return replace(paired, verdict="undecided")


def loss(base: Measured, tuned: Measured) -> Loss:
    """Return how likely both find the same conversations."""
    before, after = base.likely, tuned.likely
    for model in (before, after):
        if isinstance(model, Absent):
            return Loss(None, None, model.reason)
    assert isinstance(before, Likely)
    assert isinstance(after, Likely)
    if before.held_out is after.held_out:
        nll = before.conversations.nll_R, after.conversations.nll_R
        found = paired(*nll, before.conversations.tokens_R)
        return Loss(found if before.computed == after.computed else _but_for_rounding(found), None)
    why = "their tokens are others, so what they cost is told per byte"
    return Loss(None, _by_bytes(before, after), why)


def chance(base: Measured, tuned: Measured) -> float | None:
    """Return how likely a difference of likelihood as large is by chance, where models change places at random."""
    before, after = base.likely, tuned.likely
    if isinstance(before, Absent) or isinstance(after, Absent):
        return None
    counts_C = before.conversations.tokens_R if before.held_out is after.held_out else before.held_out.bytes
    base_CK, tuned_CK = (np.stack([one.conversations.nll_R, counts_C], axis=1) for one in (before, after))
    found = contrast(LIKELIHOOD, base_CK, tuned_CK)
    return None if found is None else found.p


def _but_for_rounding(found: Paired) -> Paired:
    """Return a comparison of numbers that two programs computed: one within the margin may be their rounding."""
    low, high = found.difference.low, found.difference.high
    inside = low is not None and high is not None and max(-low, high) <= MARGIN
    return replace(found, verdict="same") if inside else found


def _by_bytes(base: Likely, tuned: Likely) -> Paired | None:
    """Return the loss per byte of what is learned; what is no difference in practice is so by the base's tokens."""
    bytes_C = base.held_out.bytes
    used = bytes_C > 0
    if not used.any():
        return None
    counts_C = bytes_C[used].astype(np.float64)
    base_C, tuned_C = (one.conversations.nll_R[used] for one in (base, tuned))
    before, after, difference = ratios(np.stack([base_C, tuned_C, tuned_C - base_C]), counts_C)
    longer = float(counts_C.sum() / base.conversations.tokens_R[used].sum())
    bounds = (None if bound is None else bound * longer for bound in (difference.low, difference.high))
    judged = verdict(Number(difference.value * longer, difference.n, *bounds))
    return Paired(before, after, difference, detectable(tuned_C - base_C, counts_C), judged)


def preferred(base: Measured, tuned: Measured, rows: Rows, *, per_token: bool) -> Preferred | None:
    """Return what held-out preferences say, where training learned from preferences.

    Raises:
        ModelError: A model tells no likelihood, or reads other tokens.
        DataError: There is no good answer.
    """
    if rows not in ("pair", "judged"):
        return None
    before, after = base.likely, tuned.likely
    if isinstance(before, Absent) or isinstance(after, Absent) or before.held_out is not after.held_out:
        raise ModelError(
            "endings are compared by how likely two models with the same tokens find them",
            hint="compare models that share one tokenizer, on this machine",
        )
    if rows == "pair":
        return of_pairs(before.texts, after.texts, prompts_of(before.held_out.texts), per_token=per_token)
    good_R = np.array([text.label == 1.0 for text in before.held_out.texts])
    if not good_R.any():
        raise DataError("no held-out answer is a good one", hint="hold others back with `data.split.seed`")
    return of_judged(before.texts, after.texts, good_R)


def of_the_likely(model: Measured, preferred: Preferred) -> Measured:
    """Return what a model did with the likelihood of texts that people liked, and no others."""
    likely = model.likely
    assert isinstance(likely, Likely)
    nll_R, tokens_R = (np.where(preferred.likely_R, values_R, 0) for values_R in likely.texts)
    conversations = by_conversation(RowNll(nll_R, tokens_R), likely.held_out)
    return replace(model, likely=replace(likely, conversations=conversations))


def losses(base: Measured, tuned: Measured) -> Iterator[Metric]:
    """Yield the loss by other counts than learned tokens: bytes, conversations, all tokens."""
    before, after = base.likely, tuned.likely
    if isinstance(before, Absent) or isinstance(after, Absent):
        return
    both = (before.conversations, after.conversations)
    tokens_C, bytes_C = before.conversations.tokens_R, before.held_out.bytes
    if bytes_C.any():
        bits = _ratios(both, bytes_C, 1 / np.log(2))
        label = "bits per byte of what is learned"
        yield Metric("bits_per_byte", label, bits[0], bits[1], percent=False, change=bits[2])
    if before.held_out is not after.held_out:
        return
    shares = [RowNll(one.nll_R / np.maximum(one.tokens_R, 1), np.sign(one.tokens_R)) for one in both]
    rows = _ratios((shares[0], shares[1]), np.sign(tokens_C))
    label = "nats per learned token, mean of rows"
    yield Metric("nll_per_row", label, rows[0], rows[1], percent=False, change=rows[2])
    if before.every is None or after.every is None:
        return
    every = _ratios((before.every, after.every), before.every.tokens_R)
    yield Metric("nll_all_tokens", "nats per token, prompts too", every[0], every[1], percent=False, change=every[2])
    whole = [perplexity(number) for number in every[:2]]
    yield Metric("perplexity_all_tokens", "perplexity, prompts too", whole[0], whole[1], percent=False)


def _ratios(pair: tuple[RowNll, RowNll], counts_C: NDArray[np.int64], scale: float = 1.0) -> list[Number]:
    """Return the loss of base and tuned model and their difference by some count of each conversation."""
    base_C, tuned_C = (one.nll_R[counts_C > 0] * scale for one in pair)
    return ratios(np.stack([base_C, tuned_C, tuned_C - base_C]), counts_C[counts_C > 0].astype(np.float64))
