"""A file that is hashed while it is written, so that nobody has to read it again."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any

CHUNK = 1 << 20


class Written:
    """A file for lines; they go to the disk in large pieces.

    Args:
        path: Where to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.size = 0
        self._hash = hashlib.sha256()
        self._handle = path.open("wb")
        self._held = bytearray()

    def __enter__(self) -> "Written":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, line: bytes) -> None:
        """Add a line."""
        self.rows += 1
        self._held += line
        if len(self._held) >= CHUNK:
            self._flush()

    def close(self) -> None:
        """Write what is held, and close. More than once is fine."""
        if not self._handle.closed:
            with self._handle:
                self._flush()

    def _flush(self) -> None:
        self._hash.update(self._held)
        self.size += len(self._held)
        self._handle.write(self._held)
        self._held.clear()

    @property
    def sha256(self) -> str:
        """The hex digest of what has reached the disk."""
        return self._hash.hexdigest()

    def described(self, path: str) -> dict[str, Any]:
        """Return `{path, bytes, sha256}` of the closed file, under the name people know it by."""
        return {"path": path, "bytes": self.size, "sha256": self.sha256}
