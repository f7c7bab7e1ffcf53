"""`{"text": "Human: … Assistant: …"}`: a whole conversation in one text (see `speakers`, and `templates`)."""

from collections.abc import Mapping
from typing import Any

from luthier.data.formats.parts import Parts, not_mine
from luthier.data.formats.speakers import spoken
from luthier.data.formats.templates import filled
from luthier.data.formats.turns import columns_of, conversation
from luthier.data.rows import Refusal

TEXTS = ("transcript", "text", "conversation", "dialogue", "dialog", "chat", "content")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column that may hold a transcript."""
    return columns_of(names, text=TEXTS) or None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the turns of a text in which an assistant speaks."""
    column = columns["text"]
    text = row[column]
    turns = (spoken(text) or filled(text)) if isinstance(text, str) else []
    if not any(turn["role"] == "assistant" for turn in turns):
        return not_mine(f"`{column}` is no transcript")
    messages = conversation(turns, column)
    return messages if isinstance(messages, Refusal) else Parts(messages)
