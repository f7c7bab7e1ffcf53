"""What becomes of private pieces: in one text, in whatever a row holds, in a whole example."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from typing import Any

from luthier.core.example import Example, Message
from luthier.data.clean.privacy.hits import Hit

Look = Callable[[str], Sequence[Hit]]
"""Finds private pieces in a text, in order, none over another."""

Instead = Callable[[str, str], str | None]
"""Says what to write instead, of the kind and the piece; None leaves it."""

MOST_PASSES = 5

MOST_REPEATED = 100
"""So many pieces of a row are looked for again. A row with more is a list of customers, each found on its own."""

ALNUM = re.compile(r"[A-Za-z0-9]")

LONG_NUMBER = 10**12
"""No smaller number is a card's."""


@dataclass(slots=True)
class Rewriter:
    """Rewrites what a row holds, and remembers what it met."""

    look: Look
    look_again: Look
    """Looks at what was rewritten. A plug-in that guesses must not take stand-ins for names."""
    instead: Instead
    first: Callable[[str], str] = str
    """What is done to a text before the look."""
    met: dict[str, None] = field(default_factory=dict)
    """Kinds, in the order in which they were met."""
    replaced: dict[str, str] = field(default_factory=dict)
    """Pieces that were replaced, and their kinds."""

    def text(self, text: str) -> str:
        """Return a text with what is private replaced. JSON stays JSON: a number that is masked becomes a text."""
        text = self.first(text)
        rewritten, _ = self._replaced(text)
        if text[:1] in ("{", "[") and (rewritten != text or "\\u" in text):
            whole = _parsed(text)
            if whole is not None and ("\\u" in text or _parsed(rewritten) is None):
                inside = self.value(whole)
                return text if inside == whole else json.dumps(inside, ensure_ascii=False)
        return rewritten

    def _replaced(self, text: str) -> tuple[str, list[tuple[Hit, str]]]:
        """Return a text rewritten, and what was replaced by what."""
        hits = self.look(text)
        if not hits:
            return text, []
        self.met.update(dict.fromkeys(hit.kind for hit in hits))
        told = ((hit, self.instead(hit.kind, text[hit.start : hit.end])) for hit in hits)
        changes = [(hit, instead) for hit, instead in told if instead is not None]
        self.replaced.update((text[hit.start : hit.end], hit.kind) for hit, _ in changes)
        return (_with(text, changes) if changes else text), changes

    def example(self, example: Example) -> Example:
        """Return an example with all its texts rewritten; the same object where nothing changes."""
        settled: Example = self._settled(Rewriter._example, example)
        return settled

    def row(self, row: Any) -> Any:
        """Return a row as a file holds it, rewritten likewise."""
        return self._settled(Rewriter.value, row)

    def _settled(self, through: Callable[["Rewriter", Any], Any], item: Any) -> Any:
        """Rewrite until nothing changes: what a piece hid, going away, must not be left to see.

        What was found once is replaced everywhere in the row. `my number is 4155552671` tells what the digits are when
        the answer says them again.
        """
        for _ in range(MOST_PASSES):
            rewritten = through(self, item)
            if rewritten is item:
                break
            known = partial(_occurrences, dict(islice(self.replaced.items(), MOST_REPEATED)))
            item = through(Rewriter(known, known, self.instead), rewritten)
            self.look = self.look_again
        self.replaced.clear()
        return item

    def value(self, value: Any) -> Any:
        """Return whatever JSON can hold, its texts rewritten one by one; the same object where nothing changes."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            keys = _apart([self.text(key) for key in value])
            return _same_or(value, dict(zip(keys, map(self.value, value.values()), strict=True)))
        if isinstance(value, list | tuple):
            return _same_or(value, type(value)(self.value(item) for item in value))
        if isinstance(value, int) and not isinstance(value, bool) and value >= LONG_NUMBER:
            number = str(value)
            return value if (rewritten := self.text(number)) == number else rewritten
        return value

    def _example(self, example: Example) -> Example:
        messages = tuple(map(self._turn, example.messages))
        rejected = tuple(map(self._turn, example.rejected))
        tags = self.value(example.tags) if example.tags else example.tags
        tools = self.value(example.tools) if example.tools else example.tools
        label = self.value(example.label)
        before = (*example.messages, *example.rejected)
        same = all(new is old for new, old in zip((*messages, *rejected), before, strict=True))
        if same and (tags, tools, label) == (example.tags, example.tools, example.label):
            return example
        return replace(example, messages=messages, rejected=rejected, tags=tags, tools=tools, label=label)

    def _turn(self, message: Message) -> Message:
        extra = self.value(message.extra) if message.extra else message.extra
        if message.extra and (learned := message.extra.get("learn")) is not None:
            text, changes = self._replaced(message.text)
            if changes:
                extra = {**extra, "learn": _moved(learned, changes)}
        else:
            text = self.text(message.text)
        if text == message.text and extra is message.extra:
            return message
        return replace(message, text=text, extra=extra)


def _occurrences(pieces: Mapping[str, str], text: str) -> list[Hit]:
    """Find pieces that are known, as whole words."""
    hits: list[Hit] = []
    for piece, kind in pieces.items():
        start = text.find(piece)
        while start >= 0:
            end = start + len(piece)
            if not ALNUM.match(text, end) and not (start and ALNUM.match(text, start - 1)):
                hits.append(Hit(start, end, kind))
            start = text.find(piece, end)
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if not kept or hit.start >= kept[-1].end:
            kept.append(hit)
    return kept


def _apart(keys: Sequence[str]) -> Sequence[str]:
    """Return keys such that two that were masked alike stay two."""
    if len({*keys}) == len(keys):
        return keys
    numbers = {key: count(1) for key, many in Counter(keys).items() if many > 1}
    return [f"{key} {next(numbers[key])}" if key in numbers else key for key in keys]


def _same_or(old: Any, new: Any) -> Any:
    return old if new == old else new


def _with(text: str, changes: Sequence[tuple[Hit, str]]) -> str:
    pieces: list[str] = []
    last = 0
    for hit, instead in changes:
        pieces += (text[last : hit.start], instead)
        last = hit.end
    return "".join([*pieces, text[last:]])


def _parsed(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


def _moved(spans: Any, changes: Sequence[tuple[Hit, str]]) -> Any:
    """Return spans of characters to learn where their text stands now; one that ends inside a piece takes all of it."""
    with suppress(TypeError, ValueError):
        return [[_place(start, changes, begins=True), _place(end, changes, begins=False)] for start, end in spans]
    return spans  # no spans: whoever reads them says so


def _place(place: int, changes: Sequence[tuple[Hit, str]], *, begins: bool) -> int:
    shift = 0
    for hit, instead in changes:
        if place <= hit.start:
            break
        if place < hit.end:
            return hit.start + shift + (0 if begins else len(instead))
        shift += len(instead) - (hit.end - hit.start)
    return place + shift
