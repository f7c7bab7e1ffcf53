"""Conversations to token ids, and which of those ids are learned.

Shapes: T tokens of one example.
"""

import json
import math
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import islice
from re import Pattern, escape
from re import compile as regex
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from tokenizers import Tokenizer

from luthier.core.errors import ModelError
from luthier.core.example import TEXT, Example, Message, Source
from luthier.recipe.methods import Rows
from luthier.tokens.bpe import EVERY, DiffersError, FastBpe, fast_bpe
from luthier.tokens.documents import Pieces
from luthier.tokens.template import PLAIN, named
from luthier.tokens.worker import Worker, Workers


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as the model sees it: an example, or a part of one whose earlier turns the template rewrites."""

    input_ids: NDArray[np.int32]
    """Shape (T,)."""
    learned: NDArray[np.bool_]
    """Shape (T,): True where the token is a target, i.e. text of a learned turn or its stop token."""
    source: Source
    ends: tuple[int, ...] = ()
    """Where each learned turn ends: the place after its last learned token, in tokens. Of a text with a class: where it
    ends, before what the tokenizer puts behind it."""
    cut: int = 0
    """Tokens that truncation took away."""
    traits: frozenset[str] = field(default=frozenset(), compare=False)
    """What a person should know about it: `control tokens in the text`, `system text is not rendered` …"""
    label: float = math.nan
    """What objectives with labels learn from: the number of a class, 1 or 0 for a good or bad answer, the margin of a
    preference. NaN where there is none."""

    @property
    def length(self) -> int:
        """Return T."""
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class Refused:
    """An example the template can't render faithfully, and why."""

    source: Source
    reason: str
    limit: bool = False
    """Whether the template reached a limit of time, memory or output."""


Tokens = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Ids, shape (T,), and where in the text each begins and ends, shape (T, 2)."""

Around = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Ids before a text and behind it."""

Result = tuple[Encoded, ...] | Refused
"""What becomes of an example: usually one text, two of a pair, several where the template rewrites history."""

CONTROL = "control tokens in the text"
HALF = "a span begins or ends inside a token, which is not learned"
JOINED = "prompt and answer are encoded apart, because they would share a token"
UNMARKED = "differs from the template's own `{% generation %}` marks"


TAIL = regex(r"\S{0,16}\s*\Z")


class Renderer:
    """The chat template of one tokenizer, and the ids that end an answer.

    Args:
        tokenizer: A fast Transformers tokenizer.
        stop_ids: Ids at which generation stops, from the model's generation config; the tokenizer's own is added.
        template: Jinja text to use in place of the tokenizer's own; several by name, of which `tool_use` is for tools.
        source: Where that text comes from, in words.
        learn: `assistant` (every answer), `last` (the last one) or `all` (every token).
        rows: What examples are, as `luthier.recipe.methods.Rows` has it. Of a pair and a judged answer the ending alone
            is learned; plain text as a whole; of a text with a class its last token stands for the class.
        classes: Names of the classes, in the order of their numbers.
        now: What a template that writes the date is told.
        place: The model, for messages.

    Raises:
        ModelError: The tokenizer has no stop token, or is not a fast one (offsets are needed).
    """

    def __init__(  # noqa: PLR0913 - each decides a token
        self,
        tokenizer: Any,
        stop_ids: Sequence[int] = (),
        *,
        template: str | dict[str, str] | None = None,
        source: str = "",
        learn: str = "assistant",
        rows: Rows = "conversation",
        classes: Sequence[str] = (),
        now: datetime | None = None,
        place: str = "",
    ) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                "the tokenizer has no `tokenizer.json`",
                hint="convert it once: load it with transformers and save it again",
                place=place,
            )
        stops = {*stop_ids} | ({tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set())
        if not stops:
            raise ModelError(
                "the tokenizer names no stop token, so no answer would ever end",
                hint='add `"eos_token"` to tokenizer_config.json',
                place=place,
            )
        self.tokenizer = tokenizer
        self.stop_ids = frozenset(stops)
        self.place = place
        self.source = "tokenizer"
        if template is not None:
            self.source = source or "given"
            tokenizer.chat_template = template
        elif not tokenizer.chat_template:
            self.source = PLAIN
            tokenizer.chat_template = named(PLAIN, tokenizer)
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self.learn = learn
        self.rows = rows
        self.classes = tuple(classes)
        self.now = now or datetime.now()
        self.template_place = source if template is not None and source else place
        self._worker: Worker | None = None
        self._ends: dict[tuple[str, str], bool] = {}
        """Ends of prompts, with what follows them: whether that changes their ids."""

    # What a template makes of a conversation --------------------------------------------------------------

    def setting(self) -> dict[str, Any]:
        """Return what the template process is told first. With the texts to render, it decides every token."""
        added = self.tokenizer.added_tokens_decoder.values()
        return {
            "template": self.tokenizer.chat_template,
            "variables": self.tokenizer.special_tokens_map,
            "now": self.now.isoformat(),
            "special": [token.content for token in added if token.special],
            "added": [token.content for token in added],
            "stops": [text for text in map(self._text_of, sorted(self.stop_ids)) if text],
            "learn": self.learn,
            "rows": self.rows,
        }

    def _text_of(self, token: int) -> str:
        added = self.tokenizer.added_tokens_decoder.get(token)
        return added.content if added is not None else ""

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._worker is None:
            self._worker = Worker(self.setting(), self.template_place)
            weakref.finalize(self, self._worker.close)
        return self._worker.ask([json.dumps(request).encode()])[0]

    def text(self, messages: Sequence[Message], *, tools: Sequence[Any] = (), ask: bool = False) -> str:
        """Return the conversation as text; with `ask`, followed by the opening of an assistant turn.

        Raises:
            ModelError: The template refuses the conversation.
        """
        return str(self._rendered(messages, tools, ask)["text"])

    def _rendered(self, messages: Sequence[Message], tools: Sequence[Any], ask: bool) -> dict[str, Any]:
        turns = [message.as_dict() for message in messages]
        told = self._ask({"messages": turns, "tools": [*tools], "ask": ask})
        if "text" not in told:
            raise ModelError(
                str(told.get("refused") or told.get("limit")),
                hint="choose another template with `train.template`",
                place=self.place,
            )
        return told

    def prompt_ids(self, messages: Sequence[Message], *, tools: Sequence[Any] = ()) -> list[int]:
        """Return what a server feeds the model before it answers."""
        told = self._rendered(messages, tools, ask=True)
        return self._tokens(told["text"], told["marked"])[0].tolist()  # type: ignore[no-any-return]

    # Ids ---------------------------------------------------------------------------------------------------

    def ids(self, text: str) -> list[int]:
        """Return the ids of rendered text. The template alone decides about a start token: none is added."""
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return ids

    def _tokens(self, text: str, marked: Sequence[Sequence[int]]) -> Tokens:
        """Return ids, shape (T,), and where in the text each begins and ends, shape (T, 2).

        Text between marks reads like a control token and is none: it is encoded as plain text, as Transformers does
        with `sanitize_control_tokens`.
        """
        if not marked:
            return _arrays(self.backend.encode(text, add_special_tokens=False))
        pieces = []
        reached = 0
        for start, end in [*marked, (len(text), len(text))]:
            pieces += [(reached, text[reached:start], False), (start, text[start:end], True)]
            reached = end
        found = [self._piece(piece, at, plain=plain) for at, piece, plain in pieces if piece]
        return np.concatenate([ids for ids, _ in found]), np.concatenate([offsets for _, offsets in found])

    def _piece(self, piece: str, at: int, *, plain: bool) -> Tokens:
        """Return ids and offsets of a piece from the middle of a text that begins at character `at`."""
        lead = "\n" if at else ""  # so that SentencePiece tokenizers do not put a space before it
        backend = self._bare if plain else self.backend
        opening = backend.encode(lead, add_special_tokens=False).ids
        ids, offsets = _arrays(backend.encode(lead + piece, add_special_tokens=False))
        if ids[: len(opening)].tolist() != opening:  # the piece begins with a line end of its own
            lead, opening = "", []
            ids, offsets = _arrays(backend.encode(piece, add_special_tokens=False))
        ids, offsets = ids[len(opening) :], np.maximum(offsets[len(opening) :] - len(lead), 0) + at
        if plain and len(piece) > 1 and not self._control.isdisjoint(ids.tolist()):
            # Some vocabularies hold their control tokens as words too: letter by letter they are none.
            letters = [self._piece(letter, at + place, plain=True) for place, letter in enumerate(piece)]
            return np.concatenate([one[0] for one in letters]), np.concatenate([one[1] for one in letters])
        return ids, offsets

    # Plain text -------------------------------------------------------------------------------------------

    def documents(
        self, requests: Iterable[tuple[Source, bytes]], *, fast: bool = False
    ) -> Iterator[tuple[Source, Result]]:
        """Yield plain texts to be learned whole, as `encode_all` does, which leads here."""
        for group in _groups(requests):
            texts = [_plain_text(row) for _, row in group]
            sources = [source for source, _ in group]
            group.clear()  # a text may be large: nothing of it stays longer than it must
            found: list[list[NDArray[np.int32]]] = [[] for _ in texts]
            for number, ids in self._plain_ids(texts, fast=fast):
                found[number].append(ids)
            controls = [None if text is None else bool(self._commands.search(text)) for text in texts]
            texts.clear()
            for source, control, ids_of in zip(sources, controls, found, strict=True):
                yield source, self._document(source, control, ids_of)

    def _document(self, source: Source, control: bool | None, found: list[NDArray[np.int32]]) -> Result:
        """Return a document: the tokenizer's start token where it puts one, the text, and a stop token."""
        if control is None:
            return Refused(source, "it is a conversation, and the objective learns from plain text")
        start, end = self.around
        closing = end if len(end) and int(end[-1]) == self.stop else np.array([self.stop], dtype=np.int32)
        ids = np.concatenate([start, *found, closing])
        found.clear()
        learned = np.ones(len(ids), dtype=np.bool_)
        learned[: max(1, len(start))] = False
        return (Encoded(ids, learned, source, traits=frozenset({CONTROL} if control else ())),)

    def _plain_ids(self, texts: Sequence[str | None], *, fast: bool) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield the ids of texts, piece by piece, with the number of the text each belongs to."""
        pieces = ((number, *piece) for number, text in enumerate(texts) if text for piece in self.pieces(text))
        lead, count = self._pieces.lead, len(self._pieces.opening)
        while batch := list(islice(pieces, EVERY)):
            texts_of = [(lead if at else "") + piece for _, at, piece, plain in batch if not plain]
            encoded = iter(self._many(texts_of, fast=fast))
            for number, at, piece, plain in batch:
                ids = self._piece(piece, at, plain=True)[0] if plain else next(encoded)[0]
                if lead and at and not plain:
                    led = self._pieces.led(ids.tolist())
                    ids = ids[count:] if led else self._piece(piece, at, plain=False)[0]
                yield number, ids

    def pieces(self, text: str) -> Iterator[tuple[int, str, bool]]:
        """Yield the pieces of a plain text: where each begins, and whether it only looks like a control token."""
        reached = 0
        for start, end in [*(match.span() for match in self._commands.finditer(text)), (len(text), len(text))]:
            if start > reached:
                yield from ((reached + at, piece, False) for at, piece in self._pieces.of(text[reached:start]))
            if end > start:
                yield start, text[start:end], True
            reached = end

    def places(self, text: str) -> NDArray[np.int64]:
        """Return where in a plain text each of its tokens begins and ends, shape (T, 2)."""
        found = [
            self._piece(piece, at, plain=plain)
            if at or plain
            else _arrays(self.backend.encode(piece, add_special_tokens=False))
            for at, piece, plain in self.pieces(text)
        ]
        return np.concatenate([np.zeros((0, 2), dtype=np.int64), *(places for _, places in found)])

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self.ids)

    @cached_property
    def _commands(self) -> Pattern[str]:
        """Return a pattern of the tokens that control a model, which no text may hold as more than text."""
        added = self.tokenizer.added_tokens_decoder
        texts = {token.content for number, token in added.items() if token.special or number in self.stop_ids}
        return regex("|".join(map(escape, sorted(texts, key=len, reverse=True))) or "(?!)")

    @cached_property
    def _control(self) -> frozenset[int]:
        return frozenset(self.tokenizer.added_tokens_decoder) | self.stop_ids

    @cached_property
    def _bare(self) -> Any:
        """Return the tokenizer without added tokens: it reads every text as text."""
        return Tokenizer.from_str(json.dumps(json.loads(self.backend.to_str()) | {"added_tokens": []}))

    # Examples ----------------------------------------------------------------------------------------------

    def encode(self, example: Example, rows: Rows | None = None) -> Result:
        """Return ids and learned flags of an example, or why it can't be learned; as `rows` other than its own.

        What is learned is found from the template by rendering with and without each answer
        (`luthier.tokens.turns`): all that a turn adds, up to and with its stop token. Special tokens that stand in
        the texts of the data are encoded as text.
        """
        if (rows or self.rows) == "text":
            return next(self.documents(self.requests([example])))[1]
        return self.read(example.source, self.told(example, rows))

    def told(self, example: Example, rows: Rows | None = None) -> dict[str, Any]:
        """Return what the template process makes of an example, as `read` takes it."""
        return self._ask({**request(example), "rows": rows or self.rows})

    def tokens_of(self, part: dict[str, Any]) -> Tokens:
        """Return the tokens of one of the `parts` of what the template process told."""
        return self._apart(part, self._tokens(part["text"], part["marked"]))[0]

    def workers(self, processes: int) -> Workers:
        """Return so many processes for `encode_all`; a context that ends them."""
        return Workers(self.setting(), count=processes, place=self.template_place)

    def encode_all(
        self,
        requests: Iterable[tuple[Source, bytes]],
        *,
        processes: int = 1,
        workers: Workers | None = None,
        fast: bool = False,
    ) -> Iterator[tuple[Source, Result]]:
        """Yield what becomes of many examples, in order.

        Args:
            requests: Where each example is from, and its line of a prepared file.
            processes: In how many the template runs; they are ended with the iteration.
            workers: Processes of one's own, for several calls.
            fast: Let tiktoken encode where it gives the same ids.

        Raises:
            DiffersError: It gave others. What was yielded is not to be used; the next call goes the sure way.
        """
        if self.rows == "text":  # no template
            yield from self.documents(requests, fast=fast)
            return
        if workers is None:
            with self.workers(processes) as own:
                yield from self.encode_all(requests, workers=own, fast=fast)
            return
        for batch in workers.ask_all(requests):
            texts = [part["text"] for _, told in batch for part in told.get("parts", ()) if not part["marked"]]
            encodings = iter(self._many(texts, fast=fast))
            for source, told in batch:
                yield source, self.read(source, told, encodings)

    def _many(self, texts: Sequence[str], *, fast: bool) -> list[Tokens]:
        """Return ids and places of many texts, the fast way where it gives the same."""
        quick = self._fast if fast else None
        found: list[Tokens | None] = [quick.encode(text) if quick else None for text in texts]
        for text, tokens in list(zip(texts, found, strict=True))[::EVERY]:
            if tokens is not None and tokens[0].tolist() != self.ids(text):
                self._fast = None
                raise DiffersError
        rest = [text for text, tokens in zip(texts, found, strict=True) if tokens is None]
        slow = iter(self.backend.encode_batch(rest, add_special_tokens=False) if rest else ())
        return [tokens or _arrays(next(slow)) for tokens in found]

    @cached_property
    def _fast(self) -> FastBpe | None:
        return fast_bpe(self.backend)

    @staticmethod
    def requests(examples: Iterable[Example]) -> Iterator[tuple[Source, bytes]]:
        """Yield examples as `encode_all` takes them."""
        for example in examples:
            yield example.source, json.dumps(request(example)).encode()

    def read(self, source: Source, told: dict[str, Any], encodings: Iterator[Tokens] | None = None) -> Result:
        """Return the tokens of what the template process told about an example."""
        if "parts" not in told:
            return Refused(source, str(told.get("refused") or told["limit"]), limit="limit" in told)
        traits = {f"{role} text is not rendered" for role in told["missing"]}
        if told["marked"]:
            traits.add(CONTROL)
        all_tokens = [
            next(encodings) if encodings and not part["marked"] else self._tokens(part["text"], part["marked"])
            for part in told["parts"]
        ]
        if "label" in told and self.rows == "class":
            return self._classified(source, told, all_tokens[0][0], traits)
        label = math.nan if told.get("label") is None else float(told["label"])
        parts = zip(told["parts"], all_tokens, strict=True)
        return tuple(self._part(source, part, tokens, traits, label) for part, tokens in parts)

    def _classified(self, source: Source, told: dict[str, Any], ids: NDArray[np.int32], traits: set[str]) -> Result:
        """Return a text with the number of its class; plain text with the tokens Transformers puts around it."""
        name = class_name(told["label"])
        if name not in self.classes:
            return Refused(source, f"no row to learn from is of its class `{name}`")
        behind = 0
        if told.get("plain"):
            start, end = self.around
            ids, behind = np.concatenate([start, ids, end]), len(end)
        if not len(ids):
            return Refused(source, "it has no token")
        last = np.arange(len(ids)) == len(ids) - 1
        label = float(self.classes.index(name))
        return (Encoded(ids, last, source, (len(ids) - behind,), traits=frozenset(traits), label=label),)

    @property
    def stop(self) -> int:
        """Return the token that ends a plain text."""
        stop = self.tokenizer.eos_token_id
        return min(self.stop_ids) if stop is None else int(stop)

    @cached_property
    def around(self) -> Around:
        """Return the tokens that the tokenizer puts before a text and behind it."""
        bare, full = (self.backend.encode("a", add_special_tokens=special).ids for special in (False, True))
        starts = [at for at in range(len(full) - len(bare) + 1) if full[at : at + len(bare)] == bare]
        at = starts[0] if starts else 0
        behind = full[at + len(bare) :] if starts else []
        return np.array(full[:at], dtype=np.int32), np.array(behind, dtype=np.int32)

    def _apart(self, part: dict[str, Any], tokens: Tokens) -> tuple[Tokens, bool]:
        """Return tokens none of which reaches over the end of a prompt, and whether any did.

        A server encodes the prompt alone, so the text is encoded in two where the two would share a token, or where
        white space at the end of a prompt is read otherwise when an answer follows. Behind
        such an answer later turns see it as it was generated; a server that encodes all history anew joins it.
        """
        starts, ends = tokens[1][:, 0], tokens[1][:, 1]
        cuts = []
        for start, _, _ in part["learned"]:
            first = int(ends.searchsorted(start, side="right"))
            if (first < len(starts) and starts[first] < start) or self._moves(part["text"], start):
                cuts.append((start, start))
        return (
            (self._tokens(part["text"], sorted([*map(tuple, part["marked"]), *cuts])), True)
            if cuts
            else (tokens, False)
        )

    def _moves(self, text: str, start: int) -> bool:
        """Return whether what follows changes how the white space before it is encoded.

        Only the end of the prompt can change, and there are few of them: each is looked at once.
        """
        before, behind = text[max(0, start - 2) : start], text[start : start + 1]
        if not (before[-1:].isspace() and (before.isspace() or behind.isspace())):
            return False
        end = TAIL.search(text, max(0, start - 64), start)
        tail, follows = text[end.start() if end else 0 : start], text[start : start + 2]
        if (tail, follows) not in self._ends:
            alone = self.ids(tail)
            self._ends[tail, follows] = self.ids(tail + follows)[: len(alone)] != alone
        return self._ends[tail, follows]

    def _part(self, source: Source, part: dict[str, Any], tokens: Tokens, traits: set[str], label: float) -> Encoded:
        tokens, apart = self._apart(part, tokens)
        ids, offsets = tokens
        if apart:
            traits = traits | {JOINED}
        learned = np.zeros(len(ids), dtype=np.bool_)
        ends = []
        for _start, ranges, until_stop in part["learned"]:
            last = 0
            for number, (start, end) in enumerate(ranges, start=1):
                first, past = _within(offsets, start, end, part["text"])
                missed = part["text"][start : offsets[first, 0] if first < past else end]
                if missed.strip():
                    traits = traits | {HALF}
                if until_stop and number == len(ranges):
                    past = self._after_stop(ids, first, past)
                learned[first:past] = True
                last = past
            ends.append(last)
        if (
            part["generated"]
            and self.learn == "assistant"
            and self.rows == "conversation"
            and _differ(learned, offsets, part)
        ):
            traits = traits | {UNMARKED}
        return Encoded(ids, learned, source, tuple(ends), traits=frozenset(traits), label=label)

    def _after_stop(self, ids: NDArray[np.int32], first: int, past: int) -> int:
        """Return the place after the last stop token of a range; its end where it has none."""
        for place in range(past - 1, first - 1, -1):
            if int(ids[place]) in self.stop_ids:
                return place + 1
        return past

    def learns_to_stop(self, encoded: Encoded) -> bool:
        """Return whether every learned turn ends with a stop token; where every token is learned, all do."""
        return (
            self.learn == "all"
            or self.rows in ("class", "text")
            or (len(encoded.ends) > 0 and all(self._stops_at(encoded, end) for end in encoded.ends))
        )

    def _stops_at(self, encoded: Encoded, end: int) -> bool:
        return end > 0 and bool(encoded.learned[end - 1]) and int(encoded.input_ids[end - 1]) in self.stop_ids


def _arrays(encoding: Any) -> Tokens:
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    return np.array(encoding.ids, dtype=np.int32), offsets


def request(example: Example) -> dict[str, Any]:
    """Return what the template process is asked about an example: its row, but for where it is from."""
    return {"tools": [], **example.as_dict()}


def _groups(requests: Iterable[tuple[Source, bytes]]) -> Iterator[list[tuple[Source, dict[str, Any]]]]:
    """Yield rows, about a megabyte together; a larger one ends its group."""
    group, size = [], 0
    for source, line in requests:
        group.append((source, orjson.loads(line)))
        size += len(line)
        if size > 1_000_000:
            yield group
            group, size = [], 0
    if group:
        yield group


def _plain_text(row: dict[str, Any]) -> str | None:
    """Return the text of a row; None where it is a conversation."""
    turns = row["messages"]
    return str(turns[0]["content"]) if [turn["role"] for turn in turns] == [TEXT] else None


def class_name(label: Any) -> str:
    """Return the name of a class as reports and models tell it."""
    return label if isinstance(label, str) else json.dumps(label)


def _within(offsets: NDArray[np.int64], start: int, end: int, text: str) -> tuple[int, int]:
    """Return the first token, and the one past the last, that lie whole in the characters from `start` to `end`.

    A token that also holds white space before `start` belongs to them. Offsets never fall. Some tokenizers give a
    space an empty place: one that lies behind `start` belongs to the range.
    """
    starts, ends = offsets[:, 0], offsets[:, 1]
    first = int(ends.searchsorted(start, side="right"))
    if first < len(starts) and starts[first] < start and text[starts[first] : start].strip():
        first += 1
    while first < len(starts) and ends[first] <= start:
        first += 1
    past = int(ends.searchsorted(end, side="right"))
    while past > first and starts[past - 1] >= end:
        past -= 1
    return first, max(first, past)


def _differ(learned: NDArray[np.bool_], offsets: NDArray[np.int64], part: dict[str, Any]) -> bool:
    """Return whether the template's own marks cover other tokens of the learned turns than are learned."""
    under = _under(offsets, part["generated"])
    if np.array_equal(learned, under):
        return False
    turns = _under(offsets, [[start, ranges[-1][1]] for start, ranges, _ in part["learned"]])
    return bool((learned != under)[turns].any())


def _under(offsets: NDArray[np.int64], spans: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Return which tokens lie under characters, as Transformers reads `{% generation %}` marks. Shape (T,)."""
    found = np.zeros(len(offsets), dtype=np.bool_)
    for start, end in spans:
        found |= (offsets[:, 1] > start) & (offsets[:, 0] < end)
    return found
