"""TXT and Markdown: the file is one document, and one row."""

from collections.abc import Iterator

from luthier.data.encoding import BROKEN
from luthier.data.readers.opened import LONGEST, Opened, shown
from luthier.data.rows import RawRow, Read


def read(opened: Opened) -> Iterator[Read]:
    """Yield the whole file as one row with a `text`."""
    text = opened.text(newline=None).read(LONGEST + 1).removeprefix("\ufeff")
    if len(text) > LONGEST:
        yield opened.unreadable(1, shown(text[:1000]), "too_long", f"longer than {LONGEST:,} characters")
    elif BROKEN in text:
        yield opened.unreadable(1, shown(text[:1000]), "invalid_encoding", f"not {opened.encoding}")
    else:
        yield RawRow({"text": text}, opened.at(1))
