"""An Ollama Modelfile, read: the lines that decide what prompt a model gets, and the rest kept as text.

A file without such lines is taken as a bare template. Ollama's way with values is followed: without quotes up
to the end of the line; in double or triple quotes up to a line that ends with the same quotes; white space
around is cut off; characters that can't be printed are dropped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from luthier.core.errors import DataError
from luthier.core.text import did_you_mean, one_line

KEYWORDS = (
    "FROM",
    "TEMPLATE",
    "SYSTEM",
    "PARAMETER",
    "ADAPTER",
    "MESSAGE",
    "LICENSE",
    "RENDERER",
    "PARSER",
    "REQUIRES",
    "DRAFT",
)
ROLES = ("system", "user", "assistant")

LARGEST = 4_000_000
"""Largest file read, in bytes. Licences make Modelfiles long, nothing makes them longer."""

MARKED = re.compile(r"^[ \t]*(?:FROM|TEMPLATE)[ \t]+\S", re.MULTILINE)
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")


@dataclass(frozen=True, slots=True)
class Modelfile:
    """What a Modelfile says. Of keywords that may stand once, the last counts, as in Ollama."""

    base: str | None = None
    """`FROM`: a model's name, or the path of a GGUF file or model folder."""
    template: str | None = None
    system: str | None = None
    adapter: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    """Turns that stand before every conversation: role and text."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Names in lower case, in the order of the file. `stop` may stand several times."""
    licenses: tuple[str, ...] = ()
    renderer: str | None = None
    """A renderer built into Ollama, which then takes the place of the template."""
    parser: str | None = None
    requires: str | None = None
    draft: str | None = None

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of a parameter."""
        return tuple(value for key, value in self.parameters if key == name)

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the texts at which an answer ends."""
        return self.values("stop")


def problem(file: str, line: int, what: str, hint: str) -> DataError:
    """Return the error for a line of a Modelfile."""
    return DataError(what, hint=hint, place=f"{file}:{line}")


def is_modelfile(text: str) -> bool:
    """Say whether a text is a Modelfile, not a bare template.

    It is if its first line, comments aside, begins with a keyword in any case, or any line begins with `FROM`
    or `TEMPLATE` in capitals.
    """
    for line in text.splitlines():
        words = line.split(None, 1)
        if words and not words[0].startswith("#"):
            return (len(words) == 2 and words[0].upper() in KEYWORDS) or MARKED.search(text) is not None
    return False


def split(line: str) -> tuple[str, str]:
    """Return the first word of a line and the rest, without the blanks between."""
    word, *rest = re.split(r"[ \t]+", line, maxsplit=1)
    return word, rest[0] if rest else ""


def printable(text: str) -> str:
    """Return a value as Ollama keeps it: only characters that can be printed, tabs and line ends."""
    return "".join(c for c in text if c in "\t\r\n" or c.isprintable())


def complete(value: str) -> str | None:
    """Return a value without its quotes, or None while the closing ones are missing."""
    for quotes in ('"""', '"'):
        if value.startswith(quotes):
            closed = len(value) >= 2 * len(quotes) and value.endswith(quotes)
            return value[len(quotes) : -len(quotes)] if closed else None
    return value


class Reader:
    """The lines of a Modelfile, taken one instruction at a time."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = [match.group() for match in LINE.finditer(text)]
        self.at = 0

    def instructions(self) -> Iterator[tuple[int, str, str]]:
        """Yield line number, keyword in capitals, and the rest of the line unread.

        Raises:
            DataError: A line begins with something else.
        """
        while self.at < len(self.lines):
            line, number = self.lines[self.at].strip(), self.at + 1
            if not line or line.startswith("#"):
                self.at += 1
                continue
            word, rest = split(line)
            if word.upper() not in KEYWORDS:
                meant = did_you_mean(word, [keyword.lower() for keyword in KEYWORDS])
                known = f"did you mean `{meant.upper()}`?" if meant else f"a line begins with {', '.join(KEYWORDS)}"
                raise problem(self.file, number, f"unknown instruction `{one_line(word, 40)}`", known)
            # The value may go on over further lines, so it is read from the raw line, behind the keyword.
            yield number, word.upper(), rest

    def value(self, number: int, skipped: str, rest: str) -> str:
        """Return the value that begins behind the keyword (and role or name) of the present line.

        Raises:
            DataError: There is none, or its quotes aren't closed.
        """
        raw = self.lines[self.at]
        text = printable(raw[raw.rindex(rest) :] if rest else "")
        self.at += 1
        parts = [text]
        if not text.strip():
            hint = f'write `{skipped} "…"`'
            raise problem(self.file, number, f"`{skipped}` has no value", hint)
        opened = text.lstrip()
        quotes = '"""' if opened.startswith('"""') else '"'
        found = complete(opened.strip())
        while found is None and self.at < len(self.lines):
            line = printable(self.lines[self.at])
            parts.append(line)
            self.at += 1
            if line.rstrip().endswith(quotes):
                found = complete("".join(parts).strip())
        if found is None:
            hint = f"end the value with {quotes} as the last thing on a line"
            raise problem(self.file, number, f"the quotes of `{skipped}` are not closed", hint)
        return found


def parse(text: str, file: str = "Modelfile") -> Modelfile:
    """Return what a Modelfile says.

    Args:
        text: Its text.
        file: Its name, for errors.

    Raises:
        DataError: A line is not one that Ollama takes.
    """
    reader = Reader(text, file)
    once: dict[str, str] = {}
    messages: list[tuple[str, str]] = []
    parameters: list[tuple[str, str]] = []
    licenses: list[str] = []
    for number, keyword, rest in reader.instructions():
        if keyword in ("MESSAGE", "PARAMETER"):
            name, after = split(rest)
            if keyword == "MESSAGE" and name not in ROLES:
                raise problem(file, number, f"unknown role `{one_line(name, 40)}`", "write system, user or assistant")
            value = reader.value(number, f"{keyword} {name}".strip(), after)
            (messages if keyword == "MESSAGE" else parameters).append((name, value))
        elif keyword == "LICENSE":
            licenses.append(reader.value(number, keyword, rest))
        else:
            once[keyword] = reader.value(number, keyword, rest)
    return Modelfile(
        base=once.get("FROM"),
        template=once.get("TEMPLATE"),
        system=once.get("SYSTEM"),
        adapter=once.get("ADAPTER"),
        messages=tuple(messages),
        parameters=tuple((name.lower(), value) for name, value in parameters),
        licenses=tuple(licenses),
        renderer=once.get("RENDERER"),
        parser=once.get("PARSER"),
        requires=once.get("REQUIRES"),
        draft=once.get("DRAFT"),
    )


def read(path: Path) -> Modelfile:
    """Return what a file says: a Modelfile, or a bare template as a Modelfile with nothing else.

    Raises:
        DataError: It can't be read, is no text, or a line of it is wrong.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise DataError(
            f"can't read the file: {error.strerror}", hint="check the path and its permissions", place=str(path)
        ) from error
    if len(content) > LARGEST:
        raise DataError(
            f"the file is larger than {LARGEST:,} bytes",
            hint="give a Modelfile or a template; a model file must end in `.gguf`",
            place=str(path),
        )
    try:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            "the file is not text",
            hint="give a Modelfile or a template in UTF-8; a model file must end in `.gguf`",
            place=str(path),
        ) from error
    return parse(text, str(path)) if is_modelfile(text) else Modelfile(template=text)
