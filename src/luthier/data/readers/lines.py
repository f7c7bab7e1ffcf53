"""JSONL: a JSON object on every line. A bad line costs one row, never the file."""

from collections.abc import Iterator

from luthier.core.example import Source
from luthier.data.encoding import BROKEN
from luthier.data.readers.json_text import kind, parse
from luthier.data.readers.nested import are_cells, named
from luthier.data.readers.opened import LONGEST, Opened, shown
from luthier.data.rows import RawRow, Read, Refusal, Unparsed, Unreadable


def read_lines(opened: Opened) -> Iterator[Unparsed]:
    """Yield every line that isn't blank."""
    for number, line in enumerate(opened.lines(), start=1):
        if line and not line.isspace():
            yield Unparsed(line, number)


def parsed(line: Unparsed, *, file: str, encoding: str) -> Read:
    """Return the row a line holds, or why it holds none.

    Args:
        line: The line.
        file: How rows and messages call the file.
        encoding: The file's codec.
    """
    text, source = line.text, Source(file, line.number)
    if len(text) > LONGEST:
        detail = f"longer than {LONGEST:,} characters"
        return Unreadable(shown(text[:1000]), source, Refusal("too_long", detail))
    if isinstance(text, str) and BROKEN in text:
        return Unreadable(shown(text), source, Refusal("invalid_encoding", f"not {encoding}"))
    value = parse(text)
    if are_cells(value):
        value = named(value)
    if isinstance(value, dict):
        return RawRow(value, source)
    if isinstance(value, Refusal):
        return Unreadable(shown(text), source, value)
    return Unreadable(value, source, Refusal("not_an_object", f"a JSON {kind(value)}"))
