"""Parquet, Arrow and workbooks are read in a process of their own: this side asks and hands over the rows."""

import atexit
import json
import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from luthier.core.errors import DataError, MissingExtra
from luthier.core.example import Source
from luthier.core.helper import helper
from luthier.data.readers.json_text import parse
from luthier.data.readers.opened import Opened
from luthier.data.readers.packed import DamagedError
from luthier.data.rows import RawRow

NEEDS = {
    ".parquet": ("polars",),
    ".arrow": ("polars",),
    ".xlsx": ("fastexcel", "polars"),
    ".xlsb": ("fastexcel", "polars"),
    ".xls": ("fastexcel", "polars"),
    ".ods": ("fastexcel", "polars"),
}
"""Packages of the extra `data` that a kind of file needs."""

_waiting: list[subprocess.Popen[bytes]] = []
"""A process that has answered and can be asked again: starting one takes longer than reading a small file."""


def read(opened: Opened) -> Iterator[RawRow]:
    """Yield the rows.

    Raises:
        MissingExtra: A package is not installed.
        DataError: The file as a whole can't be used.
        DamagedError: It ends early or makes no sense.
    """
    for package in NEEDS[opened.file.kind]:
        if find_spec(package) is None:
            raise MissingExtra(package, extra="data")
    ended: dict[str, Any] | None = None
    for answer in _answers(_question(opened)):
        if "end" in answer:
            ended = answer
        else:
            for number, row in answer["rows"]:
                yield RawRow(row, Source(answer["file"], number))
    if ended is None:
        raise DamagedError("what reads this kind of file broke down over it")
    for told in ended["told"]:
        opened.tell(told)
    if "damaged" in ended["end"]:
        raise DamagedError(ended["end"]["damaged"])
    if "problem" in ended["end"]:
        raise DataError(ended["end"]["problem"], hint=ended["end"]["hint"], place=opened.name)


def _answers(question: bytes) -> Iterator[dict[str, Any]]:
    """Yield what the process says; the last thing is how reading ended, unless the process ended itself."""
    if _waiting and _waiting[-1].poll() is not None:
        _stop(_waiting.pop())  # it waited long enough
    process = _waiting.pop() if _waiting else _started()
    assert process.stdin is not None
    assert process.stdout is not None
    whole = False
    try:
        process.stdin.write(question)
        process.stdin.flush()
        while not whole and (line := process.stdout.readline()).endswith(b"\n"):
            answer = parse(line)
            assert isinstance(answer, dict), "the other side writes JSON"
            whole = "end" in answer
            yield answer
    except BrokenPipeError:
        pass  # it ended while we asked
    finally:
        if whole:
            _waiting.append(process)
        else:
            _stop(process)


@atexit.register
def _close() -> None:
    while _waiting:
        _stop(_waiting.pop())


def _question(opened: Opened) -> bytes:
    file = opened.file
    question = {
        "path": os.fsencode(file.path.absolute()).hex(),
        "name": file.name,
        "size": file.size,
        "kind": file.kind,
        "packing": file.packing,
        "member": file.member,
        "header": opened.header,
        "sheets": opened.sheets,
    }
    return json.dumps(question).encode() + b"\n"


def _started() -> subprocess.Popen[bytes]:
    reader = helper("luthier.data.readers.foreign")
    return subprocess.Popen(
        reader.command,
        env={**reader.env, "RUST_BACKTRACE": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
