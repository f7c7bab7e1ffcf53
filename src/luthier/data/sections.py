"""The dataset report for people: what came in, what became of it, what it is like, and whether it is fit to learn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from luthier.core.example import Example
from luthier.core.report import (
    Bars,
    Block,
    Change,
    Changes,
    Check,
    Histogram,
    Level,
    Paragraph,
    Records,
    Section,
    Table,
)
from luthier.core.text import human_bytes, human_seconds, one_line, plural
from luthier.data.account import Account
from luthier.data.clean.step import Notes
from luthier.data.leakage.account import blocks
from luthier.data.lengths import PARTS
from luthier.data.outcome import Effort, FileRead, Outcome
from luthier.data.reasons import REASONS
from luthier.recipe.methods import Rows

WIDE = 160
"""Characters of a row that are shown in a table."""

MOST_BARS = 200
"""Names that get a bar; a report of ten thousand classes would be read by nobody."""

LEARNED: dict[Rows, str] = {
    "conversation": "The assistant's turns are learned, the others are read.",
    "pair": "The chosen ending becomes more likely than the rejected one; what stands before both is read.",
    "judged": "The last answer becomes more likely if it is good, less if it is bad; the rest is read.",
    "class": "The label is learned, the text is read.",
    "text": "Every token is learned.",
}
"""What an objective makes of a row, for people."""

PASSED: dict[Level, str] = {"ok": "PASS", "note": "NOTE", "warning": "FAIL", "failure": "FAIL"}
"""A note is worth knowing and often meant; what fails wants a decision."""

PURPOSE = {"train": "to train on", "valid": "to measure on", "test": "kept apart", "dropped": "not used, each with why"}


def sections(outcome: Outcome) -> tuple[Section, ...]:
    """Return the sections; those that have nothing to tell are missing."""
    found = [
        Section("Summary", (_summary(outcome),), detail=True),
        Section("Quality checks", (_checks(outcome.checks),), detail=True),
        Section("What was dropped, and why", _counts(outcome.account)),
        Section("Leaks from tests", blocks(outcome.leaks)),
        Section("Token statistics", (_tokens(outcome.tokens, outcome.counted),)),
        Section("How long the rows are", tuple(_lengths(outcome)), detail=True),
        Section("Output files", (_files(outcome),)),
        Section("Labels", _labels(outcome.labels), detail=True),
        Section("Languages", _languages(outcome.steps), detail=True),
        Section("What came in", _came_in(outcome), detail=True),
        Section("One row as it will be learned", _example(outcome.example, outcome.rows), detail=True),
        Section("What was changed", _repaired(outcome.steps), detail=True),
        Section("Dropped rows", _dropped(outcome.account), detail=True),
        Section("What it took", _effort(outcome.effort), detail=True),
    ]
    return tuple(section for section in found if section.blocks)


def _summary(outcome: Outcome) -> Table:
    account, looked = outcome.account, outcome.looked
    duplicates = account.by_reason["duplicate"]
    formats = ", ".join(f"{name} ({plural(count, 'row')})" for name, count in outcome.seen.formats.most_common())
    sources = ", ".join(one_line(file.name, 60) for file in outcome.files[:5])
    more = f" and {len(outcome.files) - 5:,} more" if len(outcome.files) > 5 else ""
    rows = [
        ("source", f"{sources}{more}"),
        ("total examples", f"{account.rows_in:,}"),
        ("unique examples", f"{account.rows_in - duplicates:,}"),
        ("duplicates removed", f"{duplicates:,}"),
        ("dropped for other reasons", f"{account.dropped - duplicates:,}"),
        ("kept", f"{account.kept:,}"),
        ("format", formats),
        ("learned from", LEARNED[outcome.rows]),
    ]
    if looked.words:
        one, two, three = (f"{share:.1%}" for share in looked.distinct)
        told = f"words {one}, pairs {two}, triples {three}, of {looked.words:,} words in {plural(looked.rows, 'row')}"
        rows.append(("different words in answers", told))
    return Table("", ("metric", "value"), tuple(rows))


def _checks(checks: Sequence[Check]) -> Table:
    rows = tuple((c.name.replace("_", " "), PASSED[c.status], c.details) for c in checks)
    return Table("", ("check", "status", "details"), rows)


def _counts(account: Account) -> tuple[Block, ...]:
    if not account.dropped:
        return ()
    rows = []
    for reason, count in account.by_reason.most_common():
        first = account.first[reason]
        rows.append((reason, f"{count:,}", str(first.source), one_line(first.detail, WIDE)))
    return (Table("", ("reason", "rows", "first at", "because"), tuple(rows)),)


def _tokens(tokens: Mapping[str, Mapping[str, Any]], how: str) -> Table:
    columns = ("min", "median", "mean", "p95", "max")
    rows = tuple((part, *(_number(tokens[part][column]) for column in columns)) for part in _parts(tokens))
    return Table(f"Tokens, {how}", ("part", *columns), rows)


def _lengths(outcome: Outcome) -> Iterator[Block]:
    lengths, turns, limit = outcome.lengths, outcome.turns, outcome.limit
    over = f"{plural(limit.rows, 'row')} ({limit.share:.1%})" if limit.rows else "no row"
    name = f"train.max_length = {limit.max_length:,}: {over} beyond it"
    groups = tuple((part, lengths.counts[part]) for part in _parts(outcome.tokens))
    yield Histogram("Rows by tokens", "tokens", lengths.edges, groups, limit.max_length, name, lengths.beyond)
    if turns and sum(map(bool, turns.counts["turns"])) > 1:
        yield Histogram("Rows by turns", "turns", turns.edges, tuple(turns.counts.items()), beyond=turns.beyond)


def _parts(tokens: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the parts that rows have: texts with a class have no answer, and plain text no prompt."""
    return [part for part in PARTS if part in tokens and (tokens[part]["max"] or part == "total")]


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _files(outcome: Outcome) -> Table:
    total = sum(outcome.splits.values())
    rows = []
    for name, about in outcome.written.items():
        count = outcome.splits.get(name, outcome.account.dropped if name == "dropped" else None)
        if about["bytes"]:
            told = "" if count is None else f"{count:,}"
            share = f"{count / total:.1%}" if count and name in outcome.splits else ""
            purpose = PURPOSE.get(name, "for other programs")
            rows.append((str(about["path"]), told, share, human_bytes(about["bytes"]), purpose))
    return Table("", ("file", "rows", "share", "size", "purpose"), tuple(rows))


def _labels(labels: Mapping[str, int]) -> tuple[Block, ...]:
    if not labels:
        return ()
    ordered = sorted(labels.items(), key=lambda entry: (-entry[1], entry[0]))
    bars = Bars("", "label", tuple((one_line(name, WIDE), count) for name, count in ordered[:MOST_BARS]))
    if len(ordered) <= MOST_BARS:
        return (bars,)
    return bars, Paragraph(f"{len(ordered) - MOST_BARS:,} rarer ones are in `report.json`.")


def _languages(steps: Mapping[str, Notes]) -> tuple[Block, ...]:
    notes = steps.get("language")
    if notes is None or not notes.found:
        return ()
    return (Bars("", "language", tuple(notes.found.most_common(MOST_BARS))),)


def _came_in(outcome: Outcome) -> tuple[Block, ...]:
    rows = tuple(
        (file.name, file.encoding, human_bytes(file.size), f"{file.rows:,}", f"{file.kept:,}", "; ".join(_told(file)))
        for file in outcome.files
    )
    seen = outcome.seen
    shown = seen.mappings.most_common(20)
    mappings = [
        (name, ", ".join(f"{part}: `{one_line(column, 40)}`" for part, column in columns), f"{count:,}")
        for (name, columns), count in shown
    ]
    if others := seen.mappings.total() + seen.other_mappings - sum(count for _, count in shown):
        mappings.append(("", "under other names", f"{others:,}"))
    return (
        Table("Files", ("file", "encoding", "size", "rows", "kept", "told"), rows),
        Table("Formats found", ("format", "columns", "rows"), tuple(mappings)),
    )


def _told(file: FileRead) -> tuple[str, ...]:
    return file.told if file.part == "train" else (*file.told, f"held out for {file.part}")


def _example(example: Example, kind: Rows) -> tuple[Block, ...]:
    shared = example.shared
    rows = [(message.role, one_line(message.text, 10 * WIDE)) for message in example.messages]
    if example.rejected:
        worse = [(message.role, one_line(message.text, 10 * WIDE)) for message in example.rejected[shared:]]
        rows = [
            *rows[:shared],
            *((f"{role}, chosen", text) for role, text in rows[shared:]),
            *((f"{role}, rejected", text) for role, text in worse),
        ]
    if example.margin is not None:
        rows.append(("margin", f"{example.margin:g}"))
    if example.label is not None:
        good = {True: "good", False: "bad"}
        rows.append(("label", good[example.label] if isinstance(example.label, bool) else example.label))
    told = Paragraph(f"From {example.source}. {LEARNED[kind]}")
    return told, Table("", ("role", "text"), tuple(rows))


def _repaired(steps: Mapping[str, Notes]) -> tuple[Block, ...]:
    if not steps:
        return ()
    counted = tuple((name, f"{notes.changed:,}", f"{notes.dropped:,}", _seen(notes)) for name, notes in steps.items())
    counts = Table("Steps, in the order in which they run", ("step", "rows changed", "rows dropped", "saw"), counted)
    samples = tuple(
        Change(name, sample.source, sample.before, sample.after)
        for name, notes in steps.items()
        for sample in notes.samples
    )
    return (counts, Changes("Before and after, the first of each step", samples)) if samples else (counts,)


def _seen(notes: Notes) -> str:
    return ", ".join(f"{one_line(what, 40)} ({plural(rows, 'row')})" for what, rows in notes.found.most_common(4))


def _dropped(account: Account) -> tuple[Block, ...]:
    if not account.dropped:
        return ()
    means = tuple((reason, *REASONS[reason]) for reason, _ in account.by_reason.most_common())
    where = "All of them are in `dropped.jsonl`, each with its line."
    explained = Table("", ("reason", "means", "if the row matters"), means)
    return explained, Records("", tuple(account.samples), account.dropped, where)


def _effort(effort: Effort | None) -> tuple[Block, ...]:
    if effort is None:
        return ()
    processes = f"{plural(effort.processes, 'process')} ({effort.why})"
    speed = f"{human_seconds(effort.seconds)} in {processes}: {effort.rows_per_second:,} rows a second"
    return (Paragraph(f"{speed}, {human_bytes(effort.peak_memory_bytes)} of memory at the most."),)
