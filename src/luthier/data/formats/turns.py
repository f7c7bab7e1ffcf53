"""Turns of a conversation, in whichever words a file has for role and text."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from luthier.core.example import Message
from luthier.core.text import one_line
from luthier.data.formats.calls import answering, calling
from luthier.data.formats.speakers import spoken
from luthier.data.formats.templates import filled
from luthier.data.readers.json_text import a_kind, kind, parse
from luthier.data.rows import Refusal

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
"""A file's word for who speaks, in lower case, to ours."""

ROLE_KEYS = ("role", "from", "speaker", "sender")
TEXT_KEYS = ("content", "value", "text", "parts")
PART_KEYS = ("text", "content", "value")
"""Where a part of a turn's content has its text."""

LEARNED_KEYS = ("train", "weight")
"""Keys by which a part of a turn's content says whether it is learned: Axolotl's."""

SAID_OF_A_PART = {*PART_KEYS, *LEARNED_KEYS, "type"}


def text_of(value: Any, what: str) -> str | Refusal:
    """Return a cell as text: numbers and truth values as JSON writes them, nothing as the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    shown = "not a finite number" if isinstance(value, float) else f"{a_kind(value)}, not text"
    return Refusal("does_not_fit", f"{what} is {shown}")


def first_of(names: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    """Return the file's own name of the first wanted column that it has."""
    return next((names[name] for name in wanted if name in names), None)


def columns_of(names: Mapping[str, str], **wanted: Sequence[str]) -> dict[str, str]:
    """Return part to column for every part of which one of the wanted columns is there."""
    found = {part: first_of(names, columns) for part, columns in wanted.items()}
    return {part: column for part, column in found.items() if column is not None}


def cell(row: Mapping[str, Any], columns: Mapping[str, str], part: str) -> Any:
    """Return what the row has for a part; None where no column plays it."""
    return row.get(columns[part]) if part in columns else None


def said(value: Any, role: str, column: str) -> list[Message] | Refusal:
    """Return what a cell says as turns: a text is one turn by `role`; a turn or a list of turns stay what they are."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        return conversation(value, column)
    text = text_of(value, f"`{column}`")
    return text if isinstance(text, Refusal) else [Message(role, text)]


def conversation(value: Any, column: str) -> list[Message] | Refusal:
    """Return the turns in a list, in a cell that holds such a list as JSON text, or in a transcript."""
    if isinstance(value, str):
        value = spoken(value) or filled(value) or parse(value)
    if not isinstance(value, list):
        said = "not a list of turns" if isinstance(value, Refusal) else f"{a_kind(value)}, not a list of turns"
        return Refusal("does_not_fit", f"`{column}` is {said}")
    messages = []
    asked = None  # the one call that waits for what its function gives
    for number, turn in enumerate(_apart(value), start=1):
        message = _message(turn, number)
        if isinstance(message, Refusal):
            return message
        if message.role == "tool":
            message, asked = answering(message, asked), None
        else:
            message, asked = calling(message, _word(turn), number)
        messages.append(message)
    return messages


def has_turns(value: Any) -> bool:
    """Say whether a value is a list of turns that name their speakers."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and _role_key(one) for one in value)


def are_texts(value: Any) -> bool:
    """Say whether a value is a list of texts, which two may have said in turn."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(turn, str) for turn in value)


def _apart(turns: list[Any]) -> list[Any]:
    """Return the turns one by one where they come as texts in turn, as `{"user": …}`, or as both sides of a pair."""
    if are_texts(turns):
        return [
            {"role": role, "content": text} for role, text in zip(cycle(("user", "assistant")), turns, strict=False)
        ]
    apart: list[Any] = []
    for turn in turns:
        named = isinstance(turn, dict) and turn and not _role_key(turn) and ROLES.keys() >= turn.keys()
        apart += [{"role": role, "content": text} for role, text in turn.items()] if named else [turn]
    return apart


def _role_key(turn: Mapping[str, Any]) -> str | None:
    return next((key for key in ROLE_KEYS if key in turn), None)


def _word(turn: Mapping[str, Any]) -> str:
    """Return a file's word for who speaks, in lower case; nothing where it is no text."""
    said = turn.get(_role_key(turn) or "")
    return said.strip().lower() if isinstance(said, str) else ""


def _message(turn: Any, number: int) -> Message | Refusal:
    if not isinstance(turn, dict):
        return Refusal("does_not_fit", f"turn {number} is {a_kind(turn)}, not an object")
    role_key = _role_key(turn)
    if role_key is None:
        return Refusal("does_not_fit", f"turn {number} doesn't say who speaks (`role` or `from`)")
    role = ROLES.get(_word(turn))
    if role is None:
        return Refusal("unknown_role", f"turn {number} is by `{one_line(str(turn[role_key]), 40)}`")
    text_key = next((key for key in TEXT_KEYS if key in turn), None)
    # Files padded by Arrow carry null for every key that some other turn has; null says nothing.
    extra = {key: v for key, v in turn.items() if key not in (role_key, text_key) and v is not None}
    if text_key is None and not {"tool_calls", "function_call"} & extra.keys():
        return Refusal("does_not_fit", f"turn {number} has no text (`content` or `value`)")
    if not isinstance(extra.get("tool_calls", []), list):
        return Refusal("does_not_fit", f"`tool_calls` of turn {number} is no list")
    content = _content(turn[text_key] if text_key else None, number)
    if isinstance(content, Refusal):
        return content
    text, beside = content
    return Message(role, text, {**extra, **beside})


def _content(value: Any, number: int) -> tuple[str, dict[str, Any]] | Refusal:
    """Return the text of a turn and what its parts say besides.

    It is a text, or a list of text parts as the OpenAI format allows. Where parts say what is learned, that becomes
    `learn`, the characters from and to; other keys of parts stay in `parts`.
    """
    if not isinstance(value, list):
        plain = text_of(value, f"the content of turn {number}")
        return plain if isinstance(plain, Refusal) else (plain, {})
    texts: list[str] = []
    learned: list[list[int]] = []
    told, start = False, 0
    for part in value:
        text = _part_text(part)
        if text is None:
            named = part.get("type") if isinstance(part, dict) else None
            reason = "not_text" if isinstance(named, str) and named != "text" else "does_not_fit"
            what = one_line(str(named or kind(part)), 40)
            return Refusal(reason, f"turn {number} holds a part that is not text: {what}")
        texts.append(text)
        verdict = next((part[key] for key in LEARNED_KEYS if isinstance(part, dict) and key in part), None)
        told |= verdict is not None
        if text and (verdict is None or verdict):
            learned.append([start, start + len(text)])
        start += len(text)
    beside: dict[str, Any] = {"learn": learned} if told else {}
    if any(isinstance(part, dict) and not part.keys() <= SAID_OF_A_PART for part in value):
        beside["parts"] = value
    return "".join(texts), beside


def _part_text(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    found = [part[key] for key in PART_KEYS if key in part] if isinstance(part, dict) else []
    return found[0] if found and isinstance(found[0], str) else None
