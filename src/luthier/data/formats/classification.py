"""`{"text", "label"}`: a text, or two of them (premise and hypothesis), and the class they are in."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import first_of, text_of
from luthier.data.readers.json_text import kind
from luthier.data.rows import Refusal

PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
    ("question", "sentence"),
    ("question", "passage"),
)
"""Columns of two texts that are judged together, as GLUE and its relatives name them."""

TEXTS = (
    "text",
    "sentence",
    "content",
    "utterance",
    "query",
    "question",
    "review",
    "comment",
    "message",
    "tweet",
    "body",
    "document",
    "prompt",
    "input",
)
LABELS = (
    "label_text",  # the name beside the number comes first
    "label_name",
    "label",
    "labels",
    "category",
    "class",
    "intent",
    "sentiment",
    "topic",
    "target",
    "tag",
)


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns with text and label, and with the second text if there is one."""
    label = first_of(names, LABELS)
    pair = next((pair for pair in PAIRS if names.keys() >= {*pair}), None)
    texts = [names[name] for name in pair] if pair else [first_of(names, TEXTS)]
    found = {**dict(zip(("text", "second"), texts, strict=False)), "label": label}
    return {part: column for part, column in found.items() if column} if label and texts[0] else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the text as one turn of the user, a second one below it, and the class as text."""
    texts = [text_of(row.get(columns[part]), f"`{columns[part]}`") for part in ("text", "second") if part in columns]
    for text in texts:
        if isinstance(text, Refusal):
            return text
    label = _class(row.get(columns["label"]), columns["label"])
    if isinstance(label, Refusal):
        return label
    asked = "\n\n".join(text for text in texts if isinstance(text, str) and text.strip())
    return Parts([Message("user", asked)], label=label)


def _class(value: Any, column: str) -> str | Refusal:
    """Return the name of a class: of a number its digits, of a list with one entry that entry."""
    if isinstance(value, list):
        if len(value) > 1:
            return Refusal("does_not_fit", f"`{column}` holds {len(value)} classes; luthier learns one for each text")
        value = value[0] if value else None
    if isinstance(value, dict | list):
        return Refusal("does_not_fit", f"`{column}` is a {kind(value)}, not a class")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = text_of(value, f"`{column}`")
    if isinstance(name, Refusal):
        return name
    return " ".join(name.split()) or Refusal("no_label", f"`{column}` is empty")
