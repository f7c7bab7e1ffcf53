"""Base against tuned model on held-out rows: likelihood of what should be learned, and answers side by side.

A conversation is one observation, also where the template rewrites history and it becomes several texts: those share
most of their words.

Shapes: R texts, C conversations.
"""
# ruff: noqa: N806 - names end in the letters of their shape

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.core.errors import DataError, Failed, ModelError
from luthier.core.example import Example, Message, Source
from luthier.core.files import publish_folder, write_text
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Number, Report
from luthier.evaluate.account import Compared, Metric, findings, next_steps, sections, summary
from luthier.evaluate.answers import expected_of, score
from luthier.evaluate.likelihood import RowNll, row_nll
from luthier.evaluate.preferences import Preferred, of_judged, of_pairs, prompts_of
from luthier.evaluate.stats import Paired, mean, paired, perplexity, ratios, share
from luthier.model.adapters import lora
from luthier.model.forward import precise
from luthier.model.generate import generate, room
from luthier.model.load import load_model, load_tokenizer, stop_ids, stored_as
from luthier.model.new_tokens import ids_of
from luthier.model.quantised import Quantised
from luthier.recipe.methods import Rows
from luthier.recipe.schema import Evaluate
from luthier.tokens.encode import Limits, in_memory
from luthier.tokens.render import Encoded, Renderer
from luthier.tokens.store import Stored

Examples = Callable[[], Iterable[Example]]
"""Gives the held-out conversations from the first on, at each call: no more than one is in memory."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What both models are measured on, and how many conversations were not, by reason."""

    texts: Sequence[Encoded]
    """One for each conversation, or several where the template rewrites earlier turns."""
    conversations: tuple[Source, ...]
    """Those that are measured, in the order of the file."""
    conversation_of: NDArray[np.int64]
    """Which conversation each text belongs to. Shape (R,)."""
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

    texts: RowNll
    """Shape (R,) each."""
    conversations: RowNll
    """Summed over the texts of each conversation. Shape (C,) each."""
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
    examples: Examples,
    stored: Stored | None = None,
    options: Evaluate,
    capacity: int,
    limits: Limits,
    learn: str,
    rows: Rows = "conversation",
    precision: str,
    out: Path,
    per_token: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Measure base and tuned model on the same conversations, write `out` in one step, and return the report.

    Args:
        recipe_model: Name of the base model, as the user wrote it.
        base_path: Its folder.
        tuned_path: A folder with a PEFT adapter (the base is loaded once, in as many bits as in training, and the
            adapter put on it), or with a whole model (the two are loaded one after the other). Its tokenizer is used
            when it has one.
        examples: Conversations neither model learned from. Those that could not be learned are left out here too,
            and told.
        stored: Their tokens, where they are on disk as the tuned model would be trained on them; else they are made.
        options: How many sample answers, and how long.
        capacity: Tokens of a forward pass, at least `max_length`.
        limits: Training's limits on length, so that the same kind of conversations is measured.
        learn: What training learned: `assistant`, `last` or `all`; the loss is measured on the same.
        rows: What the examples are; of pairs and judged answers it is told which the models prefer, too.
        precision: `bf16`, `fp16` or `fp32`, as training computed.
        out: Folder for `report.json`, `.md`, `.html` and `samples.jsonl`; replaced when all is done.
        per_token: Whether endings of a pair are compared by their likelihood per token.
        progress: Somebody who watches.

    Raises:
        DataError: No conversation can be measured.
        ModelError: A model can't be loaded, the adapter is not of this base, or a model lacks tokens.
        Failed: A model's loss is not a number.
    """
    # Not `tokenizer.json`: older models have vocab.json and merges.txt instead, and the template that was trained with
    # stands in the tuned folder all the same.
    home = tuned_path if (tuned_path / "tokenizer_config.json").is_file() else base_path
    stops = {*stop_ids(base_path), *stop_ids(tuned_path)}
    renderer = Renderer(load_tokenizer(home), sorted(stops), learn=learn, rows=rows, place=str(home))
    held_out = _held_out(examples, stored, renderer, limits)
    questions = _questions(examples, held_out.conversations, renderer, options.answers)
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
    preferred = _preferred(held_out.texts, base, tuned, rows, per_token=per_token)
    if preferred is not None:
        base, tuned = (_of_the_likely(model, preferred, held_out) for model in (base, tuned))
    spoken = f", chat template of the {'tuned' if home == tuned_path else 'base'} model" if rows != "text" else ""
    wanted = [expected_of(question.example.messages[_last_answer(question.example)]) for question in questions]
    answered = score(wanted, base.answers, tuned.answers, options.metrics)
    found = Compared(
        paired=paired(base.conversations.nll_R, tuned.conversations.nll_R, base.conversations.tokens_R),
        texts=len(held_out.texts),
        tokens=int(base.conversations.tokens_R.sum()),
        alike=bool(np.array_equal(base.conversations.nll_R, tuned.conversations.nll_R)),
        samples=_samples(questions, base, tuned, options.samples),
        metrics=(
            *(preferred.metrics if preferred else _of_bytes(base, tuned, held_out, examples) if rows == "text" else ()),
            *(answered.metrics if answered else ()),
            *_metrics(base, tuned),
        ),
        cut={"base": base.cut, "tuned": tuned.cut},
        clipped=tuned.clipped,
        left_out=held_out.left_out,
        max_new_tokens=options.max_new_tokens,
        setting=f"{precision}{_bits(tuned_path)}{_new(tuned_path)}{spoken}",
        noun="document" if rows == "text" else "conversation",
        preferred=preferred,
        answered=answered,
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


def _bits(tuned: Path) -> str:
    """Return how the base of both models is kept, where that is in fewer bits."""
    kind = Quantised.of(tuned)
    return f", base in {kind.words}" if kind else ""


def _new(tuned: Path) -> str:
    """Return what the base was given to read tokens with that only the tuned model learned."""
    count = len(ids_of(tuned))
    return f", base with untrained rows (the mean of all) for {count} new token{'s'[: count > 1]}" if count else ""


def _preferred(
    texts: Sequence[Encoded], base: Measured, tuned: Measured, rows: Rows, *, per_token: bool
) -> Preferred | None:
    """Return what held-out preferences say, where training learned from preferences."""
    if rows == "pair":
        return of_pairs(base.texts, tuned.texts, prompts_of(texts), per_token=per_token)
    if rows == "judged":
        good_R = np.array([text.label == 1.0 for text in texts])
        if not good_R.any():
            raise DataError("no held-out answer is a good one", hint="hold others back with `data.split.seed`")
        return of_judged(base.texts, tuned.texts, good_R)
    return None


def _of_the_likely(model: Measured, preferred: Preferred, held_out: HeldOut) -> Measured:
    """Return what a model did with the likelihood of texts that people liked, and no others."""
    nll_R, tokens_R = (np.where(preferred.likely_R, values_R, 0) for values_R in model.texts)
    return replace(model, conversations=_by_conversation(RowNll(nll_R, tokens_R), held_out))


def _of_bytes(base: Measured, tuned: Measured, held_out: HeldOut, examples: Examples) -> tuple[Metric]:
    """Return the bits a byte of the documents costs: what compares models with different tokenizers."""
    sizes = [
        sum(len(turn.text.encode()) for turn in example.messages)
        for example in _among(examples(), held_out.conversations)
    ]
    nats_KC = np.stack([base.conversations.nll_R, tuned.conversations.nll_R])
    bits = ratios(np.stack([*nats_KC, nats_KC[1] - nats_KC[0]]) / np.log(2), np.array(sizes, dtype=np.float64))
    return (Metric("bits_per_byte", "bits per byte of text", bits[0], bits[1], percent=False, change=bits[2]),)


def _held_out(examples: Examples, stored: Stored | None, renderer: Renderer, limits: Limits) -> HeldOut:
    texts: Sequence[Encoded]
    if stored is None:
        made = in_memory(examples(), renderer, limits, processes=1)
        texts, reasons = made.rows, Counter(_kind(reason) for _, reason in made.left_out)
    else:
        texts, reasons = stored, Counter(_kind(reason) for _, reason in stored.left_out())
    if not len(texts):
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "there is none"
        raise DataError(
            f"no held-out conversation can be measured ({why})",
            hint="hold rows back with `data.split.valid`, or raise `train.max_length`",
        )
    conversations: list[Source] = []
    conversation_of = []
    for text in texts:
        if conversations[-1:] != [text.source]:  # the texts of one follow each other
            conversations.append(text.source)
        conversation_of.append(len(conversations) - 1)
    return HeldOut(texts, tuple(conversations), np.array(conversation_of, dtype=np.int64), dict(reasons))


def _by_conversation(texts: RowNll, held_out: HeldOut) -> RowNll:
    """Return the sums over the texts of each conversation."""
    place_R, count = held_out.conversation_of, len(held_out.conversations)
    nll_C, tokens_C = (np.bincount(place_R, weights=values, minlength=count) for values in texts)
    return RowNll(nll_C.astype(np.float64), tokens_C.astype(np.int64))


def _kind(reason: str) -> str:
    """Return the reason as one of a few: a template's own words differ from row to row."""
    if reason.startswith("longer"):
        return reason
    return "without a learned token" if reason.startswith("no token") else "refused by the chat template"


def _questions(examples: Examples, measured: Sequence[Source], renderer: Renderer, count: int) -> list[Question]:
    """Return up to `count` questions, evenly spread over the conversations that have one."""
    if not count:
        return []
    asked = [place for place, example in enumerate(_among(examples(), measured)) if _is_asked(example)]
    count = min(count, len(asked))
    chosen = {asked[index * len(asked) // count] for index in range(count)}
    return [
        _question(example, renderer) for place, example in enumerate(_among(examples(), measured)) if place in chosen
    ]


def _is_asked(example: Example) -> bool:
    """Return whether an example has a question, and an answer nobody called bad."""
    return _last_answer(example) > 0 and example.label is not False


def _among(examples: Iterable[Example], measured: Sequence[Source]) -> Iterator[Example]:
    """Yield the examples that are measured. Both go in the order of the file."""
    wanted = iter(measured)
    source = next(wanted, None)
    for example in examples:
        if example.source == source:
            yield example
            source = next(wanted, None)


def _question(example: Example, renderer: Renderer) -> Question:
    place = _last_answer(example)
    before = example.messages[:place]
    ids = tuple(renderer.prompt_ids(before, tools=example.tools))
    return Question(example, ids, _told(before), example.messages[place].text)


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
    dtype, new_ids = stored_as(precision), ids_of(tuned_path)
    if (tuned_path / "adapter_config.json").is_file():
        model = load_model(base_path, dtype=dtype, quantised=Quantised.of(tuned_path), new_ids=new_ids)
        base = measure(model, "base")  # before the adapter is on it: switched off, its biases would stay
        return base, measure(with_adapter(model, tuned_path), "tuned")
    if not (tuned_path / "config.json").is_file():
        raise ModelError(
            "this folder holds neither an adapter nor a model",
            hint="name the folder that training wrote: it holds adapter_config.json or config.json",
            place=str(tuned_path),
        )
    base = measure(load_model(base_path, dtype=dtype, new_ids=new_ids), "base")
    return base, measure(load_model(tuned_path, dtype=dtype), "tuned")


def with_adapter(base: Any, folder: Path) -> Any:
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
    held_out: HeldOut,
    questions: Sequence[Question],
    renderer: Renderer,
    max_new_tokens: int,
    capacity: int,
    precision: str,
    progress: Progress,
) -> Measured:
    _knows_the_tokens(model, name, held_out.texts)
    texts = row_nll(
        model,
        held_out.texts,
        capacity=capacity,
        precision=precision,
        stage=f"measure {name}",
        progress=progress,
    )
    conversations = _by_conversation(texts, held_out)
    _is_a_number(conversations, name, held_out.conversations)
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
        texts=texts,
        conversations=conversations,
        answers=tuple(tokenizer.decode(answer, skip_special_tokens=True) for answer in answers),
        cut=sum(len(answer) >= space.answer for answer, space in zip(answers, rooms, strict=True)),
        clipped=sum(space.read < len(question.ids) for question, space in zip(questions, rooms, strict=True)),
    )


def _knows_the_tokens(model: Any, name: str, texts: Sequence[Encoded]) -> None:
    known = model.get_input_embeddings().weight.shape[0]
    largest = texts.most("highest") if isinstance(texts, Stored) else max(int(text.input_ids.max()) for text in texts)
    if largest >= known:
        raise ModelError(
            f"the {name} model knows {known:,} tokens, the held-out texts hold token {largest:,}:"
            " perplexity per token can't be compared over different vocabularies",
            hint="compare models that share one tokenizer",
        )


def _is_a_number(measured: RowNll, name: str, conversations: Sequence[Source]) -> None:
    wrong = np.flatnonzero(~np.isfinite(measured.nll_R)).tolist()
    if wrong:
        raise Failed(
            f"the loss of the {name} model is not a number on {len(wrong)} of {len(conversations)} conversations",
            hint="train with a smaller `train.learning_rate`, or with `--set train.precision=fp32`",
            place=str(conversations[wrong[0]]),
        )


def _samples(questions: Sequence[Question], base: Measured, tuned: Measured, count: int) -> list[dict[str, Any]]:
    """Return up to `count` answers, evenly spread over all."""
    count = min(count, len(questions))
    shown = {number * len(questions) // count for number in range(count)}
    every = enumerate(zip(questions, base.answers, tuned.answers, strict=True))
    return [
        {
            "source": {"file": question.example.source.file, "line": question.example.source.line},
            "prompt": question.prompt,
            "expected": question.expected,
            "base": before,
            "tuned": after,
        }
        for place, (question, before, after) in every
        if place in shown
    ]


def _metrics(base: Measured, tuned: Measured) -> list[Metric]:
    count = len(base.answers)
    if not count:
        return []
    ended = [share(count - model.cut, count) for model in (base, tuned)]
    length = [mean([len(answer) for answer in model.answers]) for model in (base, tuned)]
    return [
        Metric("answers_ended", "answers that end by themselves", ended[0], ended[1], percent=True),
        Metric("answer_characters", "characters of an answer, mean", length[0], length[1], percent=False),
    ]


def _data(found: Compared, models: dict[str, str]) -> dict[str, Any]:
    """Return the keys scripts rely on."""
    numbers = found.paired
    change = perplexity(numbers.difference)
    least = numbers.detectable
    return {
        "models": models,
        "verdict": found.verdict,
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
            **({} if found.preferred is None else found.preferred.detectable),
        },
        "rows": numbers.base.n,
        "texts": found.texts,
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
    return worse + [metric.as_dict() for metric in metrics if _is_worse(metric)]


def _is_worse(metric: Metric) -> bool:
    if metric.verdict is not None:
        return metric.verdict == "worse"
    return metric.percent and metric.tuned.high is not None and metric.tuned.high < (metric.base.low or 0.0)
