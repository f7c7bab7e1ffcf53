"""What was found, for scripts and for people: of each test set how much could be looked for, and what was there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from luthier.core.example import Source
from luthier.core.report import Block, Check, Paragraph, Table
from luthier.core.text import one_line, plural
from luthier.data.leakage.look import WIDE, Found, Leak, Leaks

OFTEN = 20
OFTEN_SHARE = 0.01
"""An item in more rows than both say may be a phrase that people use, and no leak."""


@dataclass(frozen=True, slots=True)
class Searched:
    """A file of a test, and what the rows hold of it."""

    name: str
    items: int
    checked: int
    """Items with words enough, and of their own, to be looked for."""
    not_understood: int
    """Rows of the file that gave no item."""
    rows: int
    """Rows to train on that hold an item."""
    found: int
    """Items that a row holds."""
    partly: int
    """Rows that share a run of words with an item, but less of it than counts as a leak."""
    often: tuple[tuple[Source, int], ...]
    """Items that very many rows hold, and how many."""
    samples: tuple[Leak, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the report's `leaks`."""
        return {
            "against": self.name,
            "items": self.items,
            "checked": self.checked,
            "not_understood": self.not_understood,
            "rows": self.rows,
            "items_found": self.found,
            "rows_partly": self.partly,
            "often": [{"item": str(item), "rows": rows} for item, rows in self.often],
            "samples": [
                {
                    "row": str(leak.row),
                    "item": str(leak.item),
                    "part": leak.part,
                    "coverage": round(leak.coverage, 3),
                    "span": one_line(leak.span, WIDE),
                }
                for leak in self.samples
            ],
        }


def searched(leaks: Leaks | None, found: Found, *, rows: int) -> list[Searched]:
    """Return the account of every file; none where no test was named.

    Args:
        leaks: What looked.
        found: What it found in all rows.
        rows: How many it looked at.
    """
    if leaks is None:
        return []
    numbers: list[list[int]] = [[] for _ in leaks.names]
    for number, (file, _) in enumerate(leaks.items):
        numbers[file].append(number)
    often = max(OFTEN, OFTEN_SHARE * rows)
    return [
        Searched(
            name=name,
            items=len(of_file),
            checked=sum(number not in leaks.unchecked for number in of_file),
            not_understood=leaks.not_understood[file],
            rows=found.rows[file],
            found=sum(number in found.items for number in of_file),
            partly=found.partly[file],
            often=tuple((leaks.source(n), found.items[n]) for n in of_file if found.items[n] > often),
            samples=tuple(found.samples.get(file, ())),
        )
        for file, (name, of_file) in enumerate(zip(leaks.names, numbers, strict=True))
    ]


def check(files: Sequence[Searched], rows: int, *, dropped: bool) -> Check:
    """Return the check: what was looked for, and in how many rows it was."""
    name = "leaked_test_items"
    if not files:
        return Check(name, "ok", "not looked for: `data.decontaminate.against` names no test set")
    items, checked = sum(file.items for file in files), sum(file.checked for file in files)
    if not checked:
        details = f"none of the {plural(items, 'test item')} has words enough to be looked for"
        hint = "say which columns hold the questions: `--set data.decontaminate.fields=[COLUMN]`"
        return Check(name, "warning", details, hint)
    if often := [entry for file in files for entry in file.often]:
        item, count = max(often, key=lambda entry: entry[1])
        details = f"{plural(count, 'row')} hold the item at {item}: perhaps a phrase that people use, and no leak"
        hint = "look at the examples; `data.decontaminate.coverage` nearer to 1 asks for more of an item"
        return Check(name, "warning", details, hint)
    looked = f"{checked:,} of {plural(items, 'test item')} looked for"
    if not rows:
        return Check(name, "ok", f"{looked}, none found; other wordings of a question are not found this way")
    first = next(leak for file in files for leak in file.samples)
    held = sum(file.found for file in files)
    details = f"{looked}, {held:,} found in {plural(rows, 'row')}, first {first.row}"
    if dropped:
        return Check(name, "note", f"{details}; these rows were dropped")
    hint = "`--set data.decontaminate.action=drop` drops them; without, test results say nothing"
    return Check(name, "warning", details, hint)


def blocks(files: Sequence[Searched]) -> tuple[Block, ...]:
    """Return what a reader is shown: a line for each file, and some of the rows beside what they hold."""
    if not files:
        return ()
    counts = tuple(
        (file.name, *(f"{n:,}" for n in (file.items, file.checked, file.rows, file.found, file.partly)))
        for file in files
    )
    columns = ("test set", "items", "looked for", "rows that leak", "items in them", "rows that share less")
    shown = tuple(
        (str(leak.row), str(leak.item), leak.part, f"{leak.coverage:.0%}", one_line(leak.span, WIDE))
        for file in files
        for leak in file.samples
    )
    told = Paragraph("Word for word only: the same question in other words is not found this way.")
    if not shown:
        return Table("", columns, counts), told
    examples = Table("Examples", ("row", "item", "part", "of it", "the row holds"), shown)
    return Table("", columns, counts), examples, told
