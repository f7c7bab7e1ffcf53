"""Files to rows, one at a time: memory stays flat however large a file is."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import BinaryIO, Literal

from luthier.core.errors import DataError
from luthier.data.encoding import detect_encoding
from luthier.data.readers import BINARY, READERS
from luthier.data.readers.lines import parsed
from luthier.data.readers.opened import Opened
from luthier.data.readers.packed import DamagedError, SourceFile
from luthier.data.rows import Piece, Read, Unparsed


def open_source(
    file: SourceFile,
    *,
    header: bool | Literal["auto"] = "auto",
    sheets: tuple[str, ...] | Literal["all"] = "all",
) -> Opened:
    """Return the file with its encoding found, ready to be read.

    Args:
        file: Which file.
        header: Whether the first line of a table names its columns; `auto` looks.
        sheets: Which sheets of workbooks are read.

    Raises:
        DataError: The system refuses to read it, or it unpacks without end.
    """
    try:
        with ExitStack() as handles:
            content = partial(_content, file, handles)
            encoding = "binary" if file.kind in BINARY else detect_encoding(content)
    except OSError as error:
        raise _refused(file.name, error) from error
    return Opened(file, encoding=encoding, header=header, sheets=sheets)


def pieces(opened: Opened) -> Iterator[Piece]:
    """Yield what the file holds, piece by piece; lines of JSON unparsed.

    Where the file ends early or makes no sense from somewhere on, that is one row that can't be read.

    Raises:
        DataError: The file as a whole is not what its name says.
    """
    last = 0
    try:
        with opened:
            for piece in READERS[opened.file.kind](opened):
                last = piece.number if isinstance(piece, Unparsed) else piece.source.line
                yield piece
    except DamagedError as error:
        yield opened.unreadable(last + 1, "", "damaged", f"{error}; the rest of the file is not read")
    except OSError as error:
        raise _refused(opened.name, error) from error


def read(opened: Opened) -> Iterator[Read]:
    """Yield what the file holds, row by row: each readable or not, with the line it begins on.

    Raises:
        DataError: The file as a whole is not what its name says.
    """
    for piece in pieces(opened):
        yield row_of(piece, file=opened.name, encoding=opened.encoding)


def row_of(piece: Piece, *, file: str, encoding: str) -> Read:
    """Return the row a piece of a file is; lines of JSON are parsed."""
    return parsed(piece, file=file, encoding=encoding) if isinstance(piece, Unparsed) else piece


def _content(file: SourceFile, handles: ExitStack) -> BinaryIO:
    return file.open(handles, forgiving=True)[0]


def _refused(name: str, error: OSError) -> DataError:
    return DataError(
        f"the system can't read this file: {error.strerror or error}",
        hint="check that it is there and readable",
        place=name,
    )
