"""JSONL: a JSON object on every line. A bad line costs one row, never the file."""

from collections.abc import Iterator

from luthier.data.encoding import BROKEN
from luthier.data.readers.json_text import kind, parse
from luthier.data.readers.opened import LONGEST, Opened, shown
from luthier.data.rows import RawRow, Read, Refusal


def read_lines(opened: Opened) -> Iterator[Read]:
    """Yield a row for every line that isn't blank."""
    for number, line in enumerate(opened.lines(), start=1):
        if not line or line.isspace():
            continue
        yield _row(opened, number, line)


def _row(opened: Opened, number: int, line: str | bytes) -> Read:
    if len(line) > LONGEST:
        start = shown(line[:1000])
        return opened.unreadable(number, start, "too_long", f"longer than {LONGEST:,} characters")
    if isinstance(line, str) and BROKEN in line:
        return opened.unreadable(number, shown(line), "invalid_encoding", f"not {opened.encoding}")
    value = parse(line)
    if isinstance(value, dict):
        return RawRow(value, opened.at(number))
    if isinstance(value, Refusal):
        return opened.unreadable(number, shown(line), value.reason, value.detail)
    return opened.unreadable(number, value, "not_an_object", f"a JSON {kind(value)}")
