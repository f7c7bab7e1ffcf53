"""Answers, greedy or drawn, many prompts at a time, with the model's cache.

Shapes: B prompts of a batch, P tokens of its longest prompt, V vocabulary.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from luthier.model.forward import batching, plain, takes
from luthier.model.sampling import Choose, Sampling, greedy

BATCH_TOKENS = 16_384
"""Prompts and answers of a batch together hold at most this many tokens: it bounds the cache's memory."""

CACHES = ("past_key_values", "cache_params", "state")
"""What architectures call that which they remember: they return it under the name they take it by."""


CACHE_LIMIT = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""Share of the largest logit by which a cache may change logits, by type of the weights."""


class Ending(NamedTuple):
    """When an answer ends before its longest."""

    ids: frozenset[int]
    """Before one of these."""
    seen: Callable[[Sequence[int]], bool] | None = None
    """Behind a token with which this says so."""

    def reached(self, answer: list[int], token: int, longest: int) -> bool:
        """Add a token to an answer unless it ends before it, and return whether it ends."""
        if token in self.ids:
            return True
        answer.append(token)
        return len(answer) >= longest or (self.seen is not None and self.seen(answer))


Decode = Callable[[Any, Sequence[list[int]], Sequence[int], Ending, Choose, int], Iterator[tuple[int, list[int]]]]
"""Takes model, prompts, longest answers, what ends them, how a token is chosen and a padding id; yields place and
answer as they are finished."""


class Room(NamedTuple):
    """How a prompt and its answer fit into the model's context."""

    read: int
    """Tokens of the prompt that are read: its last ones."""
    answer: int
    """Longest answer, in tokens."""


def room(model: Any, prompt_tokens: int, *, max_new_tokens: int) -> Room:
    """Return how much of a prompt is read and how long its answer may grow.

    The answer ends where the model's context ends, as it does on a server. A prompt that fills the context
    leaves no room for an answer and is clipped from the left to half the context: the question stands last.
    """
    context = getattr(plain(model).config.get_text_config(), "max_position_embeddings", None) or 0
    if not context:
        return Room(prompt_tokens, max_new_tokens)
    context = max(2, context - getattr(model, "virtual_tokens", 0))
    read = prompt_tokens if prompt_tokens < context else max(1, context // 2)
    return Room(read, min(max_new_tokens, context - read))


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    pad_id: int,
    sampling: Sampling | None = None,
    ended: Callable[[Sequence[int]], bool] | None = None,
    on_done: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Return the continuation of each prompt, token by token, in the order of the prompts.

    The result is that of one prompt at a time, up to rounding: products of another shape may sum in another
    order, and two tokens whose logits differ by no more than that may change places.

    Args:
        model: A causal language model or a PEFT model around one. Dropout is off while it answers; its
            attention implementation and mode are afterwards what they were.
        prompts: Token ids. `room` says what happens to a prompt that is longer than the model's context.
        stop_ids: An answer ends before the first of these.
        max_new_tokens: Longest answer, at least 1. An answer of exactly `room(…).answer` tokens was cut.
        pad_id: Any id of the vocabulary; it stands where nothing looks.
        sampling: How tokens are drawn; by default the most likely is taken. A prompt given n times gets n answers, and
            each depends on its prompt and the seed alone.
        ended: Told an answer so far, says whether it ends there, as `luthier.model.sampling.StopStrings` does.
        on_done: Called with the number of prompts answered so far, each time it grows.

    Raises:
        ValueError: A prompt is empty: nothing precedes the first token, so nothing predicts it.
    """
    assert max_new_tokens > 0, "an answer of no tokens was asked for"
    for index, prompt in enumerate(prompts):
        if not prompt:
            message = f"prompt {index} is empty"
            raise ValueError(message)
    rooms = [room(model, len(prompt), max_new_tokens=max_new_tokens) for prompt in prompts]
    read = [list(prompt[-space.read :]) for prompt, space in zip(prompts, rooms, strict=True)]
    keys = [*sampling.keys(read)] if sampling else []
    answers: list[list[int]] = [[] for _ in prompts]
    done = 0
    # Not inference_mode: buffers that a model renews in a forward pass (scaled rotary angles) would become
    # inference tensors, and a training that goes on afterwards would fail on them.
    with torch.no_grad(), without_dropout(model), _answering(model) as (decode, alike):
        for members in _batches([len(ids) for ids in read], max_new_tokens, alike=alike):
            limits = [rooms[i].answer for i in members]
            choose = sampling.chooser([keys[i] for i in members], max(limits)) if sampling else greedy
            batch = [read[i] for i in members]
            for place, answer in decode(model, batch, limits, Ending(stop_ids, ended), choose, pad_id):
                answers[members[place]] = answer
                done += 1
                if on_done is not None:
                    on_done(done)
    return answers


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Put the model into evaluation mode, and back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _answering(model: Any) -> Iterator[tuple[Decode, bool]]:
    """Make the model ready to answer; give the way to decode, and whether a batch must be of one length."""
    if batching(model).way == "padded":
        # Of one length: padding on the left would pass through a recurrent state before the prompt does.
        yield partial(_decode_alike, cached=_remembers(model)), True
    else:
        with attending(model, own_attention(model)):
            yield _decode, False


@contextmanager
def attending(model: Any, implementation: str) -> Iterator[None]:
    """Let the model attend with another of Transformers' implementations, and back.

    Layers look the name up in the config they share at each forward pass, so that setting it is enough.
    """
    config = plain(model).config
    before = config._attn_implementation
    config._attn_implementation = implementation
    try:
        yield
    finally:
        config._attn_implementation = before


def own_attention(model: Any) -> str:
    """Return the attention that Transformers itself gives an architecture: it takes masks, ours takes none.

    Where scores are capped or have sinks it is the explicit one: `sdpa` would leave them out.
    """
    return "sdpa" if plain(model)._supports_sdpa else "eager"


def _batches(lengths: Sequence[int], max_new_tokens: int, *, alike: bool = False) -> Iterator[list[int]]:
    """Yield prompts of like lengths together, longest first: what is too large for the memory fails early.

    Args:
        lengths: Tokens of each prompt.
        max_new_tokens: Longest answer.
        alike: Only prompts of the same length go together.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else 0
        full = (len(batch) + 1) * (longest + max_new_tokens) > BATCH_TOKENS
        if batch and (full or (alike and lengths[index] != longest)):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _decode(
    model: Any, prompts: Sequence[list[int]], limits: Sequence[int], ending: Ending, choose: Choose, pad_id: int
) -> Iterator[tuple[int, list[int]]]:
    """Yield place and answer of each prompt when it is finished. Finished prompts leave the batch."""
    device = next(model.parameters()).device
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    ids_BP = torch.tensor(
        [[pad_id] * pad + prompt for pad, prompt in zip(padding, prompts, strict=True)], device=device
    )
    mask_BP = torch.arange(longest, device=device)[None] >= torch.tensor(padding, device=device)[:, None]
    mask_BP = mask_BP.long()
    position_BP = (mask_BP.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=plain(model).config)
    alive = list(range(len(prompts)))
    answers: list[list[int]] = [[] for _ in prompts]
    while alive:
        logits_BV = model(
            input_ids=ids_BP,
            attention_mask=mask_BP,
            position_ids=position_BP,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen_B = choose(logits_BV, alive, len(answers[alive[0]]))
        going = []
        for place, (row, token) in enumerate(zip(alive, chosen_B.tolist(), strict=True)):
            if ending.reached(answers[row], token, limits[row]):
                yield row, answers[row]
            else:
                going.append(place)
        kept = torch.tensor(going, dtype=torch.long, device=device)
        if len(going) < len(alive):
            cache.batch_select_indices(kept)
        alive = [alive[place] for place in going]
        ids_BP = chosen_B[kept, None]
        mask_BP = torch.cat([mask_BP[kept], mask_BP.new_ones(len(going), 1)], dim=1)
        position_BP = position_BP[kept, -1:] + 1


def _decode_alike(
    model: Any,
    prompts: Sequence[list[int]],
    limits: Sequence[int],
    ending: Ending,
    choose: Choose,
    _pad_id: int,
    *,
    cached: bool,
) -> Iterator[tuple[int, list[int]]]:
    """Yield place and answer of each prompt when it is finished, for prompts of one length and any architecture.

    What the model remembers is its own affair and goes back to it as it came, so finished prompts stay in the batch
    until the last is done. Not `cached`, everything is read again for each token.
    """
    text_BP = torch.tensor([*prompts], device=next(model.parameters()).device)
    fed, memory = text_BP, dict[str, Any]()
    alive = set(range(len(prompts)))
    answers: list[list[int]] = [[] for _ in prompts]
    while alive:
        logits_BV, memory = _step(model, fed, memory, cached=cached)
        chosen_B = choose(logits_BV, range(len(prompts)), text_BP.shape[1] - len(prompts[0]))
        for row, token in enumerate(chosen_B.tolist()):
            if row in alive and ending.reached(answers[row], token, limits[row]):
                alive.remove(row)
                yield row, answers[row]
        text_BP = torch.cat([text_BP, chosen_B[:, None]], dim=1)
        fed = chosen_B[:, None] if cached else text_BP


def _step(
    model: Any, ids: torch.Tensor, memory: dict[str, Any], *, cached: bool
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the logits that follow `ids` of shape (B, P), shape (B, V), and what the model remembers."""
    head = {"logits_to_keep": 1} if "logits_to_keep" in takes(model) else {}
    out = model(input_ids=ids, use_cache=cached, **head, **memory)
    return out.logits[:, -1], {name: getattr(out, name) for name in CACHES if getattr(out, name, None) is not None}


def _remembers(model: Any) -> bool:
    """Return whether an architecture's own cache gives the logits of reading everything again.

    In Transformers 5.23 those of Bamba, MiniMax and, in batches, RWKV don't.
    """
    device = next(model.parameters()).device
    ids = torch.arange(16, device=device).view(2, 8)
    # Not in low precision when the weights are not: rounding would hide a fault, or be taken for one.
    with torch.autocast(device.type, enabled=False):
        again, _ = _step(model, ids, {}, cached=False)
        try:
            _, memory = _step(model, ids[:, :6], {}, cached=True)
            _, memory = _step(model, ids[:, 6:7], memory, cached=True)
            last, _ = _step(model, ids[:, 7:], memory, cached=True)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            return False  # xLSTM takes a state it does not make, Kimi asks its cache what it does not know
    return bool(memory) and float((last - again).abs().max() / again.abs().max()) <= CACHE_LIMIT[model.dtype]
