"""The rows both models are measured on, and the questions they are asked.

Shapes: R texts, C conversations.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import DataError
from luthier.core.example import Example, Message, Source
from luthier.evaluate.answers import expected_of
from luthier.evaluate.metrics.metric import Expected
from luthier.evaluate.reading import Reading
from luthier.evaluate.windows import windows
from luthier.recipe.evaluate import Window
from luthier.recipe.methods import Rows
from luthier.tokens.encode import Limits, in_memory
from luthier.tokens.render import Encoded, Renderer
from luthier.tokens.store import Stored

ENDLESS = 2**31
"""Longest text where a window slides over it."""

Examples = Callable[[], Iterable[Example]]
"""Gives the held-out conversations from the first on, at each call: no more than one is in memory."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What both models are measured on, and how many conversations were not, by reason."""

    texts: Sequence[Encoded]
    """One for each conversation, or several where the template rewrites earlier turns."""
    conversations: tuple[Source, ...]
    """Those that are measured, in the order of the file."""
    conversation_of: NDArray[np.int64]
    """Which conversation each text belongs to. Shape (R,)."""
    fresh: NDArray[np.int64]
    """The first token of each text that counts: those before it count in the text before. Shape (R,)."""
    bytes: NDArray[np.int64]
    """UTF-8 bytes of what is learned of each conversation: what its tokens say, without control tokens. Shape (C,)."""
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class Question:
    """What both models are asked, and what the row answers."""

    example: Example
    messages: tuple[Message, ...]
    """The turns before the answer."""
    prompt: str
    """The same as people read it."""
    expected: str


@dataclass(frozen=True, slots=True)
class Exam:
    """Rows that models are measured on, and what they are asked of them."""

    held_out: Mapping[Reading, HeldOut]
    """The same conversations as each reading has them."""
    questions: Sequence[Question]

    @property
    def expected(self) -> list[Expected]:
        """Return what the answers should be."""
        return [expected_of(asked.example.messages[last_answer(asked.example)]) for asked in self.questions]


def spread(examples: Examples, count: int, *, of: int) -> Examples:
    """Return up to `count` examples, evenly spread over all `of` them."""
    chosen = {number * of // count for number in range(count)} if count < of else set(range(of))
    return lambda: (example for place, example in enumerate(examples()) if place in chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSet:
    """Rows that models are measured on, before anybody reads them."""

    name: str
    examples: Examples
    rows: Rows = "conversation"
    """What they are."""
    learn: str = "assistant"
    """What is learned of them."""
    limits: Limits
    """On their length, as in training."""
    stored: Stored | None = None
    """Their tokens, where they are on disk as the first reading has them."""
    window: Window | None = None
    """How longer ones are read; the limit on length is none then."""
    answers: int
    """How many prompts are answered, evenly spread over all."""

    def exam(self, readings: Iterable[Reading | None]) -> Exam:
        """Return what models are measured on: the conversations that all readings can read.

        Raises:
            DataError: No row can be measured.
        """
        distinct = [*dict.fromkeys(read for read in readings if read is not None)]
        if not distinct:
            return Exam({}, questions(self.examples, [example.source for example in self.examples()], self.answers))
        found = {
            read: held_out(
                self.examples,
                read.renderer(self.rows, self.learn),
                self.limits,
                stored=self.stored if read is distinct[0] else None,
                window=self.window,
            )
            for read in distinct
        }
        measured = found[distinct[0]].conversations
        if len(distinct) > 1:
            known = set.intersection(*({*one.conversations} for one in found.values()))
            found = {read: _narrowed(one, known) for read, one in found.items()}
            measured = tuple(source for source in measured if source in known)
        return Exam(found, questions(self.examples, measured, self.answers))


def _narrowed(held_out: HeldOut, known: Set[Source]) -> HeldOut:
    """Return the texts of conversations that others can read too.

    Raises:
        DataError: There is none.
    """
    kept_C = np.array([source in known for source in held_out.conversations])
    if not kept_C.any():
        hint = "raise `train.max_length`, or compare other models"
        raise DataError("no held-out conversation can be read by all models", hint=hint)
    kept_R = kept_C[held_out.conversation_of]
    lost = int((~kept_C).sum())
    return HeldOut(
        [held_out.texts[place] for place in np.flatnonzero(kept_R).tolist()],
        tuple(source for source in held_out.conversations if source in known),
        (np.cumsum(kept_C) - 1)[held_out.conversation_of[kept_R]],
        held_out.fresh[kept_R],
        held_out.bytes[kept_C],
        held_out.left_out | ({"that another of the models can't read": lost} if lost else {}),
    )


def held_out(
    examples: Examples,
    renderer: Renderer,
    limits: Limits,
    *,
    stored: Stored | None = None,
    window: Window | None = None,
) -> HeldOut:
    """Return the rows that can be measured as one reading has them, see `RowSet`.

    Raises:
        DataError: There is none.
    """
    texts: Sequence[Encoded]
    if stored is None or window is not None:
        made = in_memory(examples(), renderer, limits if window is None else Limits(ENDLESS), processes=1)
        texts, reasons = made.rows, Counter(_kind(reason) for _, reason in made.left_out)
    else:
        texts, reasons = stored, Counter(_kind(reason) for _, reason in stored.left_out())
    if not len(texts):
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "there is none"
        raise DataError(
            f"no held-out conversation can be measured ({why})",
            hint="name more or shorter rows, raise `train.max_length`, or set an `evaluate.window` for long ones",
        )
    conversations, place_R = _conversations(texts)
    sizes_C = _sizes(examples, texts, renderer, conversations, place_R)
    fresh_R = np.zeros(len(texts), dtype=np.int64)
    if window is not None:
        parts = [part for text in texts for part in windows(text, window)]
        texts, fresh_R = [part for part, _ in parts], np.array([fresh for _, fresh in parts], dtype=np.int64)
        place_R = _conversations(texts)[1]
    return HeldOut(texts, conversations, place_R, fresh_R, sizes_C, dict(reasons))


def _conversations(texts: Sequence[Encoded]) -> tuple[tuple[Source, ...], NDArray[np.int64]]:
    """Return the conversations that texts are of, and of which each is, shape (R,)."""
    conversations: list[Source] = []
    conversation_of = []
    for text in texts:
        if conversations[-1:] != [text.source]:  # the texts of one follow each other
            conversations.append(text.source)
        conversation_of.append(len(conversations) - 1)
    return tuple(conversations), np.array(conversation_of, dtype=np.int64)


def _sizes(
    examples: Examples,
    texts: Sequence[Encoded],
    renderer: Renderer,
    conversations: Sequence[Source],
    place_R: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the bytes of what is learned of each conversation, shape (C,)."""
    if renderer.rows == "text":  # always learned whole, and its chunks may part a character
        sizes = [
            sum(len(turn.text.encode()) for turn in example.messages) for example in among(examples(), conversations)
        ]
        return np.array(sizes, dtype=np.int64)
    learned = ([*map(int, text.input_ids[text.learned])] for text in texts)
    told = (renderer.tokenizer.decode(ids, skip_special_tokens=True) for ids in learned)
    sizes_C = np.bincount(place_R, weights=[len(text.encode()) for text in told], minlength=len(conversations))
    return sizes_C.astype(np.int64)


def _kind(reason: str) -> str:
    """Return the reason as one of a few: a template's own words differ from row to row."""
    if reason.startswith("longer"):
        return reason
    return "without a learned token" if reason.startswith("no token") else "refused by the chat template"


def questions(examples: Examples, measured: Sequence[Source], count: int) -> list[Question]:
    """Return up to `count` questions, evenly spread over the conversations that have one."""
    if not count:
        return []
    asked = [place for place, example in enumerate(among(examples(), measured)) if _is_asked(example)]
    count = min(count, len(asked))
    chosen = {asked[index * len(asked) // count] for index in range(count)}
    return [_question(example) for place, example in enumerate(among(examples(), measured)) if place in chosen]


def _is_asked(example: Example) -> bool:
    """Return whether an example has a question, and an answer nobody called bad."""
    return last_answer(example) > 0 and example.label is not False


def among(examples: Iterable[Example], measured: Sequence[Source]) -> Iterator[Example]:
    """Yield the examples that are measured. Both go in the order of the file."""
    wanted = iter(measured)
    source = next(wanted, None)
    for example in examples:
        if example.source == source:
            yield example
            source = next(wanted, None)


def _question(example: Example) -> Question:
    place = last_answer(example)
    before = example.messages[:place]
    return Question(example, before, _told(before), example.messages[place].text)


def last_answer(example: Example) -> int:
    """Return the place of the last assistant turn, −1 where there is none."""
    return max((place for place, turn in enumerate(example.messages) if turn.role == "assistant"), default=-1)


def _told(messages: Sequence[Message]) -> str:
    """Return a prompt as people read it: one turn by its text alone, several each with its role."""
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)
