"""`{"text", "label"}`: a text, or two of them (premise and hypothesis), and the class they are in."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats import completion, openai, sharegpt
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import first_of, text_of
from luthier.data.readers.json_text import a_kind
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
    """Return the columns with text and label: of a second text too if there is one, or of a conversation."""
    if names.keys() >= {*completion.UNNAMED} and "column_3" not in names:
        return dict(zip(("text", "label"), (names[name] for name in completion.UNNAMED), strict=True))
    label = first_of(names, LABELS)
    if label is None:
        return None
    if turns := openai.columns(names) or sharegpt.columns(names):
        return {**turns, "label": label}
    pair = next((pair for pair in PAIRS if names.keys() >= {*pair}), None)
    texts = [names[name] for name in pair] if pair else [first_of(names, TEXTS)]
    found = {**dict(zip(("text", "second"), texts, strict=False)), "label": label}
    return {part: column for part, column in found.items() if column} if texts[0] else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the text as one turn of the user, a second one below it, and the classes it is in as text."""
    classes = _classes(row.get(columns["label"]), columns["label"])
    if isinstance(classes, Refusal):
        return classes
    if "messages" in columns:
        found = openai.parts(row, columns)
        return found if isinstance(found, Refusal) else found._replace(classes=classes)
    texts = []
    for part in ("text", "second"):
        text = text_of(row.get(columns[part]), f"`{columns[part]}`") if part in columns else ""
        if isinstance(text, Refusal):
            return text
        texts.append(text)
    return Parts([Message("user", "\n\n".join(text for text in texts if text.strip()) or texts[0])], classes=classes)


def _classes(value: Any, column: str) -> tuple[str, ...] | Refusal:
    """Return the names of classes: of a number its digits, of a list those of its entries."""
    names = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict | list):
            return Refusal("does_not_fit", f"`{column}` is {a_kind(one)}, not a class")
        name = text_of(int(one) if isinstance(one, float) and one.is_integer() else one, f"`{column}`")
        if isinstance(name, Refusal):
            return name
        if name.strip():
            names.append(" ".join(name.split()))
    return tuple(names) or Refusal("no_label", f"`{column}` is empty")
