"""One file per kind of file. To add one: a module with a function from `Opened` to rows, and a line here."""

from collections.abc import Callable, Iterator

from luthier.data.readers import apart, delimited, document, plain
from luthier.data.readers.opened import Opened
from luthier.data.rows import Piece

READERS: dict[str, Callable[[Opened], Iterator[Piece]]] = {
    ".csv": delimited.read,
    ".tsv": delimited.read,
    ".tab": delimited.read,
    ".jsonl": document.read_named_lines,
    ".ndjson": document.read_named_lines,
    ".json": document.read,
    ".parquet": apart.read,
    ".arrow": apart.read,
    ".xlsx": apart.read,
    ".xlsb": apart.read,
    ".xls": apart.read,
    ".ods": apart.read,
    ".txt": plain.read,
    ".md": plain.read,
    ".html": plain.read_page,
    ".htm": plain.read_page,
}
"""File extension, in lower case, to the function that reads it."""

BINARY = (*apart.NEEDS,)
"""Kinds of files that are no text, so that they have no encoding."""

WORKBOOKS = (".xlsx", ".xlsb", ".xls", ".ods")
"""Kinds of files that have sheets."""

TABLES = (".csv", ".tsv", ".tab", *WORKBOOKS)
"""Kinds of files whose first line may name the columns."""

DOCUMENTS = (".txt", ".md", ".html", ".htm")
"""Kinds of files that are one text, which only an objective for plain text learns from."""
