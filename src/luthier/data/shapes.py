"""What rows with certain columns may be, by the names of the columns alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.data import media
from luthier.data.formats import FORMATS, Format, evened_name, kto
from luthier.recipe.data import NEEDED, Data, Fields
from luthier.recipe.data import Format as Name


@dataclass(frozen=True, slots=True)
class Shape:
    """What rows with a certain set of columns are."""

    name: Name
    format: Format
    columns: dict[str, str]
    others: tuple[str, ...]
    """Columns that play no part."""
    verdict: str | None
    """Column of conversations that may say whether the answer is a good one."""
    media: list[str]
    """Columns that may hold pictures or sounds."""


def shapes_of(names: tuple[str, ...], data: Data, formats: Sequence[Name]) -> list[Shape]:
    """Return the shapes that rows with these columns may have, the likeliest first."""
    evened: dict[str, str] = {}
    for name in names:
        evened.setdefault(evened_name(name), name)
    shapes = []
    for shape in formats:
        if data.format not in ("auto", shape):
            continue
        columns = _by_fields(names, shape, data.fields) if data.fields else FORMATS[shape].columns(evened)
        if columns:
            shapes.append(shape_of(shape, columns, names))
    return shapes


def shape_of(name: Name, columns: dict[str, str], names: Sequence[str]) -> Shape:
    """Return a shape of which it is known which column plays which part."""
    others = tuple(column for column in names if column not in columns.values())
    verdict = kto.verdict({evened_name(other): other for other in others})
    return Shape(name, FORMATS[name], columns, others, verdict, media.columns_of(others))


def _by_fields(names: tuple[str, ...], name: Name, fields: Fields) -> dict[str, str] | None:
    """Return the columns the user described, when a row has those the format needs; others may be missing."""
    columns = {part: column for part, column in fields.model_dump().items() if column in names}
    return columns if name in NEEDED and columns.keys() >= {*NEEDED[name]} else None
