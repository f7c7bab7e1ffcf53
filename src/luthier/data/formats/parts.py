"""What a row says, whatever its shape."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from luthier.core.example import Message
from luthier.data.rows import Refusal


class Parts(NamedTuple):
    """The parts of an example; see `luthier.core.example.Example`."""

    messages: Sequence[Message]
    rejected: Sequence[Message] = ()
    label: bool | None = None
    """Whether the last answer is a good one."""
    margin: float | None = None
    tools: tuple[dict[str, Any], ...] = ()
    classes: tuple[str, ...] = ()
    """The classes the text is in."""
    left: tuple[str, ...] = ()
    """What the row says besides and no example has a place for, in words: told in the report."""


def not_mine(detail: str) -> Refusal:
    """Return the refusal by which a format says that a row with its columns is something else after all."""
    return Refusal("unknown_format", detail)
