"""The dataset report: for scripts by key, for people as tables with an example of everything."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.core.example import Example
from luthier.core.report import Block, Check, Paragraph, Report, Section, Table
from luthier.core.text import human_bytes, one_line, plural
from luthier.data.account import Account
from luthier.data.clean.step import Notes
from luthier.data.convert import Seen
from luthier.data.leakage.account import Searched, blocks
from luthier.data.lengths import PARTS
from luthier.data.output import Rewritten
from luthier.data.rows import REASONS
from luthier.recipe.data import Part
from luthier.recipe.methods import Rows

WIDE = 160
"""Characters of a row that are shown in a table."""


LEARNED: dict[Rows, str] = {
    "conversation": "The assistant's turns are learned, the others are read.",
    "pair": "The chosen ending becomes more likely than the rejected one; what stands before both is read.",
    "judged": "The last answer becomes more likely if it is good, less if it is bad; the rest is read.",
    "class": "The label is learned, the text is read.",
    "text": "Every token is learned.",
}
"""What an objective makes of a row, for people."""


@dataclass(frozen=True, slots=True)
class FileRead:
    """What became of one source file."""

    name: str
    encoding: str
    size: int
    rows: int
    kept: int
    part: Part = "train"
    """What its rows are for; those of `train` may be held back."""
    told: tuple[str, ...] = ()
    """How it was read, where the name doesn't say it all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the stage found out."""

    files: Sequence[FileRead]
    account: Account
    seen: Seen
    steps: Mapping[str, Notes]
    checks: Sequence[Check]
    splits: Mapping[str, int]
    tokens: Mapping[str, Mapping[str, Any]]
    written: Mapping[str, Mapping[str, Any]]
    fingerprint: str
    example: Example
    rows: Rows
    labels: Mapping[str, int]
    """How many rows of each class or verdict, where rows have one."""
    leaks: Sequence[Searched] = ()
    """Of each file of a test what rows hold of it."""
    rewritten: Rewritten | None = None
    """What was written in another format, where one was asked for."""


def present(outcome: Outcome, *, run: Path) -> Report:
    """Return the report; `run` is the run directory the next command goes on with."""
    again = f"{shlex.quote(str(run / 'recipe.yaml'))} --out {shlex.quote(str(run))}"
    return Report(
        title="Data",
        summary=_summary(outcome),
        data=_data(outcome),
        sections=tuple(section for section in _sections(outcome) if section.blocks),
        findings=tuple(check.as_finding() for check in outcome.checks if check.status != "ok"),
        next_steps=(
            f"luthier train {again}  # train on these rows",
            f"luthier run {again}  # the whole road: train, evaluate, merge, export",
        ),
    )


def _summary(outcome: Outcome) -> str:
    account, splits = outcome.account, outcome.splits
    held = [f"{splits[part]:,} for {part}" for part in ("valid", "test") if splits[part]]
    rest = "".join(f", {part}" for part in held)
    return (
        f"{plural(account.rows_in, 'row')} read, {account.kept:,} kept, {account.dropped:,} dropped: "
        f"{splits['train']:,} to train on{rest}."
    )


def _data(outcome: Outcome) -> dict[str, Any]:
    return {
        "rows": outcome.account.as_dict(),
        "format": _format(outcome.seen, outcome.rewritten),
        "learned_from": outcome.rows,
        "labels": dict(outcome.labels),
        "splits": dict(outcome.splits),
        "checks": [check.as_dict() for check in outcome.checks],
        "tokens": {part: dict(values) for part, values in outcome.tokens.items()},
        "warnings": [check.details for check in outcome.checks if check.status == "warning"],
        "files": {name: dict(about) for name, about in outcome.written.items()},
        "encodings": {file.name: file.encoding for file in outcome.files},
        "told": {file.name: [*file.told] for file in outcome.files if file.told},
        "steps": [_step(name, notes) for name, notes in outcome.steps.items()],
        "leaks": [file.as_dict() for file in outcome.leaks],
        "fingerprint": outcome.fingerprint,
    }


def _format(seen: Seen, rewritten: Rewritten | None) -> dict[str, Any]:
    detected = seen.formats.most_common(1)[0][0]
    mappings = [
        {"format": name, "fields": dict(columns), "rows": rows}
        for (name, columns), rows in seen.mappings.most_common(20)
    ]
    fields = next(mapping["fields"] for mapping in mappings if mapping["format"] == detected)
    return {
        "detected": detected,
        "output": rewritten.output if rewritten else "openai",
        "lost": dict(rewritten.lost) if rewritten else {},
        "fields": fields,
        "counts": dict(seen.formats.most_common()),
        "mappings": mappings,
        "unfolded": [
            {"shape": shape, "records": told.records, "rows": told.rows, "left": dict(told.left)}
            for shape, told in seen.unfolded.items()
        ],
    }


def _step(name: str, notes: Notes) -> dict[str, Any]:
    samples = [{"source": s.source, "before": s.before, "after": s.after} for s in notes.samples]
    found = dict(notes.found.most_common())
    return {"name": name, "changed": notes.changed, "dropped": notes.dropped, "found": found, "samples": samples}


def _sections(outcome: Outcome) -> list[Section]:
    return [
        Section("What came in", _came_in(outcome)),
        Section("What was dropped, and why", _dropped(outcome.account)),
        Section("Leaks from tests", blocks(outcome.leaks)),
        Section("What was repaired", _repaired(outcome.steps)),
        Section("What was looked at", (_checks(outcome.checks),)),
        Section("How long the rows are", (_lengths(outcome.tokens),)),
        Section("Splits", (_splits(outcome.splits),)),
        Section("Labels", _labels(outcome.labels)),
        Section("One row as it will be learned", _example(outcome.example, outcome.rows)),
    ]


def _came_in(outcome: Outcome) -> tuple[Block, ...]:
    rows = tuple(
        (file.name, file.encoding, human_bytes(file.size), f"{file.rows:,}", f"{file.kept:,}", "; ".join(_told(file)))
        for file in outcome.files
    )
    mappings = tuple(
        (name, ", ".join(f"{part}: `{one_line(column, 40)}`" for part, column in columns), f"{count:,}")
        for (name, columns), count in outcome.seen.mappings.most_common(20)
    )
    return (
        Table("Files", ("file", "encoding", "size", "rows", "kept", "told"), rows),
        Table("Formats found", ("format", "columns", "rows"), mappings),
    )


def _told(file: FileRead) -> tuple[str, ...]:
    return file.told if file.part == "train" else (*file.told, f"held out for {file.part}")


def _dropped(account: Account) -> tuple[Block, ...]:
    if not account.dropped:
        return (Paragraph("Nothing."),)
    rows = []
    for reason, count in account.by_reason.most_common():
        first = account.first[reason]
        rows.append((reason, REASONS[reason], f"{count:,}", str(first.source), _shown(first.row), first.detail))
    columns = ("reason", "means", "rows", "first at", "which is", "because")
    return (
        Table("", columns, tuple(rows)),
        Paragraph("All of them are in `dropped.jsonl`, each with its line."),
    )


def _shown(row: Any) -> str:
    if isinstance(row, str):
        return one_line(row[: 10 * WIDE], WIDE)
    try:
        return one_line(json.dumps(row, ensure_ascii=False)[: 10 * WIDE], WIDE)
    except RecursionError:
        return "(nested too deep to show)"


def _repaired(steps: Mapping[str, Notes]) -> tuple[Block, ...]:
    counted = tuple((name, f"{notes.changed:,}", f"{notes.dropped:,}") for name, notes in steps.items())
    counts = Table("Steps", ("step", "rows changed", "rows dropped"), counted)
    samples = tuple(
        (name, sample.source, one_line(repr(sample.before), WIDE), one_line(repr(sample.after), WIDE))
        for name, notes in steps.items()
        for sample in notes.samples
    )
    if not steps:
        return ()
    if not samples:
        return (counts,)
    return counts, Table("Before and after", ("step", "row", "before", "after"), samples)


def _checks(checks: Sequence[Check]) -> Table:
    return Table("", ("check", "status", "details"), tuple((c.name, c.status, c.details) for c in checks))


def _lengths(tokens: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = ("min", "median", "mean", "p95", "max")
    rows = tuple((part, *(f"{tokens[part][column]:,}" for column in columns)) for part in PARTS if part in tokens)
    how = "estimated from bytes" if tokens["total"]["estimate"] else "by the model's tokenizer, without template"
    return Table(f"Tokens, {how}", ("part", *columns), rows)


def _splits(splits: Mapping[str, int]) -> Table:
    total = sum(splits.values())
    rows = tuple((part, f"{count:,}", f"{count / total:.1%}") for part, count in splits.items())
    return Table("", ("split", "rows", "share"), rows)


def _labels(labels: Mapping[str, int]) -> tuple[Block, ...]:
    if not labels:
        return ()
    total = sum(labels.values())
    ordered = sorted(labels.items(), key=lambda entry: (-entry[1], entry[0]))
    rows = tuple((one_line(name, WIDE), f"{count:,}", f"{count / total:.1%}") for name, count in ordered)
    return (Table("", ("label", "rows", "share"), rows),)


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
