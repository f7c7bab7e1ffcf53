"""Writing that a kill or a full disk can't tear: temporary name, fsync, rename. Hashing and safe reading."""

import errno
import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from luthier.core.errors import disk_full
from luthier.core.failpoint import reach

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when a disk, a quota or a size limit is exhausted."""


@contextmanager
def space_needed(place: Path) -> Iterator[None]:
    """Turn "no space left" below `place` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise disk_full(str(place)) from error
        raise


def fsync_path(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Args:
        path: The file; folders above it are made.
        content: What it shall hold.
        mode: Who may do what with it, before the process's umask: 0o600 keeps it to its owner from the first byte.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "tmp")
    try:
        with space_needed(path):
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
                reach("opened", path)
                handle.write(content)
                handle.flush()
                reach("written", path)
                os.fsync(handle.fileno())
            reach("synced", path)
            temporary.replace(path)
            reach("renamed", path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_path(path.parent)


def write_text(path: Path, content: str) -> None:
    r"""Write UTF-8 text atomically. Lone surrogates, which JSON may carry, become `\\udXXX`."""
    write_bytes(path, content.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON atomically."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any) -> str:
    """Return readable JSON. A number that is none (NaN, an infinity) becomes null: JSON has no word for it."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


@contextmanager
def publish_folder(final: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; put it in the place of `final` in one step when the block succeeds.

    An existing `final` is replaced. When the block fails, `final` is untouched. When the process is killed between
    the two renames, the old folder waits under another name, and the next call puts it back.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    recover(final)
    temporary = _beside(final, "tmp")
    with space_needed(final):
        temporary.mkdir()
    try:
        with space_needed(final):
            reach("begun", final)
            yield temporary
            reach("filled", final)
            for path in temporary.rglob("*"):
                _readable(path)
                fsync_path(path)
            fsync_path(temporary)
            reach("synced", final)
            if final.exists():
                retired = _beside(final, "old")
                final.rename(retired)
                reach("retired", final)
                temporary.rename(final)
                reach("replaced", final)
                shutil.rmtree(retired, ignore_errors=True)
            else:
                temporary.rename(final)
            reach("in place", final)
            fsync_path(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that a kill leaves it whole, or under a name that `recover` clears away."""
    aside = _beside(folder, "tmp")
    reach("to be removed", folder)
    folder.rename(aside)
    reach("half removed", folder)
    shutil.rmtree(aside)
    reach("removed", folder)


def _beside(final: Path, ending: str) -> Path:
    return final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.{ending}")


def recover(final: Path) -> None:
    """Clean up after a process that was killed while it published or removed `final`."""
    for retired in final.parent.glob(f".{final.name}.*.old"):
        if final.exists():
            shutil.rmtree(retired, ignore_errors=True)
        else:
            retired.rename(final)
    for stale in final.parent.glob(f".{final.name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)


def _readable(path: Path) -> None:
    """Give a file the rights the user's mask allows: some libraries write theirs for the owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def sha256(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Return what `sha256` does, remembered until the file is another or its size or time changes.

    For what is asked several times in a process and may be large: weights, and the files a user names as sources.
    """
    state = path.stat()
    return _content(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _content(path: Path, _file: int, _size: int, _changed: int) -> str:
    return sha256(path)


def digest(value: Any) -> str:
    """Return a short stable hash of a JSON-like value: 16 hex digits, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def described(path: Path, root: Path) -> dict[str, Any]:
    """Return `{path, bytes, sha256}` of a file, its path relative to `root`."""
    return {"path": str(path.relative_to(root)), "bytes": path.stat().st_size, "sha256": sha256(path)}
