"""What a person should know about the data before training. Checks tell; none changes or drops a row."""

from luthier.core.report import Check
from luthier.core.text import one_line, plural
from luthier.data import advise, openai_rules, sizes
from luthier.data.account import Account
from luthier.data.convert import Seen
from luthier.data.evidence import Evidence
from luthier.data.kept import Kept
from luthier.data.learned import Learned
from luthier.data.unsuited import WANTED
from luthier.recipe.methods import Rows

MANY_DUPLICATES = 0.2

UNEVEN = 10
"""So many times as many rows as the rarest has make a label common enough to be guessed."""

UNREADABLE = (
    *("invalid_json", "not_an_object", "nested_too_deep", "wrong_columns", "broken_quotes", "too_long"),
    *("invalid_encoding", "damaged"),
)
INCOMPLETE = ("does_not_fit", "no_answer", "no_label", "no_prompt", "equal_endings", "different_prompts")
SHORT = ("empty_answer", "empty_text", "below_minimum")


def run_checks(found: Evidence) -> list[Check]:
    """Return the checks such rows need, those that found nothing too: a reader should see what was looked at."""
    rows, spotted, seen, account = found.rows, found.spotted, found.seen, found.account
    asks = rows not in ("class", "text")
    checks = [
        _unreadable(account),
        _encoding(account, found),
        _foreign(account, rows),
        _dropped("required_fields", "every row has what its format needs", INCOMPLETE, account),
        _dropped(
            "roles", "every turn is by somebody luthier knows, in an order", ("unknown_role", "wrong_order"), account
        ),
        _dropped("min_length", "no row was too short to learn from", SHORT, account),
        _media(account),
        advise.max_length(found),
        _duplicates(account),
        spotted.check(
            "empty_prompts",
            "every row asks something",
            "{rows} with an empty prompt, first {first}: the model learns to say the answer to anything",
            "give these rows a prompt, or remove them",
        )
        if asks
        else None,
        _contradictions(found.kept, rows),
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
        sizes.size(found),
        advise.held_out(found),
        _labels(found.learned, rows),
        advise.short_answers(found),
        advise.balance(found),
        advise.openings(found),
        advise.variety(found),
        advise.systems(found),
        _canned(found.learned, rows),
        _margins(found.learned, rows),
        advise.longer_chosen(found),
        _trimmed(seen),
        _unused(seen),
        openai_rules.check(found),
    ]
    return [check for check in checks if check is not None]


def _unreadable(account: Account) -> Check:
    lost = {reason: account.by_reason[reason] for reason in UNREADABLE}
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


def _encoding(account: Account, found: Evidence) -> Check:
    told = ", ".join(dict.fromkeys(name for name in found.encodings.values() if name != "binary")) or "tables"
    count = account.by_reason["invalid_encoding"] + account.by_reason["not_unicode"]
    if count:
        details = f"read as {told}; {plural(count, 'row')} with bytes or half characters that are no text"
        return Check("encoding", "warning", details, "save the file as UTF-8 in the program it comes from")
    others = {file: name for file, name in found.encodings.items() if name.lower() not in USUAL}
    if others:
        file, name = next(iter(others.items()))
        details = f"{plural(len(others), 'file')} not in UTF-8, e.g. {file}: {name}, as far as can be told"
        return Check("encoding", "note", details, "look at a row with accents below; if it is wrong, save it as UTF-8")
    return Check("encoding", "ok", f"read as {told}")


USUAL = ("utf-8", "utf-8-sig", "ascii", "binary")
"""Encodings that leave nothing to guess."""


def _dropped(name: str, fine: str, reasons: tuple[str, ...], account: Account) -> Check:
    """Return the check that no row was dropped for one of some reasons."""
    lost = [reason for reason in account.first if reason in reasons]
    if not lost:
        return Check(name, "ok", fine)
    count = sum(account.by_reason[reason] for reason in lost)
    first = account.first[lost[0]]
    details = f"{plural(count, 'row')} dropped ({', '.join(lost)}), e.g. {first.source}: {first.detail}"
    if count <= MANY_DROPPED * account.rows_in:
        return Check(name, "ok", details)
    return Check(name, "warning", details, "`dropped.jsonl` has them all; correct them in the source if they matter")


MANY_DROPPED = 0.05
"""Share of the rows above which a loss is no accident."""


def _media(account: Account) -> Check | None:
    count = account.by_reason["not_text"]
    if not count:
        return None
    first = account.first["not_text"]
    details = f"{plural(count, 'row')} about pictures, sounds or files dropped, e.g. {first.source}: {first.detail}"
    hint = "luthier trains models of texts; describe in words what the rows are about, or leave them out"
    return Check("media", "warning", details, hint)


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
        "whose prompt an earlier row answers otherwise",
    ),
    "pair": (
        "contradictions",
        "no pair stands there the other way round",
        "with the endings of an earlier row the other way round",
    ),
    "judged": (
        "contradictions",
        "no answer is judged twice",
        "whose answer an earlier row judges otherwise",
    ),
    "class": ("contradictions", "no text is in two classes", "with a text that an earlier row puts into another class"),
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


MOST_COLUMNS = 8


def _unused(seen: Seen) -> Check:
    if not seen.unused:
        return Check("unused_columns", "ok", "every column is used or kept as a tag")
    names = ", ".join(f"`{name}` ({plural(count, 'row')})" for name, count in seen.unused.most_common(MOST_COLUMNS))
    more = len(seen.unused) > MOST_COLUMNS or seen.other_unused
    return Check("unused_columns", "note", f"columns that play no part: {names}{', and others' if more else ''}")
