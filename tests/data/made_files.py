"""Files of kinds that no library here writes, made by hand."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Cell = str | float | bool | None

SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def zipped(members: Mapping[str, bytes | str], *, damaged: str = "") -> bytes:
    """Return a zip with these members; `damaged` names what is wrong with the first, in both of its headers."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    made = bytearray(target.getvalue())
    local, listed = made.find(b"PK\3\4"), made.find(b"PK\1\2")
    if damaged == "content":
        made[local + 40 : local + 60] = b"\xff" * 20
    elif damaged == "place":
        made[listed + 42 : listed + 46] = (9999).to_bytes(4, "little")
    elif damaged:
        change, at, wide = {"encrypted": (1, 6, 2), "method": (99, 8, 2), "checksum": (7, 14, 4)}[damaged]
        made[local + at : local + at + wide] = change.to_bytes(wide, "little")
        made[listed + at + 2 : listed + at + 2 + wide] = change.to_bytes(wide, "little")
    return bytes(made)


def workbook(sheets: Mapping[str, Sequence[Sequence[Cell]]], *, hidden: str = "", dates: str = "") -> bytes:
    """Return an Excel workbook (ECMA-376) with these rows. Numbers in the column `dates` are days since 1899-12-30."""
    numbers = range(1, len(sheets) + 1)
    names = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="r{number}"{hidden_if(name == hidden)}/>'
        for number, name in zip(numbers, sheets, strict=True)
    )
    related = "".join(
        f'<Relationship Id="r{number}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in numbers
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{SPREADSHEET}" xmlns:r="{RELATIONS}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{related}<Relationship Id="s" '
        f'Type="{RELATIONS}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{SPREADSHEET}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/>'
        "</cellXfs></styleSheet>",
    }
    for number, rows in zip(numbers, sheets.values(), strict=True):
        parts[f"xl/worksheets/sheet{number}.xml"] = _sheet(rows, dates)
    return zipped({name: f'<?xml version="1.0"?>{content}' for name, content in parts.items()})


def hidden_if(hidden: bool) -> str:
    return ' state="hidden"' if hidden else ""


def _sheet(rows: Sequence[Sequence[Cell]], dates: str) -> str:
    body = ""
    for number, row in enumerate(rows, start=1):
        cells = "".join(_cell(cell, "ABCDEF"[index], number, dates) for index, cell in enumerate(row))
        body += f'<row r="{number}">{cells}</row>' if cells else ""
    return f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{body}</sheetData></worksheet>'


def _cell(value: Cell, column: str, row: int, dates: str) -> str:
    place = f'r="{column}{row}"'
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c {place} t="b"><v>{value:d}</v></c>'
    if isinstance(value, str):
        return f'<c {place} t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f'<c {place} s="{column == dates:d}"><v>{value}</v></c>'
