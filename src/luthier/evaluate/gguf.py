"""A GGUF file: llama.cpp says how likely it finds tokens, and answers.

Shape: R texts.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import ModelError
from luthier.core.progress import Progress
from luthier.evaluate.held_out import Exam, Question
from luthier.evaluate.likelihood import Likelihood, RowNll, learned_tokens
from luthier.evaluate.reading import Reading
from luthier.evaluate.subject import Absent, Answers, Setting, told
from luthier.model import llamacpp

AT_ONCE = 64
"""Questions of a process: it loads the file anew, and tells nothing before all of them are answered."""

LONGEST = 4096
"""Tokens of a conversation that llama.cpp renders by itself, before anybody counted them."""


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A model in a GGUF file."""

    name: str
    path: Path
    reading: Reading | None
    """How it reads; None where no other model has its tokens: then in its own template, and tells no likelihood."""
    vocabulary: int
    """How many tokens it knows."""
    setting: Setting
    progress: Progress

    def likelihood(self, exam: Exam, *, every: bool = False, of: str = "") -> Likelihood | Absent:  # noqa: ARG002
        """Return how likely it finds what is learned of held-out texts; of all their tokens it would take too long."""
        if self.reading is None:
            return Absent("no other model here has the tokens of the GGUF file")
        texts = exam.held_out[self.reading].texts
        nll_R = np.zeros(len(texts))
        places = [np.flatnonzero(text.learned[1:]) + 1 for text in texts]
        asked = [row for row, at in enumerate(places) if len(at)]
        questions = [
            llamacpp.forced(texts[row].input_ids.tolist(), places[row].tolist(), vocabulary=self.vocabulary)
            for row in asked
        ]
        found = self._asked(questions, told("measure", self.name, of), "row", longest=1)
        for row, answer in zip(asked, found, strict=True):
            nll_R[row] = -sum(answer["logprobs"])
        return Likelihood(RowNll(nll_R, learned_tokens(texts)), computed="llama.cpp")

    def answers(self, questions: Sequence[Question], *, of: str = "") -> Answers:
        """Return what it answers, in the template of the models it is compared with where they have its tokens."""
        longest, settings = self.setting.max_new_tokens, self._settings()
        prompts = self._prompts(questions)
        asked = [llamacpp.continuation(ids, max_tokens=longest, settings=settings) for ids in prompts]
        found = [*self._asked(asked, told("ask", self.name, of), "prompt", longest=longest)]
        return Answers(tuple(one["text"] for one in found), tuple(one["ended"] for one in found))

    def _prompts(self, questions: Sequence[Question]) -> list[list[int]]:
        if self.reading is not None:
            renderer = self.reading.renderer()
            return [renderer.prompt_ids(one.messages, tools=one.example.tools) for one in questions]
        chats = [llamacpp.chat([turn.as_dict() for turn in one.messages], one.example.tools) for one in questions]
        found = [*self._asked(chats, f"render {self.name}", "prompt", longest=LONGEST)]
        refused = next((one["error"] for one in found if "error" in one), None)
        if refused is not None:
            raise ModelError(f"llama.cpp refuses a question: {refused}", hint="leave it out", place=str(self.path))
        return [one["ids"] for one in found]

    def _settings(self) -> dict[str, Any]:
        stop = {"stop": [*self.setting.stop]} if self.setting.stop else {}
        drawn = self.setting.sampling
        if drawn is None:
            return stop
        return {**stop, "temperature": drawn.temperature, "top_p": drawn.top_p, "seed": drawn.seed}

    def _asked(
        self, questions: Sequence[llamacpp.Question], stage: str, unit: str, *, longest: int
    ) -> Iterator[llamacpp.Answer]:
        """Yield the answers to questions, each of at most `longest` tokens."""
        self.progress.start(stage, len(questions), unit)
        for start in range(0, len(questions), AT_ONCE):
            some = questions[start : start + AT_ONCE]
            context = max(len(one.get("ids", ())) for one in some) + longest + 8
            yield from llamacpp.ask(self.path, some, context=context)
            self.progress.update(start + len(some))
        self.progress.end()
