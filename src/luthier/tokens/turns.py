"""Which part of a rendered conversation is learned, found from the template itself.

A turn's place in the text is the difference between rendering the conversation up to it and with it. No marker
strings: text of the user that looks like an answer, empty turns and odd spacing can't move a boundary.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Any

Turn = dict[str, Any]
Render = Callable[[Sequence[Turn], bool], str]
"""Takes turns and whether to open an answer; returns the text."""

OURS = ("weight", "train", "learn")
"""Keys of a turn that speak to luthier, and are not shown to the template."""

REASONING = ("reasoning_content", "thinking", "reasoning")
"""Names under which data carry what a model thought before it answered; Transformers reads the same three."""


class UnfaithfulError(ValueError):
    """The template can't render this conversation so that what is learned is what will be asked."""


@dataclass(frozen=True, slots=True)
class Learned:
    """One learned turn: the characters it adds, and which of them are targets."""

    turn: int
    """Its place in the conversation, from 0."""
    start: int
    """Where the text it adds begins: a server's prompt ends here."""
    end: int
    """Where that text ends, its stop token and what follows it included."""
    ranges: tuple[tuple[int, int], ...]
    """Character ranges to learn."""
    until_stop: bool
    """Whether the last range ends with the turn: at its stop token, not at line ends the template puts behind it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One text to train on, with the turns that are learned from it."""

    text: str
    learned: tuple[Learned, ...]


def parts(
    render: Render,
    turns: Sequence[Turn],
    *,
    first: int = 0,
    learn: str = "assistant",
    stops: Pattern[str] | None = None,
) -> list[Part]:
    """Return the texts that teach the wanted turns of a conversation, as few as the template allows.

    A template that only appends needs one. One that rewrites earlier turns (strips their reasoning, moves tools to
    the last question) gets a text for each state in which an answer is asked for, so every learned answer stands
    behind exactly the text a server will send.

    Args:
        render: The template.
        turns: The conversation.
        first: The first turn that may be learned.
        learn: `assistant`, `last` (the last answer only), `all` (every character of the text) or `none` (the text
            alone).
        stops: Finds a stop token at which an answer has ended when nothing but another one follows.

    Raises:
        UnfaithfulError: The template changes or drops what would be learned.
    """
    for place, turn in enumerate(turns):
        _calls(turn, place)
    whole = render(turns, False)
    if learn == "none":
        return [Part(whole, ())]
    if learn == "all":
        return [Part(whole, tuple(_everything(render, turns, whole)))]
    places = [place for place in wanted(turns, learn) if place >= first]
    added = {place: _added(render, turns, place, whole, stops) for place in places}
    found: list[Part] = []
    rest = sorted(added)
    text = whole
    while rest:
        covered = [place for place in rest if added[place].within(text, whole)]
        if covered:
            found.append(Part(text, tuple(added[place].learned for place in covered)))
            rest = [place for place in rest if place not in covered]
        if rest:
            last = added[rest[-1]]
            text = whole if last.text is None else last.text
    return found[::-1]


def _calls(turn: Turn, place: int) -> None:
    """Refuse tool calls that are none, before a template stumbles over them in words of its own."""
    for call in turn.get("tool_calls") or ():
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise UnfaithfulError(f"a tool call of turn {place + 1} has no function with a name")


def wanted(turns: Sequence[Turn], learn: str) -> list[int]:
    """Return the places of the turns to learn: answers, unless the row's own `train` or `weight` says otherwise."""
    flags = {place: _flag(turn, place) for place, turn in enumerate(turns)}
    answers = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    if learn == "last":
        answers = answers[-1:]
    return [place for place in flags if flags[place] or (flags[place] is None and place in answers)]


def _flag(turn: Turn, place: int) -> bool | None:
    """Return what a row says about a turn itself; None where it says nothing.

    `train` (true or false) may stand at any turn. `weight` is OpenAI's: 0 or 1, and answers only.
    """
    if turn.get("learn") == []:
        return False  # nothing of it is named
    for name in ("train", "weight"):
        value = turn.get(name)
        if value is None or (name == "weight" and turn["role"] != "assistant"):
            continue
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            allowed = "true or false" if name == "train" else "0 or 1"
            raise UnfaithfulError(f"`{name}` of turn {place + 1} is {json.dumps(value, default=str)}, not {allowed}")
        # A weight of 1 is what an answer has anyway: it asks for nothing.
        return bool(value) if name == "train" else None if value else False
    return True if turn.get("learn") is not None else None


def _everything(render: Render, turns: Sequence[Turn], whole: str) -> Iterator[Learned]:
    """Yield the whole text, cut where answers end, without the turns that their rows take out."""
    reached = 0
    for place, turn in enumerate(turns):
        out = _flag(turn, place) is False
        if not out and turn["role"] != "assistant":
            continue
        after = whole if place + 1 == len(turns) else render(turns[: place + 1], False)
        before = _before(render, turns[:place], turn["role"] == "assistant", after, "") if out else ""
        if not whole.startswith(after) or not after.startswith(before):
            if out:
                raise UnfaithfulError(f"the template rewrites, so turn {place + 1} can't be taken out")
            continue
        past = len(before) if out else len(after)
        if past > reached:
            yield Learned(place, 0, past, ((reached, past),), until_stop=False)
        reached = len(after)
    if reached < len(whole):
        yield Learned(len(turns), 0, len(whole), ((reached, len(whole)),), until_stop=False)


@dataclass(frozen=True, slots=True)
class _Added:
    text: str | None
    """The text up to and with the turn; None where it is the beginning of the whole one: of long conversations that
    would be the square of their length."""
    learned: Learned

    def within(self, text: str, whole: str) -> bool:
        """Say whether a text begins with the one this turn was learned from."""
        if self.text is not None:
            return text.startswith(self.text)
        return text is whole or text.startswith(whole[: self.learned.end])


def _added(render: Render, turns: Sequence[Turn], place: int, whole: str, stops: Pattern[str] | None = None) -> _Added:
    """Return the text up to and with a turn, and what of it is learned."""
    turn = turns[place]
    answer = turn["role"] == "assistant"
    after = whole if place + 1 == len(turns) else render(turns[: place + 1], False)
    before = _before(render, turns[:place], answer, after, turn.get("content") or "")
    if not after.startswith(before):
        plain = render(turns[:place], False) if place else ""
        raise UnfaithfulError(_moved(before, after, place, answer) + _thinks(turn, plain, before))
    start = len(before)
    if stops and (stop := stops.search(after, start)):
        after = after[: stop.end()]
    end = len(after)
    if answer:
        _whole(render, turns, after, start, place)
    ranges: tuple[tuple[int, int], ...] = ((start, end),)
    if turn.get("learn") is not None or not answer:
        ranges = _spans(render, turns[: place + 1], after)
    same = whole.startswith(after)
    return _Added(None if same else after, Learned(place, start, end, ranges, until_stop=ranges[-1][1] == end))


def _before(render: Render, earlier: Sequence[Turn], answer: bool, after: str, content: str) -> str:
    if earlier:
        return render(earlier, answer)
    if not answer:
        return ""
    nowhere = "it begins with an answer, and nothing shows where the template opens it"
    try:
        opened, closed = render([], True), render([], False)
    except Exception as error:
        raise UnfaithfulError(nowhere) from error
    if opened == closed and not (content and after.startswith(opened + content)):
        raise UnfaithfulError(nowhere)
    return opened


def _moved(before: str, after: str, place: int, answer: bool) -> str:
    """Say where a text that should only have grown was changed."""
    pairs = enumerate(zip(before, after, strict=False))
    same = next((place for place, (one, other) in pairs if one != other), min(len(before), len(after)))
    asked, told = before[same : same + 30], after[same : same + 30]
    what = "an answer is asked for" if answer else "the turn is added"
    return (
        f"the template changes earlier text when turn {place + 1} is added: where {what} it writes "
        f"{json.dumps(asked, ensure_ascii=False)}, with the turn {json.dumps(told, ensure_ascii=False)}"
    )


def _thinks(turn: Turn, plain: str, before: str) -> str:
    """Return a word on templates that open a thought for every answer, or for none."""
    if "<think" not in before[len(plain) :]:
        return ""
    if any(turn.get(key) for key in REASONING):
        return "; the row holds reasoning, and the template asks for answers in another way than it writes them"
    return (
        "; it makes the model think before every answer: give the answers their `reasoning_content`, choose another "
        "`train.template`, or switch it off where it can be, as with `train.template_options: {enable_thinking: false}`"
    )


def _whole(render: Render, turns: Sequence[Turn], after: str, start: int, place: int) -> None:
    """Refuse a template that drops a part of an answer: it would be missing in silence.

    The opening of an answer may be a part of what the data hold as its text, such as `<think>`.
    """
    turn, text = turns[place], after[start:]
    if "<" in (turn.get("content") or "")[:1]:
        plain = render(turns[:place], False) if place else ""
        text = after[len(plain) :] if after.startswith(plain) else text
    said = {"text": turn.get("content") or ""}
    said["reasoning"] = next((str(turn[key]) for key in REASONING if turn.get(key)), "")
    for what, words in said.items():
        if isinstance(words, str) and not _holds(text, words):
            raise UnfaithfulError(f"the template drops a part of the {what} of turn {place + 1}")
    for call in turn.get("tool_calls") or ():
        function = (call.get("function") or call) if isinstance(call, dict) else {}
        if function.get("name", "") not in text:
            raise UnfaithfulError(f"the template does not write the tool call of turn {place + 1}")
        if not all(_written(text, leaf) for leaf in _leaves(function.get("arguments"))):
            raise UnfaithfulError(f"the template drops an argument of the tool call of turn {place + 1}")


def _leaves(value: Any) -> Iterator[str | int | float]:
    """Yield the texts and numbers in an argument, however deep."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value


def _written(text: str, leaf: str | float) -> bool:
    """Say whether an argument stands in a text, plain or as JSON."""
    forms = [leaf] if isinstance(leaf, str) else [str(leaf)]
    forms += [json.dumps(leaf, ensure_ascii=escaped).strip('"') for escaped in (False, True)]
    return any(_holds(text, form) for form in forms)


def _holds(text: str, words: str) -> bool:
    """Say whether a text holds these words, whatever white space the template puts or leaves out."""
    return words.strip() in text or "".join(words.split()) in "".join(text.split())


def missing(text: str, turns: Sequence[Turn], learned: Collection[int] = ()) -> list[str]:
    """Return the roles whose text the template left out of the whole conversation.

    Learned turns were looked at when they were found: they may stand in a text of their own.
    """
    texts = [(turn["role"], turn.get("content")) for place, turn in enumerate(turns) if place not in learned]
    return sorted({role for role, words in texts if isinstance(words, str) and not _holds(text, words)})


def _spans(render: Render, turns: Sequence[Turn], after: str) -> tuple[tuple[int, int], ...]:
    """Return the characters of the last turn that its `learn` names, or its text; to its end if they reach so far.

    Its text is found by rendering it between two marks: the same words may stand in its header or its reasoning.
    """
    turn, place = turns[-1], len(turns) - 1
    content = turn.get("content") or ""
    opening, closing = [mark for mark in map(chr, range(0xF0000, 0xF0100)) if mark not in after][:2]
    marked = render([*turns[:-1], {**turn, "content": f"{opening}{content}{closing}"}], False)
    found = marked.find(opening)
    clean = marked.replace(opening, "").replace(closing, "")
    if found < 0 or marked.find(closing) != found + 1 + len(content) or not clean.startswith(after):
        raise UnfaithfulError(f"the template changes the text of turn {place + 1}, so its spans can't be found")
    named = turn["learn"] if turn.get("learn") is not None else [[0, len(content)]]
    if not isinstance(named, list | tuple):
        raise UnfaithfulError(f"`learn` of turn {place + 1} is no list of spans [first, end)")
    ranges = []
    reached = 0
    for span in named:
        begin, end = _span(span, len(content), place)
        if begin < reached:
            raise UnfaithfulError(f"the spans of turn {place + 1} overlap or stand out of order")
        reached = end
        ranges.append((found + begin, len(after) if end == len(content) else found + end))
    return tuple(ranges)


def _span(span: Any, length: int, place: int) -> tuple[int, int]:
    whole = isinstance(span, list | tuple) and len(span) == 2 and all(type(edge) is int for edge in span)
    if not whole or not 0 <= span[0] < span[1] <= length:
        # An empty text has no characters to name, but its stop token may still be learned.
        if whole and length == 0 and tuple(span) == (0, 0):
            return 0, 0
        raise UnfaithfulError(
            f"turn {place + 1} has {length} characters, and `learn` names {json.dumps(span, default=str)}; "
            "spans are [first, end), counted from 0"
        )
    return span[0], span[1]
