"""How many rows a task wants. Guides disagree; docs/decisions says which numbers these are, and why."""

from typing import NamedTuple

from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data.evidence import Evidence


class Size(NamedTuple):
    """Rows below which training seldom pays, and from which on it usually does."""

    least: int
    better: int


SIZES = {
    "classification": Size(100, 1000),
    "single answers": Size(100, 500),
    "conversations of several turns": Size(500, 2000),
    "code": Size(200, 1000),
    "preferences": Size(500, 2000),
}
"""By task. Those of preferences are those of conversations: no guide names any."""

FEW = "fewer `train.epochs` and a smaller rank are remedies, and more rows the better one"


def task(found: Evidence) -> str | None:
    """Return which task the rows are for; None for plain text, which is counted in tokens."""
    rows, looked = found.rows, found.looked
    if rows == "class" or 2 * found.seen.formats["classification"] > len(found.kept):
        return "classification"
    if rows in ("pair", "judged"):
        return "preferences"
    if rows == "text":
        return None
    if 2 * looked.code > looked.rows:
        return "code"
    return "conversations of several turns" if 2 * looked.several_turns > looked.rows else "single answers"


def size(found: Evidence) -> Check | None:
    """Return the check whether there are enough rows for their task."""
    name, kept = task(found), len(found.kept)
    if name is None:
        return None
    least, better = SIZES[name]
    told = f"{plural(kept, 'row')} of {name}"
    if kept < least:
        details = f"{told}, and fewer than {least:,} are soon memorised"
        return Check("size", "warning", details, f"collect {least - kept:,} more; {FEW}")
    if kept < better:
        return Check("size", "note", f"{told}: enough to begin with; {better:,} are better")
    return Check("size", "ok", f"{told}, more than the {better:,} that are recommended")
