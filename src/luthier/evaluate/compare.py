"""Base against tuned model on held-out rows: likelihood of what should be learned, and answers side by side.

Shapes: R rows.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import DataError, Failed, ModelError
from luthier.core.example import Example, Message
from luthier.core.files import publish_folder, write_text
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Number, Report
from luthier.evaluate.account import Compared, Metric, findings, next_steps, sections, summary
from luthier.evaluate.likelihood import RowNll, learned_tokens, row_nll
from luthier.evaluate.stats import Paired, mean, paired, perplexity, share
from luthier.model.adapters import lora
from luthier.model.forward import precise
from luthier.model.generate import generate, room
from luthier.model.load import load_model, load_tokenizer, stop_ids, stored_as
from luthier.recipe.schema import Evaluate
from luthier.tokens.render import Encoded, Refused, Renderer


@dataclass(frozen=True, slots=True)
class HeldOutRows:
    """Rows both models are measured on, and how many were not, by reason."""

    examples: tuple[Example, ...]
    encoded: tuple[Encoded, ...]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class Question:
    """What both models are asked, and what the row answers."""

    example: Example
    ids: tuple[int, ...]
    prompt: str
    expected: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model did."""

    rows: RowNll
    answers: tuple[str, ...]
    cut: int
    """Answers that reached the limit before a stop token."""
    clipped: int
    """Prompts that did not fit the context."""


def compare(  # noqa: PLR0913 - each is a fact of its own
    *,
    recipe_model: str,
    base_path: Path,
    tuned_path: Path,
    rows: Sequence[Example],
    options: Evaluate,
    capacity: int,
    max_length: int,
    precision: str,
    out: Path,
    progress: Progress | None = None,
) -> Report:
    """Measure base and tuned model on the same rows, write `out` in one step, and return the report.

    Args:
        recipe_model: Name of the base model, as the user wrote it.
        base_path: Its folder.
        tuned_path: A folder with a PEFT adapter (the base is loaded once, the adapter switched off and on),
            or with a whole model (the two are loaded one after the other). Its tokenizer is used when it has
            one.
        rows: Rows neither model learned from. Those the template refuses, those longer than
            `max_length` and those without a learned token are left out and told.
        options: How many sample answers, and how long.
        capacity: Tokens of a forward pass, at least `max_length`.
        max_length: Longest row, in tokens: training's limit, so that the same kind of rows is measured.
        precision: `bf16` or `fp32`, as training computed.
        out: Folder for `report.json`, `.md`, `.html` and `samples.jsonl`; replaced when all is done.
        progress: Somebody who watches.

    Raises:
        DataError: No row can be measured.
        ModelError: A model can't be loaded, the adapter is not of this base, or a model lacks tokens.
        Failed: A model's loss is not a number.
    """
    home = tuned_path if (tuned_path / "tokenizer.json").is_file() else base_path
    stops = {*stop_ids(base_path), *stop_ids(tuned_path)}
    renderer = Renderer(load_tokenizer(home), sorted(stops))
    held_out = _held_out(rows, renderer, max_length)
    questions = _questions(held_out.examples, renderer, options.samples)
    measure = partial(
        _measure,
        held_out=held_out,
        questions=questions,
        renderer=renderer,
        max_new_tokens=options.max_new_tokens,
        capacity=capacity,
        precision=precision,
        progress=progress or Silent(),
    )
    base, tuned = _both(base_path, tuned_path, measure, precision)
    found = Compared(
        paired=paired(base.rows.nll_R, tuned.rows.nll_R, base.rows.tokens_R),
        tokens=int(base.rows.tokens_R.sum()),
        alike=bool(np.array_equal(base.rows.nll_R, tuned.rows.nll_R)),
        samples=_samples(questions, base, tuned),
        metrics=_metrics(base, tuned),
        cut={"base": base.cut, "tuned": tuned.cut},
        clipped=tuned.clipped,
        left_out=held_out.left_out,
        max_new_tokens=options.max_new_tokens,
        setting=f"{precision}, chat template of the {'tuned' if home == tuned_path else 'base'} model",
    )
    report = Report(
        title="Base against tuned",
        summary=summary(found),
        data=_data(found, {"base": recipe_model, "tuned": str(tuned_path)}),
        sections=sections(found),
        findings=tuple(findings(found)),
        next_steps=next_steps(found, out),
    )
    with publish_folder(out) as folder:
        lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in found.samples]
        write_text(folder / "samples.jsonl", "".join(lines))
        write_report(report, folder)
    return report


def _held_out(rows: Sequence[Example], renderer: Renderer, max_length: int) -> HeldOutRows:
    kept: list[tuple[Example, Encoded]] = []
    left_out: Counter[str] = Counter()
    for example in rows:
        encoded = renderer.encode(example)
        if isinstance(encoded, Refused):
            left_out["refused by the chat template"] += 1
        elif encoded.length > max_length:
            left_out[f"longer than {max_length:,} tokens"] += 1
        elif not learned_tokens(encoded):
            left_out["without a learned token"] += 1
        else:
            kept.append((example, encoded))
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "there is none"
        raise DataError(
            f"no held-out row can be measured ({why})",
            hint="hold rows back with `data.split.valid`, or raise `train.max_length`",
        )
    return HeldOutRows(tuple(row for row, _ in kept), tuple(ids for _, ids in kept), dict(left_out))


def _questions(examples: Sequence[Example], renderer: Renderer, count: int) -> list[Question]:
    """Return up to `count` questions, evenly spread over the rows that have one."""
    asked = [(example, place) for example in examples if (place := _last_answer(example)) > 0]
    count = min(count, len(asked))
    questions = []
    for example, place in [asked[index * len(asked) // count] for index in range(count)]:
        before = example.messages[:place]
        ids = tuple(renderer.prompt_ids(before))
        questions.append(Question(example, ids, _told(before), example.messages[place].text))
    return questions


def _last_answer(example: Example) -> int:
    """Return the place of the last assistant turn, −1 where there is none."""
    return max((place for place, turn in enumerate(example.messages) if turn.role == "assistant"), default=-1)


def _told(messages: Sequence[Message]) -> str:
    """Return a prompt as people read it: one turn by its text alone, several each with its role."""
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def _both(
    base_path: Path, tuned_path: Path, measure: Callable[[Any, str], Measured], precision: str
) -> tuple[Measured, Measured]:
    """Return what base and tuned model did. The weights of two models are never in memory together."""
    dtype = stored_as(precision)
    if (tuned_path / "adapter_config.json").is_file():
        model = _with_adapter(load_model(base_path, dtype=dtype), tuned_path)
        with model.disable_adapter():
            base = measure(model, "base")
        return base, measure(model, "tuned")
    if not (tuned_path / "config.json").is_file():
        raise ModelError(
            "this folder holds neither an adapter nor a model",
            hint="name the folder that training wrote: it holds adapter_config.json or config.json",
            place=str(tuned_path),
        )
    base = measure(load_model(base_path, dtype=dtype), "base")
    return base, measure(load_model(tuned_path, dtype=dtype), "tuned")


def _with_adapter(base: Any, folder: Path) -> Any:
    """Return the base with the adapter on it; one that fits in part is as wrong as one that doesn't."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            return lora.load(base, folder)
    except (OSError, ValueError, KeyError, RuntimeError, UserWarning) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the adapter can't be put on this base ({reason})",
            hint="name the base it was trained on, and check that adapter_model.safetensors is whole",
            place=str(folder),
        ) from error


def _measure(  # noqa: PLR0913 - the settings of one comparison
    model: Any,
    name: str,
    *,
    held_out: HeldOutRows,
    questions: Sequence[Question],
    renderer: Renderer,
    max_new_tokens: int,
    capacity: int,
    precision: str,
    progress: Progress,
) -> Measured:
    _knows_the_tokens(model, name, held_out.encoded)
    rows = row_nll(
        model,
        held_out.encoded,
        capacity=capacity,
        precision=precision,
        stage=f"measure {name}",
        progress=progress,
    )
    _is_a_number(rows, name, held_out.examples)
    tokenizer = renderer.tokenizer
    pad_id = next(iter(renderer.stop_ids)) if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    progress.start(f"ask {name}", len(questions), "prompt")
    with precise(model, precision):
        answers = generate(
            model,
            [question.ids for question in questions],
            stop_ids=renderer.stop_ids,
            max_new_tokens=max_new_tokens,
            pad_id=pad_id,
            on_done=progress.update,
        )
    progress.end()
    rooms = [room(model, len(question.ids), max_new_tokens=max_new_tokens) for question in questions]
    return Measured(
        rows=rows,
        answers=tuple(tokenizer.decode(answer, skip_special_tokens=True) for answer in answers),
        cut=sum(len(answer) >= space.answer for answer, space in zip(answers, rooms, strict=True)),
        clipped=sum(space.read < len(question.ids) for question, space in zip(questions, rooms, strict=True)),
    )


def _knows_the_tokens(model: Any, name: str, encoded: Sequence[Encoded]) -> None:
    known = model.get_input_embeddings().weight.shape[0]
    largest = max(int(row.input_ids.max()) for row in encoded)
    if largest >= known:
        raise ModelError(
            f"the {name} model knows {known:,} tokens, the rows hold token {largest:,}:"
            " perplexity per token can't be compared over different vocabularies",
            hint="compare models that share one tokenizer",
        )


def _is_a_number(rows: RowNll, name: str, examples: Sequence[Example]) -> None:
    wrong = np.flatnonzero(~np.isfinite(rows.nll_R)).tolist()
    if wrong:
        raise Failed(
            f"the loss of the {name} model is not a number on {len(wrong)} of {len(examples)} rows",
            hint="train with a smaller `train.learning_rate`, or with `--set train.precision=fp32`",
            place=str(examples[wrong[0]].source),
        )


def _samples(questions: Sequence[Question], base: Measured, tuned: Measured) -> list[dict[str, Any]]:
    return [
        {
            "source": {"file": question.example.source.file, "line": question.example.source.line},
            "prompt": question.prompt,
            "expected": question.expected,
            "base": before,
            "tuned": after,
        }
        for question, before, after in zip(questions, base.answers, tuned.answers, strict=True)
    ]


def _metrics(base: Measured, tuned: Measured) -> list[Metric]:
    count = len(base.answers)
    if not count:
        return []
    ended = [share(count - model.cut, count) for model in (base, tuned)]
    length = [mean([len(answer) for answer in model.answers]) for model in (base, tuned)]
    return [
        Metric("answers_ended", "sample answers that end by themselves", ended[0], ended[1], percent=True),
        Metric("answer_characters", "characters of a sample answer, mean", length[0], length[1], percent=False),
    ]


def _data(found: Compared, models: dict[str, str]) -> dict[str, Any]:
    """Return the keys scripts rely on."""
    numbers = found.paired
    change = perplexity(numbers.difference)
    least = numbers.detectable
    return {
        "models": models,
        "verdict": numbers.verdict,
        "perplexity": {
            "base": perplexity(numbers.base).as_dict(),
            "tuned": perplexity(numbers.tuned).as_dict(),
            "change": change.as_dict(),
        },
        "nll": {
            "base": numbers.base.as_dict(),
            "tuned": numbers.tuned.as_dict(),
            "difference": numbers.difference.as_dict(),
        },
        "detectable": {
            "nats_per_token": least,
            "perplexity_ratio": None if least is None else perplexity(Number(least, change.n)).value,
        },
        "rows": numbers.base.n,
        "tokens": found.tokens,
        "metrics": [metric.as_dict() for metric in found.metrics],
        "benchmarks": [],
        "regression": _regression(numbers, found.metrics),
        "samples": list(found.samples),
    }


def _regression(numbers: Paired, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return the measures on which the tuned model is worse by more than chance."""
    worse = []
    if numbers.verdict == "worse":
        base, tuned = perplexity(numbers.base), perplexity(numbers.tuned)
        worse.append({"name": "perplexity", "base": base.as_dict(), "tuned": tuned.as_dict()})
    for metric in metrics:
        if metric.percent and (metric.tuned.high or 0.0) < (metric.base.low or 0.0):
            worse.append(metric.as_dict())
    return worse
