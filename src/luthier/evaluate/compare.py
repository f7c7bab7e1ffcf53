"""Base against tuned model on held-out rows: likelihood of what should be learned, and answers side by side.

A conversation is one observation, also where the template rewrites history and it becomes several texts: those share
most of their words.

Shapes: R texts, C conversations.
"""
# ruff: noqa: N806 - names end in the letters of their shape

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import DataError, ModelError
from luthier.core.files import publish_folder, write_text
from luthier.core.progress import Progress, Silent
from luthier.core.publish import write_report
from luthier.core.report import Number, Report, Section
from luthier.evaluate import regression
from luthier.evaluate.account import Compared, Metric, findings, next_steps, sections, summary
from luthier.evaluate.answers import score
from luthier.evaluate.held_out import Examples, HeldOut, Question, among, exam
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.measure import Measured, both, by_conversation, measure
from luthier.evaluate.preferences import Preferred, of_judged, of_pairs, prompts_of
from luthier.evaluate.stats import Paired, mean, paired, perplexity, ratios, share
from luthier.model.load import load_tokenizer, stop_ids
from luthier.model.new_tokens import ids_of
from luthier.model.quantised import Quantised
from luthier.recipe.evaluate import Capability, Evaluate
from luthier.recipe.methods import Rows
from luthier.tokens.encode import Limits
from luthier.tokens.render import Encoded, Renderer
from luthier.tokens.store import Stored

DROPPED = "dropped as they were prepared: `data/dropped.jsonl` says why"

RENAMED = 0.01
"""Share of the tokens that may have other names in the tuned model: reserved ones often get some."""


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
    capabilities: Sequence[tuple[Capability, Examples]] = (),
    precision: str,
    out: Path,
    per_token: bool = False,
    dropped: int = 0,
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
        capabilities: What should not be lost, with its rows.
        precision: `bf16`, `fp16` or `fp32`, as training computed.
        out: Folder for `report.json`, `.md`, `.html` and `samples.jsonl`; replaced when all is done.
        per_token: Whether endings of a pair are compared by their likelihood per token.
        dropped: Rows of which no example could be made, to be told.
        progress: Somebody who watches.

    Raises:
        DataError: No conversation can be measured.
        ModelError: A model can't be loaded, the adapter is not of this base, or a model lacks tokens.
        Failed: A model's loss is not a number.
    """
    # Not `tokenizer.json`: older models have vocab.json and merges.txt instead, and the template that was trained with
    # stands in the tuned folder all the same.
    home = tuned_path if (tuned_path / "tokenizer_config.json").is_file() else base_path
    stops = sorted({*stop_ids(base_path), *stop_ids(tuned_path)})
    tokenizer = load_tokenizer(home)
    if home == tuned_path:
        _one_vocabulary(base_path, tokenizer)
    renderer = Renderer(tokenizer, stops, learn=learn, rows=rows, place=str(home))
    own = exam(examples, renderer, limits, stored=stored, answers=options.answers)
    others = [
        exam(
            kept,
            Renderer(tokenizer, stops, rows="text" if asked.text else "conversation", place=str(home)),
            limits,
            answers=0 if asked.text else options.answers,
        )
        for asked, kept in capabilities
    ]

    def ask(model: Any, name: str) -> list[Measured]:
        return [
            measure(
                model,
                name if number == 0 else f"{name}: {capabilities[number - 1][0].name}",
                one,
                renderer=renderer,
                max_new_tokens=options.max_new_tokens,
                capacity=capacity,
                precision=precision,
                progress=progress or Silent(),
            )
            for number, one in enumerate([own, *others])
        ]

    (base, *base_others), (tuned, *tuned_others) = both(base_path, tuned_path, ask, precision)
    held_out, questions = own.held_out, own.questions
    preferred = _preferred(held_out.texts, base, tuned, rows, per_token=per_token)
    if preferred is not None:
        base, tuned = (_of_the_likely(model, preferred, held_out) for model in (base, tuned))
    spoken = f", chat template of the {'tuned' if home == tuned_path else 'base'} model" if rows != "text" else ""
    answered = score(own.expected, base.answers, tuned.answers, options.metrics)
    found = Compared(
        paired=_paired(base, tuned),
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
        left_out=held_out.left_out | ({DROPPED: dropped} if dropped else {}),
        max_new_tokens=options.max_new_tokens,
        setting=f"{precision}{_bits(tuned_path)}{_new(tuned_path)}{spoken}",
        noun="document" if rows == "text" else "conversation",
        preferred=preferred,
        answered=answered,
    )
    kept = regression.of_own_rows(found.paired, found.verdict, found.metrics)
    for (asked, _), one, before, after in zip(capabilities, others, base_others, tuned_others, strict=True):
        scored = score(one.expected, before.answers, after.answers, ())
        kept += regression.of_capability(asked, _paired(before, after), scored)
    values = {"perplexity": perplexity(found.paired.tuned), **{metric.name: metric.tuned for metric in found.metrics}}
    refused = [*regression.refusals(options.gate, found.verdict, values)]
    report = Report(
        title="Base against tuned",
        summary=summary(found),
        data=_data(found, {"base": recipe_model, "tuned": str(tuned_path)}, kept, refused),
        sections=(*sections(found), Section("Regression check", (regression.table(kept),))),
        findings=(*regression.findings(kept, refused), *findings(found)),
        next_steps=next_steps(found, out),
    )
    with publish_folder(out) as folder:
        lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in found.samples]
        write_text(folder / "samples.jsonl", "".join(lines))
        write_report(report, folder)
    return report


def _one_vocabulary(base: Path, tokenizer: Any) -> None:
    """Refuse two models to whom the same number is another token: one of them would read nonsense.

    Raises:
        ModelError: More than `RENAMED` of the tokens are others.
    """
    if not (base / "tokenizer_config.json").is_file():
        return
    known = {number: token for token, number in load_tokenizer(base).get_vocab().items()}
    tokens = tokenizer.get_vocab()
    others = sum(known.get(number, token) != token for token, number in tokens.items())
    if others > RENAMED * len(tokens):
        raise ModelError(
            f"{others:,} of {len(tokens):,} tokens are others to the base: perplexity per token can't be compared over "
            "different vocabularies",
            hint="compare models that share one tokenizer",
            place=str(base),
        )


def _paired(base: Measured, tuned: Measured) -> Paired:
    """Return how likely both models find the same conversations."""
    return paired(base.conversations.nll_R, tuned.conversations.nll_R, base.conversations.tokens_R)


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
    return replace(model, conversations=by_conversation(RowNll(nll_R, tokens_R), held_out))


def _of_bytes(base: Measured, tuned: Measured, held_out: HeldOut, examples: Examples) -> tuple[Metric]:
    """Return the bits a byte of the documents costs: what compares models with different tokenizers."""
    sizes = [
        sum(len(turn.text.encode()) for turn in example.messages)
        for example in among(examples(), held_out.conversations)
    ]
    nats_KC = np.stack([base.conversations.nll_R, tuned.conversations.nll_R])
    bits = ratios(np.stack([*nats_KC, nats_KC[1] - nats_KC[0]]) / np.log(2), np.array(sizes, dtype=np.float64))
    return (Metric("bits_per_byte", "bits per byte of text", bits[0], bits[1], percent=False, change=bits[2]),)


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


def _data(
    found: Compared, models: dict[str, str], kept: Sequence[regression.Kept], refused: Sequence[str]
) -> dict[str, Any]:
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
        "regression": [one.as_dict() for one in kept],
        "gate": {"refused": [*refused, *(f"{one.name}: {one.measure}" for one in kept if one.status == "FAIL")]},
        "samples": list(found.samples),
    }
