"""The training stage: from prepared rows and a plan to a trained model and its report."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError, ModelError
from luthier.core.example import Example, Source
from luthier.core.files import write_text
from luthier.core.progress import Progress
from luthier.core.report import Curve, Finding, Number, Report, Section, Table
from luthier.core.run import Run
from luthier.core.text import human_bytes, human_seconds
from luthier.model.adapters.adapted import Adapted
from luthier.model.load import load_model, load_tokenizer, stop_ids
from luthier.recipe.options import locate
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.batch import members
from luthier.tokens.render import Encoded, Renderer
from luthier.train.encode import Encoding, encode, read_examples
from luthier.train.keep import keep
from luthier.train.loop import HeldOut, Outcome, Work, train
from luthier.train.watch import leak

LEAK_LIMIT = 1e-3
"""Logits of an isolated document move by rounding at most (1e-5 in float32, exactly 0 where the kernel is the same)."""

HeldOutLoss = Callable[[Any, Sequence[Encoded], int, str], HeldOut]
"""Takes model, rows, pack size and precision; the evaluation stage's, handed in by the workflow."""


def train_model(
    recipe: Recipe, plan: Plan, run: Run, *, base: Path, key: str, held_out: HeldOutLoss, progress: Progress
) -> Report:
    """Train as planned, from the run's last checkpoint if it has one; leave the model in `run/model`.

    Raises:
        DataError: No row can be learned from.
        ModelError: The model can't be loaded, or its packed documents see each other.
    """
    run.log("stage", stage="train", state="began")
    renderer = Renderer(load_tokenizer(base), stop_ids(base))
    rows = _encoded(run / "data" / "train.jsonl", renderer, plan, progress)
    valid = _encoded(run / "data" / "valid.jsonl", renderer, plan, progress)
    if not rows.rows:
        raise DataError(
            f"no row can be learned from: {_why(rows)}",
            hint="raise `train.max_length`, or look at the rows named in left_out.jsonl",
            place=str(run / "data" / "train.jsonl"),
        )
    _account(run, rows.left_out + valid.left_out)
    technique = recipe.train.technique
    model = load_model(base)
    _isolated(model, len(renderer.tokenizer))
    adapted: Adapted = locate(technique)(model, technique, base=recipe.model, seed=recipe.train.seed)
    count = sum(parameter.numel() for parameter in adapted.trainable.values())
    run.log("stage", stage="train", trainable_parameters=count, rows=len(rows.rows), left_out=len(rows.left_out))

    def measure(model_in_training: Any) -> HeldOut:
        return held_out(model_in_training, valid.rows, plan.pack_tokens, plan.precision)

    work = Work(recipe, plan, run, key, adapted, rows.rows, measure if valid.rows else None)
    outcome = train(work, progress)
    keep(adapted, renderer, base=base, out=run / "model")
    return report(work, rows, outcome, trainable=count)


def _encoded(path: Path, renderer: Renderer, plan: Plan, progress: Progress) -> Encoding:
    examples: list[Example] = list(read_examples(path)) if path.is_file() else []
    return encode(examples, renderer, max_length=plan.max_length, progress=progress)


def _account(run: Run, left_out: Sequence[tuple[Source, str]]) -> None:
    """Name every row that could not be learned, in `left_out.jsonl`."""
    lines = [json.dumps({"source": source.file, "line": source.line, "reason": reason}) for source, reason in left_out]
    write_text(run / "left_out.jsonl", "".join(f"{line}\n" for line in lines))


def _why(encoding: Encoding) -> str:
    counts = Counter(reason for _, reason in encoding.left_out)
    return "; ".join(f"{count} rows {reason}" for reason, count in counts.most_common(3)) or "there is none"


def _isolated(model: Any, vocabulary: int) -> None:
    """Refuse a model whose packed documents see each other."""
    change = leak(model, vocabulary=vocabulary)
    if not change <= LEAK_LIMIT:
        raise ModelError(
            f"packed documents see each other in this architecture: logits moved by {change:.3g}",
            hint="report the architecture to us; until then use a Llama, Mistral or Qwen model",
        )


def report(work: Work, rows: Encoding, outcome: Outcome, *, trainable: int) -> Report:
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
        "rows": {"in": len(rows.rows) + len(rows.left_out), "learned": len(rows.rows), "left_out": len(rows.left_out)},
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
            ("tokens seen, learned", f"{data['tokens']:,}, {data['supervised_tokens']:,}"),
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
        findings=tuple(_findings(work, rows, evals)),
        next_steps=(f"luthier evaluate {run.path}  # is it better than the base?",),
    )


def _summary(plan: Plan, losses: Sequence[float], evals: Sequence[dict[str, Any]]) -> str:
    text = f"{plan.steps:,} steps; training loss {losses[0]:.3f} → {losses[-1]:.3f}"
    if evals:
        first, last = evals[0]["loss"], evals[-1]["loss"]
        text += f", held-out loss {first:.3f} → {last:.3f} nats per learned token"
    return text + "."


def _findings(work: Work, rows: Encoding, evals: Sequence[dict[str, Any]]) -> list[Finding]:
    findings = []
    if rows.left_out:
        findings.append(Finding("warning", f"{len(rows.left_out)} rows were left out: {_why(rows)}", "they are named in left_out.jsonl"))
    if rows.without_stop:
        findings.append(
            Finding("warning", f"{rows.without_stop} of {len(rows.rows)} rows end without a stop token: the model may not learn to end its answers", "check the model's chat template and eos_token")
        )
    if not evals:
        findings.append(Finding("warning", "no row was held out, so nothing shows whether the model learned or memorised", "set `data.split.valid` above 0"))
    elif len(evals) > 1:
        best = min(evals, key=lambda event: event["loss"])
        if evals[-1]["loss"] > best["loss"] + 0.02 * abs(best["loss"]):
            share = best["step"] / work.plan.steps
            findings.append(
                Finding("warning", f"the held-out loss was lowest at step {best['step']} ({best['loss']:.3f}) and has risen since: the model has begun to memorise", f"train for about {share * work.plan.epochs:.1g} epochs, or use a smaller learning rate")
            )
    if any(math.isclose(event["loss"], 0.0, abs_tol=1e-9) for event in work.run.events("step")):
        findings.append(Finding("warning", "a training loss of exactly 0 was logged", "check that the rows hold answers"))
    findings += [Finding("warning", event["text"]) for event in work.run.events("warning") if "repeated step" in event.get("text", "") or "damaged" in event.get("text", "")]
    return findings
