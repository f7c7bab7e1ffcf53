"""`{"prompt", "completions": [{"response", "score"}, …]}`: many answers to one prompt, as UltraFeedback has them.

The answers are objects that bring their score or rank, or texts with a list of scores or ranks beside them.
"""

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from luthier.data.nested.unfolded import Unfolded
from luthier.data.rows import Refusal
from luthier.recipe.methods import Rows

LISTS = ("completions", "responses", "candidates", "generations", "answers", "outputs")
SCORES = ("scores", "ratings", "rewards")
RANKS = ("ranks", "rankings", "ranking", "rank")
"""Lists beside the answers: of scores the highest is best, of ranks the lowest."""

TEXTS = ("response", "completion", "text", "content", "answer", "output", "generation")
SCORE = ("overall_score", "score", "rating", "reward", "fine-grained_score", "fine_grained_score")
RANK = ("rank", "ranking")


class Answer(NamedTuple):
    """One of the answers, and how good it is: more is better."""

    text: Any
    worth: float
    scored: bool
    """Whether differences mean something, as those of ranks don't."""


def unfold(record: dict[str, Any], rows: Rows) -> Unfolded | None:
    """Return the best answer, or where pairs are learned the best one against each that is worse."""
    if rows in ("class", "text"):
        return None
    column = next((name for name in LISTS if name in record and isinstance(record[name], list)), None)
    if column is None:
        return None
    beside = next((name for name in (*SCORES, *RANKS) if isinstance(record.get(name), list)), None)
    answers = _answers(record[column], record.get(beside or ""), ranks=beside in RANKS)
    if answers is None:
        return None
    above = {key: value for key, value in record.items() if key not in (column, beside)}
    ordered = sorted(answers, key=lambda answer: -answer.worth)  # of equals, the first
    best, *others = ordered
    if rows == "conversation":
        return Unfolded([{**above, "completion": best.text}], Counter({"answers that aren't the best": len(others)}))
    worse = [answer for answer in others if answer.worth < best.worth]
    worse = worse[-1:] if rows == "judged" else worse  # each answer once
    if not worse:
        return Unfolded((), refusal=Refusal("unranked", f"no answer in `{column}` is better than another"))
    pairs = [
        {**above, "chosen": best.text, "rejected": answer.text}
        | ({"margin": best.worth - answer.worth} if answer.scored else {})
        for answer in worse
    ]
    return Unfolded(pairs, +Counter({"answers in no pair": len(others) - len(worse)}))


def _answers(listed: Sequence[Any], beside: Any, *, ranks: bool) -> list[Answer] | None:
    """Return the answers with their worth, None where they are something else or one has none."""
    if len(listed) < 2:
        return None
    if isinstance(beside, list) and len(beside) == len(listed):
        found = [
            Answer(text, -_number(worth) if ranks else _number(worth), not ranks)
            for text, worth in zip(listed, beside, strict=True)
        ]
    elif all(isinstance(one, dict) for one in listed):
        found = [_answer(one) for one in listed]
    else:
        return None
    return found if all(isfinite(answer.worth) and answer.text is not None for answer in found) else None


def _answer(one: dict[str, Any]) -> Answer:
    text = next((one[name] for name in TEXTS if name in one), None)
    score = next((name for name in SCORE if one.get(name) is not None), None)
    rank = next((name for name in RANK if one.get(name) is not None), None)
    if score is not None:
        return Answer(text, _number(one[score]), scored=True)
    return Answer(text, -_number(one.get(rank or "")), scored=False)


def _number(value: Any) -> float:
    """Return a number, or none (NaN) of what isn't one."""
    try:
        return float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
