"""Messages that stand one a row and name the one they reply to: put together into trees, wherever they stand.

They wait in a temporary database on disk, so memory holds one tree at a time.
"""

import json
import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from luthier.core.example import Source
from luthier.data.rows import RawRow, Read, Refusal, Unreadable

IDS = ("message_id", "user_message_id")
PARENTS = ("parent_id", "parent_message_id")


def is_message(row: dict[str, Any]) -> bool:
    """Say whether a row is one message of a tree. One that holds its replies is a tree."""
    return (
        "replies" not in row
        and _named(row, IDS) is not None
        and _parent_key(row) is not None
        and {"role", "text"} <= row.keys()
    )


class Forest:
    """The messages of one file. A context: leaving it forgets them.

    Args:
        file: How rows and messages call the file.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._rows = sqlite3.connect("")  # on disk, without a name
        self._rows.execute("CREATE TABLE message (id BLOB PRIMARY KEY, parent BLOB, line INTEGER, row BLOB)")

    def __enter__(self) -> "Forest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    def add(self, raw: RawRow) -> Unreadable | None:
        """Take in a message, or say that another one has its id."""
        key, parent = _named(raw.row, IDS), _named(raw.row, PARENTS)
        try:
            row = json.dumps(raw.row).encode()  # what orjson refuses, too
            self._rows.execute("INSERT INTO message VALUES (?, ?, ?, ?)", (key, parent, raw.source.line, row))
        except sqlite3.IntegrityError:
            return Unreadable(raw.row, raw.source, Refusal("does_not_fit", "another message has this id"), True)
        except RecursionError:
            detail = "lists or objects nested too deep to keep"
            return Unreadable("(nested too deep to show)", raw.source, Refusal("nested_too_deep", detail))
        return None

    def trees(self) -> Iterator[Read]:
        """Yield the trees in the order of their first messages, then the messages that hang in none."""
        self._rows.execute("CREATE INDEX replies ON message (parent)")
        for key, line, row in self._rows.execute(
            "SELECT id, line, row FROM message WHERE parent IS NULL ORDER BY line"
        ).fetchall():
            yield RawRow(self._tree(key, row), Source(self.file, line))
        for line, row in self._rows.execute("SELECT line, row FROM message ORDER BY line").fetchall():
            detail = "the message it replies to is not in this file, or replies to it in turn"
            yield Unreadable(json.loads(row), Source(self.file, line), Refusal("no_parent", detail), True)

    def _tree(self, key: bytes, row: bytes) -> dict[str, Any]:
        """Return a message with its replies inside it, and forget them."""
        root = json.loads(row)
        waiting = [(key, root)]
        while waiting:
            parent, message = waiting.pop()
            self._rows.execute("DELETE FROM message WHERE id = ?", (parent,))
            found = self._rows.execute(
                "SELECT id, row FROM message WHERE parent = ? ORDER BY line", (parent,)
            ).fetchall()
            replies = [(key, json.loads(row)) for key, row in found]
            message["replies"] = [reply for _, reply in replies]
            waiting += replies
        return root  # type: ignore[no-any-return]


def _parent_key(row: dict[str, Any]) -> str | None:
    return next((key for key in PARENTS if key in row), None)


def _named(row: dict[str, Any], keys: tuple[str, ...]) -> bytes | None:
    """Return the id under the first of the keys that is there."""
    value = next((row[key] for key in keys if row.get(key) not in (None, "")), None)
    return None if value is None else str(value).encode("utf-8", "surrogatepass")
