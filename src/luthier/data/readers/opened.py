"""An open source file: how far it is read, its encoding, its lines."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from luthier.core.example import Source
from luthier.data.encoding import BROKEN, ERRORS
from luthier.data.rows import Refusal, Unreadable

LONGEST = 64_000_000
"""Largest row that is read, in characters. What is larger is a damaged file more often than an example."""


class Opened:
    """One source file during reading. Leaving it closes whatever was opened for it.

    Args:
        path: The file.
        name: How rows and messages call it.
        encoding: A codec name.
    """

    def __init__(self, path: Path, *, name: str, encoding: str) -> None:
        self.path = path
        self.name = name
        self.encoding = encoding
        self._handles = ExitStack()
        self._last: BinaryIO | None = None

    def __enter__(self) -> "Opened":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last = None
        self._handles.close()

    @property
    def position(self) -> int:
        """How many bytes have been taken from the file."""
        return 0 if self._last is None else self._last.tell()

    def binary(self) -> BinaryIO:
        """Return the file's bytes from the beginning."""
        self._last = self._handles.enter_context(self.path.open("rb"))
        return self._last

    def text(self, *, newline: str | None) -> io.TextIOWrapper:
        """Return the file as text from its beginning; what can't be decoded is marked with `BROKEN`."""
        wrapped = io.TextIOWrapper(self.binary(), encoding=self.encoding, errors=ERRORS, newline=newline)
        return self._handles.enter_context(wrapped)

    def lines(self) -> Iterator[str | bytes]:
        """Yield the lines: bytes for UTF-8, which a JSON parser reads as they are, else decoded text.

        A line longer than `LONGEST` comes cut, one character above the limit, so that memory stays bounded.
        """
        if self.encoding not in ("utf-8", "utf-8-sig"):
            yield from bounded(self.text(newline=None))
            return
        handle = self.binary()
        handle.seek(3 if self.encoding == "utf-8-sig" else 0)
        yield from bounded_bytes(handle)

    def at(self, line: int) -> Source:
        """Return the source of a row that begins on `line`."""
        return Source(self.name, line)

    def unreadable(self, line: int, raw: object, reason: str, detail: str) -> Unreadable:
        """Return the record of a row that can't be read."""
        return Unreadable(raw=raw, source=self.at(line), refusal=Refusal(reason, detail))


def shown(raw: str | bytes) -> str:
    """Return raw content as text for `dropped.jsonl`, what is no text as hexadecimal numbers."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
    return text.replace(BROKEN, "�").rstrip("\r\n")


def bounded(handle: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a text; of one longer than `LONGEST`, only the beginning."""
    while line := handle.readline(LONGEST + 1):
        if len(line) > LONGEST and not line.endswith("\n"):
            while (rest := handle.readline(LONGEST)) and not rest.endswith("\n"):
                pass
        yield line


def bounded_bytes(handle: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; of one longer than `LONGEST`, only the beginning."""
    while line := handle.readline(LONGEST + 1):
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while (rest := handle.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
        yield line
