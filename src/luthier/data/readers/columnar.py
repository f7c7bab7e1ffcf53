"""Parquet and Arrow: tables by column, read some rows at a time; nested columns become lists and objects as in JSON."""

import datetime
import io
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

from luthier.core.text import one_line
from luthier.data.readers.opened import IN_MEMORY, Opened
from luthier.data.readers.packed import DamagedError
from luthier.data.rows import RawRow

if TYPE_CHECKING:
    import polars as pl

SLICE = 4096
"""Rows read at once where they are short."""

SLICE_SIZE = 16_000_000
"""Bytes, as packed in the file, that are aimed at."""

RECORD_BATCH = 3
"""Kind of a message that holds rows."""

CONTINUES = b"\xff\xff\xff\xff"
"""What a message of an Arrow stream begins with."""


def read_parquet(opened: Opened) -> Iterator[RawRow]:
    """Yield the rows, numbered from 1.

    Raises:
        DamagedError: The file ends early or makes no sense.
    """
    import polars as pl

    with complaints():
        table = pl.scan_parquet(_content(opened), glob=False, hive_partitioning=False, low_memory=True)
        yield from _slices(opened, table)


def read_arrow(opened: Opened) -> Iterator[RawRow]:
    """Yield the rows of a Feather or Arrow file, or of a stream of Arrow messages, numbered from 1.

    Raises:
        DamagedError: The file ends early or makes no sense.
    """
    import polars as pl

    with complaints():
        if opened.binary().read(len(CONTINUES)) != CONTINUES:
            yield from _slices(opened, pl.scan_ipc(_content(opened), glob=False, hive_partitioning=False))
            return
        number = 1
        for batch in _stream(opened.binary()):
            frame = pl.read_ipc_stream(io.BytesIO(batch))
            yield from rows(opened, frame, number)
            number += frame.height


@contextmanager
def complaints(*more: type[Exception]) -> Iterator[None]:
    """Turn what the libraries say about a file, in `more` kinds of exceptions, too, into damage.

    They are programs in Rust, whose panics Python sees as exceptions beside all others.
    """
    from polars.exceptions import PanicException, PolarsError

    told: tuple[type[BaseException], ...] = (
        *more,
        PolarsError,
        PanicException,
        OSError,
        struct.error,
        ValueError,
        IndexError,
    )
    try:
        yield
    except told as error:
        said = str(error).partition("Error {")[0].rstrip(" ({:")  # behind it is Rust, for programmers
        raise DamagedError(one_line(said, 160) or type(error).__name__) from error


def _content(opened: Opened) -> str | io.BytesIO:
    """Return where the library reads: the file itself, or what is inside of what it doesn't know."""
    name = str(opened.path.absolute())
    if opened.file.plain and name.isprintable():  # the library takes names for UTF-8
        return name
    return io.BytesIO(opened.whole())


def _slices(opened: Opened, table: "pl.LazyFrame") -> Iterator[RawRow]:
    """Yield the rows of a table of which any part can be read."""
    import polars as pl

    total = int(table.select(pl.len()).collect().item())
    step = max(1, min(SLICE, SLICE_SIZE * total // max(1, opened.file.size)))
    for at in range(0, total, step):
        frame = table.slice(at, step).collect()
        yield from rows(opened, frame, at + 1)
        if frame.height < min(step, total - at):
            raise DamagedError(f"says it has {total:,} rows, and has {at + frame.height:,}")


def _stream(handle: BinaryIO) -> Iterator[bytes]:
    """Yield an Arrow stream in pieces of one batch of rows, each a stream of its own.

    Source: the Arrow columnar format, "Serialization and Interprocess Communication": a message is four times FF, its
    length, a flatbuffer with the kind and the length of its body, and the body; the schema and dictionaries come first.
    """
    first = b""
    while True:
        start = handle.read(8)
        if len(start) < 8 or start.endswith(b"\0\0\0\0"):
            if start[4:] != b"\0\0\0\0" and start:
                raise DamagedError("the last message ends early")
            return
        if not start.startswith(CONTINUES):
            raise DamagedError("a message doesn't begin as one does")
        (length,) = struct.unpack_from("<i", start, 4)
        about = handle.read(min(max(length, 0), IN_MEMORY))
        kind, size = _header(about)
        body = handle.read(min(max(size, 0), IN_MEMORY))
        if len(about) < length or len(body) < size:
            raise DamagedError("the last message ends early")
        if kind == RECORD_BATCH:
            yield first + start + about + body + CONTINUES + b"\0\0\0\0"
        else:
            first += start + about + body


def _header(about: bytes) -> tuple[int, int]:
    """Return the kind of a message and the length of its body: the second and fourth field of a flatbuffer table.

    A table begins with how far before it its list of places is; that says its own length, the table's, and where in
    the table each field is, 0 or nothing for one that has its default.
    """
    (table,) = struct.unpack_from("<I", about)
    places = table - struct.unpack_from("<i", about, table)[0]
    (length,) = struct.unpack_from("<H", about, places)
    fields = [*struct.unpack_from(f"<{max(0, min(length - 4, 8)) // 2}H", about, places + 4), 0, 0, 0, 0]
    kind = about[table + fields[1]] if fields[1] else 0
    return kind, struct.unpack_from("<q", about, table + fields[3])[0] if fields[3] else 0


def rows(opened: Opened, frame: "pl.DataFrame", number: int) -> Iterator[RawRow]:
    """Yield the rows of a table, the first of which has that number."""
    for index, row in enumerate(frame.iter_rows(named=True), start=number):
        yield RawRow({name: _plain(value) for name, value in row.items()}, opened.at(index))


def _plain(value: Any) -> Any:
    """Return a cell as JSON would have it: dates as ISO text, whole decimals as integers, bytes as text if they are."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None  # a picture or a sound, which no format learns from
    return str(value)
