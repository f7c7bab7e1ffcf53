"""The page a person keeps: what was asked, decided, done, measured, and what to do next. Built from stage reports."""

from collections.abc import Iterator, Sequence
from typing import Any

from luthier.core.hardware import Hardware
from luthier.core.markdown import short_number
from luthier.core.report import Block, Comparison, Curve, Finding, Level, Report, Section, Table
from luthier.core.run import Run
from luthier.core.text import human_bytes, plural
from luthier.recipe.advice import advice
from luthier.recipe.facts import ModelFacts, RowFacts
from luthier.recipe.methods import Objective, Rows, headed, loss_unit
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe

SHOWN_ANSWERS = 4
"""Before-and-after pairs on the page; the rest is in evaluate/samples.jsonl."""

LIKELY: dict[Rows, str] = {
    "conversation": "held-out conversations",
    "text": "held-out documents",
    "pair": "better endings held out",
    "judged": "good answers held out",
}
"""What perplexity is taken of, by what the objective learns from."""

BYTES = ("memory_bytes",)


def plan_report(
    recipe: Recipe, plan: Plan, model: ModelFacts, rows: RowFacts, machine: Hardware, counted: Report | None = None
) -> Report:
    """Return the plan as a report: every value, and why; and what will be learned, where tokens were counted."""
    values = plan.as_dict()
    table = tuple(
        (name.replace("_", " "), _value(name, entry["value"]), entry["reason"]) for name, entry in values.items()
    )
    summary = (
        f"{plan.technique} on {model.name} ({model.parameters / 1e6:,.1f} M parameters): {plural(plan.steps, 'step')} "
        f"of {plural(plan.batch_size, 'example')}, {plan.precision}, about {human_bytes(plan.memory_bytes)} of memory."
    )
    return Report(
        title="Plan",
        summary=summary,
        data={
            "values": values,
            "model": model.as_dict(),
            "rows": rows.as_dict(),
            "hardware": machine.as_dict(),
            "tokens": counted.data if counted else None,
        },
        sections=(
            Section("Decisions", (Table("", ("what", "value", "why"), table),)),
            *(counted.sections if counted else ()),
        ),
        findings=(*advice(recipe, plan, model, rows, machine), *(counted.findings if counted else ())),
    )


def _value(name: str, value: Any) -> str:
    if name in BYTES:
        return human_bytes(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def report(recipe: Recipe, run: Run, stages: dict[str, Any]) -> Report:
    """Return the whole road as one report.

    Args:
        recipe: What was asked.
        run: Where it was done.
        stages: Each stage's own report as JSON, under its name; `export` holds a list.
    """
    sections = [
        Section("Data", (_data(stages["prepare"]),)),
        Section("Decisions", (_decisions(stages["plan"]),)),
        Section("Training", tuple(_training(run, stages["train"], recipe.train.objective))),
    ]
    if "evaluate" in stages:
        sections.append(Section("Better or not", tuple(_proof(stages["evaluate"], recipe.train.objective.rows))))
    if _artefacts(stages):
        sections.append(Section("Files", (_files(stages),)))
    return Report(
        title=f"luthier: {recipe.name}",
        summary=_summary(stages),
        data={**stages, "run": str(run.path)},
        sections=tuple(sections),
        findings=tuple(_findings(stages)),
        next_steps=_next(recipe, run, stages),
    )


def _summary(stages: dict[str, Any]) -> str:
    verdict: str = stages["evaluate"]["summary"] if "evaluate" in stages else stages["train"]["summary"]
    proofs = _artefacts(stages)
    if not proofs and stages.get("evaluate", {}).get("gate", {}).get("refused"):
        return f"{verdict} The gate says no: what was learned is in `model`, and was not merged."
    if not proofs:
        return f"{verdict} What was learned is the adapter in `model`: it can't be merged."
    passed = sum(entry["certificate"]["status"] == "passed" for entry in proofs)
    if passed == len(proofs):
        words = "The certificate" if passed == 1 else f"All {passed} certificates"
        return f"{verdict} {words} passed: what is served is what was trained."
    return f"{verdict} {len(proofs) - passed} of {plural(len(proofs), 'certificate')} failed: do not serve those files."


def _data(prepare: dict[str, Any]) -> Block:
    rows, splits = prepare["rows"], prepare["splits"]
    lines = [("rows read", f"{rows['in']:,}"), ("kept", f"{rows['kept']:,}")]
    lines += [(f"dropped: {reason}", f"{count:,}") for reason, count in rows["by_reason"].items()]
    lines += [(f"{name} split", f"{count:,}") for name, count in splits.items() if count]
    return Table("", ("rows", "count"), tuple(lines))


def _decisions(plan: dict[str, Any]) -> Block:
    shown = ("technique", "learning_rate", "batch_size", "epochs", "steps", "precision", "memory_bytes")
    rows = tuple(
        (name.replace("_", " "), _value(name, plan["values"][name]["value"]), plan["values"][name]["reason"])
        for name in shown
    )
    return Table("", ("what", "value", "why"), rows)


def _training(run: Run, train: dict[str, Any], objective: Objective) -> Iterator[Block]:
    lines = []
    for name, kind in (("training", "step"), ("held out", "eval")):
        points = tuple((float(event["step"]), float(event["loss"])) for event in run.events(kind))
        if points:
            lines.append((name, points))
    yield Curve("Loss", "step", loss_unit(objective), tuple(lines))
    yield Table(
        "",
        ("what", "value"),
        (
            ("optimizer steps", f"{train['steps']:,}"),
            ("tokens seen", f"{train['tokens']:,}"),
            *(() if headed(objective) else (("of them learned", f"{train['supervised_tokens']:,}"),)),
            ("speed", f"{train['tokens_per_second']:,.0f} tokens/s"),
            ("peak memory", human_bytes(train["peak_memory_bytes"])),
        ),
    )


def _proof(evaluate: dict[str, Any], learned_from: Rows) -> Iterator[Block]:
    if "perplexity" in evaluate:
        perplexity = evaluate["perplexity"]
        names = {"base": "base", "tuned": "tuned", "change": "tuned / base"}
        rows = tuple((told, _number(perplexity[name]), f"{perplexity[name]['n']:,}") for name, told in names.items())
        yield Table(f"Perplexity of {LIKELY[learned_from]}, 95 % intervals", ("model", "value", "of"), rows)
    measures = tuple(
        (
            metric["name"].replace("_", " "),
            _number(metric["base"]),
            _number(metric["tuned"]),
            f"{metric['tuned']['n']:,}",
        )
        for metric in evaluate["metrics"]
    )
    if measures:
        first = "base" if "perplexity" in evaluate else "without a model"
        title = "Other measures" if "perplexity" in evaluate else "Measures"
        yield Table(f"{title}, 95 % intervals", ("measure", first, "tuned", "of"), measures)
    for sample in evaluate["samples"][:SHOWN_ANSWERS]:
        answers = (("before", sample["base"]), ("after", sample["tuned"]), ("wanted", sample["expected"]))
        yield Comparison(sample["prompt"], answers)


def _number(number: dict[str, Any]) -> str:
    if number["low"] is None:
        return short_number(number["value"])
    return f"{short_number(number['value'])} ({short_number(number['low'])} to {short_number(number['high'])})"


def _files(stages: dict[str, Any]) -> Block:
    rows = []
    for entry in _artefacts(stages):
        proof = entry["certificate"]
        words = _proof_words(proof)
        biggest = max(entry["files"], key=lambda file: file["bytes"])
        rows.append((biggest["path"], human_bytes(biggest["bytes"]), words))
    return Table("", ("file", "size", "certificate"), tuple(rows))


def _artefacts(stages: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the reports of what has a certificate: nothing where the technique can't be merged."""
    return [*([stages["merge"]] if "merge" in stages else []), *stages["export"]]


def _proof_words(proof: dict[str, Any]) -> str:
    if "mean_difference" in proof:
        gap, spread = proof["mean_difference"], proof["spread"]
        return f"{proof['status']}: scores differ by {gap:.1e} on average, and spread by {spread:.2g}"
    if proof["mean_kl"] is None:  # it could not be measured: the certificate says why
        return f"{proof['status']}: {proof['compared']}"
    divergence = f"KL {proof['mean_kl']:.1e} mean, {proof['max_kl']:.1e} worst"
    return f"{proof['status']}: {divergence}; same first choice {proof['top1_agreement']:.1%}"


def _findings(stages: dict[str, Any]) -> Iterator[Finding]:
    """Yield what every stage wants read, without what is merely fine."""
    entries: list[tuple[str, dict[str, Any]]] = [
        (name, stages[name]) for name in ("prepare", "plan", "train", "evaluate", "merge") if name in stages
    ]
    entries += [("export", entry) for entry in stages["export"]]
    seen: set[str] = set()  # training tells again what the plan told of the rows
    for name, entry in entries:
        for finding in entry["findings"]:
            level: Level = finding["level"]
            if level in ("warning", "gate", "failure") and finding["text"] not in seen:
                seen.add(finding["text"])
                yield Finding(level, f"{name}: {finding['text']}", finding["hint"])


def _next(recipe: Recipe, run: Run, stages: dict[str, Any]) -> tuple[str, ...]:
    steps = [f"xdg-open {run.path}/report.html  # this page, with the curve"]
    ggufs: Sequence[str] = [
        file["path"] for entry in stages["export"] for file in entry["files"] if file["path"].endswith(".gguf")
    ]
    if ggufs:
        steps.append(f"llama-cli -m {run.path}/{ggufs[-1]}  # talk to it, where llama.cpp is installed")
    elif "merge" in stages and not headed(recipe.train.objective):
        steps.append(f"luthier export {run.path} --to gguf --quant q8_0  # one file for llama.cpp and Ollama")
    if recipe.data.sources == ("bundled",):
        steps.append("luthier init --data YOUR_FILE --model NAME_OR_FOLDER  # now with your own data")
    return tuple(steps)
