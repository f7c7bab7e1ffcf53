"""Where chat templates run: a process of their own, with a limit on time, memory and output.

A template is a program that came with a model. Jinja's sandbox keeps it from files and from Python's insides, not
from an endless loop or a text of a terabyte. So it runs in this process, which the kernel ends when one conversation
takes more than a second or so of processor time, and which can't get more than 256 MB. The parent speaks to it in
lines of JSON; nothing is pickled. Environment, filters and globals are those of Transformers (`apply_chat_template`);
a test holds them equal.

Started by `luthier.tokens.worker` as `python -P -m luthier.tokens.sandbox`.
"""

import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from re import Pattern, escape
from re import compile as regex
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
import jinja2.utils

from luthier.core.example import TEXT
from luthier.tokens.turns import OURS, REASONING, Part, Turn, UnfaithfulError, missing, parts

SECONDS, TURN = 1.0, 0.1
"""Processor time of a conversation, and more of it for each turn. Real templates take a thousandth of it."""

BYTES = 256_000_000
"""Memory of the whole process."""

NEEDS = f"the chat template needs more than {BYTES // 1_000_000} MB"

OUTPUT = 1_000_000, 16
"""Longest text: so many characters, and so many for each character of the conversation."""

MARKS = [chr(code) for code in range(0xF8FF, 0xF800, -1)]
"""Private-use characters; two that a conversation doesn't hold stand around control tokens in its texts."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End this process when a block takes more processor time, also in the middle of one long C call."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class TooMuch(Exception):  # noqa: N818 - it is no fault of the row
    """A rendering reached a limit."""


class Generation(jinja2.ext.Extension):
    """The `{% generation %}` block of Transformers: notes which characters it wrote."""

    tags = {"generation"}  # noqa: RUF012 - jinja declares it so

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        environment.extend(generation=self)
        self.written: list[str] | None = None
        self.spans: list[tuple[int, int]] = []

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        """Read the block; its body is called through `_block`."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_block"), [], [], body).set_lineno(line)

    def _block(self, caller: Callable[[], str]) -> str:
        text = caller()
        if self.written is not None:
            start = sum(map(len, self.written))
            self.spans.append((start, start + len(text)))
        return text

    @contextmanager
    def noting(self, written: list[str]) -> Iterator[list[tuple[int, int]]]:
        """Note spans while a template writes to `written`."""
        self.written, self.spans = written, []
        try:
            yield self.spans
        finally:
            self.written = None


class _Namespace(jinja2.utils.Namespace):
    """Jinja's, without names that begin with an underscore: they lead to Python's insides."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, rest = args[0], args[1:]
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _public(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)


def _public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        message = f"a template may not set `{name}`"
        raise jinja2.exceptions.SecurityError(message)


class _Dict:
    """`dict` for templates: makes them, and leads nowhere else."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """Return a dict of these keys."""
        return dict.fromkeys(*args)


def environment(now: datetime) -> jinja2.Environment:
    """Return the environment in which Transformers renders chat templates; `now` is what their clock tells."""

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": now.strftime,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return made


class Templates:
    """The templates of one tokenizer, compiled.

    Args:
        setting: What `luthier.tokens.render.Renderer` sends first: `template` (text, or name to text), `variables`,
            `now`, `special` and `added` (tokens), `learn`, `rows`.
    """

    def __init__(self, setting: dict[str, Any]) -> None:
        made = environment(datetime.fromisoformat(setting["now"]))
        texts = setting["template"]
        self.named = texts if isinstance(texts, dict) else {"default": texts}
        if "default" not in self.named:
            raise ValueError(f"there are several, and none is named `default`: {', '.join(self.named)}")
        self.compiled = {name: made.from_string(text) for name, text in self.named.items()}
        for template in self.compiled.values():
            # Copied for every rendering: from a plain dict that takes a quarter of the time.
            template.globals = {**template.globals}
        self.generation: Any = made.generation  # type: ignore[attr-defined]
        self.variables = setting["variables"]
        self.learn = setting["learn"]
        self.rows = setting["rows"]
        self.literal = "\0".join(_literals(made, text) for text in self.named.values())
        written = [token for token in setting["added"] if not token.isspace() and token in self.literal]
        # A stop token ends an answer whether or not the tokenizer calls it special.
        special = [*dict.fromkeys([*setting["special"], *setting["stops"]])]
        self.beginnings = {form for token in {*special, *written} for form in _beginnings(token)}
        self.stops = _ended(setting["stops"])
        self.special = _any_of(special)
        self.control = _any_of([*special, *written])

    def render(self, turns: Sequence[Turn], tools: Any, ask: bool, limit: int) -> tuple[str, list[tuple[int, int]]]:
        """Return the text of turns, and the spans its `{% generation %}` blocks wrote.

        Raises:
            TooMuch: The text is longer than `limit`.
        """
        name = "tool_use" if tools is not None and "tool_use" in self.compiled else "default"
        written: list[str] = []
        length = 0
        with self.generation.noting(written) as spans:
            for piece in self.compiled[name].generate(
                messages=turns, tools=tools, documents=None, add_generation_prompt=ask, **self.variables
            ):
                written.append(piece)
                length += len(piece)
                if length > limit:
                    raise TooMuch("the chat template writes a text without end")
        text = "".join(written)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UnfaithfulError("the text holds half a character, which no tokenizer reads") from error
        return text, spans


def _literals(made: jinja2.Environment, text: str) -> str:
    """Return all that a template can write by itself."""
    tree = made.parse(text)
    found = [node.data for node in tree.find_all(jinja2.nodes.TemplateData)]
    found += [node.value for node in tree.find_all(jinja2.nodes.Const) if isinstance(node.value, str)]
    return "\0".join(found)


def _ended(stops: Sequence[str]) -> Pattern[str] | None:
    """Return a pattern of a stop token after which a text holds nothing but white space and another one.

    Some templates write `<|end|>` and, only behind the last turn, `<|endoftext|>`. No server gets so far.
    """
    if not stops:
        return None
    one = _any_of(stops).pattern
    return regex(rf"(?:{one})(?=\s+(?:{one})\s*\Z)")


def _any_of(tokens: Sequence[str]) -> Pattern[str]:
    """Return a pattern of these texts, the longest first; of none, one that never matches."""
    return regex("|".join(map(escape, sorted(tokens, key=len, reverse=True))) or "(?!)")


def _beginnings(token: str) -> tuple[bytes, bytes]:
    """Return how the first letters of a token stand in a line of JSON, with and without escapes."""
    first = token[:2]
    return json.dumps(first, ensure_ascii=False)[1:-1].encode(), json.dumps(first)[1:-1].encode()


def plain_turn(turn: Turn) -> Turn:
    """Return a turn as Transformers and vLLM show it to a template.

    Keys without a value are left out; reasoning stands under the names templates read; the arguments of a tool call
    are an object, where the data hold them as JSON text.
    """
    shown = {key: value for key, value in turn.items() if value is not None}
    reasoning = next((turn[key] for key in REASONING if turn.get(key) is not None), None)
    if reasoning is not None:
        shown = {"thinking": reasoning, **shown, "reasoning_content": reasoning}
    if isinstance(shown.get("function_call"), dict) and not shown.get("tool_calls"):
        shown["tool_calls"] = [{"type": "function", "function": shown.pop("function_call")}]  # OpenAI before 2023-11
    if isinstance(shown.get("tool_calls"), list):
        shown["tool_calls"] = [_plain_call(call) for call in shown["tool_calls"]]
    return shown


def _plain_call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    shown = {key: value for key, value in call.items() if value is not None}
    if isinstance(shown.get("function"), dict):
        return {**shown, "function": _plain_call(shown["function"])}
    if isinstance(shown.get("arguments"), str):
        try:
            parsed = json.loads(shown["arguments"])
        except ValueError:
            return shown  # broken arguments are what the model really said: they stay text
        if isinstance(parsed, dict):
            return {**shown, "arguments": parsed}
    return shown


class Marked:
    """A conversation in whose texts control tokens stand between two marks, so that they are read as text later.

    Args:
        templates: Knows which tokens control.
        turns: The conversation.
        tools: Its tools.
        look: Whether a control token may be in there at all.
    """

    def __init__(self, templates: Templates, turns: list[Turn], tools: Any, *, look: bool = True) -> None:
        self.turns, self.tools = turns, tools
        self.marks: tuple[str, str] | None = None
        if not look or not any(_found(templates.control, value) for value in (turns, tools)):
            return
        text = json.dumps([turns, tools, templates.variables], ensure_ascii=False) + templates.literal
        free = [mark for mark in MARKS if mark not in text and _escaped(mark) not in text][:2]
        if len(free) < 2:
            raise UnfaithfulError("it holds control tokens and nearly every private-use character")
        self.marks = free[0], free[1]
        # A model may say `<think>` or `<tool_call>` itself; somebody else who does would be taken for it.
        self.turns = [
            self._turn(turn, templates.special if turn.get("role") == "assistant" else templates.control)
            for turn in turns
        ]
        self.tools = self._mark(tools, templates.control)

    def _turn(self, turn: Turn, control: Pattern[str]) -> Turn:
        marked: Turn = {key: value if key == "role" else self._mark(value, control) for key, value in turn.items()}
        if turn.get("learn") is not None and isinstance(turn.get("content"), str):
            marked["learn"] = _moved(turn["learn"], [match.span() for match in control.finditer(turn["content"])])
        return marked

    def _mark(self, value: Any, control: Pattern[str]) -> Any:
        assert self.marks is not None
        if isinstance(value, str):
            return control.sub(f"{self.marks[0]}\\g<0>{self.marks[1]}", value)
        if isinstance(value, dict):
            return {key: self._mark(item, control) for key, item in value.items()}
        if isinstance(value, list):
            return [self._mark(item, control) for item in value]
        return value

    def clean(self, text: str) -> tuple[str, list[tuple[int, int]], Callable[[int], int]]:
        """Return the text without marks, the spans that were marked, and where a place in it moves to."""
        if self.marks is None:
            return text, [], lambda place: place
        opening, closing = self.marks
        if _escaped(opening) in text or _escaped(closing) in text:
            raise UnfaithfulError("control tokens in its texts can't be followed through a template that escapes them")
        places = [place for place, letter in enumerate(text) if letter in self.marks]
        spans = []
        begun: int | None = None
        for count, place in enumerate(places):
            if text[place] == opening:
                begun = place - count
            elif begun is not None:
                spans.append((begun, place - count))
                begun = None
        cleaned = text.replace(opening, "").replace(closing, "")
        return cleaned, spans, lambda place: place - sum(1 for mark in places if mark < place)


def _escaped(mark: str) -> str:
    return json.dumps(mark).strip('"')


def _found(control: Pattern[str], value: Any) -> bool:
    if isinstance(value, str):
        return control.search(value) is not None
    if isinstance(value, dict):
        return any(_found(control, item) for item in value.values())
    if isinstance(value, list):
        return any(_found(control, item) for item in value)
    return False


def _moved(spans: Any, marked: Sequence[tuple[int, int]]) -> Any:
    """Return spans of a text for the same text with a mark on either side of each marked place."""

    def move(edge: int) -> int:
        return edge + sum((start < edge) + (end <= edge) for start, end in marked)

    try:
        return [[move(begin), move(end)] for begin, end in spans]
    except (TypeError, ValueError):
        return spans  # they are refused where they are read


def answer(templates: Templates, line: bytes) -> dict[str, Any]:
    """Return what one request gives: `{"parts", "missing", "marked"}`, `{"text"}`, `{"refused"}` or `{"limit"}`."""
    try:
        return _answer(templates, json.loads(line), line)
    except UnfaithfulError as error:
        return {"refused": str(error)}
    except (TooMuch, MemoryError, RecursionError, OverflowError) as error:
        told = _told(error)
        return {"limit": told if told.startswith("the chat template") else f"the chat template reaches a limit: {told}"}
    except Exception as error:
        return {"refused": f"the chat template refuses this conversation: {_told(error)}"}


def _told(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return NEEDS
    try:
        words = str(error)[:1000].strip()
    except Exception:  # the template chose what stands in it
        words = ""
    line = (words or type(error).__name__).splitlines()[0][:300]
    return "".join(letter if letter.isprintable() else " " for letter in line)


def _answer(templates: Templates, request: dict[str, Any], line: bytes) -> dict[str, Any]:
    turns = [plain_turn(turn) for turn in request["messages"]]
    others = [plain_turn(turn) for turn in request.get("rejected") or ()]
    if signal.getitimer(signal.ITIMER_PROF)[0]:  # where there is a limit, long conversations have more
        signal.setitimer(signal.ITIMER_PROF, SECONDS + TURN * (len(turns) + len(others)))
    tools = request.get("tools") or None
    limit = OUTPUT[0] + OUTPUT[1] * len(line)
    look = any(beginning in line for beginning in templates.beginnings)
    if "ask" in request:
        marked = Marked(templates, turns, tools, look=look)
        rendered, _ = templates.render([_shown(turn) for turn in marked.turns], marked.tools, request["ask"], limit)
        told, spans, _ = marked.clean(rendered)
        return {"text": told, "marked": spans}

    def texts(some: list[Turn], **more: Any) -> dict[str, Any]:
        return _texts(templates, Marked(templates, some, tools, look=look), limit, **more)

    rows, label = request.get("rows", templates.rows), request.get("label")
    if rows == "class":
        if label is None:
            raise UnfaithfulError("it has no label")
        return {**(_plain(templates, turns, look=look) or texts(turns, learn="none")), "label": label}
    if any(turn["role"] == TEXT for turn in turns):
        raise UnfaithfulError("it is plain text, and the objective learns from conversations")
    if rows == "judged":
        if not isinstance(label, bool):
            raise UnfaithfulError("nobody judged it: its `label` is neither true nor false")
        return {**texts(turns, first=_last(turns), learn="last"), "label": float(label)}
    if rows == "pair":
        first = _alike(turns, others)
        both = [_one_text(texts(some, first=first)) for some in (turns, others)]
        return {
            "parts": [part for told in both for part in told["parts"]],
            "missing": sorted({role for told in both for role in told["missing"]}),
            "marked": any(told["marked"] for told in both),
            "label": request.get("margin"),
        }
    return texts(turns)


def _plain(templates: Templates, turns: list[Turn], *, look: bool) -> dict[str, Any] | None:
    """Return a text as it stands; None for a conversation.

    A lone turn of the user is one: classifiers are asked about texts, as `tokenizer(text)` encodes them.
    """
    if len(turns) != 1 or turns[0]["role"] not in (TEXT, "user") or not isinstance(turns[0]["content"], str):
        return None
    marked = Marked(templates, turns, None, look=look)
    text, spans, _ = marked.clean(marked.turns[0]["content"])
    part = {"text": text, "marked": spans, "learned": [], "generated": []}
    return {"parts": [part], "missing": [], "marked": bool(spans), "plain": True}


def _last(turns: Sequence[Turn]) -> int:
    """Return the place of the last answer."""
    return max((place for place, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)


def _alike(turns: Sequence[Turn], others: Sequence[Turn]) -> int:
    """Return how many turns two conversations begin with alike, of which each goes on in a way of its own."""
    if not others:
        raise UnfaithfulError("it has no worse ending")
    if turns == others:
        raise UnfaithfulError("both endings are the same")
    first = next((n for n, (one, other) in enumerate(zip(turns, others, strict=False)) if one != other), None)
    if first is None:
        raise UnfaithfulError("one ending is only the beginning of the other")
    if not first:
        raise UnfaithfulError("its endings do not follow the same turns")
    return first


def _one_text(told: dict[str, Any]) -> dict[str, Any]:
    """Refuse an ending without an answer, and one of which no text shows every answer as it will be asked for."""
    if not told["parts"]:
        raise UnfaithfulError("an ending has no answer to learn from")
    if len(told["parts"]) > 1:
        raise UnfaithfulError("the template rewrites earlier turns of an ending, so it is not one text")
    return told


def _texts(
    templates: Templates, marked: Marked, limit: int, *, first: int = 0, learn: str | None = None
) -> dict[str, Any]:
    """Return the texts of one conversation; of its turns, those from `first` on are learned."""
    shown = {id(turn): _shown(turn) for turn in marked.turns}
    markers: dict[int, list[tuple[int, int]]] = {}

    def render(some: Sequence[Turn], ask: bool) -> str:
        turns = [shown.get(id(turn)) or _shown(turn) for turn in some]
        rendered, generated = templates.render(turns, marked.tools, ask, limit)
        if generated:
            markers[hash(rendered)] = generated
        return rendered

    found = parts(render, marked.turns, first=first, learn=learn or templates.learn, stops=templates.stops)
    return {
        "parts": [_cleaned(part, marked, markers.get(hash(part.text), [])) for part in found],
        "missing": missing(found[-1].text, marked.turns, {turn.turn for part in found for turn in part.learned})
        if found
        else [],
        "marked": marked.marks is not None,
    }


def _shown(turn: Turn) -> Turn:
    return {key: value for key, value in turn.items() if key not in OURS}


def _cleaned(part: Part, marked: Marked, generated: Sequence[tuple[int, int]]) -> dict[str, Any]:
    text, spans, move = marked.clean(part.text)
    return {
        "text": text,
        "marked": spans,
        "learned": [
            [move(turn.start), [[move(start), move(end)] for start, end in turn.ranges], turn.until_stop]
            for turn in part.learned
        ],
        "generated": [[move(start), move(end)] for start, end in generated],
    }


def reply(templates: Templates, line: bytes) -> bytes:
    """Return the answer to one request as a line. Nothing a template made is touched outside of the limits."""
    with limited(SECONDS):
        try:
            return json.dumps(answer(templates, line)).encode() + b"\n"
        except (MemoryError, RecursionError):
            return json.dumps({"limit": NEEDS}).encode() + b"\n"


def main() -> None:
    """Read settings, then batches: a line with their number, then that many lines; answer each with a line."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has no file to write
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a parent that is gone needs no traceback
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # it may have been ignored or blocked where we come from
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    try:
        with limited(SECONDS):  # Jinja computes constants while it compiles
            templates = Templates(json.loads(requests.readline()))
    except Exception as error:
        answers.write(json.dumps({"broken": _told(error)}).encode() + b"\n")
        return
    answers.write(b"{}\n")
    answers.flush()
    while head := requests.readline():
        lines = [requests.readline() for _ in range(int(head))]
        for line in lines:
            answers.write(reply(templates, line))
        answers.flush()


if __name__ == "__main__":
    main()
