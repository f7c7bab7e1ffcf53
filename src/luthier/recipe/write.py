"""Writing a recipe as YAML that a person can read, edit and load again.

Used by `luthier init`, and to give runs that were asked by options alone a recipe of their own. What is
written here loads back to the same recipe, and reads the same under YAML 1.1 and 1.2: `1.0e-05`, not `1e-05`.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from luthier.recipe.explain import WIDTH, Key, every_key, in_one_line, keys_of
from luthier.recipe.options import Method, Options
from luthier.recipe.schema import Recipe

HEADER = """\
# A luthier recipe. `luthier check` finds mistakes in it, `luthier explain KEY` says more about a key.
# `null` leaves a choice to the plan, which gives its reason: `luthier plan`.
"""

PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9/_.-]*")
"""Texts that need no quotes, unless they are one of `WORDS`."""

WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")

ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def to_yaml(recipe: Recipe, *, comments: bool, reasons: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a recipe as YAML that loads back to an equal one.

    Args:
        recipe: What to write.
        comments: Write every key, below a sentence about it. Otherwise only what differs from the default.
        reasons: Why a value was chosen, by dotted key; written above the key, which is then always written.
    """
    known = {".".join(key.short) for key in every_key()}
    assert known.issuperset(reasons), f"no such recipe keys: {sorted(set(reasons) - known)}"
    lines = section(recipe, (), comments, reasons)
    return (HEADER + "\n" if comments else "") + "\n".join(lines).lstrip("\n") + "\n"


def section(
    options: Options, path: tuple[str, ...], comments: bool, reasons: Mapping[str, str], tag: str = ""
) -> list[str]:
    """Return the lines of a section's keys, at the left margin."""
    lines: list[str] = []
    for name, key in keys_of(type(options), tag).items():
        value, here = getattr(options, name), (*path, name)
        dotted = ".".join(here)
        below = any(reason == dotted or reason.startswith(f"{dotted}.") for reason in reasons)
        if not (comments or below or value != key.default):
            continue
        if comments:
            lines += [""] if not path else []
            lines += comment(key.help)
        lines += comment(f"Why: {reasons[dotted]}") if dotted in reasons else []
        lines += entry(key, value, here, comments, reasons)
        if comments and (value is None or value is False) and key.shape.section:
            told = (f"{each}: {in_one_line(about)}" for each, about in keys_of(key.shape.section).items())
            lines += [f"#   {line}" for text in told for line in textwrap.wrap(text, WIDTH - 4, subsequent_indent="  ")]
    return lines


def entry(key: Key, value: Any, path: tuple[str, ...], comments: bool, reasons: Mapping[str, str]) -> list[str]:
    """Return `name: value`, on as many lines as it takes."""
    name = path[-1]
    if isinstance(value, Method):
        lines = method(value, key.shape.tag, path, comments, reasons)
        return [f"{name}: {lines[0].partition(': ')[2]}"] if len(lines) == 1 else [f"{name}:", *indented(lines)]
    if isinstance(value, Options):
        lines = section(value, path, comments, reasons)
        return [f"{name}:", *indented(lines)] if lines else [f"{name}: {{}}"]
    shape = key.shape.item
    if isinstance(value, tuple) and value and shape and (shape.methods or shape.section):
        items = (
            method(item, shape.tag, path, comments, reasons)
            if shape.methods
            else section(item, path, comments, reasons)
            for item in value
        )
        return [f"{name}:", *(line for lines in items for line in item_lines(lines))]
    return [f"{name}: {scalar(value)}"]


def method(chosen: Method, tag: str, path: tuple[str, ...], comments: bool, reasons: Mapping[str, str]) -> list[str]:
    """Return the lines of a method's mapping: its name under `tag`, then its options."""
    return [f"{tag}: {scalar(getattr(chosen, tag))}", *section(chosen, path, comments, reasons, tag)]


def indented(lines: list[str]) -> Iterator[str]:
    """Yield the lines two columns to the right."""
    return (f"  {line}".rstrip() for line in lines)


def item_lines(lines: list[str]) -> list[str]:
    """Return the lines of a mapping as an item of a list."""
    first, *rest = lines
    return [f"  - {first}", *(f"    {line}" for line in rest)]


def comment(text: str) -> list[str]:
    """Return text as comment lines. Characters that YAML or a terminal can't carry are spelled out."""
    words = "".join(escaped(letter) if letter not in ESCAPES else letter for letter in " ".join(text.split()))
    wrapped = textwrap.wrap(words, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def scalar(value: Any) -> str:
    """Return a value on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, tuple):
        return f"[{', '.join(scalar(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(key)}: {scalar(item)}' for key, item in value.items())}}}"
    return quoted(value) if isinstance(value, str) else str(value)


def number(value: float) -> str:
    """Return the shortest text that reads back as the same float, with a point before any exponent."""
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    mantissa, exponent, power = repr(value).partition("e")
    return mantissa + (".0" if exponent and "." not in mantissa else "") + exponent + power


def quoted(text: str) -> str:
    """Return text as YAML, in quotes unless it can't be taken for anything else."""
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return '"' + "".join(map(escaped, text)) + '"'


def escaped(letter: str) -> str:
    """Return a character as it may stand in double quotes."""
    if letter in ESCAPES:
        return ESCAPES[letter]
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
