"""Which chat template: the model's own, a named one of ours, or a file.

What differs from the model's own is written into the template itself, so that it travels with the trained model and
a server renders what was trained.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from luthier.core.errors import RecipeError
from luthier.core.text import did_you_mean

PLAIN = "plain"
"""For models that bring none: `role: text` lines, each answer closed by the stop token."""

LARGEST = 1_000_000
"""Bytes of a template file. The longest published ones have 20,000."""


def names() -> list[str]:
    """Return the names of the templates that luthier brings."""
    folder = files("luthier.tokens") / "templates"
    return sorted(entry.name.removesuffix(".jinja") for entry in folder.iterdir() if entry.name.endswith(".jinja"))


def named(name: str, tokenizer: Any) -> str:
    """Return one of our templates for a tokenizer: it writes a start token where the tokenizer itself puts one."""
    text = (files("luthier.tokens") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    bare = tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True).ids
    starts = tokenizer.bos_token_id is not None and full[:1] == [tokenizer.bos_token_id] != bare[:1]
    return text if starts else _with(text, {"bos_token": ""})


def chosen(asked: str | None, options: dict[str, Any], tokenizer: Any) -> str | dict[str, str] | None:
    """Return the template a recipe asks for, its options written into it; None for the tokenizer's own as it is.

    Args:
        asked: None, the name of one of ours, or a file.
        options: Variables the template reads, such as `enable_thinking`. They hold for every server too.
        tokenizer: The model's.

    Raises:
        RecipeError: There is no such template, or it can't be read.
    """
    if asked is None:
        own: str | dict[str, str] | None = tokenizer.chat_template
        if not options:
            return None
        if own is None:
            return _with(named(PLAIN, tokenizer), options)
        if isinstance(own, dict):
            return {name: _with(text, options) for name, text in own.items()}
        return _with(own, options)
    if asked in names():
        return _with(named(asked, tokenizer), options)
    return _with(_file(asked), options)


def template_text(asked: str | None) -> str:
    """Return the text of a named template or a file as it stands; nothing for the model's own."""
    if asked is None:
        return ""
    if asked in names():
        return (files("luthier.tokens") / "templates" / f"{asked}.jinja").read_text(encoding="utf-8")
    return _file(asked)


def _file(asked: str) -> str:
    path = Path(asked)
    if not path.is_file():
        near = did_you_mean(asked, names())
        raise RecipeError(
            f"the template `{asked}` is neither a file nor one of {', '.join(names())}"
            + (f"; did you mean `{near}`?" if near else ""),
            hint="leave it out to use the model's own template",
        )
    if path.stat().st_size > LARGEST:
        raise RecipeError(
            "this is no chat template: it is larger than a megabyte", hint="choose another file", place=asked
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(
            "this is no chat template: it is not UTF-8 text", hint="choose another file", place=asked
        ) from error


def _with(text: str, variables: dict[str, Any]) -> str:
    """Return a template that begins by setting variables.

    Always, not only where nobody has: llama.cpp sets `enable_thinking` for every chat, and would ask otherwise than was
    trained.
    """
    lines = "".join(f"{{%- set {name} = {_literal(value)} %}}" for name, value in variables.items())
    # Jinja takes away a line end behind a block: one that the template begins with must stay.
    return lines + ("{{ '' }}" if lines and text.startswith(("\n", "\r")) else "") + text


def _literal(value: Any) -> str:
    """Return a value as Jinja reads it: JSON but for `none`, and letters as they are (halves of pairs are not read)."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(item)}' for key, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)
