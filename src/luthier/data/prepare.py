"""The data stage: sources in; train, valid, test, dropped and the dataset report out.

Readers give batches, a refiner makes of each what becomes of it, and the intake takes that in, in order. Then comes
what needs all rows: splits and the report.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from luthier.core.errors import DataError, LuthierError
from luthier.core.example import Example
from luthier.core.files import publish_folder
from luthier.core.hardware import peak_memory
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Report
from luthier.core.run import COPIES
from luthier.data.batches import Batch, Limits, batches
from luthier.data.checks import run_checks
from luthier.data.clean import findings
from luthier.data.clean.privacy import shown, vault
from luthier.data.clean.privacy.told import checks as privacy_checks
from luthier.data.diversity import Diversity, Looking, spread
from luthier.data.evidence import Evidence
from luthier.data.first import columns, no_such_column
from luthier.data.held_back import checks, held_back, intruders, parts_of_files, say_their_parts
from luthier.data.histograms import counted
from luthier.data.intake import Intake
from luthier.data.kept import Kept
from luthier.data.leakage.account import check, searched
from luthier.data.leakage.look import Leaks, looker
from luthier.data.learned import Learned
from luthier.data.lengths import PARTS as MEASURED
from luthier.data.lengths import UNKNOWN, Lengths, Tokenizer
from luthier.data.near.compared import compared
from luthier.data.near.settle import NearRows
from luthier.data.outcome import Effort, FileRead, Limit, Outcome
from luthier.data.output import write_as
from luthier.data.present import present
from luthier.data.reasons import REASONS
from luthier.data.refine import Refined, Refiner
from luthier.data.sources import SourceFile, files_of, raise_all
from luthier.data.split import PARTS, Parts
from luthier.data.tally import Tally
from luthier.data.traits import Spotted
from luthier.data.workers import Crew, how_many
from luthier.data.written import Written
from luthier.recipe.data import Data, Part
from luthier.recipe.methods import Rows
from luthier.recipe.schema import Train

NOBODY = Silent()

LIMITS = Limits()

USUAL = Train()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the stage was asked for."""

    data: Data
    rows: Rows
    tokenizer: Tokenizer
    leaks: Leaks | None
    train: Train
    copied: bool
    """Whether sources are copies that luthier made in the run."""


class LookedAt(NamedTuple):
    """What was seen of the rows while they were written."""

    example: Example
    """The first to train on."""
    diversity: Diversity


def prepare(
    data: Data,
    out: Path,
    *,
    rows: Rows = "conversation",
    shown_as: Mapping[Path, str] | None = None,
    progress: Progress = NOBODY,
    tokenizer: Tokenizer = UNKNOWN,
    train: Train = USUAL,
    limits: Limits = LIMITS,
) -> Report:
    """Read, convert, clean, split and write the examples a recipe names, and account for every row.

    Args:
        data: The recipe's section.
        out: Folder for `train.jsonl`, `valid.jsonl` and `test.jsonl` (both may be empty), `dropped.jsonl` and
            `report.{json,md,html}`. It appears complete or not at all.
        rows: What the objective learns from: rows of other kinds are refused.
        shown_as: Names under which some source files are spoken of.
        progress: Hears how many bytes have been read.
        tokenizer: The model's: it counts tokens, and its control tokens are looked for in texts.
        train: How rows will be learned from: which are too long depends on it. Nothing but the report does.
        limits: How large batches are. The result doesn't depend on it.

    Raises:
        DataError: A source can't be read, holds no row that fits, no row has a column that `data.split` names, or
            nothing is left; then `dropped.jsonl`, with every row and its reason, stands beside `out`.
        Problems: Several of those.
    """
    began = time.monotonic()
    named = files_of(data, shown_as, rows=rows)
    files = [file for _, file in named]
    copied = not {out.with_name(name) for name in COPIES}.isdisjoint(file.path for file in files)
    asked = Asked(data, rows, tokenizer, looker(data.decontaminate), train, copied)
    privacy = data.clean.privacy
    if privacy.vault is not None:
        vault.refuse_place(Path(privacy.vault).expanduser(), out.parent, {file.path for file in files})
    with (
        publish_folder(out) as folder,
        closing(Intake(folder, unique=data.clean.duplicates, shown=shown(privacy))) as intake,
    ):
        coming = batches(files, limits, rows, header=data.header, sheets=data.sheets)
        processes, why = how_many(data.processes, sum(file.size for file in files))
        with Crew(partial(Refiner, data, rows, tokenizer, asked.leaks), processes) as crew:
            read = _take_in_all(intake, named, crew.refine(coming), asked, progress)
        _refuse_nothing_left(intake, out)
        _refuse_missing_columns(intake.kept, data, rows)
        if privacy.vault is not None:
            vault.write(Path(privacy.vault).expanduser(), intake.notes["privacy"].stand_ins)
        outcome = _outcome(intake, read, asked, folder, out.name)
        effort = _effort(crew, why, intake.account.rows_in, time.monotonic() - began)
        report = present(replace(outcome, effort=effort), run=out.parent)
        write_report(report, folder)
    return report


def _effort(crew: Crew, why: str, rows: int, seconds: float) -> Effort:
    return Effort(crew.processes, why, round(seconds, 3), round(rows / seconds), peak_memory() + crew.memory)


def _take_in_all(
    intake: Intake,
    files: Sequence[tuple[Part, SourceFile]],
    refined: Iterator[tuple[Batch, Refined]],
    asked: Asked,
    progress: Progress,
) -> list[FileRead]:
    """Take in every file; raise what is wrong with any of them, together, at the end."""
    progress.start("prepare", sum(file.size for _, file in files), "byte")
    done: list[FileRead] = []
    problems: list[LuthierError] = []
    before = 0
    for part, file in files:
        if not done or part != done[-1].part:
            intake.held_out = len(intake.kept)
        tally = Tally()
        for batch, result in refined:
            tally.add(batch, result, intake.take_in(batch, result))
            progress.update(before + batch.position, file.name)
            if batch.last:
                break
        before += file.size
        try:
            if batch.problem:
                raise batch.problem
            tally.refuse_useless(file, asked.data, asked.rows)
        except LuthierError as problem:
            problems.append(problem)
        rows, kept = tally.reasons.total(), tally.reasons[None]
        done.append(FileRead(file.name, batch.encoding, file.size, rows=rows, kept=kept, told=batch.told, part=part))
    raise_all(problems)
    progress.end()
    return done


def _refuse_nothing_left(intake: Intake, out: Path) -> None:
    """Raise where every row was dropped, and leave them beside the folder that there will not be."""
    account, left = intake.account, out.with_name(intake.dropped.path.name)
    left.unlink(missing_ok=True)
    if account.kept:
        return
    intake.dropped.close()
    intake.dropped.path.replace(left)
    counts = ", ".join(f"{count:,} {reason}" for reason, count in account.by_reason.most_common())
    reason = account.by_reason.most_common(1)[0][0]
    first = account.first[reason]
    raise DataError(
        f"no row is left of {account.rows_in:,}: {counts}",
        hint=f"{reason} means: {REASONS[reason].means} (here: {first.detail}); {REASONS[reason].remedy}; "
        f"`{left}` has all rows, each with its reason",
        place=str(first.source),
    )


def _refuse_missing_columns(kept: Kept, data: Data, rows: Rows) -> None:
    """Raise where no kept row holds anything in a column that decides the split."""
    split = data.split
    for option, column, key in (
        ("group_by", split.group_by, "group_key"),
        ("stratify", split.stratum_column, "stratum_key"),
    ):
        if column and not kept[key].any():
            raise no_such_column(column, f"data.split.{option}", columns(data, rows))


def _outcome(intake: Intake, read: Sequence[FileRead], asked: Asked, folder: Path, name: str) -> Outcome:
    comparing = compared(asked.data.clean, asked.rows)
    near = intake.take_out_near(comparing) if comparing else None
    read, fixed = _held_out(intake, read, asked, near)
    leaks = searched(asked.leaks, intake.leaks, rows=intake.account.rows_in)
    clusters = near.clusters[intake.kept.left] if near else None
    held = held_back(intake.kept, intake.labels, asked.data, asked.rows, fixed=fixed, clusters=clusters)
    splits, looked_at = _distribute(intake, held.parts, folder)
    intake.dropped.close()
    intake.account.settle()
    found = _evidence(intake, read, asked, splits, looked_at)
    kept, limit = found.kept, asked.train.max_length
    assert len(kept) == sum(found.splits.values()), "every kept row is in one split"
    over = found.lengths.over(limit)
    talks = asked.rows not in ("class", "text")
    output = asked.data.output
    rewritten = write_as(output, asked.rows, folder, name) if output else None
    return Outcome(
        files=read,
        account=found.account,
        seen=found.seen,
        steps=intake.notes,
        checks=[
            *run_checks(found),
            *checks(
                [(file.part, file.name) for file in read],
                found.account.by_reason["held_out"],
                alike=held.alike,
                own=fixed if say_their_parts(kept) else None,
            ),
            *([near.check()] if near else []),
            check(leaks, intake.leaks.total, dropped=asked.data.decontaminate.action == "drop"),
            *findings.checks(intake.notes),
            *privacy_checks(asked.data.clean, intake.notes, copied=asked.copied),
            *([rewritten.check()] if rewritten else []),
        ],
        splits=found.splits,
        tokens=found.lengths.summary(),
        counted=asked.tokenizer.how,
        limit=Limit(limit, over.rows, over.share, asked.train.too_long),
        lengths=counted(found.lengths.values, limit=limit),
        turns=counted({"turns": kept["turns"]}) if talks else None,
        looked=found.looked,
        written={
            file.path.stem: file.described(f"{name}/{file.path.name}") for file in (*splits.values(), intake.dropped)
        }
        | (rewritten.files if rewritten else {}),
        fingerprint=_fingerprint([splits[part] for part in PARTS]),
        example=looked_at.example,
        rows=asked.rows,
        labels=found.learned.labels,
        leaks=leaks,
        rewritten=rewritten,
    )


def _held_out(
    intake: Intake, read: Sequence[FileRead], asked: Asked, near: NearRows | None
) -> tuple[list[FileRead], Parts]:
    """Take out what equals rows of files that are held out. Return the files as they are then, and the rows' parts."""
    kept = intake.kept
    own = say_their_parts(kept)
    of_files = parts_of_files([(file.part, file.kept) for file in read])

    def parts() -> Parts:
        return kept["own_part"] if own else of_files[kept.left]

    if (fixed := parts()).any():
        clusters = near.clusters[kept.left] if near else None
        intake.take_out(*intruders(kept, asked.data.split, fixed, clusters=clusters))
    bounds = np.cumsum([0, *(file.kept for file in read)])
    left = np.diff(np.searchsorted(kept.left, bounds)).tolist()
    return [replace(file, kept=count) for file, count in zip(read, left, strict=True)], parts()


def _evidence(
    intake: Intake, read: Sequence[FileRead], asked: Asked, splits: Mapping[Part, Written], looked_at: LookedAt
) -> Evidence:
    kept = intake.kept
    measured = MEASURED if asked.rows == "pair" else [part for part in MEASURED if part != "rejected"]
    return Evidence(
        rows=asked.rows,
        train=asked.train,
        seen=intake.seen,
        account=intake.account,
        encodings={file.name: file.encoding for file in read},
        kept=kept,
        lengths=Lengths({part: kept[f"{part}_tokens"] for part in measured}, estimate=asked.tokenizer.counter is None),
        learned=Learned(kept, [*intake.labels]),
        spotted=Spotted(kept),
        looked=looked_at.diversity,
        splits={part: splits[part].rows for part in PARTS},
        size=splits["train"].size,
    )


def _distribute(intake: Intake, parts: Parts, folder: Path) -> tuple[Mapping[Part, Written], LookedAt]:
    """Copy the waiting lines to their splits. Return these, and what some of them look like."""
    numbers = parts.tolist()
    apart = spread(len(intake.kept))
    looking = Looking(len(intake.kept) // apart)
    first: bytes | None = None
    with ExitStack() as stack:
        splits: dict[Part, Written] = {part: stack.enter_context(Written(folder / f"{part}.jsonl")) for part in PARTS}
        for place, (line, number) in enumerate(zip(intake.waiting_lines(), numbers, strict=True)):
            part = PARTS[number]
            splits[part].write(line)
            if first is None and part == "train":
                first = line
            if place % apart == 0:
                looking.look(Example.from_dict(orjson.loads(line)))
    assert first is not None, "train is never empty"
    return splits, LookedAt(Example.from_dict(orjson.loads(first)), looking.diversity())


def _fingerprint(splits: Sequence[Written]) -> str:
    """Return the SHA-256 over those of the splits: what was learned from, in one word."""
    return hashlib.sha256("".join(split.sha256 for split in splits).encode()).hexdigest()
