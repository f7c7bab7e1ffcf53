"""What reports and the list of dropped rows show of what was to go: that it was there, not what it was."""

from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

from luthier.data.clean.control import INVISIBLE
from luthier.data.clean.privacy.find import find
from luthier.data.clean.privacy.rewrite import Look, Rewriter
from luthier.recipe.privacy import GOES, Action

Show = Callable[[Any], Any]
"""Returns whatever JSON can hold as it may be shown."""


def as_it_is(value: Any) -> Any:
    """Show all there is, where nothing was to go."""
    return value


def hiding(look: Look, actions: Mapping[str, Action]) -> Show:
    """Return what shows rows without what the recipe wants masked, replaced or dropped."""
    if not {*GOES} & {*actions.values()}:
        return as_it_is

    def instead(kind: str, piece: str) -> str | None:
        return _partly(kind, piece) if actions[kind] in GOES else None

    def revealed(text: str) -> str:
        """Return a text as cleaning would leave it, where that brings private pieces to light."""
        plain = unescape(INVISIBLE.sub("", text)) if "&" in text or not text.isprintable() else text
        if plain == text or not any(actions[hit.kind] in GOES for hit in look(plain)):
            return text
        return plain

    def show(value: Any) -> Any:
        try:
            return Rewriter(look, find, instead, first=revealed).row(value)
        except RecursionError:
            return "nested too deep to show without what is private"

    return show


def _partly(kind: str, piece: str) -> str:
    """Return `j***@…` of an address, `4***` of a card."""
    return f"{piece[0]}***@…" if kind == "email" else f"{piece[0]}***"
