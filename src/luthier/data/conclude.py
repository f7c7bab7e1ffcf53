"""What needs all rows: which are near, which are held out, the splits, and everything the report tells."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from luthier.core.example import Example
from luthier.core.progress import Progress
from luthier.data.alike import take_out_alike
from luthier.data.checks import run_checks
from luthier.data.clean import findings
from luthier.data.clean.privacy.told import checks as privacy_checks
from luthier.data.diversity import Diversity, Looking, spread
from luthier.data.evidence import Evidence
from luthier.data.held_back import checks, held_back, intruders, parts_of_files, say_their_parts
from luthier.data.histograms import counted
from luthier.data.intake import Intake
from luthier.data.kept import Numbers
from luthier.data.leakage.account import check, searched
from luthier.data.leakage.look import Leaks
from luthier.data.learned import Learned
from luthier.data.lengths import PARTS as MEASURED
from luthier.data.lengths import Lengths, Tokenizer
from luthier.data.outcome import FileRead, Limit, Outcome
from luthier.data.output import write_as
from luthier.data.semantic.embeddings import Embed
from luthier.data.split import PARTS, Parts
from luthier.data.traits import Spotted
from luthier.data.written import Written
from luthier.recipe.data import Data, Part
from luthier.recipe.methods import Rows
from luthier.recipe.schema import Train


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
    embed: Embed | None
    """What makes embeddings, where rows are compared by them."""


class LookedAt(NamedTuple):
    """What was seen of the rows while they were written."""

    example: Example
    """The first to train on."""
    diversity: Diversity


def conclude(
    intake: Intake, read: Sequence[FileRead], asked: Asked, folder: Path, name: str, progress: Progress
) -> Outcome:
    """Take out what only a look at all rows can, write the splits, and return everything that was found out.

    Args:
        intake: Has taken in all rows.
        read: The files, in their order.
        asked: What the stage was asked for.
        folder: Where the splits are written.
        name: How people know the folder.
        progress: Hears how many rows are embedded and compared, where they are.

    Raises:
        DataError: No row is left to train on.
        Failed: What should make embeddings doesn't.
    """
    alike = take_out_alike(intake, asked.data.clean, asked.rows, asked.embed, progress)
    read, fixed = _held_out(intake, read, asked, alike.clusters)
    leaks = searched(asked.leaks, intake.leaks, rows=intake.account.rows_in)
    clusters = alike.clusters[intake.kept.left] if alike.clusters is not None else None
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
            *alike.checks,
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
    intake: Intake, read: Sequence[FileRead], asked: Asked, clusters: Numbers | None
) -> tuple[list[FileRead], Parts]:
    """Take out what equals rows of files that are held out. Return the files as they are then, and the rows' parts."""
    kept = intake.kept
    own = say_their_parts(kept)
    of_files = parts_of_files([(file.part, file.kept) for file in read])

    def parts() -> Parts:
        return kept["own_part"] if own else of_files[kept.left]

    if (fixed := parts()).any():
        of_kept = clusters[kept.left] if clusters is not None else None
        intake.take_out(*intruders(kept, asked.data.split, fixed, clusters=of_kept))
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
