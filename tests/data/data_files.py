"""What the tests of the data stage do again and again: read a file, prepare files, read what was written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from luthier.core.report import Report
from luthier.data.prepare import prepare
from luthier.data.read import open_source, read
from luthier.data.rows import Read
from luthier.data.sources import find_files
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

Write = Callable[[str, str | bytes], Path]


def read_file(path: Path) -> list[Read]:
    """Return everything a file holds."""
    [file] = find_files([str(path)])
    return list(read(open_source(file)))


def read_files(path: Path) -> list[Read]:
    """Return everything that an archive or a folder holds."""
    return [item for file in find_files([str(path)]) for item in read(open_source(file))]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file that luthier wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


class Prepared:
    """A finished run of the data stage."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.data = report.data
        self.folder = folder

    def rows(self, name: str) -> list[dict[str, Any]]:
        return read_jsonl(self.folder / f"{name}.jsonl")

    def kept(self) -> list[dict[str, Any]]:
        return [row for part in ("train", "valid", "test") for row in self.rows(part)]

    def check(self, name: str) -> dict[str, str]:
        return next(check for check in self.data["checks"] if check["name"] == name)

    def must_add_up(self) -> None:
        rows = self.data["rows"]
        assert rows["in"] == rows["kept"] + rows["dropped"]
        assert rows["dropped"] == sum(rows["by_reason"].values()) == len(self.rows("dropped"))
        assert rows["kept"] == sum(self.data["splits"].values()) == len(self.kept())


def prepare_sources(folder: Path, *sources: Path, rows: Rows = "conversation", **options: Any) -> Prepared:
    """Run the stage on files, for an objective that learns from `rows`, with options of the recipe's `data` section."""
    data = Data(sources=tuple(map(str, sources)), **options)
    prepared = Prepared(prepare(data, folder / "data", rows=rows), folder / "data")
    prepared.must_add_up()
    return prepared
