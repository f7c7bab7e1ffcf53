"""One training item, and where it came from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

TEXT = "text"
"""The role of plain text that belongs to no conversation."""

ROLES = ("system", "user", "assistant", "tool")
"""Who may speak in a conversation, in the words of the OpenAI chat format."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a row was read: the file as the user named it, and its 1-based line (or row, in a JSON array)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `extra` keeps what else the row said about it (name, tool_calls, weight, …), untouched."""

    role: str
    text: str
    extra: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the turn in the OpenAI shape: `{"role", "content", …}`."""
        return {"role": self.role, "content": self.text, **self.extra}


@dataclass(frozen=True, slots=True)
class Example:
    """A training item with its source and tags (free key-value pairs such as a language).

    A conversation; with `rejected`, a preference between two endings; with `label`, a judged or classified one. Plain
    text is one message of the role `text`.
    """

    messages: tuple[Message, ...]
    """All turns; of a preference, with the better ending."""
    source: Source
    tags: dict[str, str] = field(default_factory=dict)
    tools: tuple[dict[str, Any], ...] = ()
    """Functions the assistant may call, in the OpenAI shape: `{"type": "function", "function": {…}}`."""
    rejected: tuple[Message, ...] = ()
    """Of a preference: all turns with the worse ending. Both begin with the same turns, the prompt."""
    label: bool | str | None = None
    """Whether the last answer is a good one (KTO), or the class of the text."""
    margin: float | None = None
    """Of a preference: by how much one is better, in the annotator's units."""

    @property
    def shared(self) -> int:
        """How many first turns both endings of a preference have in common: its prompt."""
        pairs = zip(self.messages, self.rejected, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def as_dict(self) -> dict[str, Any]:
        """Return the row that is written to `data/*.jsonl`."""
        row: dict[str, Any] = {"messages": [message.as_dict() for message in self.messages]}
        if self.tools:
            row["tools"] = [*self.tools]
        if self.rejected:
            row["rejected"] = [message.as_dict() for message in self.rejected]
        if self.label is not None:
            row["label"] = self.label
        if self.margin is not None:
            row["margin"] = self.margin
        row["source"] = {"file": self.source.file, "line": self.source.line}
        if self.tags:
            row["tags"] = self.tags
        return row

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Example":
        """Return the example a row of `data/*.jsonl` holds; the inverse of `as_dict`."""
        source = Source(file=row["source"]["file"], line=row["source"]["line"])
        return Example(
            _messages(row["messages"]),
            source,
            row.get("tags", {}),
            tuple(row.get("tools", ())),
            _messages(row.get("rejected", ())),
            row.get("label"),
            row.get("margin"),
        )


def _messages(turns: Iterable[dict[str, Any]]) -> tuple[Message, ...]:
    return tuple(
        Message(
            role=turn["role"],
            text=turn["content"],
            extra={key: value for key, value in turn.items() if key not in ("role", "content")},
        )
        for turn in turns
    )
