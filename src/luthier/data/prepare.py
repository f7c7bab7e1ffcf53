"""The data stage: sources in; train, valid, test, dropped and the dataset report out."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import orjson

from luthier.core.errors import DataError, LuthierError
from luthier.core.example import Example
from luthier.core.files import described, publish_folder
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Report
from luthier.data.account import Account
from luthier.data.checks import Spotted, run_checks
from luthier.data.clean import Cleaner, duplicates
from luthier.data.clean.step import Notes
from luthier.data.convert import Converter, unusable
from luthier.data.jsonl import example_line
from luthier.data.kept import Kept
from luthier.data.keys import parted, prompt_key
from luthier.data.learned import Learned
from luthier.data.lengths import CountTokens, Lengths
from luthier.data.present import FileRead, Outcome, present
from luthier.data.read import open_source, read
from luthier.data.readers import DOCUMENTS
from luthier.data.rows import RawRow, Read, Refusal, Unreadable
from luthier.data.sources import SourceFile, find_files, raise_all
from luthier.data.split import PARTS, assign
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

NOBODY = Silent()

ROWS_BETWEEN_UPDATES = 500

WAITING = ".kept.jsonl"
"""Kept rows until all are known: only then can every split be given at least one."""


def prepare(
    data: Data,
    out: Path,
    *,
    rows: Rows = "conversation",
    shown_as: Mapping[Path, str] | None = None,
    progress: Progress = NOBODY,
    count_tokens: CountTokens | None = None,
) -> Report:
    """Read, convert, clean, split and write the examples a recipe names, and account for every row.

    Args:
        data: The recipe's section.
        out: Folder for `train.jsonl`, `valid.jsonl` and `test.jsonl` (both may be empty), `dropped.jsonl` and
            `report.{json,md,html}`. It appears complete or not at all.
        rows: What the objective learns from: rows of other kinds are refused.
        shown_as: Names under which some source files are spoken of.
        progress: Hears how many bytes have been read.
        count_tokens: The model's tokenizer. None estimates lengths from bytes.

    Raises:
        DataError: A source can't be read, holds no row that fits, or nothing is left.
        Problems: Several of those.
    """
    files = find_files(data.sources, shown_as, rows=rows)
    with publish_folder(out) as folder:
        dropped = folder / "dropped.jsonl"
        with dropped.open("wb") as drops, (folder / WAITING).open("wb") as waiting:
            stage = Stage(data, rows, Account(drops), waiting, count_tokens)
            read_files = _take_in_all(stage, files, progress)
        stage.account.settle(dropped)
        _refuse_nothing_left(stage.account)
        report = present(_outcome(stage, read_files, folder, out.name), run=out.parent)
        write_report(report, folder)
    return report


class Stage:
    """The state of the stage while rows pass through it.

    Args:
        data: The recipe's section.
        rows: As in `prepare`.
        account: Counts rows and writes the dropped ones.
        waiting: Takes the lines of the kept rows.
        count_tokens: As in `prepare`.
    """

    def __init__(
        self, data: Data, rows: Rows, account: Account, waiting: BinaryIO, count_tokens: CountTokens | None
    ) -> None:
        self.data = data
        self.rows = rows
        self.account = account
        self.converter = Converter(data, rows)
        self.cleaner = Cleaner(data.clean)
        self.notes = {name: Notes() for name in self.cleaner.steps}
        self.duplicates = duplicates.Duplicates()
        self.kept = Kept()
        self.lengths = Lengths(count_tokens)
        self.spotted = Spotted()
        self.learned = Learned()
        self._waiting = waiting

    def take_in(self, item: Read) -> list[str | None]:
        """Keep a row or drop it, told in the account. Return whether it was kept, or the first reason.

        A pair for an objective that learns from judged answers counts as two rows.
        """
        if isinstance(item, Unreadable):
            self.account.rows_in += 1
            self.account.drop(item.raw, item.source, item.refusal)
            return [item.refusal.reason]
        example = self.converter.convert(item)
        if not isinstance(example, Refusal):
            (example,), notes = self.cleaner.clean([example])
            for name, noted in notes.items():
                self.notes[name].add(noted)
        if isinstance(example, Refusal):
            self.account.rows_in += 1
            return [self._drop(item, example)]
        examples = as_learned(example, self.rows)
        self.account.rows_in += len(examples)
        return [self._keep(item, example) for example in examples]

    def _keep(self, item: RawRow, example: Example) -> str | None:
        """Keep an example unless it can't be written or is there already."""
        line = example_line(example)
        if isinstance(line, Refusal):
            return self._drop(item, line)
        lines = parted(example)
        key = lines.key()
        if self.data.clean.duplicates and (matched := self.duplicates.match(key, example.source)):
            self.account.drop(item.row, item.source, duplicates.refusal(matched))
            return "duplicate"
        self._waiting.write(line)
        self.account.kept += 1
        prompt = prompt_key(lines.prompt, seed=self.data.split.seed)
        self.kept.add(example.source, prompt=prompt, key=key, opposite=lines.opposite())
        self.learned.look(example)
        self.lengths.add(example)
        self.spotted.look(example)
        return None

    def _drop(self, item: RawRow, refusal: Refusal) -> str:
        self.account.drop(item.row, item.source, refusal)
        return refusal.reason


def as_learned(example: Example, rows: Rows) -> list[Example]:
    """Return the example, or where a pair has come and the objective wants judged answers, both of its answers."""
    if not example.rejected or rows != "judged":
        return [example]
    good = replace(example, rejected=(), margin=None, label=True)
    return [good, replace(good, messages=example.rejected, label=False)]


@dataclass(slots=True)
class Tally:
    """What became of the rows of one file."""

    reasons: Counter[str | None]
    columns: dict[str, None]
    """Column names seen, in order."""
    first_unreadable: Unreadable | None = None
    readable: int = 0


def _take_in_all(stage: Stage, files: Sequence[SourceFile], progress: Progress) -> list[FileRead]:
    """Take in every file; raise what is wrong with any of them, together, at the end."""
    progress.start("prepare", sum(file.size for file in files), "byte")
    done: list[FileRead] = []
    problems: list[LuthierError] = []
    before = 0
    for file in files:
        try:
            done.append(_take_in_file(stage, file, progress, before))
        except LuthierError as problem:
            problems.append(problem)
        before += file.size
        progress.update(before, file.name)
    raise_all(problems)
    stage.lengths.flush()
    progress.end()
    return done


def _take_in_file(stage: Stage, file: SourceFile, progress: Progress, before: int) -> FileRead:
    opened = open_source(file)
    tally = Tally(Counter(), {})
    for number, item in enumerate(read(opened)):
        if number % ROWS_BETWEEN_UPDATES == 0:
            progress.update(before + opened.position, file.name)
        tally.reasons.update(stage.take_in(item))
        if isinstance(item, RawRow):
            tally.readable += 1
            if tally.readable <= ROWS_BETWEEN_UPDATES:
                tally.columns.update(dict.fromkeys(item.row))
        elif tally.first_unreadable is None:
            tally.first_unreadable = item
    _refuse_useless(tally, file, stage.data, stage.rows)
    rows = tally.reasons.total()
    return FileRead(file.name, opened.encoding, file.size, rows=rows, kept=tally.reasons[None])


def _refuse_useless(tally: Tally, file: SourceFile, data: Data, rows: Rows) -> None:
    """Raise when a file gives nothing at all for a reason that lies in the file as a whole."""
    if not tally.reasons:
        raise DataError("no row in this file", hint="remove it from `data.sources`, or name another", place=file.name)
    if file.path.suffix.lower() in DOCUMENTS:
        return  # a row like any other
    if tally.first_unreadable and not tally.readable:
        first = tally.first_unreadable
        raise DataError(
            f"none of the {tally.reasons.total():,} rows can be read; the first: {first.refusal.detail}",
            hint="check that the file's extension says what it is",
            place=str(first.source),
        )
    if tally.reasons["unknown_format"] == tally.readable:
        raise unusable(file.name, [*tally.columns], data, rows)


def _refuse_nothing_left(account: Account) -> None:
    if account.kept:
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in account.by_reason.most_common())
    reason, first = next(iter(account.first.items()))
    raise DataError(
        f"no row is left of {account.rows_in:,}: {counts}",
        hint=f"the first is {reason}: {first.detail}; correct the rows, `data.format` or `data.fields`",
        place=str(first.source),
    )


def _outcome(stage: Stage, files: Sequence[FileRead], folder: Path, name: str) -> Outcome:
    splits, example = _distribute(stage, folder)
    written = {file: described(folder / f"{file}.jsonl", folder) for file in (*PARTS, "dropped")}
    return Outcome(
        files=files,
        account=stage.account,
        seen=stage.converter.seen,
        steps=stage.notes,
        checks=run_checks(
            stage.rows, stage.spotted, stage.converter.seen, stage.account, stage.kept, stage.lengths, stage.learned
        ),
        splits=splits,
        tokens=stage.lengths.summary(),
        written={file: {**about, "path": f"{name}/{about['path']}"} for file, about in written.items()},
        fingerprint=_fingerprint(folder),
        example=example,
        rows=stage.rows,
        labels=stage.learned.labels,
    )


def _distribute(stage: Stage, folder: Path) -> tuple[dict[str, int], Example]:
    """Copy the waiting lines to their splits. Return the counts, and the first example to train on."""
    parts = assign(stage.kept.prompts, stage.data.split, classes=stage.learned.classes)
    handles = {part: (folder / f"{part}.jsonl").open("wb") for part in PARTS}
    waiting = folder / WAITING
    first: bytes | None = None
    try:
        with waiting.open("rb") as lines:
            for line, part in zip(lines, parts, strict=True):
                handles[part].write(line)
                if first is None and part == "train":
                    first = line
    finally:
        for handle in handles.values():
            handle.close()
    waiting.unlink()
    assert first is not None, "train is never empty"
    counts = Counter(parts)
    return {part: counts[part] for part in PARTS}, Example.from_dict(orjson.loads(first))


def _fingerprint(folder: Path) -> str:
    """Return the SHA-256 over the splits one after the other: what was learned from, in one word."""
    digest = hashlib.sha256()
    for part in PARTS:
        with (folder / f"{part}.jsonl").open("rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
