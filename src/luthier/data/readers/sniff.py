"""What a file is: what its first bytes say comes before its name, and text without a telling name is looked at."""

import io
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePosixPath

from luthier.core.errors import DataError
from luthier.data.encoding import BROKEN, ERRORS, detect_encoding
from luthier.data.readers.dialect import looks_delimited
from luthier.data.readers.json_text import parse
from luthier.data.readers.packed import UNPACKERS, DamagedError, SourceFile, entries, packing_of

HEAD = 1 << 16
"""Bytes that are looked at."""

DEEPEST = 2
"""How often a file may be packed again: `rows.jsonl.gz.xz`."""

TABLES = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\xff\xff\xff\xff": ".arrow", b"\xd0\xcf\x11\xe0": ".xls"}
"""What files begin with that are no text. Four times FF begins a stream of Arrow messages."""

OTHERS = {
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"SQLite format 3\0": "an SQLite database",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x7fELF": "a program",
    b"\x89HDF": "an HDF5 file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\x80\x04\x95": "a pickle, which could run code",
    b"\x80\x05\x95": "a pickle, which could run code",
}
"""What files begin with that are not read, and what people call them."""

IN_ZIP = {
    "xl/workbook.xml": ".xlsx",
    "xl/workbook.bin": ".xlsb",
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a presentation",
}

ALIKE = {".feather": ".arrow", ".ipc": ".arrow", ".arrows": ".arrow", ".xlsm": ".xlsx"}
"""Endings of files that hold what files with another ending hold."""

ARCHIVE = ".zip"

NO_TEXT = frozenset({".parquet", ".arrow", ".xlsx", ".xlsb", ".ods", ".xls", ARCHIVE})


def look(file: SourceFile, known: Collection[str]) -> SourceFile:
    """Return the file with its packing and its kind found.

    Args:
        file: With path, name, size and, of an entry of a zip, which.
        known: The kinds of files that are read.

    Raises:
        DataError: It is of no kind that is read, or not what it should be.
    """
    name = PurePosixPath(file.name)
    start = _start(file)
    while (packing := packing_of(start)) is not None:
        if len(file.packing) == DEEPEST:
            raise DataError("packed more than twice", hint="unpack it", place=file.name)
        name = name.with_suffix("") if name.suffix.lower() == packing and name.stem else name
        file = replace(file, packing=(*file.packing, packing))
        start = _start(file)
    suffix = ALIKE.get(name.suffix.lower(), name.suffix.lower())
    if suffix in UNPACKERS:  # a download that was unpacked on the way and kept its name
        suffix = ALIKE.get(name.with_suffix("").suffix.lower(), name.with_suffix("").suffix.lower())
    kind = _by_content(file, start)
    if kind is not None:
        unlike = suffix and suffix != kind and not {suffix, kind} <= {".xls", ".xlsx", ".xlsb", ".ods"}
        return replace(file, kind=kind, told=f"it is {_called(kind)}, whatever its name says" if unlike else "")
    if suffix in known and suffix not in NO_TEXT:
        return replace(file, kind=suffix)
    kind = _by_text(start)
    if kind is None:
        raise DataError(
            "this is no text and no kind of file that is read",
            hint="save it as CSV or JSON lines",
            place=file.name,
        )
    why = f"no {_called(suffix)}" if suffix in NO_TEXT else f"`{suffix}` says nothing" if suffix else "no extension"
    return replace(file, kind=kind, told=f"{why}: read as {_called(kind)} by its content")


def _called(kind: str) -> str:
    return f"`{kind}`"


def _start(file: SourceFile) -> bytes:
    """Return the first bytes of the content; of a damaged file those before the damage."""
    try:
        with ExitStack() as handles:
            return file.open(handles, forgiving=True)[0].read(HEAD)
    except DamagedError as error:
        raise DataError(f"damaged: {error}", hint="get the file again", place=file.name) from error


def _by_content(file: SourceFile, start: bytes) -> str | None:
    """Return the kind of a file that is no text, by how it begins."""
    for magic, what in OTHERS.items():
        if start.startswith(magic):
            raise DataError(
                f"this is {what}, which is not read", hint="save its text as CSV or JSON lines", place=file.name
            )
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return _in_zip(file, start)
    if start[257:262] == b"ustar":
        raise DataError(
            "this is a tar archive, which is not read", hint="unpack it and name the folder", place=file.name
        )
    return next((kind for magic, kind in TABLES.items() if start.startswith(magic)), None)


def _in_zip(file: SourceFile, start: bytes) -> str:
    """Return whether a zip is one, or a workbook, which is one inside."""
    if not file.plain:  # its table of contents is at the end, and what comes first must do
        return ".xlsx" if b"xl/" in start else ".ods" if b"opendocument.spreadsheet" in start else ARCHIVE
    try:
        names = {entry.filename for entry in entries(file.path)}
    except DamagedError as error:
        raise DataError(f"a damaged zip: {error}", hint="get the file again", place=file.name) from error
    kind = next((kind for inside, kind in IN_ZIP.items() if inside in names), None)
    if kind is None:
        return ".ods" if {"content.xml", "mimetype"} <= names else ARCHIVE
    if not kind.startswith("."):
        raise DataError(f"this is {kind}, which is not read", hint="save it as text or HTML", place=file.name)
    return kind


def _by_text(start: bytes) -> str | None:
    """Return the kind of a text by how it begins; None where it is no text."""
    encoding = detect_encoding(lambda: io.BytesIO(start))
    text = start.decode(encoding, ERRORS).removeprefix("\ufeff")
    if sum(text.count(sign) for sign in ("\0", BROKEN)) > len(text) / 50:
        return None
    lines = text.splitlines()
    whole = lines[: len(lines) - (len(start) == HEAD)]  # the last one may go on
    first = next((line.strip() for line in lines if line.strip()), "")
    if first[:9].lower() in ("<!doctype", "<html", "<html>"):
        return ".html"
    if first.startswith("["):
        return ".json"
    rows = [line for line in whole if line.strip().startswith("{")]
    if any(isinstance(parse(line), dict) for line in rows):
        return ".jsonl"
    if first.startswith("{"):
        return ".json" if len(first) < HEAD / 2 else ".jsonl"
    return ".csv" if looks_delimited(whole) else ".txt"
