"""Pictures, sounds and films in rows: what is said of them can't be learned from the text alone."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats import evened_name
from luthier.data.rows import Refusal

COLUMNS = ("image", "images", "picture", "pictures", "audio", "audios", "video", "videos")
PLACEHOLDERS = ("<image>", "<audio>", "<video>", "<|image|>", "<|audio|>", "<|video|>", "<image_1>", "<ImageHere>")
"""What stands in a text for what another column holds: LLaVA's and its kin."""

INSIDE = ("bytes", "path", "array")
"""Keys of a cell that holds a picture or a sound, as `datasets` writes it."""


def columns_of(names: tuple[str, ...]) -> list[str]:
    """Return the columns whose names say that they hold pictures, sounds or films."""
    return [name for name in names if evened_name(name) in COLUMNS]


def shown(row: Mapping[str, Any], columns: list[str], messages: list[Message]) -> Refusal | None:
    """Return why a row is refused whose text is about what one of these columns shows; None where it is not.

    The name of a file beside a text that doesn't speak of it is a column like any other.
    """
    for column in columns:
        value = row[column]
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict) and not first.keys().isdisjoint(INSIDE):
            return Refusal("not_text", f"`{column}` holds what is no text")
        if first and (sign := next((sign for sign in PLACEHOLDERS if any(sign in m.text for m in messages)), None)):
            return Refusal("not_text", f"`{sign}` stands for what `{column}` holds")
    return None
