"""From a folder of the user's to the rows a benchmark asks: which files they are, what they hold."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.data.read import open_source, read
from luthier.data.rows import Unreadable
from luthier.data.sources import SourceFile, find_files
from luthier.evaluate.benchmarks.catalog import Leaf
from luthier.evaluate.benchmarks.layouts import Layout, layout_of, misfit

KINDS = ("parquet", "jsonl", "json", "csv", "arrow")
"""Endings of files as the hub stores data sets, the first that is there counts."""

HELP = "docs/reference/benchmarks.md shows how files may lie"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that `evaluate.data_dir` names.

    Raises:
        DataError: It is none.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise DataError(
                "no such folder of benchmark files", hint="correct `evaluate.data_dir`", place=str(self.path)
            )

    def files(self, leaf: Leaf, split: str) -> list[SourceFile]:
        """Return the files that hold a split of what a task asks; none when there are none."""
        layout = layout_of(leaf.dataset, leaf.part)
        for below in _homes(leaf, layout):
            for pattern in _patterns(leaf, split, layout):
                paths = sorted(path for path in (self.path / below).glob(pattern) if path.is_file())
                if paths:
                    return find_files([str(path) for path in paths])
        return []

    def needed(self, leaf: Leaf) -> list[SourceFile]:
        """Return the files of every split of a task that is there; that which is asked must be.

        Raises:
            DataError: It isn't.
        """
        found = [self.files(leaf, split) for split in leaf.splits]
        if not found or not found[0]:
            self.miss(leaf, leaf.asked)
        return [file for files in found for file in files]

    def miss(self, leaf: Leaf, split: str) -> None:
        """Say which file is missing.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"`{leaf.name}` needs its {split} rows, and they are not here", hint=hint(leaf, split), place=str(self.path)
        )

    def rows(self, leaf: Leaf, split: str) -> list[dict[str, Any]]:
        """Return the rows of a split as the task reads them; none when there is no file.

        Raises:
            DataError: A row can't be read, or is no row of this benchmark.
        """
        layout = layout_of(leaf.dataset, leaf.part)
        return [row for file in self.files(leaf, split) for row in _rows(file, layout)]


def hint(leaf: Leaf, split: str) -> str:
    """Return which file to put where."""
    layout = layout_of(leaf.dataset, leaf.part)
    told = f" (the layout of {layout.known_as})" if layout else ", as the hub stores it"
    return f"put `{_homes(leaf, layout)[0]}/{_patterns(leaf, split, layout)[0]}` there{told}; {HELP}"


def _homes(leaf: Leaf, layout: Layout | None) -> list[str]:
    """Return where below the folder the files may be, the usual place first."""
    owner, _, short = leaf.dataset.rpartition("/")
    usual = layout.folders if layout else ()
    return [*dict.fromkeys((*usual, short, leaf.dataset, f"{owner}__{short}", leaf.name, "."))]


def _patterns(leaf: Leaf, split: str, layout: Layout | None) -> list[str]:
    """Return names of files as published, then as the hub stores them, in one piece or several."""
    part = leaf.part
    named = layout.parts.get(part, part) if layout else part
    published = [name.format(part=_plain(named)) for name in (layout.files.get(split, ()) if layout else ())]
    folders = [f"{_plain(part)}/", "", "data/"] if part else ["", "data/"]
    stored = [
        f"{folder}{_plain(split)}{piece}.{kind}" for folder in folders for kind in KINDS for piece in ("", "-*-of-*")
    ]
    return [*published, *stored]


def _plain(name: str) -> str:
    """Return a name in which nothing means something else in a glob, and that leads nowhere else."""
    return re.sub(r"[^\w. -]", "_", name).replace("..", "__")


def _rows(file: SourceFile, layout: Layout | None) -> Iterator[dict[str, Any]]:
    header = layout is None or layout.header
    for row in read(open_source(file, header=header)):
        if isinstance(row, Unreadable):
            raise DataError(
                f"this row can't be read: {row.refusal.detail}",
                hint="correct it: every item counts",
                place=str(row.source),
            )
        yield _row(row.row, layout, str(row.source))


def _row(row: dict[str, Any], layout: Layout | None, place: str) -> dict[str, Any]:
    """Return a row with the columns of the hub's data set: it has them, or is one as published."""
    if layout is None:
        return row
    wrong = misfit(row, layout.columns)
    if wrong is None:
        return row
    try:
        made = layout.reshape(row)
    except KeyError as error:
        wrong = f"it has no {str(error).replace(chr(39), '`')}"
    except (ValueError, TypeError, AttributeError) as error:
        wrong = str(error)
    else:
        wrong = misfit(made, layout.columns)
        if wrong is None:
            return made
    raise DataError(
        f"this is no row of {layout.known_as}: {wrong}",
        hint=f"take the file as its authors publish it; {HELP}",
        place=place,
    )
