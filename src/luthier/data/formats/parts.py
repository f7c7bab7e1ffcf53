"""What a row says, whatever its shape."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from luthier.core.example import Message


class Parts(NamedTuple):
    """The parts of an example; see `luthier.core.example.Example`."""

    messages: Sequence[Message]
    rejected: Sequence[Message] = ()
    label: bool | str | None = None
    margin: float | None = None
    tools: tuple[dict[str, Any], ...] = ()
