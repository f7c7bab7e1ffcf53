"""How likely a model finds what may follow a context, each beginning that texts share computed once.

Sorted, texts that begin alike follow one another. Each is computed from where it leaves the one before: together they
are a trie, walked depth first. Passes cut that walk anywhere; what the next one goes on from is kept
(`luthier.model.kernels.memory.Memory`). The numbers are those of each text alone, but for rounding.

Shapes: R requests, U different texts, N tokens on the walk, S tokens asked for, P places on the walk that predict them,
V vocabulary.
"""
# ruff: noqa: N806, N815 - names end in the letters of their shape

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from luthier.core.progress import Progress, Silent
from luthier.model.forward import Documents, batching, packed_logits, places, precise, supervised_logits
from luthier.model.generate import without_dropout
from luthier.model.kernels.memory import Memory

Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]
"""Token ids of contexts and continuations."""

LOGITS = {"cpu": 2**25, "cuda": 2**28}
"""Logits of a pass at most: an eighth of a gigabyte in float32, or one. Where much is asked for, passes are shorter."""

MULTIPLE = 64
"""Passes are a multiple of this many tokens long: new shapes cost memory (`luthier.tokens.pack.MULTIPLE`)."""

WIDTH = 16
"""So are rows of a padded batch; 64 would be mostly padding."""


class Continued(NamedTuple):
    """What a model thinks of each continuation."""

    log_likelihood_R: NDArray[np.float64]
    """Summed over its tokens, in nats. Shape (R,)."""
    greedy_R: NDArray[np.bool_]
    """Whether each of its tokens is the most likely one. Shape (R,)."""


class Part(NamedTuple):
    """What a pass gives."""

    members: NDArray[np.int64]
    """Which of the S tokens were asked for."""
    rows: NDArray[np.int64]
    """The row of logits that predicts each."""
    logits: torch.Tensor
    """Shape (rows, V)."""


def whole_because(model: Any) -> str:
    """Return why a model computes every text whole, empty when texts share what they begin with."""
    if batching(model).way == "padded":
        return f"this architecture can't share beginnings of texts ({batching(model).reason})"
    if getattr(model, "virtual_tokens", 0):
        return "virtual tokens stand before every text"
    return ""


def continuations(
    model: Any,
    pairs: Pairs,
    *,
    capacity: int,
    longest: int,
    precision: str = "fp32",
    stage: str = "score",
    progress: Progress | None = None,
) -> Continued:
    """Return how likely each continuation is behind its context, and whether greedy decoding gives it.

    A result does not depend on the other pairs, but for rounding. Models that can't share (`whole_because`) compute
    texts of like lengths together, each whole.

    Args:
        model: A causal language model of `load_model`, adapters on or off. Dropout is off while it computes.
        pairs: None empty on either side.
        capacity: Tokens of a pass; one text alone may have more where texts are computed whole.
        longest: Tokens the model reads at once. Of longer texts the first ones are left out.
        precision: `bf16`, `fp16` or `fp32`, as the plan says.
        stage: What to tell those who watch.
        progress: Somebody who watches.

    Raises:
        ValueError: A context or a continuation is empty, or a continuation is longer than `longest`.
    """
    watch = progress or Silent()
    watch.start(stage, len(pairs), "continuation")
    log_likelihood_R, greedy_R = np.zeros(len(pairs)), np.ones(len(pairs), dtype=np.bool_)
    waiting_R = np.array([len(continuation) for _, continuation in pairs], dtype=np.int64)
    with torch.no_grad(), without_dropout(model), precise(model, precision):
        for requests, shares in _ways(model, pairs):
            asked = Asked([pairs[request] for request in requests], longest)
            for members, rows, logits in (_walked if shares else _whole)(model, asked, capacity):
                logits = logits.float()
                row_S, target_S = (torch.from_numpy(of).to(logits.device) for of in (rows, asked.target_S[members]))
                log_likelihood_S = logits[row_S, target_S] - logits.logsumexp(dim=-1)[row_S]
                greedy_S = logits.argmax(dim=-1)[row_S] == target_S
                request_S = requests[asked.request_S[members]]
                np.add.at(log_likelihood_R, request_S, log_likelihood_S.double().cpu().numpy())
                np.logical_and.at(greedy_R, request_S, greedy_S.cpu().numpy())
                np.subtract.at(waiting_R, request_S, 1)
                watch.update(int((waiting_R == 0).sum()))
    watch.end()
    return Continued(log_likelihood_R, greedy_R)


def _ways(model: Any, pairs: Pairs) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """Yield which requests are computed one after another, and whether they share what they begin with.

    Beyond its turn LongRoPE has other angles from the first token on: long texts share nothing with short ones.
    """
    turn = batching(model).turn
    long_R = np.array([turn is not None and len(one) + len(other) - 1 > turn for one, other in pairs], dtype=np.bool_)
    for requests, shares in ((np.flatnonzero(~long_R), not whole_because(model)), (np.flatnonzero(long_R), False)):
        if len(requests):
            yield requests, shares


class Asked:
    """The different texts of some requests, and what is asked behind which of their tokens.

    A text is context and continuation without its last token, behind which nothing is asked.
    """

    def __init__(self, pairs: Pairs, longest: int) -> None:
        texts, targets = [], []
        for context, continuation in pairs:
            if not context or not 0 < len(continuation) <= longest:
                message = f"context of {len(context)}, continuation of {len(continuation)} tokens, {longest} are read"
                raise ValueError(message)
            ids = np.array([*context, *continuation][-longest - 1 :], dtype=">u4")  # sorted as bytes, sorted as numbers
            texts.append(ids[:-1].tobytes())
            targets.append(ids[-len(continuation) :])
        self._texts = sorted({*texts})
        self.length_U = np.array([len(text) // ids.itemsize for text in self._texts])
        """Shape (U,): the tokens of each text."""
        number = {text: place for place, text in enumerate(self._texts)}
        text_R = np.array([number[text] for text in texts])
        order_R = np.argsort(text_R, kind="stable")
        tokens_R = np.array([len(targets[request]) for request in order_R])
        self.request_S = np.repeat(order_R, tokens_R)
        """Shape (S,): which request; the others in this order too, which is that of the texts."""
        self.text_S = text_R[self.request_S]
        """Shape (S,): which text."""
        self.target_S = np.concatenate([targets[request] for request in order_R]).astype(np.int64)
        """Shape (S,): the token asked for."""
        within_S = np.arange(len(self.text_S)) - np.repeat(np.cumsum(tokens_R) - tokens_R, tokens_R)
        self.position_S = self.length_U[self.text_S] - np.repeat(tokens_R, tokens_R) + within_S
        """Shape (S,): where in the text stands what predicts it."""
        self.edges = np.searchsorted(self.text_S, np.arange(len(self._texts) + 1))
        """Shape (U + 1,): where among the S tokens those of each text begin, and the end."""

    def text(self, number: int) -> NDArray[np.int64]:
        """Return the ids of a text."""
        return np.frombuffer(self._texts[number], dtype=">u4").astype(np.int64)


class Walk:
    """The walk along all texts of a request, depth first."""

    def __init__(self, asked: Asked) -> None:
        texts = [asked.text(number) for number in range(len(asked.length_U))]
        self.shared_U = np.array([0, *map(_common, texts[:-1], texts[1:])])
        self.bounds = np.concatenate([[0], np.cumsum(asked.length_U - self.shared_U)])
        """Shape (U + 1,): where on the walk each text begins to differ from the one before, and the end."""
        self.ids_N = np.concatenate([text[common:] for text, common in zip(texts, self.shared_U, strict=True)])
        self.position_N = np.arange(len(self.ids_N)) + np.repeat(self.shared_U - self.bounds[:-1], np.diff(self.bounds))
        spans = zip(asked.edges[:-1], asked.edges[1:], strict=True)
        self.place_S = np.concatenate(
            [
                place_T[asked.position_S[start:end]]
                for place_T, (start, end) in zip(places(self.bounds, self.shared_U), spans, strict=True)
            ]
        )
        """Shape (S,): where on the walk stands what predicts each token."""

    def passes(self, capacity: int, most: int) -> Iterator[tuple[int, int]]:
        """Yield beginnings and ends of passes of at most `capacity` tokens, with at most `most` places asked behind."""
        place_P = np.unique(self.place_S)
        start = 0
        while start < len(self.ids_N):
            end = min(start + capacity, len(self.ids_N))
            over = np.searchsorted(place_P, start) + most
            if over < len(place_P) and place_P[over] < end:
                length = int(place_P[over]) - start
                end = start + (length // MULTIPLE * MULTIPLE or length)
            yield start, end
            start = end

    def behind(self, place: int) -> int:
        """Return how many tokens of its text stand before a place, 0 for the end."""
        text = int(np.searchsorted(self.bounds, place, side="right")) - 1
        return int(self.shared_U[text] + place - self.bounds[text]) if text < len(self.shared_U) else 0

    def pack(self, start: int, end: int, predict_at: NDArray[np.int64]) -> Documents:
        """Return a stretch of the walk; its first document goes on from what was kept. The last is filled up."""
        first, past = np.searchsorted(self.bounds, start, side="right") - 1, np.searchsorted(self.bounds, end)
        bounds = [0, *(self.bounds[first + 1 : past] - start), end - start]
        filler = -(end - start) % MULTIPLE if end == len(self.ids_N) else 0
        return Documents(
            input_ids=np.concatenate([self.ids_N[start:end], np.zeros(filler, dtype=np.int64)]),
            position_ids=np.concatenate([self.position_N[start:end], np.arange(filler)]),
            bounds=np.array([*bounds, end - start + filler] if filler else bounds, dtype=np.int32),
            shared=np.array([self.behind(start), *self.shared_U[first + 1 : past]], dtype=np.int32),
            predict_at=predict_at,
            targets=np.zeros_like(predict_at),
            document=np.zeros_like(predict_at),
            documents=int(past - first),
            width=end - start,
        )


def _common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Return how many tokens two texts begin with alike."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length


def _walked(model: Any, asked: Asked, capacity: int) -> Iterator[Part]:
    """Yield the logits of texts that share what they begin with."""
    walk, memory = Walk(asked), Memory()
    order_S = np.argsort(walk.place_S, kind="stable")
    sorted_S = walk.place_S[order_S]
    for start, end in walk.passes(capacity, _most(model)):
        members = order_S[slice(*np.searchsorted(sorted_S, [start, end]))]
        place_P, rows = np.unique(walk.place_S[members] - start, return_inverse=True)
        memory.kept = walk.behind(end)
        yield Part(members, rows, packed_logits(model, walk.pack(start, end, place_P), memory))


def _whole(model: Any, asked: Asked, capacity: int) -> Iterator[Part]:
    """Yield the logits of texts that are computed whole, those of like lengths together, longest first."""
    for batch, width in _batches(asked, capacity, _most(model)):
        spans = [np.arange(*asked.edges[text : text + 2]) for text in batch]
        members, document_S = np.concatenate(spans), np.repeat(np.arange(len(batch)), [len(span) for span in spans])
        bounds = np.concatenate([[0], np.cumsum(asked.length_U[batch])])
        place_P, first, rows = np.unique(
            bounds[document_S] + asked.position_S[members], return_index=True, return_inverse=True
        )
        pack = Documents(
            input_ids=np.concatenate([asked.text(text) for text in batch]),
            position_ids=np.concatenate([np.arange(asked.length_U[text]) for text in batch]),
            bounds=bounds.astype(np.int32),
            shared=np.zeros(len(batch), dtype=np.int32),
            predict_at=place_P,
            targets=asked.target_S[members][first],
            document=document_S[first],
            documents=len(batch),
            width=width,
        )
        yield Part(members, rows, supervised_logits(model, pack))


def _batches(asked: Asked, capacity: int, most: int) -> Iterator[tuple[list[int], int]]:
    """Yield texts that go side by side, and how wide they stand.

    The head runs on the columns in which any of them is asked for something: at most `most` rows of logits.
    """
    earliest_U = np.minimum.reduceat(asked.position_S, asked.edges[:-1])
    batch: list[int] = []
    width = 0
    for number in np.argsort(-asked.length_U, kind="stable").tolist():
        together = [*batch, number]
        columns = int(asked.length_U[together[0]] - earliest_U[together].min())
        if batch and len(together) * max(width / capacity, columns / most) > 1:
            yield batch, width
            together = [number]
        batch, width = together, -(-int(asked.length_U[together[0]]) // WIDTH) * WIDTH
    yield batch, width


def _most(model: Any) -> int:
    """Return how many rows of logits a pass may give."""
    device = next(model.parameters()).device
    return max(1, LOGITS[device.type] // int(model.get_input_embeddings().num_embeddings))
