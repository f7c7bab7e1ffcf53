"""Answers of the model in training, at each measurement: told as `sample` events, and kept in `samples.jsonl`.

Greedy, so they are a function of the weights alone. They change nothing of the training: no random number is drawn, and
the model's mode and attention are afterwards what they were.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from luthier.core.example import Message
from luthier.core.files import write_text
from luthier.core.run import Run
from luthier.model.forward import precise
from luthier.model.generate import generate
from luthier.recipe.schema import Samples
from luthier.tokens.encode import read_examples
from luthier.tokens.render import Renderer
from luthier.train.history import lasting


class Question(NamedTuple):
    """What is asked."""

    prompt: str
    """As people read it."""
    ids: list[int]
    """As the model reads it: what a server would feed it."""
    expected: str | None
    """The answer of the held-out row, where it is from one."""


class Sampler:
    """Asks the model in training the same questions again and again, and tells each answer once."""

    def __init__(self, options: Samples, renderer: Renderer, run: Run, *, precision: str) -> None:
        self.options = options
        self.renderer = renderer
        self.run = run
        self.precision = precision
        self.questions = [*_asked(options, renderer)] or [*islice(_held_out(renderer, run), options.rows)]
        self.told = {(event["step"], event["prompt"]) for event in lasting(run.events(), "sample")}

    def __call__(self, model: Any, step: int) -> None:
        """Ask after a step what was not told before the process died."""
        questions = [question for question in self.questions if (step, question.prompt) not in self.told]
        if not questions:
            return
        tokenizer, stops = self.renderer.tokenizer, self.renderer.stop_ids
        with precise(model, self.precision):
            answers = generate(
                model,
                [question.ids for question in questions],
                stop_ids=stops,
                max_new_tokens=self.options.max_new_tokens,
                pad_id=min(stops) if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            )
        for question, ids in zip(questions, answers, strict=True):
            told = {"prompt": question.prompt, "answer": tokenizer.decode(ids, skip_special_tokens=True)}
            expected = {} if question.expected is None else {"expected": question.expected}
            self.run.log("sample", step=step, **told, **expected)
        lines = [json.dumps(event, ensure_ascii=False) + "\n" for event in lasting(self.run.events(), "sample")]
        write_text(self.run / "samples.jsonl", "".join(lines))


def _asked(options: Samples, renderer: Renderer) -> Iterator[Question]:
    """Yield the recipe's own prompts, each as a user's only turn."""
    for prompt in options.prompts:
        yield Question(prompt, renderer.prompt_ids([Message("user", prompt)]), None)


def _held_out(renderer: Renderer, run: Run) -> Iterator[Question]:
    """Yield what was asked before the last answer of each held-out row, in the order of the file."""
    for example in read_examples(run / "data" / "valid.jsonl"):
        place = max((place for place, turn in enumerate(example.messages) if turn.role == "assistant"), default=-1)
        if place > 0:
            before = example.messages[:place]
            told = before[0].text if place == 1 else "\n\n".join(f"{turn.role}: {turn.text}" for turn in before)
            yield Question(told, renderer.prompt_ids(before, tools=example.tools), example.messages[place].text)
