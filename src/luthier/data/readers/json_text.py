"""One JSON value out of text: the fast parser first, the standard one for what only it reads."""

import json
from typing import Any

import orjson

from luthier.data.rows import Refusal


def parse(text: str | bytes) -> Any | Refusal:
    """Return the value, or why there is none.

    orjson refuses NaN, Infinity, lone surrogates and a BOM before the value, which real exports hold; the
    standard library reads them. A key that stands twice keeps its last value in both.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _parse_slowly(text)


def _parse_slowly(text: str | bytes) -> Any | Refusal:
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return Refusal("invalid_encoding", f"byte 0x{error.object[error.start]:02x} at {error.start + 1} is not UTF-8")
    try:
        return json.loads(decoded.rstrip())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        return Refusal("invalid_json", f"{complaint(error)} at {where}")
    except RecursionError:
        return Refusal("nested_too_deep", "lists or objects nested too deep to read")
    except ValueError as error:  # a number of more digits than Python converts
        return Refusal("invalid_json", str(error).partition(";")[0])


def complaint(error: json.JSONDecodeError) -> str:
    """Return what the parser says, to be followed by `at` or `on` a place."""
    return f"{error.msg[0].lower()}{error.msg[1:].removesuffix(' at')}"


def kind(value: Any) -> str:
    """Return what JSON calls a value."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "list"
    if isinstance(value, str):
        return "text"
    return "null" if value is None else "true or false" if isinstance(value, bool) else "number"


def a_kind(value: Any) -> str:
    """Return what JSON calls a value, with its article."""
    return f"{'an' if isinstance(value, dict) else 'a'} {kind(value)}"
