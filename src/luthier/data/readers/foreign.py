"""The process that reads Parquet, Arrow and workbooks: asked by lines of JSON on stdin, it answers so on stdout.

What reads these files is written in another language, and a damaged file can end it at once, beyond any exception, or
make it print pages. Here that ends a process that holds nothing (`luthier.data.readers.apart` is its other side).
"""

import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from luthier.core.errors import LuthierError
from luthier.data.readers import columnar, workbook
from luthier.data.readers.opened import Opened
from luthier.data.readers.packed import DamagedError, SourceFile
from luthier.data.rows import RawRow

IDLE_SECONDS = 30
"""How long it waits for another question."""

AT_ONCE = 500
"""Most rows in an answer."""

FOREIGN: dict[str, Callable[[Opened], Iterator[RawRow]]] = {
    ".parquet": columnar.read_parquet,
    ".arrow": columnar.read_arrow,
    ".xlsx": workbook.read,
    ".xlsb": workbook.read,
    ".xls": workbook.read,
    ".ods": workbook.read,
}
"""Kind of file to the function that reads it."""


def main() -> None:
    """Answer until there are no more questions, or none for a while."""
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing else may write between answers
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.buffer.readline()):
        _answer(json.loads(line), answers)
        answers.flush()


def _answer(asked: dict[str, Any], answers: BinaryIO) -> None:
    """Write the rows of a file, some at a time, and at last how reading ended."""
    path = Path(os.fsdecode(bytes.fromhex(asked["path"])))
    packing = tuple(asked["packing"])
    file = SourceFile(path, asked["name"], asked["size"], asked["kind"], packing=packing, member=asked["member"])
    sheets = asked["sheets"] if asked["sheets"] == "all" else tuple(asked["sheets"])
    opened = Opened(file, encoding="binary", header=asked["header"], sheets=sheets)
    end: dict[str, Any] = {}
    held: list[RawRow] = []
    try:
        with opened:
            for row in FOREIGN[file.kind](opened):
                if held and (len(held) == AT_ONCE or row.source.file != held[0].source.file):
                    answers.write(_line(_rows(held)))
                    held = []
                held.append(row)
    except DamagedError as error:
        end = {"damaged": str(error)}
    except LuthierError as error:
        end = {"problem": error.problem, "hint": error.hint}
    if held:
        answers.write(_line(_rows(held)))
    answers.write(_line({"end": end, "told": [*opened.told]}))


def _rows(rows: list[RawRow]) -> dict[str, Any]:
    return {"file": rows[0].source.file, "rows": [[row.source.line, row.row] for row in rows]}


def _line(answer: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer) + b"\n"
    except TypeError:  # whole numbers above 64 bits
        return json.dumps(answer).encode() + b"\n"


if __name__ == "__main__":
    main()
