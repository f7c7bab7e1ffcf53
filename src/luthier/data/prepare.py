"""The data stage: sources in; train, valid, test, dropped and the dataset report out.

Readers give batches, a refiner makes of each what becomes of it, and the intake takes that in, in order. Then comes
what needs all rows: splits and the report.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from luthier.core.errors import DataError, LuthierError
from luthier.core.files import publish_folder
from luthier.core.hardware import peak_memory
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Report
from luthier.core.run import COPIES
from luthier.data.batches import Batch, Limits, batches
from luthier.data.clean.privacy import shown, vault
from luthier.data.conclude import Asked, conclude
from luthier.data.first import columns, no_such_column
from luthier.data.intake import Intake
from luthier.data.kept import Kept
from luthier.data.leakage.look import looker
from luthier.data.lengths import UNKNOWN, Tokenizer
from luthier.data.outcome import Effort, FileRead
from luthier.data.present import present
from luthier.data.reasons import REASONS
from luthier.data.refine import Refined, Refiner
from luthier.data.semantic.settle import embedder
from luthier.data.sources import SourceFile, files_of, raise_all
from luthier.data.tally import Tally
from luthier.data.workers import Crew, how_many
from luthier.recipe.data import Data, Part
from luthier.recipe.methods import Rows
from luthier.recipe.schema import Train

NOBODY = Silent()

LIMITS = Limits()

USUAL = Train()


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
        RecipeError: A function that the recipe names isn't there.
        Failed: It raises, or returns what it shouldn't.
    """
    began = time.monotonic()
    named = files_of(data, shown_as, rows=rows)
    files = [file for _, file in named]
    copied = not {out.with_name(name) for name in COPIES}.isdisjoint(file.path for file in files)
    asked = Asked(data, rows, tokenizer, looker(data.decontaminate), train, copied, embedder(data.clean))
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
        outcome = conclude(intake, read, asked, folder, out.name, progress)
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
