"""Rows that equal an earlier one. The first stays; memory is a digest and a number a row, never the texts."""

from luthier.core.example import Source
from luthier.data.rows import Refusal

LINES = 1 << 40
"""More lines than any file has: file and line fit into one number."""


class Duplicates:
    """Remembers the conversations that were kept, by digest."""

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}
        self._files: list[str] = []

    def match(self, key: bytes, source: Source) -> Source | None:
        """Return the earlier row with this key, or None after remembering this one as the first."""
        if not self._files or self._files[-1] != source.file:
            self._files.append(source.file)
        first = self._first.setdefault(key, mine := (len(self._files) - 1) * LINES + source.line)
        if first == mine:
            return None
        return Source(self._files[first // LINES], first % LINES)


def refusal(matched: Source) -> Refusal:
    """Return the reason for dropping a row that equals `matched`."""
    return Refusal("duplicate", f"equal to {matched}", matched)
