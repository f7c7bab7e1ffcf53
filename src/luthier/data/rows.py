"""What travels through this stage: a row as read, a row that can't be read, a refusal with its reason."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from luthier.core.example import Source

REASONS = {
    "invalid_json": "not valid JSON",
    "not_an_object": "JSON, but not an object with named values",
    "nested_too_deep": "lists or objects nested too deep to read",
    "wrong_columns": "more or fewer cells than the header has columns",
    "broken_quotes": "a quotation mark opens a cell and nothing closes it, or it closes inside one",
    "invalid_encoding": "bytes that are no text in the file's encoding",
    "damaged": "the file ends early, or makes no sense from here on",
    "too_long": "a single row larger than luthier reads",
    "unknown_format": "no columns that luthier knows, or none of the format or the fields asked for",
    "does_not_fit": "the columns are there, but what they hold does not fit the format",
    "not_text": "a picture, a sound, a film or a file belongs to it, and a model of texts learns from texts alone",
    "unknown_role": "a turn by a role that luthier doesn't know",
    "no_answer": "no turn of the assistant, so nothing to learn",
    "empty_answer": "nothing, or too little, in every answer",
    "empty_text": "nothing in the text",
    "unranked": "no two answers to one prompt of which one is better",
    "no_parent": "a message that replies to none in its file",
    "no_label": "no class, or no word on whether the answer is good",
    "equal_endings": "chosen and rejected are the same, so there is nothing to prefer",
    "no_prompt": "nothing is asked, so nothing can be answered",
    "different_prompts": "chosen and rejected don't answer the same prompt",
    "special_tokens": "control tokens stand in a text, and `data.clean.special_tokens` says to drop such rows",
    "residue": "something of a prompt template is left in a text, and `data.clean.residue` says to drop such rows",
    "wrong_order": "turns in an order that no conversation has",
    "below_minimum": "shorter than `data.clean.length` asks for",
    "above_maximum": "longer than `data.clean.length` allows",
    "other_language": "in a language that `data.clean.language` doesn't keep",
    "echo": "the answer repeats the prompt, and `data.clean.echo` says to drop such rows",
    "refusal": "the answer is a refusal, and `data.clean.refusals` says to drop such rows",
    "repetition": "the answer goes round in a loop, and `data.clean.repetition` says to drop such rows",
    "not_unicode": "half a character (a lone surrogate), which no tokenizer reads",
    "held_out": "equals a row that is held out by its file or its column `split`, has its prompt, or is in its group",
    "leaked": "holds a question or an answer of a test set that `data.decontaminate` names",
    "private": "holds personal data or a secret, of a kind for which the recipe says `drop`",
    "profanity": "holds a swear word or a slur, and the recipe says `drop`",
    "duplicate": "equal to an earlier row once case, width and spaces are evened out",
    "near_duplicate": "nearly the same as an earlier row that is kept",
}
"""Every reason for which a row is dropped, and what it means. The words are part of the contract."""


class Refusal(NamedTuple):
    """Why a row is dropped: a key of `REASONS` and what exactly is wrong with this row."""

    reason: str
    detail: str
    matched: Source | None = None
    """The row, or the item of a test, that it equals or comes near to, where that is why."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as the file holds it."""

    row: dict[str, Any]
    source: Source


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A piece of a file that should have been a row. It counts as a row that came in."""

    raw: Any
    source: Source
    refusal: Refusal
    understood: bool = False
    """Whether it was read, but holds no row: a record of several rows that has none."""


Read = RawRow | Unreadable


class Unparsed(NamedTuple):
    """A line of JSON as it stands in the file. Parsing it is work that another process can do."""

    text: str | bytes
    number: int
    """Its place in the file, from 1."""


Piece = RawRow | Unreadable | Unparsed
"""What readers yield."""
