"""Excel and OpenDocument workbooks: a sheet is a table; all sheets are read, or those that are named."""

import contextlib
import io
import zipfile
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

from luthier.core.errors import DataError
from luthier.core.text import did_you_mean, one_line, printable
from luthier.data.readers.columnar import complaints
from luthier.data.readers.delimited import NAMELESS, names_of
from luthier.data.readers.dialect import has_header
from luthier.data.readers.opened import Opened
from luthier.data.rows import RawRow

if TYPE_CHECKING:
    import fastexcel

SAMPLE = 200
"""Rows looked at to find out whether the first names the columns."""

LARGEST = 500_000_000
"""Bytes a workbook may unpack to: all of a sheet is in memory at once."""


def read(opened: Opened) -> Iterator[RawRow]:
    """Yield the rows of the sheets, cells as text, numbered as the workbook shows them. Blank rows are none.

    Raises:
        DataError: A sheet that is named isn't there, or it is too large.
        DamagedError: It makes no sense.
    """
    import fastexcel

    _bounded(opened)
    with complaints(fastexcel.FastExcelError):
        book = fastexcel.read_excel(opened.whole())
        names = _chosen(opened, book.sheet_names)
        for name in names:
            sheet = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
            if sheet.visible != "visible" and opened.sheets == "all":
                opened.tell(f"the hidden sheet `{one_line(name, 40)}` is not read")
            elif sheet.height:
                part = opened.part(f"{opened.name}/{printable(name)}") if len(names) > 1 else opened
                yield from _sheet(part, sheet, opened.header)
        if len(names) > 1:
            opened.tell("sheets, each a table of its own: " + ", ".join(f"`{one_line(name, 40)}`" for name in names))


def _bounded(opened: Opened) -> None:
    """Refuse a workbook that unpacks to more than fits into memory."""
    with contextlib.suppress(zipfile.BadZipFile):  # the old format is none
        with zipfile.ZipFile(io.BytesIO(opened.whole())) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise DataError(
                    f"a workbook that unpacks to more than {LARGEST:,} bytes",
                    hint="save it as CSV, which is read piece by piece",
                    place=opened.name,
                )


def _chosen(opened: Opened, names: list[str]) -> list[str]:
    """Return the sheets to read."""
    if opened.sheets == "all":
        return names
    for wanted in opened.sheets:
        if wanted not in names:
            near = did_you_mean(wanted, names)
            there = ", ".join(f"`{one_line(name, 40)}`" for name in names)
            raise DataError(
                f"no sheet `{wanted}` in this workbook",
                hint=f"did you mean `{near}`?" if near else f"`data.sheets` may name {there}",
                place=opened.name,
            )
    return [*opened.sheets]


def _sheet(opened: Opened, sheet: "fastexcel.ExcelSheet", header: bool | Literal["auto"]) -> Iterator[RawRow]:
    frame = sheet.to_polars()
    frame = frame[[column for column in frame.columns if frame[column].null_count() < frame.height]]
    cells = ([cell or "" for cell in row] for row in frame.iter_rows())
    table = ((number, row) for number, row in enumerate(cells, start=1) if any(row))
    sample = [*islice(table, SAMPLE)]
    named = header if header != "auto" else has_header([row for _, row in sample])
    names = names_of(sample.pop(0)[1] if named and sample else [""] * frame.width)
    if not named:
        opened.tell(NAMELESS)
    for number, row in chain(sample, table):
        yield RawRow(dict(zip(names, row, strict=True)), opened.at(number))
