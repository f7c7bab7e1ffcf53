"""What makes two rows the same: their words, with case, width and spaces evened out."""

import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

import orjson

from luthier.core.example import Example


def evened(text: str) -> str:
    """Return the text in NFKC, case-folded, every run of whitespace one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.lower().split())


def evened_turns(example: Example) -> list[str]:
    """Return a line for the tools and each turn: who speaks, what they say evened out, what else the turn holds."""
    tools = [f"tools\x1f{_plain({'tools': [*example.tools]})}"] if example.tools else []
    return tools + [
        f"{message.role}\x1f{evened(message.text)}" + (f"\x1f{_plain(message.extra)}" if message.extra else "")
        for message in example.messages
    ]


def conversation_key(turns: Sequence[str]) -> bytes:
    """Return 16 bytes that stand for a conversation; in a billion rows, two meet by chance once in 10^20."""
    return blake2b(_bytes(turns), digest_size=16).digest()


def prompt_key(turns: Sequence[str], *, seed: int) -> int:
    """Return a number below 2^64, evenly spread, made of the seed and what stands before the last turn."""
    return int.from_bytes(blake2b(_bytes([str(seed), *turns[:-1]]), digest_size=8).digest(), "big")


def _bytes(turns: Sequence[str]) -> bytes:
    return "\x1e".join(turns).encode("utf-8", "surrogatepass")


def _plain(extra: dict[str, object]) -> str:
    try:
        return orjson.dumps(extra, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return repr(sorted(extra.items()))
