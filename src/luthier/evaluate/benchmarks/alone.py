"""Models against one by benchmarks alone, where there are no rows of the user's to compare on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from luthier.core.files import publish_folder
from luthier.core.progress import Progress
from luthier.core.publish import write_report
from luthier.core.report import Finding, Report, Section
from luthier.core.text import plural
from luthier.evaluate import regression
from luthier.evaluate.benchmarks.compared import Scored
from luthier.evaluate.benchmarks.part import Benchmarks, Done, verdict
from luthier.evaluate.candidates import Candidate, each, names, readings
from luthier.evaluate.compare import LATER, write_parts
from luthier.evaluate.subject import Setting, Told
from luthier.recipe.evaluate import Gate


@dataclass(frozen=True, slots=True)
class Pair:
    """What was found of one model beside the base."""

    summary: str
    data: dict[str, Any]
    told: Told
    sections: tuple[Section, ...]
    findings: tuple[Finding, ...]


def compare_benchmarks(
    candidates: Sequence[Candidate], part: Benchmarks, gate: Gate, *, setting: Setting, out: Path, progress: Progress
) -> Report:
    """Let models do the benchmarks, compare each with the first, write `out` in one step, and return the report.

    Raises:
        ModelError: A model can't be loaded, an adapter is not of this base, or one doesn't say how likely choices are.
    """
    base, *others = each(candidates, readings(candidates), setting, progress, part.measure)
    found = part.scored(base, others)
    pairs = [_pair(part, every, base, one, gate) for every, one in zip(found, others, strict=True)]
    report = _report(pairs, [one.told for one in candidates])
    with publish_folder(out) as folder:
        for called, pair in zip(names(len(candidates))[1:], pairs, strict=True):
            write_parts(folder, called, [pair.told])
        write_report(report, folder)
    return report


def _pair(part: Benchmarks, found: list[Scored], base: Done, tuned: Done, gate: Gate) -> Pair:
    told = part.told_of(found, base, tuned)
    says = verdict(found)
    refused = [*regression.refusals(gate.now(LATER), says, told.values)]
    failed = [f"{one.name}: {one.measure}" for one in told.kept if one.status == "FAIL"]
    return Pair(
        summary=_summary(found),
        data={
            "verdict": says,
            "metrics": [],
            **told.data,
            "regression": [one.as_dict() for one in told.kept],
            "gate": {"refused": [*refused, *failed]},
            "samples": [],
        },
        told=told,
        sections=(*told.sections, *regression.sections(told.kept)),
        findings=(*regression.findings(told.kept, refused), *told.findings),
    )


def _report(pairs: Sequence[Pair], models: Sequence[str]) -> Report:
    """Return the report: of the first model, and beside it of the others where there are some."""
    base, *tuned = models
    every = [{"models": {"base": base, "tuned": name}, **pair.data} for name, pair in zip(tuned, pairs, strict=True)]
    first = pairs[0]
    if len(pairs) == 1:
        title = "Base against tuned, by benchmarks"
        return Report(title, first.summary, every[0], sections=first.sections, findings=first.findings)
    named = [*zip(tuned, pairs, strict=True)]
    refused = [f"{name}: {why}" for name, pair in named for why in pair.data["gate"]["refused"]]
    return Report(
        title=f"{len(pairs)} models against one base, by benchmarks",
        summary=" ".join(f"{name}: {pair.summary}" for name, pair in named),
        data={**every[0], "gate": {"refused": refused}, "compared": every},
        sections=tuple(replace(one, title=f"{one.title}: {name}") for name, pair in named for one in pair.sections),
        findings=tuple(replace(one, text=f"{name}: {one.text}") for name, pair in named for one in pair.findings),
    )


def _summary(found: list[Scored]) -> str:
    said = [one for one in found if one.main and not one.part_of]
    verdicts = ("better", "worse", "same", "undecided")
    counted = {name: [one.task for one in said if one.verdict == name] for name in verdicts}
    told = "; ".join(f"{name} at {', '.join(tasks)}" for name, tasks in counted.items() if tasks)
    return f"{plural(len(said), 'benchmark')}: {told}."
