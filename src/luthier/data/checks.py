"""What a person should know about the data before training. Checks tell; none changes or drops a row."""

from collections.abc import Sequence

import numpy as np

from luthier.core.example import Example, Message, Source
from luthier.core.report import Check
from luthier.core.text import one_line, plural
from luthier.data.account import Account
from luthier.data.convert import WANTED, Seen
from luthier.data.kept import Kept
from luthier.data.learned import Learned
from luthier.data.lengths import Lengths
from luthier.recipe.methods import Rows
from luthier.recipe.schema import Train

MANY_DUPLICATES = 0.2

UNEVEN = 10
"""So many times as many rows as the rarest has make a label common enough to be guessed."""

HUMAN_TURNS = ("user", "assistant")


TRAITS = ("empty_prompts", "turn_order")
"""What rows are looked at for, each a bit of a number."""


class Spotted:
    """How many of the kept rows show something, and where it was seen first."""

    def __init__(self, kept: Kept) -> None:
        self.count: dict[str, int] = {}
        self.first: dict[str, Source] = {}
        traits = kept["traits"]
        for place, name in enumerate(TRAITS):
            rows = np.flatnonzero(traits & np.uint64(1 << place))
            self.count[name] = len(rows)
            if len(rows):
                self.first[name] = kept.source(int(rows[0]))

    def check(self, name: str, fine: str, details: str, hint: str) -> Check:
        """Return the check of a trait. In `details`, `{rows}` is how many, `{first}` the first of them."""
        count = self.count[name]
        if not count:
            return Check(name, "ok", fine)
        told = details.format(rows=plural(count, "row"), first=self.first[name])
        return Check(name, "warning", told, hint)


def spot(example: Example) -> int:
    """Return which of `TRAITS` a row has, as bits."""
    return sum(1 << TRAITS.index(name) for name in _traits(example))


def _traits(example: Example) -> list[str]:
    traits: list[str] = []
    if example.messages[-1].role != "assistant":  # no conversation
        return traits
    if not any(message.text.strip() for message in example.messages if message.role == "user"):
        traits.append("empty_prompts")
    if not _in_turns(example.messages) or not _in_turns(example.rejected):
        traits.append("turn_order")
    return traits


def _in_turns(messages: Sequence[Message]) -> bool:
    """Say whether user and assistant take turns, the user first, and system prompts stand before both."""
    roles = [message.role for message in messages]
    while roles and roles[0] == "system":
        roles.pop(0)
    if "system" in roles:
        return False
    if "tool" in roles:
        return roles[0] == "user"
    return all(role == HUMAN_TURNS[index % 2] for index, role in enumerate(roles))


def run_checks(
    rows: Rows, spotted: Spotted, seen: Seen, account: Account, kept: Kept, lengths: Lengths, learned: Learned
) -> list[Check]:
    """Return the checks such rows need, those that found nothing too: a reader should see what was looked at."""
    asks = rows not in ("class", "text")
    checks = [
        _unreadable(account),
        _foreign(account, rows),
        _duplicates(account),
        spotted.check(
            "empty_prompts",
            "every row asks something",
            "{rows} with an empty prompt, first {first}: the model learns to say the answer to anything",
            "give these rows a prompt, or remove them",
        )
        if asks
        else None,
        _contradictions(kept, rows),
        _long_rows(lengths, kept, rows),
        spotted.check(
            "turn_order",
            "user and assistant take turns in every row",
            "{rows} in which user and assistant don't take turns, first {first}; some templates refuse them",
            "training leaves out those that the model's template refuses, and names them in left_out.jsonl",
        )
        if asks
        else None,
        _formats(seen),
        _endings(seen, rows),
        _bad_answers(seen, rows),
        _classes(seen, rows),
        _unfolded(seen, rows),
        _held_back(kept, rows),
        _labels(learned, rows),
        _canned(learned, rows),
        _margins(learned, rows),
        _trimmed(seen),
        _unused(seen),
    ]
    return [check for check in checks if check is not None]


def _unreadable(account: Account) -> Check:
    reasons = (
        "invalid_json",
        "not_an_object",
        "nested_too_deep",
        "wrong_columns",
        "broken_quotes",
        "too_long",
    )
    lost = {reason: account.by_reason[reason] for reason in (*reasons, "invalid_encoding")}
    count = sum(lost.values())
    if not count:
        return Check("unreadable_rows", "ok", "every row could be read")
    first = next(account.first[reason] for reason, number in lost.items() if number)
    return Check(
        "unreadable_rows",
        "warning",
        f"{plural(count, 'row')} could not be read, e.g. {first.source}: {first.detail}",
        "`dropped.jsonl` has them all with their lines; correct them in the source",
    )


def _foreign(account: Account, rows: Rows) -> Check | None:
    count = account.by_reason["unknown_format"]
    if not count:
        return None
    first = account.first["unknown_format"]
    details = (
        f"the objective learns from {WANTED[rows]}; {plural(count, 'row')} dropped, e.g. {first.source}: {first.detail}"
    )
    return Check("other_rows", "warning", details, "name their columns with `data.fields`, or remove them")


def _duplicates(account: Account) -> Check:
    count = account.by_reason["duplicate"]
    share = count / account.rows_in
    details = f"{plural(count, 'duplicate')}, {share:.1%} of the rows"
    if share <= MANY_DUPLICATES:
        return Check("duplicates", "ok", details)
    first = account.first["duplicate"]
    hint = "if they are meant to weigh more, set `data.clean.duplicates` to false"
    return Check("duplicates", "warning", f"{details}, e.g. {first.source} is {first.detail}", hint)


CONTRARY: dict[Rows, tuple[str, str, str]] = {
    "conversation": (
        "different_answers",
        "no prompt has two answers",
        "answer a prompt otherwise than an earlier row does",
    ),
    "pair": ("contradictions", "no pair stands there the other way round", "prefer what an earlier row rejects"),
    "judged": (
        "contradictions",
        "no answer is judged twice",
        "call good what an earlier row calls bad, or the reverse",
    ),
    "class": ("contradictions", "no text is in two classes", "put a text into another class than an earlier row does"),
}
"""Name of the check that looks for contradictions, how it tells that there is none, and how that there are some."""


def _contradictions(kept: Kept, rows: Rows) -> Check | None:
    if rows not in CONTRARY:
        return None
    name, fine, wrong = CONTRARY[rows]
    pairs = kept.contradictions()
    if not len(pairs):
        return Check(name, "ok", fine)
    earlier, later = map(int, pairs[0])
    return Check(
        name,
        "warning",
        f"{plural(len(pairs), 'row')} {wrong}, e.g. {kept.source(earlier)} and {kept.source(later)}",
        "if one is wrong, remove it: the model learns a mixture of both",
    )


def _long_rows(lengths: Lengths, kept: Kept, rows: Rows) -> Check:
    limit: int = Train.model_fields["max_length"].default
    totals = lengths.values["total"]
    count = int((totals > limit).sum())
    words = "estimated tokens" if lengths.estimate else "tokens"
    longest = int(totals.argmax())
    details = f"the longest row has {totals[longest]:,} {words} ({kept.source(longest)})"
    if not count or rows == "text":  # plain text is cut into pieces, every token of which is learned
        return Check("long_rows", "ok", details)
    return Check(
        "long_rows",
        "warning",
        f"{plural(count, 'row')} above {limit:,} {words}, where training drops them by default; {details}",
        "set `train.max_length` higher, or shorten them",
    )


def _formats(seen: Seen) -> Check:
    told = ", ".join(f"{name} ({plural(count, 'row')})" for name, count in seen.formats.most_common())
    if len(seen.formats) == 1:
        return Check("formats", "ok", f"one format: {told}")
    return Check("formats", "note", f"mixed formats: {told}", "fine if meant; else set `data.format`")


def _endings(seen: Seen, rows: Rows) -> Check | None:
    """Tell what became of pairs, where the objective learns from something else."""
    pairs = seen.formats["preference"]
    if not pairs or rows == "pair":
        return None
    if rows == "judged":
        details = (
            f"each of {plural(pairs, 'pair')} gives two rows, its chosen ending as good and its rejected one as bad"
        )
        return Check("pairs", "note", details)
    details = f"of {plural(pairs, 'pair')} only the chosen ending is learned"
    return Check("pairs", "warning", details, "`--set train.objective=dpo` learns from both")


def _bad_answers(seen: Seen, rows: Rows) -> Check | None:
    """Tell that answers marked as bad are learned like the good ones."""
    bad = seen.verdicts[False]
    if not bad or rows != "conversation":
        return None
    details = f"{plural(bad, 'row')} marked as bad answers, learned like the {seen.verdicts[True]:,} marked as good"
    return Check("bad_answers", "warning", details, "remove them, or learn from both with `--set train.objective=kto`")


def _held_back(kept: Kept, rows: Rows) -> Check | None:
    if rows != "text" or len(kept) > 1:
        return None
    details = "there is one document, so none can be held back to measure what is learned"
    return Check("one_document", "warning", details, "cut it into several files, or into rows with a `text`")


def _labels(learned: Learned, rows: Rows) -> Check | None:
    if rows not in ("judged", "class"):
        return None
    what = "good and bad answers" if rows == "judged" else "classes"
    (most, many), *_, (least, few) = [*learned.labels.most_common(), *learned.labels.most_common()[-1:]]
    if len(learned.labels) == 1:
        return Check(
            "labels",
            "warning",
            f"every row is `{one_line(most, 40)}`: there is nothing to tell it from",
            "add rows with another label",
        )
    details = f"`{one_line(most, 40)}` has {plural(many, 'row')}, `{one_line(least, 40)}` {few:,}"
    alike = {" ".join(name.casefold().replace("_", " ").split()) for name in learned.labels}
    if len(alike) < len(learned.labels):
        details = (
            f"{len(learned.labels) - len(alike)} of {len(learned.labels)} class names differ only in case; {details}"
        )
        return Check("labels", "warning", details, "write one class one way")
    if many >= UNEVEN * few:
        return Check("labels", "warning", f"uneven {what}: {details}", "add rows of the rare ones if they matter")
    return Check("labels", "ok", f"{plural(len(learned.labels), 'label')}: {details}")


def _canned(learned: Learned, rows: Rows) -> Check | None:
    if rows not in ("pair", "judged"):
        return None
    found = learned.canned()
    if not found:
        return Check("canned_answers", "ok", "answers differ from row to row")
    told = "; ".join(
        f"{share:.0%} of the {name} answers are {plural(texts, 'text')} again and again"
        for name, (texts, share) in found.items()
    )
    return Check(
        "canned_answers",
        "warning",
        f"{told}: the model learns to recognise them, and KTO's estimate of how far it moved breaks down",
        "use answers that were written for their prompts",
    )


def _margins(learned: Learned, rows: Rows) -> Check | None:
    if rows != "pair":
        return None
    if not learned.against:
        return Check("margins", "ok", "no margin speaks against the choice")
    details = f"{plural(learned.against, 'pair')} whose rejected ending has the higher score"
    return Check("margins", "warning", details, "swap these pairs, or remove them")


def _classes(seen: Seen, rows: Rows) -> Check | None:
    """Tell that classes are learned as answers, where the objective learns answers."""
    count = seen.formats["classification"]
    if not count or rows != "conversation":
        return None
    details = f"{plural(count, 'text')} with a class: the class is learned as the answer to the text"
    return Check("classes", "note", details, "`--set train.objective=classify` trains a classifier instead")


def _unfolded(seen: Seen, rows: Rows) -> Check | None:
    """Tell what became of records that hold several rows, and what of them is not learned."""
    if not seen.unfolded:
        return None
    told = [
        f"{told.records:,} {shape} gave {plural(told.rows, 'row')}"
        + "".join(f"; {count:,} {what} are not learned" for what, count in told.left.items())
        for shape, told in seen.unfolded.items()
    ]
    ranked = rows == "conversation" and any(one.left for one in seen.unfolded.values())
    hint = "`--set train.objective=dpo` learns from answers that are ranked" if ranked else ""
    return Check("unfolded_records", "note", ". ".join(told), hint)


def _trimmed(seen: Seen) -> Check:
    if not seen.trimmed:
        return Check("repaired_rows", "ok", "no conversation had to be shortened")
    details = f"{plural(seen.trimmed, 'conversation')} went on after the last answer; what follows it was cut off"
    return Check("repaired_rows", "note", details)


def _unused(seen: Seen) -> Check:
    if not seen.unused:
        return Check("unused_columns", "ok", "every column is used or kept as a tag")
    names = ", ".join(f"`{name}` ({plural(count, 'row')})" for name, count in seen.unused.most_common(8))
    return Check("unused_columns", "note", f"columns that play no part: {names}")
