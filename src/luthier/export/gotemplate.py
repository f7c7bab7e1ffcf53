"""Ollama's prompt templates: the part of Go's text/template language they use, and what Ollama feeds them.

Written from the documentation of Go's packages text/template, fmt and encoding/json, and from Ollama's
description of its templates. The order is that of the work: text to tokens, tokens to nodes, nodes to text,
then the functions, then Ollama's own rules (`render`).

Covered: fields, variables, pipelines, if, range, with, break, continue, define, template, block, trimming,
comments, and the functions and, or, not, eq, ne, lt, le, gt, ge, len, index, slice, print, printf, println,
html, json, currentDate, yesterdayDate, toTypeScriptType. Not covered: methods, channels, complex numbers,
hexadecimal floats, `call`, `js`, `urlquery`. What is not covered is an error, never a guess.

A template may come from anyone, so all work is bounded: `SOURCE` characters of template, `DEPTH` levels of
nesting, `STEPS` evaluated nodes and `TEXT` characters written or looked through in one rendering.
"""

import html as python_html
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

SOURCE = 1_000_000
"""Longest template, in characters."""

DEPTH = 50
"""How deep blocks, parentheses and templates that call templates may nest, all together."""

STEPS = 500_000
"""Most nodes evaluated in one rendering: about a second of work."""

TEXT = 16_000_000
"""Most characters written, joined, compared or cut in one rendering."""

WIDTH = 1000
"""Largest width or precision in a `printf` format."""

SPACE = " \t\r\n"
INT_LIMIT = 1 << 63


class GoTemplateError(ValueError):
    """A template that Go would refuse, or that is beyond what is covered here. `line` counts from 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(f"line {line}: {problem}")
        self.problem = problem
        self.line = line


class CallError(ValueError):
    """A function was called with the wrong values; the caller adds the line."""


# text to tokens --------------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"""
      (?P<string>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<raw>`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
    | (?P<number>[+-]?\.?[0-9](?:[eE][+-]|[\w.])*)
    | (?P<field>\.[^\W\d]\w*)
    | (?P<variable>\$\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<op>:=|[=|(),.])
    """,
    re.VERBOSE,
)
SPACES = re.compile(r"[ \t\r\n]+")
TERMINATOR = re.compile(r"[ \t\r\n.,|:()]|\}\}|\Z")
"""What may follow a name or number; anything else is an error in Go too."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an action. `spaced` tells whether white space stands before it."""

    kind: str
    text: str
    line: int
    spaced: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a template: literal text, or the tokens between `{{` and `}}`."""

    line: int
    text: str = ""
    tokens: tuple[Token, ...] | None = None


class Lexer:
    """Cuts a template into sections."""

    def __init__(self, source: str) -> None:
        if len(source) > SOURCE:
            raise GoTemplateError(f"the template has {len(source)} characters, {SOURCE} are allowed", 1)
        self.source = source
        self.at = 0
        self.counted = 0
        self.counted_line = 1

    def line(self) -> int:
        """Return the line of the present position."""
        self.counted_line += self.source.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.counted_line

    def sections(self) -> Iterator[Section]:
        """Yield the sections, trimmed as `{{-` and `-}}` ask; comments leave nothing."""
        trim = False
        while self.at < len(self.source):
            line, start = self.line(), self.at
            opening = self.source.find("{{", start)
            end = len(self.source) if opening < 0 else opening
            text = self.source[start:end]
            text = text.lstrip(SPACE) if trim else text
            trim_before = opening >= 0 and self._marker(opening + 2)
            if trim_before:
                text = text.rstrip(SPACE)
            if text:
                yield Section(line, text)
            self.at = end
            if opening < 0:
                return
            line = self.line()
            self.at = opening + (4 if trim_before else 2)
            if self.source.startswith("/*", self.at):
                trim = self._comment()
            else:
                tokens, trim = self._action()
                yield Section(line, tokens=tokens)

    def _marker(self, at: int) -> bool:
        return self.source[at : at + 1] == "-" and self.source[at + 1 : at + 2] in {*SPACE}

    def _comment(self) -> bool:
        """Skip a comment; return whether the text after it is to be trimmed."""
        line = self.line()
        end = self.source.find("*/", self.at + 2)
        if end < 0:
            raise GoTemplateError("a comment has no end", line)
        closing = re.compile(r"(?:[ \t\r\n](-))?\}\}").match(self.source, end + 2)
        if closing is None:
            raise GoTemplateError("a comment ends before the action does: write `*/}}`", line)
        self.at = closing.end()
        return closing.group(1) is not None

    def _action(self) -> tuple[tuple[Token, ...], bool]:
        """Return the tokens up to the closing braces, and whether the text after them is to be trimmed."""
        tokens: list[Token] = []
        opened = self.line()
        while True:
            spaces = SPACES.match(self.source, self.at)
            self.at = spaces.end() if spaces else self.at
            if spaces and self.source.startswith("-}}", self.at):
                self.at += 3
                return tuple(tokens), True
            if self.source.startswith("}}", self.at):
                self.at += 2
                return tuple(tokens), False
            if self.at >= len(self.source):
                raise GoTemplateError("an action is not closed: `}}` is missing", opened)
            tokens.append(self._token(spaced=spaces is not None))

    def _token(self, *, spaced: bool) -> Token:
        line = self.line()
        match = TOKEN.match(self.source, self.at)
        if match is None:
            raise GoTemplateError(f"unexpected {self.source[self.at]!r} in an action", line)
        self.at = match.end()
        kind = match.lastgroup or ""
        if kind in ("number", "field", "variable", "word") and not TERMINATOR.match(self.source, self.at):
            raise GoTemplateError(f"unexpected {self.source[self.at]!r} after `{match.group()}`", line)
        return Token(kind, match.group(), line, spaced)


# tokens to nodes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string, true or false."""

    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Nil:
    """The word `nil`."""


@dataclass(frozen=True, slots=True)
class Dot:
    """The cursor."""


@dataclass(frozen=True, slots=True)
class Fields:
    """`.A.B`: fields of the cursor."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x.A.B`: a variable, and fields of it."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Chain:
    """`(…).A.B`: fields of a result."""

    inner: "Pipe | Call"
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each handing its value to the next, and the variables that take the last one."""

    line: int
    commands: tuple["Command", ...]
    names: tuple[str, ...] = ()
    assigns: bool = False


Operand = Literal | Nil | Dot | Fields | Variable | Call | Chain | Pipe
Command = tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is written."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with` or `range`."""

    kind: str
    pipe: Pipe
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Include:
    """`template "name" pipeline`."""

    line: int
    name: str
    pipe: Pipe | None


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: str


Node = Text | Action | Branch | Include | Jump

KEYWORDS = frozenset(("if", "else", "end", "range", "with", "define", "block", "template", "break", "continue"))
ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))")


def unquoted(text: str, line: int) -> str:
    """Return the value of a quoted Go string or character."""
    quote, parts, last = text[0], [], 1
    for match in ESCAPE.finditer(text, 1, len(text) - 1):
        parts.append(text[last : match.start()].encode("utf-8", "replace"))
        last = match.end()
        byte, short, long, octal, single = match.groups()
        number = int(byte or short or long or "0", 16) if not octal else int(octal, 8)
        if single is not None and (single not in ESCAPES or (single in "'\"" and single != quote)):
            raise GoTemplateError(f"unknown escape `\\{single}` in {text}", line)
        if single is None and (number > 0x10FFFF or 0xD800 <= number < 0xE000 or (octal and number > 255)):
            raise GoTemplateError(f"`{match.group()}` is no character", line)
        if byte or octal:
            parts.append(bytes([number]))
        else:
            parts.append(chr(ESCAPES[single] if single else number).encode())
    parts.append(text[last:-1].encode("utf-8", "replace"))
    return b"".join(parts).decode("utf-8", "replace")


def number_of(token: Token) -> int | float:
    """Return the value of a number as Go reads it: an int unless it is written with a point or an exponent."""
    text = token.text
    digits = text.lstrip("+-")
    try:
        if re.fullmatch(r"0[0-7_]+", digits):
            value: int | float = int(text.replace(digits, digits.replace("_", "")), 8)
        elif re.fullmatch(r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9_]+", digits):
            value = int(text, 0)
        else:
            value = float(text)
    except ValueError as error:
        raise GoTemplateError(f"`{text}` is no number that is covered", token.line) from error
    if isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
        raise GoTemplateError(f"`{text}` is too large for an integer", token.line)
    if isinstance(value, float) and not math.isfinite(value):
        raise GoTemplateError(f"`{text}` is too large for a number", token.line)
    return value


def literal_of(token: Token) -> int | float | str:
    """Return the value of a string, a character or a number."""
    if token.kind == "raw":
        return token.text[1:-1].replace("\r", "")
    if token.kind == "number":
        return number_of(token)
    value = unquoted(token.text, token.line)
    if token.kind == "string":
        return value
    if len(value) != 1:
        raise GoTemplateError(f"{token.text} is not one character", token.line)
    return ord(value)


@dataclass(slots=True)
class Words:
    """The tokens of one action, read from the left."""

    line: int
    tokens: tuple[Token, ...]
    at: int = 0

    def peek(self, ahead: int = 0) -> Token | None:
        """Return a token without taking it, or None behind the last."""
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def take(self, *texts: str) -> bool:
        """Take the next tokens if they are these operators or words."""
        found = self.tokens[self.at : self.at + len(texts)]
        if [token.text for token in found] != [*texts] or any(t.kind not in ("op", "word") for t in found):
            return False
        self.at += len(texts)
        return True

    def finish(self, what: str) -> None:
        """Refuse anything left over."""
        left = self.peek()
        if left is not None:
            raise GoTemplateError(f"unexpected `{left.text}` after {what}", left.line)


class Parser:
    """Builds the nodes of a template and of those it defines."""

    def __init__(self, source: str) -> None:
        self.sections = Lexer(source).sections()
        self.defined: dict[str, tuple[Node, ...]] = {}
        self.variables = ["$"]
        self.depth = 0
        self.loops = 0
        self.line = 1

    def whole(self) -> tuple[Node, ...]:
        """Return the nodes of the main template."""
        nodes, end = self._nodes(top=True)
        if end is not None:
            raise GoTemplateError(f"`{{{{ {end.tokens[0].text} }}}}` belongs to nothing", end.line)
        return nodes

    def _deeper(self, by: int, line: int) -> None:
        self.depth += by
        if self.depth > DEPTH:
            raise GoTemplateError(f"nested more than {DEPTH} levels deep", line)

    def _nodes(self, *, top: bool = False) -> tuple[tuple[Node, ...], Words | None]:
        """Return nodes up to an `else` or `end`, and that action; None at the end of the template."""
        nodes: list[Node] = []
        for section in self.sections:
            self.line = section.line
            if section.tokens is None:
                nodes.append(Text(section.text))
                continue
            words = Words(section.line, section.tokens)
            first = words.peek()
            keyword = first.text if first is not None and first.kind == "word" and first.text in KEYWORDS else ""
            if keyword in ("else", "end"):
                return tuple(nodes), words
            if keyword == "define":
                if not top:
                    raise GoTemplateError("`define` must not stand inside another block", words.line)
                self._define(words)
            else:
                nodes.append(self._statement(keyword, words))
        return tuple(nodes), None

    def _statement(self, keyword: str, words: Words) -> Node:
        if keyword:
            words.at += 1
        if keyword in ("if", "with", "range"):
            return self._branch(keyword, words)
        if keyword in ("break", "continue"):
            words.finish(f"`{keyword}`")
            if not self.loops:
                raise GoTemplateError(f"`{keyword}` outside `range`", words.line)
            return Jump(keyword)
        if keyword in ("template", "block"):
            return self._include(keyword, words)
        pipe = self._pipe(words, "an action")
        words.finish("the action")
        return Action(pipe)

    def _closed(self, what: str, line: int) -> tuple[tuple[Node, ...], Words]:
        self._deeper(1, line)
        nodes, end = self._nodes()
        self._deeper(-1, line)
        if end is None:
            raise GoTemplateError(f"`{what}` has no `end`", line)
        return nodes, end

    def _branch(self, kind: str, words: Words) -> Branch:
        known = len(self.variables)
        pipe = self._pipe(words, f"`{kind}`", two=kind == "range")
        words.finish(f"the condition of `{kind}`")
        self.loops += kind == "range"
        body, end = self._closed(kind, words.line)
        self.loops -= kind == "range"
        otherwise: tuple[Node, ...] = ()
        if end.take("else"):
            chained = end.peek()
            if chained is not None and chained.kind == "word" and chained.text == kind and kind != "range":
                # `else if` is an `if` in the else part that shares the outer `end`.
                self._deeper(1, end.line)
                otherwise = (self._statement(kind, end),)
                self._deeper(-1, end.line)
                del self.variables[known:]
                return Branch(kind, pipe, body, otherwise)
            end.finish("`else`")
            otherwise, end = self._closed(kind, words.line)
        if not end.take("end"):
            raise GoTemplateError(f"a second `else` for one `{kind}`", end.line)
        end.finish("`end`")
        del self.variables[known:]
        return Branch(kind, pipe, body, otherwise)

    def _name(self, words: Words, keyword: str) -> str:
        token = words.peek()
        if token is None or token.kind not in ("string", "raw"):
            raise GoTemplateError(f"`{keyword}` needs a name in quotes", words.line)
        words.at += 1
        return token.text[1:-1] if token.kind == "raw" else unquoted(token.text, token.line)

    def _definition(self, name: str, line: int) -> None:
        outer, self.variables = self.variables, ["$"]
        loops, self.loops = self.loops, 0
        body, end = self._closed("define", line)
        if not end.take("end"):
            raise GoTemplateError("`else` belongs to nothing", end.line)
        end.finish("`end`")
        self.variables, self.loops = outer, loops
        # As in Go, a later definition replaces an earlier one unless it is empty.
        if name not in self.defined or any(not isinstance(n, Text) or n.text.strip() for n in body):
            self.defined[name] = body

    def _define(self, words: Words) -> None:
        words.at += 1
        name = self._name(words, "define")
        words.finish("the name of `define`")
        self._definition(name, words.line)

    def _include(self, keyword: str, words: Words) -> Include:
        name = self._name(words, keyword)
        pipe = self._pipe(words, f"`{keyword}`") if keyword == "block" or words.peek() is not None else None
        words.finish(f"`{keyword}`")
        if keyword == "block":
            self._definition(name, words.line)
        return Include(words.line, name, pipe)

    def _targets(self, words: Words, *, two: bool) -> tuple[tuple[str, ...], bool]:
        """Take the variables before `:=` or `=`; return them and whether they are assigned, not declared."""
        first, after, second = words.peek(), words.peek(1), words.peek(2)
        if first is None or after is None or first.kind != "variable" or after.kind != "op":
            return (), False
        if after.text in (":=", "="):
            words.at += 2
            names: tuple[str, ...] = (first.text,)
        elif after.text == "," and second is not None and second.kind == "variable" and two:
            words.at += 3
            after = words.peek()
            if after is None or after.text not in (":=", "="):
                raise GoTemplateError("two variables need `:=`", words.line)
            words.at += 1
            names = (first.text, second.text)
        elif after.text == ",":
            raise GoTemplateError("only `range` sets two variables", words.line)
        else:
            return (), False
        if after.text == ":=":
            self.variables += names
        return names, after.text == "="

    def _known(self, name: str, line: int) -> None:
        if name not in self.variables:
            raise GoTemplateError(f"undefined variable `{name}`", line)

    def _pipe(self, words: Words, what: str, *, two: bool = False) -> Pipe:
        names, assigns = self._targets(words, two=two)
        commands = [self._command(words, what)]
        while words.take("|"):
            command = self._command(words, what)
            if isinstance(command[0], Literal | Nil | Dot):
                raise GoTemplateError("a pipeline hands on to a function, not to a constant", words.line)
            commands.append(command)
        return Pipe(words.line, tuple(commands), names, assigns)

    def _command(self, words: Words, what: str) -> Command:
        operands: list[Operand] = []
        while (token := words.peek()) is not None and not (token.kind == "op" and token.text in ("|", ")")):
            if operands and not token.spaced:
                raise GoTemplateError(f"unexpected `{token.text}`: a space is missing before it", token.line)
            operands.append(self._operand(words))
        if not operands:
            raise GoTemplateError(f"a value is missing in {what}", words.line)
        return tuple(operands)

    def _operand(self, words: Words) -> Operand:
        token = words.peek()
        assert token is not None, "the caller looked"
        words.at += 1
        inner = self._term(token, words)
        names = [inner.names[0]] if isinstance(inner, Fields) else []
        while (after := words.peek()) is not None and after.kind == "field" and not after.spaced:
            names.append(after.text[1:])
            words.at += 1
        if isinstance(inner, Fields):
            return Fields(tuple(names))
        if not names:
            return inner
        if isinstance(inner, Variable):
            return Variable(inner.name, tuple(names))
        if isinstance(inner, Pipe | Call):
            return Chain(inner, tuple(names))
        raise GoTemplateError(f"`{token.text}` has no fields", token.line)

    def _term(self, token: Token, words: Words) -> Operand:
        if token.kind in ("string", "raw", "char", "number"):
            return Literal(literal_of(token))
        if token.kind == "field":
            return Fields((token.text[1:],))
        if token.kind == "variable":
            self._known(token.text, token.line)
            return Variable(token.text, ())
        if token.kind == "word":
            return self._word(token)
        if token.text == ".":
            return Dot()
        if token.text == "(":
            self._deeper(1, token.line)
            pipe = self._pipe(words, "parentheses")
            self._deeper(-1, token.line)
            if not words.take(")"):
                raise GoTemplateError("`)` is missing", token.line)
            return pipe
        raise GoTemplateError(f"unexpected `{token.text}`", token.line)

    def _word(self, token: Token) -> Operand:
        if token.text in ("true", "false"):
            return Literal(token.text == "true")
        if token.text == "nil":
            return Nil()
        if token.text in KEYWORDS:
            raise GoTemplateError(f"unexpected `{token.text}`", token.line)
        if token.text not in FUNCTIONS:
            beyond = " (Go has it, luthier does not cover it)" if token.text in ("call", "js", "urlquery") else ""
            raise GoTemplateError(f"unknown function `{token.text}`{beyond}", token.line)
        return Call(token.text)


# values ----------------------------------------------------------------------------------------------------
#
# None is nil; bool, int, float, str, list and dict stand for themselves. The classes here are what else
# Ollama hands to a template.


class Slice(list[Any]):
    """A typed slice, which is nil in Go when it is empty."""


class Tools(Slice):
    """The tools: written as JSON."""


class TypeNames(Slice):
    """The types of a tool's property: one is written as a word."""


class JsonMap(dict[str, Any]):
    """A map that is written as JSON."""


class Ordered(dict[str, Any]):
    """A JSON object whose keys keep their order, as those of a Go struct do."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A Go struct: a field it doesn't have is an error, not nil."""

    name: str
    fields: dict[str, Any]
    json: Ordered | None = None
    """How it is encoded, where that differs from the fields."""
    as_json: bool = False
    """Whether it is written as JSON."""


KINDS = ((bool, "bool"), (int, "int"), (float, "float64"), (str, "string"))


def kind_of(value: Any) -> str:
    """Return Go's name for a value's type."""
    for python, go in KINDS:
        if isinstance(value, python):
            return go
    if value is None:
        return "nil"
    if isinstance(value, Struct):
        return value.name
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"


def truth(value: Any) -> bool:
    """Return whether Go counts a value as true: not zero, not empty, not nil. A struct always is."""
    return isinstance(value, Struct) or bool(value)


def digits_of(value: float) -> tuple[str, str, int]:
    """Return sign, shortest digits and decimal exponent (of the first digit) of a float."""
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    shortest = repr(abs(value))
    if "e" in shortest:
        mantissa, _, exponent = shortest.partition("e")
        return sign, mantissa.replace(".", "").rstrip("0") or "0", int(exponent)
    whole, _, part = shortest.partition(".")
    if whole.strip("0"):
        return sign, (whole + part).rstrip("0"), len(whole) - 1
    stripped = part.lstrip("0")
    return sign, stripped.rstrip("0") or "0", -(len(part) - len(stripped)) - 1 if stripped else 0


def plain_float(sign: str, digits: str, exponent: int) -> str:
    """Return a float without an exponent."""
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    part = digits[exponent + 1 :]
    return f"{sign}{whole}.{part}" if part else sign + whole


def float_text(value: float) -> str:
    """Return a float as Go's %v writes it: with an exponent below 1e-4 and from 1e6 on."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
    sign, digits, exponent = digits_of(value)
    if value == 0 or -4 <= exponent < 6:
        return plain_float(sign, digits, exponent)
    point = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def json_float(value: float) -> str:
    """Return a float as Go's JSON writes it: an exponent below 1e-6 and from 1e21 on."""
    if not math.isfinite(value):
        raise CallError("JSON has no infinite numbers")
    sign, digits, exponent = digits_of(value)
    if value == 0 or -6 <= exponent < 21:
        return plain_float(sign, digits, exponent)
    point = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}e{'-' if exponent < 0 else '+'}{abs(exponent)}"


JSON_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
JSON_SPECIAL = re.compile('["\\\\<>&\u2028\u2029\x00-\x1f\ud800-\udfff]')


def json_string(text: str) -> str:
    """Return a string as Go's JSON writes it: `<`, `>`, `&` escaped, other languages not."""

    def escaped(match: re.Match[str]) -> str:
        character = match.group()
        if "\ud800" <= character <= "\udfff":
            return "\\ufffd"
        return JSON_ESCAPES.get(character, f"\\u{ord(character):04x}")

    return f'"{JSON_SPECIAL.sub(escaped, text)}"'


def to_json(value: Any) -> str:
    """Return a value as Go's `json.Marshal` encodes it: compact, the keys of maps sorted."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) else json_float(value)
    if isinstance(value, Struct):
        return to_json(value.json if value.json is not None else Ordered(value.fields))
    if isinstance(value, TypeNames) and len(value) == 1:
        return json_string(value[0])
    if isinstance(value, dict):
        keys = value if isinstance(value, Ordered) else sorted(value)
        return "{" + ",".join(f"{json_string(key)}:{to_json(value[key])}" for key in keys) + "}"
    if isinstance(value, Slice) and not value:
        return "null"
    return "[" + ",".join(map(to_json, value)) + "]"


def text_of(value: Any) -> str:
    """Return a value as Go's fmt writes it with %v."""
    if value is None:
        return "<nil>"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) else float_text(value)
    if isinstance(value, Struct):
        return to_json(value) if value.as_json else "{" + " ".join(map(text_of, value.fields.values())) + "}"
    if isinstance(value, JsonMap | Tools):
        return to_json(value)
    if isinstance(value, TypeNames) and len(value) < 2:
        return "".join(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text_of(value[key])}" for key in sorted(value)) + "]"
    return "[" + " ".join(map(text_of, value)) + "]"


# nodes to text ---------------------------------------------------------------------------------------------


class _BreakError(Exception):
    """Leave the innermost loop."""


class _ContinueError(Exception):
    """Go on with the next element."""


@dataclass(slots=True)
class Budget:
    """What one rendering may still spend."""

    steps: int = STEPS
    text: int = TEXT
    today: date = field(default_factory=date.today)

    def step(self) -> None:
        """Count one node."""
        self.steps -= 1
        if self.steps < 0:
            raise CallError(f"the template runs for more than {STEPS} steps")

    def spend(self, characters: int) -> None:
        """Count characters written, joined, compared or cut."""
        self.text -= characters
        if self.text < 0:
            raise CallError(f"the template handles more than {TEXT} characters")


class Machine:
    """Runs nodes with data, writing to `out`."""

    def __init__(self, defined: Mapping[str, tuple[Node, ...]], data: Any, budget: Budget) -> None:
        self.defined = defined
        self.budget = budget
        self.scope: list[tuple[str, Any]] = [("$", data)]
        self.out: list[str] = []
        self.depth = 0
        self.line = 1

    def run(self, nodes: tuple[Node, ...], dot: Any) -> str:
        """Return the text of a template.

        Raises:
            GoTemplateError: It fails, or goes beyond a limit.
        """
        try:
            self._walk(nodes, dot)
        except CallError as error:
            raise GoTemplateError(str(error), self.line) from error
        return "".join(self.out)

    def _walk(self, nodes: tuple[Node, ...], dot: Any) -> None:
        self.depth += 1
        if self.depth > 2 * DEPTH:
            raise CallError(f"nested more than {2 * DEPTH} levels deep")
        for node in nodes:
            self.budget.step()
            if isinstance(node, Text):
                self._write(node.text)
            elif isinstance(node, Action):
                value = self._value(node.pipe, dot)
                if not node.pipe.names:
                    self._write("<no value>" if value is None else text_of(value))
            elif isinstance(node, Include):
                self._include(node, dot)
            elif isinstance(node, Jump):
                raise _BreakError if node.kind == "break" else _ContinueError
            else:
                self._branch(node, dot)
        self.depth -= 1

    def _write(self, text: str) -> None:
        self.budget.spend(len(text))
        self.out.append(text)

    def _include(self, node: Include, dot: Any) -> None:
        body = self.defined.get(node.name)
        if body is None:
            self.line = node.line
            raise CallError(f"template `{node.name}` is not defined")
        data = None if node.pipe is None else self._value(node.pipe, dot)
        outer, self.scope = self.scope, [("$", data)]
        self._walk(body, data)
        self.scope = outer

    def _branch(self, node: Branch, dot: Any) -> None:
        known = len(self.scope)
        if node.kind == "range":
            self._range(node, dot)
        else:
            value = self._value(node.pipe, dot)
            inner = value if node.kind == "with" and truth(value) else dot
            self._walk(node.body if truth(value) else node.otherwise, inner)
        del self.scope[known:]

    def _elements(self, value: Any, *, two: bool) -> Sequence[tuple[Any, Any]]:
        """Return what a `range` goes over: pairs of index or key, and element."""
        if value is None:
            return []
        if isinstance(value, dict):
            self.budget.spend(len(value))
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, list):
            self.budget.spend(len(value))
            return [*enumerate(value)]
        if isinstance(value, int) and not isinstance(value, bool):
            if two:
                raise CallError("`range` over a number sets one variable")
            # The steps are bounded; a list of a huge number would not be.
            self.budget.spend(max(0, value))
            return [(number, number) for number in range(value)]
        raise CallError(f"range can't go over a {kind_of(value)}")

    def _range(self, node: Branch, dot: Any) -> None:
        names, line = node.pipe.names, node.pipe.line
        value = self._value(replace(node.pipe, names=()), dot)
        self.line = line
        elements = self._elements(value, two=len(names) == 2)
        if not elements:
            for name in names:
                self._set(name, value, assigns=node.pipe.assigns)
            self._walk(node.otherwise, dot)
        known, depth = len(self.scope), self.depth
        for index, element in elements:
            self.budget.step()
            for name, part in zip(names, (index, element) if len(names) == 2 else (element,), strict=False):
                self._set(name, part, assigns=node.pipe.assigns)
            try:
                self._walk(node.body, element)
            except _BreakError:
                self.depth = depth
                break
            except _ContinueError:
                self.depth = depth
            del self.scope[known:]

    def _set(self, name: str, value: Any, *, assigns: bool) -> None:
        if not assigns:
            self.scope.append((name, value))
            return
        for place in range(len(self.scope) - 1, -1, -1):
            if self.scope[place][0] == name:
                self.scope[place] = (name, value)
                return
        raise CallError(f"undefined variable `{name}`")

    def _value(self, pipe: Pipe, dot: Any) -> Any:
        self.depth += 1
        if self.depth > 2 * DEPTH:
            raise CallError(f"nested more than {2 * DEPTH} levels deep")
        value: Any = None
        for stage, command in enumerate(pipe.commands):
            self.line = pipe.line
            value = self._command(command, dot, () if stage == 0 else (value,))
        for name in pipe.names:
            self._set(name, value, assigns=pipe.assigns)
        self.depth -= 1
        return value

    def _command(self, command: Command, dot: Any, final: tuple[Any, ...]) -> Any:
        self.budget.step()
        first, rest = command[0], command[1:]
        if isinstance(first, Call):
            return self._call(first.name, rest, dot, final)
        if rest or final:
            raise CallError("only a function takes values")
        if isinstance(first, Nil):
            raise CallError("`nil` alone is no command")
        return self._operand(first, dot)

    def _call(self, name: str, rest: Command, dot: Any, final: tuple[Any, ...]) -> Any:
        least, most, function = FUNCTIONS[name]
        count = len(rest) + len(final)
        if count < least or (most is not None and count > most):
            raise CallError(f"`{name}` got {count} values")
        if function is None:  # and, or: what stands behind the deciding value is not evaluated
            return self._shortcut(name, rest, dot, final)
        line = self.line
        values = [self._operand(operand, dot) for operand in rest]
        self.line = line
        return function(self.budget, *values, *final)

    def _shortcut(self, name: str, rest: Command, dot: Any, final: tuple[Any, ...]) -> Any:
        value: Any = None
        for operand in rest:
            value = self._operand(operand, dot)
            if truth(value) == (name == "or"):
                return value
        return final[0] if final else value

    def _operand(self, operand: Operand, dot: Any) -> Any:
        self.budget.step()
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Fields):
            return self._fields(dot, operand.names)
        if isinstance(operand, Variable):
            found = next((value for name, value in reversed(self.scope) if name == operand.name), self)
            if found is self:
                raise CallError(f"undefined variable `{operand.name}`")
            return self._fields(found, operand.fields)
        if isinstance(operand, Chain):
            inner = operand.inner
            value = self._value(inner, dot) if isinstance(inner, Pipe) else self._call(inner.name, (), dot, ())
            return self._fields(value, operand.fields)
        if isinstance(operand, Pipe):
            return self._value(operand, dot)
        if isinstance(operand, Call):
            return self._call(operand.name, (), dot, ())
        return dot if isinstance(operand, Dot) else None

    def _fields(self, value: Any, names: tuple[str, ...]) -> Any:
        for name in names:
            self.budget.step()
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, Struct) and name in value.fields:
                value = value.fields[name]
            else:
                raise CallError(f"`.{name}` of nil" if value is None else f"no field `.{name}` in a {kind_of(value)}")
        return value


# functions -------------------------------------------------------------------------------------------------


def basic(value: Any) -> str | None:
    """Return the kind of a value that Go can order or compare, else None."""
    kind = kind_of(value)
    return kind if isinstance(value, bool | int | float | str) else None


def size_of(value: Any) -> int:
    """Return what looking through a value costs."""
    return len(value) if isinstance(value, str | list | dict) else 1


def is_nil(value: Any) -> bool:
    """Return whether Go holds a value as nil."""
    return value is None or (isinstance(value, Slice) and not value)


def go_eq(budget: Budget, first: Any, *others: Any) -> bool:
    """Return whether the first value equals any other."""
    if not others:
        raise CallError("`eq` needs something to compare with")
    for other in others:
        budget.spend(min(size_of(first), size_of(other)))
        kind, other_kind = basic(first), basic(other)
        if kind != other_kind and first is not None and other is not None:
            raise CallError(f"`eq` can't compare a {kind_of(first)} with a {kind_of(other)}")
        if kind is None and not is_nil(first) and not is_nil(other):
            raise CallError(f"`eq` can't compare a {kind_of(first)}")
        if kind == other_kind and (first == other if kind else is_nil(first) == is_nil(other)):
            return True
    return False


def go_ne(budget: Budget, first: Any, second: Any) -> bool:
    """Return whether two values differ."""
    return not go_eq(budget, first, second)


def ordered(budget: Budget, first: Any, second: Any) -> int:
    """Return -1, 0 or 1 for less, equal, greater."""
    kind = basic(first)
    if kind is None or kind == "bool" or kind != basic(second):
        raise CallError(f"can't order a {kind_of(first)} and a {kind_of(second)}")
    budget.spend(min(size_of(first), size_of(second)))
    return int(first > second) - int(first < second)


def go_len(budget: Budget, value: Any) -> int:
    """Return the length: bytes of a string, elements of a list or map."""
    if isinstance(value, str):
        budget.spend(len(value))
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, list | dict):
        return len(value)
    raise CallError(f"`len` of a {kind_of(value)}")


def position(value: Any, length: int) -> int:
    """Return a value as an index from 0 up to `length`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise CallError(f"a {kind_of(value)} is no index")
    if not 0 <= value <= length:
        raise CallError(f"index {value} out of range")
    return value


def go_index(budget: Budget, value: Any, *keys: Any) -> Any:
    """Return an element of a list, map or string, or of what lies in it."""
    if value is None:
        raise CallError("`index` of nil")
    for key in keys:
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise CallError(f"a {kind_of(key)} is no key of this map")
            value = value.get(key)
        elif isinstance(value, str | list):
            budget.spend(size_of(value) if isinstance(value, str) else 1)
            items = value.encode("utf-8", "replace") if isinstance(value, str) else value
            place = position(key, len(items))
            if place == len(items):
                raise CallError(f"index {key} out of range")
            value = items[place]
        else:
            raise CallError(f"can't index a {kind_of(value)}")
    return value


def go_slice(budget: Budget, value: Any, *bounds: Any) -> Any:
    """Return a part of a list, or of the bytes of a string."""
    if not isinstance(value, str | list):
        raise CallError(f"can't slice a {kind_of(value)}")
    if isinstance(value, str) and len(bounds) == 3:
        raise CallError("a string takes two bounds")
    budget.spend(size_of(value))
    items = value.encode("utf-8", "replace") if isinstance(value, str) else value
    places = [position(bound, len(items)) for bound in bounds]
    if places != sorted(places):
        raise CallError(f"the bounds {places} are not in order")
    start, end = (*places, len(items))[:2] if places else (0, len(items))
    if isinstance(items, bytes):
        return items[start:end].decode("utf-8", "replace")
    return items[start:end]


def go_print(budget: Budget, *values: Any) -> str:
    """Return the values as text, with a space between two of which neither is a string."""
    parts: list[str] = []
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            parts.append(" ")
        parts.append(text_of(value))
    text = "".join(parts)
    budget.spend(len(text))
    return text


def go_println(budget: Budget, *values: Any) -> str:
    """Return the values as text with a space between any two, and a line's end."""
    text = " ".join(map(text_of, values)) + "\n"
    budget.spend(len(text))
    return text


def quoted(text: str) -> str:
    """Return a string as %q writes it."""
    names = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    names |= {"\\": "\\\\", '"': '\\"'}

    def shown(character: str) -> str:
        code = ord(character)
        if character in names or character.isprintable():
            return names.get(character, character)
        if code < 0x80:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return f'"{"".join(map(shown, text))}"'


FORMAT = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d*))?(.)?", re.DOTALL)


def formatted_in(verb: str, value: Any, precision: int | None) -> str:
    """Return a value within a list or map as a verb of `printf` writes it."""
    return "<nil>" if value is None else formatted(verb, value, precision)


def formatted(verb: str, value: Any, precision: int | None) -> str:
    """Return one value as a verb of `printf` writes it."""
    if verb == "v":
        return text_of(value)
    if verb == "s" and isinstance(value, str | TypeNames | JsonMap | Tools | Struct):
        return text_of(value)[:precision]
    if verb == "q" and isinstance(value, str):
        return quoted(value[:precision])
    if verb == "t" and isinstance(value, bool):
        return text_of(value)
    if verb == "d" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if verb == "f" and isinstance(value, float):
        return f"{value:.{6 if precision is None else precision}f}"
    if verb in "sqdtf" and isinstance(value, list):
        return "[" + " ".join(formatted_in(verb, part, precision) for part in value) + "]"
    if verb in "sqdtf" and isinstance(value, dict):
        write = partial(formatted_in, verb, precision=precision)
        pairs = (f"{write(key)}:{write(value[key])}" for key in sorted(value))
        return "map[" + " ".join(pairs) + "]"
    if verb not in "sqdtf" or (verb == "q" and kind_of(value) == "int"):
        raise CallError(f"`printf` with `%{verb}` is not covered")
    return f"%!{verb}(<nil>)" if value is None else f"%!{verb}({kind_of(value)}={text_of(value)})"


def padded(text: str, flags: str, width: int, *, number: bool) -> str:
    """Return a formatted value filled up to the width."""
    if "+" in flags and number and not text.startswith("-"):
        text = "+" + text
    elif " " in flags and number and not text.startswith("-"):
        text = " " + text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and number:
        sign = text[:1] if text[:1] in "+- " else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def go_printf(budget: Budget, form: Any, *values: Any) -> str:
    """Return values as a format with %s, %d, %v, %q, %t and %f asks, with flags, width and precision."""
    if not isinstance(form, str):
        raise CallError(f"`printf` needs a format, not a {kind_of(form)}")
    left = [*values]

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%" and match.group() == "%%":
            return "%"
        if verb is None:
            return "%!(NOVERB)"
        if verb not in "vsqtdf" or "#" in flags:
            raise CallError(f"`printf` with `{match.group()}` is not covered")
        if max(int(width or 0), int(precision or 0)) > WIDTH:
            raise CallError(f"`printf` with a width above {WIDTH}")
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        text = formatted(verb, value, None if precision is None else int(precision or 0))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        text = padded(text, flags, int(width or 0), number=number and not text.startswith("%!"))
        budget.spend(len(text))
        return text

    text = FORMAT.sub(one, form)
    if left:
        extra = ", ".join("<nil>" if v is None else f"{kind_of(v)}={text_of(v)}" for v in left)
        text += f"%!(EXTRA {extra})"
    budget.spend(len(text))
    return text


def go_json(budget: Budget, value: Any) -> str:
    """Return a value as JSON."""
    text = to_json(value)
    budget.spend(len(text))
    return text


def go_html(budget: Budget, *values: Any) -> str:
    """Return the values as text that is safe in HTML."""
    text = go_print(budget, *("<no value>" if value is None else value for value in values))
    text = python_html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    return text.replace("\0", "\ufffd")


TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def go_typescript(budget: Budget, value: Any) -> str:
    """Return the type of a tool's property in TypeScript's words."""
    budget.step()
    if not isinstance(value, Struct) or value.name != "ToolProperty":
        return "any"
    if value.fields["AnyOf"]:
        return " | ".join(go_typescript(budget, part) for part in value.fields["AnyOf"])
    return " | ".join(TYPESCRIPT.get(name, "any") for name in value.fields["Type"]) or "any"


Function = Callable[..., Any]

FUNCTIONS: dict[str, tuple[int, int | None, Function | None]] = {
    "and": (1, None, None),
    "or": (1, None, None),
    "not": (1, 1, lambda _, value: not truth(value)),
    "eq": (1, None, go_eq),
    "ne": (2, 2, go_ne),
    "lt": (2, 2, lambda budget, a, b: ordered(budget, a, b) < 0),
    "le": (2, 2, lambda budget, a, b: ordered(budget, a, b) <= 0),
    "gt": (2, 2, lambda budget, a, b: ordered(budget, a, b) > 0),
    "ge": (2, 2, lambda budget, a, b: ordered(budget, a, b) >= 0),
    "len": (1, 1, go_len),
    "index": (1, None, go_index),
    "slice": (1, 4, go_slice),
    "print": (0, None, go_print),
    "printf": (1, None, go_printf),
    "println": (0, None, go_println),
    "html": (0, None, go_html),
    "json": (1, 1, go_json),
    "currentDate": (0, None, lambda budget, *_: budget.today.isoformat()),
    "yesterdayDate": (0, None, lambda budget, *_: (budget.today - timedelta(days=1)).isoformat()),
    "toTypeScriptType": (1, 1, go_typescript),
}
"""Fewest values, most values (None: any number), and the function; `and` and `or` are part of the machine."""


# Ollama's rules --------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return JSON data as Go holds it: every number a float."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    return [plain(part) for part in value]


def call_of(call: Mapping[str, Any]) -> Struct:
    """Return a tool call; its arguments may be an object, or JSON text as in the OpenAI format."""
    import json  # beside our own to_json, which encodes as Go does

    function = call.get("function") or {}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    if arguments is not None and not isinstance(arguments, Mapping):
        message = "the arguments of a tool call are not an object"
        raise ValueError(message)
    fields = {
        "Index": int(function.get("index") or 0),
        "Name": str(function.get("name") or ""),
        "Arguments": JsonMap(plain(arguments or {})),
    }
    return Struct("ToolCall", {"ID": str(call.get("id") or ""), "Function": Struct("ToolCallFunction", fields)})


def property_of(schema: Any) -> Struct:
    """Return a property of a tool, with the keys that Ollama keeps."""
    schema = schema if isinstance(schema, Mapping) else {}
    kind = schema.get("type")
    types = TypeNames([kind] if isinstance(kind, str) else [str(name) for name in kind or []])
    nested = schema.get("properties")
    fields = {
        "AnyOf": Slice(property_of(part) for part in schema.get("anyOf") or []),
        "Type": types,
        "Items": plain(schema.get("items")),
        "Description": str(schema.get("description") or ""),
        "Enum": Slice(plain(schema.get("enum") or [])),
        "Properties": None if nested is None else JsonMap((k, property_of(v)) for k, v in nested.items()),
        "Required": Slice(map(str, schema.get("required") or [])),
    }
    keys = {"AnyOf": "anyOf"}
    shown = Ordered((keys.get(k, k.lower()), v) for k, v in fields.items() if v is not None and v not in ([], ""))
    return Struct("ToolProperty", fields, shown)


def tool_of(tool: Mapping[str, Any]) -> Struct:
    """Return a tool, with the keys that Ollama keeps and in its order."""
    function = tool.get("function") or {}
    schema = function.get("parameters") or {}
    properties = JsonMap((key, property_of(value)) for key, value in (schema.get("properties") or {}).items())
    parameters = {
        "Type": str(schema.get("type") or ""),
        "Defs": plain(schema.get("$defs")),
        "Items": plain(schema.get("items")),
        "Required": Slice(map(str, schema.get("required") or [])),
        "Properties": properties,
    }
    keys = {"Defs": "$defs"}
    shown = Ordered((keys.get(k, k.lower()), v) for k, v in parameters.items() if v is not None and v != [])
    fields = {
        "Name": str(function.get("name") or ""),
        "Description": str(function.get("description") or ""),
        "Parameters": Struct("ToolFunctionParameters", parameters, shown, as_json=True),
    }
    encoded = Ordered((key.lower(), value) for key, value in fields.items())
    inner = Struct("ToolFunction", fields, encoded, as_json=True)
    items = plain(tool.get("items"))
    outer = {"Type": str(tool.get("type") or "function"), "Items": items, "Function": inner}
    return Struct("Tool", outer, Ordered((k.lower(), v) for k, v in outer.items() if v is not None), as_json=True)


def message_of(message: Mapping[str, Any], names: Mapping[str, str]) -> Struct:
    """Return a message as Ollama's templates see it. `names` are the tools called so far, by call id."""
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        text = "the content of a message is not text"
        raise ValueError(text)
    thinking = message.get("thinking") or message.get("reasoning_content") or message.get("reasoning") or ""
    call = str(message.get("tool_call_id") or "")
    tool = message.get("tool_name") or names.get(call) or (message.get("name") if message.get("role") == "tool" else "")
    fields = {
        "Role": str(message.get("role") or "").lower(),
        "Content": content or "",
        "Thinking": str(thinking),
        "Images": Slice(message.get("images") or []),
        "ToolCalls": Slice(map(call_of, message.get("tool_calls") or [])),
        "ToolName": str(tool or ""),
        "ToolCallID": call,
    }
    return Struct("Message", fields)


def collated(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[Struct]]:
    """Return the system texts joined, and the messages with neighbours of one role (but tools) joined."""
    names: dict[str, str] = {}
    joined: list[Struct] = []
    system: list[str] = []
    for message in messages:
        for call in message.get("tool_calls") or []:
            names[str(call.get("id") or "")] = str((call.get("function") or {}).get("name") or "")
        found = message_of(message, {key: name for key, name in names.items() if key})
        role, content = found.fields["Role"], found.fields["Content"]
        if role == "system":
            system.append(content)
        if joined and role != "tool" and joined[-1].fields["Role"] == role:
            joined[-1].fields["Content"] += "\n\n" + content
        else:
            joined.append(found)
    return "\n\n".join(system), joined


def names_in(part: Any) -> Iterator[str]:
    """Yield the names of fields and variables that stand in nodes, in lower case."""
    if isinstance(part, Fields):
        yield from (name.lower() for name in part.names)
    elif isinstance(part, Variable):
        yield from (name.lower() for name in (part.name, *part.fields))
    elif isinstance(part, tuple):
        for inner in part:
            yield from names_in(inner)
    elif isinstance(part, Pipe):
        yield from names_in(part.commands)
    elif isinstance(part, Action | Include) and part.pipe is not None:
        yield from names_in(part.pipe)
    elif isinstance(part, Branch):
        yield from names_in((part.pipe, part.body, part.otherwise))


class Cut:
    """Takes away all that follows the first `.Response`, so that a prompt ends where the answer begins."""

    def __init__(self) -> None:
        self.found = False

    def nodes(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        """Return the nodes up to `.Response`."""
        kept: list[Node] = []
        for node in nodes:
            if self.found:
                break
            if isinstance(node, Action):
                pipe = self.pipe(node.pipe)
                kept += [Action(pipe)] if pipe.commands else []
            elif isinstance(node, Branch):
                # Conditions don't count: `{{ if .Response }}` only asks whether there is an answer.
                body = self.nodes(node.body)
                kept.append(replace(node, body=body, otherwise=self.nodes(node.otherwise)))
            else:
                kept.append(node)
        return tuple(kept)

    def pipe(self, pipe: Pipe) -> Pipe:
        """Return a pipeline up to `.Response`."""
        commands: list[Command] = []
        for command in pipe.commands:
            kept: list[Operand] = []
            for operand in command:
                if self.found:
                    break
                self.found = isinstance(operand, Fields) and "Response" in operand.names
                kept.append(self.pipe(operand) if isinstance(operand, Pipe) else operand)
            commands += [tuple(kept)] if kept else []
        return replace(pipe, commands=tuple(commands))


RESPONSE = Action(Pipe(1, ((Fields(("Response",)),),)))


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read."""

    nodes: tuple[Node, ...]
    defined: dict[str, tuple[Node, ...]]

    def execute(self, data: Any, *, today: date | None = None) -> str:
        """Return the text for plain data: None, bool, int, float, str, list and dict.

        Raises:
            GoTemplateError: The template fails on this data, or goes beyond a limit.
        """
        budget = Budget(today=today or date.today())
        return Machine(self.defined, data, budget).run(self.nodes, data)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        think: bool | str | None = None,
        today: date | None = None,
    ) -> str:
        """Return what Ollama feeds the model before it answers. See `render` for the rules.

        Raises:
            GoTemplateError: The template fails on these messages, or goes beyond a limit.
            ValueError: A message or tool is not of the shape that Ollama takes.
        """
        budget = Budget(today=today or date.today())
        system, turns = collated(messages)
        names = {*names_in((self.nodes, *self.defined.values()))}
        if think is None and "thinking" in names:
            think = True
        shared = {
            "Think": bool(think),
            "ThinkLevel": think if isinstance(think, str) else "",
            "IsThinkSet": think is not None,
        }
        if "messages" in names:
            given = Tools(tool_of(tool) for tool in tools or [])
            data = {"System": system, "Messages": Slice(turns), "Tools": given, "Response": "", **shared}
            return Machine(self.defined, data, budget).run(self.nodes, data)
        whole = self.nodes if "response" in names else (*self.nodes, RESPONSE)
        exchanges = exchanges_of(turns)
        last = len(exchanges) - 1
        texts = []
        for place, exchange in enumerate(exchanges):
            nodes = Cut().nodes(whole) if place == last else whole
            data = {**exchange, **shared}
            texts.append(Machine(self.defined, data, budget).run(nodes, data))
        return "".join(texts)


def exchanges_of(turns: Sequence[Struct]) -> list[dict[str, str]]:
    """Return system, prompt and response of each exchange; the last one is the one to be answered."""
    exchanges = []
    present = {"System": "", "Prompt": "", "Response": ""}
    # A turn opens a new exchange when the present one already holds what comes after it in a template.
    places = {
        "system": ("System", ("Prompt", "Response")),
        "user": ("Prompt", ("Response",)),
        "assistant": ("Response", ()),
    }
    for turn in turns:
        if turn.fields["Role"] not in places:
            continue
        name, later = places[turn.fields["Role"]]
        if any(present[key] for key in later):
            exchanges.append(present)
            present = {"System": "", "Prompt": "", "Response": ""}
        present[name] = turn.fields["Content"]
    return [*exchanges, present]


def parse(source: str) -> Template:
    """Read a template.

    Raises:
        GoTemplateError: It is not one, uses what is not covered, or goes beyond a limit.
    """
    parser = Parser(source)
    return Template(parser.whole(), parser.defined)


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    think: bool | str | None = None,
    today: date | None = None,
) -> str:
    """Return what Ollama feeds the model before it answers.

    A template that names `.Messages` gets all of them; the system texts are in `.System` too. Any other one is
    run once an exchange with `.System`, `.Prompt` and `.Response`, and the last time cut off behind `.Response`,
    which is added at the end if the template lacks it. Neighbours of one role are joined by a blank line.

    What Ollama does beside the template is not done here: dropping old messages that don't fit the context,
    images, and tools printed as Go structs by `{{ .Function }}`, a fault of Ollama 0.14 and later (ollama issue
    14601); here they are JSON, as before and as meant.

    Args:
        template: The template's text.
        messages: Turns with `role`, `content`, and maybe `thinking`, `tool_calls`, `tool_name`.
        tools: Tools in the OpenAI shape.
        think: What the request says about thinking. None is a request that doesn't say: Ollama then asks a
            model to think if it can, which it takes from a template that shows `.Thinking`.
        today: The day for `currentDate`; by default today.

    Raises:
        GoTemplateError: The template can't be read, fails on these messages, or goes beyond a limit.
        ValueError: A message or tool is not of the shape that Ollama takes.
    """
    return parse(template).render(messages, tools, think=think, today=today)
