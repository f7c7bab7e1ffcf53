"""Greedy answers, many prompts at a time, with a key-value cache.

Shapes: B prompts of a batch that are still being answered, P tokens of its longest prompt, V vocabulary.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

BATCH_TOKENS = 16_384
"""Prompts and answers of a batch together hold at most this many tokens: it bounds the cache's memory."""

ATTENTION = "sdpa"
"""Transformers' implementation that takes a mask, as left padding needs; `luthier_packed` takes none."""


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
    context = getattr(_plain(model).config.get_text_config(), "max_position_embeddings", None) or 0
    if not context:
        return Room(prompt_tokens, max_new_tokens)
    read = prompt_tokens if prompt_tokens < context else max(1, context // 2)
    return Room(read, min(max_new_tokens, context - read))


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    pad_id: int,
    on_done: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Return the most likely continuation of each prompt, token by token, in the order of the prompts.

    The result is that of one prompt at a time, up to rounding: products of another shape may sum in another
    order, and two tokens whose logits differ by no more than that may change places.

    Args:
        model: A causal language model or a PEFT model around one. Dropout is off while it answers; its
            attention implementation and mode are afterwards what they were.
        prompts: Token ids. `room` says what happens to a prompt that is longer than the model's context.
        stop_ids: An answer ends before the first of these.
        max_new_tokens: Longest answer, at least 1. An answer of exactly `room(…).answer` tokens was cut.
        pad_id: Any id of the vocabulary; it stands where nothing looks.
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
    answers: list[list[int]] = [[] for _ in prompts]
    done = 0
    # Not inference_mode: buffers that a model renews in a forward pass (scaled rotary angles) would become
    # inference tensors, and a training that goes on afterwards would fail on them.
    with torch.no_grad(), without_dropout(model), attending(model, ATTENTION):
        for members in _batches([len(ids) for ids in read], max_new_tokens):
            limits = [rooms[i].answer for i in members]
            for place, answer in _decode(model, [read[i] for i in members], limits, stop_ids, pad_id):
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
def attending(model: Any, implementation: str) -> Iterator[None]:
    """Let the model attend with another of Transformers' implementations, and back.

    Layers look the name up in the config they share at each forward pass, so that setting it is enough.
    """
    config = _plain(model).config
    before = config._attn_implementation
    config._attn_implementation = implementation
    try:
        yield
    finally:
        config._attn_implementation = before


def _plain(model: Any) -> Any:
    """Return the Transformers model within a PEFT model, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _batches(lengths: Sequence[int], max_new_tokens: int) -> Iterator[list[int]]:
    """Yield prompts of like lengths together, longest first: what is too large for the memory fails early."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else 0
        if batch and (len(batch) + 1) * (longest + max_new_tokens) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _decode(
    model: Any, prompts: Sequence[list[int]], limits: Sequence[int], stop_ids: frozenset[int], pad_id: int
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
    cache = DynamicCache(config=_plain(model).config)
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
        chosen_B = logits_BV.argmax(dim=-1)
        going = []
        for place, (row, token) in enumerate(zip(alive, chosen_B.tolist(), strict=True)):
            stopped = token in stop_ids
            if not stopped:
                answers[row].append(token)
            if stopped or len(answers[row]) >= limits[row]:
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
