"""Sources that are no files yet: what is piped in, and data sets on the hub. They become files, and stay the same ones.

A run that goes on must read what it began with. So what is piped in is kept in the run directory, and of a data set the
commit and the names of its files. What was kept and is gone, because private pieces had to go, gives no file.
"""

import json
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.core.files import write_json
from luthier.core.run import COPIES
from luthier.data.hub import fetched, listed, named

PIPED = "-"
"""The source that stands for what is piped in."""

KEPT = COPIES[0]
LISTED = "hub.json"
"""Names in the run directory."""


def is_elsewhere(source: str) -> bool:
    """Say whether a source is no file, folder or pattern on this machine.

    Raises:
        DataError: It should be a data set on the hub, and names none.
    """
    return source == PIPED or named(source) is not None


def fetch(sources: Sequence[str], run: Path, gone: Collection[str] = ()) -> tuple[list[str], dict[Path, str]]:
    """Return the sources as files, and the names under which some of them are shown.

    Args:
        sources: As the user named them.
        run: The run directory.
        gone: Copies that were prepared already: where one isn't there any more, it is left out.

    Raises:
        DataError: Nothing is piped in, or the hub can't be reached or has nothing of that name.
        MissingExtra: huggingface_hub is not installed.
    """
    resolved: list[str] = []
    names: dict[Path, str] = {}
    for source in sources:
        if source == PIPED:
            path = _piped(run / KEPT, gone=KEPT in gone)
            shown = {path: KEPT} if path else {}
        elif (wanted := named(source)) is not None:
            known = _known(run / LISTED)
            if source not in known:
                known[source] = listed(wanted)
                write_json(run / LISTED, known)
            shown = fetched(wanted, known[source]["commit"], known[source]["files"])
        elif source in gone and not Path(source).is_file():
            continue
        else:
            resolved.append(source)
            continue
        resolved += map(str, shown)
        names |= shown
    return resolved, names


def _known(path: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def head() -> bytes:
    """Return how what is piped in begins, without taking it; nothing where that can't be looked at."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty() or not hasattr(sys.stdin.buffer, "peek"):
        return b""
    return bytes(sys.stdin.buffer.peek())


def _piped(kept: Path, *, gone: bool) -> Path | None:
    """Keep what is piped in, and return where; without anything, what was kept before."""
    if sys.stdin is not None and not sys.stdin.closed and not sys.stdin.isatty():
        coming = kept.with_name(f".{kept.name}.tmp")
        with coming.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        if coming.stat().st_size:
            coming.replace(kept)
        else:
            coming.unlink()
    if not kept.is_file() and gone:
        return None
    if not kept.is_file():
        raise DataError(
            "nothing is piped in",
            hint="type `cat rows.jsonl | luthier prepare --data -`, or name a file",
            place=PIPED,
        )
    return kept
