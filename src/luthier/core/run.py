"""The run directory: the only channel between processes.

    recipe.yaml      what was asked            events.jsonl   append-only: step, eval, checkpoint, rollback, …
    plan.json        what was decided          manifest.json  what is finished, with hashes; written last, atomically
    data/ checkpoints/ model/ evaluate/ merged/ export/       one folder a stage

A stage is finished when the manifest says so. Its entry carries a `key`, a hash of everything the stage depended
on: the same key means the work need not be done again, another key means it must be.
"""

import errno
import fcntl
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from luthier.core.errors import DiskFull, RunError
from luthier.core.failpoint import TEMPORARY, reach
from luthier.core.files import described, fsync_path, space_needed, write_json

STAGES = ("prepare", "tokens", "plan", "train", "evaluate", "merge", "export")
"""The road, in order."""

COPIES = ("stdin", "rows.jsonl")
"""What was piped in, and rows from memory: copies, so that a run goes on with what it was begun with."""

Listener = Callable[[dict[str, Any]], object]
"""Takes an event. One that returns `"stop"` asks a training to save its state and end."""


class Run:
    """A run directory. Making the object creates the folder; nothing is written before a stage writes.

    Args:
        path: The folder. Created, with its parents, when it is not there.
        writes: Whether this process writes in it: of several that train together only the first does.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        if path.exists() and not path.is_dir():
            raise RunError("the run directory is a file", hint="choose another folder with `--out`", place=str(path))
        try:
            with space_needed(path):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"the run directory can't be made ({(error.strerror or str(error)).lower()})"
            raise RunError(problem, hint="choose another folder with `--out`", place=str(path)) from error
        self.path = path
        self.writes = writes
        self.listeners: list[Listener] = []
        """Who is told each event after it was written. One that fails is told about in an event, and let go."""
        self.stop_asked = False
        """Whether a listener asked to stop."""
        self._waiting: deque[str] = deque()

    @staticmethod
    def begun(path: Path) -> bool:
        """Return whether a folder is a run: luthier's own event log beside the recipe, which a user may also have."""
        return (path / "events.jsonl").is_file() and (path / "recipe.yaml").is_file()

    @staticmethod
    def open(path: Path, *, writes: bool = True) -> "Run":
        """Return an existing run.

        Raises:
            RunError: There is no run in that folder.
        """
        if not Run.begun(path):
            raise RunError(
                "there is no run in this folder (no `events.jsonl` beside a `recipe.yaml`)",
                hint="name the folder that `luthier train` or `luthier run` wrote, e.g. `runs/2026-01-31-tickets`",
                place=str(path),
            )
        return Run(path, writes=writes)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # events ------------------------------------------------------------------------------------------------

    def log(self, kind: str, **fields: Any) -> None:
        """Append one event with the time now.

        Where the disk is full it waits in memory, and is written before the next one.
        """
        if not self.writes:
            return
        event = {"time": round(time.time(), 3), "kind": kind, **fields}
        self._waiting.append(json.dumps(event, ensure_ascii=False))
        with suppress(DiskFull):
            self._write()
        failures = [self._tell(listener, event) for listener in (*self.listeners,)]
        for text in filter(None, failures):  # after all were told, so that everybody hears things in order
            self.log("warning", text=text)

    @contextmanager
    def listening(self, *listeners: Listener) -> Iterator[None]:
        """Tell these, too, what happens meanwhile."""
        self.listeners += listeners
        try:
            yield
        finally:
            self.listeners = [listener for listener in self.listeners if listener not in listeners]

    def _tell(self, listener: Listener, event: dict[str, Any]) -> str | None:
        """Tell one listener, and return what to say of it when it failed and was let go."""
        try:
            self.stop_asked |= listener(event) == "stop"
        except Exception as error:  # whoever looks on must not end the work
            self.listeners = [other for other in self.listeners if other is not listener]
            name = getattr(listener, "__qualname__", type(listener).__name__).rpartition("<locals>.")[2]
            return f"`{name}` failed and is told nothing more ({type(error).__name__}: {error})"
        return None

    def _write(self) -> None:
        """Write the events that wait. One write call a line: a reader never sees half of two lines."""
        path = self.path / "events.jsonl"
        with space_needed(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                # A line torn by a kill stays alone: the next event starts on a line of its own.
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                while self._waiting:
                    reach("to be written", path)
                    content = (("\n" if torn else "") + self._waiting[0] + "\n").encode("utf-8", "backslashreplace")
                    if os.write(handle, content) != len(content):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                    reach("written", path)
                    self._waiting.popleft()
                    torn = False
            finally:
                os.close(handle)

    def sync(self) -> None:
        """Make the events so far survive a power cut.

        Raises:
            DiskFull: Some can't be written.
        """
        self._write()
        fsync_path(self.path / "events.jsonl")
        reach("synced", self.path / "events.jsonl")

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the events so far, of one kind or all, oldest first. A line torn by a kill is left out."""
        path = self.path / "events.jsonl"
        written = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
        found = []
        for line in (*written, *self._waiting):
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict) and kind in (None, event.get("kind")):
                found.append(event)
        return found

    # manifest ----------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Return what is finished: `{"stages": {name: {"key", "files", "report", …}}, "state": …}`."""
        path = self.path / "manifest.json"
        if not path.exists():
            return {"state": "new", "stages": {}}
        try:
            manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if manifest["stages"].keys() and manifest["state"]:
                return manifest
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"manifest.json is damaged ({type(error).__name__})",
                hint="delete it: finished stages are then done again, training from its last checkpoint",
                place=str(self.path),
            ) from error
        return manifest

    def finished(self, stage: str, key: str) -> dict[str, Any] | None:
        """Return the report of a finished stage, or None when it must be done (again).

        A stage counts as finished when its key is the same and every file it left is there in its full size.
        """
        entry = self.manifest()["stages"].get(stage)
        if entry is None or entry["key"] != key:
            return None
        for file in entry["files"]:
            path = self.path / file["path"]
            if not path.is_file() or path.stat().st_size != file["bytes"]:
                return None
        report: dict[str, Any] = entry["report"]
        return report

    def finish(self, stage: str, *, key: str, report: dict[str, Any], files: list[Path], **about: Any) -> None:
        """Write into the manifest that a stage is done, and forget the stages that built on its last result.

        Args:
            stage: One of `STAGES`, or one of its parts, such as `export/gguf-f16`.
            key: Hash of everything the stage depended on.
            report: The stage's report, as JSON.
            files: What it left, below the run directory; their sizes and hashes are recorded.
            about: Anything else worth keeping (versions, seeds, hardware).
        """
        manifest = self.manifest()
        place = STAGES.index(stage.partition("/")[0])
        for other in [*manifest["stages"]]:
            if STAGES.index(other.partition("/")[0]) > place:
                del manifest["stages"][other]
        entry = {
            "key": key,
            "finished": round(time.time(), 3),
            "files": [described(f, self.path) for f in files],
        }
        manifest["stages"][stage] = {**entry, "report": report, **about}
        manifest["state"] = f"{stage} done"
        write_json(self.path / "manifest.json", manifest)
        self.log("state", stage=stage, state="done")
        self.sync()

    def amend(self, stage: str, *, report: dict[str, Any], files: list[Path]) -> None:
        """Put another report into the entry of a finished stage, of which no later stage builds on the report."""
        manifest = self.manifest()
        entry = manifest["stages"][stage]
        entry |= {"report": report, "files": [described(file, self.path) for file in files]}
        write_json(self.path / "manifest.json", manifest)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. The lock goes with the process, however it ends.

        Raises:
            RunError: Another process works on the run.
        """
        with (self.path / ".lock").open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                raise RunError(
                    f"another luthier (process {handle.read().strip() or 'unknown'}) works on this run",
                    hint="wait for it, stop it, or choose another folder with `--out`",
                    place=str(self.path),
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            for left in self.path.rglob(".*.tmp"):  # by a process that was killed while it wrote a file
                if TEMPORARY.match(left.name) and left.is_file():
                    left.unlink()
            yield
