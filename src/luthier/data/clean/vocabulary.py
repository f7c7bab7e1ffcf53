"""What cleaning needs to know of the model's tokenizer: its control tokens, and how many tokens a text has."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from luthier.data.lengths import CountTokens


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The model's tokenizer as far as it is known."""

    special: tuple[str, ...] = ()
    """Its control tokens, as they are written."""
    count: CountTokens | None = None
    """None estimates."""


def special_tokens(file: Path | None) -> tuple[str, ...]:
    """Return the control tokens that a model's `tokenizer.json` names; none where there is no such file.

    Read as the file is, without the packages that run tokenizers: cleaning must not need them.
    """
    try:
        added = orjson.loads(file.read_bytes())["added_tokens"] if file else ()
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return ()
    return tuple(
        token["content"]
        for token in (added if isinstance(added, list) else ())
        if isinstance(token, dict) and token.get("special") is True and isinstance(token.get("content"), str)
    )
