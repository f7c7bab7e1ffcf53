"""What a training did, told from its events: the same words whether or not it was interrupted."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from luthier.core.report import Curve, Finding, Number, Report, Section, Table
from luthier.core.text import human_bytes, human_seconds
from luthier.tokens.store import Stored
from luthier.train.loop import Outcome
from luthier.train.step import examples_of
from luthier.train.work import Work


def report(work: Work, rows: Stored, outcome: Outcome, *, trainable: int) -> Report:
    """Return what training did, from the run's events: the same words whether or not it was interrupted."""
    plan, run = work.plan, work.run
    steps = [event for event in run.events("step") if event["step"] <= outcome.steps]
    evals = [event for event in run.events("eval") if event["step"] <= outcome.steps]
    texts = work.objective.texts
    examples = np.concatenate([examples_of(work, step) for step in range(outcome.steps)])
    chosen = np.concatenate([examples * texts + text for text in range(texts)])
    losses = [event["loss"] for event in steps]
    seconds = sum(event["seconds"] for event in steps)
    speed = sum(event["tokens"] for event in steps) / seconds if seconds else 0.0
    measured = [event for event in evals if event["step"] <= outcome.kept]
    last = Number(measured[-1]["loss"], measured[-1]["tokens"]).as_dict() if measured else None
    left_out = sum(1 for _ in rows.left_out())
    data = {
        "state": "done",
        "steps": outcome.steps,
        "stopped_early": outcome.steps < plan.steps,
        "kept_step": outcome.kept,
        "tokens": int(rows.lengths[chosen].sum()),
        "supervised_tokens": int(rows.learned[chosen].sum()),
        "tokens_per_second": speed,
        "loss": {"first": losses[0], "last": losses[-1], "best": min(losses)},
        "valid_loss": last,
        "trainable_parameters": trainable,
        "rows": {
            "in": rows.total("examples"),
            "learned": rows.total("examples") - left_out,
            "left_out": left_out,
            "texts": len(rows),
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
            ("optimizer steps", f"{outcome.steps:,}"),
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
        summary=_summary(outcome, losses, measured),
        data=data,
        sections=(Section("Loss", (Curve("Loss", "step", "nats per learned token", tuple(lines)), table)),),
        findings=tuple(_findings(work, outcome, evals)),
        next_steps=(f"luthier evaluate {run.path}  # is it better than the base?",),
    )


def _summary(outcome: Outcome, losses: Sequence[float], evals: Sequence[dict[str, Any]]) -> str:
    text = f"{outcome.steps:,} steps; training loss {losses[0]:.3f} → {losses[-1]:.3f}"
    if evals:
        first, last = evals[0]["loss"], evals[-1]["loss"]
        text += f", held-out loss {first:.3f} → {last:.3f} nats per learned token"
    return text + "."


def _findings(work: Work, outcome: Outcome, evals: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    if outcome.steps < work.plan.steps:
        text = f"stopped after {outcome.steps:,} of {work.plan.steps:,} steps: the held-out loss no longer fell"
        yield Finding("note", text, "raise `train.early_stopping.patience` to wait longer")
    if outcome.kept < outcome.steps:
        text = f"the model has the weights of step {outcome.kept:,}, where the held-out loss was lowest"
        yield Finding("note", text, "`--set train.keep=last` takes the last ones")
    for event in work.run.events("stage"):
        if event.get("batching") == "padded":
            text = f"rows are padded and sorted by length, not packed: {event['reason']}"
            yield Finding("note", text, "a model with plain softmax attention trains faster")
            break
    if not evals:
        text = "no row was held out, so nothing shows whether the model learned or memorised"
        yield Finding("warning", text, "set `data.split.valid` above 0")
    elif outcome.kept == outcome.steps:
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
        yield Finding("warning", text, f"{shorter}`--set train.keep=best`, or lower `train.learning_rate`")
