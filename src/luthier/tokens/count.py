"""Counting the tokens of many texts, without template: for reports, before anything is rendered."""

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from luthier.tokens.bpe import fast_bpe

MANY = 2 * 10**6
"""Bytes of text from which on it pays to build the fast way first, which takes about a second."""

TOO_MANY = 100 * 10**6
"""Bytes that are not counted where there is no fast way: at 1.2 MB/s (docs/log.md) they would take minutes."""


def counter(file: Path, size: int) -> Callable[[list[str]], list[int]]:
    """Return what gives the token counts of texts.

    Args:
        file: The `tokenizer.json`.
        size: About how many bytes of text will come.
    """
    backend = Tokenizer.from_file(str(file))
    backend.no_truncation()
    backend.no_padding()
    fast = fast_bpe(backend) if size >= MANY else None

    def count(texts: list[str]) -> list[int]:
        counts = [fast.count(text) if fast else None for text in texts]
        return [
            len(backend.encode(text, add_special_tokens=False).ids) if known is None else known
            for text, known in zip(texts, counts, strict=True)
        ]

    return count


def countable(file: Path, size: int) -> bool:
    """Say whether a tokenizer can be read and counts so many bytes in bearable time."""
    try:
        backend = Tokenizer.from_file(str(file))
    except Exception:  # tokenizers raises nothing more precise; the tokens stage says what is wrong with the file
        return False
    return size < TOO_MANY or fast_bpe(backend) is not None
