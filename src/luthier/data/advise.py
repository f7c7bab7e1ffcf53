"""What makes data poor though every row is fine: too long, too alike, one-sided, none held out."""

import numpy as np

from luthier.core.report import Check
from luthier.core.text import one_line, plural
from luthier.data.diversity import Common
from luthier.data.evidence import Evidence

ENOUGH = 50
"""Rows below which shares say nothing."""

MANY_SHORT = 0.5
"""Share of short answers that is told: a classifier's are all short, a writer's should not be."""

HEAVY = 0.5
"""Share of the learned tokens that a tenth of the rows may hold. Of lengths as even as dice it holds about 0.17, of
answers in public instruction data 0.3 to 0.4."""

SAME_ANSWERS, SAME_PROMPTS = 0.3, 0.9
"""Shares of texts that begin alike. Prompts made of one template all do, and may."""

MONOTONOUS = 0.1
"""Share of different pairs among neighbouring words below which texts are filled-in forms (docs/log.md has measured
data sets)."""

FEW_WORDS = 2000

ONE_SIDED = 0.75
"""Share of pairs whose chosen ending is the longer one, from which on length alone predicts the choice well."""


def max_length(found: Evidence) -> Check:
    """Tell how many rows are longer than training takes, and what it makes of them."""
    over, limit = found.lengths.over(found.train.max_length), found.train.max_length
    words = "estimated tokens" if found.lengths.estimate else "tokens"
    totals = found.lengths.values["total"]
    longest = int(totals.argmax())
    details = f"the longest row has {totals[longest]:,} {words} ({found.kept.source(longest)})"
    if not over.rows or found.rows == "text":  # plain text is cut into pieces, every token of which is learned
        return Check("long_rows", "ok", details)
    share = f"{plural(over.rows, 'row')}, {over.share:.1%}, above `train.max_length` of {limit:,} {words}"
    fate = {
        "drop": "training leaves them out",
        "turn": "training leaves off their last turns",
        "left": f"training cuts their beginnings, {over.tokens_share:.1%} of all tokens",
        "right": f"training cuts their ends, {over.tokens_share:.1%} of all tokens",
    }[found.train.too_long]
    room = 1 << (int(found.lengths.summary()["total"]["p95"]) - 1).bit_length()
    hint = f"`--set train.max_length={room}` holds 95 % of the rows, or" if room > limit else "set it higher, or"
    other = " shorten them" if found.train.too_long != "drop" else " shorten them, or cut them by `train.too_long`"
    return Check("long_rows", "warning", f"{share}: {fate}; {details}", hint + other)


def held_out(found: Evidence) -> Check:
    """Tell whether anything will show that the model learns rather than memorises."""
    valid = found.splits["valid"]
    if valid:
        return Check("held_out", "ok", f"{plural(valid, 'row')} held back to measure what is learned")
    if found.rows == "text" and len(found.kept) == 1:
        details = "there is one document, so none can be held back to measure what is learned"
        return Check("held_out", "warning", details, "cut it into several files, or into rows with a `text`")
    details = "no row is held back: nothing will show whether the model learned or memorised"
    return Check("held_out", "warning", details, "`--set data.split.valid=0.1`, or more rows with different prompts")


def short_answers(found: Evidence) -> Check | None:
    """Tell when most answers are a few words."""
    if found.rows != "conversation":
        return None
    count = found.spotted.count["short_answers"]
    share = count / len(found.kept)
    details = f"{plural(count, 'row')}, {share:.1%}, whose last answer has fewer than five words"
    if share <= MANY_SHORT or len(found.kept) < ENOUGH:
        return Check("short_answers", "ok", details)
    hint = "fine where labels or short facts are wanted (`train.objective=classify` is made for classes)"
    return Check("short_answers", "note", f"{details}: the model will answer like that", hint)


def balance(found: Evidence) -> Check | None:
    """Tell when few rows hold most of what is learned: each token weighs the same."""
    if found.rows not in ("conversation", "text") or len(found.kept) < ENOUGH:
        return None
    answers = np.sort(found.lengths.values["answer"])[::-1].astype(np.uint64)
    share = float(answers[: len(answers) // 10].sum() / max(1, answers.sum()))
    details = f"the tenth of the rows with the longest answers holds {share:.0%} of the learned tokens"
    if share <= HEAVY:
        return Check("length_balance", "ok", details)
    hint = "look at them: shorten or split them, or add rows of the other kind"
    return Check("length_balance", "note", f"{details}, and so decides what is learned", hint)


def openings(found: Evidence) -> Check | None:
    """Tell when answers, or prompts, begin alike."""
    looked = found.looked
    if found.rows == "text" or found.rows == "class" or looked.rows < ENOUGH:
        return None
    told = f"{_alike(looked.answer, looked.rows)} of the answers begin with `{one_line(looked.answer.text, 60)}`"
    if looked.answer.rows > SAME_ANSWERS * looked.rows:
        hint = "if that is no wish, cut the phrase off in the source: it is what the model learns best"
        return Check("same_openings", "warning", told, hint)
    if looked.prompt.rows > SAME_PROMPTS * looked.rows:
        prompts = f"{_alike(looked.prompt, looked.rows)} of the prompts begin with `{one_line(looked.prompt.text, 60)}`"
        hint = "ask the same way later, or vary how it is asked"
        return Check("same_openings", "note", f"{prompts}: other words may not work", hint)
    return Check("same_openings", "ok", f"openings differ; at most {told}")


def _alike(common: Common, rows: int) -> str:
    return f"{common.rows / rows:.0%}"


def variety(found: Evidence) -> Check | None:
    """Tell when answers are filled-in forms."""
    looked = found.looked
    if found.rows in ("class", "text") or looked.words < FEW_WORDS:
        return None
    one, two, _ = looked.distinct
    details = f"of {looked.words:,} words of answers {one:.1%} are different, of neighbouring pairs {two:.1%}"
    if two >= MONOTONOUS:
        return Check("variety", "ok", details)
    return Check(
        "variety", "note", f"{details}: they repeat each other", "vary how things are said, or take fewer rows"
    )


def systems(found: Evidence) -> Check | None:
    """Tell when some rows have a system prompt and others none."""
    looked = found.looked
    if found.rows in ("class", "text"):
        return None
    if not looked.systems:
        return Check("system_prompts", "ok", "no row has a system prompt")
    having = looked.rows - looked.without_system
    details = f"{plural(looked.systems, 'system prompt')} in {having / looked.rows:.0%} of the rows"
    if not looked.without_system:
        return Check("system_prompts", "ok", details)
    hint = "give all rows one, or none, and ask the trained model the same way"
    return Check("system_prompts", "note", f"{details}, none in the others", hint)


def longer_chosen(found: Evidence) -> Check | None:
    """Tell when the longer ending is nearly always the better one: preferences then teach length (arXiv:2403.19159)."""
    if found.rows != "pair" or len(found.kept) < ENOUGH:
        return None
    share = found.spotted.count["longer_chosen"] / len(found.kept)
    details = f"in {share:.0%} of the pairs the chosen ending is the longer one"
    if share < ONE_SIDED:
        return Check("length_bias", "ok", details)
    hint = "add pairs whose better ending is short; `train.objective=simpo` and `orpo` weigh by length"
    return Check("length_bias", "warning", f"{details}: what is learned first is to be long", hint)
