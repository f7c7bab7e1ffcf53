"""What a judge said: read strictly, because a half-understood reply would be a made-up rating."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier.evaluate.judge.questions import Model

LOWEST, HIGHEST = 1, 5

Winner = Literal["base", "tuned", "tie"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One reply that could be read."""

    scores: Mapping[Model, Mapping[str, int]]
    """Ratings of each answer it was shown, from 1 to 5, by criterion."""
    better: Winner | None
    """Which answer is better; None where it was shown one."""
    reason: str


def read(reply: str, shown: Sequence[Model], rubric: Mapping[str, str]) -> Judgement | None:
    """Return what a reply says, None where it isn't exactly of the form that was asked for.

    A fence of Markdown around the object and what a model thought before it (`<think>`) are no part of the reply.

    Args:
        reply: As the judge wrote it.
        shown: Whose answers it was shown, in this order.
        rubric: What it was to rate.
    """
    try:
        found = json.loads(_bare(reply), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    names = [f"answer_{number}" for number in range(1, len(shown) + 1)] if len(shown) > 1 else ["answer"]
    keys = {"reason", *names, *(["better"] if len(shown) > 1 else [])}
    if not isinstance(found, dict) or found.keys() != keys or not isinstance(found["reason"], str):
        return None
    scores = {whose: _scores(found[name], rubric) for whose, name in zip(shown, names, strict=True)}
    rated = {whose: kept for whose, kept in scores.items() if kept is not None}
    if len(rated) < len(shown):
        return None
    if len(shown) == 1:
        return Judgement(rated, None, found["reason"])
    better = _winner(found["better"], shown)
    return None if better is None else Judgement(rated, better, found["reason"])


def _bare(reply: str) -> str:
    text = reply.strip()
    if text.startswith("<think>"):
        text = text.partition("</think>")[2].strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text.partition("\n")[2].removesuffix("```").strip()
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says something twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        message = "a key stands twice"
        raise ValueError(message)
    return found


def _no_number(word: str) -> Any:
    raise ValueError(word)


def _scores(found: Any, rubric: Mapping[str, str]) -> dict[str, int] | None:
    if not isinstance(found, dict) or found.keys() != rubric.keys():
        return None
    fits = all(type(score) is int and LOWEST <= score <= HIGHEST for score in found.values())
    return {name: found[name] for name in rubric} if fits else None


def _winner(found: Any, shown: Sequence[Model]) -> Winner | None:
    if type(found) not in (int, str):
        return None
    places: dict[str, Winner] = {"1": shown[0], "2": shown[1], "tie": "tie"}
    return places.get(str(found))
