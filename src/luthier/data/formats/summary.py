"""`{"document", "summary"}`: a text and its summary. The user asks for one, as nothing in the row does."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats import completion, sharegpt
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import columns_of, text_of
from luthier.data.rows import Refusal

DOCUMENTS = ("document", "article", "text", "dialogue", "dialog", "report", "post", "source_text", "content", "body")
SUMMARIES = ("summary", "highlights", "abstract", "tldr", "tl_dr")

TURNS = ("messages", "chat", "contents", *sharegpt.COLUMNS)
"""Columns of conversations, of which a summary is told besides."""

ASK = "Summarize this text:\n\n"


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns with the text and the summary, unless others say what is asked and answered."""
    if not names.keys().isdisjoint(TURNS) or completion.columns(names):
        return None
    found = columns_of(names, document=DOCUMENTS, summary=SUMMARIES)
    return found if len(found) == 2 else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the text as what is asked about, and the summary as the answer."""
    document, summary = (text_of(row.get(columns[part]), f"`{columns[part]}`") for part in ("document", "summary"))
    if isinstance(document, Refusal):
        return document
    if isinstance(summary, Refusal):
        return summary
    if not document.strip():
        return Refusal("no_prompt", f"`{columns['document']}` is empty")
    return Parts([Message("user", ASK + document), Message("assistant", summary)])
