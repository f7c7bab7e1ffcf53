"""A model behind an OpenAI-compatible endpoint: it answers, and gives no likelihoods of texts."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from luthier.core.endpoint import Endpoint, Reply
from luthier.core.progress import Progress
from luthier.evaluate.held_out import Exam, Question
from luthier.evaluate.likelihood import Likelihood
from luthier.evaluate.subject import Absent, Answers, Setting, told

AT_ONCE = 8
"""Questions that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A model that a server runs."""

    name: str
    endpoint: Endpoint
    model: str
    """Its name on the server."""
    setting: Setting
    progress: Progress
    reading: None = None

    def likelihood(self, _exam: Exam, *, every: bool = False, of: str = "") -> Likelihood | Absent:  # noqa: ARG002
        """Return that there is none: such endpoints tell of their own answers only."""
        return Absent("an endpoint tells no likelihood of texts")

    def answers(self, questions: Sequence[Question], *, of: str = "") -> Answers:
        """Return what it answers to each conversation, in the server's own template."""
        settings = self._settings()
        replies: list[Reply] = []
        self.progress.start(told("ask", self.name, of), len(questions), "prompt")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for reply in self._asked(pool, questions, settings):
                replies.append(reply)
                self.progress.update(len(replies))
        self.progress.end()
        return Answers(tuple(reply.text for reply in replies), tuple(reply.finish == "stop" for reply in replies))

    def _asked(
        self, pool: ThreadPoolExecutor, questions: Sequence[Question], settings: dict[str, Any]
    ) -> Iterator[Reply]:
        def ask(question: Question) -> Reply:
            messages = [turn.as_dict() for turn in question.messages]
            tools = {"tools": [*question.example.tools]} if question.example.tools else {}
            return self.endpoint.chat(self.model, messages, {**settings, **tools})

        yield from pool.map(ask, questions)

    def _settings(self) -> dict[str, Any]:
        """Return the settings of all requests: of a greedy answer, the temperature 0."""
        drawn = self.setting.sampling
        how: dict[str, Any] = {"temperature": 0}
        if drawn is not None:
            how = {"temperature": drawn.temperature, "top_p": drawn.top_p, "seed": drawn.seed}
        stop = {"stop": [*self.setting.stop]} if self.setting.stop else {}
        return {**how, **stop, "max_tokens": self.setting.max_new_tokens}
