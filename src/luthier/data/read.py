"""Files to rows, one at a time: memory stays flat however large a CSV or JSONL file is."""

from collections.abc import Iterator

from luthier.core.errors import DataError
from luthier.data.encoding import detect_encoding
from luthier.data.readers import READERS
from luthier.data.readers.lines import parsed
from luthier.data.readers.opened import Opened
from luthier.data.rows import Piece, Read, Unparsed
from luthier.data.sources import SourceFile


def open_source(file: SourceFile) -> Opened:
    """Return the file with its encoding found, ready to be read.

    Raises:
        DataError: The system refuses to read it.
    """
    try:
        return Opened(file.path, name=file.name, encoding=detect_encoding(file.path))
    except OSError as error:
        raise _refused(file.name, error) from error


def pieces(opened: Opened) -> Iterator[Piece]:
    """Yield what the file holds, piece by piece; lines of JSON unparsed.

    Raises:
        DataError: The file as a whole is not what its name says.
    """
    try:
        with opened:
            yield from READERS[opened.path.suffix.lower()](opened)
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


def _refused(name: str, error: OSError) -> DataError:
    return DataError(
        f"the system can't read this file: {error.strerror or error}",
        hint="check that it is there and readable",
        place=name,
    )
