"""What a training did, told from its events: the same words whether or not it was interrupted."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from luthier.core.publish import write_report
from luthier.core.report import Finding, Number, Report, Section, Table
from luthier.core.text import human_bytes, human_seconds
from luthier.recipe.advice import holding_back
from luthier.recipe.methods import headed
from luthier.tokens.store import Stored
from luthier.train.account import Events, sections, unit
from luthier.train.history import lasting
from luthier.train.loop import Outcome
from luthier.train.step import examples_of
from luthier.train.watch import WINDOW, memorising, risen
from luthier.train.work import Work

SHARE = 0.02
"""Most of the time that may go into the page while a training runs: one of many steps is written less often."""


def report(work: Work, rows: Stored, outcome: Outcome, *, trainable: int) -> Report:
    """Return what training did, from the run's events: the same words whether or not it was interrupted."""
    plan, run = work.plan, work.run
    steps = [event for event in lasting(run.events(), "step") if event["step"] <= outcome.steps]
    evals = [event for event in lasting(run.events(), "eval") if event["step"] <= outcome.steps]
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
    table = Table(
        "",
        ("what", "value"),
        (
            ("optimizer steps", f"{outcome.steps:,}"),
            ("tokens seen", f"{data['tokens']:,}"),
            *(() if headed(work.recipe.train.objective) else (("of them learned", f"{data['supervised_tokens']:,}"),)),
            ("parameters that learn", f"{trainable:,}"),
            ("speed", f"{speed:,.0f} tokens/s over {human_seconds(seconds)} of steps"),
            ("peak memory", human_bytes(outcome.peak_memory_bytes)),
            ("precision", plan.precision),
        ),
    )
    return Report(
        title="Training",
        summary=_summary(outcome, losses, measured, unit(work.recipe)),
        data=data,
        sections=(Section("In short", (table,)), *sections(_until(run.events(), outcome.steps), work.recipe, plan)),
        findings=tuple(_findings(work, outcome, evals, steps)),
        next_steps=(f"luthier evaluate {run.path}  # is it better than the base?",),
    )


class LivePage:
    """Keeps `train/report.*` up to date while a run trains: a listener, told the run's events."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.due = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event; write the page after a measurement where it is due, and when training is interrupted."""
        over = event["kind"] == "state" and event.get("stage") == "train"
        began = time.monotonic()
        if over or (event["kind"] == "eval" and began >= self.due):
            write_report(self.report(), self.work.run / "train")
            ended = time.monotonic()
            self.due = ended + (ended - began) / SHARE

    def report(self) -> Report:
        """Return what can be told so far."""
        plan = self.work.plan
        events = self.work.run.events()
        steps, evals = (lasting(events, kind) for kind in ("step", "eval"))
        done = steps[-1]["step"] if steps else 0
        state = {"state": "training", "steps": done, "of": plan.steps}
        told = f"Training: step {done:,} of {plan.steps:,}"
        told += f"; training loss {steps[-1]['loss']:.3f}" if steps else ""
        told += f", held-out loss {evals[-1]['loss']:.3f}" if evals else ""
        return Report(
            "Training",
            f"{told}. While it trains, load the page again to see more.",
            state,
            sections(events, self.work.recipe, plan),
        )


def _until(events: Sequence[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """Return the events without the steps beyond the last one."""
    return [event for event in events if event.get("step", 0) <= step]


def _summary(outcome: Outcome, losses: Sequence[float], evals: Sequence[Mapping[str, Any]], told_in: str) -> str:
    text = f"{outcome.steps:,} steps; training loss {losses[0]:.3f} → {losses[-1]:.3f}"
    if evals:
        first, last = evals[0]["loss"], evals[-1]["loss"]
        text += f", held-out loss {first:.3f} → {last:.3f}"
    return f"{text} {told_in.removeprefix('loss ')}".rstrip() + "."


def _findings(work: Work, outcome: Outcome, evals: Events, steps: Events) -> Iterator[Finding]:
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
    shared = [event for event in work.run.events("stage") if event.get("parallel")]
    if shared:
        last = shared[-1]
        text = f"{last['processes']} processes shared the work by {last['parallel']}: {last['reason']}"
        yield Finding("note", text, "`train.parallel` chooses another way")
    if not evals:
        text = "no row was held out, so nothing shows whether the model learned or memorised"
        yield Finding("warning", text, holding_back(work.recipe))
    risen_again = [*_risen(work, evals, steps)] if evals and outcome.kept == outcome.steps else []
    yield from risen_again
    for event in work.run.events("warning"):
        if not (risen_again and event.get("about") in ("overfitting", "overshooting")):  # told above, with the end
            yield Finding("warning", event["text"], event.get("hint", ""))


def _risen(work: Work, evals: Events, steps: Events) -> Iterator[Finding]:
    """Tell when the held-out loss ends well above its lowest point, and what that comes from."""
    best = min(evals, key=lambda event: event["loss"])
    if not risen(evals[-1]["loss"], lowest=best["loss"], first=evals[0]["loss"]):
        return
    told = f"the held-out loss was lowest at step {best['step']} ({best['loss']:.3f}) and has risen since"
    losses = [event["loss"] for event in steps]
    before = [event["loss"] for event in steps if event["step"] <= best["step"]] or losses[:1]
    if memorising(before[-WINDOW:], losses[-WINDOW:]):
        epochs = best["step"] / work.plan.steps * work.plan.epochs
        shorter = f"train for about {epochs:.1g} epochs, or " if best["step"] else ""
        hint = f"{shorter}`--set train.keep=best`, or lower `train.learning_rate`"
        yield Finding("warning", f"{told}: the model has begun to memorise", hint)
    else:
        text = f"{told}, and the training loss with it: the steps are too large"
        yield Finding("warning", text, f"`--set train.learning_rate={work.plan.learning_rate / 3:.1g}`")
