"""Conversations to token ids, and which of those ids are learned.

Shapes: T tokens of one example.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import ModelError
from luthier.core.example import Example, Message, Source

PLAIN_TEMPLATE = "plain.jinja"
"""Template for models that bring none: `role: text` lines, each answer closed by the stop token."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as the model sees it."""

    input_ids: NDArray[np.int32]
    """Shape (T,)."""
    learned: NDArray[np.bool_]
    """Shape (T,): True where the token is a target, i.e. text of an assistant turn or its stop token."""
    source: Source

    @property
    def length(self) -> int:
        """Return T."""
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class Refused:
    """An example the template can't render faithfully, and why."""

    source: Source
    reason: str


class Renderer:
    """The chat template of one tokenizer, and the ids that end an answer.

    Args:
        tokenizer: A fast Transformers tokenizer.
        stop_ids: Ids at which generation stops, from the model's generation config; the tokenizer's own is added.

    Raises:
        ModelError: The tokenizer has no stop token, or is not a fast one (offsets are needed).
    """

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int] = ()) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                "the tokenizer has no `tokenizer.json`",
                hint="convert it once: load it with transformers and save it again",
            )
        stops = {*stop_ids} | ({tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set())
        if not stops:
            raise ModelError(
                "the tokenizer names no stop token, so no answer would ever end",
                hint='add `"eos_token"` to tokenizer_config.json',
            )
        self.tokenizer = tokenizer
        self.stop_ids = frozenset(stops)
        self.source = "tokenizer" if tokenizer.chat_template else PLAIN_TEMPLATE
        if not tokenizer.chat_template:
            tokenizer.chat_template = (files("luthier.tokens") / PLAIN_TEMPLATE).read_text(encoding="utf-8")

    def text(self, messages: Sequence[Message], *, ask: bool = False) -> str:
        """Return the conversation as text; with `ask`, followed by the opening of an assistant turn."""
        turns = [message.as_dict() for message in messages]
        rendered: str = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask)
        return rendered

    def ids(self, text: str) -> list[int]:
        """Return the ids of rendered text. The template alone decides about a start token: none is added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return what a server feeds the model before it answers."""
        return self.ids(self.text(messages, ask=True))

    def encode(self, example: Example) -> Encoded | Refused:
        """Return ids and learned flags, found from the template by rendering with and without each answer.

        For every assistant turn the text up to it, with the answer's opening, must be the beginning of the whole
        text; what the turn adds is learned, up to and with its stop token. A template that rewrites earlier turns
        fails this, and the example is refused rather than learned wrongly.
        """
        try:
            text = self.text(example.messages)
            spans = list(self._answers(example.messages, text))
        except (jinja2.TemplateError, ValueError, TypeError, IndexError) as error:
            return Refused(example.source, f"the chat template refuses this conversation: {error}")
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = np.array(encoding["input_ids"], dtype=np.int32)
        starts, ends = np.array(encoding["offset_mapping"], dtype=np.int64).reshape(-1, 2).T
        learned = np.zeros(len(ids), dtype=np.bool_)
        for start, end in spans:
            if ((starts < start) & (ends > start)).any():
                reason = "the tokenizer joins the end of the prompt with the start of the answer into one token"
                return Refused(example.source, reason)
            # Some tokenizers give a space an empty place; one that lies within the answer belongs to it.
            within = (ends > starts) | ((starts > start) & (ends < end))
            inside = np.flatnonzero((starts >= start) & (ends <= end) & within)
            stops = [place for place in inside if int(ids[place]) in self.stop_ids]
            learned[inside[inside <= stops[-1]] if stops else inside] = True
        return Encoded(ids, learned, example.source)

    def _answers(self, messages: Sequence[Message], text: str) -> list[tuple[int, int]]:
        """Return the character span each learned assistant turn adds to the rendered text.

        A turn with `weight: 0` is context only, as in the OpenAI format.
        """
        spans = []
        for place, message in enumerate(messages):
            if message.role != "assistant" or message.extra.get("weight") == 0:
                continue
            if place == 0:
                raise _RewrittenError("it begins with an answer, and nothing shows where the template opens it")
            before = self.text(messages[:place], ask=True)
            after = text if place == len(messages) - 1 else self.text(messages[: place + 1])
            if not (after.startswith(before) and text.startswith(after)):
                raise _RewrittenError(f"it changes earlier text when turn {place + 1} is added")
            spans.append((len(before), len(after)))
        return spans

    def learns_to_stop(self, encoded: Encoded) -> bool:
        """Return whether the last learned token is a stop token."""
        learned = encoded.input_ids[encoded.learned]
        return len(learned) > 0 and int(learned[-1]) in self.stop_ids


class _RewrittenError(ValueError):
    """The template does not only append."""
