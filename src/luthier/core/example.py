"""One training item, and where it came from."""

from dataclasses import dataclass, field
from typing import Any

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
    """A conversation to learn from, with its source and tags (free key-value pairs such as a label)."""

    messages: tuple[Message, ...]
    source: Source
    tags: dict[str, str] = field(default_factory=dict)
    tools: tuple[dict[str, Any], ...] = ()
    """Functions the assistant may call, in the OpenAI shape: `{"type": "function", "function": {…}}`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the row that is written to `data/*.jsonl`."""
        row: dict[str, Any] = {"messages": [message.as_dict() for message in self.messages]}
        if self.tools:
            row["tools"] = [*self.tools]
        row["source"] = {"file": self.source.file, "line": self.source.line}
        if self.tags:
            row["tags"] = self.tags
        return row

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Example":
        """Return the example a row of `data/*.jsonl` holds; the inverse of `as_dict`."""
        messages = tuple(
            Message(
                role=turn["role"],
                text=turn["content"],
                extra={key: value for key, value in turn.items() if key not in ("role", "content")},
            )
            for turn in row["messages"]
        )
        source = Source(file=row["source"]["file"], line=row["source"]["line"])
        return Example(messages, source, row.get("tags", {}), tuple(row.get("tools", ())))
