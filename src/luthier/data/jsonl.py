"""Rows to lines of JSON, whatever a row holds."""

import json
from contextlib import suppress
from typing import Any

import orjson

from luthier.core.example import Example
from luthier.data.rows import Refusal


def example_line(example: Example) -> bytes | Refusal:
    """Return the line of an example, or why no tokenizer could read it."""
    row = example.as_dict()
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        pass  # half a character, a number above 64 bits, or deep nesting in what a turn holds beside its text
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return Refusal("not_unicode", "holds half a character (a lone surrogate)")
    except RecursionError:
        return Refusal("nested_too_deep", "lists or objects nested too deep to write")


def any_line(row: dict[str, Any]) -> bytes:
    """Return the line of any row, as true to it as JSON allows."""
    with suppress(orjson.JSONEncodeError):
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    try:
        return json.dumps(row).encode() + b"\n"
    except RecursionError:
        return any_line({**row, "row": "nested too deep to write"})
