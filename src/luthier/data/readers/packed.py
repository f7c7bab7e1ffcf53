"""A source file and its bytes: as they are on disk, unpacked on the way (gz, bz2, xz, zst), or a member of a zip.

Nothing is unpacked onto the disk or into memory as a whole: bytes come as a stream, so a name inside a zip leads
nowhere, and a small file that unpacks to a huge one is stopped on the way.
"""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, cast

from luthier.core.errors import DataError, MissingExtra

FREE = 1_000_000_000
"""Bytes that any packed file may unpack to."""

MOST_TIMES = 250
"""How many times its size a file may unpack to beyond that. Text packs to a hundredth at best; what packs better
is made to fill memory and disks."""

BUFFER = 1 << 17

PIECE = 1 << 7
"""Bytes given to zstd at once: a frame's block unpacks up to 32,000 times its size (RFC 8878, section 3.1.1.2)."""

MAGIC = {b"\x1f\x8b\x08": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ\0": ".xz"}
"""What packed files begin with; `.bz2` also has a digit between two marks."""


class DamagedError(Exception):
    """The file ends early or makes no sense from here on. What came before is good."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read: where it is, what it is, and the name under which rows and messages speak of it."""

    path: Path
    name: str
    size: int
    """Bytes on disk."""
    kind: str
    """What its content is, once unpacked: a key of `luthier.data.readers.READERS`."""
    packing: tuple[str, ...] = ()
    """What it is packed with, from the outside in."""
    member: int | None = None
    """Which entry of a zip it is."""
    told: str = ""
    """How its kind was found, where the name doesn't say it."""

    @property
    def plain(self) -> bool:
        """Say whether the bytes on disk are those that are read."""
        return self.member is None and not self.packing

    def open(self, handles: ExitStack, *, forgiving: bool = False) -> tuple[BinaryIO, Callable[[], int]]:
        """Return the content from its beginning, and a function that says how many bytes on disk are taken.

        Args:
            handles: Takes what is to be closed.
            forgiving: Whether damage is the end of the content, for those who only look what it is.

        Raises:
            DamagedError: The zip makes no sense. So does reading, where what is packed does not.
            DataError: While reading: it unpacks to far more than it could honestly hold.
            MissingExtra: A package for this packing is not installed.
        """
        handle: BinaryIO = handles.enter_context(self.path.open("rb"))
        if self.plain:
            return handle, handle.tell
        taken, within = handle.tell, 1.0
        if self.member is not None:
            handle, within = _member(handle, self.member, handles)
            taken = handle.tell
        for packing in self.packing:
            handle = cast("BinaryIO", handles.enter_context(UNPACKERS[packing](handle)))
        stream = handles.enter_context(
            io.BufferedReader(_Stream(cast("io.BufferedIOBase", handle), self, forgiving=forgiving), BUFFER)
        )
        return cast("BinaryIO", stream), lambda: int(taken() * within)


class _Stream(io.RawIOBase):
    """Bytes of an unpacker: what it complains about is damage, and it may not give without end."""

    def __init__(self, inner: io.BufferedIOBase, file: SourceFile, *, forgiving: bool) -> None:
        self._inner = inner
        self._file = file
        self._forgiving = forgiving
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # any buffer, says typeshed
        try:
            content = self._inner.read1(len(buffer))  # read would lose what comes before the damage
        except UNPACKING_ERRORS as error:
            if self._forgiving:
                return 0
            raise DamagedError(_complaint(error)) from error
        self._given += len(content)
        if self._given > max(FREE, MOST_TIMES * self._file.size):
            raise DataError(
                f"unpacks to more than {MOST_TIMES} times its size",
                hint="this is no honest data file; if it is, unpack it first",
                place=self._file.name,
            )
        buffer[: len(content)] = content
        return len(content)


class _Zstd(io.BufferedIOBase):
    """Unpacks zstd frames, one after the other. The package's own reader takes a truncated frame for the end."""

    def __init__(self, packed: BinaryIO) -> None:
        if find_spec("zstandard") is None:
            raise MissingExtra("zstandard", extra="data")
        import zstandard

        self._new = zstandard.ZstdDecompressor().decompressobj
        self._error = zstandard.ZstdError
        self._packed = packed
        self._frame = self._new()
        self._begun = False
        self._rest = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        wanted = sys.maxsize if size is None or size < 0 else size
        content = bytearray()
        while len(content) < wanted and (piece := self.read1(wanted - len(content))):
            content += piece
        return bytes(content)

    def read1(self, size: int = -1) -> bytes:
        while not self._ready:
            piece, self._rest = self._rest or self._packed.read(PIECE), b""
            if not piece:
                if self._begun:
                    raise EOFError("the last frame ends early")
                return b""
            try:
                self._ready = memoryview(self._frame.decompress(piece))
            except self._error as error:
                raise zlib.error(str(error)) from error
            self._begun = not self._frame.eof
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = self._new()
        end = len(self._ready) if size < 0 else size
        given, self._ready = self._ready[:end], self._ready[end:]
        return bytes(given)


UNPACKERS: dict[str, Callable[[BinaryIO], io.IOBase]] = {
    ".gz": lambda packed: gzip.GzipFile(fileobj=packed, mode="rb"),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _Zstd,
}
"""File extension of what one file is packed with to what unpacks it."""

UNPACKING_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


def packing_of(start: bytes) -> str | None:
    """Return what a file that begins with these bytes is packed with."""
    if start[:3] == b"BZh" and start[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return ".bz2"
    return next((packing for magic, packing in MAGIC.items() if start.startswith(magic)), None)


def entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return what a zip says it holds.

    Raises:
        DamagedError: It makes no sense.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeError, ValueError, OverflowError) as error:
        raise DamagedError(_complaint(error)) from error


def _member(handle: BinaryIO, number: int, handles: ExitStack) -> tuple[BinaryIO, float]:
    """Return an entry of a zip, and how many bytes on disk one of its bytes takes."""
    try:
        archive = handles.enter_context(zipfile.ZipFile(handle))
        entry = archive.infolist()[number]
        stream = cast("BinaryIO", handles.enter_context(archive.open(entry)))
    except UNPACKING_ERRORS as error:
        raise DamagedError(_complaint(error)) from error
    return stream, entry.compress_size / max(1, entry.file_size)


def _complaint(error: Exception) -> str:
    """Return what an unpacker says, on one line, beginning small."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if said[1:2].isupper() else said[0].lower() + said[1:]
