"""`{"prompt", "completion", "label"}`: an answer, and whether it is a good one.

The conversation comes in any of the other shapes: turns in `messages` or `conversations`, prompt and answer in
columns of their own. The verdict is true or false, 1 or 0 (or -1), or a word of `VERDICTS`.
"""

import re
from collections.abc import Mapping
from typing import Any

from luthier.core.text import one_line
from luthier.data.formats import alpaca, completion, openai, sharegpt
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import first_of
from luthier.data.rows import Refusal

LABELS = (
    "label",
    "kto_tag",
    "desirable",
    "is_desirable",
    "is_good",
    "good",
    "thumbs",
    "thumbs_up",
    "feedback",
    "verdict",
    "vote",
    "rating",
)
VERDICTS = {
    "true": "false",
    "1": "0",
    "1.0": "0.0",
    "+1": "-1",
    "yes": "no",
    "good": "bad",
    "desirable": "undesirable",
    "chosen": "rejected",
    "accepted": "refused",
    "positive": "negative",
    "up": "down",
    "thumbs_up": "thumbs_down",
    "upvote": "downvote",
    "like": "dislike",
    "liked": "disliked",
    "👍": "👎",
}
"""Words for a good answer, each with the one for a bad answer; in lower case, spaces and dashes as underscores."""

_DASH = re.compile(r"(?<=\w)-(?=\w)")

GOOD = frozenset(VERDICTS)
BAD = frozenset({*VERDICTS.values(), "-1.0"})


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns of the conversation and the one with the verdict."""
    label = verdict(names)
    for shape in (openai, sharegpt, alpaca, completion):
        if label and (found := shape.columns({name: own for name, own in names.items() if own != label})):
            return {**found, "label": label}
    return None


def verdict(names: Mapping[str, str]) -> str | None:
    """Return the column with the verdict, if there is one."""
    return first_of(names, LABELS)


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the conversation and whether its last answer is a good one."""
    label = judged(row.get(columns["label"]), columns["label"])
    if isinstance(label, Refusal):
        return label
    found = openai.parts(row, columns) if "messages" in columns else alpaca.parts(row, columns)
    return found if isinstance(found, Refusal) else found._replace(label=label)


def judged(value: Any, column: str) -> bool | Refusal:
    """Return whether a verdict says good."""
    word = "" if value is None else "_".join(_DASH.sub(" ", str(value).lower()).split())
    if not word:
        return Refusal("no_label", f"`{column}` is empty")
    if word in GOOD or word in BAD:
        return word in GOOD
    return Refusal(
        "does_not_fit", f"`{column}` is `{one_line(str(value), 40)}`, neither good (true, 1) nor bad (false, 0)"
    )
