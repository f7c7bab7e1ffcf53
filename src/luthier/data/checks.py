"""What a person should know about the data before training. Checks tell; none changes or drops a row."""

import re
from collections import Counter
from dataclasses import dataclass, field

from luthier.core.example import Example, Source
from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data.account import Account
from luthier.data.convert import Seen
from luthier.data.kept import Kept
from luthier.data.lengths import Lengths
from luthier.recipe.schema import Train

EMAIL = re.compile(r"[\w.+-]@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b")
"""One character before the @ is enough to recognise an address, and keeps the search linear."""

PHONE = re.compile(
    r"(?<![\w.,/*=+-])(?:"
    r"\+\d{1,3}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4}"  # +44 20 7946 0958
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}"  # (555) 010-1234
    r"|\d{3}[-.]\d{3}[-.]\d{4}"  # 555-010-1234
    r"|0\d{2,4}[ /-]\d{6,8}"  # 0171 1234567
    r"|(?<=[a-z] |: )\d{3}-\d{4}(?!-)"  # call 555-0123
    r")(?![\w*=/+-]|[.,]\d)"
)
"""Numbers written like phone numbers. Plain digit groups are left out: they are sums and dates more often."""

DIGITS = re.compile(r"\d[\d ()./-]{6}\d")
"""Digits close together: a quick look that most texts don't pass, before the slow one."""

MANY_DUPLICATES = 0.2

HUMAN_TURNS = ("user", "assistant")


@dataclass(slots=True)
class Spotted:
    """How many rows show something, and where it was seen first."""

    count: Counter[str] = field(default_factory=Counter)
    first: dict[str, Source] = field(default_factory=dict)

    def look(self, example: Example) -> None:
        """Take in a kept row."""
        for name in _traits(example):
            self.count[name] += 1
            self.first.setdefault(name, example.source)

    def check(self, name: str, fine: str, details: str, hint: str) -> Check:
        """Return the check of a trait. In `details`, `{rows}` is how many, `{first}` the first of them."""
        count = self.count[name]
        if not count:
            return Check(name, "ok", fine)
        told = details.format(rows=plural(count, "row"), first=self.first[name])
        return Check(name, "warning", told, hint)


def _traits(example: Example) -> list[str]:
    traits = []
    if not any(message.text.strip() for message in example.messages if message.role == "user"):
        traits.append("empty_prompts")
    if any("@" in message.text and EMAIL.search(message.text) for message in example.messages):
        traits.append("email_addresses")
    if any(DIGITS.search(message.text) and PHONE.search(message.text) for message in example.messages):
        traits.append("phone_numbers")
    if not _in_turns(example):
        traits.append("turn_order")
    return traits


def _in_turns(example: Example) -> bool:
    """Say whether user and assistant take turns, the user first, and system prompts stand before both."""
    roles = [message.role for message in example.messages]
    while roles and roles[0] == "system":
        roles.pop(0)
    if "system" in roles:
        return False
    if "tool" in roles:
        return roles[0] == "user"
    return all(role == HUMAN_TURNS[index % 2] for index, role in enumerate(roles))


def run_checks(spotted: Spotted, seen: Seen, account: Account, kept: Kept, lengths: Lengths) -> list[Check]:
    """Return every check, the fine ones too: a reader should see what was looked at."""
    return [
        _unreadable(account),
        _duplicates(account),
        spotted.check(
            "empty_prompts",
            "every row asks something",
            "{rows} with an empty prompt, first {first}: the model learns to say the answer to anything",
            "give these rows a prompt, or remove them",
        ),
        _contradictions(kept),
        _long_rows(lengths, kept),
        spotted.check(
            "turn_order",
            "user and assistant take turns in every row",
            "{rows} in which user and assistant don't take turns, first {first}; some templates refuse them",
            "training leaves out those that the model's template refuses, and names them in left_out.jsonl",
        ),
        _formats(seen),
        _trimmed(seen),
        _unused(seen),
        spotted.check(
            "email_addresses",
            "no e-mail address seen",
            "{rows} with an e-mail address, first {first}; the model may repeat it",
            "remove or replace them in the source: luthier only tells",
        ),
        spotted.check(
            "phone_numbers",
            "no phone number seen",
            "{rows} with what looks like a phone number, first {first}; the model may repeat it",
            "remove or replace them in the source: luthier only tells",
        ),
    ]


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


def _duplicates(account: Account) -> Check:
    count = account.by_reason["duplicate"]
    share = count / account.rows_in
    details = f"{plural(count, 'duplicate')}, {share:.1%} of the rows"
    if share <= MANY_DUPLICATES:
        return Check("duplicates", "ok", details)
    first = account.first["duplicate"]
    hint = "if they are meant to weigh more, set `data.clean.duplicates` to false"
    return Check("duplicates", "warning", f"{details}, e.g. {first.source} is {first.detail}", hint)


def _contradictions(kept: Kept) -> Check:
    pairs = kept.contradictions()
    if not pairs:
        return Check("different_answers", "ok", "no prompt has two answers")
    earlier, later = pairs[0]
    return Check(
        "different_answers",
        "warning",
        f"{plural(len(pairs), 'row')} answer a prompt otherwise than an earlier row does, "
        f"e.g. {kept.source(earlier)} and {kept.source(later)}",
        "if one is wrong, remove it: the model learns a mixture of both",
    )


def _long_rows(lengths: Lengths, kept: Kept) -> Check:
    limit: int = Train.model_fields["max_length"].default
    totals = lengths.values["total"]
    count = sum(total > limit for total in totals)
    words = "estimated tokens" if lengths.estimate else "tokens"
    longest = max(range(len(totals)), key=totals.__getitem__)
    details = f"the longest row has {totals[longest]:,} {words} ({kept.source(longest)})"
    if not count:
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
