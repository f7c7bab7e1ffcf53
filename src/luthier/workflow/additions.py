"""What is added to an evaluation after it: each addition in a folder of its own, and one page that tells all.

evaluate/page.json    the evaluation's own report, as it was before anything was added
judge/page.json       what a judge said of the answers in evaluate/answers.jsonl
people/page.json      what people said of them
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.core.errors import RunError
from luthier.core.files import digest, sha256, write_json
from luthier.core.kept import again, kept
from luthier.core.publish import write_report
from luthier.core.report import Number, Report
from luthier.core.run import Run

if TYPE_CHECKING:
    from luthier.recipe.evaluate import Gate

ADDITIONS = ("judge", "people")
"""Folders of additions, and the keys of their data in the report."""

PAGE = "page.json"


def answers_of(run: Run) -> str | None:
    """Return the hash of the answers an addition is about, None where nothing was asked."""
    path = run / "evaluate" / "answers.jsonl"
    return sha256(path) if path.is_file() else None


def keep(run: Run, report: Report) -> None:
    """Keep an evaluation's report for what will be added to it."""
    write_json(run / "evaluate" / PAGE, kept(report))


def add(run: Run, name: str, report: Report, values: Mapping[str, Number], *, about: str) -> None:
    """Keep an addition.

    Args:
        run: The run it belongs to.
        name: One of `ADDITIONS`.
        report: What it says; its data is the value of its key.
        values: Numbers that a gate may ask for.
        about: What it hangs on besides the answers.
    """
    numbers = {key: number.as_dict() for key, number in values.items()}
    write_json(run / name / PAGE, {**kept(report), "values": numbers, "about": about, "answers": answers_of(run)})


def added(run: Run, name: str, *, about: str) -> bool:
    """Return whether an addition is there that hangs on the same."""
    found = _addition(run, name)
    return found is not None and found["about"] == about


def assembled(run: Run, gate: "Gate") -> Report:
    """Write an evaluation's report with what was added to it, and return it.

    Args:
        run: A run whose evaluation is finished.
        gate: What the result must be; limits of what was added are looked at here.

    Raises:
        RunError: The evaluation's report is not there, or damaged.
    """
    from luthier.evaluate import regression
    from luthier.evaluate.compare import LATER

    report = _page(run / "evaluate" / PAGE)
    data, values = dict(report.data), dict[str, Number]()
    sections, findings = [*report.sections], [*report.findings]
    for name in ADDITIONS:
        found = _addition(run, name)
        if found is None:
            continue
        addition = again(found)
        data[name] = addition.data
        values |= {key: Number(**number) for key, number in found["values"].items()}
        sections[-1:-1] = addition.sections  # how it was measured stands last
        findings += addition.findings
    refused = [*regression.refusals(gate.later(LATER), "undecided", values)]
    data["gate"] = {**data["gate"], "refused": [*data["gate"]["refused"], *refused]}
    whole = replace(
        report,
        data=data,
        sections=tuple(sections),
        findings=(*regression.findings((), refused), *findings),
    )
    write_report(whole, run / "evaluate")
    return whole


def files_of(run: Run) -> list[Path]:
    """Return what an evaluation left."""
    return sorted(path for path in (run / "evaluate").iterdir() if path.is_file())


def _page(path: Path) -> Report:
    try:
        return again(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RunError(
            f"the report of the evaluation can't be read ({type(error).__name__})",
            hint="delete the folder and evaluate again",
            place=str(path.parent),
        ) from error


def _addition(run: Run, name: str) -> dict[str, Any] | None:
    """Return an addition, None where there is none, or it is about other answers."""
    try:
        found: dict[str, Any] = json.loads((run / name / PAGE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("answers") == answers_of(run) else None


def about(*parts: Any) -> str:
    """Return what an addition hangs on, in a word."""
    return digest(list(parts))
