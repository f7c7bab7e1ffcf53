"""An open source file: how far it is read, its encoding, its lines, and what is to be told about reading it."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Literal

from luthier.core.errors import DataError
from luthier.core.example import Source
from luthier.data.encoding import BROKEN, ERRORS
from luthier.data.readers.packed import SourceFile
from luthier.data.rows import Refusal, Unreadable

LONGEST = 64_000_000
"""Largest row that is read, in characters. What is larger is a damaged file more often than an example."""

IN_MEMORY = 1_000_000_000
"""Bytes that are held at once, of kinds of files that can't be read from the front to the back."""

UTF8 = ("utf-8", "utf-8-sig")


class Opened:
    """One source file during reading. Leaving it closes whatever was opened for it.

    Args:
        file: Which file.
        encoding: A codec name; `binary` where the kind of file has none.
        header: Whether a table's first line names its columns; `auto` looks.
        sheets: Which sheets of a workbook are read.
    """

    def __init__(
        self,
        file: SourceFile,
        *,
        encoding: str,
        header: bool | Literal["auto"] = "auto",
        sheets: tuple[str, ...] | Literal["all"] = "all",
    ) -> None:
        self.file = file
        self.path = file.path
        self.name = file.name
        self.encoding = encoding
        self.header = header
        self.sheets = sheets
        self.told: dict[str, None] = dict.fromkeys([file.told] if file.told else [])
        """What people should know of how it was read, in order."""
        self._handles = ExitStack()
        self._taken: Callable[[], int] = int

    def __enter__(self) -> "Opened":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._taken = int
        self._handles.close()

    @property
    def position(self) -> int:
        """How many bytes on disk have been taken from the file."""
        return self._taken()

    def tell(self, what: str) -> None:
        """Tell something about how the file is read, once."""
        self.told[what] = None

    def part(self, name: str) -> "Opened":
        """Return the same file under the name of one of its parts, such as a sheet."""
        return Opened(replace(self.file, name=name, told=""), encoding=self.encoding)

    def binary(self) -> BinaryIO:
        """Return the content's bytes from the beginning."""
        handle, self._taken = self.file.open(self._handles)
        return handle

    def text(self, *, newline: str | None) -> io.TextIOWrapper:
        """Return the content as text from its beginning; what can't be decoded is marked with `BROKEN`."""
        wrapped = io.TextIOWrapper(self.binary(), encoding=self.encoding, errors=ERRORS, newline=newline)
        return self._handles.enter_context(wrapped)

    def lines(self) -> Iterator[str | bytes]:
        """Yield the lines: bytes for UTF-8, which a JSON parser reads as they are, else decoded text.

        A line longer than `LONGEST` comes cut, one character above the limit, so that memory stays bounded.
        """
        if self.encoding not in UTF8:
            yield from bounded(self.text(newline=None))
            return
        handle = self.binary()
        if self.encoding == "utf-8-sig":
            handle.read(3)
        yield from bounded_bytes(handle)

    def whole(self) -> bytes:
        """Return all bytes, for kinds of files that are read here and there.

        Raises:
            DataError: They are too many.
        """
        content = self.binary().read(IN_MEMORY + 1)
        if len(content) > IN_MEMORY:
            raise DataError(
                f"holds more than {IN_MEMORY:,} bytes, which would all have to be in memory",
                hint="unpack it, or save it as JSON lines, CSV or Parquet, which are read piece by piece",
                place=self.name,
            )
        return content

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
