"""Writes docs/reference/data-files.md: what `luthier prepare --data FILE` makes of every file below a folder.

python -m scripts.formats_found FOLDER [PAGE]
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from luthier.core.errors import LuthierError
from luthier.data.first import are_plain_text
from luthier.data.prepare import prepare
from luthier.recipe.data import Data

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "data-files.md"

HEAD = """\
# Data files that luthier has read

What `luthier prepare --data FILE` makes of real files that are not in this repository, with no other option. Written
by `python -m scripts.formats_found FOLDER`. A row is what may become an example, so records that hold several count
each ([contract](contract.md)). Rows are learned by `sft`, plain text by `pretrain`.

| file | format | read as | rows in | kept | dropped |
| --- | --- | --- | ---: | ---: | --- |
"""


def main(folder: Path, page: Path = PAGE) -> None:
    """Prepare every file below a folder, one by one, and write the page."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "LICENSE" not in path.name)
    lines = [_line(path, folder) for path in files]
    page.write_text(HEAD + "".join(lines) + "\n" + _below(lines), encoding="utf-8")


def _line(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    data = Data(sources=(str(path),))
    with tempfile.TemporaryDirectory() as out:
        try:
            found = prepare(data, Path(out) / "data", rows="text" if are_plain_text(data) else "conversation").data
        except LuthierError as error:
            told = error.problem.replace(str(folder), "").replace("|", "\\|")
            return f"| {name} | none: {told} | | 0 | 0 | |\n"
    return f"| {name} | {' | '.join(_cells(found))} |\n"


def _cells(found: dict[str, Any]) -> Iterable[str]:
    rows, shape = found["rows"], found["format"]
    yield ", ".join(f"`{name}`" for name in shape["counts"])
    unfolded = [f"{one['records']:,} {one['shape']}" for one in shape["unfolded"]]
    columns = ", ".join(f"{part}: `{column}`" for part, column in shape["fields"].items())
    yield "; ".join([*unfolded, columns])
    yield f"{rows['in']:,}"
    yield f"{rows['kept']:,}"
    yield ", ".join(f"{reason} {count:,}" for reason, count in Counter(rows["by_reason"]).most_common())


def _below(lines: list[str]) -> str:
    refused = sum("| none: " in line for line in lines)
    return (
        f"{len(lines) - refused} of {len(lines)} files have rows. The others are tables of which no column says what "
        "it holds; they are refused with the columns' names, and "
        "`--set data.fields='{prompt: COLUMN, answer: COLUMN}'` would learn from them.\n"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
