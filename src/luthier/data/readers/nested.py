"""A JSON object that holds records: which of its parts they are, and what is taken apart to get at them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

ONE_ROW = ("messages", "conversations", "instances", "replies")
"""An object with one of these is itself a row, although it holds a list of objects."""

SPLIT = "split"
"""Column for the name of the list that a record was in, where there are several."""


PARTS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("valid", "validation", "val", "dev", "eval"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
"""Words for the parts of a data set, to what they are: to train on, for validation, for tests."""


def part_named(name: str) -> int | None:
    """Return the part that rows are of by the name of their list: of `oos_val` for validation. None of another name."""
    return next((PARTS[word] for word in re.split(r"[\W_]+", name.lower()) if word in PARTS), None)


@dataclass(frozen=True, slots=True)
class Found:
    """The records of an object."""

    records: list[Any]
    told: str = ""
    """How they were got, where it isn't plain to see."""


def records_of(value: Mapping[str, Any]) -> Found | str:
    """Return the records inside an object, or why it holds none.

    They are one list (`{"data": [{…}]}`), several (`{"train": [{…}], "test": [{…}]}`), columns (`{"prompt": […],
    "answer": […]}`, or `{"prompt": {"0": …}, "answer": {"0": …}}` as pandas writes them), values under ids (`{"7":
    {…}}`), or the object itself. Lists of lists are rows without names.
    """
    if any(key.lower() in ONE_ROW for key in value):
        return Found([value])
    lists = {key: item for key, item in value.items() if isinstance(item, list) and item}
    of_records = {key: item for key, item in lists.items() if isinstance(item[0], dict)}
    of_lists = {key: item for key, item in lists.items() if isinstance(item[0], list)}
    if len(of_records) == 1:
        return Found(next(iter(of_records.values())))
    if of_records:
        return _joined(of_records)
    if len(lists) == len(value) > 1 and len({len(item) for item in lists.values()}) == 1:
        return Found([dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)])
    if value and all(isinstance(item, dict) for item in value.values()):
        first, *others = value.values()
        if _numbered(first) and not _numbered(value) and all(first.keys() == other.keys() for other in others):
            return Found([{column: cells[number] for column, cells in value.items()} for number in first])
        return Found([*value.values()])
    if of_lists and len(of_lists) == len(lists) == len(value):
        return _joined({key: [named(cells) for cells in item] for key, item in of_lists.items()})
    if lists and len(lists) == len(value):
        return "an object of lists that are no columns: their lengths differ"
    return Found([value] if value else [])


def _numbered(keys: Collection[str]) -> bool:
    return bool(keys) and all(key.isdecimal() for key in keys)


def _joined(lists: Mapping[str, list[Any]]) -> Found:
    """Return the records of several lists, each with the name of its own, those that are held out by their name first.

    So of rows that are equal, one that is held out is the first.
    """
    lists = dict(sorted(lists.items(), key=lambda each: -(part_named(each[0]) or 0)))
    names = ", ".join(f"`{key}`" for key in [*lists][:8])
    records = [
        {**record, SPLIT: record.get(SPLIT, key)} if isinstance(record, dict) else record
        for key, item in lists.items()
        for record in item
    ]
    return Found(records, f"the lists {names} are read one after the other; `{SPLIT}` says which one a row is of")


def are_cells(value: Any) -> bool:
    """Say whether a value is a row without names: a list of two texts or more."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(cell, str) for cell in value)


def named(cells: Any) -> Any:
    """Return a row without names, a list of cells, under those that a table without a header gets."""
    return {f"column {index}": cell for index, cell in enumerate(cells, start=1)} if isinstance(cells, list) else cells
