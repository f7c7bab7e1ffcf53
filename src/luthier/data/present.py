"""The dataset report: what scripts read by key. What people read is in `sections`."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from luthier.core.report import Level, Report
from luthier.core.text import plural
from luthier.data.clean.step import Notes
from luthier.data.convert import Seen
from luthier.data.outcome import Outcome
from luthier.data.output import Rewritten
from luthier.data.sections import sections

LOUDEST_FIRST: tuple[Level, ...] = ("failure", "warning", "note")


def present(outcome: Outcome, *, run: Path) -> Report:
    """Return the report; `run` is the run directory the next command goes on with."""
    page = shlex.quote(str(run / "data" / "report.html"))
    again = f"{shlex.quote(str(run / 'recipe.yaml'))} --out {shlex.quote(str(run))}"
    return Report(
        title="Dataset Validation Report",
        summary=summary(outcome),
        data=_data(outcome),
        sections=sections(outcome),
        findings=tuple(
            check.as_finding() for level in LOUDEST_FIRST for check in outcome.checks if check.status == level
        ),
        next_steps=(
            f"xdg-open {page}  # lengths, changes and dropped rows, to look through",
            f"luthier train {again}  # train on these rows",
            f"luthier run {again}  # the whole road: train, evaluate, merge, export",
        ),
    )


def summary(outcome: Outcome) -> str:
    """Return what came in and what became of it, in one sentence."""
    account, splits = outcome.account, outcome.splits
    held = [f"{splits[part]:,} for {part}" for part in ("valid", "test") if splits[part]]
    rest = "".join(f", {part}" for part in held)
    return (
        f"{plural(account.rows_in, 'row')} read, {account.kept:,} kept, {account.dropped:,} dropped: "
        f"{splits['train']:,} to train on{rest}."
    )


def _data(outcome: Outcome) -> dict[str, Any]:
    histograms = {"tokens": outcome.lengths, "turns": outcome.turns}
    return {
        "rows": outcome.account.as_dict(),
        "format": _format(outcome.seen, outcome.rewritten),
        "learned_from": outcome.rows,
        "labels": dict(outcome.labels),
        "splits": dict(outcome.splits),
        "checks": [check.as_dict() for check in outcome.checks],
        "tokens": {part: dict(values) for part, values in outcome.tokens.items()},
        "counted": outcome.counted,
        "max_length": asdict(outcome.limit),
        "histograms": {name: found.as_dict() for name, found in histograms.items() if found},
        "diversity": asdict(outcome.looked),
        "warnings": [check.details for check in outcome.checks if check.status == "warning"],
        "files": {name: dict(about) for name, about in outcome.written.items()},
        "encodings": {file.name: file.encoding for file in outcome.files},
        "told": {file.name: [*file.told] for file in outcome.files if file.told},
        "steps": [_step(name, notes) for name, notes in outcome.steps.items()],
        "leaks": [file.as_dict() for file in outcome.leaks],
        "fingerprint": outcome.fingerprint,
        "effort": asdict(outcome.effort) if outcome.effort else {},
    }


def _format(seen: Seen, rewritten: Rewritten | None) -> dict[str, Any]:
    detected = seen.formats.most_common(1)[0][0]
    mappings = [
        {"format": name, "fields": dict(columns), "rows": rows}
        for (name, columns), rows in seen.mappings.most_common(20)
    ]
    fields = next(dict(columns) for (name, columns), _ in seen.mappings.most_common() if name == detected)
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
