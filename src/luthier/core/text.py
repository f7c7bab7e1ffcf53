"""Text that is safe to show: no control characters, cut to a width, numbers as people read them."""

import difflib
import re
from collections.abc import Iterable

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that could move a cursor, ring a bell or reorder a line: terminal escapes, bidi overrides."""


def safe(text: str) -> str:
    r"""Return `text` with control characters shown as `\\xNN`, so that data can't drive a terminal."""
    return CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


def printable(name: str) -> str:
    """Return a file's name so that it can be written as UTF-8 and shown: Linux allows any bytes in names."""
    return safe(name.encode("utf-8", "backslashreplace").decode()).replace("\n", "\\x0a").replace("\t", "\\x09")


def one_line(text: str, width: int = 100) -> str:
    """Return `text` on one line of at most `width` characters, with `…` where it was cut."""
    flat = " ".join(safe(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `wrong`, or None when nothing is near."""
    near = difflib.get_close_matches(wrong.lower(), [*known], n=1, cutoff=0.6)
    return near[0] if near else None


def plural(count: int, noun: str) -> str:
    """Return `1 row`, `1,204 rows`, `2 entries`, `3 classes`."""
    if count == 1:
        return f"{count:,} {noun}"
    if noun.endswith("y"):
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def human_bytes(count: float) -> str:
    """Return `812 B`, `9.4 MB`, `15.0 GB`: powers of 1000, as disks and models are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Return `0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
