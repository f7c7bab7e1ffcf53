"""One file per kind of file. To add one: a module with a function from `Opened` to rows, and a line here."""

from collections.abc import Callable, Iterator

from luthier.data.readers import delimited, document, plain
from luthier.data.readers.opened import Opened
from luthier.data.rows import Piece

READERS: dict[str, Callable[[Opened], Iterator[Piece]]] = {
    ".csv": delimited.read,
    ".tsv": delimited.read,
    ".tab": delimited.read,
    ".jsonl": document.read_named_lines,
    ".ndjson": document.read_named_lines,
    ".json": document.read,
    ".txt": plain.read,
    ".md": plain.read,
}
"""File extension, in lower case, to the function that reads it."""

DOCUMENTS = (".txt", ".md")
"""Kinds of files that are one text, which only an objective for plain text learns from."""
