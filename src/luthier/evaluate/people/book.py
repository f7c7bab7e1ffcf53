"""What people said: a line a click, written at once, nothing ever changed; what was taken back is a line, too."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from luthier.core.files import fsync_path, space_needed

Model = Literal["base", "tuned"]
Winner = Literal["base", "tuned", "tie"]


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one person said of one pair."""

    rater: str
    key: str
    """Of the pair (`luthier.evaluate.pairs.Pair.key`)."""
    winner: Winner | None
    """None: passed over."""
    shown: tuple[Model, Model]
    """Whose answers stood left and right."""
    scores: Mapping[Model, Mapping[str, int]] = field(default_factory=dict)
    """Ratings of each answer from 1 to 5, by criterion; empty where none were asked."""


class Book:
    """A file of ballots. Several processes may write in it.

    Args:
        path: The file; made with the first ballot.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def ballots(self) -> list[Ballot]:
        """Return what stands: of each person and pair the last word, in the order it was said."""
        standing: dict[tuple[str, str], Ballot] = {}
        for line in self._lines():
            try:
                said = json.loads(line)
                place = said["rater"], said["key"]
                standing.pop(place, None)  # a new word stands at the end
                if not said.get("undone"):
                    ballot = Ballot(*place, said["winner"], tuple(said["shown"]), said["scores"])
                    standing[place] = ballot
            except (ValueError, KeyError, TypeError):
                continue  # torn when the machine stopped
        return [*standing.values()]

    def add(self, ballot: Ballot) -> None:
        """Write a ballot; it is on the disk when this returns."""
        self._write(
            {
                "rater": ballot.rater,
                "key": ballot.key,
                "winner": ballot.winner,
                "shown": [*ballot.shown],
                "scores": {name: dict(scores) for name, scores in ballot.scores.items()},
            }
        )

    def take_back(self, rater: str) -> str | None:
        """Take a person's last ballot back and return of which pair it was; None where there is none."""
        last = next((one for one in reversed(self.ballots()) if one.rater == rater), None)
        if last is None:
            return None
        self._write({"rater": rater, "key": last.key, "undone": True})
        return last.key

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8", errors="replace").split("\n") if self.path.exists() else []

    def _write(self, said: dict[str, Any]) -> None:
        line = json.dumps({"time": round(time.time(), 3), **said}, ensure_ascii=True) + "\n"
        first = not self.path.exists()
        with space_needed(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                content = (("\n" if torn else "") + line).encode()
                if os.write(handle, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(handle)
            finally:
                os.close(handle)
        if first:
            fsync_path(self.path.parent)
