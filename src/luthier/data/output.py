"""The splits once more in another format, for other programs, with an account of what that format can't say."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from luthier.core.example import Example
from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data.jsonl import any_line
from luthier.data.split import PARTS
from luthier.data.write import Writer
from luthier.data.written import Written
from luthier.recipe.data import Output
from luthier.recipe.methods import Rows


@dataclass(slots=True)
class Rewritten:
    """What was written in another format."""

    output: Output
    rows: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    """Rows that lost something, by what it is."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def check(self) -> Check:
        """Return what a person should know of it."""
        if not self.lost:
            return Check("output", "ok", f"every row written as `{self.output}` reads back as it was")
        told = ", ".join(f"{what} ({plural(count, 'row')})" for what, count in self.lost.most_common(8))
        details = f"`{self.output}` can't say all that the rows do; lost are: {told}"
        return Check("output", "warning", details, "luthier trains from its own files, which have it all")


def write_as(output: Output, rows: Rows, folder: Path, name: str) -> Rewritten:
    """Write the splits of a folder into one inside it that is called like the format.

    Args:
        output: The format.
        rows: What the examples are.
        folder: Has `train.jsonl`, `valid.jsonl` and `test.jsonl`.
        name: How people know the folder.
    """
    writer, rewritten = Writer(output, rows), Rewritten(output)
    (folder / output).mkdir()
    for part in PARTS:
        with (folder / f"{part}.jsonl").open("rb") as lines, Written(folder / output / f"{part}.jsonl") as written:
            for line in lines:
                row, lost = writer.row(Example.from_dict(orjson.loads(line)))
                rewritten.lost.update(lost)
                if row is not None:
                    written.write(any_line(row))
        rewritten.rows += written.rows
        rewritten.files[f"{output}/{part}"] = written.described(f"{name}/{output}/{part}.jsonl")
    return rewritten
