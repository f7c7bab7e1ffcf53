"""What the events of a training show: curves, resources, checkpoints, what happened. A view of `events.jsonl` alone.

It holds while a training runs, after it was interrupted, and when it is done.
"""

import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from luthier.core.report import Block, Comparison, Curve, Section, Table
from luthier.core.text import human_bytes, human_seconds
from luthier.recipe.methods import loss_unit
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.train.history import lasting

SMOOTHING = 0.9
"""Weight of what was before in the smoothed loss: a mean over about ten logged steps."""

FEWEST = 20
"""Logged steps from which on a smoothed line shows more than the plain one."""

ANSWERS = 4
"""Answers of a prompt that are shown: the first, and the newest."""

FIXED = {
    *("time", "kind", "step", "loss", "learning_rate", "grad_norm", "tokens", "supervised_tokens", "seconds", "waited"),
    *("memory_bytes", "cores"),
}
"""What every objective's events hold. Any other number is a figure of the objective, and gets a curve."""

Events = Sequence[Mapping[str, Any]]
Points = tuple[tuple[float, float], ...]


def sections(events: Events, recipe: Recipe, plan: Plan) -> tuple[Section, ...]:
    """Return the sections of a training's report.

    Args:
        events: Of the run, oldest first.
        recipe: What was asked.
        plan: What was decided.
    """
    steps, evals, saved, samples = (lasting(events, kind) for kind in ("step", "eval", "checkpoint", "sample"))
    found = (
        Section("Loss", (*_loss(steps, evals, unit(recipe) or "loss"), *_measured(steps, evals, plan))),
        Section("How it went", tuple(_curves(steps, evals))),
        Section("Samples", tuple(_samples(samples))),
        Section("Resources", tuple(_resources(steps, plan))),
        Section("Checkpoints", tuple(_checkpoints(saved, evals))),
        Section("What happened", tuple(_happened(events))),
        Section("Configuration", (_configuration(recipe, plan),)),
    )
    return tuple(section for section in found if section.blocks)


def unit(recipe: Recipe) -> str:
    """Return what a recipe's loss is counted in; empty where that has no name."""
    return loss_unit(recipe.train.objective)


def _points(events: Events, name: str) -> Points:
    return tuple(
        (float(event["step"]), float(event[name])) for event in events if isinstance(event.get(name), int | float)
    )


def smoothed(points: Points) -> Points:
    """Return a moving mean whose weights fall by `SMOOTHING` a point, without the pull towards zero at the start.

    Source: Kingma and Ba, arXiv:1412.6980, section 3.
    """
    mean, weight, found = 0.0, 0.0, []
    for x, y in points:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * y
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        found.append((x, mean / weight))
    return tuple(found)


def _loss(steps: Events, evals: Events, told_in: str) -> Iterator[Block]:
    learned, held_out = _points(steps, "loss"), _points(evals, "loss")
    lines = [("training", learned)] if learned else []
    if len(learned) >= FEWEST:
        lines.append(("smoothed", smoothed(learned)))
    if held_out:
        lines.append(("held out", held_out))
        lines.append(("best", (min(held_out, key=lambda point: point[1]),)))
    if lines:
        yield Curve("Loss", "step", told_in, tuple(lines))


def _measured(steps: Events, evals: Events, plan: Plan) -> Iterator[Block]:
    """Yield a row for each measurement: where training was, and the mean loss of the steps that led there."""
    rows = []
    marks = [-1, *(event["step"] for event in evals)]
    at = [event["step"] for event in steps]
    for (before, here), event in zip(pairwise(marks), evals, strict=True):
        between = steps[bisect_right(at, before) : bisect_right(at, here)]
        mean = sum(step["loss"] for step in between) / len(between) if between else None
        rate = f"{between[-1]['learning_rate']:.2e}" if between else "–"
        epoch = f"{here / plan.steps * plan.epochs:.2f}"
        rows.append((epoch, f"{here:,}", "–" if mean is None else f"{mean:.4f}", f"{event['loss']:.4f}", rate))
    if rows:
        yield Table("", ("epoch", "step", "training loss, mean since", "held-out loss", "learning rate"), tuple(rows))


def _curves(steps: Events, evals: Events) -> Iterator[Block]:
    for name in _figures((*steps, *evals)):
        lines = [(told, _points(events, name)) for told, events in (("training", steps), ("held out", evals))]
        title = name.replace("_", " ").capitalize()
        yield Curve(title, "step", name.replace("_", " "), tuple(line for line in lines if line[1]))
    for title, name, told_in in (("Learning rate", "learning_rate", "rate"), ("Gradient", "grad_norm", "norm")):
        points = _points(steps, name)
        if points:
            yield Curve(title, "step", told_in, ((title.lower(), points),))


def _figures(events: Events) -> list[str]:
    """Return what an objective tells beside its loss, in the order in which it first did."""
    names = {name: None for event in events for name, value in event.items() if isinstance(value, int | float)}
    return [name for name in names if name not in FIXED]


def _samples(events: Events) -> Iterator[Block]:
    answers: dict[str, list[tuple[str, str]]] = {}
    for event in events:
        answers.setdefault(event["prompt"], []).append((f"step {event['step']:,}", event["answer"]))
    for prompt, told in answers.items():
        yield Comparison(prompt, tuple(told if len(told) <= ANSWERS else (told[0], *told[1 - ANSWERS :])))


def _resources(steps: Events, plan: Plan) -> Iterator[Block]:
    speed = tuple((float(event["step"]), event["tokens"] / event["seconds"]) for event in steps if event["seconds"])
    memory = tuple((x, y / 1e9) for x, y in _points(steps, "memory_bytes"))
    cores = [event["cores"] for event in steps if "cores" in event]
    rows = []
    if speed:
        seconds = sum(event["seconds"] for event in steps)
        rows.append(("time in the steps told", human_seconds(seconds)))
        rows.append(("speed", f"{sum(event['tokens'] for event in steps) / seconds:,.0f} tokens/s"))
    if memory:
        most = max(event["memory_bytes"] for event in steps if "memory_bytes" in event)
        rows.append(
            ("most memory held after a step", f"{human_bytes(most)} (planned: {human_bytes(plan.memory_bytes)})")
        )
    if cores:
        rows.append(("processor cores busy, mean", f"{sum(cores) / len(cores):.1f}"))
    if rows:
        yield Table("", ("what", "value"), tuple(rows))
    if speed:
        yield Curve("Speed", "step", "tokens per second", (("speed", speed),))
    if memory:
        yield Curve("Memory", "step", "GB", (("held after the step", memory),))


def _checkpoints(saved: Events, evals: Events) -> Iterator[Block]:
    if not saved:
        return
    losses = {event["step"]: event["loss"] for event in evals}
    known = losses.keys() & {event["step"] for event in saved}
    best = min(known, key=lambda step: (losses[step], step), default=None)
    rows = []
    for event in saved:
        step = event["step"]
        loss = f"{losses[step]:.4f}" if step in losses else "–"
        rows.append((f"{step:,}", _clock(event), loss, event["path"], "lowest" if step == best else ""))
    yield Table("", ("step", "written", "held-out loss", "folder", ""), tuple(rows))


def _happened(events: Events) -> Iterator[Block]:
    rows = [(_clock(event), _step(event), text) for event in events if (text := _words(event))]
    if rows:
        yield Table("", ("when", "step", "what"), tuple(rows))


def _words(event: Mapping[str, Any]) -> str:
    """Return what an event says to a person; nothing where a curve or a table says it."""
    match event["kind"]:
        case "warning":
            return f"warning: {event['text']}"
        case "state" if event.get("stage") == "train":
            why = f" by {event['signal']}" if "signal" in event else ""
            return f"training {event['state']}{why}"
        case "rollback":
            return f"training went back to this step, and on at {event['rate']:g} times the learning rate"
        case "stage" if event.get("stage") == "train" and "state" in event:
            return f"training {event['state']}"
    return ""


def _step(event: Mapping[str, Any]) -> str:
    return f"{event['step']:,}" if "step" in event else "–"


def _clock(event: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))


def _configuration(recipe: Recipe, plan: Plan) -> Table:
    rows = [("model", recipe.model)]
    for name in ("technique", "objective", "optimizer", "schedule"):
        values = getattr(recipe.train, name).model_dump(mode="json")
        kind = values.pop("kind")
        told = [
            f"{key.replace('_', ' ')} {value}" for key, value in values.items() if value not in (None, {}, [], False)
        ]
        rows.append((name, f"{kind}: {', '.join(told)}" if told else kind))
    for key in ("learning_rate", "batch_size", "epochs", "steps", "warmup_steps", "max_length", "precision"):
        value = getattr(plan, key)
        rows.append((key.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value)))
    rows.append(("seed", str(recipe.train.seed)))
    return Table("", ("parameter", "value"), tuple(rows))
