"""What a training did, told from its events: the same words whether or not it was interrupted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from luthier.core.report import Curve, Finding, Number, Report, Section, Table
from luthier.core.text import human_bytes, human_seconds, plural
from luthier.recipe.plan import Plan
from luthier.tokens.batch import members
from luthier.train.encode import Encoding
from luthier.train.loop import Outcome, Work


def report(work: Work, rows: Encoding, outcome: Outcome, *, trainable: int, planned_steps: int) -> Report:
    """Return what training did, from the run's events: the same words whether or not it was interrupted."""
    plan, run = work.plan, work.run
    steps = [event for event in run.events("step") if event["step"] <= plan.steps]
    evals = [event for event in run.events("eval") if event["step"] <= plan.steps]
    chosen = [
        i
        for step in range(plan.steps)
        for i in members(step, len(work.rows), batch_size=plan.batch_size, seed=work.recipe.train.seed)
    ]
    losses = [event["loss"] for event in steps]
    seconds = sum(event["seconds"] for event in steps)
    speed = sum(event["tokens"] for event in steps) / seconds if seconds else 0.0
    last = Number(evals[-1]["loss"], evals[-1]["tokens"]).as_dict() if evals else None
    data = {
        "state": "done",
        "steps": plan.steps,
        "tokens": sum(work.rows[i].length for i in chosen),
        "supervised_tokens": sum(int(work.rows[i].learned[1:].sum()) for i in chosen),
        "tokens_per_second": speed,
        "loss": {"first": losses[0], "last": losses[-1], "best": min(losses)},
        "valid_loss": last,
        "trainable_parameters": trainable,
        "rows": {
            "in": len(rows.rows) + len(rows.left_out),
            "learned": len(rows.rows),
            "left_out": len(rows.left_out),
        },
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "resumed_from": outcome.resumed_from or None,
        "model": "model",
    }
    lines = [("training", tuple((float(event["step"]), float(event["loss"])) for event in steps))]
    if evals:
        lines.append(("held out", tuple((float(event["step"]), float(event["loss"])) for event in evals)))
    table = Table(
        "",
        ("what", "value"),
        (
            ("optimizer steps", f"{plan.steps:,}"),
            ("tokens seen", f"{data['tokens']:,}"),
            ("of them learned", f"{data['supervised_tokens']:,}"),
            ("parameters that learn", f"{trainable:,}"),
            ("speed", f"{speed:,.0f} tokens/s over {human_seconds(seconds)} of steps"),
            ("peak memory", human_bytes(outcome.peak_memory_bytes)),
            ("precision", plan.precision),
        ),
    )
    return Report(
        title="Training",
        summary=_summary(plan, losses, evals),
        data=data,
        sections=(Section("Loss", (Curve("Loss", "step", "nats per learned token", tuple(lines)), table)),),
        findings=(*_fewer_steps(plan, planned_steps), *_findings(work, rows, evals)),
        next_steps=(f"luthier evaluate {run.path}  # is it better than the base?",),
    )


def _summary(plan: Plan, losses: Sequence[float], evals: Sequence[dict[str, Any]]) -> str:
    text = f"{plan.steps:,} steps; training loss {losses[0]:.3f} → {losses[-1]:.3f}"
    if evals:
        first, last = evals[0]["loss"], evals[-1]["loss"]
        text += f", held-out loss {first:.3f} → {last:.3f} nats per learned token"
    return text + "."


def _fewer_steps(plan: Plan, planned: int) -> Iterator[Finding]:
    if plan.steps != planned:
        text = f"{plan.steps:,} steps instead of the {planned:,} planned: as many passes over the rows that fit"
        yield Finding("note", text)


def _findings(work: Work, rows: Encoding, evals: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    if rows.left_out:
        text = f"{plural(len(rows.left_out), 'row')} left out: {reasons(rows)}"
        yield Finding("warning", text, "they are named in left_out.jsonl")
    if rows.without_stop:
        share = f"{rows.without_stop} of {plural(len(rows.rows), 'row')}"
        text = f"{share} end without a stop token: the model may not learn to end its answers"
        yield Finding("warning", text, "check the model's chat template and eos_token")
    if not evals:
        text = "no row was held out, so nothing shows whether the model learned or memorised"
        yield Finding("warning", text, "set `data.split.valid` above 0")
    else:
        yield from _overfitting(work, evals)
    for event in work.run.events("warning"):
        yield Finding("warning", event["text"])


def _overfitting(work: Work, evals: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """Tell when the held-out loss ends more than 2 % above its lowest point."""
    best = min(evals, key=lambda event: event["loss"])
    if evals[-1]["loss"] > 1.02 * best["loss"]:
        epochs = best["step"] / work.plan.steps * work.plan.epochs
        lowest = f"was lowest at step {best['step']} ({best['loss']:.3f})"
        text = f"the held-out loss {lowest} and has risen since: the model has begun to memorise"
        shorter = f"train for about {epochs:.1g} epochs, or " if best["step"] else ""
        yield Finding("warning", text, f"{shorter}lower `train.learning_rate`")


def reasons(encoding: Encoding) -> str:
    """Return why rows were left out, in words, the commonest reasons first."""
    counts = Counter(reason for _, reason in encoding.left_out)
    return "; ".join(f"{count} rows {reason}" for reason, count in counts.most_common(3)) or "there is none"
