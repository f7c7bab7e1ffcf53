"""`{"text": …}`: plain text that belongs to no conversation. A .txt or .md file is one such row."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import TEXT, Message
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import columns_of, text_of
from luthier.data.rows import Refusal

TEXTS = ("text", "content", "document", "raw_content", "body")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column with the text."""
    return columns_of(names, text=TEXTS) or None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the text as one message."""
    text = text_of(row[columns["text"]], f"`{columns['text']}`")
    return text if isinstance(text, Refusal) else Parts([Message(TEXT, text)])
