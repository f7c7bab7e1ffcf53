"""Replies that were paid for: each is on disk before the next thing happens, and none is asked for twice."""

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from luthier.core.endpoint import Reply
from luthier.core.failpoint import reach
from luthier.core.files import digest, space_needed


def key_of(url: str, model: str, text: str, settings: Mapping[str, Any]) -> str:
    """Return what a reply is kept under: another judge, question or setting is another key."""
    return digest([url, model, text, dict(settings)])


class Cache:
    """Replies by key, in a file that only grows: one line of JSON each.

    Args:
        path: The file; made when the first reply is kept. A line that a kill tore is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, Reply] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                self._take(line)

    def _take(self, line: str) -> None:
        try:
            row = json.loads(line)
            key, reply = row.pop("key"), Reply(**row)
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        texts = (key, reply.text, reply.finish)
        counts = (reply.prompt_tokens, reply.answer_tokens)
        if all(isinstance(text, str) for text in texts) and all(isinstance(n, int | None) for n in counts):
            self._kept.setdefault(key, reply)

    @property
    def empty(self) -> bool:
        """Whether no reply is kept."""
        return not self._kept

    def get(self, key: str) -> Reply | None:
        """Return the reply kept under a key."""
        return self._kept.get(key)

    def keep(self, key: str, reply: Reply) -> None:
        """Write a reply down, so that neither a kill nor a power cut loses it.

        Raises:
            DiskFull: There is no space for it.
        """
        row = {"key": key, **asdict(reply)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with space_needed(self.path):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                content = (("\n" if torn else "") + json.dumps(row) + "\n").encode()
                reach("to be written", self.path)
                if os.write(handle, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                reach("written", self.path)
                os.fsync(handle)
                reach("synced", self.path)
            finally:
                os.close(handle)
        self._kept[key] = reply
